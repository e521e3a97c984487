"""Segmentations are written by highdicom, an independent implementation, and read by ours."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from client.dicom.labels.faults import MaskError, MaskFault
from client.dicom.labels.grid import Grid
from client.dicom.labels.segmentation import Segmentation, segmentation_of
from client.dicom.pixels.objects import open_object
from client.dicom.writing import ENCODERS, derived_uid

Make = Callable[..., Dataset]
Mask = NDArray[np.bool_]
ROWS, COLUMNS = 3, 5  # 15 pixels: frames of bits do not start at bytes
TILTED = np.array([[0.8, 0.0, 0.6], [0.0, 1.0, 0.0], [-0.6, 0.0, 0.8]])


def affine(step: float = 2.0, turn: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Axial, slices `step` mm apart towards the head, rows of 1.5 mm, columns of 0.5 mm, then turned by `turn`."""
    matrix = np.eye(4)
    turn = np.eye(3) if turn is None else turn
    matrix[:3] = np.array([[0, 0, 0.5, -7], [0, 1.5, 0, 11], [step, 0, 0, 30]])
    matrix[:3, :3] = turn @ matrix[:3, :3]
    return matrix


def grid_of(matrix: NDArray[np.float64], slices: int = 4, **values: Any) -> Grid:
    shape = values.pop("shape", (slices, ROWS, COLUMNS))
    return Grid(tuple(matrix.ravel().tolist()), shape, **values)


@pytest.fixture
def images(make: Make) -> Callable[..., list[Dataset]]:
    """images(matrix, slices): CT slices that lie as `matrix` says."""

    def build(matrix: NDArray[np.float64], slices: int = 4, size: tuple[int, int] = (ROWS, COLUMNS)) -> list[Dataset]:
        spacing = np.linalg.norm(matrix[:3, 1:3], axis=0)
        directions = [*(matrix[:3, 2] / spacing[1]), *(matrix[:3, 1] / spacing[0])]
        made = []
        for number in range(slices):
            image = make(np.zeros(size, np.uint16), SOPClassUID=CTImageStorage, Modality="CT")
            image.SOPInstanceUID = derived_uid("ct", str(number))
            image.FrameOfReferenceUID = derived_uid("frame")
            image.ImagePositionPatient = (matrix[:3, 3] + number * matrix[:3, 0]).tolist()
            image.ImageOrientationPatient, image.PixelSpacing = directions, spacing.tolist()
            image.SliceThickness = 2.0
            image.StudyID = image.StudyDate = image.StudyTime = image.ReferringPhysicianName = None
            image.PatientBirthDate = image.PatientSex = image.PositionReferenceIndicator = None
            made.append(image)
        return made

    return build


def describe(number: int, label: str) -> Any:
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Neoplasm,
        algorithm_type="MANUAL",
    )


def written(
    sources: list[Dataset], pixels: NDArray[Any], kind: str = "BINARY", labels: tuple[str, ...] = ("A",), **values: Any
) -> Dataset:
    """A segmentation of `sources` by highdicom."""
    return hd.seg.Segmentation(
        source_images=sources,
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=[describe(number, label) for number, label in enumerate(labels, 1)],
        series_instance_uid=derived_uid("seg"),
        series_number=1,
        sop_instance_uid=derived_uid("seg", "1"),
        instance_number=1,
        manufacturer="T",
        manufacturer_model_name="T",
        software_versions="1",
        device_serial_number="1",
        **values,
    )


def compressed(dataset: Dataset, syntax: str) -> Dataset:
    """`dataset` in `syntax`; highdicom itself would take GDCM, which aborts on frames as small as these."""
    copy = dcmread(BytesIO(saved(dataset)))
    if syntax != ExplicitVRLittleEndian:
        copy.compress(UID(syntax), encoding_plugin=ENCODERS[syntax], generate_instance_uid=False)
    return copy


