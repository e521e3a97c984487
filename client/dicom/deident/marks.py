"""What a de-identified object says of itself, and the key of its patient.

Guarantees: Patient Identity Removed, De-identification Method with its codes, and Longitudinal Temporal Information
Modified are written anew (PS3.15 E.1.1 items 6 and 7, E.2), whatever the object said before; the file meta information
names Konsil and nothing else.
"""

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from client.dicom.deident.profile import Profile
from client.dicom.deident.table import EDITION
from client.dicom.keys import orphan_key, patient_key
from client.dicom.plain import plain
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.writing import IMPLEMENTATION
from shared.version import SOFTWARE

_SYNTAXES = {
    (True, True): ImplicitVRLittleEndian,
    (False, True): ExplicitVRLittleEndian,
    (False, False): ExplicitVRBigEndian,
}


def patient_of(dataset: Dataset, key: bytes) -> bytes:
    """The keyed hash of the patient, 32 bytes; of the study where no patient is named (keys.py)."""
    number = _text(dataset, 0x00100020)
    if number:
        return patient_key(key, _text(dataset, 0x00100021), number)
    return orphan_key(key, _text(dataset, 0x0020000D) or _text(dataset, 0x00080018))


def _text(dataset: Dataset, tag: int) -> bytes:
    element = dataset.get(tag)
    return b"" if element is None else plain(element.value).strip().encode()


def mark(dataset: Dataset, profile: Profile, *, identity_removed: bool) -> None:
    """Say in `dataset` what was done. The codes claim something only where the identity is removed."""
    dataset.PatientIdentityRemoved = "YES" if identity_removed else "NO"
    dataset.DeidentificationMethod = [
        f"Konsil {SOFTWARE}",
        f"PS3.15 {EDITION} Table E.1-1, Basic Profile",
        *sorted(option.value for option in profile.options),
    ]
    if "DeidentificationMethodCodeSequence" in dataset:
        del dataset.DeidentificationMethodCodeSequence
    if identity_removed:
        dataset.DeidentificationMethodCodeSequence = Sequence(_code(*code) for code in profile.codes)
    dataset.LongitudinalTemporalInformationModified = profile.temporal


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def fresh_meta(source: Dataset, output: Dataset) -> FileMetaDataset:
    """The file meta information of `output` (PS3.10 7.1), which has the transfer syntax of `source`.

    Raises LeftOutError(unreadable) where SOP class or instance is missing.
    """
    if not (output.get("SOPClassUID") and output.get("SOPInstanceUID")):
        raise LeftOutError(Reason.UNREADABLE)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = output.SOPClassUID
    meta.MediaStorageSOPInstanceUID = output.SOPInstanceUID
    meta.TransferSyntaxUID = syntax_of(source)
    meta.ImplementationClassUID = IMPLEMENTATION
    meta.ImplementationVersionName = "KONSIL_1"
    return meta


def syntax_of(source: Dataset) -> UID:
    """The transfer syntax that `source` says it has, where it is one of the standard's; else the one it was read in."""
    said = getattr(source, "file_meta", Dataset()).get("TransferSyntaxUID")
    if said is not None and UID(said).is_transfer_syntax and not UID(said).is_private:
        return UID(said)
    implicit, little = source.original_encoding
    return _SYNTAXES[bool(implicit), little is not False]
