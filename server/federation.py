"""The federation's own keys and its roster of hospitals, in one folder.

root.key · root.pub     signs rosters; belongs offline, with the consortium
operator.key            signs studies; the coordinator's
roster.bin              the signed roster in force
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.crypto.identity import KEY_BYTES, Identity
from shared.crypto.roster import Roster, RosterEntry, SignedRoster, open_roster, sign_roster
from shared.errors import OperatorError
from shared.files import write_atomically
from shared.messages import Join
from shared.study import STUDY_LABEL, Study
from shared.wire import pack, unpack

VALID_S = 2 * 365 * 24 * 3600


@dataclass(frozen=True)
class Federation:
    """The federation in `path`."""

    path: Path

    @property
    def root_public(self) -> bytes:
        """What every hospital pins, 32 bytes."""
        return self._key("root.pub")

    @property
    def signed_roster(self) -> SignedRoster:
        """The roster in force, as its root signed it."""
        return unpack(SignedRoster, (self.path / "roster.bin").read_bytes())

    @property
    def roster(self) -> Roster:
        """The roster in force, checked."""
        return open_roster(self.signed_roster, self.root_public, now=int(time.time()), last_seen_version=0)

    def enroll(self, sites: Mapping[str, bytes]) -> None:
        """Sign a roster of exactly `sites` (name → public identity) unless it is the one in force."""
        wanted = tuple(RosterEntry(name=name, identity=key) for name, key in sorted(sites.items()))
        version, now = 1, int(time.time())
        if (self.path / "roster.bin").exists():
            current = self.roster
            if current.entries == wanted:
                return
            version = current.version + 1
        operator = Identity.from_private_bytes(self._key("operator.key")).public
        roster = Roster(
            version=version, entries=wanted, operator=operator, valid_from=now - 3600, valid_until=now + VALID_S
        )
        root = Identity.from_private_bytes(self._key("root.key"))
        write_atomically(self.path / "roster.bin", pack(sign_roster(root, roster)))

    def invitation(self, run: str, study: Study) -> Join:
        """The message that asks a hospital to join `run`, signed by the operator."""
        operator = Identity.from_private_bytes(self._key("operator.key"))
        signature = operator.sign(STUDY_LABEL, run.encode(), study)
        return Join(run=run, study=study, signature=signature, roster=self.signed_roster)

    def _key(self, name: str) -> bytes:
        path = self.path / name
        data = path.read_bytes() if path.exists() else b""
        if len(data) != KEY_BYTES:
            raise OperatorError(
                str(path), expected=f"{KEY_BYTES} bytes", got=f"{len(data)}", do="Restore it from a backup."
            )
        return data


def create(path: Path) -> Federation:
    """A federation in `path`, with new keys unless it has some: existing keys are never replaced."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    for name in ("root", "operator"):
        if not (path / f"{name}.key").exists():
            write_atomically(path / f"{name}.key", Identity.generate().private_bytes(), mode=0o600)
    root = Identity.from_private_bytes((path / "root.key").read_bytes())
    write_atomically(path / "root.pub", root.public)
    return Federation(path)