def saved(dataset: Dataset) -> bytes:
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def read(dataset: Dataset) -> Segmentation:
    """Through a file, as bytes arrive."""
    return segmentation_of(open_object(saved(dataset)))


@pytest.fixture
def mask() -> Mask:
    """[4 slices, rows, columns]; the second slice is empty."""
    pixels = np.random.default_rng(5).random((4, ROWS, COLUMNS)) < 0.5
    pixels[1] = False
    return pixels


@pytest.mark.parametrize("turn", [None, TILTED, TILTED.T @ np.diag([1, -1, -1])])
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
@pytest.mark.parametrize("omit", [True, False])
def test_what_was_drawn_is_what_is_read(
    images: Callable[..., list[Dataset]], mask: Mask, turn: Any, order: list[int], omit: bool
) -> None:
    matrix = affine(turn=turn)
    sources = images(matrix)
    seg = written([sources[place] for place in order], mask[order].astype(np.uint8), omit_empty_frames=omit)
    found = read(seg)
    assert found.labels == ("A",)
    assert found.series == (sources[0].SeriesInstanceUID,)
    assert np.array_equal(found.on(grid_of(matrix), "A"), mask)


@pytest.mark.parametrize("flip", [(0,), (1,), (2,), (0, 2)])
def test_a_grid_that_runs_the_other_way(
    images: Callable[..., list[Dataset]], mask: Mask, flip: tuple[int, ...]
) -> None:
    matrix = affine()
    found = read(written(images(matrix), mask.astype(np.uint8)))
    for axis in flip:
        matrix[:3, 3] += matrix[:3, axis] * (mask.shape[axis] - 1)
        matrix[:3, axis] *= -1
    assert np.array_equal(found.on(grid_of(matrix), "A"), np.flip(mask, flip))


def test_a_grid_in_other_planes(images: Callable[..., list[Dataset]], mask: Mask) -> None:
    matrix = affine()
    found = read(written(images(matrix), mask.astype(np.uint8)))
    sagittal = matrix[:, [2, 0, 1, 3]]  # slices along the columns, rows along the slices
    grid = grid_of(sagittal, shape=(COLUMNS, 4, ROWS))
    assert np.array_equal(found.on(grid, "A"), mask.transpose(2, 0, 1))


def test_a_finer_grid_takes_the_nearest_pixel_and_nothing_beyond(
    images: Callable[..., list[Dataset]], mask: Mask
) -> None:
    matrix = affine()
    found = read(written(images(matrix), mask.astype(np.uint8)))
    fine = matrix @ np.diag([0.5, 0.5, 0.5, 1])
    fine[:3, 3] -= fine[:3, :3].sum(axis=1) * 0.5  # half a fine voxel before the first: 0.25 of a coarse one
    doubled = mask.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    assert np.array_equal(found.on(grid_of(fine, shape=doubled.shape), "A"), doubled)
    beyond = fine.copy()
    beyond[:3, 3] -= fine[:3, 0]
    grid = grid_of(beyond, shape=(doubled.shape[0] + 2, *doubled.shape[1:]))
    assert np.array_equal(found.on(grid, "A"), np.pad(doubled, ((1, 1), (0, 0), (0, 0))))


def test_a_lone_slice_does_not_spread(images: Callable[..., list[Dataset]], mask: Mask) -> None:
    mask[[0, 2]] = False
    matrix = affine()
    found = read(written(images(matrix), mask.astype(np.uint8)))
    assert found.dataset.NumberOfFrames == 1
    assert np.array_equal(found.on(grid_of(matrix), "A"), mask)


def test_slices_far_apart_do_not_fill_those_between(images: Callable[..., list[Dataset]], mask: Mask) -> None:
    mask[1:3] = False
    matrix = affine()
    found = read(written(images(matrix), mask.astype(np.uint8)))
    assert np.array_equal(found.on(grid_of(matrix), "A"), mask)


