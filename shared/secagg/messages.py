"""What site and coordinator send each other for one aggregate, its layout and what is signed of it.

One site's secrets fill n *slots*, n the size of the cohort: slot k of site i is the pair seed s_ik, and slot i
its self seed b_i. Both ends of a pair hold the same seed, so slot k of i and slot i of k are equal. Everything
below is laid out by slots, by cohort order or by survivor order:

    masked counts          8 bytes each, little-endian
    masked vector          `length` words of `bits` bits, packed (packing.py); travels beside the Contribution
    bundle from i to k     n shares of 33 bytes, slot by slot: 33 n + 28 bytes sealed
    commitments            n digests of 32 bytes, slot by slot
    share commitments      for each member, for each slot, 16 bytes: 16 n² bytes

A commitment to a secret shows that what was rebuilt is what its owner masked with, and a pair's two owners
commit alike. A commitment to each share shows which share was wrong *before* it spoils a secret. All are
digests of uniform values of 256 bits or more, so they tell nothing about them.
"""

from hashlib import sha256

from shared.crypto.roster import SiteName
from shared.wire import Record, digest

CONTRIBUTION_LABEL = "konsil/contribution/v1"
CONFIRM_LABEL = "konsil/confirm/v1"
ANSWER_LABEL = "konsil/answer/v1"
_VECTOR_LABEL = "konsil/vector/v1"
_SELF_LABEL = "konsil/commit-self/v1"
_PAIR_LABEL = "konsil/commit-pair/v1"
_SHARE_LABEL = "konsil/commit-share/v1"
_SURVIVORS_LABEL = "konsil/survivors/v1"

COMMITMENT_BYTES = 32
#: Half a digest: finding a second share for one takes 2^128 work.
SHARE_COMMITMENT_BYTES = 16


class Contribution(Record, frozen=True):
    """Step 1, site → coordinator, beside the packed vector y_i. `counts`: masked; `bundles`: one per peer, in order.

    The signature covers the vector too.
    """

    plan: bytes
    site: SiteName
    counts: bytes
    bundles: tuple[bytes, ...]
    commitments: bytes
    share_commitments: bytes
    signature: bytes


class ConfirmRequest(Record, frozen=True):
    """Step 2 (active mode), coordinator → site: the survivors it is about to unmask."""

    plan: bytes
    site: SiteName
    survivors: tuple[SiteName, ...]


class Confirmation(Record, frozen=True):
    """Step 2, site → coordinator: its signature over plan and survivors (their digest)."""

    plan: bytes
    site: SiteName
    survivors: bytes
    signature: bytes


class UnmaskRequest(Record, frozen=True):
    """Step 3, coordinator → site. `bundles`: those for `site` by every other survivor, in order.

    `confirmations`: in active mode one signature per survivor, in order, empty where it gave none; else nothing.
    """

    plan: bytes
    site: SiteName
    survivors: tuple[SiteName, ...]
    bundles: tuple[bytes, ...]
    confirmations: tuple[bytes, ...] = ()


class UnmaskAnswer(Record, frozen=True):
    """Step 3, site i → coordinator, for survivors U and dropped D, all in cohort order.

    `self_shares`: i's share of b_j for j in U. `pair_seeds`: s_id for d in D. `pair_shares`: i's share of
    s_jd, for j in U but i, for d in D.
    """

    plan: bytes
    site: SiteName
    survivors: bytes
    self_shares: bytes
    pair_seeds: bytes
    pair_shares: bytes
    signature: bytes


def vector_digest(vector: memoryview) -> bytes:
    """32 bytes that stand for the vector in what is signed, so that it is read once and not copied."""
    return digest(_VECTOR_LABEL, sha256(vector).digest())


def survivors_digest(plan: bytes, survivors: tuple[str, ...]) -> bytes:
    """32 bytes naming U within a plan."""
    return digest(_SURVIVORS_LABEL, plan, *(site.encode() for site in survivors))


def contribution_parts(message: Contribution, vector: memoryview) -> tuple[bytes, ...]:
    """What the site signs of its contribution: all of it, and its packed vector."""
    return (
        message.plan,
        message.site.encode(),
        message.counts,
        vector_digest(vector),
        message.commitments,
        message.share_commitments,
        *message.bundles,
    )


def confirm_parts(plan: bytes, survivors: bytes) -> tuple[bytes, ...]:
    """What a site signs to confirm the survivors whose digest is `survivors`: the same bytes for every site."""
    return (plan, survivors)


def answer_parts(message: UnmaskAnswer) -> tuple[bytes, ...]:
    """What the site signs of its answer: all of it."""
    return (
        message.plan,
        message.site.encode(),
        message.survivors,
        message.self_shares,
        message.pair_seeds,
        message.pair_shares,
    )


def commitment(plan: bytes, sites: tuple[str, ...], owner: int, slot: int, secret: bytes) -> bytes:
    """The commitment to the secret in `slot` of member `owner`; a pair's is the same from both ends."""
    if owner == slot:
        return digest(_SELF_LABEL, plan, sites[owner].encode(), secret)
    first, second = sorted((owner, slot))
    return digest(_PAIR_LABEL, plan, sites[first].encode(), sites[second].encode(), secret)


def share_commitment(plan: bytes, owner: int, slot: int, member: int, share: bytes) -> bytes:
    """16 bytes committing `owner` to the share of its `slot` that it dealt to `member`."""
    place = b"".join(number.to_bytes(4, "big") for number in (owner, slot, member))
    return digest(_SHARE_LABEL, plan, place, share)[:SHARE_COMMITMENT_BYTES]


def piece(data: bytes, index: int, size: int) -> bytes:
    """The `index`-th run of `size` bytes."""
    return data[index * size : (index + 1) * size]
