"""The attacks on Flower's SecAgg+ that need no hospital on disk, against Konsil's roles in memory; as many sites."""

from collections.abc import Callable

import numpy as np
from flower_ward import Here, Ward, error_of, in_short, stopped
from msgspec.structs import replace

from shared.errors import KonsilError, PeerError
from shared.messages.replies import Contributed, write_reply
from shared.messages.shown import Shown
from shared.secagg.collector import Collector, Total
from shared.secagg.keystream import SEED_BYTES
from shared.secagg.masks import Words
from shared.secagg.member import Masked, unmask
from shared.secagg.messages import (
    ANSWER_LABEL,
    CONTRIBUTION_LABEL,
    Contribution,
    UnmaskAnswer,
    answer_parts,
    contribution_parts,
)
from shared.secagg.plan import Plan, SiteRules
from shared.secagg.rehearsal import Federation
from shared.update import Codec
from shared.wire import pack, unpack
from simulations.loot import plunder
from simulations.mixed_views import mix, split
from simulations.stage import in_memory

LENGTH = 8
SEED = bytes(32)


def _vectors(federation: Federation) -> dict[str, Words]:
    return {h.name: np.arange(LENGTH, dtype=np.uint32) + 100 * k for k, h in enumerate(federation.hospitals)}


def short_seeds(_: Ward) -> Here:
    """Flower's round: three sites, t = 2, the third lost; the coordinator follows the steps in semi-honest mode."""
    federation = Federation.of(3)
    plan = federation.plan(length=LENGTH, adversary="semi-honest")
    survivors = plan.sites()[:2]
    loot = plunder(in_memory(federation, plan, _vectors(federation)), dict.fromkeys(survivors, survivors))
    opened = loot.opened()
    works = opened != [survivors]
    sums = ", ".join(" + ".join(group) for group in opened)
    return Here(
        f"{'another sum' if works else 'nothing'}. What all answers open: the sum {sums}. What covers each of the two"
        f" is an AES-256 stream of a seed of {8 * SEED_BYTES} bits, not searched",
        works,
    )


def split_views(_: Ward) -> Here:
    """A threshold of at most half is no plan."""
    federation = Federation.of(7)
    plan = federation.plan(length=LENGTH, threshold=3)
    return stopped({"t = 3 of 7": lambda: federation.seat(plan, federation.hospitals[-1])})


def split_views_over_half(_: Ward) -> Here:
    """Each of seven is told of other survivors, t = 4."""
    found = {}
    for adversary in ("active", "semi-honest"):
        federation = Federation.of(7)
        plan = replace(federation.plan(length=LENGTH), adversary=adversary)
        found[adversary] = mix(adversary, in_memory(federation, plan, _vectors(federation)), split(plan, "a"), "a")
    told = "; ".join(f"{adversary} mode, t = 4 of 7: {gained.gained}" for adversary, gained in found.items())
    return Here(told, any(gained.works for gained in found.values()))


def parameter_over_range(_: Ward) -> Here:
    """Every entry is 100 where the bound is 1."""
    update, words = np.full(LENGTH, 100, np.float32), np.empty(LENGTH, np.uint32)
    whole = Codec(1.0, 32, 3, LENGTH, SEED).write(update, 1, 1, scaled=False)
    found = stopped({"32 bits": lambda: whole.fill(0, words)})
    narrow = Codec(1.0, 16, 3, LENGTH, SEED).write(update, 1, 1, scaled=False)
    clamped = int(narrow.counts[2])
    return Here(f"{found.gained}; 16 bits: clamped, and {clamped} clamped entries told in the sum", found.works)


def weight_in_the_sum(weight: int) -> str:
    """What the coordinator says of a sum of `weight` and two weights of 1, of 1000 at most; nothing if it takes it."""
    codec = Codec(1.0, 32, 3, LENGTH, SEED)
    total = Total(np.array([3, 0, 0, 2 + weight, 0, 2 + weight], "<u8"), np.zeros(LENGTH, np.uint32))
    return error_of(lambda: codec.read(total, 3, 1000))