def test_a_grid_halfway_takes_the_plane_above(images: Callable[..., list[Dataset]], mask: Mask) -> None:
    matrix = affine()
    found = read(written(images(matrix), mask.astype(np.uint8)))
    halfway = matrix.copy()
    halfway[:3, 3] += matrix[:3, 0] / 2
    assert np.array_equal(found.on(grid_of(halfway), "A"), np.concatenate([mask[1:], mask[:1] & False]))


@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        ("BINARY", ExplicitVRLittleEndian),
        ("LABELMAP", ExplicitVRLittleEndian),
        ("LABELMAP", RLELossless),
    ],
)
def test_several_segments(images: Callable[..., list[Dataset]], kind: str, syntax: str) -> None:
    numbers = np.random.default_rng(5).integers(0, 3, (4, ROWS, COLUMNS)).astype(np.uint8)
    matrix = affine()
    seg = written(images(matrix), numbers, kind, ("A", "B"))
    found = read(compressed(seg, syntax))
    assert found.labels == ("A", "B")
    assert np.array_equal(found.on(grid_of(matrix), "A"), numbers == 1)
    assert np.array_equal(found.on(grid_of(matrix), "B"), numbers == 2)
    volume = hd.seg.Segmentation.from_dataset(seg).get_volume(combine_segments=True)
    assert np.array_equal(volume.array, numbers[::-1])  # highdicom's slices run the other way
    for number, label in enumerate("AB", 1):
        assert np.array_equal(found.on(grid_of(volume.get_affine("LPS")), label), volume.array == number)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_a_compressed_label_map(images: Callable[..., list[Dataset]], syntax: str) -> None:
    numbers = np.indices((2, 48, 64)).sum(axis=0).astype(np.uint8) // 8 % 3
    matrix = affine()
    found = read(compressed(written(images(matrix, 2, (48, 64)), numbers, "LABELMAP", ("A", "B")), syntax))
    assert np.array_equal(found.on(grid_of(matrix, shape=numbers.shape), "B"), numbers == 2)


def test_segments_of_one_name_are_one_mask(images: Callable[..., list[Dataset]]) -> None:
    numbers = np.random.default_rng(5).integers(0, 3, (4, ROWS, COLUMNS)).astype(np.uint8)
    matrix = affine()
    found = read(written(images(matrix), numbers, labels=("A", "A")))
    assert (found.labels, np.array_equal(found.on(grid_of(matrix), "A"), numbers > 0)) == (("A",), True)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_of_fractions_at_least_a_half(images: Callable[..., list[Dataset]], syntax: str) -> None:
    shares = np.linspace(0, 1, 4 * ROWS * COLUMNS).reshape(4, ROWS, COLUMNS)
    matrix = affine()
    seg = written(images(matrix), shares, "FRACTIONAL", max_fractional_value=200)
    stored = np.around(shares * 200)
    assert np.array_equal(read(compressed(seg, syntax)).on(grid_of(matrix), "A"), stored >= 100)


def test_a_segment_without_a_label_has_the_name_of_what_it_shows(
    images: Callable[..., list[Dataset]], mask: Mask
) -> None:
    seg = written(images(affine()), mask.astype(np.uint8))
    seg.SegmentSequence[0].SegmentLabel = ""
    assert read(seg).labels == ("Neoplasm",)


def test_on_the_image_it_was_drawn_on(images: Callable[..., list[Dataset]], mask: Mask) -> None:
    sources = images(affine())
    seg = written(sources, mask.astype(np.uint8), omit_empty_frames=False)
    uids = [source.SOPInstanceUID for source in sources]
    oracle = hd.seg.Segmentation.from_dataset(seg).get_pixels_by_source_instance(uids, combine_segments=True)
    found = read(seg)
    for number, uid in enumerate(uids):
        assert np.array_equal(found.on_image("A", uid, size=(ROWS, COLUMNS)), mask[number])
        assert np.array_equal(oracle[number] > 0, mask[number])
    for label, uid, size, fault in [
        ("A", "1.2.3", (ROWS, COLUMNS), MaskFault.NO_IMAGE),
        ("B", uids[0], (ROWS, COLUMNS), MaskFault.NO_LABEL),
        ("A", uids[0], (COLUMNS, ROWS), MaskFault.WRONG_SIZE),
    ]:
        with pytest.raises(MaskError, match=fault.value):
            found.on_image(label, uid, size=size)


