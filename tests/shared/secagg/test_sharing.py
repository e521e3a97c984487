from contextlib import suppress
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import MisuseError, PeerError
from shared.secagg.sharing import PRIME, SHARE_BYTES, combine, split, weights_at_zero

SECRETS = [bytes(32), b"\xff" * 32, bytes(range(32))]


@pytest.mark.parametrize("secret", SECRETS)
def test_every_t_of_n_shares_give_the_secret_back(secret: bytes) -> None:
    shares = split(secret, threshold=3, count=5)
    assert [len(share) for share in shares] == [SHARE_BYTES] * 5
    for members in combinations(range(5), 3):
        weights = weights_at_zero([k + 1 for k in members])
        assert combine([shares[k] for k in members], weights) == secret


@given(st.binary(min_size=32, max_size=32), st.data())
def test_any_threshold_and_any_order_of_responders(secret: bytes, data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 12))
    threshold = data.draw(st.integers(2, count))
    members = data.draw(st.permutations(range(count)))[:threshold]
    shares = split(secret, threshold=threshold, count=count)
    weights = weights_at_zero([k + 1 for k in members])
    assert combine([shares[k] for k in members], weights) == secret


def test_two_hundred_members_at_a_majority() -> None:
    """The largest cohort: first, last and scattered members give one secret back; one share less does not combine."""
    shares = split(SECRETS[2], threshold=101, count=200)
    for members in (range(101), range(99, 200), [*range(0, 200, 2), 199]):
        assert combine([shares[k] for k in members], weights_at_zero([k + 1 for k in members])) == SECRETS[2]
    with suppress(PeerError):
        assert combine(shares[:100], weights_at_zero(range(1, 101))) != SECRETS[2]


def test_known_shares_combine_exactly() -> None:
    """f(x) = 5 + 7x + 11x² over the field, by hand."""
    shares = [(5 + 7 * x + 11 * x * x).to_bytes(SHARE_BYTES, "big") for x in (1, 2, 4)]
    assert weights_at_zero((1, 2)) == (2, PRIME - 1)
    assert combine(shares, weights_at_zero((1, 2, 4))) == (5).to_bytes(32, "big")


def test_fewer_shares_fit_every_secret() -> None:
    """With t - 1 shares given there is, for each candidate secret, a share that completes it."""
    shares = split(SECRETS[0], threshold=3, count=3)[:2]
    first, second, third = weights_at_zero((1, 2, 3))
    for candidate in SECRETS:
        known = int.from_bytes(shares[0], "big") * first + int.from_bytes(shares[1], "big") * second
        missing = (int.from_bytes(candidate, "big") - known) * pow(third, -1, PRIME) % PRIME
        completed = [*shares, missing.to_bytes(SHARE_BYTES, "big")]
        assert combine(completed, (first, second, third)) == candidate


def test_the_polynomial_is_new_every_time() -> None:
    assert not set(split(SECRETS[0], threshold=2, count=4)) & set(split(SECRETS[0], threshold=2, count=4))


def test_a_wrong_share_gives_another_secret_or_none() -> None:
    weights = weights_at_zero((1, 2))
    shares = split(SECRETS[2], threshold=2, count=2)
    wrong = bytes(SHARE_BYTES - 1) + b"\x01"
    with suppress(PeerError):  # 297 of 2^256 values are too large for a secret
        assert combine([wrong, shares[1]], weights) != SECRETS[2]
    with pytest.raises(PeerError, match="larger number"):
        combine([(PRIME - 1).to_bytes(SHARE_BYTES, "big")], (1,))


@pytest.mark.parametrize(
    ("secret", "threshold", "count"), [(bytes(31), 2, 3), (bytes(33), 2, 3), (bytes(32), 1, 3), (bytes(32), 4, 3)]
)
def test_misuse_is_refused(secret: bytes, threshold: int, count: int) -> None:
    with pytest.raises(MisuseError):
        split(secret, threshold=threshold, count=count)


@pytest.mark.parametrize("points", [(1, 1), (0, 1), (1, PRIME), (1, -1)])
def test_points_of_no_member_are_refused(points: tuple[int, ...]) -> None:
    with pytest.raises(MisuseError):
        weights_at_zero(points)
