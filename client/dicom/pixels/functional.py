"""What an enhanced multi-frame object says of one of its frames (PS3.3 C.7.6.16): first the frame's own functional
groups, then those all frames share."""

from pydicom.dataset import Dataset

from client.dicom.pixels.raw import FRAME_GROUPS, SHARED_GROUPS

PIXEL_MEASURES, FRAME_VOI, PIXEL_TRANSFORMATION = 0x00289110, 0x00289132, 0x00289145


def macro(dataset: Dataset, frame: int, tag: int) -> Dataset | None:
    """The item of sequence `tag` that is for frame `frame`, from 0; None if there is none."""
    for groups, number in ((FRAME_GROUPS, frame), (SHARED_GROUPS, 0)):
        if groups in dataset:
            group = _item(dataset, groups, number)
            found = None if group is None else _item(group, tag, 0)
            if found is not None:
                return found
    return None


def _item(dataset: Dataset, tag: int, number: int) -> Dataset | None:
    items = dataset[tag].value if tag in dataset else None
    return items[number] if items and number < len(items) else None


def first_item(dataset: Dataset, tag: int) -> Dataset | None:
    """The first item of sequence `tag`."""
    return _item(dataset, tag, 0)
