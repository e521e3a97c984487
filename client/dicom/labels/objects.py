"""Reading DICOM objects that are no images (reports, segmentations, contours), whole and within limits.

Guarantees: never more than `limit` bytes are read, nor inflated; whatever the bytes are, the result is a Dataset or a
LeftOutError (not_dicom, unreadable, truncated, too_large, special_file, unsafe_container). The values of a Dataset are
made when they are asked for, which may fail again: `guarded`.
"""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

from pydicom.dataset import Dataset

from client.dicom.item import Location
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning import containers
from client.dicom.scanning.unusual import MALFORMED, whole_dataset
from client.dicom.scanning.walk import base_of, listed, pages


def files_of(place: Path) -> Iterator[Location]:
    """`place` itself if it is a file; else the regular files below it, in zips too, in the order of the scan.

    Raises InputError if there is nothing.
    """
    if place.is_file() and not containers.is_container(place.name):
        yield Location(place)
        return
    for page in pages(place):
        files = listed(page, base_of(place)).files if page.container else page.files
        yield from (file.location(base_of(place)) for file in files if not file.fault)


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """For all that asks a data set for values. Raises LeftOutError(unreadable) for values that are not what they say;
    pydicom's warnings, which name them, are not given."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (OSError, *MALFORMED):  # OSError: a sequence that ends before its items do
        raise LeftOutError(Reason.UNREADABLE) from None


def storage_class(location: Location) -> str:
    """The SOP class of the object at `location` (0008,0016). Raises LeftOutError, not_dicom where none is."""
    return containers.header(location).sop_class


def read_object(location: Location, limit: int) -> Dataset:
    """The object at `location`, of at most `limit` bytes, inflated or not. Raises LeftOutError."""
    data = containers.read(location, limit)
    with guarded():  # that it is an object, its header has shown
        return whole_dataset(data, limit)
