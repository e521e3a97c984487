"""konsil-client pull: what it brings, what it prints, and how it exits."""

import fcntl
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from client.commands.pull import listen, pull
from shared.errors import InputError, SiteError
from tests.client.dicom.sources.peers import IMAGES, Peer

app = typer.Typer()
app.command()(pull)
app.command()(listen)


def run(*words: str | Path) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def write(home: Path, peer: Peer, **options: str) -> None:
    extra = "".join(f"{name} = {json.dumps(value)}\n" for name, value in options.items())
    (home / "sources.toml").write_text(
        f"free_disk_gb = 0\n[listen]\nhost = '127.0.0.1'\nport = {peer.move_port}\ncalling = ['ARCHIVE']\n"
        "peers = ['127.0.0.1']\n"
        f"[[pacs]]\nname = 'radiology'\nhost = '127.0.0.1'\nport = {peer.port}\nae_title = 'ARCHIVE'\n"
        f"attempts = 1\ntimeout_s = 20\n{extra}[pacs.filter]\nmodalities = ['MR']\n"
    )


def kept(home: Path) -> list[Path]:
    return [path for path in (home / "received").rglob("*") if path.is_file()]


@pytest.mark.parametrize("retrieve", ["get", "move"])
def test_pull_brings_it_once(qrscp_peer: Peer, tmp_path: Path, retrieve: str) -> None:
    write(tmp_path, qrscp_peer, retrieve=retrieve)
    done = run("pull", "--home", tmp_path)
    assert done.exit_code == 0, done.output
    assert len(kept(tmp_path)) == 2
    done = run("pull", "radiology", "--home", tmp_path, "--json")
    line = json.loads(done.stdout)
    assert {line[name] for name in ("asked", "here")} == {2}
    assert (line["source"], line["received"], line["failed"], line["trouble"]) == ("radiology", 0, 0, "")


def test_move_while_listen_runs_beside_it(qrscp_peer: Peer, tmp_path: Path) -> None:
    """`konsil-client listen` has the port: pull lets it receive, and counts what came."""
    write(tmp_path, qrscp_peer, retrieve="move")
    code = "import sys, pathlib; from client.commands.pull import listen; listen(pathlib.Path(sys.argv[1]))"
    beside = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert beside.stdout is not None
    assert json.loads(beside.stdout.readline())["port"] == qrscp_peer.move_port
    done = run("pull", "--home", tmp_path, "--json")
    beside.terminate()
    out, _ = beside.communicate(timeout=20)
    assert json.loads(done.stdout)["received"] == 2
    assert json.loads(out.splitlines()[-1])["kept"] == 2


def test_nothing_printed_names_anybody(qrscp_peer: Peer, tmp_path: Path) -> None:
    write(tmp_path, qrscp_peer)
    shown = "".join(run("pull", "--home", tmp_path, *words).output for words in ((), ("--json",)))
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("sources.sqlite*"))
    for one in IMAGES:
        for value in (one.PatientID, one.SOPInstanceUID, one.SeriesInstanceUID, one.StudyInstanceUID):
            assert str(value) not in shown
            assert str(value).encode() not in stored


def test_a_source_that_is_down_is_exit_1_and_says_why(qrscp_peer: Peer, tmp_path: Path) -> None:
    write(tmp_path, qrscp_peer)
    text = (tmp_path / "sources.toml").read_text()
    (tmp_path / "sources.toml").write_text(text.replace(f"port = {qrscp_peer.port}", "port = 1"))
    done = run("pull", "--home", tmp_path)
    assert done.exit_code == 1
    assert "radiology: ended early" in " ".join(done.output.split())


def test_a_name_that_is_not_there(qrscp_peer: Peer, tmp_path: Path) -> None:
    write(tmp_path, qrscp_peer)
    with pytest.raises(InputError, match="expected a source nowhere, got radiology"):
        pull("nowhere", tmp_path)


def test_listen_needs_its_section_and_to_be_alone(qrscp_peer: Peer, tmp_path: Path) -> None:
    (tmp_path / "sources.toml").write_text("")
    with pytest.raises(InputError, match=r"\[listen\]"):
        listen(tmp_path)
    write(tmp_path, qrscp_peer)
    with (tmp_path / "listen.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SiteError, match="to be the only one"):
            listen(tmp_path)
