"""konsil-client approve: see which studies wait, what one would do and cost, and say yes or no."""

import os
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.approvals import Approvals, Asked
from client.audit import Audit
from client.commands.daemon import DEFAULT_HOME, HomeOption
from client.explain import Explained, explain
from client.home import Home
from client.ledger import Ledger
from client.rules import Finding
from shared.errors import InputError
from shared.study import read_study
from shared.text import printable

JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout, nothing else.")]


def approve(
    study: Annotated[str | None, typer.Argument(help="The study file, or the first letters of its hash.")] = None,
    home: HomeOption = DEFAULT_HOME,
    yes: Annotated[bool, typer.Option("--yes", help="Take part in this very study.")] = False,
    deny: Annotated[bool, typer.Option("--deny", help="Take no part in it, for good.")] = False,
    json: JsonOption = False,
) -> None:
    """List the studies that wait for approval; show what one would do and cost; approve or deny it."""
    folder = Home(home.expanduser())
    approvals = Approvals(folder.path / "approvals")
    if study is None:
        if yes or deny:
            raise InputError("approve", expected="a study's hash with --yes or --deny", got="none", do="Name it.")
        _list(approvals.listed(), json=json)
        return
    if yes and deny:
        raise InputError("approve", expected="one of --yes and --deny", got="both", do="Choose.")
    asked = approvals.of_file(read_study(Path(study))) if study.endswith(".toml") else approvals.match(study)
    if yes or deny:
        asked = _decide(folder, approvals, asked, "approved" if yes else "denied")
    with closing(Ledger(folder.path / "ledger.sqlite")) as ledger:
        found = explain(asked, folder.policy, ledger)
    if json:
        _write_json(found)
    elif yes or deny:
        _confirm(found)
    else:
        _show(found)


def _decide(home: Home, approvals: Approvals, asked: Asked, decision: Literal["approved", "denied"]) -> Asked:
    audit = Audit(home.path / "audit.jsonl")
    return approvals.decide(
        asked,
        decision,
        note=lambda: audit.record(decision, study=asked.study.name, hash=asked.hash, user=os.getuid()),
    )


def _list(studies: tuple[Asked, ...], *, json: bool) -> None:
    if json:
        for asked in studies:
            _write_json(
                {
                    "hash": asked.hash,
                    "name": asked.study.name,
                    "decision": asked.decision,
                    "asked": asked.at,
                    "decided": asked.decided,
                }
            )
        return
    table = Table("hash", "study", "asked", "decision", title="Studies")
    for asked in studies:
        cells = (asked.hash[:16], asked.study.name, asked.at, f"{asked.decision} {asked.decided}".strip())
        table.add_row(*map(_words, cells))
    console = Console()
    console.print(table)
    console.print(_words("`konsil-client approve HASH` says what a study would do."))


def _show(found: Explained) -> None:
    console = Console()

    def section(title: str, lines: tuple[str, ...]) -> None:
        console.print(_words(title, "bold"))
        for line in lines:
            console.print(_words(f"  {line}"))

    console.print(_words(f"{found.name}  {found.hash}", "bold"))
    section("What it does", found.does)
    section("What leaves this hospital", found.leaves)
    section("What stays", found.stays)
    section("Privacy", found.privacy)
    section("Your policy", tuple(map(_rule, found.rules)))
    signed = f"operator key {found.signer}, for run {found.run}, asked {found.asked}"
    section("Signed by", (signed if found.signer else "nobody yet: this is the study as the file has it",))
    section("Decision", (found.decision,))


def _rule(rule: Finding) -> str:
    """One rule of the policy as a line."""
    return f"{'meets ' if rule.holds else 'BREAKS'} {rule.rule}: demands {rule.demands}; brings {rule.brings}"


def _confirm(found: Explained) -> None:
    console = Console()
    console.print(_words(f"{found.decision}: {found.name} {found.hash[:16]}"))
    broken = [rule.rule for rule in found.rules if not rule.holds]
    if found.decision == "approved" and broken:
        console.print(_words(f"policy.toml still has its say: {', '.join(broken)}"))


def _words(text: str, style: str = "") -> Text:
    """All that this command shows passes here: what the operator wrote is text, no markup, and steers no terminal."""
    return Text(printable(text), style=style)


def _write_json(value: object) -> None:
    sys.stdout.write(msgspec.json.encode(value).decode() + os.linesep)
