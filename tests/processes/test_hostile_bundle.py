"""Nothing from outside is executed: a hostile coordinator submits a bundle with a client/app.py of its own.

And were it executed all the same, as the network side's user, it would reach nothing.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flwr.cli.build import build_fab_from_files
from flwr.common.constant import ErrorCode
from flwr.common.serde import fab_to_proto
from flwr.proto.control_pb2 import StartRunRequest
from flwr.supercore.fab import Fab
from msgspec.structs import replace

from client.rounds import Rounds
from server.control import control
from server.federation import create
from shared.messages.replies import Refused, read_reply
from shared.messages.requests import Unmask, write_request
from shared.study import MINIMAL, parse_study

if TYPE_CHECKING:
    from tests.processes.conftest import Real

HOSTILE = Path(__file__).with_name("hostile.py").read_text()
#: The ServerApp of the bundle: a message of a type and one with a content that is not ours, then one to be refused.
SERVER = """
import json
import time
from pathlib import Path
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import ServerApp
from shared.relay import open_message, wrap

app = ServerApp()
TRIES = (("query", wrap(b"junk")), ("train", RecordDict({"konsil": ConfigRecord({"a": 1})})), ("train", wrap(b"junk")))

@app.main()
def main(grid, context):
    while not (nodes := list(grid.get_node_ids())):
        time.sleep(0.1)
    message = lambda kind, content: Message(content=content, dst_node_id=nodes[0], message_type=kind, ttl=60.0)
    numbers = list(grid.push_messages([message(*each) for each in TRIES]))
    told = {}
    until = time.monotonic() + 50
    while len(told) < len(numbers) and time.monotonic() < until:
        for reply in grid.pull_messages([number for number in numbers if number not in told]):
            said = f"error {reply.error.code}" if reply.has_error() else open_message(reply).hex()
            told[reply.metadata.reply_to_message_id] = said
        time.sleep(0.05)
    Path(LOOT, "replies.json").write_text(json.dumps([told.get(number) for number in numbers]))
"""
PROJECT = b"""
[project]
name = "hostile"
version = "1.0.0"
description = ""
license = "Apache-2.0"
dependencies = []
[tool.flwr.app]
publisher = "mallory"
[tool.flwr.app.components]
serverapp = "mallory:app"
clientapp = "client.app:app"
"""


@pytest.fixture
def loot(real: "Real") -> Iterator[Path]:
    """A folder where anybody may tell."""
    folder = real.folder / "loot"
    folder.mkdir()
    folder.chmod(0o777)
    yield folder
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


@pytest.fixture
def code(real: "Real", loot: Path) -> str:
    places = {
        "home": str(real.home.path),
        "archive": str(real.archive),
        "socket": str(real.socket),
        "node": str(real.node.path),
        "loot": str(loot),
    }
    line = "PLACES: dict[str, str] = {}\n"
    assert line in HOSTILE
    return HOSTILE.replace(line, f"PLACES = {places!r}\n")


def told(loot: Path) -> dict[str, Any]:
    (path,) = loot.glob("told-*")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")  # Flower's own
def test_a_hostile_bundle_is_never_run_and_konsil_answers(real: "Real", loot: Path, code: str) -> None:
    files = {
        "pyproject.toml": PROJECT,
        "client/__init__.py": code.encode(),
        "client/app.py": code.encode(),
        "mallory.py": SERVER.replace("LOOT", repr(str(loot))).encode(),
    }
    content, _ = build_fab_from_files(files)
    fab = Fab(hash_str=hashlib.sha256(content).hexdigest(), content=content, verifications={})
    with control(real.coordinator) as link:
        number = link._client.StartRun(StartRunRequest(fab=fab_to_proto(fab))).run_id
        real.until((loot / "replies.json").exists, "replies", 60.0)
        real.until(lambda: link.over(number), "its end")
    first, *others = json.loads((loot / "replies.json").read_text())
    assert first == f"error {ErrorCode.CLIENT_APP_RAISED_EXCEPTION}"
    for reply in others:
        refused = read_reply(bytes.fromhex(reply))
        assert isinstance(refused, Refused)
        assert refused.site == "alder"
    assert list(loot.glob("told-*")) == []
    brought = [path for path in real.node.path.rglob("*") if "mallory" in str(path) or path.suffix in (".py", ".fab")]
    assert brought == []
    assert real.taking_part()


def test_the_network_sides_user_reaches_nothing(real: "Real", loot: Path, code: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become two other users")
    before = {path: path.stat().st_mtime_ns for path in (real.home.path / "policy.toml", real.socket)}
    for user in (real.node_user, real.third_user):
        done = real.as_user(user, code)
        assert done.returncode == 0, done.stdout
        found = told(loot)
        assert (found["user"], found["worked"]) == (user, [])
        assert found["tried"] > 30
        next(loot.glob("told-*")).unlink()
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert real.taking_part()


def test_without_separation_the_same_code_reads_the_keys(real: "Real", loot: Path, code: str) -> None:
    """What `single_user = true` gives away; and that the attempts above can succeed."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    harmless = code.replace("signal.SIGKILL", "0").replace("at.unlink", "at.stat").replace(": replace,", ": at.stat,")
    harmless = harmless.replace('"mem", ', "").replace("partial(attach, pid)", "lambda: False")
    done = real.as_user(real.agent_user, harmless)
    assert done.returncode == 0
    worked = told(loot)["worked"]
    wanted = {"open keys/identity.key", f"list {real.archive}", "write here", "status", "unlink", "beside"}
    assert wanted <= set(worked)
    (real.home.path / "new").unlink()
    real.socket.with_name("agent.sock.new").unlink()


