"""Studies that wait for this hospital's approval, and what was decided: home/approvals, one file per study.

Rules:
1. A study is named by its hash: any change of it makes it another, which is asked anew.
2. It waits unless somebody approved this very study, or policy.toml lets it in by [studies]. A denial stands above all.
3. Only a study that the roster's operator signed is kept, at most MOST_WAITING that wait, of LONGEST bytes each: when
   they are full the next is turned away, and no earlier one is pushed out.
4. What was asked and decided is on disk before anybody is told.
5. Made by root, it is the home's owner's: the agent must be able to read it.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from client.policy import StudiesPolicy
from client.rules import PassingError
from shared.crypto.roster import Roster
from shared.errors import InputError, KonsilError, RefusalError, SiteError
from shared.files import folder_as_owner, open_as_owner, write_atomically
from shared.study import Study, study_hash
from shared.wire import Record, pack, unpack

MOST_WAITING = 16
#: Bytes of the longest study that is kept, with the names of 200 hospitals.
LONGEST = 1 << 16
RULE = "studies.ask"


class Asked(Record, frozen=True):
    """A study as it was asked: who signed it (32 bytes), for which run, with which hospitals; and the decision.

    One that was decided on before it was asked has no signer, run and hospitals yet.
    """

    study: Study
    operator: bytes
    run: str
    sites: tuple[str, ...]
    at: str
    decision: Literal["waits", "approved", "denied"] = "waits"
    decided: str = ""
    version: int = 1

    @property
    def hash(self) -> str:
        """The study's hash, 64 hex digits."""
        return study_hash(self.study).hex()

    @classmethod
    def of(cls, study: Study, roster: Roster, run: str) -> "Asked":
        """`study` as the operator of `roster` asks it now."""
        names = tuple(entry.name for entry in roster.entries)
        return cls(study=study, operator=roster.operator, run=run, sites=names, at=_now())


class Approvals:
    """The studies in `folder`; any number of processes may hold it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def judge(self, policy: StudiesPolicy, asked: Asked, *, note: Callable[[], object]) -> None:
        """Return if `asked` may go on; else raise, having kept it if it is new. `note` is called before it is kept."""
        found = self._read(self._path(asked.hash))
        if found is not None and found.decision == "denied":
            raise RefusalError(
                "this study",
                rule=RULE,
                expected="one that this hospital has not denied",
                got="one that it has",
                do="A changed study is asked anew.",
            )
        if (found is not None and found.decision == "approved") or allowed(policy, asked):
            return
        if found is None:
            self._keep(asked, note)
        raise PassingError(
            "this study",
            rule=RULE,
            expected="this hospital's approval",
            got="none yet: it waits for approval",
            do="Ask again when its people have decided; nothing need be changed.",
        )

    def _keep(self, asked: Asked, note: Callable[[], object]) -> None:
        data = pack(asked)
        if len(data) > LONGEST:
            raise RefusalError(
                "this study", rule=RULE, expected=f"at most {LONGEST} bytes", got=f"{len(data)}", do="Shorten it."
            )
        with self._lock():
            if self._path(asked.hash).exists():  # another process was first
                return
            waiting = sum(other.decision == "waits" for other in self.listed())
            if waiting >= MOST_WAITING:
                raise PassingError(
                    "studies that wait for approval here",
                    rule=RULE,
                    expected=f"fewer than {MOST_WAITING}",
                    got=f"{waiting}",
                    do="Ask again when this hospital's people have decided on some.",
                )
            note()
            write_atomically(self._path(asked.hash), data, mode=0o600, as_owner=True)

    def listed(self) -> tuple[Asked, ...]:
        """Every study asked for, in the order they came."""
        found = [self._read(path) for path in sorted(self._folder.glob("*.study"))]
        return tuple(sorted((asked for asked in found if asked is not None), key=lambda asked: (asked.at, asked.hash)))

    def agreed(self) -> tuple[Study, ...]:
        """Every study that was approved or waits; a damaged file, which `listed` refuses, is none."""
        found: list[Study] = []
        for path in self._folder.glob("*.study"):
            with suppress(SiteError):
                asked = self._read(path)
                found += [asked.study] if asked is not None and asked.decision != "denied" else []
        return tuple(found)

    def of_file(self, study: Study) -> Asked:
        """`study`, which the hospital was handed before anybody asked: as it was asked, if it was, else unsigned."""
        asked = Asked(study=study, operator=b"", run="", sites=(), at=_now())
        return self._read(self._path(asked.hash)) or asked

    def match(self, prefix: str) -> Asked:
        """The one study whose hash begins with `prefix`. Raises InputError for none or several."""
        found = [asked for asked in self.listed() if prefix and asked.hash.startswith(prefix.lower())]
        if len(found) != 1:
            raise InputError(
                f"study {prefix}",
                expected="the first letters of one study's hash",
                got=f"those of {len(found)}",
                do="See `konsil-client approve`.",
            )
        return found[0]

    def decide(self, asked: Asked, decision: Literal["approved", "denied"], *, note: Callable[[], object]) -> Asked:
        """`asked` with the `decision`, on disk; `note` is called before. Raises InputError for one denied before."""
        with self._lock():
            found = self._read(self._path(asked.hash)) or asked
            if found.decision == "denied" and decision == "approved":
                raise InputError(
                    f"study {asked.hash[:16]}",
                    expected="one that was not denied",
                    got=f"one denied at {found.decided}",
                    do="A denial is for good; ask the consortium for a changed study.",
                )
            note()
            decided = replace(found, decision=decision, decided=_now())
            write_atomically(self._path(asked.hash), pack(decided), mode=0o600, as_owner=True)
        return decided

    def _path(self, hash_: str) -> Path:
        return self._folder / f"{hash_}.study"

    def _read(self, path: Path) -> Asked | None:
        try:
            return unpack(Asked, path.read_bytes(), limit=2 * LONGEST)
        except FileNotFoundError:
            return None
        except KonsilError:
            raise SiteError(
                f"approvals/{path.name}",
                expected="a study as it was asked",
                got="something else",
                do="Delete that file; the study will be asked anew.",
            ) from None

    @contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            folder_as_owner(self._folder)
            lock = os.fdopen(open_as_owner(self._folder / ".lock", os.O_WRONLY), "w")
        except OSError as error:
            raise SiteError(
                "approvals",
                expected="a folder of ours that can be written",
                got=error.strerror or "an I/O error",
                do="Free space or correct the permissions; it must be no link.",
            ) from None
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def allowed(policy: StudiesPolicy, asked: Asked) -> bool:
    """Whether [studies] of policy.toml lets `asked` in without anybody's approval."""
    return (
        not policy.ask
        or asked.hash in policy.hashes
        or asked.study.model.name in policy.models
        or asked.operator.hex() in policy.signers
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
