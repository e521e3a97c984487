"""A whole object from a file, or from a member of a zip, for de-identification.

Guarantees: never more than BYTES_LIMIT bytes are read, a deflated object is inflated within the limit of the scan
(scanning/elements.py), and nothing but LeftOutError is raised, whatever the bytes are.
"""

import warnings

from pydicom.dataset import Dataset
from pydicom.uid import MediaStorageDirectoryStorage

from client.dicom.item import Location
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning import containers
from client.dicom.scanning.unusual import MALFORMED, whole_dataset

BYTES_LIMIT = 1 << 31


def read_whole(location: Location) -> Dataset:
    """All elements of the object at `location`. Raises LeftOutError."""
    header = containers.header(location)
    if not header.complete:
        raise LeftOutError(Reason.TRUNCATED)
    data = containers.read(location, BYTES_LIMIT, header.stamp)
    dataset = whole_dataset(data, BYTES_LIMIT)  # the scan has found it plausible, with or without preamble
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values
            kind = dataset.file_meta.get("MediaStorageSOPClassUID")
    except MALFORMED:
        raise LeftOutError(Reason.UNREADABLE) from None
    if kind == MediaStorageDirectoryStorage:  # a DICOMDIR: names of others, and no object of its own
        raise LeftOutError(Reason.NO_PIXELS)
    return dataset
