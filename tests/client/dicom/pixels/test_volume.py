import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from client.dicom.pixels.grey import Grey, grey_plane
from client.dicom.pixels.volume import (
    AXES,
    canonical_stack,
    canonical_volume,
    fitted_grid,
    nearest_axes,
    regular_grid,
    sampled,
)
from client.dicom.reasons import LeftOutError, Reason
from shared.study import Input
from tests.client.dicom.conftest import make_object

Floats = NDArray[np.float64]
FIXED = (2048.0, 4096.0)


def spec_of(size: tuple[int, ...] = (8, 8, 8), **changes: object) -> Input:
    given: dict[str, object] = {"modalities": ("CT",), "size": size, "kind": "volume", "window": FIXED} | changes
    return Input(**given)  # type: ignore[arg-type]


def plane(values: NDArray[np.uint16], **header: object) -> Grey:
    return grey_plane(make_object(values, BitsStored=12, HighBit=11, **header), 0)


def scan_affine(turn: Rotation, spacing: Floats, tilt: float, origin: Floats) -> Floats:
    """(slice, row, column) → LPS: columns run left, rows back, slices to the head, then turned; slices sheared."""
    affine = np.eye(4)
    step = np.array([0.0, np.tan(tilt) * spacing[0], spacing[0]])
    affine[:3, :3] = turn.as_matrix() @ np.stack([step, [0, spacing[1], 0], [spacing[2], 0, 0]], axis=1)
    affine[:3, 3] = origin
    return affine


def ramp(positions: Floats) -> Floats:
    """A field that grows evenly: trilinear interpolation has it exactly."""
    field: Floats = positions @ np.array([0.003, -0.002, 0.004]) + 0.5
    return field


def positions_of(affine: Floats, shape: tuple[int, ...]) -> Floats:
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).astype(float)
    found: Floats = index @ affine[:3, :3].T + affine[:3, 3]
    return found


class TestRegularGrid:
    @settings(max_examples=40, deadline=None)
    @given(
        st.tuples(*[st.floats(-180, 180)] * 3),
        st.tuples(*[st.floats(0.5, 3)] * 3),
        st.floats(-0.4, 0.4),
        st.tuples(*[st.floats(-100, 100)] * 3),
    )
    def test_every_voxel_lies_where_the_patient_does(
        self, angles: tuple[float, ...], spacing: tuple[float, ...], tilt: float, origin: tuple[float, ...]
    ) -> None:
        """Whatever the scanner's orientation, tilt and spacing: the value at a place is that of the field there."""
        shape, size, step = (11, 13, 12), (5, 4, 6), 0.4  # finer than any scan: nothing is smoothed
        turn = Rotation.from_euler("xyz", angles, degrees=True)
        affine = scan_affine(turn, np.array(spacing), tilt, np.array(origin))
        field = ramp(positions_of(affine, shape)).astype(np.float32)
        onto, start = regular_grid(affine, shape, size, (step, step, step))
        found = sampled(field, onto, start, size)
        middle = affine[:3, :3] @ ((np.array(shape) - 1) / 2) + affine[:3, 3]
        index = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1) - (np.array(size) - 1) / 2
        np.testing.assert_allclose(found, ramp(middle + step * index @ AXES), atol=2e-5)

    def test_the_axes_run_to_the_head_the_back_and_the_left(self) -> None:
        affine = np.array([[0, 0, 1.0, 0], [0, 1.0, 0, 0], [-2.0, 0, 0, 0], [0, 0, 0, 1.0]])
        shown = np.zeros((3, 3, 3), np.float32)
        shown[0, 1, 1] = 1  # the slice nearest to the head
        onto, start = regular_grid(affine, shown.shape, (3, 3, 3), (2, 1, 1))
        assert np.argwhere(sampled(shown, onto, start, (3, 3, 3))).tolist() == [[2, 1, 1]]

    def test_outside_the_scan_is_black_and_its_outermost_half_voxel_is_not(self) -> None:
        affine = np.array([[0, 0, 1.0, 0], [0, 1.0, 0, 0], [1.0, 0, 0, 0], [0, 0, 0, 1.0]])
        onto, start = regular_grid(affine, (2, 2, 2), (6, 6, 6), (0.9, 0.9, 0.9))
        found = sampled(np.ones((2, 2, 2), np.float32), onto, start, (6, 6, 6))
        line = found[3, 3]  # middles of the tensor's voxels at ±0.45, ±1.35, ±2.25 mm; the scan ends at ±1 mm
        assert line.tolist() == [0, 0, 1, 1, 0, 0]


