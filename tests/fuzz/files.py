"""What lies on disk: settings, keys, logs, invitations, signed models, checkpoints. A stranger, the operator, a
hospital's own people or a broken disk may have shaped it."""

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from msgspec.structs import replace
from numpy.typing import NDArray
from safetensors.numpy import save

from client.agreement import newest_roster
from client.approvals import Approvals, Asked
from client.audit import Audit
from client.commands.audit import read_receipts
from client.commands.join import default_policy_text
from client.dicom.cache import Cache
from client.dicom.caching.directory import RECORD_BYTES, record_of
from client.dicom.caching.rows import Rows
from client.dicom.item import Item
from client.dicom.scanning.catalog import Batch, Catalog
from client.home import Home, SiteConfig
from client.leave import known_number
from client.node_home import NodeConfig, NodeHome
from client.policy import Policy
from client.receipts import compare
from client.status import last_sent
from client.status_record import Status, read_status
from server.checkpoints import Checkpoint, Checkpoints, Memory
from server.federation import Federation, create
from server.history import Diary, History
from server.home import ServerConfig, ServerHome
from server.invitations import Invitations, Ticket
from server.manifest import models
from server.models import verify_model
from server.nodes import read_nodes
from server.observer import RoundFinished, RunFinished, RunStarted, SiteJoined, SiteLeft, StepProgress
from server.open_plan import Desk, OpenPlan
from server.receipts import Receipts
from server.report.result import Result, read_result
from server.run import RunId, open_run
from server.strategies.base import State
from server.web.hospitals import read_nodes as read_shown_nodes
from server.web.overview import view_of
from server.web.password import Password, read_password
from shared.crypto.identity import Identity, verify
from shared.crypto.node_key import checked, public_form
from shared.crypto.roster import ROSTER_LABEL, Roster, RosterEntry, SignedRoster, open_roster, sign_roster
from shared.crypto.sealing import check_public, unseal
from shared.crypto.sealing import seal as seal_bundle
from shared.enrolment import (
    Invite,
    JoinRequest,
    RotationRequest,
    authority_digest,
    fingerprint_of,
    join_request,
    read_invite,
    read_request,
    rotation_request,
    same_fingerprint,
    to_text,
    utc,
)
from shared.errors import KonsilError, PeerError
from shared.layout import Layout, layout_for
from shared.manifest import FILES, MANIFEST, MODEL_LABEL, Manifest, open_manifest, seal, sha256
from shared.probe import parse_address, read_certificate
from shared.receipts import Receipt
from shared.study import parse_study, study_hash
from shared.text import GAP, is_plain, printable
from shared.toml import read_toml
from shared.weights import load_weights, save_weights
from shared.wire import pack, read_json, unpack
from tests.fuzz.engine import Decoder, Target
from tests.fuzz.samples import STUDY, STUDY_TEXT, counted_randomness, sample

NOW = 2_000_000_000
RUN = "chest-01"
#: A certificate made for this file; its key was thrown away.
AUTHORITY = """-----BEGIN CERTIFICATE-----
MIIBgzCCASmgAwIBAgIURuj2aaFGMM9ooRBBhmnKKOhraZYwCgYIKoZIzj0EAwIw
FjEUMBIGA1UEAwwLa29uc2lsLWZ1enowIBcNMjYxMTIxMTE1MzM2WhgPMjEyNjEw
MjgxMTUzMzZaMBYxFDASBgNVBAMMC2tvbnNpbC1mdXp6MFkwEwYHKoZIzj0CAQYI
KoZIzj0DAQcDQgAEdCs9TijvF3bcS3Q1OnNbJTvzznuwGnw3UAVbSbF211Te2jhw
KzJxUKCfLKToXcWiTesKCj2HTaImEdLc74MCv6NTMFEwHQYDVR0OBBYEFJEgR3za
eXvmg0Jf+dimoBJR49rSMB8GA1UdIwQYMBaAFJEgR3zaeXvmg0Jf+dimoBJR49rS
MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhALwfJ2X2tOznQsi6
Zx0ol8x4M4FjtRLdV6g90W0Pf8/gAiBH0l7XQdBji7mmuCrVwDB/EeJDkoml+/CT
8mkyrTzKew==
-----END CERTIFICATE-----
"""
#: Words of the TOML files.
TOML_WORDS = (
    b"[privacy]", b"[[task]]", b"a.b.c=1", b"name = ", b"epsilon = 1e400", b"= inf", b"= nan", b"= 0x" + b"f" * 5000,
    b"= " + b"9" * 5000, b"= " + b"[" * 2000, b"= 1979-05-27T07:32:00Z", b"= 24:61", b"{a={a={a=1}}}", b'"\\UFFFFFFFF"',
    b"'''", b"options = ", b'quiet = ["25:00-24:00"]', b'zone = "../../etc"', b"peer_keys = {}",
)  # fmt: skip
#: Words of logs of JSON lines.
LOG_WORDS = (
    b'"n": ', b'"before": ', b'"event": "sent"', b'"digest": ["a"]', b"Infinity", b"1e999", b"-0.0", b"[" * 3000,
    b"{}\n",
)  # fmt: skip


