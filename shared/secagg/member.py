"""The site's role: mask a vector once, confirm one survivor set, help to unmask its sum once (PROTOCOL.md, 1 to 3).

Guarantees: what leaves in `contribute` is, to the coordinator and fewer than t other members, uniform noise;
`unmask` gives for each member either what removes its self mask or what removes its pair masks, never both,
and only for a survivor set that has this site in it, the plan's threshold and the site's own minimum, and in active
mode t members' signatures on exactly this set.

Pure functions: state in, state out. The caller

1. takes the seat from `check_plan`, and has never contributed to that plan or a newer one of the run,
2. stores the `RoundState` (mode 0600) and the contribution on disk *before* sending, and sends the same
   stored bytes again if asked again: a vector is never masked twice,
3. stores the survivors it confirms *before* sending the confirmation, and never confirms others, nor unmasks others,
4. calls `unmask` once per plan, ever: it replaces the state by a tombstone and stores the answer before
   sending it.

Python cannot wipe memory: secrets end with the process or its garbage, not sooner.
"""

import os
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from shared.crypto.identity import Identity, verify
from shared.crypto.sealing import agree, derive, seal, unseal
from shared.crypto.secret import SecretRecord
from shared.errors import MisuseError, PeerError
from shared.secagg.joining import RunKey
from shared.secagg.keystream import SEED_BYTES
from shared.secagg.masks import Counts, Fill, Sign, add_count_masks, add_masks
from shared.secagg.messages import (
    ANSWER_LABEL,
    CONFIRM_LABEL,
    CONTRIBUTION_LABEL,
    Confirmation,
    ConfirmRequest,
    Contribution,
    UnmaskAnswer,
    UnmaskRequest,
    answer_parts,
    commitment,
    confirm_parts,
    contribution_parts,
    piece,
    share_commitment,
    survivors_digest,
)
from shared.secagg.packing import pack_words
from shared.secagg.plan import Seat, SiteRules, check_rules
from shared.secagg.sharing import SHARE_BYTES, split
from shared.wire import pack, unpack

PAIR_LABEL = "konsil/pair/v1"
SEAL_LABEL = "konsil/seal/v1"


class RoundState(SecretRecord, frozen=True):
    """What a site keeps between step 1 and 3. Not b_i: once shared, only t members can rebuild it.

    `identities` (who may confirm), `seeds` and `openers` go by cohort number; the last two are empty at the site's own:
    s_ik, and the key of the bundle from k. `own_shares`: the site's shares of its own n secrets, 33 n bytes.
    """

    plan: bytes
    site: str
    cohort: tuple[str, ...]
    identities: tuple[bytes, ...]
    threshold: int
    active: bool
    seeds: tuple[bytes, ...]
    openers: tuple[bytes, ...]
    own_shares: bytes


class Plain(NamedTuple):
    """What is to be masked: uint64 [plan.counts], the first 1; and what writes the vector, piece by piece:
    `plan.length` words, uint32 for 32 bits, uint16 for 16 and less."""

    counts: Counts
    fill: Fill


class Masked(NamedTuple):
    """Step 1 done: what to keep, and what to send: the encoded `Contribution` and the packed vector y_i beside it."""

    state: RoundState
    contribution: bytes
    vector: memoryview


class _Links(NamedTuple):
    """What a site shares with each member, by cohort number: pair seed, key i→k, key k→i (own: empty)."""

    seeds: tuple[bytes, ...]
    sealers: tuple[bytes, ...]
    openers: tuple[bytes, ...]


class _Dealing(NamedTuple):
    """The shares of a site's n secrets: bundle content per member, and the commitments to all of it."""

    bundles: tuple[bytes, ...]
    commitments: bytes
    share_commitments: bytes


