import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from shared.errors import MisuseError, PeerError, SiteError
from shared.quantize import Quantizer, decode_counts, encode_counts
from shared.wire import pack, unpack

QUANTIZER = Quantizer(bound=2.0, sites=4)
SEED = bytes(32)


def floats(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def test_whole_steps_are_exact_and_signed() -> None:
    quantizer = Quantizer(bound=float((2**31 - 1) // 4), sites=4)  # one step is 1.0
    encoded = quantizer.encode(floats(0, 1, -1, 12345, -(2**20)), 1.0)
    assert encoded.tolist() == [0, 1, 2**32 - 1, 12345, 2**32 - 2**20]
    assert quantizer.decode(encoded).tolist() == [0, 1, -1, 12345, -(2**20)]


@pytest.mark.parametrize("sites", [2, 3, 20, 200, 65536])
@pytest.mark.parametrize("bound", [1e-6, 0.1, 1.0, 7.3, 1e8])
def test_all_sites_at_the_bound_do_not_wrap(sites: int, bound: float) -> None:
    largest = np.float32(bound)
    quantizer = Quantizer(bound=float(largest), sites=sites)
    for value in (largest, -largest):
        one = int(quantizer.encode(np.full(1000, value), 1.0).view(np.int32)[0])
        assert abs(one) <= quantizer.steps
        total = np.array([one * sites % 2**32], np.uint32)
        assert quantizer.decode(total)[0] == pytest.approx(float(value) * sites, rel=1e-6)


@given(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=20), st.floats(1e-3, 1))
def test_one_site_comes_back_within_a_step(values: list[float], weight: float) -> None:
    decoded = QUANTIZER.decode(QUANTIZER.encode(floats(*values), weight))
    step = QUANTIZER.bound / QUANTIZER.steps
    assert np.abs(decoded - weight * np.array(values)).max() <= step + 2 * 2**-24


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.25, 0.5, 0.75, 0.999])
@pytest.mark.parametrize("sign", [1, -1])
def test_rounding_is_unbiased(fraction: float, sign: int) -> None:
    """The mean of 400 000 roundings of 3.fraction steps, within 5 standard errors."""
    count = 400_000
    quantizer = Quantizer(bound=float((2**31 - 1) // 2), sites=2)  # one step is 1.0
    value = sign * (3 + fraction)
    encoded = quantizer.encode(np.full(count, value, np.float32), 1.0, seed=SEED).view(np.int32)
    assert set(np.unique(encoded).tolist()) <= {sign * 3, sign * 4}
    error = np.sqrt(fraction * (1 - fraction) / count)
    assert abs(encoded.mean() - float(np.float32(value))) <= 5 * error + 1e-6


def test_the_dither_is_new_every_time_and_fixed_by_a_seed() -> None:
    update = np.full(100_000, 0.1, np.float32)
    assert (QUANTIZER.encode(update, 0.3) != QUANTIZER.encode(update, 0.3)).any()
    assert (QUANTIZER.encode(update, 0.3, seed=SEED) == QUANTIZER.encode(update, 0.3, seed=SEED)).all()
    assert (update == np.float32(0.1)).all()


@pytest.mark.parametrize("place", [0, 40_000, 99_999])
@pytest.mark.parametrize("value", [2.0001, -2.0001, np.inf, -np.inf, np.nan])
def test_a_value_outside_the_bound_is_an_error_wherever_it_is(place: int, value: float) -> None:
    update = np.zeros(100_000, np.float32)
    update[place] = value
    with pytest.raises(SiteError, match="finite numbers in ±2"):
        QUANTIZER.encode(update, 0.5)


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
    with pytest.raises(MisuseError, match="out"):
        QUANTIZER.encode(floats(1), 1.0, out=np.zeros(2, np.uint32))


@pytest.mark.parametrize("field", [{"bound": 0.0}, {"bound": -1.0}, {"bound": 1e9}, {"sites": 1}, {"sites": 2**17}])
def test_a_quantizer_out_of_range_does_not_decode(field: dict[str, float]) -> None:
    assert unpack(Quantizer, pack(QUANTIZER)) == QUANTIZER
    with pytest.raises(PeerError):
        unpack(Quantizer, pack(replace(QUANTIZER, **field)))


COUNTS = st.lists(st.integers(0, 2**64 - 1), min_size=3, max_size=3)


@given(st.lists(COUNTS, min_size=1, max_size=10))
def test_counts_sum_exactly(rows: list[list[int]]) -> None:
    total = np.zeros(12, np.uint32)
    for row in rows:
        total += encode_counts(row)
    assert decode_counts(total) == [sum(column) for column in zip(*rows, strict=True)]


def test_the_largest_counts_of_the_most_sites_do_not_wrap() -> None:
    one = encode_counts([2**64 - 1])
    assert one.dtype == np.uint32
    assert decode_counts(one * np.uint32(65536)) == [65536 * (2**64 - 1)]
    assert encode_counts([1 + (2 << 16) + (3 << 48)]).tolist() == [1, 2, 0, 3]
    assert decode_counts(encode_counts([])) == []


@pytest.mark.parametrize("values", [[-1], [2**64]])
def test_counts_out_of_range_are_refused(values: list[int]) -> None:
    with pytest.raises(MisuseError, match="count"):
        encode_counts(values)


def test_counts_of_a_torn_vector_are_refused() -> None:
    with pytest.raises(MisuseError, match="counts"):
        decode_counts(np.zeros(5, np.uint32))
