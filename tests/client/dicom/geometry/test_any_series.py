"""What must hold for the stacks of any series."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from client.dicom.geometry.frame import Directions, Frame, Point
from client.dicom.geometry.stacks import Stack, stacks
from client.dicom.reasons import Reason
from tests.client.dicom.geometry.series import Floats, affine, apart, axial, corners, near

angles = st.floats(-3.1, 3.1)
millimetres = st.floats(0.1, 8.0)
#: of one direction; of both together not beyond 45°
shears = st.one_of(st.just(0.0), st.floats(-0.7, 0.7))
#: orientation, corner, spacing, step from a slice to the next, slices
Grid = tuple[Directions, Point, tuple[float, float, float], Floats, int]


@st.composite
def turned_grids(draw: st.DrawFn) -> Grid:
    """Any orientation, corner, spacing (slice, row, column), shear of the slices and number of them."""
    a, b, c = draw(angles), draw(angles), draw(angles)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    again = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    rotation = about_z @ about_x @ again
    corner = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    orientation = tuple(rotation[:, :2].T.reshape(-1).tolist())
    spacing = draw(st.tuples(millimetres, millimetres, millimetres))
    normal = np.cross(orientation[:3], orientation[3:])
    shear = np.array([draw(shears), draw(shears)]) @ np.array(orientation).reshape(2, 3)
    return orientation, corner, spacing, spacing[0] * (normal + shear), draw(st.integers(2, 12))


@given(turned_grids(), st.randoms(use_true_random=False), st.booleans())
@settings(deadline=None)
def test_any_rotation_and_any_order_give_the_same_voxels(grid: Grid, shuffled: object, downwards: bool) -> None:
    orientation, corner, spacing, step, count = grid
    frames = [
        Frame(
            rows=4, columns=6, position=tuple((np.array(corner) + k * step).tolist()),
            orientation=orientation, spacing=spacing[1:], number=-k if downwards else k,
        )
        for k in range(count)
    ]  # fmt: skip
    order = list(range(count))
    shuffled.shuffle(order)  # type: ignore[attr-defined]
    (stack,) = stacks([frames[k] for k in order])
    assert stack.reason is None
    assert [order[index] for index in stack.frames] == list(range(count))
    down, right = spacing[1] * np.array(orientation[3:]), spacing[2] * np.array(orientation[:3])
    wanted = affine(corner, [step.tolist(), down.tolist(), right.tolist()])
    near(stack, wanted, 1e-6)
    assert stack.affine is not None
    assert apart(corners(stack.affine, stack.shape), corners(wanted, (count, 4, 6))) < 1e-6


anywhere = st.builds(
    axial,
    z=st.sampled_from([0.0, 1.0, 2.0, 2.5, 3.0, 5.0]),
    number=st.integers(0, 3),
    x=st.sampled_from([0.0, 50.0]),
    temporal=st.sampled_from([None, 1, 2]),
    acquisition=st.sampled_from([None, 1, 2]),
    image_type=st.sampled_from([None, "M", "P"]),
)
nowhere = st.builds(Frame, rows=st.sampled_from([4, 5]), columns=st.just(6), number=st.integers(0, 3))


def content(found: Sequence[Stack], frames: Sequence[Frame]) -> list[object]:
    """The stacks by what their frames say, not by where those stood."""
    return [
        (stack.reason, stack.shape, stack.spacing, stack.tilt, repr(stack.affine), [frames[at] for at in stack.frames])
        for stack in found
    ]


@given(st.lists(st.one_of(anywhere, nowhere), max_size=20), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_each_frame_is_in_one_stack_whatever_the_order(frames: list[Frame], shuffled: object) -> None:
    found = stacks(frames)
    assert sorted(index for stack in found for index in stack.frames) == list(range(len(frames)))
    other = list(frames)
    shuffled.shuffle(other)  # type: ignore[attr-defined]
    assert content(stacks(other), other) == content(found, frames)


@given(st.lists(anywhere, max_size=20))
@settings(deadline=None)
def test_a_volume_is_regular(frames: list[Frame]) -> None:
    for stack in stacks(frames):
        assert (stack.affine is None) == (stack.reason not in (None, Reason.TOO_FEW_SLICES))
        if stack.affine is not None:
            for place, index in enumerate(stack.frames):
                position = (stack.affine @ (place, 0, 0, 1))[:3]
                assert np.abs(position - np.array(frames[index].position)).max() <= 0.05 * (stack.spacing or (0,))[0]
