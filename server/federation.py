"""The federation's own keys and its roster of hospitals, in one folder.

root/root.key · root.pub     signs rosters; belongs offline, with the consortium (`root` may be another folder)
operator.key                 signs studies; the coordinator's
operator.key.next            takes its place as soon as the roster in force lists it
roster.bin                   the signed roster in force

Guarantees: a roster is replaced whole or not at all; the next one has the next version, and every hospital that stays
keeps its entry byte for byte; no existing key is ever replaced, but the operator's where that is asked for.
"""

import fcntl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.crypto.identity import KEY_BYTES, Identity
from shared.crypto.roster import Roster, RosterEntry, SignedRoster, open_roster, sign_roster
from shared.errors import InputError, OperatorError
from shared.files import private_folder, sync_folder, write_atomically
from shared.messages.requests import Join
from shared.study import STUDY_LABEL, Study
from shared.wire import pack, unpack

VALID_S = 2 * 365 * 24 * 3600
OPERATOR_NEXT = "operator.key.next"


@dataclass(frozen=True)
class Federation:
    """The federation in `path`; its root key in the folder `root`, by default `path`/root."""

    path: Path
    root: Path | None = None
    clock: Callable[[], float] = time.time

    @property
    def root_folder(self) -> Path:
        """Where root.key and ca.key are, when they are at hand."""
        return self.path / "root" if self.root is None else self.root

    @property
    def root_public(self) -> bytes:
        """What every hospital pins, 32 bytes."""
        return self._key("root.pub")

    @property
    def signed_roster(self) -> SignedRoster:
        """The roster in force, as its root signed it."""
        path = self.path / "roster.bin"
        if not path.exists():
            raise OperatorError(
                str(path), expected="a signed roster", got="no such file", do="Finish konsil-server init there."
            )
        return unpack(SignedRoster, path.read_bytes())

    @property
    def roster(self) -> Roster:
        """The roster in force, checked. Raises OperatorError once it has expired."""
        if self.clock() > self.latest_roster.valid_until:
            raise OperatorError(
                "roster", expected="one that still holds", got="an expired one", do="Run konsil-server renew."
            )
        return open_roster(self.signed_roster, self.root_public, now=int(self.clock()), last_seen_version=0)

    @property
    def latest_roster(self) -> Roster:
        """The newest roster, its signature checked, even if it has expired: what the next one grows from."""
        signed = self.signed_roster
        then = unpack(Roster, signed.roster).valid_from
        return open_roster(signed, self.root_public, now=then, last_seen_version=0)

    def enroll(self, sites: Mapping[str, bytes]) -> None:
        """Sign a roster of exactly `sites` (name → public identity) unless it is the one in force."""
        wanted = tuple(RosterEntry(name=name, identity=key) for name, key in sorted(sites.items()))
        with self.locked():
            if self._stored() and self.roster.entries == wanted:
                return
            self.publish(self.signed(wanted))

    def with_entry(self, entry: RosterEntry) -> SignedRoster:
        """The next roster, with `entry` added or in its namesake's place; not in force before `publish`."""
        others = [each for each in self.latest_roster.entries if each.name != entry.name]
        return self.signed(tuple(sorted([*others, entry], key=lambda each: each.name)))

    def without(self, name: str) -> SignedRoster:
        """The next roster, without `name`. Raises InputError where nobody has that name."""
        entries = self.latest_roster.entries
        kept = tuple(entry for entry in entries if entry.name != name)
        if len(kept) == len(entries):
            known = ", ".join(entry.name for entry in entries) or "nobody"
            raise InputError(f"hospital {name!r}", expected=f"a member ({known})", do="See konsil-server members.")
        return self.signed(kept)

    def signed(
        self, entries: tuple[RosterEntry, ...], *, valid_s: int = VALID_S, operator: Identity | None = None
    ) -> SignedRoster:
        """The next roster of `entries`, with another `operator` where one is given. Raises InputError where the root
        key is not at hand or not ours."""
        root, now = self.root_key(), int(self.clock())
        version = self.latest_roster.version + 1 if self._stored() else 1
        public = (operator or self.operator).public
        roster = Roster(
            version=version, entries=entries, operator=public, valid_from=now - 3600, valid_until=now + valid_s
        )
        return sign_roster(root, roster)

    def publish(self, signed: SignedRoster) -> None:
        """Put `signed` in force. The caller holds `locked` since before it was made."""
        write_atomically(self.path / "roster.bin", pack(signed))

    @property
    def operator(self) -> Identity:
        """What signs studies, plans and unmask requests; the coordinator's own. A new one once the roster lists it."""
        coming = self.coming_operator
        if coming is not None and self._stored() and coming.public == self.latest_roster.operator:
            return coming
        return Identity.from_private_bytes(self._key("operator.key"))

    @property
    def coming_operator(self) -> Identity | None:
        """The key that a renewal stopped half way is to put in the operator's place; None where there is none."""
        if not (self.path / OPERATOR_NEXT).exists():
            return None
        return Identity.from_private_bytes(self._key(OPERATOR_NEXT))

    def make_operator(self) -> Identity:
        """The next operator's key, on disk; the one waiting there if it is. The caller holds `locked`."""
        return _kept(self.path / OPERATOR_NEXT, may_make=True)

    def adopt_operator(self) -> None:
        """Put the next operator's key in the old one's place if the roster in force lists it; the old one is gone then.
        The caller holds `locked`."""
        coming = self.coming_operator
        if coming is not None and coming.public == self.latest_roster.operator:
            (self.path / OPERATOR_NEXT).replace(self.path / "operator.key")
            sync_folder(self.path)

    def invitation(self, run: str, study: Study) -> Join:
        """The message that asks a hospital to join `run`, signed by the operator."""
        signature = self.operator.sign(STUDY_LABEL, run.encode(), study)
        return Join(run=run, study=study, signature=signature, roster=self.signed_roster)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One change of the membership at a time, over all processes."""
        with (self.path / "federation.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def root_key(self) -> Identity:
        """The key that signs rosters. Raises InputError where it is not at hand or not this federation's."""
        root = Identity.from_private_bytes(self.offline("root.key"))
        if root.public != self.root_public:
            raise InputError(
                str(self.root_folder), expected="the key of root.pub", got="another", do="Bring this federation's root."
            )
        return root

    def offline(self, name: str) -> bytes:
        """`root.key` or `ca.key`. Raises InputError saying what to bring where it is not at hand."""
        path = self.root_folder / name
        if not path.is_file():
            raise InputError(
                str(path),
                expected="a key of the federation's root folder",
                got="no such file",
                do="Bring the medium it is kept on and name its folder with --root.",
            )
        return path.read_bytes()

    def _stored(self) -> bool:
        return (self.path / "roster.bin").exists()

    def _key(self, name: str) -> bytes:
        return _read_key(self.path / name)


def create(path: Path) -> Federation:
    """A federation in `path`, with new keys unless it has some: existing keys are never replaced.

    Killed in the middle, the next call completes it. A root key that is kept elsewhere is not missed: root.pub says
    that there is one.
    """
    private_folder(path)
    founded = (path / "roster.bin").exists()  # from then on a lost key is lost: a new one would be another federation
    if not (path / "root.pub").exists():
        private_folder(path / "root")
        root = _kept(path / "root" / "root.key", may_make=not founded)
        write_atomically(path / "root.pub", root.public)
    _kept(path / "operator.key", may_make=not founded)
    return Federation(path)


def _kept(path: Path, *, may_make: bool) -> Identity:
    if may_make and not path.exists():
        write_atomically(path, Identity.generate().private_bytes(), mode=0o600)
    return Identity.from_private_bytes(_read_key(path))


def _read_key(path: Path) -> bytes:
    data = path.read_bytes() if path.exists() else b""
    if len(data) != KEY_BYTES:
        raise OperatorError(
            str(path), expected=f"{KEY_BYTES} bytes", got=f"{len(data)}", do="Restore it from a backup."
        )
    return data
