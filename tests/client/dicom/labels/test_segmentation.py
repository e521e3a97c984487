"""Segmentations are written by highdicom, an independent implementation, and read by ours."""

from collections.abc import Callable

import highdicom as hd
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from client.dicom.labels.faults import MaskError, MaskFault
from tests.client.dicom.labels.segmentations import (
    COLUMNS,
    ROWS,
    Mask,
    affine,
    compressed,
    ct,
    grid_of,
    read,
    some_mask,
    written,
)


@pytest.fixture
def images(make: Callable[..., Dataset]) -> Callable[..., list[Dataset]]:
    return ct(make)


@pytest.fixture
def mask() -> Mask:
    return some_mask()


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
    shares[0, 0, 0] = 0.5
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


def test_on_the_frame_it_was_drawn_on(images: Callable[..., list[Dataset]], mask: Mask) -> None:
    sources = images(affine())
    seg = written(sources, mask.astype(np.uint8), omit_empty_frames=False)
    for number, group in enumerate(seg.PerFrameFunctionalGroupsSequence):
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        source.ReferencedSOPInstanceUID, source.ReferencedFrameNumber = "1.2.3", [number + 1, number + 11]
    found = read(seg)
    drawn = mask[::-1]  # highdicom's frames run the other way
    assert np.array_equal(found.on_image("A", "1.2.3", frame=2), drawn[1])
    assert np.array_equal(found.on_image("A", "1.2.3", frame=14), drawn[3])
    with pytest.raises(MaskError, match="no_image"):
        found.on_image("A", "1.2.3", frame=5)


def test_a_slice_that_only_another_segment_has_is_empty(images: Callable[..., list[Dataset]]) -> None:
    numbers = np.full((4, ROWS, COLUMNS), 2, np.uint8)
    numbers[2, 1:] = 1
    matrix = affine()
    found = read(written(images(matrix), numbers, labels=("A", "B")))
    assert np.array_equal(found.on(grid_of(matrix), "A"), numbers == 1)


def test_moved_pixels_are_not_those_of_the_image(images: Callable[..., list[Dataset]], mask: Mask) -> None:
    sources = images(affine())
    seg = written(sources, mask.astype(np.uint8), omit_empty_frames=False)
    for group in seg.PerFrameFunctionalGroupsSequence:
        group.DerivationImageSequence[0].SourceImageSequence[0].SpatialLocationsPreserved = "NO"
    with pytest.raises(MaskError, match="no_image"):
        read(seg).on_image("A", sources[0].SOPInstanceUID)


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