def _file(path: Path, read: Callable[[], object]) -> Callable[[bytes], None]:
    """A reader of the file at `path`, which holds each input in turn."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def write_and_read(data: bytes) -> None:
        path.write_bytes(data)
        read()

    return write_and_read


def _settings(cls: type[Any], seed: bytes, folder: Path) -> Decoder:
    path = folder / "settings.toml"
    return Decoder(_file(path, lambda: read_toml(cls, path)), (seed,), "text", TOML_WORDS)


def _study(_: Path) -> Decoder:
    def read(data: bytes) -> None:
        study_hash(parse_study(data.decode("utf-8", "replace")))

    return Decoder(read, (STUDY_TEXT.encode(), _PRIVATE.encode()), "text", TOML_WORDS)


def _invite(_: Path) -> Decoder:
    def read(data: bytes) -> None:
        invite = read_invite(data, "north.invite")
        to_text(invite, "again")
        parse_address(invite.coordinator, "invite")
        authority_digest(invite.authority)
        bytes.fromhex(invite.root)

    return Decoder(read, (to_text(INVITE, "An invite.").encode(),), "text", TOML_WORDS)


def _request(folder: Path) -> Decoder:
    """As `konsil-server admit` reads one: with the federation, its tickets and its roster at hand."""
    invitations, requests = _open_invitations(folder)

    def read(data: bytes) -> None:
        request = read_request(data, "north.request")
        same_fingerprint(fingerprint_of(request), "12345")
        invitations.examine(request)

    return Decoder(read, [to_text(request, "").encode() for request in requests], "text", TOML_WORDS)


def _open_invitations(folder: Path) -> tuple[Invitations, tuple[JoinRequest, RotationRequest]]:
    with counted_randomness():
        federation = create(folder / "federation")
        old, new, south = (Identity.generate() for _ in range(3))
        federation.enroll({"south": south.public, "west": old.public})
        invitations = Invitations(federation, INVITE.coordinator, AUTHORITY)
        invite = read_invite(invitations.issue("north").read_bytes(), "north.invite")
        join = join_request(invite, new, _node_key_line(1))
        mine = replace(join, name="west")
        return invitations, (join, rotation_request(mine, old, new, _node_key_line(2)))


def _node_key(number: int) -> bytes:
    key = ec.derive_private_key(number, ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def _node_key_line(number: int) -> str:
    return public_form(_node_key(number))


def _ticket(folder: Path) -> Decoder:
    invitations, _ = _open_invitations(folder)
    path = invitations.folder / "north.token"

    def read() -> None:
        for ticket in invitations.tickets():
            invitations.is_open(ticket)
            utc(ticket.expires)
        invitations.issue("north")

    return Decoder(_file(path, read), (path.read_bytes(), pack(sample(Ticket))), "msgpack")


def _keys(read: Callable[[bytes], object], seed: bytes, _: Path) -> Decoder:
    words = (b"ssh-rsa ", b"ecdsa-sha2-nistp384", b"openssh-key-v1\0", b"aes256-ctr", b"bcrypt")
    return Decoder(read, (seed,), "text", words)


def _line(data: bytes) -> None:
    checked(data.decode("utf-8", "replace"))


def _certificate(folder: Path) -> Decoder:
    path = folder / "ca.pem"
    return Decoder(_file(path, lambda: read_certificate(path)), (AUTHORITY.encode(),), "text", (b"-----BEGIN", b"MII"))


def _sealing(_: Path) -> Decoder:
    with counted_randomness():
        sealed = seal_bundle(bytes(32), bytes(66), b"plan")

    def read(data: bytes) -> None:
        try:
            check_public(data, owner="peer")
            verify(data, data[:64], "konsil/fuzz/v1", data)
        except PeerError:
            unseal(bytes(32), data, b"plan")

    seeds = (sealed, bytes(32), (2**255 - 19).to_bytes(32, "little"), bytes([1]) + bytes(31))
    return Decoder(read, seeds, "bytes")


def _roster(signed: bool, folder: Path) -> Decoder:
    """What a stranger sends; and what somebody with the root's key sends."""
    with counted_randomness():
        root, site, operator = Identity.generate(), Identity.generate(), Identity.generate()
    entries = (RosterEntry(name="north", identity=site.public, node_key=_node_key_line(1).encode()),)
    roster = Roster(version=3, entries=entries, operator=operator.public, valid_from=0, valid_until=2 * NOW)
    home = Home(folder)
    (folder / "root.pub").write_bytes(root.public)

    def read(data: bytes) -> None:
        if signed:
            data = pack(SignedRoster(roster=data, signature=root.sign(ROSTER_LABEL, data)))
        (folder / "roster.bin").write_bytes(data)
        try:
            newest_roster(home)
        finally:
            open_roster(unpack(SignedRoster, data), root.public, now=NOW, last_seen_version=2)

    return Decoder(read, (pack(roster) if signed else pack(sign_roster(root, roster)),), "msgpack")