def contribute(seat: Seat, plain: Plain, *, run_key: RunKey, identity: Identity, threads: int = 1) -> Masked:
    """Mask `plain`. Each piece of the vector is written, masked and left: unmasked, it never exists whole.

    Memory: one vector, and a second one where words are packed to fewer than 16 bits.
    """
    plan, own, number = seat.plan, seat.own, seat.number
    if run_key.public != own.public_key:
        raise MisuseError("run key", expected="the one joined by", got="another")
    if plain.counts.shape != (plan.counts,) or plain.counts.dtype != np.dtype("<u8"):
        found = f"{plain.counts.dtype} {list(plain.counts.shape)}"
        raise MisuseError("counts", expected=f"uint64 [{plan.counts}]", got=found)
    links = _links(seat, run_key)
    self_seed = os.urandom(SEED_BYTES)
    secrets = tuple(self_seed if k == number else seed for k, seed in enumerate(links.seeds))
    dealing = _deal(seat, secrets)
    # y_i = q_i + PRG(b_i) + Σ_{j>i} PRG(s_ij) - Σ_{j<i} PRG(s_ij)
    masks = [(secret, _sign(number, k)) for k, secret in enumerate(secrets)]
    counts, masked = plain.counts.copy(), np.empty(plan.length, plan.dtype)
    add_count_masks(counts, masks)
    add_masks(masked, masks, fill=plain.fill, threads=threads)
    vector = pack_words(masked, plan.bits)
    unsigned = Contribution(
        plan=seat.digest,
        site=own.site,
        counts=counts.tobytes(),
        bundles=tuple(
            seal(links.sealers[k], bundle, seat.digest) for k, bundle in enumerate(dealing.bundles) if k != number
        ),
        commitments=dealing.commitments,
        share_commitments=dealing.share_commitments,
        signature=b"",
    )
    state = RoundState(
        plan=seat.digest,
        site=own.site,
        cohort=plan.sites(),
        identities=seat.identities,
        threshold=plan.threshold,
        active=plan.adversary == "active",
        seeds=links.seeds,
        openers=links.openers,
        own_shares=dealing.bundles[number],
    )
    signature = identity.sign(CONTRIBUTION_LABEL, *contribution_parts(unsigned, vector))
    return Masked(state, pack(replace(unsigned, signature=signature)), vector)


def confirm(state: RoundState, request: bytes, *, identity: Identity, rules: SiteRules) -> bytes:
    """Step 2: the encoded `Confirmation` of the survivors in `request`. Raises PeerError.

    The same survivors give the same bytes. Other survivors must never be confirmed again (module docstring, 3).
    """
    message = unpack(ConfirmRequest, request)
    if not state.active:
        raise PeerError("confirm request", expected="a plan in active mode", got="a semi-honest one")
    _check_survivors(state, message, rules)
    survivors = survivors_digest(state.plan, message.survivors)
    signature = identity.sign(CONFIRM_LABEL, *confirm_parts(state.plan, survivors))
    return pack(Confirmation(plan=state.plan, site=state.site, survivors=survivors, signature=signature))


def unmask(state: RoundState, request: bytes, *, identity: Identity, rules: SiteRules) -> bytes:
    """The encoded `UnmaskAnswer` to `request`. Raises PeerError, and then the state stays good for another.

    Once an answer was given, `state` must never be used again (module docstring, 3).
    """
    message = unpack(UnmaskRequest, request)
    survivors = _check_survivors(state, message, rules)
    _check_confirmations(state, message, survivors)
    number = state.cohort.index(state.site)
    dropped = [k for k in range(len(state.cohort)) if k not in survivors]
    shares = _open_bundles(state, message, survivors) | {number: state.own_shares}
    answer = UnmaskAnswer(
        plan=state.plan,
        site=state.site,
        survivors=survivors_digest(state.plan, message.survivors),
        self_shares=b"".join(piece(shares[j], j, SHARE_BYTES) for j in survivors),
        pair_seeds=b"".join(state.seeds[d] for d in dropped),
        pair_shares=b"".join(piece(shares[j], d, SHARE_BYTES) for j in survivors if j != number for d in dropped),
        signature=b"",
    )
    return pack(replace(answer, signature=identity.sign(ANSWER_LABEL, *answer_parts(answer))))


def _sign(number: int, other: int) -> Sign:
    """+ for the self mask and for pairs with later members, - for pairs with earlier ones."""
    return 1 if other >= number else -1


