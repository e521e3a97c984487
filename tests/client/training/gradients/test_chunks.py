import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from client.images import Images
from client.training.augment import Augmentation
from client.training.batches import Rows
from client.training.given import Given
from client.training.gradients.base import Patients
from client.training.gradients.chunks import chunks
from shared.errors import MisuseError
from shared.study import MINIMAL, parse_study
from shared.tasks.registry import kind_of

#: Images of patients 0, 1, …
COUNTS = [1, 2, 4, 1, 1, 2, 5]


def images() -> Images:
    """Image i is filled with (i + 1) / 32; its label is i."""
    count = sum(COUNTS)
    pixels = np.repeat(np.arange(1, count + 1), 4).reshape(count, 1, 2, 2).astype(np.float32) / np.float32(32)
    owner = np.repeat(np.arange(len(COUNTS)), COUNTS)
    keys = tuple(b"%d" % p for p in range(len(COUNTS)))
    return Images(pixels, np.arange(count), owner, keys, np.zeros(len(COUNTS), np.int64))


KIND = kind_of(parse_study(MINIMAL))


def as_it_is(pixels: Tensor, target: Tensor, _: Generator) -> tuple[Tensor, Tensor]:
    return pixels, target


GROUPS = np.split(np.arange(sum(COUNTS)), np.cumsum(COUNTS)[:-1])


def made(
    groups: Sequence[Rows] = GROUPS,
    *,
    at_once: int = 4,
    most: int = 2,
    copies: int = 1,
    augmentation: Sequence[str] = (),
    seed: int = 0,
) -> list[Patients]:
    return list(
        chunks(
            images(),
            groups,
            at_once=at_once,
            images_per_patient=most,
            copies=copies,
            words=[1000 * seed + number for number in range(len(groups))],
            device=torch.device("cpu"),
            given=Given(Augmentation(frozenset(augmentation)), KIND),
        )
    )


def test_patients_with_equally_many_images_go_together_and_the_rest_is_black() -> None:
    ones, *twos = made()
    assert ones.images.shape == (4, 1, 1, 2, 2)
    assert ones.real == 3
    assert ones.target.tolist() == [[0], [7], [8], [0]]
    assert ones.images[:, 0, 0, 0, 0].tolist() == [1 / 32, 8 / 32, 9 / 32, 0]
    assert [part.images.shape for part in twos] == [(2, 2, 1, 2, 2)] * 2
    assert [part.real for part in twos] == [2, 2]
    assert twos[0].target[0].tolist() == [1, 2]


@pytest.mark.parametrize("at_once", [1, 2, 3, 4, 100])
@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("most", [1, 2, 5])
def test_every_patient_appears_once_with_its_own_images_and_every_chunk_of_a_kind_has_one_shape(
    at_once: int, copies: int, most: int
) -> None:
    owner = images().patient
    seen = []
    sizes: dict[int, set[int]] = {}
    for part in made(at_once=at_once, most=most, copies=copies):
        count, each = part.target.shape
        assert part.images.shape == (count, each, 1, 2, 2)
        assert count == max(1, at_once // each)
        sizes.setdefault(each, set()).add(count)
        assert 1 <= part.real <= count
        for pixels, label in zip(part.images[: part.real, :, 0, 0, 0], part.target[: part.real], strict=True):
            assert (pixels * 32 - 1).round().tolist() == label.tolist()
            (patient,) = set(owner[label.numpy()])
            seen.append(patient)
            chosen, times = np.unique(label.numpy(), return_counts=True)
            assert len(chosen) == min(COUNTS[patient], most)
            assert set(times) == {copies}
        assert not part.images[part.real :].any()
    assert sorted(seen) == list(range(len(COUNTS)))
    assert all(len(counts) == 1 for counts in sizes.values())


def test_a_few_images_of_many_are_drawn_at_random() -> None:
    seen = {tuple(sorted(part.target[0].tolist())) for seed in range(200) for part in made(GROUPS[2:3], seed=seed)}
    assert len(seen) == math.comb(4, 2)  # 200 draws miss one of six with a chance below 10^-14


def test_one_patient_more_changes_nothing_of_the_others() -> None:
    """Each patient's choice of images and augmentation hang on its own word alone."""

    def seen(groups: Sequence[Rows], words: Sequence[int]) -> dict[int, list[float]]:
        parts = chunks(
            images(), groups, at_once=4, images_per_patient=2, copies=2, words=words,
            given=Given(Augmentation(frozenset({"noise", "rotate"})), KIND), device=torch.device("cpu"),
        )  # fmt: skip
        owner = images().patient
        return {
            int(owner[int(label[0])]): pixels.flatten().tolist()
            for part in parts
            for pixels, label in zip(part.images[: part.real], part.target[: part.real], strict=True)
        }

    everybody = seen(GROUPS, range(len(GROUPS)))
    for gone in range(len(GROUPS)):
        rest = [number for number in range(len(GROUPS)) if number != gone]
        fewer = seen([GROUPS[number] for number in rest], rest)
        assert fewer == {patient: pixels for patient, pixels in everybody.items() if patient != gone}


def test_nobody_makes_no_chunk() -> None:
    assert made([]) == []


def test_copies_are_augmented_each_on_its_own() -> None:
    (part,) = made(GROUPS[:1], at_once=4, copies=4, augmentation=("noise",))
    assert len({tuple(image.flatten().tolist()) for image in part.images[0]}) == 4


def test_chunks_are_made_when_asked_for() -> None:
    """Only the rows of the chunk that is made are read."""
    read: list[int] = []

    class Watched(Images):
        def tensors(self, rows: Rows) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            read.append(len(rows))
            return super().tensors(rows)

    known = images()
    watched = Watched(known.pixels, known.target, known.patient, known.keys, known.split)
    parts = chunks(
        watched, [np.array([0])] * 100, at_once=8, images_per_patient=1, copies=1, given=as_it_is,
        words=range(100), device=torch.device("cpu"),
    )  # fmt: skip
    next(parts)
    assert read == [8]
    next(parts)
    assert read == [8, 8]


@pytest.mark.parametrize(("at_once", "most", "copies"), [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_less_than_one_is_refused(at_once: int, most: int, copies: int) -> None:
    with pytest.raises(MisuseError, match="at least 1"):
        made(at_once=at_once, most=most, copies=copies)
