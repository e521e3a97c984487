"""What a lying coordinator (attacker.py) may try in PROTOCOL.md step 0: invitations that a site must refuse.

join = INVITATIONS["an expired roster"](attacker, "alder")
"""

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from shared.crypto.identity import Identity
from shared.crypto.roster import Roster, RosterEntry, SignedRoster, sign_roster
from shared.messages.replies import AnyReply
from shared.messages.requests import Join
from shared.study import STUDY_LABEL, Study
from simulations.attacker import Attacker


def signed(attacker: Attacker, signer: Identity, roster: SignedRoster) -> Join:
    """An invitation under `roster` that `signer` signs."""
    signature = signer.sign(STUDY_LABEL, attacker.run.encode(), attacker.study)
    return Join(run=attacker.run, study=attacker.study, signature=signature, roster=roster)


def _root(attacker: Attacker) -> Identity:
    return attacker.federation.root_key()


def _operator(attacker: Attacker) -> Identity:
    return Identity.from_private_bytes((attacker.federation.path / "operator.key").read_bytes())


def unsigned_study(attacker: Attacker, _site: str) -> Join:
    """A study that somebody else than the roster's operator signed."""
    return signed(attacker, Identity.generate(), attacker.federation.signed_roster)


def signature_of_another_run(attacker: Attacker, _site: str) -> Join:
    """The operator's own signature, given for another run."""
    return replace(attacker.federation.invitation("another", attacker.study), run=attacker.run)


def swapped_study(attacker: Attacker, _site: str) -> Join:
    """A signed invitation with its study changed afterwards."""
    softer = replace(attacker.study, training=replace(attacker.study.training, rounds=99))
    return replace(attacker.invitation, study=softer)


def foreign_root(attacker: Attacker, _site: str) -> Join:
    """A roster and an operator of the attacker's own making, consistent in themselves."""
    operator = Identity.generate()
    roster = replace(attacker.federation.roster, operator=operator.public, version=9)
    return signed(attacker, operator, sign_roster(Identity.generate(), roster))


def other_roster(attacker: Attacker, **changes: object) -> SignedRoster:
    """The roster in force with `changes`, signed by the true root."""
    roster: Roster = replace(attacker.federation.roster, **changes)
    return sign_roster(_root(attacker), roster)


def expired_roster(attacker: Attacker, _site: str) -> Join:
    """A roster whose time is over."""
    return signed(attacker, _operator(attacker), other_roster(attacker, valid_until=1_000_000, valid_from=0))


def site_not_listed(attacker: Attacker, site: str) -> Join:
    """A roster without the site that is asked."""
    entries = tuple(entry for entry in attacker.federation.roster.entries if entry.name != site)
    return signed(attacker, _operator(attacker), other_roster(attacker, entries=entries))


def seat_of_another(attacker: Attacker, site: str) -> Join:
    """A roster that lists the site's name with somebody else's key."""
    entries = tuple(
        RosterEntry(name=entry.name, identity=Identity.generate().public) if entry.name == site else entry
        for entry in attacker.federation.roster.entries
    )
    return signed(attacker, _operator(attacker), other_roster(attacker, entries=entries))


Invitation = Callable[[Attacker, str], Join]
INVITATIONS: Mapping[str, Invitation] = {
    "a study not signed by the roster's operator": unsigned_study,
    "a signature given for another run": signature_of_another_run,
    "a study changed after it was signed": swapped_study,
    "a roster signed by another root": foreign_root,
    "an expired roster": expired_roster,
    "a roster without the site": site_not_listed,
    "a roster with another key for the site": seat_of_another,
}


def under(attacker: Attacker, roster: SignedRoster) -> Join:
    """The operator's own invitation under another roster: one that was in force before, or a later one."""
    return signed(attacker, _operator(attacker), roster)


def next_roster(attacker: Attacker, **changes: object) -> SignedRoster:
    """The roster after the one in force, with `changes`, signed by the true root; not put in force."""
    return other_roster(attacker, version=attacker.federation.roster.version + 1, **changes)


#: Studies that differ from an approved one in one place that a tired reader would miss.
STUDIES: Mapping[str, Callable[[Study], Study]] = {
    "one round more": lambda s: replace(s, training=replace(s.training, rounds=s.training.rounds + 1)),
    "a little more ε": lambda s: replace(s, privacy=replace(s.privacy, epsilon=(s.privacy.epsilon or 1.0) * 1.001)),
    "a larger clip": lambda s: replace(s, privacy=replace(s.privacy, clip=(s.privacy.clip or 1.0) * 2)),
    "another seed": lambda s: replace(s, training=replace(s.training, seed=s.training.seed + 1)),
    "longer updates": lambda s: replace(s, aggregation=replace(s.aggregation, update_norm=11.0)),
    "labels the other way round": lambda s: replace(s, task=replace(s.task, labels=s.task.labels[::-1])),
    "another option of the model": lambda s: replace(
        s, model=replace(s.model, options={**s.model.options, "hidden": 5})
    ),
    "another name": lambda s: replace(s, name=f"{s.name}-2"),
}


def flood(attacker: Attacker, site: str, count: int) -> list[AnyReply]:
    """So many different studies, each under the operator's true signature."""
    replies = []
    for number in range(count):
        other = Attacker(
            attacker.federation, attacker.sites, replace(attacker.study, name=f"flood-{number}"), run=f"flood-{number}"
        )
        replies.append(other.say(site, other.invitation))
    return replies
