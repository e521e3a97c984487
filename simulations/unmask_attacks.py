"""What a lying coordinator (attacker.py) may ask once vectors are masked (PROTOCOL.md, steps 2 and 3).

Each attack takes the honest request to one hospital and returns a hostile one.

    changed = UNMASKS["a survivor who is not of the cohort"](attacker, "alder", request)
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from shared.crypto.identity import Identity
from shared.messages.replies import Confirmed
from shared.secagg.messages import (
    CONFIRM_LABEL,
    Confirmation,
    ConfirmRequest,
    UnmaskRequest,
    confirm_parts,
    survivors_digest,
)
from shared.wire import unpack
from simulations.attacker import Attacker

#: A hospital that no roster lists.
STRANGER = "zelkova"

ConfirmAttack = Callable[[Attacker, str, ConfirmRequest], ConfirmRequest]
UnmaskAttack = Callable[[Attacker, str, UnmaskRequest], UnmaskRequest]


def asks(change: Callable[[str, tuple[str, ...]], tuple[str, ...]]) -> ConfirmAttack:
    """Ask to confirm what `change` makes of the site's name and the survivors."""
    return lambda _attacker, site, request: replace(request, survivors=change(site, request.survivors))


CONFIRMS: Mapping[str, ConfirmAttack] = {
    "too few survivors": asks(lambda site, _: (site,)),
    "no survivors": asks(lambda _site, _: ()),
    "survivors without the site": asks(lambda site, names: tuple(name for name in names if name != site)),
    "a survivor twice": asks(lambda _, names: (names[0], *names)),
    "survivors in disorder": asks(lambda _, names: names[::-1]),
    "a survivor who is not of the cohort": asks(lambda _, names: (*names, STRANGER)),
    "a plan nobody contributed to": lambda _attacker, _site, request: replace(request, plan=bytes(32)),
    "the request meant for a peer": lambda attacker, site, request: replace(request, site=_peer(attacker, site)),
}


def only(*names: str) -> UnmaskAttack:
    """The survivors `names` alone, with as many of the bundles and confirmations."""

    def attack(_attacker: Attacker, _site: str, request: UnmaskRequest) -> UnmaskRequest:
        return replace(
            request,
            survivors=names,
            bundles=request.bundles[: max(0, len(names) - 1)],
            confirmations=request.confirmations[: len(names)],
        )

    return attack


def survivors_without(attacker: Attacker, site: str, request: UnmaskRequest) -> UnmaskRequest:
    """Everybody but the site asked."""
    return only(*(name for name in request.survivors if name != site))(attacker, site, request)


def invented_survivor(_attacker: Attacker, _site: str, request: UnmaskRequest) -> UnmaskRequest:
    """A survivor who is not of the cohort."""
    return replace(
        request,
        survivors=(*request.survivors, STRANGER),
        bundles=(*request.bundles, b""),
        confirmations=(*request.confirmations, b""),
    )


def _with_bundles(change: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]) -> UnmaskAttack:
    return lambda _attacker, _site, request: replace(request, bundles=change(request.bundles))


UNMASKS: Mapping[str, UnmaskAttack] = {
    "too few survivors": lambda attacker, site, request: only(site)(attacker, site, request),
    "no survivors": only(),
    "survivors without the site": survivors_without,
    "a survivor twice": lambda a, s, request: only(s, *request.survivors)(a, s, request),
    "survivors in disorder": lambda a, s, request: only(*request.survivors[::-1])(a, s, request),
    "a survivor who is not of the cohort": invented_survivor,
    "a plan nobody contributed to": lambda _attacker, _site, request: replace(request, plan=bytes(32)),
    "the request meant for a peer": lambda attacker, site, request: replace(request, site=_peer(attacker, site)),
    "bundles in another order": _with_bundles(lambda bundles: bundles[::-1]),
    "a bundle cut short": _with_bundles(lambda bundles: (bundles[0][:-1], *bundles[1:])),
    "an empty bundle": _with_bundles(lambda bundles: (b"", *bundles[1:])),
    "a bundle changed": _with_bundles(lambda bundles: (bytes([bundles[0][0] ^ 1]) + bundles[0][1:], *bundles[1:])),
    "one bundle twice": _with_bundles(lambda bundles: (bundles[0], *bundles[:-1])),
    "a bundle too few": _with_bundles(lambda bundles: bundles[:-1]),
    "a bundle too many": _with_bundles(lambda bundles: (*bundles, bundles[0])),
}