def lost_before_sharing(_: Ward) -> Here:
    federation = Federation.of(5)
    vectors = _vectors(federation)
    try:
        total = federation.aggregate(federation.plan(length=LENGTH), vectors, lost_before=("e",))
    except KonsilError as error:
        return Here(in_short(str(error)), True)
    exact = np.array_equal(total, sum(vectors[name] for name in "abcd"))
    return Here("nothing. The exact sum of the four others" if exact else "a wrong sum", not exact)


def wrong_share(place: int) -> Callable[[Ward], Here]:
    """Site a changes one bit, in byte `place` of 33, of its share of b's self seed, and signs that."""

    def tamper(answer: UnmaskAnswer) -> UnmaskAnswer:
        shares = bytearray(answer.self_shares)
        shares[len(shares) // 4 + place] ^= 1
        return replace(answer, self_shares=bytes(shares))

    return lambda _: _with_a_liar(answer=tamper)


def share_cut_short(_: Ward) -> Here:
    """Site a deals bundles without their end, and signs that."""
    return _with_a_liar(dealt=lambda c: replace(c, bundles=tuple(bundle[:-10] for bundle in c.bundles)))


def _with_a_liar(
    *,
    dealt: Callable[[Contribution], Contribution] | None = None,
    answer: Callable[[UnmaskAnswer], UnmaskAnswer] | None = None,
) -> Here:
    """A round of four, t = 3, of whom a sends what `dealt` and `answer` make of its messages."""
    federation = Federation.of(4)
    vectors, plan = _vectors(federation), federation.plan(length=LENGTH)
    identity = federation.hospitals[0].identity
    collector, masked, refused = Collector(plan, federation.roster), {}, ""
    for hospital in federation.hospitals:
        mine = federation.contribute(plan, hospital, vectors[hospital.name])
        data = mine.contribution
        if hospital.name == "a" and dealt is not None:
            false = dealt(unpack(Contribution, data))
            signature = identity.sign(CONTRIBUTION_LABEL, *contribution_parts(false, mine.vector))
            data = pack(replace(false, signature=signature))
        try:
            collector.add(data, mine.vector)
            masked[hospital.name] = mine
        except PeerError as error:
            refused = in_short(str(error))
    survivors = collector.close()
    federation.confirm(collector, {h: masked[h.name].state for h in federation.hospitals if h.name in masked})
    for hospital in federation.hospitals:
        if hospital.name in masked:
            request = collector.request(hospital.name)
            reply = unmask(masked[hospital.name].state, request, identity=hospital.identity, rules=SiteRules())
            if hospital.name == "a" and answer is not None:
                wrong = answer(unpack(UnmaskAnswer, reply))
                reply = pack(replace(wrong, signature=identity.sign(ANSWER_LABEL, *answer_parts(wrong))))
            collector.answer(reply)
    exact = np.array_equal(collector.finish().words, sum(vectors[name] for name in survivors))
    named = refused or "; ".join(collector.faults)
    total = f"the exact sum of {', '.join(survivors)}" if exact else "a wrong sum"
    return Here(f"{'nothing' if exact else 'taken'}. {total.capitalize()}; the coordinator reads “{named}”", not exact)


def bytes_per_parameter(_: Ward, parameters: int = 10_000) -> Here:
    """A whole reply among three hospitals, at two widths."""
    found = {bits: _reply_bytes(bits, parameters) / parameters for bits in (32, 16)}
    padded = Codec(1.0, 16, 3, parameters, SEED).length
    return Here(
        f"{found[32]:.2f} bytes each of {parameters} at 32 bits, {found[16]:.2f} at 16 (rotated, as {padded} words)",
        found[32] >= 8,
    )


def _reply_bytes(bits: int, parameters: int) -> int:
    federation = Federation.of(3)
    codec = Codec(1.0, bits, 3, parameters, SEED)
    plan = replace(federation.plan(length=codec.length), bits=bits)
    hospital = federation.hospitals[0]
    masked = _contribution(federation, plan, np.zeros(codec.length, plan.dtype))
    body = Contributed.sign(masked.contribution, masked.vector, Shown(seconds=1.0), hospital.identity, plan.digest())
    return len(write_reply(body))


def _contribution(federation: Federation, plan: Plan, vector: Words) -> Masked:
    return federation.contribute(plan, federation.hospitals[0], vector)
