"""A second implementation of the secure aggregation of docs/protocol.md, written from that page: both roles, in memory.

It shares nothing with shared/secagg but the page. It is slow and short on purpose, keeps its secrets in plain sight
(`Randomness`), stores nothing, and must not aggregate anything but test vectors. Records are plain dicts in the order
of `FIELDS`; words are lists of integers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.vectors.secagg.packed import Refused
from tests.vectors.secagg.primitives import SHARE, agree, combine, pair_seed, seal_key, sign, split, verify
from tests.vectors.secagg.records import (
    FIELDS,
    Message,
    answer_parts,
    check_plan,
    commit_pair,
    commit_self,
    commit_share,
    contribution_parts,
    names,
    plan_digest,
    survivors_digest,
)
from tests.vectors.secagg.words import add, count_mask, mask, pack_words, unpack_words


@dataclass(frozen=True)
class Randomness:
    """All that a member draws for one plan: its self seed, t - 1 coefficients per slot, a nonce per other member."""

    self_seed: bytes
    coefficients: tuple[tuple[int, ...], ...]
    nonces: dict[str, bytes]

    @classmethod
    def of(cls, seed: bytes, plan: Message, site: str) -> "Randomness":
        """Everything from one seed: SHA-256 of seed, a word for what it is, and numbers."""

        def draw(what: str, *numbers: int) -> bytes:
            return sha256(seed + what.encode() + bytes(numbers)).digest()

        cohort = names(plan)
        slots, degree = range(len(cohort)), plan["threshold"] - 1
        coefficients = tuple(
            tuple(int.from_bytes(draw("coefficient", slot, e), "big") for e in range(degree)) for slot in slots
        )
        nonces = {name: draw("nonce", k)[:12] for k, name in enumerate(cohort) if name != site}
        return cls(draw("self"), coefficients, nonces)


@dataclass
class Member:
    """One hospital in one plan. `survivors` is what it confirmed: it signs and answers for no other."""

    site: str
    identity: bytes
    run_key: bytes
    plan: Message
    identities: dict[str, bytes]
    survivors: list[str] = field(default_factory=list)
    _answered: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_plan(self.plan, self.identities)
        self.names, self.digest = names(self.plan), plan_digest(self.plan)
        self.number = self.names.index(self.site)
        keys = {record["site"]: record["public_key"] for record in self.plan["cohort"]}
        self.secrets = {name: agree(self.run_key, keys[name]) for name in self.names if name != self.site}
        self.seeds = {name: pair_seed(self.digest, secret, self.site, name) for name, secret in self.secrets.items()}

    def contribute(self, counts: Sequence[int], vector: Sequence[int], randomness: Randomness) -> tuple[Message, bytes]:
        """The contribution, and the packed masked vector that travels beside it."""
        bits, n = self.plan["bits"], len(self.names)
        masked, counted = list(vector), list(counts)
        for name in self.names:
            seed, way = self.seeds.get(name, randomness.self_seed), 1 if name >= self.site else -1
            masked = add(masked, mask(seed, len(vector), bits), bits, way)
            counted = add(counted, count_mask(seed, len(counts)), 64, way)
        packed = pack_words(masked, bits)
        slots = [self.seeds.get(name, randomness.self_seed) for name in self.names]
        dealt = [split(slots[s], randomness.coefficients[s], n) for s in range(n)]
        self.own_shares = [shares[self.number] for shares in dealt]
        commitments = [
            commit_self(self.digest, name, slots[k])
            if name == self.site
            else commit_pair(self.digest, self.site, name, slots[k])
            for k, name in enumerate(self.names)
        ]
        openers = [commit_share(self.digest, self.number, s, m, dealt[s][m]) for m in range(n) for s in range(n)]
        bundles = []
        for m, name in enumerate(self.names):
            if name != self.site:
                key = seal_key(self.digest, self.secrets[name], self.site, name)
                shares = b"".join(dealt[s][m] for s in range(n))
                nonce = randomness.nonces[name]
                bundles.append(nonce + AESGCM(key).encrypt(nonce, shares, self.digest))
        values = (
            self.digest,
            self.site,
            pack_words(counted, 64),
            bundles,
            b"".join(commitments),
            b"".join(openers),
            b"",
        )
        message = dict(zip(FIELDS["Contribution"].split(), values, strict=True))
        signature = sign(self.identity, "konsil/contribution/v1", *contribution_parts(message, packed))
        return {**message, "signature": signature}, packed

    def confirm(self, request: Message) -> Message:
        """The signature on the survivors of `request`; for one set only."""
        survivors = self._check(request)
        if self.survivors and self.survivors != survivors:
            raise Refused("other survivors are confirmed")
        self.survivors = survivors
        told = survivors_digest(self.digest, survivors)
        signature = sign(self.identity, "konsil/confirm/v1", self.digest, told)
        return {"plan": self.digest, "site": self.site, "survivors": told, "signature": signature}

    def unmask(self, request: Message) -> Message:
        """Shares of the survivors' self seeds; own seeds and shares with who is gone."""
        survivors = self._check(request)
        told = survivors_digest(self.digest, survivors)
        if len(request["bundles"]) != len(survivors) - 1:
            raise Refused("bundles: not one of each other survivor")
        if self.plan["adversary"] == "active":
            self._check_confirmations(request["confirmations"], survivors, told)
        elif request["confirmations"]:
            raise Refused("confirmations in semi-honest mode")
        if survivors != (self.survivors or survivors) or survivors != (self._answered or survivors):
            raise Refused("other survivors were answered or confirmed")
        shares = {self.site: self.own_shares}
        peers = [name for name in survivors if name != self.site]
        for name, bundle in zip(peers, request["bundles"], strict=True):
            shares[name] = self._open(name, bundle)
        self._answered = survivors
        gone = [name for name in self.names if name not in survivors]
        message = {
            "plan": self.digest,
            "site": self.site,
            "survivors": told,
            "self_shares": b"".join(shares[name][self.names.index(name)] for name in survivors),
            "pair_seeds": b"".join(self.seeds[name] for name in gone),
            "pair_shares": b"".join(shares[j][self.names.index(d)] for j in peers for d in gone),
        }
        return {**message, "signature": sign(self.identity, "konsil/answer/v1", *answer_parts(message))}

    def _check(self, request: Message) -> list[str]:
        survivors: list[str] = request["survivors"]
        if request["plan"] != self.digest or request["site"] != self.site:
            raise Refused("for another plan or site")
        if survivors != [name for name in self.names if name in survivors] or self.site not in survivors:
            raise Refused("survivors: not in order, not in the cohort, or without this site")
        if len(survivors) < self.plan["threshold"]:
            raise Refused("survivors: too few")
        return survivors

    def _check_confirmations(self, signatures: list[bytes], survivors: list[str], told: bytes) -> None:
        if len(signatures) != len(survivors) or sum(map(bool, signatures)) < self.plan["threshold"]:
            raise Refused("confirmations: too few")
        for name, signature in zip(survivors, signatures, strict=True):
            if signature:
                verify(self.identities[name], signature, "konsil/confirm/v1", self.digest, told)

    def _open(self, name: str, bundle: bytes) -> list[bytes]:
        key = seal_key(self.digest, self.secrets[name], name, self.site)
        try:
            opened = AESGCM(key).decrypt(bundle[:12], bundle[12:], self.digest)
        except InvalidTag:
            raise Refused(f"bundle of {name}") from None
        return [opened[at : at + SHARE] for at in range(0, len(opened), SHARE)]