def _numbers(folder: Path) -> Decoder:
    """roster.version of the hospital, node.number of its network side."""
    home, node = Home(folder), NodeHome(folder)

    def read(data: bytes) -> None:
        (folder / "node.number").write_bytes(data)
        (folder / "roster.version").write_bytes(data)
        known_number(node)
        _ = home.last_roster

    return Decoder(read, (b"7", b"1234567890"), "text")


def _audit(folder: Path) -> Decoder:
    """The whole log: verified, compared with the coordinator's, shown in the status, and gone on with."""
    home, path = Home(folder), folder / "audit.jsonl"
    audit = Audit(path)
    for number in range(3):
        audit.record("sent", purpose="train", run=RUN, round=number, bytes=9, digest=f"{number:064x}")
    audit.record("refused", what="no", rule="", run="", round=0)
    seed = path.read_bytes()

    def read() -> None:
        last_sent(home, "train")
        try:
            compare("north", audit.entries(), _received())
            audit.head(noted="0" * 63)
        finally:
            audit.record("refused", what="no", rule="", run="", round=0)

    return Decoder(_file(path, read), (seed, seed.splitlines(keepends=True)[0]), "text", LOG_WORDS)


def _audit_line(folder: Path) -> Decoder:
    """One line, chained as it must be: what its owner can write."""
    path = folder / "audit.jsonl"
    audit = Audit(path)
    first = {"n": 0, "before": "0" * 64, "event": "sent", "at": "", "digest": "0" * 64, "bytes": 1, "purpose": "train"}

    def read(data: bytes) -> None:
        path.write_bytes(data.replace(b"\n", b" ") + b"\n")
        last_sent(Home(folder), "")
        compare("north", audit.entries(), _received())
        audit.record("refused", what="no", rule="", run="", round=0)

    seeds = (json.dumps({**first, "run": RUN, "round": 1}).encode(), json.dumps(first).encode())
    return Decoder(read, seeds, "json")


