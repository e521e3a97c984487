"""Commands that look back: the runs, a run's report, the signed models and whether one is genuine."""

import os
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from server.history import History
from server.home import ServerHome
from server.manifest import Published
from server.manifest import models as published
from server.report.result import read_result
from server.text import printable
from shared.crypto.identity import KEY_BYTES
from shared.errors import InputError

DirOption = Annotated[Path, typer.Option("--dir", envvar="KONSIL_DIR", help="The coordinator's folder.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON line each on stdout, nothing else.")]
HERE = Path()


def runs(dir: DirOption = HERE, json: JsonOption = False) -> None:
    """Every run of this coordinator, the newest first."""
    lines = History(_existing(dir).history).runs()
    if json:
        return _json(*lines)
    table = Table("run", "study", "state", "starts", "created", "ended", "why it ended early")
    for line in lines:
        cells = (line.run, line.study, line.state, str(line.starts), line.created, line.ended, line.because)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    Console().print(table if lines else "no run yet: konsil-server run STUDY")


def models(dir: DirOption = HERE, json: JsonOption = False) -> None:
    """The signed models, the newest first. `verify` checks one through to its last byte."""
    found = published(_existing(dir))
    if json:
        return _json(*(_model_line(one) for one in found))
    for one in found:
        Console(soft_wrap=True).print(Text(_model_text(one)))
    if not found:
        Console().print("no model yet: a run that finishes signs its model")


def verify(
    model: Annotated[Path, typer.Argument(help="A model's folder, or its run in the coordinator's registry.")],
    root: Annotated[Path | None, typer.Option(help="root.pub of the federation; else the coordinator's.")] = None,
    dir: DirOption = HERE,
) -> None:
    """Check a signed model, offline: root key, roster, operator's signature, every file. Exit 1 if it fails."""
    from server.models import verify_model  # noqa: PLC0415  Matplotlib takes seconds

    home = ServerHome(dir)
    folder = model if model.is_dir() else home.models / model
    if not folder.is_dir():
        raise InputError(str(model), expected="a model's folder, or its run", got="neither", do="List the models.")
    manifest = verify_model(folder, _root_key(root or home.path / "root.pub"))
    digest = manifest.files["model.safetensors"]
    text = f"genuine: study {manifest.study}, run {manifest.run}, round {manifest.round}, made {manifest.created}"
    Console(soft_wrap=True).print(Text(printable(f"{text}, model.safetensors SHA-256 {digest}")))


def report(
    run: Annotated[Path, typer.Argument(help="A run of the coordinator, or a run's folder with its result.json.")],
    dir: DirOption = HERE,
) -> None:
    """Write report.html of a run anew from its result.json."""
    from server.report.html import write_report  # noqa: PLC0415  Matplotlib takes seconds

    own = ServerHome(dir).runs / run
    folder = own if (own / "result.json").is_file() else run
    source = folder / "result.json"
    try:
        result = read_result(source)
    except (OSError, msgspec.DecodeError) as error:
        do = "Name a run of this coordinator, or the folder given as --out."
        raise InputError(str(source), expected="the result of a run", got=str(error), do=do) from None
    Console(soft_wrap=True).print(Text(f"wrote {write_report(result, folder)}"))


def _existing(path: Path) -> ServerHome:
    """The coordinator's folder; looking never makes one."""
    if not (path / "server.toml").is_file():
        do = "Name it with --dir or KONSIL_DIR, or make one with konsil-server init."
        raise InputError(str(path), expected="a coordinator's folder", got="no server.toml in it", do=do)
    return ServerHome(path)


def _root_key(path: Path) -> bytes:
    data = path.read_bytes() if path.is_file() else b""
    if len(data) != KEY_BYTES:
        do = "Name the root.pub that the consortium handed out with --root."
        raise InputError(str(path), expected=f"{KEY_BYTES} bytes", got=f"{len(data)}", do=do)
    return data


def _model_line(one: Published) -> dict[str, object]:
    return {"folder": str(one.folder), "problem": one.problem, "manifest": one.manifest}


def _model_text(one: Published) -> str:
    if one.manifest is None:
        return printable(f"{one.folder}: DO NOT USE: {one.problem}")
    own = one.manifest
    about = f"study {own.study}, round {own.round}, made {own.created}, SHA-256 {own.files['model.safetensors']}"
    return printable(f"{one.folder}: {about}")


def _json(*lines: object) -> None:
    for line in lines:
        sys.stdout.write(msgspec.json.encode(line).decode() + os.linesep)
