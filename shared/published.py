"""A finished model as somebody receives it: a published folder, a run's output folder, or model.safetensors alone.

Guarantees: weights fit the network of the study that is written inside them and are finite; with a pinned root the
whole folder is as its operator signed it (root → roster → operator → manifest → every file), each file is read once,
and what was digested is what is used. No torch here but in a process of its own (shared/layout.py), no pickle anywhere.

    model = read_model(Path("models/chest-01"), Path("root.pub").read_bytes())    # offline
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from shared.crypto.identity import KEY_BYTES
from shared.errors import InputError, PeerError
from shared.layout import Vector, layout_for
from shared.manifest import (
    FILES_OF,
    MANIFEST,
    SMALL,
    Manifest,
    named,
    open_manifest,
    read,
    same,
    sha256,
)
from shared.study import Study, parse_study, study_hash
from shared.weights import load_weights
from shared.wire import read_json

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Model:
    """One model. `weights` float32 [size] in the order of its layout; `sha256` of its file, in hex; `run` and `round`
    "" where the file does not say; `validation`: the counts of the validation patients on which its thresholds are
    chosen (`Kind.count`), () where the file has none; `manifest` only where its signatures were checked."""

    place: Path
    study: Study
    weights: Vector
    sha256: str
    run: str
    round: str
    validation: tuple[int, ...]
    manifest: Manifest | None

    @property
    def hash(self) -> str:
        """The study's, in hex."""
        return study_hash(self.study).hex()


@dataclass(frozen=True)
class Checked:
    """A folder whose signatures and digests hold: its files' bytes by name."""

    manifest: Manifest
    study: Study
    data: Mapping[str, bytes]


def read_model(place: Path, root_public: bytes | None = None) -> Model:
    """The model at `place`, a folder or the safetensors file itself; its signatures checked where `root_public`, the 32
    bytes pinned by the caller, is given. Raises InputError where there is none, PeerError naming the file that is not
    what it says it is."""
    if root_public is not None:
        checked = check_files(_folder(place), root_public)
        return _model(place, checked.data[WEIGHTS], checked.manifest)
    file = place / WEIGHTS if place.is_dir() else place
    if not file.is_file():
        do = "Name a published model, a run's folder (--out), or its model.safetensors."
        raise InputError(str(place), expected="a model", got="none", do=do)
    return _model(place, file.read_bytes(), None)


def check_files(folder: Path, root_public: bytes) -> Checked:
    """The model in `folder`, if study, weights and every digest are as the operator signed them. Raises PeerError
    naming the file, what it had to be and what it is."""
    data = {"roster.bin": read(folder, "roster.bin", SMALL)}
    manifest = open_manifest(read(folder, MANIFEST, SMALL), data["roster.bin"], root_public)
    files, there = FILES_OF[manifest.version], {path.name for path in folder.iterdir()}
    same(str(folder), ", ".join(sorted({*files, MANIFEST})), ", ".join(sorted(there)))
    data |= {name: read(folder, name) for name in files if name not in data}
    for name in files:
        same(name, f"SHA-256 {manifest.files[name]}", f"SHA-256 {sha256(data[name])}")
    with named("study.toml"):
        study = parse_study(data["study.toml"].decode("utf-8", "replace"))
        same("study.toml: hash", manifest.study_hash, study_hash(study).hex())
        same("study.toml: name", manifest.study, study.name)
    _check_weights(manifest, data[WEIGHTS])
    return Checked(manifest, study, data)


def pinned(path: Path) -> bytes:
    """The root's public key in the file `path`. Raises InputError for anything but 32 bytes."""
    data = path.read_bytes() if path.is_file() else b""
    if len(data) != KEY_BYTES:
        do = "Name the root.pub that the consortium handed out with --root."
        raise InputError(str(path), expected=f"{KEY_BYTES} bytes", got=f"{len(data)}", do=do)
    return data


def _folder(place: Path) -> Path:
    if not place.is_dir() or not (place / MANIFEST).exists():
        do = "Ask for the whole published folder, or leave --root out: nobody vouches for the model then."
        raise InputError(str(place), expected=f"a folder with a signed {MANIFEST}", got="none", do=do)
    return place


def _check_weights(manifest: Manifest, data: bytes) -> None:
    """The weights say which run they are of, and fit the study's network."""
    with named(WEIGHTS):
        inside = _inside(data)
        same(f"{WEIGHTS}: run", manifest.run, inside.run)
        same(f"{WEIGHTS}: round", str(manifest.round), inside.round)
        study = _study(inside)
        same(f"{WEIGHTS}: study", manifest.study_hash, study_hash(study).hex())
        load_weights(layout_for(study), data, WEIGHTS)


def _model(place: Path, data: bytes, manifest: Manifest | None) -> Model:
    with named(WEIGHTS):
        inside = _inside(data)
        study = _study(inside)
        weights = load_weights(layout_for(study), data, WEIGHTS)
        return Model(place, study, weights, sha256(data), inside.run, inside.round, _validation(inside), manifest)


class _Inside(msgspec.Struct, frozen=True):
    """What server/run.py writes beside the weights, in one file with them."""

    run: str = ""
    round: str = ""
    #: JSON of the study, and of the counts of the validation patients
    study: str = ""
    validation: str = ""


class _Header(msgspec.Struct, frozen=True):
    """The JSON that safetensors bytes begin with, after its length in 8 bytes."""

    metadata: _Inside = msgspec.field(default_factory=_Inside, name="__metadata__")


def _inside(data: bytes) -> _Inside:
    try:
        return read_json(data[8 : 8 + int.from_bytes(data[:8], "little")], _Header).metadata
    except msgspec.DecodeError as error:
        raise PeerError("weights", expected="whole safetensors bytes", got=str(error)) from None


def _study(inside: _Inside) -> Study:
    try:
        return read_json(inside.study.encode(), Study)
    except msgspec.DecodeError as error:
        do = "Name a model that Konsil wrote: its study stands inside it."
        raise PeerError(f"{WEIGHTS}: study", expected="the study", got=str(error), do=do) from None


def _validation(inside: _Inside) -> tuple[int, ...]:
    try:
        return read_json(inside.validation.encode(), tuple[int, ...]) if inside.validation else ()
    except msgspec.DecodeError as error:
        raise PeerError(f"{WEIGHTS}: validation", expected="a list of counts", got=str(error)) from None