#: The network side's user at the agent's door: junk, too long, half; argv: socket, how often, messages' files.
FLOOD = """
import json, socket, sys, time
from pathlib import Path
at, often, *files = sys.argv[1:]

def tell(data, listen=False):
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(30)
        try:
            line.connect(at)
            line.sendall(data)
            answer = b""
            while listen and (piece := line.recv(1 << 16)):
                answer += piece
            return answer
        except OSError:
            return b""

for n in range(int(often)):
    junk = (b"junk", b"m" + b"\\xff" * 8, b"m" + bytes(7) + b"\\x09half", b"s" + bytes(8), b"r" + bytes(8))
    tell(junk[n % 5])

def ask(data):
    while not (answer := tell(b"m" + len(data).to_bytes(8, "big") + data, listen=True)):
        time.sleep(0.05)  # turned away: our own callers still hold every place
    return answer[9:].hex()

print(json.dumps([ask(Path(file).read_bytes()) for file in files]))
"""


def forged(real: "Real", folder: Path) -> list[bytes]:
    """A join of a federation that alder never pinned, one of its own with the signature of another, an unmask."""
    study = parse_study(MINIMAL)
    mallory = create(folder / "mallory")
    mallory.enroll({"alder": real.home.identity.public})
    wrong = mallory.invitation("run", study)
    ours = real.coordinator.federation.invitation("run", study)
    bodies = (wrong, replace(ours, signature=wrong.signature), Unmask(request=b"r" * 100))
    return [write_request(body) for body in bodies] + [b"", b"\xc1" * 1000]


def test_a_flood_from_the_network_side_keeps_nobody_from_asking(real: "Real", loot: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    files = [loot / str(number) for number in range(5)]
    for path, data in zip(files, forged(real, tmp_path), strict=True):
        path.write_bytes(data)
    done = real.as_user(real.node_user, FLOOD, real.socket, 10_000, *files)
    assert done.returncode == 0, done.stdout
    answers = [read_reply(bytes.fromhex(answer)) for answer in json.loads(done.stdout)]
    assert [type(answer) for answer in answers] == [Refused] * 5
    assert real.taking_part()
    assert Rounds(real.home.path / "rounds.sqlite").run("run") is None
