import itertools

import numpy as np
import pytest
import torch

from client.images import Images
from client.training.augment import Augmentation
from client.training.batches import balanced, gather, shuffled


def three_patients() -> Images:
    """Image i is filled with i / 10; patients own 1, 2 and 4 images."""
    pixels = np.repeat(np.arange(7), 4).reshape(7, 1, 2, 2).astype(np.float32) / np.float32(10)
    owners = np.array([0, 1, 1, 2, 2, 2, 2])
    return Images(pixels, np.array([0, 1, 1, 0, 1, 0, 1]), owners, (b"a", b"b", b"c"), np.zeros(3, np.int64))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_passes_see_every_patient_once_in_new_orders() -> None:
    batches = shuffled(10, 4, generator())
    first, second = (list(itertools.islice(batches, 3)) for _ in range(2))
    for one in (first, second):
        assert [len(b) for b in one] == [4, 4, 2]
        assert sorted(np.concatenate(one)) == list(range(10))
    assert np.concatenate(first).tolist() != np.concatenate(second).tolist()


def test_a_batch_holds_the_copies_of_each_drawn_patients_images() -> None:
    groups = [np.array([1, 2]), np.array([0])]
    batch = gather(three_patients(), groups, copies=3, generator=generator(), device=torch.device("cpu"))
    assert batch.patients == 2
    assert batch.owner.tolist() == [0] * 6 + [1] * 3
    assert batch.target.tolist() == [1] * 6 + [0] * 3
    torch.testing.assert_close(batch.images[:, 0, 0, 0], torch.tensor([0.1] * 3 + [0.2] * 3 + [0.0] * 3))


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_patient_with_many_images_gives_a_few_at_random(most: int) -> None:
    seen: set[int] = set()
    for seed in range(40):
        batch = gather(
            three_patients(),
            [np.array([3, 4, 5, 6])],
            copies=1,
            generator=generator(seed),
            device=torch.device("cpu"),
            images_per_patient=most,
        )
        rows = tuple(sorted((batch.images[:, 0, 0, 0] * 10).round().int().tolist()))
        assert len(set(rows)) == len(batch.owner) == most
        seen.update(rows)
    assert seen == {3, 4, 5, 6}


def test_copies_are_augmented_each_on_its_own() -> None:
    images = three_patients()
    batch = gather(images, [np.array([3])], copies=4, generator=generator(), device=torch.device("cpu"))
    given, _ = Augmentation(frozenset({"noise"}))(batch.images, batch.target, generator())
    assert len({tuple(image.flatten().tolist()) for image in given}) == 4
    assert images.pixels[3, 0, 0, 0] == np.float32(0.3)


def test_balanced_batches_hold_every_label_as_often() -> None:
    """Two labels, ninety patients of one and ten of the other; one with both; one with neither."""
    present = np.zeros((102, 2), bool)
    present[:90, 0], present[90:101, 1], present[100, 0] = True, True, True
    batches = balanced(present, 1000, generator())
    drawn = np.concatenate([next(batches) for _ in range(20)])
    counts = np.bincount(drawn, minlength=102)
    assert abs(counts[90:101].sum() / 20_000 - 0.5) < 0.02
    assert abs(counts[:90].sum() / 20_000 - 0.5) < 0.02
    assert 0 < counts[101] < 400
    again = balanced(present, 1000, generator())
    assert np.array_equal(next(again), drawn[:1000])
