"""Objects full of identities, and what finds identities in bytes."""

import io
import warnings
from collections.abc import Iterable

from pydicom import dcmread
from pydicom.dataset import Dataset

KEY = b"k" * 32


def round_trip(dataset: Dataset) -> Dataset:
    """`dataset` written and read again: elements are raw then, as in a file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(buffer, enforce_file_format=True)
        return dcmread(io.BytesIO(buffer.getvalue()), force=True)


def leaks(data: bytes, planted: Iterable[str]) -> list[str]:
    """Those of `planted` that stand in `data`, in any character set that files use, in any case."""
    lowered = data.lower()
    found = []
    for text in planted:
        for encoding in (
            "utf-8",
            "latin-1",
            "utf-16-le",
            "utf-16-be",
            "iso8859_5",
            "iso2022_jp",
            "shift_jis",
            "gb18030",
        ):
            try:
                patterns = [one.encode(encoding) for one in (text, text.lower(), text.upper())]
            except UnicodeEncodeError:
                continue
            if patterns[1] in lowered or any(pattern in data for pattern in patterns):
                found.append(f"{text} ({encoding})")
    return found


def identifying(dataset: Dataset) -> set[str]:
    """The original values that must not leave, where they are long enough not to stand anywhere by chance."""
    uids = (
        dataset.get(f"{name}UID") for name in ("SOPInstance", "StudyInstance", "SeriesInstance", "FrameOfReference")
    )
    names = (dataset.get(name) for name in ("PatientID", "PatientName", "AccessionNumber", "ReferringPhysicianName"))
    words = (word for name in names for word in str(name or "").replace("^", " ").split())
    return {str(value) for value in (*uids, *words) if value and len(str(value)) > 4}
