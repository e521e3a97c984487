"""Objects of several volumes → stacks: what their headers must tell, through files."""

from typing import Any

import pytest

from tests.client.dicom.geometry.series import line, series, stacks_of
from tests.client.dicom.geometry.test_series import is_the_five


@pytest.mark.parametrize(
    ("keyword", "first", "second"),
    [
        ("TemporalPositionIdentifier", 1, 2),
        ("EchoTime", 10, 30),
        ("DiffusionBValue", 0.0, 1000.0),
        ("ImageType", ["DERIVED", "PRIMARY", "F"], ["DERIVED", "PRIMARY", "W"]),
    ],
)
def test_what_differs_in_contrast_is_never_one_volume(keyword: str, first: object, second: object) -> None:
    # the second lies half a slice above the first: all ten are even
    datasets = [*series(line(5), **{keyword: first}), *series(line(5, start=11.0), **{keyword: second})]
    lower, upper = stacks_of(datasets)
    is_the_five(lower)
    assert (upper.reason, upper.frames, upper.spacing) == (None, (5, 6, 7, 8, 9), (2.0, 0.5, 0.5))


@pytest.mark.parametrize(
    "values",
    [{"FrameOfReferenceUID": "2.25.7"}, {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}],
    ids=["frame of reference", "colour"],
)
def test_what_is_never_one_volume(values: dict[str, Any]) -> None:
    found = stacks_of([*series(line(5)), *series(line(5, start=20.0), **values)])
    grey = next(stack for stack in found if 0 in stack.frames)
    is_the_five(grey)
    assert sorted(stack.frames for stack in found) == [(0, 1, 2, 3, 4), (5, 6, 7, 8, 9)]


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("InversionTime", [50, 400, 1100]),
        ("FlipAngle", [5, 10, 15]),
        ("AcquisitionTime", ["095959.5", "100000", "100000.5"]),
        ("FrameReferenceTime", [500, 1500, 2500]),
    ],
)
def test_repeats_that_only_one_attribute_tells_apart(keyword: str, values: list[object]) -> None:
    datasets = [each for value in values for each in series(line(5), InstanceNumber=None, **{keyword: value})]
    found = stacks_of(datasets)
    assert len(found) == 3
    for repeat, stack in enumerate(found):
        is_the_five(stack, tuple(range(5 * repeat, 5 * repeat + 5)))