# Confirmations, in active mode


def signature_on(identity: Identity, plan: bytes, survivors: Sequence[str]) -> bytes:
    """What the owner of `identity` would sign to confirm `survivors`."""
    return identity.sign(CONFIRM_LABEL, *confirm_parts(plan, survivors_digest(plan, tuple(survivors))))


def signed(
    attacker: Attacker, request: UnmaskRequest, confirmers: Sequence[str] | Mapping[str, object]
) -> UnmaskRequest:
    """`request` with the confirmations of its survivors that `confirmers` give: what honest hospitals answer to a true
    request, what colluding ones sign of whatever they are shown."""
    given = []
    for name in request.survivors:
        if name in attacker.colluders and name in confirmers:
            given.append(signature_on(attacker.colluders[name].identity, request.plan, request.survivors))
        elif name in confirmers:
            given.append(confirmation(attacker, name, request.plan, request.survivors))
        else:
            given.append(b"")
    return replace(request, confirmations=tuple(given))


def confirmation(attacker: Attacker, site: str, plan: bytes, survivors: Sequence[str]) -> bytes:
    """The signature by which `site` confirms `survivors`; empty where it refuses."""
    reply = attacker.ask_confirm(site, ConfirmRequest(plan=plan, site=site, survivors=tuple(survivors)))
    return unpack(Confirmation, reply.confirmation).signature if isinstance(reply, Confirmed) else b""


def _with_confirmations(change: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]) -> UnmaskAttack:
    return lambda _attacker, _site, request: replace(request, confirmations=change(request.confirmations))


def others_signatures(_attacker: Attacker, _site: str, request: UnmaskRequest) -> UnmaskRequest:
    """Right words, signed by keys of the attacker's own."""
    return _all_by(request, lambda _: Identity.generate())


def one_members_signature(attacker: Attacker, _site: str, request: UnmaskRequest) -> UnmaskRequest:
    """One colluder's signature in every place."""
    home = next(iter(attacker.colluders.values()))
    return _all_by(request, lambda _: home.identity)


def _all_by(request: UnmaskRequest, identity: Callable[[str], Identity]) -> UnmaskRequest:
    given = tuple(signature_on(identity(name), request.plan, request.survivors) for name in request.survivors)
    return replace(request, confirmations=given)


def of_another_plan(attacker: Attacker, _site: str, request: UnmaskRequest) -> UnmaskRequest:
    """A colluder's true signature over these survivors, but of another plan; and the honest ones."""
    name, home = next(iter(attacker.colluders.items()))
    other = signature_on(home.identity, bytes(32), request.survivors)
    return _put(request, name, other)


def of_other_survivors(attacker: Attacker, _site: str, request: UnmaskRequest) -> UnmaskRequest:
    """A colluder's true signature of this plan, but over fewer survivors; and the honest ones."""
    name, home = next(iter(attacker.colluders.items()))
    return _put(request, name, signature_on(home.identity, request.plan, request.survivors[:-1]))


def _put(request: UnmaskRequest, name: str, signature: bytes) -> UnmaskRequest:
    given = tuple(
        signature if survivor == name else kept
        for survivor, kept in zip(request.survivors, request.confirmations, strict=True)
    )
    return replace(request, confirmations=given)


CONFIRMATIONS: Mapping[str, UnmaskAttack] = {
    "no confirmations": _with_confirmations(lambda _: ()),
    "empty confirmations": _with_confirmations(lambda given: tuple(b"" for _ in given)),
    "too few confirmations": _with_confirmations(lambda given: (*(b"" for _ in given[:-1]), given[-1])),
    "a place too many": _with_confirmations(lambda given: (*given, given[-1])),
    "confirmations in another order": _with_confirmations(lambda given: given[::-1]),
    "a confirmation cut short": _with_confirmations(lambda given: (*given[:-1], given[-1][:-1])),
    "signed by keys of no member": others_signatures,
    "one member's signature in every place": one_members_signature,
    "a signature of another plan": of_another_plan,
    "a signature over other survivors": of_other_survivors,
}


def _peer(attacker: Attacker, site: str) -> str:
    return next(name for name in attacker.sites if name != site)
