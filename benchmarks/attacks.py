"""Every attack, run for real against Flower's SecAgg+ and against Konsil; writes docs/attacks.md.

    python benchmarks/attacks.py [--near] [--out docs/attacks.md]

No cell is written by hand: it is the reply that came, or whether the vector that came out is the true one.
"""

import argparse
import platform
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from flower_attack import Gain
from flower_counterparts import PAIRS, REFUSED, Pair
from flower_ward import Here, Ward, said
from rich.progress import Progress
from secaggplus import ATTACKS, THEMES, gain_of

from shared.secagg.plan import threshold_for
from simulations.mixed_views import Gained, mixes
from simulations.refusals import REFUSALS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "attacks.md"
MIXES = "tests/federation/test_active.py::test_what_mixed_views_gain"

HEAD = """# Attacks, run

Written by `python benchmarks/attacks.py{options}`; do not edit by hand. {versions}.

Each row is an attack that was run. A coordinator that holds the operator's true key, alone or with one hospital that
colludes, sends the messages of an honest round with one thing wrong: to the installed Flower, and to Konsil.

- “**yes**”: it went through, and what that gave. A vector that came out was compared with the true one, bit for bit.
- Words in “quotes” are the hospital's or the coordinator's own, with keys, digests and byte counts left out (…).
- Konsil's hospitals are three small ones on disk, named alder, birch and cedar; rows that need other numbers of them,
  or one that lies, are run with the same protocol code in memory (hospitals a, b, c and on).
- Active mode, `colluders = 0`, no differential privacy, policies with `min_cohort = 2`: less than the defaults.

What the protocol promises and why: [protocol.md](protocol.md).

## Against Flower's SecAgg+, and the same here

Flower's documentation promises that the server can open only the sum, and names no adversary. “passive” needs a server
that does nothing but follow the workflow. Where Konsil has no such message, the nearest one that it has is tried.
"""
MIXED = f"""
## Different survivors for different hospitals

Each hospital is told of a set of survivors of its own and answers once; the coordinator puts the answers together
(`simulations/mixed_views.py`). c is what the study counts on, and t follows from it; colluders sign whatever they are
shown. Rows with a colluder try every way to tell four hospitals or fewer, the others one way.
Test: `{MIXES}`.

| hospitals n | mode | t | c | colluders | what came out |
|---|---|---|---|---|---|
"""
REFUSED_HEAD = f"""
## What a hospital refuses

{{count}} attempts, each against a real hospital (alder) in a run of its own that all had joined. By the names of
PROTOCOL.md's list. The test also holds that nothing of the attempt is left behind at the hospital:
`{REFUSED}`.

| refusal | attempt | the hospital's words |
|---|---|---|
"""


@dataclass(frozen=True)
class Row:
    """One attack on both sides."""

    flower: Gain
    here: Here
    pair: Pair

    def line(self) -> str:
        """Of the first table."""
        tests = "<br>".join(f"`{test}`" for test in self.pair.tests)
        return f"| {_cell(self.flower.attack)} | {flower_cell(self.flower)} | {here_cell(self.here)} | {tests} |"


def flower_cell(gain: Gain) -> str:
    """What the coordinator gained against Flower."""
    return ("**yes**: " if gain.works else "") + _cell(gain.gained)


def here_cell(here: Here) -> str:
    """What it gained here."""
    return ("**yes**: " if here.works else "") + here.gained


def _cell(words: str) -> str:
    return words.replace("|", "\\|").replace("\n", " ")


def mix_line(gained: Gained) -> str:
    """Of the second table. Mode, n and c stand in the attack's own words; t follows from them."""
    attack, _, mode = gained.attack.rpartition("; ")
    sites, promised = int(attack.split()[0]), int("t for one" in attack)
    colluders = int("colludes" in attack)
    cells = (sites, mode.removesuffix(" mode"), threshold_for(sites, 0.5, promised), promised, colluders)
    out = f"**{gained.gained}**" if gained.works else gained.gained
    return f"| {' | '.join(map(str, cells))} | {out} |"


def refusal_lines(ward: Ward, name: str, tick: Callable[[str], None]) -> list[str]:
    """Of the third table, for one of PROTOCOL.md's refusals; attempts refused in the same words share a line."""
    words: dict[str, list[str]] = {}
    for what in REFUSALS[name]:
        reply, works = ward.try_one(name, what)
        words.setdefault(("**yes**: " if works else "") + said(reply), []).append(what)
        tick(name)
    return [f"| {name} | {' · '.join(whats)} | {each} |" for each, whats in words.items()]


@contextmanager
def ticking(total: int) -> Iterator[Callable[[str], None]]:
    """A progress bar; each call names what comes next."""
    with Progress() as progress:
        task = progress.add_task("hospitals", total=total)
        yield lambda what: progress.update(task, advance=1, description=f"{what[:40]:40}")


def versions() -> str:
    """What it was run with."""
    packages = ("flwr", "cryptography", "numpy")
    return f"Python {platform.python_version()}, {', '.join(f'{name} {version(name)}' for name in packages)}"


def first_table(rows: Sequence[Row]) -> str:
    """By theme."""
    by_name = {row.flower.attack: row for row in rows}
    parts = []
    for theme, attacks in THEMES.items():
        head = "| attack | gained against Flower's SecAgg+ | gained here | test |\n|---|---|---|---|"
        parts.append("\n".join([f"\n### {theme}\n", head, *(by_name[attack.name].line() for attack in attacks)]))
    works = sum(row.flower.works for row in rows)
    here = [row.flower.attack for row in rows if row.here.works]
    told = f"\n{works} of {len(rows)} go through against Flower, {len(here)} here: {'; '.join(here)}."
    return told + "\n" + "\n".join(parts) + "\n"


def page(*, near: bool) -> str:
    """All of docs/attacks.md; takes the time of all attacks."""
    count = sum(map(len, REFUSALS.values()))
    with tempfile.TemporaryDirectory() as folder, ticking(1 + len(ATTACKS) + count) as tick:
        ward = Ward.make(Path(folder))
        rows = []
        for attack in ATTACKS:
            tick(attack.name)
            rows.append(Row(gain_of(attack, near=near), PAIRS[attack].run(ward), PAIRS[attack]))
        tick("different survivors")
        mixed = "\n".join(map(mix_line, mixes()))
        lines = [line for name in REFUSALS for line in refusal_lines(ward, name, tick)]
    head = HEAD.format(options=" --near" if near else "", versions=versions())
    refused = REFUSED_HEAD.format(count=count) + "\n".join(lines) + "\n"
    return re.sub(r"\n{3,}", "\n\n", head + first_table(rows) + MIXED + mixed + "\n" + refused)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--near", action="store_true", help="search 2^20 of the 2^28 mask seeds and extrapolate")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page to write")
    options = parser.parse_args()
    options.out.write_text(page(near=options.near), "utf-8")


if __name__ == "__main__":
    main()
