"""The registry of signed models: one folder per finished run, which anyone can check without this coordinator.

models/RUN/ model.safetensors · study.toml · roster.bin · result.json · report.html · model-card.md · model-card.html ·
manifest.json

Guarantees: a model is there whole or not at all, and only if `verify_model` accepts it; a run that was stopped or
failed has none. The chain that `verify_model` follows is pinned root → roster → operator → manifest → every file; each
file is read once, and what was digested is what is examined.

    verify_model(Path("models/chest-01"), Path("root.pub").read_bytes())    # offline; raises PeerError naming the file
"""

import shutil
import tempfile
from pathlib import Path

import msgspec

from server.home import ServerHome
from server.manifest import Published, models
from server.report.card import cards
from server.report.html import render
from server.report.result import Result
from shared.crypto.roster import SignedRoster
from shared.errors import InputError, PeerError, SiteError
from shared.files import sync_folder, write_atomically
from shared.manifest import FILES, MANIFEST, SMALL, Manifest, named, now, read, run_name, same, seal, sha256
from shared.published import check_files
from shared.version import versions
from shared.wire import read_json, unpack

__all__ = ["Manifest", "Published", "models", "publish_model", "verify_model"]


def publish_model(home: ServerHome, run_folder: Path) -> Path:
    """Sign the model of the finished run in `run_folder` and put it into the registry. Returns its folder.

    A model that is there already is left as it is. Raises InputError if the run did not finish; PeerError, with nothing
    published, if its files do not belong together.
    """
    with named(str(run_folder)):
        result = _result(read(run_folder, "result.json"))
        run_name(result.run)
    if result.status != "finished" or (result.judged is None and result.metrics is None):
        raise InputError(
            f"run {result.run}",
            expected="a finished run",
            got=f"one that {result.status}" if result.status != "finished" else "one whose model was not judged",
            do="Start it again, or publish another run's model.",
        )
    target = home.models / result.run
    if not target.exists():
        _publish(home, run_folder, result, target)
    elif verify_model(target, home.federation.root_public).run != result.run:
        raise PeerError(str(target), expected=f"the model of {result.run}", got="another's")
    return target


def _publish(home: ServerHome, run_folder: Path, result: Result, target: Path) -> None:
    """Build the folder beside its place, check it, move it there."""
    try:
        home.models.mkdir(parents=True, exist_ok=True)
        for stale in home.models.glob(f".{result.run}.*"):  # a process was killed here
            shutil.rmtree(stale)
        with tempfile.TemporaryDirectory(prefix=f".{result.run}.", dir=home.models) as temporary:
            built = Path(temporary) / result.run
            _write(home, run_folder, result, built)
            verify_model(built, home.federation.root_public)
            built.rename(target)
        sync_folder(home.models)
    except OSError as error:
        raise SiteError(f"publishing {target}", expected="free space and permission", got=str(error)) from None


def _write(home: ServerHome, run_folder: Path, result: Result, folder: Path) -> None:
    """Copies of the run's files, the roster in force, and the manifest that names them all, signed."""
    data = {name: read(run_folder, name) for name in ("model.safetensors", "study.toml", "result.json")}
    data["roster.bin"] = read(home.path, "roster.bin", SMALL)
    data["report.html"] = render(result, card=True).encode("utf-8", "replace")
    data |= cards(result, sha256(data["model.safetensors"]))
    for name, content in data.items():
        write_atomically(folder / name, content)
    operator = home.federation.operator
    manifest = Manifest(
        version=2,
        run=result.run,
        study=result.study.name,
        study_hash=result.study.hash,
        roster_digest=unpack(SignedRoster, data["roster.bin"]).digest().hex(),
        round=result.rounds.best,
        created=now(),
        versions=versions(),
        operator=operator.public.hex(),
        files={name: sha256(data[name]) for name in FILES},
    )
    write_atomically(folder / MANIFEST, seal(manifest, operator))


def verify_model(folder: Path, root_public: bytes) -> Manifest:
    """The manifest of the model in `folder`, if all of it is as the operator signed it (the module says what).

    `root_public`: the 32 bytes pinned by the caller. Raises PeerError naming the file, what it had to be and what it
    is.
    """
    checked = check_files(folder, root_public)
    manifest = checked.manifest
    with named("result.json"):
        result = _result(checked.data["result.json"])
    same("result.json: run", manifest.run, result.run)
    same("result.json: study", manifest.study_hash, result.study.hash)
    same("result.json: status", "finished", result.status)
    return manifest


def _result(data: bytes) -> Result:
    try:
        return read_json(data, Result)
    except msgspec.DecodeError as error:
        raise PeerError("result.json", expected="the result of a run", got=str(error)) from None