def _received() -> tuple[Receipt, ...]:
    return (Receipt(at="", site="north", run=RUN, round=1, purpose="train", sha256="0" * 64, bytes=9),)


def _receipts(folder: Path) -> Decoder:
    path = folder / "receipts.jsonl"
    line = msgspec.json.encode(sample(Receipt)) + b"\n"

    def read() -> None:
        try:
            compare("a", (), read_receipts(path))
        finally:
            list(Receipts(path).lines())

    return Decoder(_file(path, read), (line * 3, line), "text", LOG_WORDS)


def _status(_: Path) -> Decoder:
    return Decoder(read_status, [msgspec.json.encode(sample(Status, pick)) for pick in range(2)], "json")


def _approvals(folder: Path) -> Decoder:
    approvals = Approvals(folder)
    path = folder / f"{study_hash(STUDY).hex()}.study"

    def read() -> None:
        approvals.of_file(STUDY)
        approvals.listed()

    return Decoder(_file(path, read), (pack(sample(Asked)),), "msgpack")


def _desk(folder: Path) -> Decoder:
    path = folder / "plan.bin"

    def read() -> None:
        opened = Desk(path).recall("train", 1, bytes(32))
        if opened is not None:
            opened.plan.digest()

    return Decoder(_file(path, read), (pack(sample(OpenPlan)),), "msgpack")


def _cache(chained: bool, folder: Path) -> Decoder:
    """The directory of the decoded images, damaged; and with seals that fit what it says. The images stay the same."""
    pixels = np.zeros(STUDY.input.shape, np.float32)
    cache = Cache(folder / "cache", STUDY.input, decode=lambda *_: pixels)
    items = [Item(bytes([name] * 16), ()) for name in range(3)]
    cache.build(items)
    (rows,) = Rows.all(cache.root)
    directory = rows.path.with_suffix(".directory")
    seed = directory.read_bytes()

    def read(data: bytes) -> None:
        directory.write_bytes(_sealed(rows, data) if chained else data)
        cached = cache.build(items)
        if cached.pixels[cached.rows].any() or len(cached.rows) != len(items):
            raise AssertionError("an image that is none")

    return Decoder(read, (seed,), "bytes")


def _sealed(rows: Rows, data: bytes) -> bytes:
    """`data` as records whose seals are right."""
    pieces = [data[start : start + RECORD_BYTES] for start in range(0, len(data), RECORD_BYTES)]
    return b"".join(
        record_of(rows.seed, row, piece[:16], int.from_bytes(piece[16:24], "little"), zlib.crc32(piece[24:28]))
        for row, piece in enumerate(pieces)
    )


def _weights(_: Path) -> Decoder:
    layout, vector = Layout(("bias", "weight"), ((2,), (2, 3))), np.arange(8, dtype=np.float32)
    words = (
        b'"F32"', b'"BF16"', b'"F8_E4M3"', b'"F64"', b'"BOOL"', b'"shape":[2,3]', b'"shape":[0,18446744073709551615]',
        b'"data_offsets":[0,24]', b'"__metadata__":{}',
    )  # fmt: skip
    other: dict[str, NDArray[Any]] = {
        "bias": vector[:2].astype(np.float16),
        "weight": vector[2:].reshape(2, 3).astype(np.float64),
    }
    seeds = (save_weights(layout, vector, {"run": RUN}), save_weights(layout, vector), save(other))
    return Decoder(lambda data: load_weights(layout, data), seeds, "text", words)


def _checkpoint(chained: bool, folder: Path) -> Decoder:
    """A damaged checkpoint; and a memory that its digest fits."""
    checkpoints, vector = Checkpoints(folder), np.arange(8, dtype=np.float32)
    memory = Memory(run=RUN, study_hash=study_hash(STUDY).hex())
    checkpoints.save(Checkpoint(memory, State(vector, vector), vector))
    (path,) = folder.glob("round-*")
    tensors = {"best": vector, "result": vector, "weights": vector}
    seeds = [path.read_bytes()]
    if chained:
        seeds = [msgspec.json.encode(one) for one in (sample(Memory), memory)]

    def read(data: bytes) -> None:
        if chained:
            text = data.decode("utf-8", "replace")
            state = hashlib.sha256(text.encode())
            for name in sorted(tensors):
                state.update(tensors[name].data)
            data = save(tensors, {"memory": text, "digest": state.hexdigest()})
        path.write_bytes(data)
        checkpoints.resume(memory.study_hash)

    return Decoder(read, seeds, "json" if chained else "text")


