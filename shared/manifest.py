"""What a signed model says of itself: manifest.json, in one folder with the files it names.

Guarantees of `open_manifest`: the roster beside it was signed by the root the caller pinned, and was valid when the
model was made; the manifest was signed by that roster's operator; it names exactly the files of its version, no path,
no other field. The signature covers the manifest as JSON with sorted keys and no spaces, so a file laid out anew stays
valid. Whether the files themselves are those named is shared/published.py's to say. No torch here: the coordinator's
page reads manifests too.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shared.crypto.identity import Identity, verify
from shared.crypto.roster import SignedRoster, open_roster
from shared.errors import KonsilError, PeerError
from shared.wire import Record, unpack

MODEL_LABEL = "konsil/model/v1"
MANIFEST = "manifest.json"
#: What stands beside the manifest; nothing else may.
FILES = (
    "model.safetensors",
    "study.toml",
    "roster.bin",
    "result.json",
    "report.html",
    "model-card.md",
    "model-card.html",
)
#: By the manifest's version: the first had no model card.
FILES_OF: Mapping[int, tuple[str, ...]] = {1: FILES[:5], 2: FILES}
#: No manifest and no roster is larger.
SMALL = 1 << 20
_TIME = "%Y-%m-%dT%H:%M:%SZ"

Hash = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
RunName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9-]{0,127}\Z")]


class Manifest(Record, frozen=True):
    """One model. Hashes and keys in hex; `round` is the round whose model was the best; `created` in ISO UTC."""

    version: Literal[1, 2]
    run: RunName
    study: str
    study_hash: Hash
    roster_digest: Hash
    round: Annotated[int, Meta(ge=1)]
    created: str
    versions: dict[str, str]
    #: the operator's public key
    operator: Hash
    #: SHA-256 by name
    files: dict[str, Hash]


class _Signed(Record, frozen=True):
    manifest: msgspec.Raw
    signature: Annotated[str, Meta(pattern=r"\A[0-9a-f]{128}\Z")]


def now() -> str:
    """This moment, as `created` says it."""
    return datetime.now(UTC).strftime(_TIME)


def run_name(text: str) -> None:
    """Raise PeerError unless `text` may name a run, and so a folder."""
    try:
        msgspec.convert(text, RunName)
    except msgspec.ValidationError:
        raise PeerError("run", expected="letters, digits and dashes, at most 128", got=repr(text)) from None


def sha256(data: bytes) -> str:
    """The hash of a file's bytes, as the manifest says it."""
    return hashlib.sha256(data).hexdigest()


def seal(manifest: Manifest, operator: Identity) -> bytes:
    """manifest.json, signed by `operator`."""
    plain = msgspec.to_builtins(manifest)
    whole = {"manifest": plain, "signature": operator.sign(MODEL_LABEL, _canonical(plain)).hex()}
    return msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n"


def open_manifest(data: bytes, roster: bytes, root_public: bytes) -> Manifest:
    """The manifest in `data`, beside the bytes of roster.bin. Raises PeerError naming the file (see above)."""
    try:
        signed = msgspec.json.decode(data, type=_Signed)
        plain = msgspec.json.decode(signed.manifest)
        manifest = msgspec.convert(plain, Manifest)
        made = datetime.strptime(manifest.created, _TIME).replace(tzinfo=UTC)
    except (ValueError, RecursionError) as error:  # of msgspec and of strptime
        raise PeerError(MANIFEST, expected="a manifest as Konsil writes it", got=str(error)) from None
    same(f"{MANIFEST}: files", ", ".join(sorted(FILES_OF[manifest.version])), ", ".join(sorted(manifest.files)))
    operator = _operator(roster, root_public, int(made.timestamp()))
    same(f"{MANIFEST}: operator", operator.hex(), manifest.operator)
    with named(MANIFEST):
        verify(operator, bytes.fromhex(signed.signature), MODEL_LABEL, _canonical(plain))
    same("roster.bin", manifest.roster_digest, unpack(SignedRoster, roster).digest().hex())
    return manifest


@contextmanager
def named(file: str) -> Iterator[None]:
    """Errors of the block name `file`, and are PeerErrors: what came from outside is not what it says it is."""
    try:
        yield
    except KonsilError as error:
        what = error.what if error.what.startswith(file) else f"{file}: {error.what}"
        raise PeerError(what, expected=error.expected, got=error.got, do=error.do) from None


def same(what: str, expected: str, got: str) -> None:
    """Raise PeerError unless the two are equal."""
    if expected != got:
        do = "Do not use this model: get it anew from the consortium's operator."
        raise PeerError(what, expected=expected or "nothing", got=got or "nothing", do=do)


def _operator(roster: bytes, root_public: bytes, at: int) -> bytes:
    """The operator's key in `roster`, by the root's authority."""
    with named("roster.bin"):
        signed = unpack(SignedRoster, roster, limit=SMALL)
        return open_roster(signed, root_public, now=at, last_seen_version=0).operator


def _canonical(plain: Mapping[str, object]) -> bytes:
    return msgspec.json.encode(plain, order="deterministic")


def read(folder: Path, name: str, most: int | None = None) -> bytes:
    """The bytes of a plain file of a model's folder. Raises PeerError if it is none, or larger than `most`."""
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise PeerError(name, expected="a file", got="none" if not path.exists() else "something else")
    if most is not None and path.stat().st_size > most:
        raise PeerError(name, expected=f"at most {most} bytes", got=f"{path.stat().st_size} bytes")
    return path.read_bytes()
