"""docs/attacks.md has a row for all that benchmarks/attacks.py runs, and what it says of Konsil comes out again."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulations.mixed_views import mixes
from simulations.refusals import REFUSALS

# benchmarks/ is a folder of scripts, not a package.
sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import flower_faults
import flower_keys
import flower_lists
import flower_replays
from attacks import flower_cell, here_cell, mix_line, refusal_lines
from flower_attack import Attack
from flower_counterparts import PAIRS
from flower_ward import Here, Ward
from secaggplus import ATTACKS

sys.path.pop()

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "attacks.md"
PAGES = ("attacks.md", "protocol.md")
#: Given the same each time, within a tenth of a second.
CHEAP = [
    flower_lists.threshold_one,
    flower_lists.split_views_over_half,
    flower_keys.same_key_twice,
    flower_replays.asked_twice,
    flower_faults.parameter_over_range,
]


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Ward:
    return Ward.make(tmp_path_factory.mktemp("ward"))


def rows() -> Iterator[list[str]]:
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith("| "):
            yield re.split(r" (?<!\\)\| ", line[2:-2])


def row_of(attack: Attack[...]) -> list[str]:
    (found,) = [row for row in rows() if row[0] == attack.name]
    return found


def test_every_attack_on_flower_has_a_counterpart_and_a_row() -> None:
    assert set(PAIRS) == set(ATTACKS)
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
    for attack in ATTACKS:
        tests = row_of(attack)[3]
        assert PAIRS[attack].tests
        assert re.findall(r"`([^`]+)`", tests) == list(PAIRS[attack].tests)


def test_every_refusal_has_a_row() -> None:
    told = [(row[0], what) for row in rows() if row[0] in REFUSALS for what in row[1].split(" · ")]
    assert sorted(told) == sorted((name, what) for name, attempts in REFUSALS.items() for what in attempts)


def test_the_rows_of_mixed_views_come_out_again() -> None:
    lines = PAGE.read_text("utf-8").splitlines()
    assert [line for line in lines if re.match(r"\| \d+ \|", line)] == [mix_line(gained) for gained in mixes()]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_what_is_said_of_konsil_comes_out_again(ward: Ward, attack: Attack[...]) -> None:
    assert here_cell(PAIRS[attack].run(ward)) == row_of(attack)[2]


@pytest.mark.parametrize("attack", CHEAP, ids=lambda attack: attack.name)
def test_what_is_said_of_flower_comes_out_again(attack: Attack[[]]) -> None:
    assert flower_cell(attack()) == row_of(attack)[1]


@pytest.mark.parametrize("name", ["named peer missing", "low-order public key"])
def test_a_refusal_is_in_the_same_words_again(ward: Ward, name: str) -> None:
    ticks: list[str] = []
    lines = refusal_lines(ward, name, ticks.append)
    assert len(ticks) == len(REFUSALS[name])
    assert set(lines) <= set(PAGE.read_text("utf-8").splitlines())


def test_what_goes_through_is_marked() -> None:
    assert here_cell(Here("the vector", works=True)) == "**yes**: the vector"
    marked = [attack.name for attack in ATTACKS if row_of(attack)[2].startswith("**yes**")]
    assert f"here: {'; '.join(marked)}." in PAGE.read_text("utf-8")


def test_what_refuses_is_where_the_protocol_page_says() -> None:
    section = (ROOT / "docs" / "protocol.md").read_text("utf-8").partition("## What a hospital refuses")[2]
    named = re.findall(r"`([\w/]+\.py)` ([\w., ]+?)(?=;| \||, against)", section.partition("\n## ")[0])
    assert len(named) > len(REFUSALS)
    for file, functions in named:
        for function in functions.split(", "):
            assert f"def {function.removeprefix('Rounds.')}(" in (ROOT / file).read_text("utf-8"), f"{file} {function}"


@pytest.mark.parametrize("page", PAGES)
def test_every_test_named_on_the_page_exists(page: str) -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / page).read_text("utf-8")))
    assert len(named) > 10
    for file, name in named:
        tree = ast.parse((ROOT / file).read_text("utf-8"))
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, f"{file}::{name}"