# The coordinator


@dataclass
class Coordinator:
    """One plan: gathers contributions, confirmations and answers, and tells the sum over who contributed."""

    plan: Message
    identities: dict[str, bytes]
    contributions: dict[str, Message] = field(default_factory=dict)
    counts: dict[str, list[int]] = field(default_factory=dict)
    vectors: dict[str, list[int]] = field(default_factory=dict)
    confirmations: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, Message] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names, self.digest = names(self.plan), plan_digest(self.plan)

    @property
    def survivors(self) -> list[str]:
        """Whose contribution is here, in order."""
        return [name for name in self.names if name in self.contributions]

    def add(self, message: Message, vector: bytes) -> None:
        site, n = self._sender(message, self.contributions), len(self.names)
        lengths = [len(message[name]) for name in ("counts", "commitments", "share_commitments", "bundles")]
        if lengths != [8 * self.plan["counts"], 32 * n, 16 * n * n, n - 1]:
            raise Refused("contribution: lengths")
        if {*map(len, message["bundles"])} != {SHARE * n + 28}:
            raise Refused("bundle: length")
        parts = contribution_parts(message, vector)
        verify(self.identities[site], message["signature"], "konsil/contribution/v1", *parts)
        number = self.names.index(site)
        for other, earlier in self.contributions.items():
            place = self.names.index(other)
            if _piece(message["commitments"], place, 32) != _piece(earlier["commitments"], number, 32):
                raise Refused(f"another seed than {other} committed to")
        words = unpack_words(vector, self.plan["length"], self.plan["bits"])
        self.counts[site] = unpack_words(message["counts"], self.plan["counts"], 64)
        self.vectors[site], self.contributions[site] = words, message

    def _sender(self, message: Message, seen: Mapping[str, Any]) -> str:
        site: str = message["site"]
        if message["plan"] != self.digest or site not in self.names or site in seen:
            raise Refused("message: of another plan, of a stranger, or a second one")
        return site

    def _survivor(self, message: Message, seen: Mapping[str, Any]) -> str:
        site = self._sender(message, seen)
        if site not in self.contributions or message["survivors"] != survivors_digest(self.digest, self.survivors):
            raise Refused("message: of a dropped site, or for other survivors")
        return site

    def confirm_request(self, site: str) -> Message:
        return {"plan": self.digest, "site": site, "survivors": self.survivors}

    def confirm(self, message: Message) -> None:
        site = self._survivor(message, self.confirmations)
        parts = (self.digest, message["survivors"])
        verify(self.identities[site], message["signature"], "konsil/confirm/v1", *parts)
        self.confirmations[site] = message["signature"]

    def unmask_request(self, site: str) -> Message:
        place = self.names.index(site)
        bundles = [
            self.contributions[name]["bundles"][place - (self.names.index(name) < place)]
            for name in self.survivors
            if name != site
        ]
        signatures = [self.confirmations.get(name, b"") for name in self.survivors] if self.confirmations else []
        head = {"plan": self.digest, "site": site, "survivors": self.survivors}
        return {**head, "bundles": bundles, "confirmations": signatures}

    def answer(self, message: Message) -> None:
        site, u = self._survivor(message, self.answers), len(self.survivors)
        gone = len(self.names) - u
        lengths = [len(message[name]) for name in ("self_shares", "pair_seeds", "pair_shares")]
        if lengths != [SHARE * u, 32 * gone, SHARE * (u - 1) * gone]:
            raise Refused("answer: lengths")
        verify(self.identities[site], message["signature"], "konsil/answer/v1", *answer_parts(message))
        self.answers[site] = message

    def finish(self) -> tuple[list[int], list[int]]:
        """The sums over the survivors: counts mod 2^64, and words mod 2^bits."""
        bits, length, counted = self.plan["bits"], self.plan["length"], self.plan["counts"]
        gone = [name for name in self.names if name not in self.contributions]
        counts, total = [0] * counted, [0] * length
        for j in self.survivors:
            counts, total = add(counts, self.counts[j], 64), add(total, self.vectors[j], bits)
            masks = [(self._self_seed(j), -1)]
            masks += [(self._pair_seed(j, d, gone), -1 if d > j else 1) for d in gone]
            for seed, way in masks:
                counts = add(counts, count_mask(seed, counted), 64, way)
                total = add(total, mask(seed, length, bits), bits, way)
        return counts, [word % (1 << bits) for word in total]

    def _self_seed(self, j: str) -> bytes:
        at, slot = self.survivors.index(j), self.names.index(j)
        shares = {site: _piece(answer["self_shares"], at, SHARE) for site, answer in self.answers.items()}
        seed = self._combine(j, slot, shares)
        if commit_self(self.digest, j, seed) != _piece(self.contributions[j]["commitments"], slot, 32):
            raise Refused(f"self seed of {j}: not what it committed to")
        return seed

    def _pair_seed(self, j: str, d: str, gone: list[str]) -> bytes:
        slot = self.names.index(d)
        if j in self.answers:
            seed = _piece(self.answers[j]["pair_seeds"], gone.index(d), 32)
        else:
            shares = {}
            for site, answer in self.answers.items():
                row = [name for name in self.survivors if name != site].index(j)
                shares[site] = _piece(answer["pair_shares"], row * len(gone) + gone.index(d), SHARE)
            seed = self._combine(j, slot, shares)
        if commit_pair(self.digest, j, d, seed) != _piece(self.contributions[j]["commitments"], slot, 32):
            raise Refused(f"seed of {j} and {d}: not what was committed to")
        return seed

    def _combine(self, owner: str, slot: int, shares: dict[str, bytes]) -> bytes:
        """The secret of `slot` that `owner` dealt, of the shares that fit its commitments."""
        right, number = {}, self.names.index(owner)
        for site, share in shares.items():
            member = self.names.index(site)
            promised = _piece(self.contributions[owner]["share_commitments"], member * len(self.names) + slot, 16)
            if commit_share(self.digest, number, slot, member, share) == promised:
                right[member] = share
        if len(right) < self.plan["threshold"]:
            raise Refused("too few right shares")
        return combine(dict(sorted(right.items())[: self.plan["threshold"]]))


def _piece(data: bytes, at: int, size: int) -> bytes:
    return data[at * size : (at + 1) * size]
