"""Whole numbers summed beside, or without, a vector: both ends write and read them with these functions.

Guarantees: counts are of magnitude below 2^47, two's complement, so that sums of 64 bits cannot wrap; only noise makes
one negative. The first of every step is 1 and must sum to the number of survivors: a cheap check that unmasking worked.
"""

from collections.abc import Sequence

import numpy as np

from shared.errors import MisuseError, OperatorError
from shared.secagg.collector import Total
from shared.secagg.masks import Counts, Words
from shared.secagg.member import Plain

#: A count is of a magnitude below this: sums over 65,536 sites stay within 64 bits, the sign's included.
MOST = 1 << 47


def encode_counts(values: Sequence[int]) -> Counts:
    """`values` of magnitude below 2^47 as uint64, mod 2^64."""
    for value in values:
        if not -MOST < value < MOST:
            raise MisuseError("count", expected="a whole number of magnitude below 2^47", got="one beyond")
    return np.array(values, "<i8").view("<u8")


def decode_counts(counts: Counts) -> list[int]:
    """The whole numbers that a sum of encoded counts stands for."""
    return [int(value) for value in counts.astype("<u8", copy=False).view("<i8")]


def count_plain(values: list[int]) -> Plain:
    """One site's counting step."""
    return Plain(encode_counts([1, *values]), _nothing)


def _nothing(_start: int, _piece: Words) -> None:
    """The fill of a step without a vector."""


def read_counts(total: Total, survivors: int) -> list[int]:
    """The summed integers in the unmasked sum `total`."""
    sites, *values = decode_counts(total.counts)
    check_sites(sites, survivors)
    return values


def check_sites(sites: int, survivors: int) -> None:
    """Raise OperatorError unless `sites`, the first of the summed counts, is the number of survivors."""
    if sites != survivors:
        raise OperatorError(
            "unmasked sum",
            expected=f"{survivors} sites in its first count",
            got=str(sites),
            do="A site masked for another plan or sent a malformed vector; the round is discarded.",
        )
