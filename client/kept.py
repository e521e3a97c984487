"""What a hospital keeps of a run between rounds: its control variate, its own weights. On disk, whole or not there.

kept/RUN/round-00003.safetensors       what round 3 made, for the rounds after it
kept/RUN/round-00003.TAG.draft         the same, before it is known which reply to the plan stands
kept/RUN/judged.safetensors            the hospital's own model that was judged last, whole

Rules:
1. A round goes on from what was made in the last round that counted, and from nothing else: the coordinator, who knows
   which sums were opened and which rounds were taken back, names that round in every task, signed.
2. What a round made is in its place before the reply that it belongs to leaves (`settle`); a second process that
   answered the same plan differently leaves nothing. So whoever is killed when, nothing is lost and nothing counted
   twice.
3. Two rounds of a run are kept, a run unused for a while is forgotten, and all of it stays below a limit.

    drafted = keeper.draft(run, 3, reply, kept, counted=2);   keeper.settle(run, 3, reply)
"""

import hashlib
import shutil
import time
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load, save

from client.training.algorithms.base import Kept, Vector
from shared.errors import SiteError
from shared.files import sync_folder, write_atomically
from shared.wire import digest

_TAG = 16
_JUDGED = "judged"


class Keeper:
    """The folder at `path`, of at most `most_bytes`; any number of processes may use it."""

    def __init__(self, path: Path, *, most_bytes: int) -> None:
        self._path, self._most = path, most_bytes

    def folder(self, run: str) -> Path:
        """Where what is kept of `run` lies."""
        return self._path / digest("konsil/kept/v1", run.encode())[:_TAG].hex()

    def of_round(self, run: str, round_: int) -> dict[str, Vector]:
        """What `round_` made; empty for round 0, and for one that left nothing here. Raises SiteError for a damaged
        file."""
        path = self._file(run, round_)
        if not path.is_file():
            return {}
        try:
            return load(path.read_bytes())
        except SafetensorError as error:
            raise SiteError(
                f"{path.parent.name}/{path.name}",
                expected="what an earlier round kept",
                got=f"a damaged file ({error})",
                do="Delete it: this hospital then begins anew in that run.",
            ) from None

    def newest(self, run: str) -> dict[str, Vector]:
        """What the last round made that left anything here."""
        rounds = self._rounds(run)
        return self.of_round(run, rounds[-1]) if rounds else {}

    def judge(self, run: str, weights: Vector) -> None:
        """Keep `weights`, the whole of this hospital's own model, as the one that is being judged. Raises SiteError
        where there is no room."""
        data = save({_JUDGED: weights})
        self._check_room(len(data))
        write_atomically(self.folder(run) / f"{_JUDGED}.safetensors", data, mode=0o600)

    def judged(self, run: str) -> Vector | None:
        """The own model that was judged last in `run`; None where none was, or it is forgotten."""
        path = self.folder(run) / f"{_JUDGED}.safetensors"
        return load(path.read_bytes())[_JUDGED] if path.is_file() else None

    def draft(self, run: str, round_: int, reply: bytes, kept: Kept, *, counted: int) -> None:
        """Write what `round_` made, for `reply`; of earlier rounds the one that `counted` stays. Raises SiteError where
        there is no room."""
        if not kept:
            return
        data, folder = save(dict(kept)), self.folder(run)
        self._check_room(len(data))
        self._path.mkdir(mode=0o700, exist_ok=True)
        write_atomically(folder / self._draft(round_, reply), data, mode=0o600)
        for old in self._rounds(run):
            if old not in (counted, round_):
                self._file(run, old).unlink(missing_ok=True)

    def settle(self, run: str, round_: int, reply: bytes) -> None:
        """`reply` stands: what was made with it takes its place. Again and again does no harm."""
        folder = self.folder(run)
        drafts = list(folder.glob("*.draft"))
        if not drafts:
            return
        mine = folder / self._draft(round_, reply)
        if mine in drafts:
            mine.replace(self._file(run, round_))
            sync_folder(folder)
        for draft in drafts:
            draft.unlink(missing_ok=True)

    def forget(self, older_than_s: float) -> int:
        """Delete what is kept of runs not trained for so long; returns how many."""
        before = time.time() - older_than_s
        old = [folder for folder in self._path.glob("*") if folder.is_dir() and folder.stat().st_mtime < before]
        for folder in old:
            shutil.rmtree(folder)
        return len(old)

    def _rounds(self, run: str) -> list[int]:
        files = self.folder(run).glob("round-*.safetensors")
        return sorted(int(path.stem.removeprefix("round-")) for path in files)

    def _file(self, run: str, round_: int) -> Path:
        return self.folder(run) / f"round-{round_:05d}.safetensors"

    @staticmethod
    def _draft(round_: int, reply: bytes) -> str:
        return f"round-{round_:05d}.{hashlib.sha256(reply).hexdigest()[: 2 * _TAG]}.draft"

    def _check_room(self, size: int) -> None:
        held = sum(path.stat().st_size for path in self._path.glob("*/*.*"))
        if held + size > self._most:
            raise SiteError(
                "what is kept between rounds",
                expected=f"at most {self._most} bytes (kept_gib in site.toml)",
                got=f"{held + size}",
                do="Raise kept_gib, or delete folders of runs that are over under kept/.",
            )