def _run_id(folder: Path) -> Decoder:
    vector = np.zeros(8, np.float32)
    memory = Memory(run=RUN, study_hash=study_hash(STUDY).hex())
    Checkpoints(folder / "checkpoints").save(Checkpoint(memory, State(vector, vector), vector))
    read = _file(folder / "run.json", lambda: open_run(folder, STUDY, resume=True))
    return Decoder(read, (msgspec.json.encode(RunId(run=RUN, starts=1)),), "json")


def _coordinator(folder: Path) -> Federation:
    with counted_randomness():
        federation = create(folder)
        federation.enroll({"north": Identity.generate().public})
    return federation


def _manifest(signed: bool, folder: Path) -> Decoder:
    """A stranger's; and one that the operator signed, whatever it says."""
    federation = _coordinator(folder)
    roster, operator = (folder / "roster.bin").read_bytes(), federation.operator
    manifest = _manifest_of(roster, operator)

    def read(data: bytes) -> None:
        if signed:
            canonical = msgspec.json.encode(read_json(data, dict[str, Any]), order="deterministic")
            signature = operator.sign(MODEL_LABEL, canonical).hex().encode()
            data = b'{"manifest":%b,"signature":"%b"}' % (data, signature)
        open_manifest(data, roster, federation.root_public)

    seed = msgspec.json.encode(manifest) if signed else seal(manifest, operator)
    return Decoder(read, (seed,), "json", allowed=(KonsilError, msgspec.DecodeError) if signed else (KonsilError,))


def _manifest_of(roster: bytes, operator: Identity, files: Mapping[str, bytes] | None = None) -> Manifest:
    data = files or dict.fromkeys(FILES, b"")
    return Manifest(
        version=2,
        run=RUN,
        study=STUDY.name,
        study_hash=study_hash(STUDY).hex(),
        roster_digest=unpack(SignedRoster, roster).digest().hex(),
        round=2,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        versions={},
        operator=operator.public.hex(),
        files={name: sha256(data[name]) for name in FILES},
    )


def _model(changed: str, seed: Callable[[], bytes], folder: Path) -> Decoder:
    """A signed model with one file of it shaped by whoever signs."""
    federation = _coordinator(folder)
    home, operator = ServerHome(folder), federation.operator
    model, roster = home.models / RUN, (home.path / "roster.bin").read_bytes()
    model.mkdir(parents=True)
    files = {
        "roster.bin": roster,
        "study.toml": STUDY_TEXT.encode(),
        "report.html": b"",
        "model-card.md": b"",
        "model-card.html": b"",
        "result.json": _result_json(),
        "model.safetensors": _model_weights(),
    }

    def read(data: bytes) -> None:
        now = files | {changed: data}
        for name in FILES:
            (model / name).write_bytes(now[name])
        (model / MANIFEST).write_bytes(seal(_manifest_of(roster, operator, now), operator))
        models(home)
        verify_model(model, federation.root_public)

    return Decoder(read, (seed(),), "json" if changed.endswith(".json") else "text", TOML_WORDS)


def _model_weights() -> bytes:
    layout = layout_for(STUDY)
    metadata = {"run": RUN, "round": "2", "study": msgspec.json.encode(STUDY).decode()}
    return save_weights(layout, np.zeros(layout.size, np.float32), metadata)


def _result_json() -> bytes:
    plain = msgspec.to_builtins(sample(Result))
    study = {"name": STUDY.name, "hash": study_hash(STUDY).hex(), "text": msgspec.to_builtins(STUDY)}
    return msgspec.json.encode(plain | {"run": RUN, "status": "finished", "because": "", "study": study})


