"""What the README and the pages of docs/ say is so: links, paths, names, tests, commands, and the scripts run."""

import ast
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer.main

import client.cli
import server.cli
import simulations.cli
from client.dicom.sources.config import read_sources
from shared.accounting import noise_multiplier
from shared.network import network_of
from shared.reasons import Reason
from shared.study import Input, Study, read_study

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").glob("*.md"))
)
CLIS = {"server": server.cli.app, "client": client.cli.app, "simulate": simulations.cli.app}
#: The quickstart founds its federation on the ports that `konsil-server init` gives.
PORTS = (9092, 9093, 8443)
#: A script of a page that takes longer hangs.
SCRIPT_S = 900.0


def text_of(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks(page: str) -> list[str]:
    return re.findall(r"```sh\n(.*?)```", text_of(page), flags=re.DOTALL)


def environment() -> dict[str, str]:
    """This Python's scripts first, and nothing of a Konsil that the developer has at hand."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("KONSIL_")}
    return own | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def test_every_make_target_named_in_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"\bmake ([a-z]+)", text_of("README.md")))
    assert {"demo", "test", "check", "bench"} <= named
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in named)


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths_lead_somewhere(page: str) -> None:
    text = text_of(page)
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    paths = re.findall(r"(?<![\w/.-])((?:[\w-]+/)+\w+\.py)\b(?!::)", text)
    paths += re.findall(r"`((?:docs|deploy|benchmarks|server|client|shared|simulations)/[\w/.-]+\.\w+)`", text)
    for target in links:
        assert (ROOT / page).parent.joinpath(target).exists(), target
    for target in paths:
        assert (ROOT / target).exists() or named_by_dots(target), target


def named_by_dots(target: str) -> bool:
    """Whether `room/module.name` stands for what that module defines; a word that only occurs in it is no name."""
    module, _, name = target.partition(".")
    path = (ROOT / module).with_suffix(".py")
    return path.exists() and name.split(".")[0] in defined_in(path)


def defined_in(path: Path) -> set[str]:
    """The functions, classes and values at the top of a module."""
    found: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        else:
            found |= {
                part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
            }
    return found


@pytest.mark.parametrize("page", PAGES)
def test_no_page_waits_for_a_table(page: str) -> None:
    """A word such as SKIN_TABLE alone on a line stands for figures that nobody has put in."""
    assert re.findall(r"^[A-Z]+_TABLE$", text_of(page), flags=re.MULTILINE) == []


def test_names_in_the_architecture_page_are_in_the_code() -> None:
    modules = [path for room in ("server", "client", "shared", "simulations") for path in (ROOT / room).rglob("*.py")]
    words = {path.stem for path in modules}.union(*(re.findall(r"\w+", path.read_text("utf-8")) for path in modules))
    dotted = re.findall(r"`(?:[\w-]+/)*([A-Za-z_.]+)`", text_of("docs/architecture.md"))
    names = {name for each in dotted for name in each.split(".") if len(name) > 3}
    assert names - words == set()


TEST_NAME = re.compile(r"`([\w/]*test_\w+\.py)?::(test_\w+)`")


def named_tests(page: str) -> list[tuple[str, str]]:
    """(file below tests/, function), in order; `::name` belongs to the file named before it."""
    found, file = [], ""
    for path, name in TEST_NAME.findall(text_of(page)):
        file = path or file
        found.append((file, name))
    return found


def test_every_test_named_in_the_threat_model_exists() -> None:
    named = named_tests("docs/threat-model.md")
    assert len(named) > 80
    known: dict[str, set[str]] = {}
    for file, name in named:
        if file not in known:
            tree = ast.parse((ROOT / "tests" / file).read_text("utf-8"))
            known[file] = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name in known[file], f"{file}::{name}"


@pytest.mark.parametrize("page", PAGES)
def test_every_test_file_named_on_a_page_exists(page: str) -> None:
    for name in re.findall(r"(?<![\w/])(?:tests/)?((?:\w+/)*test_\w+\.py)\b", text_of(page)):
        assert (ROOT / "tests" / name).is_file(), name


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each konsil command in `text`: its tool and its words, up to the end of the line or what a shell cuts at."""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        for tool, rest in re.findall(r"(?<![\w-])konsil-(server|client|simulate) ([a-z][^;&|>)\n]*)", line):
            yield tool, shlex.split(rest.partition(" #")[0])


def in_backticks(page: str) -> str:
    """The commands of running text, one to a line; `audit head` after a first command is left to the reader."""
    plain = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
    return "\n".join(re.findall(r"`(konsil-[a-z]+ [a-z][^`…]*)`", plain))


def walked(tool: str, words: list[str]) -> tuple[Any, list[str]]:
    """The command that `words` name, and the words behind its name."""
    command: Any = typer.main.get_command(CLIS[tool])
    while hasattr(command, "commands"):
        if command.invoke_without_command and (not words or words[0].startswith("-")):
            break
        assert words, f"konsil-{tool}: a command of {sorted(command.commands)}"
        assert words[0] in command.commands, f"konsil-{tool} {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_option_exists(page: str) -> None:
    for tool, words in commands("\n".join([*blocks(page), in_backticks(page)])):
        command, rest = walked(tool, words)
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        options = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert options <= known | {"--help"}, f"konsil-{tool} {' '.join(words)}"


def test_every_command_is_in_the_readme() -> None:
    for tool, app in CLIS.items():
        row = next(line for line in text_of("README.md").splitlines() if f"| `konsil-{tool} " in line)
        names = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group
        told = {word for words in re.findall(r"`([^`]+)`", row) for word in words.split()}
        assert set(names) - {"version"} - told == set(), tool


def said_by(script: str, folder: Path) -> str:
    """What `script`, which must end well, writes when it runs in `folder`."""
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=SCRIPT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_readmes_own_study_runs_as_written(tmp_path: Path) -> None:
    """Under Flower's real simulation engine, with real DICOM, privacy and masks."""
    (tmp_path / "docs").mkdir()
    shutil.copytree(ROOT / "docs" / "studies", tmp_path / "docs" / "studies")
    (script,) = [block for block in blocks("README.md") if "konsil-simulate run" in block]
    told = said_by(script, tmp_path)
    assert "2 of 2 hospitals trained" in told
    assert "unbroken" in told
    assert (tmp_path / "first-run" / "report.html").stat().st_size > 10_000


def test_the_commands_of_the_page_on_images_run_as_written(tmp_path: Path) -> None:
    (script,) = blocks("docs/dicom.md")
    said_by(script, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "series.jsonl").read_text("utf-8").splitlines()]
    assert {line["status"] for line in lines} == {"usable"}
    assert (tmp_path / "quality.html").stat().st_size > 5_000
    assert any((tmp_path / "export").rglob("*.dcm"))


