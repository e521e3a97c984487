"""A second implementation of the secure aggregation of docs/protocol.md, written from that page: both roles, in memory.

It shares nothing with shared/secagg but the page. It is slow and short on purpose, keeps its secrets in plain sight
(`Randomness`), stores nothing, and must not aggregate anything but test vectors. Records are plain dicts in the order
of `FIELDS`; words are lists of integers.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.vectors.secagg.packed import Refused, digest, pack, unpack
from tests.vectors.secagg.words import add, count_mask, mask, pack_words, unpack_words

Message = dict[str, Any]

VERSION = 2
#: Shamir's field, and bytes of one share.
PRIME = (1 << 256) + 297
SHARE = 33

#: The fields of every record, in the order in which they are packed.
FIELDS = {
    "JoinRecord": "run study_hash roster_hash site public_key signature",
    "Plan": "step payload threshold colluders adversary quantizer counts length bits run study_hash roster_hash round attempt "
    "cohort",
    "Contribution": "plan site counts bundles commitments share_commitments signature",
    "ConfirmRequest": "plan site survivors",
    "Confirmation": "plan site survivors signature",
    "UnmaskRequest": "plan site survivors bundles confirmations",
    "UnmaskAnswer": "plan site survivors self_shares pair_seeds pair_shares signature",
}


def read(kind: str, data: bytes) -> Message:
    """The record `kind` packed in `data`."""
    found = unpack(data)
    if not isinstance(found, dict) or list(found) != FIELDS[kind].split():
        raise Refused(f"{kind} has other fields")
    return found


# Keys, signatures, seeds


def public_identity(identity: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(identity).public_key().public_bytes_raw()


def sign(identity: bytes, label: str, *parts: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(identity).sign(digest(label, *parts))


def verify(public: bytes, signature: bytes, label: str, *parts: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, digest(label, *parts))
    except InvalidSignature:
        raise Refused(f"a signature for {label}") from None


def public_run_key(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def agree(private: bytes, public: bytes) -> bytes:
    """X25519; a key of low order or one that is not canonical is refused."""
    if len(public) != 32 or int.from_bytes(public, "little") >= (1 << 255) - 19:
        raise Refused("run key: not canonical")
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise Refused("run key: low order") from None


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256, 32 bytes: one block of output."""
    return hmac.digest(hmac.digest(salt, secret, sha256), info + b"\1", sha256)


def pair_seed(plan: bytes, secret: bytes, a: str, b: str) -> bytes:
    first, second = sorted((a, b))
    return hkdf(secret, plan, digest("konsil/pair/v1", first.encode(), second.encode()))


def seal_key(plan: bytes, secret: bytes, sender: str, receiver: str) -> bytes:
    return hkdf(secret, plan, digest("konsil/seal/v1", sender.encode(), receiver.encode()))


# Shares


def split(secret: bytes, coefficients: Sequence[int], members: int) -> list[bytes]:
    """One share per member; `coefficients` of x, x², …"""
    polynomial = [int.from_bytes(secret, "big"), *coefficients]
    return [
        (sum(c * pow(k + 1, e, PRIME) for e, c in enumerate(polynomial)) % PRIME).to_bytes(SHARE, "big")
        for k in range(members)
    ]


def weights(members: Sequence[int]) -> list[int]:
    """By Lagrange, what the shares of these members (numbers from 0) are multiplied with to find f(0)."""
    result = []
    for k in members:
        over, under = 1, 1
        for other in members:
            if other != k:
                over, under = over * (other + 1) % PRIME, under * (other - k) % PRIME
        result.append(over * pow(under, -1, PRIME) % PRIME)
    return result


def combine(shares: dict[int, bytes]) -> bytes:
    """The secret of t shares, by number of the member."""
    numbers = [int.from_bytes(share, "big") for share in shares.values()]
    secret = sum(w * number for w, number in zip(weights(list(shares)), numbers, strict=True)) % PRIME
    if secret >= 1 << 256:
        raise Refused("shares of no secret")
    return secret.to_bytes(32, "big")


# Plans


