"""A vector without masks: whole, signed, of one hospital, once."""

import numpy as np
import pytest
from msgspec.structs import replace

from shared.counts import encode_counts
from shared.errors import MisuseError, OperatorError, PeerError
from shared.open_sums import Open, OpenCollector, OpenContribution, contribute, total_of
from shared.secagg.masks import Words, filled
from shared.secagg.member import Plain
from shared.secagg.packing import Bits
from shared.secagg.plan import Plan
from shared.update import TRAIN_COUNTS
from shared.wire import pack, unpack
from tests.shared.secagg.rounds import federation_of

FEDERATION = federation_of(3)
PLAN = replace(FEDERATION.plan(length=4), adversary="none", counts=TRAIN_COUNTS)


def plain(value: int, *, weight: int = 10, sites: int = 1, bits: Bits = 32) -> Plain:
    words: Words = np.full(4, value, np.uint32) if bits == 32 else np.full(4, value, np.uint16)
    return Plain(encode_counts([sites, 0, 0, weight, 0, weight]), filled(words))


def sent(name: str, given: Plain, plan: Plan = PLAN) -> Open:
    hospital = next(hospital for hospital in FEDERATION.hospitals if hospital.name == name)
    return contribute(FEDERATION.seat(plan, hospital), given, identity=hospital.identity)


def collector(plan: Plan = PLAN) -> OpenCollector:
    return OpenCollector(plan, FEDERATION.roster, most=100)


@pytest.mark.parametrize("bits", [32, 16, 12])
def test_each_part_and_their_sum_are_read(bits: Bits) -> None:
    plan = replace(PLAN, bits=bits)
    found = collector(plan)
    for value, name in enumerate("abc", start=1):
        opened = sent(name, plain(value, bits=bits), plan)
        assert found.add(opened.contribution, opened.vector) == name
    assert found.close() == ("a", "b", "c")
    assert [part.words.tolist() for part in found.each()] == [[1] * 4, [2] * 4, [3] * 4]
    total = total_of(found.each())
    assert total.words.tolist() == [6] * 4 and total.counts.tolist() == [3, 0, 0, 30, 0, 30]


def refused(opened: Open, why: str, *before: Open) -> None:
    found = collector()
    for one in before:
        found.add(one.contribution, one.vector)
    with pytest.raises(PeerError, match=why):
        found.add(opened.contribution, opened.vector)
    assert len(found.each()) == len(before)


def test_what_is_not_a_hospitals_own_is_refused() -> None:
    opened = sent("a", plain(1))
    other = bytearray(opened.vector)
    other[0] ^= 1
    refused(opened._replace(vector=memoryview(bytes(other))), "signature")
    refused(opened._replace(vector=opened.vector[:-1]), "the plan's length")
    refused(opened, "one of each member", opened)
    message = unpack(OpenContribution, opened.contribution)
    refused(opened._replace(contribution=pack(replace(message, site="b"))), "signature")
    refused(opened._replace(contribution=pack(replace(message, site="stranger"))), "one of each member")
    refused(opened._replace(contribution=pack(replace(message, plan=bytes(32)))), "plan")


@pytest.mark.parametrize("given", [plain(1, weight=101), plain(1, weight=0), plain(1, weight=-5), plain(1, sites=2)])
def test_counts_that_no_hospital_has_are_refused(given: Plain) -> None:
    refused(sent("a", given), "those of one hospital of 1 to 100 images")


def test_too_few_do_not_make_a_sum() -> None:
    found = collector()
    opened = sent("a", plain(1))
    found.add(opened.contribution, opened.vector)
    with pytest.raises(OperatorError, match="contributions: expected at least"):
        found.close()


def test_a_plan_with_masks_is_never_answered_openly() -> None:
    masked = replace(PLAN, adversary="active")
    with pytest.raises(MisuseError, match="one without masks"):
        sent("a", plain(1), masked)
    with pytest.raises(MisuseError, match="one without masks"):
        collector(masked)
