"""konsil-client ledger: what the patients of this hospital have spent, for its data protection officer."""

import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from client.audit import Audit
from client.commands.daemon import DEFAULT_HOME, HomeOption
from client.commands.ledger_page import LedgerPage, Most, page_of, show
from client.dicom.keys import short_key
from client.dicom.scanning.catalog import Catalog
from client.home import Home
from client.ledger import Ledger, archive_tag
from client.ledger.copies import is_ledger, opened, pasts_of
from client.ledger.forgotten import Forgotten, forgotten
from client.ledger.listed import Known, read_list
from client.ledger.past import Past, Taken
from shared.errors import InputError, SiteError

ledger_app = typer.Typer(help="What the patients of this hospital have spent.")

JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout, nothing else.")]
DeltaOption = Annotated[
    float | None, typer.Option(help="The δ at which ε is shown. [policy.toml's, or 1e-5]", min=1e-300, max=0.5)
]
AloneOption = Annotated[bool, typer.Option("--alone", help="Show ε as if no other hospital had added its noise, too.")]


@ledger_app.callback(invoke_without_command=True)
def ledger(
    context: typer.Context,
    home: HomeOption = DEFAULT_HOME,
    delta: DeltaOption = None,
    alone: AloneOption = False,
    json: JsonOption = False,
) -> None:
    """What the patients of this hospital have spent: per study and run, in total, and what is left."""
    context.obj = home
    if context.invoked_subcommand is None:
        _show(home, delta, alone=alone, json=json)


@ledger_app.command("show")
def show_ledger(
    context: typer.Context,
    home: Annotated[Path | None, typer.Option("--home", help="This hospital's Konsil folder.")] = None,
    delta: DeltaOption = None,
    alone: AloneOption = False,
    json: JsonOption = False,
) -> None:
    """The same as without a command."""
    _show(home or context.obj, delta, alone=alone, json=json)


@ledger_app.command("import")
def import_past(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A list in TOML (docs/ledger.md), or another ledger.sqlite.")],
    home: Annotated[Path | None, typer.Option("--home", help="This hospital's Konsil folder.")] = None,
    everyone: Annotated[
        bool,
        typer.Option("--everyone", help="Charge another ledger's whole content to every patient: its key is lost."),
    ] = False,
) -> None:
    """Take over what was spent elsewhere or before: a list, a backup of this ledger, one whose key is lost."""
    folder = Home((home or context.obj).expanduser())
    book = Ledger(folder.path / "ledger.sqlite", archive=archive_tag(folder.archive_key))
    taken, patients = _take_over(folder, book, file, everyone=everyone)
    if not taken.charged and not taken.known:
        raise InputError(str(file), expected="a ledger with charges in it", got="none", do="Is it the right file?")
    console = Console(soft_wrap=True)
    if not taken.charged:
        console.print(f"nothing new: all {taken.known} charges were in the ledger already", highlight=False)
        return
    console.print(f"{taken.charged} charges taken over, {taken.known} were in the ledger already", highlight=False)
    console.print(f"they concern {patients}", highlight=False)


def _take_over(folder: Home, book: Ledger, file: Path, *, everyone: bool) -> tuple[Taken, str]:
    """What became of `file`, and whom it was about, in words."""
    if is_ledger(file):
        with opened(file) as other:
            pasts = pasts_of(other, book, everyone=everyone)
            return book.take_over(pasts), _whom(pasts)
    if everyone:
        raise InputError(
            "--everyone", expected="with another ledger", got="a list", do="Write everyone = true in its entries."
        )
    pasts = read_list(file, folder.archive_key, _known(folder))
    return book.take_over(pasts), _whom(pasts)


def _whom(pasts: tuple[Past, ...]) -> str:
    if any(past.patients is None for past in pasts):
        return "every patient, now and to come"
    named = {patient for past in pasts for patient in past.patients or ()}
    return f"{len(named)} patients"


def _known(folder: Home) -> Known:
    """The patients that the catalog has under each PatientID, whatever their issuer; none without a catalog."""
    key, found = folder.archive_key, defaultdict[bytes, set[bytes]](set)
    if (folder.path / "site.toml").is_file():
        with Catalog.of(folder.archive, folder.path / "archive") as catalog:
            for entry in catalog.entries():
                if entry.bare_patient:
                    found[entry.bare_patient].add(entry.patient)
    return lambda bare: frozenset(found.get(short_key(key, "bare-patient", bare), ()))


def _show(home: Path, delta: float | None, *, alone: bool, json: bool) -> None:
    folder = Home(home.expanduser())
    _check_there(folder)
    policy = folder.policy.privacy if (folder.path / "policy.toml").is_file() else None
    most = Most(policy.epsilon_total, policy.epsilon_per_study, policy.delta) if policy else None
    known = (folder.path / "keys" / "archive.key").is_file()
    book = Ledger(folder.path / "ledger.sqlite", archive=archive_tag(folder.archive_key) if known else None)
    book.check()
    at = delta or (policy.delta if policy else 1e-5)
    lost = forgotten(Audit(folder.path / "audit.jsonl").entries(), book.plans())
    page = page_of(book.statement(at), most if most and most.delta == at else None, lost)
    if json:
        sys.stdout.write(msgspec.json.encode(page).decode() + os.linesep)
    else:
        show(page, Console(), alone=alone)
    if lost:
        raise _older(lost)


def _check_there(folder: Home) -> None:
    """Raise InputError where `folder` has no ledger: opening it would make one, and that one would say ε = 0."""
    if not folder.path.is_dir():
        raise InputError(str(folder.path), expected="this hospital's Konsil folder", got="none", do="Check --home.")
    if (folder.path / "ledger.sqlite").is_file():
        return
    if lost := forgotten(Audit(folder.path / "audit.jsonl").entries(), frozenset()):
        raise _older(lost)
    raise InputError(
        str(folder.path / "ledger.sqlite"),
        expected="this hospital's ledger",
        got="none: nothing was ever charged here",
        do="Check --home. The ledger is made when this hospital first takes part in a study.",
    )


def _older(lost: tuple[Forgotten, ...]) -> SiteError:
    return SiteError(
        "ledger",
        expected="every reservation that the audit log has",
        got=f"{len(lost)} fewer, the first of {lost[0].at}",
        do="An older copy was put back: import the newest one you have (docs/ledger.md), and train nothing before.",
    )


__all__ = ["LedgerPage", "ledger_app"]
