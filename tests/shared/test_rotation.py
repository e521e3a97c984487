import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.errors import MisuseError, SiteError
from shared.rotation import BLOCK, ROTATION_LABEL, SPREAD, Rotation, _shape, entry_bound, padded_length
from shared.secagg.keystream import KeyStream

Doubles = NDArray[np.float64]

SEEDS = [bytes([k]) * 32 for k in range(4)]
#: length: rows, columns
SHAPES = {1: (1, 1), 2: (2, 1), 3: (2, 2), 4: (4, 1), 5: (4, 2), 7: (4, 2), 8: (8, 1), 33: (32, 2)}
LENGTHS = [1, 2, 3, 5, 4095, 4096, 4097, 3 * BLOCK - 1, 10 * BLOCK + 1, 40 * BLOCK + 7]


def floats(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def normal(length: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(length, np.float32)


def hadamard(table: Doubles) -> Doubles:
    """Sylvester's construction along axis 0, unscaled."""
    if len(table) == 1:
        return table
    upper, lower = np.split(table, 2)
    return np.concatenate([hadamard(upper + lower), hadamard(upper - lower)])


def reference(seed: bytes, update: NDArray[np.float32]) -> Doubles:
    """The definition, written out in float64."""
    rows, columns = _shape(update.size)
    padded = rows * columns
    words = -(-padded // 32)
    stream = np.empty(2 * words, np.uint32)
    KeyStream(seed, ROTATION_LABEL).fill(stream)
    table = np.append(update.astype(np.float64), np.zeros(padded - update.size)).reshape(rows, columns)
    for number in range(2):
        if number:
            table = np.stack([np.roll(row, -place) for place, row in enumerate(table)])
        data = stream[number * words : (number + 1) * words].tobytes()
        signs = np.array([1 - 2 * (data[e // 8] >> (e % 8) & 1) for e in range(padded)])
        table = hadamard(signs.reshape(rows, columns) * table)
    return table.reshape(-1) / rows


@pytest.mark.parametrize(("length", "shape"), SHAPES.items())
@pytest.mark.parametrize("seed", range(4))
def test_unit_vectors_turn_into_orthonormal_ones_exactly(seed: int, length: int, shape: tuple[int, int]) -> None:
    rotation = Rotation(SEEDS[seed], length)
    assert _shape(length) == shape and rotation.padded == padded_length(length) == shape[0] * shape[1]
    units = np.eye(length, dtype=np.float32)
    rotated = np.stack([rotation.forward(unit) for unit in units])
    assert (rotated == [reference(SEEDS[seed], unit) for unit in units]).all()  # halves, quarters, ...
    assert (rotated @ rotated.T == units).all()


@pytest.mark.parametrize("length", [BLOCK - 1, BLOCK + 1, 40 * BLOCK + 7])
def test_long_vectors_follow_the_definition(length: int) -> None:
    """The last takes several pieces of signs and several slices of columns."""
    update = normal(length)
    rotated = Rotation(SEEDS[1], length).forward(update)
    assert np.abs(rotated - reference(SEEDS[1], update)).max() <= 3e-6


def test_one_entry_keeps_or_changes_its_sign() -> None:
    signs = {Rotation(bytes([k]) * 32, 1).forward(floats(3)).item() for k in range(20)}
    assert signs == {3.0, -3.0}


def test_two_entries_by_hand() -> None:
    """Sum and difference, twice, halved: one comes out whole, where the seed says."""
    results = {tuple(Rotation(bytes([k]) * 32, 2).forward(floats(4, 0)).tolist()) for k in range(40)}
    assert results == {(4, 0), (-4, 0), (0, 4), (0, -4)}


@pytest.mark.parametrize(
    ("length", "shape"),
    [(4095, (2048, 2)), (4096, (4096, 1)), (4097, (4096, 2)), (10**7, (4096, 2442)), (2**24 + 1, (8192, 2049))],
)
def test_the_shape_of_long_vectors(length: int, shape: tuple[int, int]) -> None:
    assert _shape(length) == shape


@given(st.integers(1, 10**9))
def test_no_column_misses_the_next(length: int) -> None:
    rows, columns = _shape(length)
    assert rows & (rows - 1) == 0 and columns <= rows
    assert length <= rows * columns < length + rows


@pytest.mark.parametrize("length", LENGTHS)
def test_an_update_comes_back_and_keeps_its_norm(length: int) -> None:
    rotation = Rotation(SEEDS[2], length)
    update = normal(length)
    before = update.copy()
    rotated = rotation.forward(update)
    assert rotated.dtype == np.float32 and rotated.shape == (rotation.padded,)
    kept = rotated.copy()
    back = rotation.inverse(rotated)
    assert back.dtype == np.float32 and back.shape == (length,) and back.flags.c_contiguous
    assert (update == before).all() and (rotated == kept).all()
    assert np.abs(back - update).max() <= 2e-6
    norm = np.linalg.norm(update.astype(np.float64))
    assert np.linalg.norm(rotated.astype(np.float64)) == pytest.approx(norm, rel=1e-6)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=70), st.binary(min_size=32, max_size=32))
def test_any_update_comes_back(values: list[float], seed: bytes) -> None:
    rotation = Rotation(seed, len(values))
    update = floats(*values)
    rotated = rotation.forward(update)
    norm = float(np.linalg.norm(update.astype(np.float64)))
    assert np.linalg.norm(rotated.astype(np.float64)) == pytest.approx(norm, rel=1e-5, abs=1e-30)
    assert np.abs(rotation.inverse(rotated) - update).max() <= 1e-6 * norm + 1e-30


def test_a_sum_of_rotated_updates_is_the_rotated_sum() -> None:
    rotation = Rotation(SEEDS[1], 5)
    updates = [floats(1, 2, -3, 4, 0), floats(0, 8, 16, 0, -1), floats(-2, 0, 0, 32, 5)]
    total = np.stack([rotation.forward(update) for update in updates]).sum(axis=0)
    assert total.tolist() == rotation.forward(floats(-1, 10, 13, 36, 4)).tolist()
    assert rotation.inverse(total).tolist() == [-1, 10, 13, 36, 4]


def test_the_seed_and_the_length_decide_all() -> None:
    update = normal(5000)
    rotated = Rotation(SEEDS[0], 5000).forward(update)
    assert (rotated == Rotation(bytes(32), 5000).forward(update)).all()
    assert (rotated != Rotation(SEEDS[1], 5000).forward(update)).any()
    assert Rotation(SEEDS[0], 5000) == Rotation(SEEDS[0], 5000)


@pytest.mark.parametrize("place", [0, 1, 77_777, 99_999])
def test_a_lone_entry_is_spread_over_all(place: int) -> None:
    update = np.zeros(100_000, np.float32)
    update[place] = 1
    rotated = Rotation(SEEDS[3], update.size).forward(update)
    energy = (rotated.reshape(4096, 25).astype(np.float64) ** 2).sum(axis=0)  # 163 or 164 of 4096 signs a column
    assert set((energy * 4096).round(6).tolist()) == {163, 164}
    assert np.abs(rotated).max() <= entry_bound(1.0, update.size)


@pytest.mark.parametrize("seed", range(4))
def test_layers_of_other_scales_are_spread_evenly(seed: int) -> None:
    """Four layers, ten thousand times apart, the largest of 64 entries: the fourth moment is a Gaussian's, 3."""
    sizes, scales = [64, 90_000, 5_000, 104_936], [100.0, 0.01, 1.0, 0.1]
    update = np.concatenate([normal(size, k) * np.float32(scales[k]) for k, size in enumerate(sizes)])
    rotated = Rotation(SEEDS[seed], update.size).forward(update).astype(np.float64)
    norm = float(np.linalg.norm(update.astype(np.float64)))
    even = rotated / (norm / rotated.size**0.5)
    assert np.abs(even).max() <= SPREAD
    assert np.abs(rotated).max() <= entry_bound(norm, update.size)
    assert (even**4).mean() == pytest.approx(3, abs=0.15)
    columns = (even.reshape(4096, -1) ** 2).mean(axis=0)
    assert 0.6 <= columns.min() <= columns.max() <= 1.5


def test_the_bound() -> None:
    assert 2 * np.exp(-(SPREAD**2) / 2) <= 1e-9
    assert entry_bound(2.0, 4096) == 2 * 6.55 / 64
    assert entry_bound(2.0, 3) == 2.0  # no entry exceeds the norm


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_diverged_update_is_an_error(value: float) -> None:
    with pytest.raises(SiteError, match="finite numbers"):
        Rotation(SEEDS[0], 3).forward(floats(1, value, 2))


@pytest.mark.parametrize("vector", [np.zeros(3), np.zeros(4, np.float32), np.zeros((1, 3), np.float32)])
def test_another_dtype_or_shape_is_refused(vector: NDArray[np.float32]) -> None:
    with pytest.raises(MisuseError, match=r"update: expected float32 \[3\]"):
        Rotation(SEEDS[0], 3).forward(vector)
    with pytest.raises(MisuseError, match=r"total: expected float32 \[8\]"):
        Rotation(SEEDS[0], 5).inverse(vector)


def test_no_seed_or_length_of_another_kind() -> None:
    with pytest.raises(MisuseError, match="32 bytes"):
        Rotation(bytes(31), 3)
    for length in (0, -1):
        with pytest.raises(MisuseError, match="length of a rotation: expected 1 or more"):
            Rotation(SEEDS[0], length)


def test_extra_memory_is_one_vector() -> None:
    """1 M entries: 4 MB of result, under 2 MB beside it."""
    rotation = Rotation(SEEDS[0], 1_000_000)
    update = normal(1_000_000)
    tracemalloc.start()
    rotated = rotation.forward(update)
    forward = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    rotation.inverse(rotated)
    inverse = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert forward <= rotated.nbytes + 2_000_000
    assert inverse <= 2 * rotated.nbytes + 2_000_000
