"""The plan that is being worked on, on disk: a coordinator that was killed asks for the very same sum again.

For a plan they answered before, hospitals send the bytes they stored: nobody trains again, no privacy is charged again.
Guarantees: what `recall` gives was kept for this very step, round and payload; the survivors that were once settled for
a plan stay its survivors (PROTOCOL.md step 3: a hospital answers for one set only).
"""

from pathlib import Path

from shared.errors import KonsilError
from shared.files import write_atomically
from shared.secagg.plan import Plan
from shared.wire import Record, pack, unpack


class OpenPlan(Record, frozen=True):
    """`survivors` is empty until they were settled."""

    plan: Plan
    survivors: tuple[str, ...] = ()

    @property
    def asked(self) -> tuple[str, ...]:
        """Whose vectors belong into the sum: the whole cohort's, or the settled survivors' alone."""
        return self.survivors or self.plan.sites()


class Desk:
    """Room for one open plan, in the file at `path`; without a path it forgets with this process."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._open = _read(path) if path is not None else None

    @property
    def folder(self) -> Path | None:
        """Where the coordinator may keep what belongs to the open plan; None where nothing is kept."""
        return self._path.parent if self._path is not None else None

    def recall(self, step: str, round_: int, payload: bytes) -> OpenPlan | None:
        """The open plan, if it is of this step and round and over this payload (its digest)."""
        found = self._open
        if found is None or (found.plan.step, found.plan.round, found.plan.payload) != (step, round_, payload):
            return None
        return found

    def keep(self, plan: Plan, survivors: tuple[str, ...] = ()) -> None:
        """`plan` is about to be sent; or its survivors are settled, and about to be told."""
        self._open = OpenPlan(plan=plan, survivors=survivors)
        if self._path is not None:
            write_atomically(self._path, pack(self._open), mode=0o600)

    def clear(self) -> None:
        """Nothing will come of the open plan any more."""
        self._open = None
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _read(path: Path) -> OpenPlan | None:
    """What lies there; a file of another version of Konsil is as good as none: the round is then asked for anew."""
    try:
        return unpack(OpenPlan, path.read_bytes()) if path.exists() else None
    except KonsilError:
        return None
