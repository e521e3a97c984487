"""Objects full of identities, and what finds identities in bytes."""

import io
import warnings
from collections.abc import Iterable

import pytest
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
                pattern = text.lower().encode(encoding)
            except UnicodeEncodeError:
                continue
            if pattern in lowered:
                found.append(f"{text} ({encoding})")
    return found


@pytest.fixture
def key() -> bytes:
    return KEY