def _result(folder: Path) -> Decoder:
    path = folder / "result.json"
    read = _file(path, lambda: read_result(path))
    return Decoder(read, (_result_json(),), "json", allowed=(msgspec.DecodeError,))  # as its docstring says


def _history(folder: Path) -> Decoder:
    """Stored events, which the page reads."""
    history = History(folder / "history.sqlite")
    history.enqueue(RUN, STUDY)
    for event in (
        RunStarted(RUN, "minimal", 2, 3),
        SiteJoined("north"),
        SiteLeft("north", "train", "timeout"),
        StepProgress(1, "train", 1, 2),
        RoundFinished(1, 0.5, {"north": 1.0}, ("north",), 2.0),
        RunFinished("finished", ""),
    ):
        Diary(history, RUN).notice(event)
    db = sqlite3.connect(folder / "history.sqlite", isolation_level=None)
    seeds = [bytes(row[0]) for row in db.execute("SELECT event FROM event")]
    db.execute("PRAGMA synchronous=OFF")
    db.execute("DELETE FROM event WHERE id > 1")
    (line,) = history.runs()

    def read(data: bytes) -> None:
        db.execute("UPDATE event SET event = ?", (data,))
        view_of(line, history.events(RUN), ("north",), "2033-05-18T03:33:20Z")

    return Decoder(read, seeds, "json")


def _small_json(folder: Path) -> Decoder:
    """nodes.json and web.json of the coordinator."""
    home = ServerHome(folder)
    nodes = b'{"north":{"number":7,"online":true,"since":"2033-05-18T03:33:20Z"}}'
    password = Password(version=1, cost=2, block=1, lanes=1, salt="0" * 32, hash="0" * 64)

    def read(data: bytes) -> None:
        (folder / "nodes.json").write_bytes(data)
        (folder / "web.json").write_bytes(data)
        read_shown_nodes(folder / "nodes.json")
        try:
            read_nodes(home)
        finally:
            found = read_password(home)
            if found is not None:
                found.tag("session")

    return Decoder(read, (nodes, msgspec.json.encode(password)), "json")


def _catalog(folder: Path) -> Decoder:
    """A damaged catalog: whole, or refused."""
    Catalog(folder / "seed.sqlite").close()
    seed, path = (folder / "seed.sqlite").read_bytes(), folder / "catalog.sqlite"

    def read(data: bytes) -> None:
        for old in folder.glob("catalog.sqlite*"):
            old.unlink()
        path.write_bytes(data)
        with Catalog(path) as catalog:
            list(catalog.entries())
            catalog.failures(b"")
            catalog.write(Batch())

    return Decoder(read, (seed,), "bytes")


def _words(_: Path) -> Decoder:
    def read(data: bytes) -> None:
        text = data.decode("utf-8", "surrogatepass" if len(data) % 2 else "replace")
        shown = printable(text, 80)
        if len(shown) > 80 or not is_plain(shown.replace(GAP, "")):
            raise AssertionError("printable let something pass")

    words = (b"\xed\xa0\x80", b"\x1b]0;a\x07", b"\xe2\x80\xae", b"\xc2\x85", b"\xc2\xa0")
    return Decoder(read, ("café\x1b[31m".encode(),), "text", words, (UnicodeDecodeError,))


INVITE = Invite(
    name="north",
    coordinator="konsil.example:9092",
    root="aa" * 32,
    token=(b"t" * 32).hex(),
    expires=utc(NOW),
    authority=AUTHORITY,
)
_SITE = b'name = "north"\narchive = "dicom"\nlabels = "labels.csv"\n[daemon]\nsingle_user = true\n'
_NODE = b'site = "north"\ncoordinator = "localhost:9092"\nsocket = "agent.sock"\n'
_SERVER = b'host = "localhost"\nport = 9092\n'
_POLICY = default_policy_text().encode()
_PRIVATE = STUDY_TEXT.replace('"off"', '"local"\nepsilon = 8.0\ndelta = 1e-5\nclip = 0.5\nsampling_rate = 0.2')