def _links(seat: Seat, run_key: RunKey) -> _Links:
    """Step 1: s_ij and the sealing keys, from X25519 of the two run keys, salted with the plan."""
    own = seat.own.site
    rows = []
    for record in seat.plan.cohort:
        if record.site == own:
            rows.append((b"", b"", b""))
            continue
        secret = agree(run_key.private, record.public_key, owner=record.site)
        first, second = sorted((own, record.site))
        rows.append(
            (
                derive(secret, salt=seat.digest, label=PAIR_LABEL, parts=(first, second)),
                derive(secret, salt=seat.digest, label=SEAL_LABEL, parts=(own, record.site)),
                derive(secret, salt=seat.digest, label=SEAL_LABEL, parts=(record.site, own)),
            )
        )
    return _Links(*(tuple(column) for column in zip(*rows, strict=True)))


def _deal(seat: Seat, secrets: tuple[bytes, ...]) -> _Dealing:
    """Step 1: Shamir shares, t of n, of each secret, with the commitments."""
    sites, number = seat.plan.sites(), seat.number
    members = range(len(sites))
    by_slot = [split(secret, threshold=seat.plan.threshold, count=len(sites)) for secret in secrets]
    return _Dealing(
        bundles=tuple(b"".join(shares[k] for shares in by_slot) for k in members),
        commitments=b"".join(commitment(seat.digest, sites, number, slot, secrets[slot]) for slot in members),
        share_commitments=b"".join(
            share_commitment(seat.digest, number, slot, k, by_slot[slot][k]) for k in members for slot in members
        ),
    )


def _check_survivors(state: RoundState, message: ConfirmRequest | UnmaskRequest, rules: SiteRules) -> list[int]:
    """U as cohort numbers, or PeerError: steps 2 and 3 and "Refusals"."""
    if (message.plan, message.site) != (state.plan, state.site):
        raise PeerError("survivors", expected=f"a request for the stored plan and {state.site}", got="another")
    sites = message.survivors
    if list(sites) != sorted(set(sites)) or not set(sites) <= set(state.cohort):
        raise PeerError("survivors", expected="members of the cohort, once, sorted", got=f"{len(sites)} others")
    if state.site not in sites:
        raise PeerError("survivors", expected=f"{state.site} in them", got=f"{len(sites)} others")
    check_rules(rules, sites, max(state.threshold, rules.min_survivors), "survivors")
    return [state.cohort.index(site) for site in sites]


def _check_confirmations(state: RoundState, message: UnmaskRequest, survivors: list[int]) -> None:
    """Step 3 in active mode: t members of U signed exactly this U; a wrong signature among more is refused as well."""
    expected = len(survivors) if state.active else 0
    if len(message.confirmations) != expected:
        raise PeerError(
            "confirmations",
            expected=f"{expected} places, one per survivor" if state.active else "none in semi-honest mode",
            got=f"{len(message.confirmations)}",
        )
    if not state.active:
        return
    parts = confirm_parts(state.plan, survivors_digest(state.plan, message.survivors))
    given = [(k, signature) for k, signature in zip(survivors, message.confirmations, strict=True) if signature]
    if len(given) < state.threshold:
        raise PeerError("confirmations", expected=f"at least {state.threshold}", got=f"{len(given)}")
    for k, signature in given:
        verify(state.identities[k], signature, CONFIRM_LABEL, *parts)


def _open_bundles(state: RoundState, message: UnmaskRequest, survivors: list[int]) -> dict[int, bytes]:
    """The shares that every other survivor dealt to this site, by cohort number."""
    number = state.cohort.index(state.site)
    shares = {}
    others = [j for j in survivors if j != number]
    if len(message.bundles) != len(others):
        raise PeerError("unmask request", expected=f"{len(others)} bundles", got=f"{len(message.bundles)}")
    for j, bundle in zip(others, message.bundles, strict=True):
        what = f"bundle from {state.cohort[j]} to {state.site}"
        shares[j] = unseal(state.openers[j], bundle, state.plan, what=what)
        if len(shares[j]) != len(state.own_shares):
            raise PeerError(what, expected=f"{len(state.own_shares)} bytes", got=f"{len(shares[j])} bytes")
    return shares