class TestFittedGrid:
    def test_a_scan_that_fits_is_unchanged(self) -> None:
        affine = np.array([[0, 0, 1.0, 5], [0, 1.0, 0, 6], [1.0, 0, 0, 7], [0, 0, 0, 1.0]])
        shown = np.random.default_rng(1).random((4, 5, 6)).astype(np.float32)
        onto, start = fitted_grid(affine, shown.shape, (4, 5, 6))
        assert np.array_equal(sampled(shown, onto, start, (4, 5, 6)), shown)

    @pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
    @pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
    def test_however_it_was_sliced_it_is_the_same_tensor(self, order: tuple[int, ...], signs: tuple[int, ...]) -> None:
        world = np.random.default_rng(1).random((4, 4, 4)).astype(np.float32)  # [head, back, left]
        shown = np.ascontiguousarray(world.transpose(order)[tuple(slice(None, None, sign) for sign in signs)])
        affine = np.eye(4)
        affine[:3, :3] = (AXES[list(order)] * np.array(signs)[:, None]).T
        onto, start = fitted_grid(affine, shown.shape, (4, 4, 4))
        assert np.array_equal(sampled(shown, onto, start, (4, 4, 4)), world)

    def test_every_axis_is_used_once_even_when_two_point_alike(self) -> None:
        assert sorted(nearest_axes(np.array([[0.6, 0.6, 0.5], [0.6, 0.6, 0.5], [0.5, 0.5, 0.7]]))) == [0, 1, 2]

    def test_proportions_are_kept(self) -> None:
        affine = np.array([[0, 0, 1.0, 0], [0, 1.0, 0, 0], [2.0, 0, 0, 0], [0, 0, 0, 1.0]])  # 8 × 8 × 4 mm
        onto, start = fitted_grid(affine, (4, 8, 4), (8, 8, 8))
        found = sampled(np.ones((4, 8, 4), np.float32), onto, start, (8, 8, 8))
        assert found.any(axis=(1, 2)).sum() == 8
        assert found.any(axis=(0, 2)).sum() == 8
        assert found.any(axis=(0, 1)).sum() == 4


AXIAL = np.array([[0, 0, 1.0, 0], [0, 1.0, 0, 0], [1.0, 0, 0, 0], [0, 0, 0, 1.0]])


class TestVolume:
    def test_values_go_through_each_slices_own_rescale_and_one_window(self) -> None:
        flat = np.full((8, 8), 1000, np.uint16)
        planes = [
            plane(flat, Modality="PT", RescaleSlope=slope, RescaleIntercept=0, WindowCenter=1, WindowWidth=2)
            for slope in (0.5, 1.0, 2.0, 3.0, 0.5, 1.0, 2.0, 3.0)
        ]
        found = canonical_volume(planes, AXIAL, spec_of(window=(2048, 4096)))[0]
        assert found.shape == (8, 8, 8)
        expected = ((np.array([500, 1000, 2000, 3000] * 2) - 2047.5) / 4095 + 0.5).clip(0, 1)
        np.testing.assert_allclose(found[:, 4, 4], expected, atol=1 / 65535)

    def test_percentiles_are_of_the_whole_volume(self) -> None:
        planes = [plane(np.full((8, 8), 100 * number, np.uint16)) for number in range(8)]
        found = canonical_volume(planes, AXIAL, spec_of(window="percentile"))[0]
        low, high = np.percentile(np.repeat(np.arange(8) * 100, 64), (1, 99))
        np.testing.assert_allclose(found[:, 3, 3], ((np.arange(8) * 100 - low) / (high - low)).clip(0, 1), atol=2e-5)

    def test_multiples_of_one_level(self) -> None:
        rng = np.random.default_rng(1)
        planes = [plane(rng.integers(0, 4096, (9, 7)).astype(np.uint16)) for _ in range(5)]
        found = canonical_volume(planes, AXIAL, spec_of(spacing=(0.8, 0.9, 1.1)))
        levels = found.astype(np.float64) * 65535
        assert found.dtype == np.float32
        assert np.abs(levels - np.rint(levels)).max() < 1e-2
        assert 0 <= found.min() < found.max() <= 1

    def test_slices_of_different_sizes_are_no_volume(self) -> None:
        planes = [plane(np.zeros((8, 8), np.uint16)), plane(np.zeros((8, 9), np.uint16))]
        with pytest.raises(LeftOutError) as caught:
            canonical_volume(planes, AXIAL, spec_of())
        assert caught.value.reason is Reason.DECODE_FAILED


def test_a_stacks_channels_are_its_slices_in_order() -> None:
    planes = [plane(np.full((8, 8), value, np.uint16)) for value in (0, 1000, 4000)]
    found = canonical_stack(planes, spec_of((8, 8), kind="stack", neighbours=1))
    assert found.shape == (3, 8, 8)
    expected = (np.array([0, 1000, 4000]) - 2047.5) / 4095 + 0.5
    np.testing.assert_allclose(found[:, 0, 0], expected.clip(0), atol=2e-5)