def test_moved_pixels_are_not_those_of_the_image(images: Callable[..., list[Dataset]], mask: Mask) -> None:
    sources = images(affine())
    seg = written(sources, mask.astype(np.uint8), omit_empty_frames=False)
    for group in seg.PerFrameFunctionalGroupsSequence:
        group.DerivationImageSequence[0].SourceImageSequence[0].SpatialLocationsPreserved = "NO"
    with pytest.raises(MaskError, match="no_image"):
        read(seg).on_image("A", sources[0].SOPInstanceUID)


def test_the_frame_of_reference_must_be_the_images(images: Callable[..., list[Dataset]], mask: Mask) -> None:
    matrix = affine()
    found = read(written(images(matrix), mask.astype(np.uint8)))
    same = grid_of(matrix, frame_of_reference=derived_uid("frame"))
    assert np.array_equal(found.on(same, "A"), mask)
    with pytest.raises(MaskError, match="other_frame"):
        found.on(grid_of(matrix, frame_of_reference="1.2.3"), "A")


def _nameless(seg: Dataset) -> None:
    del seg.SharedFunctionalGroupsSequence[0].SegmentIdentificationSequence


def _placeless(seg: Dataset) -> None:
    del seg.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence


def _cut(seg: Dataset) -> None:
    seg.PixelData = seg.PixelData[:2]


def _other_kind(seg: Dataset) -> None:
    seg.SegmentationType = "SURFACE"


def _tiled(seg: Dataset) -> None:
    seg.DimensionOrganizationType = "TILED_FULL"


def _numberless(seg: Dataset) -> None:
    seg.SegmentSequence[0].SegmentNumber = None


def _swollen(seg: Dataset) -> None:
    seg.NumberOfFrames = "99999999999"


def _turned(seg: Dataset) -> None:
    shared = seg.SharedFunctionalGroupsSequence[0]
    group = seg.PerFrameFunctionalGroupsSequence[1]
    group.PlaneOrientationSequence = [Dataset()]
    row = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    group.PlaneOrientationSequence[0].ImageOrientationPatient = [*row[3:], *row[:3]]


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (_nameless, MaskFault.UNREADABLE),
        (_placeless, MaskFault.NO_GEOMETRY),
        (_cut, MaskFault.UNREADABLE),
        (_other_kind, MaskFault.UNSUPPORTED),
        (_tiled, MaskFault.UNSUPPORTED),
        (_numberless, MaskFault.UNREADABLE),
        (_swollen, MaskFault.TOO_LARGE),
        (_turned, MaskFault.UNSUPPORTED),
    ],
)
def test_a_damaged_one_is_refused(
    images: Callable[..., list[Dataset]], mask: Mask, damage: Callable[[Dataset], None], fault: MaskFault
) -> None:
    seg = written(images(affine()), mask.astype(np.uint8))
    damage(seg)
    with pytest.raises(MaskError) as caught:
        read(seg).on(grid_of(affine()), "A")
    assert caught.value.fault is fault
    assert fault.explain


def test_no_such_segment(images: Callable[..., list[Dataset]], mask: Mask) -> None:
    with pytest.raises(MaskError, match="no_label"):
        read(written(images(affine()), mask.astype(np.uint8))).on(grid_of(affine()), "B")


def test_no_identity_in_a_repr(images: Callable[..., list[Dataset]], mask: Mask) -> None:
    sources = images(affine())
    told = repr(read(written(sources, mask.astype(np.uint8)))) + repr(grid_of(affine(), frame_of_reference="1.2.3"))
    assert not any(text in told for text in (sources[0].SOPInstanceUID, sources[0].SeriesInstanceUID, "1.2.3"))