def threshold(n: int, c: int, at_least: str = "0.6") -> int:
    """The least t with 2 t > n + c, at least 2 and at least the study's fraction of n."""
    return max(2, (n + c) // 2 + 1, -(-Fraction(at_least) * n // 1).__int__())


def join(identity: bytes, run_key: bytes, *, run: str, study_hash: bytes, roster_hash: bytes, site: str) -> Message:
    public = public_run_key(run_key)
    signature = sign(identity, "konsil/join/v1", run.encode(), study_hash, roster_hash, site.encode(), public)
    values = (run, study_hash, roster_hash, site, public, signature)
    return dict(zip(FIELDS["JoinRecord"].split(), values, strict=True))


def plan_digest(plan: Message) -> bytes:
    return digest("konsil/plan/v1", pack(plan))


def names(plan: Message) -> list[str]:
    return [record["site"] for record in plan["cohort"]]


def check_plan(plan: Message, identities: dict[str, bytes]) -> None:
    """Refuse a plan with a wrong cohort, join record or threshold."""
    cohort, keys = names(plan), {record["public_key"] for record in plan["cohort"]}
    if cohort != sorted(set(cohort)) or len(keys) != len(cohort):
        raise Refused("cohort: not in order, or somebody twice")
    if 2 * plan["threshold"] <= len(cohort) + plan["colluders"] or plan["threshold"] > len(cohort):
        raise Refused("threshold")
    for record in plan["cohort"]:
        if any(record[name] != plan[name] for name in ("run", "study_hash", "roster_hash")):
            raise Refused("a join record of another run")
        parts = [record[name] for name in ("run", "study_hash", "roster_hash", "site", "public_key")]
        encoded = [part.encode() if isinstance(part, str) else part for part in parts]
        verify(identities[record["site"]], record["signature"], "konsil/join/v1", *encoded)


def commit_self(plan: bytes, name: str, seed: bytes) -> bytes:
    return digest("konsil/commit-self/v1", plan, name.encode(), seed)


def commit_pair(plan: bytes, a: str, b: str, seed: bytes) -> bytes:
    """By number, which is by name: the cohort is sorted."""
    first, second = sorted((a, b))
    return digest("konsil/commit-pair/v1", plan, first.encode(), second.encode(), seed)


def commit_share(plan: bytes, owner: int, slot: int, member: int, share: bytes) -> bytes:
    place = b"".join(number.to_bytes(4, "big") for number in (owner, slot, member))
    return digest("konsil/commit-share/v1", plan, place, share)[:16]


def survivors_digest(plan: bytes, survivors: Sequence[str]) -> bytes:
    return digest("konsil/survivors/v1", plan, *(name.encode() for name in survivors))


def contribution_parts(message: Message, vector: bytes) -> list[bytes]:
    """What the signature of a contribution covers."""
    of_vector = digest("konsil/vector/v1", sha256(vector).digest())
    head = [message["plan"], message["site"].encode(), message["counts"], of_vector]
    return [*head, message["commitments"], message["share_commitments"], *message["bundles"]]


def answer_parts(message: Message) -> list[bytes]:
    head = [message["plan"], message["site"].encode(), message["survivors"]]
    return head + [message[name] for name in ("self_shares", "pair_seeds", "pair_shares")]


# Members


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
            seed, sign = self.seeds.get(name, randomness.self_seed), 1 if name >= self.site else -1
            masked = add(masked, mask(seed, len(vector), bits), bits, sign)
            counted = add(counted, count_mask(seed, len(counts)), 64, sign)
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
        if self.plan["adversary"] == "active":
            self._check_confirmations(request["confirmations"], survivors, told)
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
        site, n = message["site"], len(self.names)
        lengths = [len(message["commitments"]), len(message["share_commitments"]), len(message["bundles"])]
        if lengths != [32 * n, 16 * n * n, n - 1] or {*map(len, message["bundles"])} != {33 * n + 28}:
            raise Refused("lengths")
        if message["plan"] != self.digest or site in self.contributions:
            raise Refused("contribution of another plan, or a second one")
        parts = contribution_parts(message, vector)
        verify(self.identities[site], message["signature"], "konsil/contribution/v1", *parts)
        self.counts[site] = unpack_words(message["counts"], self.plan["counts"], 64)
        self.vectors[site] = unpack_words(vector, self.plan["length"], self.plan["bits"])
        self.contributions[site] = message

    def confirm_request(self, site: str) -> Message:
        return {"plan": self.digest, "site": site, "survivors": self.survivors}

    def confirm(self, message: Message) -> None:
        told = survivors_digest(self.digest, self.survivors)
        if message["survivors"] != told or message["plan"] != self.digest:
            raise Refused("confirmation of other survivors")
        site = message["site"]
        verify(self.identities[site], message["signature"], "konsil/confirm/v1", self.digest, told)
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
        told, site = survivors_digest(self.digest, self.survivors), message["site"]
        if message["plan"] != self.digest or message["survivors"] != told:
            raise Refused("answer for other survivors")
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
            for seed, sign in masks:
                counts = add(counts, count_mask(seed, counted), 64, sign)
                total = add(total, mask(seed, length, bits), bits, sign)
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
