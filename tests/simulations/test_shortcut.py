from dataclasses import replace

import numpy as np
import pytest

from client.images import Images, Split
from simulations.shortcut import Shortcut, shortcut_of


def site(seed: int, brightness: float, share: float, patients: int = 120) -> Images:
    """Noise of a brightness of its own; a share of the patients with the finding, which no pixel shows."""
    rng = np.random.default_rng(seed)
    pixels = np.clip(brightness + 0.1 * rng.standard_normal((patients, 1, 32, 32)), 0, 1).astype(np.float32)
    split = np.where(np.arange(patients) % 2, Split.TRAIN, Split.TEST).astype(np.int64)
    target = (rng.random(patients) < share).astype(np.int64)
    return Images(pixels, target, np.arange(patients), tuple(b"%d" % p for p in range(patients)), split)


@pytest.mark.parametrize(("others", "least", "most"), [(0.5, 0.3, 0.7), (0.8, 0.99, 1.0)])
def test_a_hospital_is_told_where_its_images_differ_and_only_there(others: float, least: float, most: float) -> None:
    found = shortcut_of({"a": site(1, 0.5, 0.5), "b": site(2, others, 0.5)}, binary=True)
    assert least <= found.mean <= most
    assert found.chance == 0.5
    assert set(found.told) == {"a", "b"}


def test_knowing_the_hospital_is_worth_what_their_shares_of_the_finding_differ_by() -> None:
    alike = shortcut_of({"a": site(1, 0.5, 0.5, 400), "b": site(2, 0.5, 0.5, 400)}, binary=True).without_images
    apart = shortcut_of({"a": site(1, 0.5, 0.05, 400), "b": site(2, 0.5, 0.95, 400)}, binary=True).without_images
    assert alike is not None and abs(alike - 0.5) < 0.05
    assert apart is not None and apart > 0.9


def test_the_table_names_every_hospital_and_says_only_what_is_known() -> None:
    table = Shortcut({"a": 0.9, "b": 0.7}, 0.8, 0.75, 0.5, None).table
    assert [row[0] for row in table.rows] == [
        "a told from the others (AUC)",
        "b told from the others (AUC)",
        "all, on average",
        "hospital named right",
        "by chance",
    ]


@pytest.mark.parametrize("split", [Split.TRAIN, Split.TEST])
def test_a_hospital_with_one_split_only_is_left_out_and_spoils_no_other_figure(split: Split) -> None:
    some = {"a": site(1, 0.5, 0.5), "b": site(2, 0.8, 0.5)}
    odd = replace(site(3, 0.2, 0.5), split=np.full(120, split))
    found, without = shortcut_of({**some, "odd": odd}, binary=True), shortcut_of(some, binary=True)
    assert np.isnan(found.told["odd"])
    assert (found.mean, found.accuracy, found.chance) == (without.mean, without.accuracy, without.chance)
    assert ("odd told from the others (AUC)", None) in found.table.rows


def test_a_hospital_cannot_be_told_from_nobody() -> None:
    found = shortcut_of({"a": site(1, 0.5, 0.5)}, binary=False)
    assert [value for _, value in found.table.rows] == [None] * 4
