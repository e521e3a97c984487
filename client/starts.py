"""The files that studies begin with (`model.init`), in this hospital's home, each under its SHA-256.

A file gets here with a step of the coordinator's, or because this hospital's people put it here:
HOME/starts/SHA256.safetensors. Guarantees: what is kept is the file that an agreed study names; what is read is
verified first, and a damaged file is as good as none. A file goes once no study needs it and it has lain here for a
while; whoever needs it after all is sent it again, so nothing is lost with it whoever is killed when.
"""

import re
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from shared.errors import PeerError
from shared.files import write_atomically
from shared.start import is_needed, is_right
from shared.study import Study

#: A file of ours, or what a killed process left of writing one (shared/files.py).
_OURS = re.compile(r"[0-9a-f]{64}\.safetensors|\.[0-9a-f]{64}\.safetensors\..+")


class LacksError(PeerError):
    """The step needs the study's start weights, which are not here: the coordinator sends them and asks again."""

    lacks = True


class Starts:
    """The files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def lacks(self, study: Study) -> bool:
        """Whether `study` needs a file that is not here."""
        return is_needed(study) and not self._path(study).is_file()

    def keep(self, study: Study, data: memoryview) -> None:
        """Put `data`, which came with a step of `study`, on disk. Raises PeerError for another file than the one it
        names, SiteError where it cannot be written."""
        if not is_needed(study) or not is_right(study, data):
            expected = f"a file with the SHA-256 {study.model.init_sha256}" if is_needed(study) else "none"
            raise PeerError("model.init", expected=expected, got="another", do="Send the file of the run's folder.")
        write_atomically(self._path(study), bytes(data), mode=0o600)

    def read(self, study: Study) -> bytes:
        """The file that `study` names. Raises LacksError where it is not here whole."""
        try:
            data = self._path(study).read_bytes()
        except FileNotFoundError:
            data = b""
        if not is_right(study, data):
            raise LacksError(
                "model.init",
                expected=f"the start weights with the SHA-256 {study.model.init_sha256} at this hospital",
                got="none",
                do="Send them with the step, or have this hospital put them into its folder starts.",
            )
        return data

    def forget(self, agreed: Iterable[Study], older_than_s: float) -> int:
        """Delete the files that none of the `agreed` studies needs and that have lain here for so long; returns how
        many. Those just put here, for a study that is yet to be asked, stay."""
        needed = {self._path(study) for study in agreed if is_needed(study)}
        before, count = time.time() - older_than_s, 0
        for path in self._folder.glob("*"):
            with suppress(FileNotFoundError):  # another process was first
                # the inode's time: a copy may keep the modification time of long ago
                if _OURS.fullmatch(path.name) and path not in needed and path.lstat().st_ctime < before:
                    path.unlink()
                    count += 1
        return count

    def _path(self, study: Study) -> Path:
        return self._folder / f"{study.model.init_sha256}.safetensors"
