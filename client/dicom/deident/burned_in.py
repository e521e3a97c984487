"""Whether text may be burned into the pixels of an object, which no table of attributes removes.

Guarantees: an object that says so is held back as burned_in. One of a kind that usually has it (ultrasound, secondary
captures, screenshots, encapsulated documents, labels of slides, voices, overlays within the pixels), or that says that
a face can be recognised, says no such thing: it is held back as suspected_text, without a look at it. Of all others the
pixels are searched, up to FRAMES frames spread over the object. A search finds much, not all: that is why Clean Pixel
Data is never claimed.
"""

import warnings
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from client.dicom.pixels.colour import colour_of
from client.dicom.pixels.layout import GREY, layout_of
from client.dicom.pixels.stored import stored_frame
from client.dicom.plain import plain
from client.dicom.quality.text import suspected_text
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.unusual import MALFORMED

#: Frames of one object that are searched at most.
FRAMES = 16
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_STORAGE = "1.2.840.10008.5.1.4.1.1."
#: Secondary Capture, Ultrasound (the retired ones too), Encapsulated PDF and CDA, voices (Audio Waveforms)
_KINDS = tuple(_STORAGE + kind for kind in ("7", "6", "6.1", "6.2", "3", "3.1", "104.1", "104.2", "9.4.1", "9.4.2"))
#: Values of Image Type: pictures of screens, and those of a slide's label (PS3.3 C.8.12.4.1.1)
_TYPES = frozenset({"SCREEN SAVE", "SCREENSHOT", "SCREEN SHOT", "SCREEN CAPTURE", "LABEL", "OVERVIEW"})

Detect = Callable[[NDArray[np.float32]], bool]


def held_back(dataset: Dataset, detect: Detect = suspected_text) -> Reason | None:
    """Why `dataset` is not to leave with its pixels: burned_in or suspected_text; None if nothing speaks against it.

    `detect` gets a grey image, float32 [rows, columns] in [0, 1]. Raises LeftOutError where the pixels cannot be
    looked at.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values
            if announced(dataset):
                return Reason.BURNED_IN
            suspected = of_a_kind(dataset) or any(detect(grey) for grey in _frames(dataset))
            return Reason.SUSPECTED_TEXT if suspected else None
    except (OSError, *MALFORMED):
        raise LeftOutError(Reason.UNREADABLE) from None


def announced(dataset: Dataset) -> bool:
    """Whether the object says itself that annotations are burned in (0028,0301)."""
    return _says_yes(dataset, "BurnedInAnnotation")


def of_a_kind(dataset: Dataset) -> bool:
    """Whether the kind of object, or a face in it (0028,0302), suggests that the pixels tell who the patient is."""
    sop_class = plain(dataset.get("SOPClassUID", ""))
    return (
        _says_yes(dataset, "RecognizableVisualFeatures")
        or sop_class in _KINDS
        or sop_class.startswith(_STORAGE + "7.")
        or plain(dataset.get("Modality", "")).strip() == "US"
        or not _TYPES.isdisjoint(_image_type(dataset))
        or any(_within_pixels(dataset, group) for group in range(0x6000, 0x6020, 2))
    )


def _says_yes(dataset: Dataset, keyword: str) -> bool:
    return plain(dataset.get(keyword, "")).strip() == "YES"


def _image_type(dataset: Dataset) -> set[str]:
    value = dataset.get("ImageType") or []
    return {str(kind).upper() for kind in ([value] if isinstance(value, str) else value)}


def _within_pixels(dataset: Dataset, group: int) -> bool:
    """Whether overlay `group` lies in unused bits of the pixels: Overlay Bit Position (60xx,0102) above 0."""
    element = dataset.get((group, 0x0102))
    return element is not None and bool(element.value)


def _frames(dataset: Dataset) -> Iterator[NDArray[np.float32]]:
    """Grey images of the frames that are searched."""
    if not any(tag in dataset for tag in _PIXELS):
        return
    count = layout_of(dataset).frames
    for frame in np.unique(np.linspace(0, count - 1, min(count, FRAMES)).astype(int)):
        yield _grey(dataset, int(frame))


def _grey(dataset: Dataset, frame: int) -> NDArray[np.float32]:
    """Frame `frame`, [rows, columns]: stored values, or luma, from its lowest to its highest, 0 to 1."""
    stored = stored_frame(dataset, frame)
    if stored.photometric in GREY:
        grey = stored.values.astype(np.float32)
    else:
        grey = colour_of(dataset, frame, stored).shown(color=False)[0]
    low, high = float(np.nanmin(grey)), float(np.nanmax(grey))
    return np.asarray((np.nan_to_num(grey, nan=low) - low) / max(high - low, 1e-6), np.float32)
