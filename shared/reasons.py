"""Why a file is left out: one reason from a closed list.

The order is wire format: counts travel as a masked vector with one place per reason, so the list only ever
grows at its end and no reason changes its meaning.
"""

from enum import StrEnum


class Reason(StrEnum):
    """One per file that is not used; `explain` says it in words for tables and reports."""

    NOT_DICOM = "not_dicom"
    UNREADABLE = "unreadable"
    TRUNCATED = "truncated"
    NO_PIXELS = "no_pixels"
    LOCALIZER = "localizer"
    DUPLICATE = "duplicate"
    MULTI_FRAME = "multi_frame"
    WRONG_MODALITY = "wrong_modality"
    UNSUPPORTED_SYNTAX = "unsupported_syntax"
    UNSUPPORTED_PIXELS = "unsupported_pixels"
    DECODE_FAILED = "decode_failed"
    BURNED_IN = "burned_in"
    NO_LABEL = "no_label"
    LABEL_CONFLICT = "label_conflict"
    LABEL_NOT_IN_STUDY = "label_not_in_study"
    SPECIAL_FILE = "special_file"
    CHANGED = "changed"
    TOO_LARGE = "too_large"
    UNSAFE_CONTAINER = "unsafe_container"
    WRONG_INTENT = "wrong_intent"
    NO_GEOMETRY = "no_geometry"
    TOO_FEW_SLICES = "too_few_slices"
    MISSING_SLICES = "missing_slices"
    SAME_POSITION = "same_position"
    UNEVEN_SLICES = "uneven_slices"
    SUSPECTED_TEXT = "suspected_text"
    UNUSABLE_LABEL = "unusable_label"

    @property
    def explain(self) -> str:
        """The reason as a person would say it."""
        return _WORDS[self]

    @property
    def advice(self) -> str:
        """What the people of the archive can do about it."""
        return _ADVICE[self]


_WORDS = {
    Reason.NOT_DICOM: "not a DICOM file",
    Reason.UNREADABLE: "DICOM header damaged or file not readable",
    Reason.TRUNCATED: "file ends before its pixels do",
    Reason.NO_PIXELS: "a DICOM object without an image",
    Reason.LOCALIZER: "a localizer, not a diagnostic image",
    Reason.DUPLICATE: "the same object as another file",
    Reason.MULTI_FRAME: "several frames in one object",
    Reason.WRONG_MODALITY: "not a modality of this study",
    Reason.UNSUPPORTED_SYNTAX: "transfer syntax Konsil does not decode",
    Reason.UNSUPPORTED_PIXELS: "pixel format Konsil does not read",
    Reason.DECODE_FAILED: "the pixels could not be decoded",
    Reason.BURNED_IN: "says that annotations are burned into the image",
    Reason.NO_LABEL: "no row of the label file matches it",
    Reason.LABEL_CONFLICT: "rows of the label file contradict each other",
    Reason.LABEL_NOT_IN_STUDY: "its label is none of the study's",
    Reason.SPECIAL_FILE: "not a regular file, or a broken link",
    Reason.CHANGED: "changed while it was being read",
    Reason.TOO_LARGE: "larger than any image or its header, once unpacked",
    Reason.UNSAFE_CONTAINER: "in an archive file that is nested, encrypted, damaged or unpacks without end",
    Reason.WRONG_INTENT: "raw data for processing where the study wants images for presentation, or the reverse",
    Reason.NO_GEOMETRY: "says not where in the patient it lies, so it belongs to no volume",
    Reason.TOO_FEW_SLICES: "of a group with too few slices for a volume",
    Reason.MISSING_SLICES: "of a volume in which slices are missing",
    Reason.SAME_POSITION: "one of several different images at one position, which nothing tells apart",
    Reason.UNEVEN_SLICES: "of slices at uneven distances, which make no regular volume",
    Reason.SUSPECTED_TEXT: "held back: text may be burned into the image",
    Reason.UNUSABLE_LABEL: "its mask, value or boxes cannot be used",
}

_ADVICE = {
    Reason.NOT_DICOM: "Nothing to do, unless images were expected here: then export them again from the PACS.",
    Reason.UNREADABLE: "Check that Konsil's user may read the file; if it may, export it again from the PACS.",
    Reason.TRUNCATED: "A copy was interrupted: export or send the object again.",
    Reason.NO_PIXELS: "Nothing to do: reports, plans and presentation states hold no image.",
    Reason.LOCALIZER: "Nothing to do: localizers only show where the scan was planned.",
    Reason.DUPLICATE: "Nothing to do: one of the copies is used. If the objects differ, ask who rewrote them.",
    Reason.MULTI_FRAME: 'Nothing to do; the study asks for single frames (input.frames = "none").',
    Reason.WRONG_MODALITY: "Nothing to do; the study names its modalities.",
    Reason.UNSUPPORTED_SYNTAX: "Export in another transfer syntax, JPEG 2000 Lossless or Explicit VR Little Endian.",
    Reason.UNSUPPORTED_PIXELS: "Tell us the make of the device: its pixel format is not one that DICOM names.",
    Reason.DECODE_FAILED: "Open the image in a viewer; if it opens there, tell us, else export it again.",
    Reason.BURNED_IN: "Export without annotations, if the device can; names in pixels cannot be taken out safely.",
    Reason.NO_LABEL: "Add a row to the label file; konsil-client scan says which level it would match.",
    Reason.LABEL_CONFLICT: "Correct the rows of the label file that say different things of it.",
    Reason.LABEL_NOT_IN_STUDY: "Nothing to do, unless a label is spelled otherwise than in the study.",
    Reason.SPECIAL_FILE: "Repair the link or remove the file; Konsil reads regular files only.",
    Reason.CHANGED: "Scan again when nobody writes to the archive.",
    Reason.TOO_LARGE: "Check the file: no detector makes images of this size. A bomb is unpacked no further.",
    Reason.UNSAFE_CONTAINER: "Unpack the zip yourself into the archive's folder.",
    Reason.WRONG_INTENT: "Send images for presentation to the archive as well, or ask the consortium.",
    Reason.NO_GEOMETRY: "Ask the vendor, or who runs the gateway, why Image Position and Orientation are missing.",
    Reason.TOO_FEW_SLICES: "Check that the whole series was sent.",
    Reason.MISSING_SLICES: "Send the series again: some of its slices never arrived.",
    Reason.SAME_POSITION: "Ask the vendor which attribute tells its volumes apart (time, echo, b-value).",
    Reason.UNEVEN_SLICES: "Nothing to do: the scan was made so; its slices can be used as images.",
    Reason.SUSPECTED_TEXT: "Look at it; konsil-client deidentify --allow-burned-in writes them all, without the claim.",
    Reason.UNUSABLE_LABEL: "Repair the cell of the label file or the mask; konsil-client scan --masks looks at masks.",
}
