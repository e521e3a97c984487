from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from msgspec.structs import replace
from torch import Tensor

from client.dicom.archive import Counts
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.targets.boxes import MOST, around, padded
from client.dicom.targets.gather import decoded
from client.images import Images
from client.training.given import given_of
from shared.study import MINIMAL, Input, parse_study
from tests.client.dicom.archives import ready
from tests.client.dicom.targets.blobs import draw, keep, slices

Write = Callable[..., Path]
SPEC = Input(modalities=("DX",), size=(32, 32))
DETECTION = parse_study(
    MINIMAL.replace("[task]", '[task]\nkind = "detection"')
    .replace('"cnn"', '"retinanet"')
    .replace("batch = 8", 'batch = 8\naugmentation = ["flip", "rotate", "scale", "shift", "crop"]')
)


def boxes(folder: Path, rows: str, spec: Input = SPEC, labels: tuple[str, ...] = ("nodule",)) -> tuple[Images, Counts]:
    images, counts = ready(folder / "archive", spec, rows, labels=labels, target="boxes")
    assert images.target.dtype == np.float32
    assert images.target.shape[2] == 1 + 2 * len(spec.size)
    return images, counts


def found(images: Images) -> list[list[list[float]]]:
    """Of each image its boxes, without what pads them."""
    return [[row for row in one if row[0] >= 0] for one in images.target.tolist()]


def test_a_column_on_the_grid_of_the_tensor(write: Write, tmp_path: Path) -> None:
    """64 × 128 pixels are fitted into 32 × 32: a quarter as large, 8 rows down."""
    write("1.dcm", 1, np.zeros((64, 128), np.uint16), PatientID="P1")
    images, _ = boxes(tmp_path, "file,boxes\n1.dcm,8 16 24 48.4 nodule|0 0 64 128\n")
    assert found(images) == [[[0, 10, 4, 14, pytest.approx(12.1)], [0, 8, 0, 24, 32]]]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("8 8 24 24", [[0, 0, 0, 8, 8]]),  # clipped: the middle 32 × 32 of 64 × 64 are seen
        ("20 30 26 34|0 0 10 10", [[0, 4, 14, 10, 18]]),  # the second lies outside
        ("none", []),
        ("20 30 26 34 mass", []),
    ],
)
def test_what_is_cropped_away_is_no_box(write: Write, tmp_path: Path, cell: str, expected: list[list[float]]) -> None:
    write("1.dcm", 1, np.zeros((64, 64), np.uint16), PixelSpacing=[1, 1])
    images, _ = boxes(tmp_path, f"file,boxes\n1.dcm,{cell}\n", replace(SPEC, spacing=(1.0, 1.0)))
    assert found(images)[0] == expected


def test_every_fault_by_its_reason_and_rows_that_add_up(write: Write, tmp_path: Path) -> None:
    for number in range(9):
        write(f"{number}.dcm", number, np.zeros((32, 32), np.uint16), PatientID=f"P{number}")
    many = "|".join(f"{n % 8} {n // 8} {n % 8 + 1} {n // 8 + 1} a" for n in range(33))
    rows = (
        "file,boxes\n0.dcm,1 1 2 2 a\n0.dcm,3 3 4 4 b\n0.dcm,5 5 6 6 a\n1.dcm,none\n2.dcm,\n3.dcm,1 1 2\n"
        f"4.dcm,5 5 4 6 a\n5.dcm,nan 1 2 2 a\n6.dcm,{many}\n7.dcm,none\n7.dcm,1 1 2 2 a\n8.dcm,1 1 2 2\n"
    )
    images, counts = boxes(tmp_path, rows, labels=("a", "b"))
    assert sorted(found(images), key=len) == [[], [[0, 1, 1, 2, 2], [1, 3, 3, 4, 4], [0, 5, 5, 6, 6]]]
    assert images.target.shape == (2, MOST, 5)
    assert {reason: count for reason, count in counts.skipped.items() if count} == {
        Reason.NO_LABEL: 1,
        Reason.UNUSABLE_LABEL: 5,
        Reason.LABEL_CONFLICT: 1,
    }


def test_around_what_is_drawn(write: Write, tmp_path: Path) -> None:
    drawn = np.zeros((32, 32), np.uint8)
    drawn[2:5, 3:9], drawn[20:22, 20:21], drawn[22, 21] = 1, 1, 1
    write("1.dcm", 1, np.zeros((32, 32), np.uint16))
    images, _ = boxes(tmp_path, f"file,mask\n1.dcm,{draw(tmp_path / 'masks' / '1.png', drawn)}\n")
    assert found(images) == [[[0, 2, 3, 5, 9], [0, 20, 20, 23, 22]]]


def test_of_a_volume_only_around_what_is_drawn(tmp_path: Path) -> None:
    drawn = np.zeros((8, 8, 8), np.bool_)
    drawn[1:3, 2:5, 4:8] = True
    places = [(0.0, 0.0, 2.0 * number) for number in range(8)]
    uids = keep(tmp_path / "archive", slices(drawn, places))
    names = [draw(tmp_path / "masks" / f"{n}.png", plane) for n, plane in enumerate(drawn)]
    rows = "sop_instance_uid,mask,boxes\n" + "".join(f"{u},{n},none\n" for u, n in zip(uids, names, strict=True))
    spec = Input(modalities=("CT",), size=(8, 8, 8), kind="volume", spacing=(2.0, 0.5, 0.5))
    images, _ = boxes(tmp_path, rows, spec)
    assert found(images) == [[[0, 1, 2, 4, 3, 5, 8]]]


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 2)))
def test_every_pixel_of_a_label_lies_in_a_box_of_it(mask: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    for index in range(2):
        covered = np.zeros(mask.shape, bool)
        for label, top, left, bottom, right in around(mask, 2).astype(int).tolist():
            assert 0 <= top < bottom <= mask.shape[0]
            assert 0 <= left < right <= mask.shape[1]
            covered[top:bottom, left:right] |= label == index
        assert covered[mask == index + 1].all()


def moved(company: tuple[int, ...]) -> Tensor:
    """What steps are given of an image with two boxes, of a hospital whose other images have so many."""
    rows = np.stack([padded(np.array([[0, 3.1, 4.7, 9.9, 11.3]] * count, np.float32)) for count in (2, *company)])
    target = torch.from_numpy(np.array(decoded("boxes", rows, np.arange(len(rows)))[:1]))
    image, given = torch.zeros(1, 1, *DETECTION.input.size), given_of(DETECTION)
    return torch.cat([given(image, target, torch.Generator().manual_seed(seed))[1] for seed in range(8)])


@pytest.mark.parametrize("company", [(1,), (5, 9), (MOST,)])
def test_no_other_image_changes_a_box_in_its_last_bits(company: tuple[int, ...]) -> None:
    """Of a private step a patient may see nothing of the others, and kernels round by the shape of what they add."""
    assert torch.equal(moved(()), moved(company))


def test_more_boxes_than_any_target_holds() -> None:
    with pytest.raises(LeftOutError) as caught:
        padded(np.ones((MOST + 1, 5), np.float32))
    assert caught.value.reason is Reason.UNUSABLE_LABEL
