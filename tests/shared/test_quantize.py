import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from shared.errors import MisuseError, PeerError, SiteError
from shared.quantize import MOST_SITES, Quantizer
from shared.secagg.masks import Words, add_masks
from shared.secagg.packing import WIDTHS
from shared.wire import pack, unpack

QUANTIZER = Quantizer(bound=2.0, sites=4)
NARROW = [bits for bits in WIDTHS if bits < 32]
SEED = bytes(32)


def floats(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def whole_steps(bits: int, sites: int) -> Quantizer:
    """One step is 1.0."""
    return Quantizer(bound=float(Quantizer(bound=1.0, sites=sites, bits=bits).steps), sites=sites, bits=bits)


def signed(words: Words) -> NDArray[np.int64]:
    return words.view(f"<i{words.itemsize}").astype(np.int64)


def test_whole_steps_are_exact_and_signed() -> None:
    quantizer = whole_steps(32, 4)
    encoded = quantizer.encode(floats(0, 1, -1, 12345, -(2**20)), 1.0)
    assert encoded.dtype == np.dtype(quantizer.dtype) == np.dtype("<u4")
    assert encoded.tolist() == [0, 1, 2**32 - 1, 12345, 2**32 - 2**20]
    assert quantizer.decode(encoded).tolist() == [0, 1, -1, 12345, -(2**20)]


@pytest.mark.parametrize("bits", NARROW)
def test_narrow_whole_steps_are_exact_whatever_the_dither(bits: int) -> None:
    quantizer = whole_steps(bits, 2)
    values = np.repeat(np.arange(-quantizer.steps, quantizer.steps + 1, dtype=np.float32), 3)
    encoded = quantizer.encode(values, 1.0)
    assert encoded.dtype == np.dtype(quantizer.dtype) == np.dtype("<u2")
    assert (signed(encoded) == values).all()
    assert (quantizer.decode(encoded) == values).all()
    assert (quantizer.decode(encoded & np.uint16(2**bits - 1)) == values).all()


@pytest.mark.parametrize("sites", [2, 3, 20, 200, 65536])
@pytest.mark.parametrize("bound", [1e-6, 0.1, 1.0, 7.3, 1e8])
def test_all_sites_at_the_bound_do_not_wrap(sites: int, bound: float) -> None:
    largest = np.float32(bound)
    quantizer = Quantizer(bound=float(largest), sites=sites)
    for value in (largest, -largest):
        encoded = quantizer.encode(np.full(70_000, value), 1.0)
        one = int(signed(encoded)[0])
        assert np.abs(signed(encoded)).max() <= quantizer.steps
        total = np.array([one * sites % 2**32], np.uint32)
        assert quantizer.decode(total)[0] == pytest.approx(float(value) * sites, rel=1e-6)


@pytest.mark.parametrize("bits", NARROW)
@pytest.mark.parametrize("sites", [2, 3, 7, 20, 255, 511])
@pytest.mark.parametrize("bound", [1e-6, 0.1, 1.0, 7.3])
def test_all_sites_at_or_beyond_the_bound_do_not_wrap_in_narrow_words(bits: int, sites: int, bound: float) -> None:
    quantizer = Quantizer(bound=bound, sites=sites, bits=bits)
    for sign in (1, -1):
        for factor in (1, 1 + 2**-23, 1000):
            encoded = signed(quantizer.encode(np.full(5000, sign * bound * factor, np.float32), 1.0))
            assert (sign * encoded).max() <= quantizer.steps
            assert (sign * encoded).min() >= quantizer.steps - 1
        total = np.array([sign * quantizer.steps * sites % 2**bits], "<u2")
        assert quantizer.decode(total)[0] == pytest.approx(sign * bound * sites, rel=1e-6)


@given(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=20), st.floats(1e-3, 1), st.sampled_from(WIDTHS))
def test_one_site_comes_back_within_a_step(values: list[float], weight: float, bits: int) -> None:
    quantizer = replace(QUANTIZER, bits=bits)
    decoded = quantizer.decode(quantizer.encode(floats(*values), weight))
    step = quantizer.bound / quantizer.steps
    assert np.abs(decoded - weight * np.array(values)).max() <= step * (1 + 2**-7) + 2 * 2**-24


@given(st.lists(st.floats(-2, 2, width=32), min_size=4, max_size=4), st.sampled_from(NARROW))
def test_a_sum_is_read_whatever_its_high_bits(values: list[float], bits: int) -> None:
    """Narrow sums travel without the bits above; a sum in the whole dtype reads the same."""
    quantizer = replace(QUANTIZER, bits=bits)
    rows = [quantizer.encode(floats(value), 1.0) for value in values]
    total = np.zeros(1, "<u2")
    for row in rows:
        total += row
    expected = sum(int(signed(row)[0]) for row in rows) * quantizer.bound / quantizer.steps
    for words in (total, total & np.uint16(2**bits - 1)):
        assert quantizer.decode(words)[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.25, 0.5, 0.75, 0.999])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("bits", [10, 16, 32])