def test_the_page_on_images_has_every_reason_in_the_codes_own_words() -> None:
    rows = [line for line in text_of("docs/dicom.md").splitlines() if line.startswith("| `")]
    for reason in Reason:
        assert f"| `{reason.value}` | {reason.explain} | {reason.advice} |" in rows


def test_the_page_on_images_has_sources_that_are_read(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", text_of("docs/dicom.md"), flags=re.DOTALL)
    (tmp_path / "sources.toml").write_text(text)
    sources = read_sources(tmp_path / "sources.toml")
    assert [source.name for source in sources.all] == ["radiology", "dicomweb"]


@pytest.mark.parametrize("path", sorted(ROOT.glob("docs/studies/*.toml")), ids=lambda path: path.stem)
def test_every_study_of_the_docs_is_one_that_can_be_run(path: Path) -> None:
    """It says what it must, its model can be built, its privacy has a noise."""
    study = read_study(path)
    assert study.name == path.stem
    assert list(network_of(study).parameters())
    assert (noise_multiplier(study) is None) == (study.privacy.mode == "off")


def words_in(kind: Any) -> set[str]:
    """The literal words among what a key may be."""
    return {kind} if isinstance(kind, str) else {word for part in get_args(kind) for word in words_in(part)}


def test_the_page_on_images_has_all_that_a_study_can_ask_for() -> None:
    """Every key of [input] with every word it may be; other keys that are named exist."""
    told = text_of("docs/dicom.md").partition("## What a study can ask for\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", told, flags=re.MULTILINE))
    kinds, sections = get_type_hints(Input), get_type_hints(Study)
    assert set(rows) == set(kinds)
    assert [key for key in rows for word in words_in(kinds[key]) if f'`"{word}"`' not in rows[key]] == []
    named = re.findall(r"`([a-z]+)\.([a-z_]+)`", told)
    assert {("model", "scale"), ("training", "class_weights")} <= set(named)
    assert all(key in get_type_hints(sections[section]) for section, key in named)


def taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104  as the coordinator would
        except OSError:
            return True
    return False


def processes_in(folder: Path) -> dict[int, str]:
    """Processes that work in `folder`, with their command lines. A process keeps the folder it was started in."""
    found = {}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                working = (each / "cwd").readlink()
                if working == folder or folder in working.parents:
                    found[int(each.name)] = (
                        (each / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    )
            except OSError:  # it ended, or is another user's
                continue
    return found


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Path]:
    """An empty folder with the studies in it; afterwards whatever still works in it is killed."""
    folder = tmp_path.resolve()
    (folder / "docs").mkdir()
    shutil.copytree(ROOT / "docs" / "studies", folder / "docs" / "studies")
    yield folder
    for number in processes_in(folder):
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def said(folder: Path) -> str:
    """What the script and its daemons wrote."""
    return "".join(f"\n== {path.name}\n{path.read_text('utf-8', 'replace')[-4000:]}" for path in folder.glob("*.log"))


def test_the_quickstart_runs_as_written_and_leaves_nothing_behind(stage: Path) -> None:
    """Real daemons, TLS, node keys, approvals, a signed model, two logs that agree: in at most twelve commands."""
    if found := [port for port in PORTS if taken(port)]:
        pytest.skip(f"port {found[0]} is taken here")
    (script,) = blocks("docs/quickstart.md")
    told = script[script.index("konsil-server init") :]
    assert 0 < len(list(commands(told))) <= 12
    log = stage / "script.log"
    with log.open("wb") as output:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=stage,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=SCRIPT_S,
            check=False,
        )
    text = log.read_text("utf-8")
    assert done.returncode == 0, said(stage)
    for words in ("finished after 2 rounds", "genuine", "unbroken"):
        assert words in text, said(stage)
    until = time.monotonic() + 10.0
    while (left := processes_in(stage)) and time.monotonic() < until:
        time.sleep(0.2)
    assert left == {}


def test_the_commands_of_the_page_on_planning_run_as_written(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs" / "studies", tmp_path / "docs" / "studies")
    (script,) = blocks("docs/planning.md")
    assert "ε by rounds" in said_by(script, tmp_path)
    assert json.loads((tmp_path / "plan.json").read_text("utf-8"))["plan"]["tables"]


def test_the_commands_of_the_page_on_learning_run_as_written(tmp_path: Path) -> None:
    """Cross-validation, then a search at the hospitals that it made."""
    shutil.copytree(ROOT / "docs" / "studies", tmp_path / "docs" / "studies")
    folds, search = blocks("docs/learning.md")
    assert "standard deviation over the folds" in said_by(folds, tmp_path)
    assert "found/best.toml" in said_by(search, tmp_path)
    epsilon = read_study(tmp_path / "found" / "best.toml").privacy.epsilon
    assert epsilon is not None
    assert 0 < epsilon < 8, "what was tried is paid for"


def test_the_commands_of_the_page_on_finished_models_run_as_written(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs" / "studies", tmp_path / "docs" / "studies")
    (script,) = blocks("docs/using-a-model.md")
    told = said_by(script, tmp_path)
    assert told.count("loaded again") == 2
    (line,) = (tmp_path / "evaluation.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["judged"]["images"] > 50
    assert (tmp_path / "evaluation" / "evaluation.html").stat().st_size > 5_000
    assert all((tmp_path / name).exists() for name in ("first.onnx", "first-bundle"))