FILE_TARGETS = (
    Target("study.toml", _study, 3, ("shared/toml.py", "shared/study/whole.py")),
    Target("site.toml", partial(_settings, SiteConfig, _SITE), 1, ("client/home.py",)),
    Target("policy.toml", partial(_settings, Policy, _POLICY), 2, ("client/policy.py", "client/hours.py")),
    Target("node.toml", partial(_settings, NodeConfig, _NODE), 1, ("client/node_home.py",)),
    Target("server.toml", partial(_settings, ServerConfig, _SERVER), 1, ("server/home.py",)),
    Target("invite", _invite, 2, ("shared/enrolment.py",)),
    Target("enrolment request", _request, 2, ("shared/enrolment.py", "client/enrolment.py", "server/invitations.py")),
    Target("ticket", _ticket, 0.3, ("server/invitations.py",)),
    Target("node key", partial(_keys, public_form, _node_key(1)), 1, ("shared/crypto/node_key.py",)),
    Target("node key line", partial(_keys, _line, _node_key_line(1).encode()), 1, ("shared/crypto/node_key.py",)),
    Target("certificate", _certificate, 1, ("shared/probe.py",)),
    Target("keys, signatures, bundles", _sealing, 2, ("shared/crypto/sealing.py", "shared/crypto/identity.py")),
    Target("roster", partial(_roster, False), 2, ("shared/crypto/roster.py", "client/agreement.py")),
    Target("roster signed", partial(_roster, True), 2, ("shared/crypto/roster.py", "server/federation.py")),
    Target("roster.version, node.number", _numbers, 1, ("client/home.py", "client/leave.py")),
    Target("audit log", _audit, 1, ("client/audit.py", "client/receipts.py", "client/status.py")),
    Target("audit line", _audit_line, 1, ("client/audit.py", "client/receipts.py", "client/status.py")),
    Target("receipts", _receipts, 1, ("client/commands/audit.py", "server/receipts.py")),
    Target("status", _status, 1, ("client/status_record.py",)),
    Target("approvals", _approvals, 1, ("client/approvals.py",)),
    Target("plan.bin", _desk, 1, ("server/open_plan.py",)),
    Target("cache index", partial(_cache, False), 0.3, ("client/dicom/cache.py", "client/dicom/caching/directory.py")),
    Target("cache index chained", partial(_cache, True), 0.3, ("client/dicom/caching/directory.py",)),
    Target("weights", _weights, 3, ("shared/weights.py",)),
    Target("checkpoint", partial(_checkpoint, False), 1, ("server/checkpoints.py",)),
    Target("checkpoint chained", partial(_checkpoint, True), 1, ("server/checkpoints.py",)),
    Target("run.json", _run_id, 0.2, ("server/run.py",)),
    Target("manifest", partial(_manifest, False), 2, ("shared/manifest.py",)),
    Target("manifest signed", partial(_manifest, True), 2, ("shared/manifest.py",)),
    Target(
        "model: study.toml",
        partial(_model, "study.toml", STUDY_TEXT.encode),
        0.3,
        ("server/models.py", "shared/published.py"),
    ),
    Target(
        "model: result.json",
        partial(_model, "result.json", _result_json),
        0.3,
        ("server/models.py", "shared/published.py"),
    ),
    Target(
        "model: weights",
        partial(_model, "model.safetensors", _model_weights),
        0.2,
        ("server/models.py", "shared/published.py"),
    ),
    Target("result.json", _result, 1, ("server/report/result.py", "server/commands/runs.py", "server/web/pages.py")),
    Target("history", _history, 1, ("server/history.py", "server/web/overview.py")),
    Target(
        "nodes.json, web.json",
        _small_json,
        1,
        ("server/nodes.py", "server/web/hospitals.py", "server/web/password.py"),
    ),
    Target("catalog", _catalog, 0.2, ("client/dicom/scanning/catalog.py",)),
    Target("words", _words, 1, ("shared/text.py",)),
)