def test_rounding_is_unbiased(fraction: float, sign: int, bits: int) -> None:
    """The mean of 400 000 roundings of 3.fraction steps, within 5 standard errors and the bound promised."""
    count = 400_000
    value = sign * (3 + fraction)
    encoded = signed(whole_steps(bits, 2).encode(np.full(count, value, np.float32), 1.0, seed=SEED))
    assert set(np.unique(encoded).tolist()) <= {sign * 3, sign * 4}
    error = np.sqrt(fraction * (1 - fraction) / count)
    assert abs(encoded.mean() - float(np.float32(value))) <= 5 * error + (2**-16 if bits == 32 else 2**-8)


class EveryDither:
    """In place of a key stream: each value of the dither once, two bytes or one."""

    def __init__(self, bits: int) -> None:
        self._data = (np.arange(2**16, dtype="<u2") if bits == 32 else np.arange(2**8, dtype=np.uint8)).tobytes()

    def fill(self, words: NDArray[np.uint8]) -> None:
        words[:] = np.frombuffer(self._data[: words.size], np.uint8)
        self._data = self._data[words.size :]


@pytest.mark.parametrize("bits", [10, 16, 32])
@pytest.mark.parametrize("value", [0.0, 1 / 7, 1 / 512, 1 / 256, 0.5, 0.499, 2 / 3, 1 - 1 / 512, 5, 254.999, -254.5])
def test_the_bias_is_what_is_promised(bits: int, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly: the mean over all values of the dither."""
    stream = EveryDither(bits)
    monkeypatch.setattr("shared.quantize.KeyStream", lambda *_, **__: stream)
    count, promised = (2**16, 2**-16) if bits == 32 else (2**8, 2**-8)
    encoded = signed(whole_steps(bits, 2).encode(np.full(count, value, np.float32), 1.0))
    assert abs(encoded.mean() - float(np.float32(value))) <= promised
    assert value % 1 or (encoded == value).all()


@pytest.mark.parametrize("bits", [10, 16, 32])
def test_rounding_favours_neither_side(bits: int) -> None:
    """Over values all around, what single values are off by cancels: far below 2^-8 of a step."""
    count = 1_000_000
    quantizer = whole_steps(bits, 2)
    values = np.random.default_rng(0).uniform(-200, 200, count).astype(np.float32)
    errors = signed(quantizer.encode(values, 1.0, seed=SEED)) - values.astype(np.float64)
    assert np.abs(errors).max() < 1 + 2**-7
    assert abs(errors.mean()) <= 5 * np.sqrt(1 / 6 / count)  # 1/6: the mean of f (1 - f)


def test_the_dither_is_new_every_time_and_fixed_by_a_seed() -> None:
    update = np.full(100_000, 0.1, np.float32)
    for bits in (12, 32):
        quantizer = replace(QUANTIZER, bits=bits)
        assert (quantizer.encode(update, 0.3) != quantizer.encode(update, 0.3)).any()
        assert (quantizer.encode(update, 0.3, seed=SEED) == quantizer.encode(update, 0.3, seed=SEED)).all()
    assert (update == np.float32(0.1)).all()


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([10, 16, 32]), st.lists(st.integers(0, 80_000), max_size=6), st.randoms(use_true_random=False))
def test_pieces_in_any_order_and_thread_encode_the_same(bits: int, cuts: list[int], order: Random) -> None:
    quantizer = replace(QUANTIZER, bits=bits)
    update = np.random.default_rng(0).uniform(-2, 2, 80_000).astype(np.float32)
    expected = quantizer.encode(update, 0.7, seed=SEED)
    encoder = quantizer.encoder(update, 0.7, seed=SEED)
    out: Words = np.zeros(update.size, quantizer.dtype)
    edges = sorted({0, *cuts, update.size})
    ranges = list(pairwise(edges))
    order.shuffle(ranges)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda span: encoder(span[0], out[span[0] : span[1]]), ranges))
    assert (out == expected).all()


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_quantised_within_the_mask_pass_is_quantised_before_it(bits: int, threads: int) -> None:
    quantizer = replace(QUANTIZER, bits=bits)
    update = np.random.default_rng(1).uniform(-2, 2, 300_001).astype(np.float32)
    expected = quantizer.encode(update, 1.0, seed=SEED)
    add_masks(expected, [(SEED, 1), (bytes([1]) * 32, -1)])
    vector: Words = np.empty(update.size, quantizer.dtype)
    fill = quantizer.encoder(update, 1.0, seed=SEED)
    add_masks(vector, [(SEED, 1), (bytes([1]) * 32, -1)], fill=fill, threads=threads)
    assert (vector == expected).all()


@pytest.mark.parametrize("place", [0, 40_000, 99_999])
@pytest.mark.parametrize("value", [2.0001, -2.0001, np.inf, -np.inf, np.nan])
def test_a_value_outside_the_bound_is_an_error_wherever_it_is(place: int, value: float) -> None:
    update = np.zeros(100_000, np.float32)
    update[place] = value
    with pytest.raises(SiteError, match="finite numbers in ±2"):
        QUANTIZER.encode(update, 0.5)


@pytest.mark.parametrize("place", [0, 40_000, 99_999])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("beside", [0.0, 3.0, -3.0])
def test_a_narrow_value_that_is_no_number_is_an_error(place: int, value: float, beside: float) -> None:
    update = np.full(100_000, beside, np.float32)
    update[place] = value
    with pytest.raises(SiteError, match="expected finite numbers, got one that is not"):
        replace(QUANTIZER, bits=16).encode(update, 0.5)


def test_narrow_values_outside_the_bound_are_clamped_and_counted() -> None:
    quantizer = Quantizer(bound=2.0, sites=4, bits=12)
    update = np.zeros(100_000, np.float32)
    update[[0, 40_000, 40_001, 99_999]] = floats(2.0001, -2.0001, 3e38, -3e38)
    update[[7, 8]] = floats(2, -2)
    encoder = quantizer.encoder(update, 1.0)
    out = np.zeros(update.size, "<u2")
    threads = [
        threading.Thread(target=encoder, args=(start, out[start : start + 10_000]))
        for start in range(0, 100_000, 10_000)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert encoder.clamped == 4
    decoded = quantizer.decode(out)
    assert decoded[[0, 7, 8, 40_000, 40_001, 99_999]].tolist() == [2, 2, -2, -2, 2, -2]
    assert not np.delete(decoded, [0, 7, 8, 40_000, 40_001, 99_999]).any()


@pytest.mark.parametrize("bits", [16, 32])
def test_nothing_is_clamped_within_the_bound(bits: int) -> None:
    quantizer = replace(QUANTIZER, bits=bits, bound=0.1)  # lies between two float32
    encoder = quantizer.encoder(np.full(5, np.nextafter(np.float32(0.1), np.float32(0))), 1.0)
    encoder(0, np.empty(5, quantizer.dtype))
    assert encoder.clamped == 0


@pytest.mark.parametrize("weight", [0.0, -0.1, 1.0001, float("nan"), float("inf")])
def test_a_weight_over_the_maximum_is_refused(weight: float) -> None:
    with pytest.raises(MisuseError, match="weight"):
        QUANTIZER.encode(floats(1), weight)


@pytest.mark.parametrize(
    "update", [np.zeros(3), np.zeros(3, np.int32), np.zeros((1, 3), np.float32), np.zeros(6, np.float32)[::2]]
)
def test_another_dtype_or_shape_is_refused(update: NDArray[np.float32]) -> None:
    with pytest.raises(MisuseError, match="update"):
        QUANTIZER.encode(update, 1.0)


@pytest.mark.parametrize(("start", "size", "dtype"), [(0, 4, "<u4"), (2, 2, "<u4"), (-1, 1, "<u4"), (0, 3, "<u2")])
def test_a_piece_out_of_place_is_refused(start: int, size: int, dtype: str) -> None:
    with pytest.raises(MisuseError, match=r"uint32 within \[0, 3\)"):
        QUANTIZER.encoder(floats(0, 1, 2), 1.0)(start, np.empty(size, dtype))


def test_an_empty_update_is_encoded() -> None:
    assert QUANTIZER.encode(floats(), 1.0).tolist() == []


@pytest.mark.parametrize("field", [{"bound": 0.0}, {"bound": -1.0}, {"bound": 1e9}, {"sites": 1}, {"sites": 2**17}])
def test_a_quantizer_out_of_range_does_not_decode(field: dict[str, float]) -> None:
    assert unpack(Quantizer, pack(QUANTIZER)) == QUANTIZER
    with pytest.raises(PeerError):
        unpack(Quantizer, pack(replace(QUANTIZER, **field)))


@pytest.mark.parametrize(("bits", "sites"), [(0, 2), (9, 2), (17, 2), (31, 2), (33, 2), (16, 32768), (10, 512)])
def test_a_quantizer_of_another_width_does_not_decode(bits: int, sites: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        Quantizer(bound=2.0, sites=sites, bits=bits)
    data = msgspec.msgpack.encode({"bound": 2.0, "sites": sites, "bits": bits})
    with pytest.raises(PeerError, match=r"bits|sites"):
        unpack(Quantizer, data)


@pytest.mark.parametrize("bits", WIDTHS)
def test_a_quantizer_of_each_width_decodes(bits: int) -> None:
    """Of the most sites of which each has a step left, too."""
    most = Quantizer(bound=2.0, sites=min(2 ** (bits - 1) - 1, MOST_SITES), bits=bits)
    assert unpack(Quantizer, pack(most)) == most
    assert bits == 32 or most.steps == 1
    quantizer = Quantizer(bound=2.0, sites=255, bits=bits)
    assert unpack(Quantizer, pack(quantizer)) == quantizer
    assert 0 < quantizer.steps * quantizer.sites < 2 ** (bits - 1)
