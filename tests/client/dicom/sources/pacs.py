"""What a PACS for tests answers with: handlers for pynetdicom's server, over objects it is given."""

from collections.abc import Callable, Iterator
from typing import Any

from pydicom.dataset import Dataset


def row(**values: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def finding(images: list[Dataset]) -> Callable[[Any], Iterator[tuple[int, Dataset | None]]]:
    """A C-FIND handler over `images` that knows the levels and ignores every key but UIDs."""

    def handle(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        level = event.identifier.QueryRetrieveLevel
        key = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}[level]
        above = {"STUDY": (), "SERIES": ("StudyInstanceUID",), "IMAGE": ("StudyInstanceUID", "SeriesInstanceUID")}
        given = [one for one in images if all(one[name].value == event.identifier[name].value for name in above[level])]
        for value in dict.fromkeys(str(one[key].value) for one in given):
            first = next(one for one in given if str(one[key].value) == value)
            yield (
                0xFF00,
                row(
                    **{key: value},
                    PatientID=first.PatientID,
                    Modality=first.Modality,
                    SOPClassUID=first.SOPClassUID,
                ),
            )

    return handle


def getting(images: list[Dataset]) -> Callable[[Any], Iterator[Any]]:
    def handle(_: Any) -> Iterator[Any]:
        yield len(images)
        for one in images:
            yield 0xFF00, one

    return handle
