"""konsil-simulate audit: what an attacker can learn from a run, measured (docs/evidence.md)."""

import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress

from server.report.html import write_report
from server.report.result import Result, read_result
from shared.console import bars
from shared.errors import InputError, OperatorError
from shared.study import Study, read_study, study_hash
from shared.version import versions
from simulations.audit.evidence import audit_canaries, canaries_for, claim_of
from simulations.audit.membership import Membership
from simulations.audit.page import write_page
from simulations.audit.record import Audit, Canaries, Noise, headline, said_of_membership, write_audit
from simulations.audit.shadows import Target, attack

OFF = "The study's privacy is off: nothing is promised that canaries could contradict."
NO_SHADOWS = "No shadow models were asked for: the final model was not attacked."
ONLY_CANARIES = "Without noise only the canaries are audited: the run's own model had its noise."


def audit(
    run: Annotated[Path, typer.Argument(help="The --out folder of a finished run or demo.")],
    canaries: Annotated[
        int | None, typer.Option(min=2, help="Planted patients; as many as its ε needs if left out.")
    ] = None,
    shadows: Annotated[int, typer.Option(min=0, max=256, help="Shadow models; 0 leaves that attack out.")] = 16,
    *,
    without_noise: Annotated[
        bool, typer.Option("--without-noise", help="Let hospitals add none: the audit must alarm.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the record instead of sentences.")] = False,
) -> None:
    """Attack RUN: canary patients against its privacy, and membership inference on its final model."""
    if 0 < shadows < 4 or shadows % 2:
        raise InputError("--shadows", expected="0, or an even number of at least 4", got=str(shadows))
    study, result = _read(run)
    started = time.monotonic()
    with bars(Console(stderr=True)) as bar:
        found = _canaries(study, canaries, "none" if without_noise else "as promised", bar)
        attacked = None if without_noise or not shadows else _membership(run, study, result, shadows, bar)
    notes = [OFF] * (found is None) + [ONLY_CANARIES if without_noise else NO_SHADOWS] * (attacked is None)
    record = Audit(
        run=result.run,
        study=study.name,
        hash=study_hash(study).hex(),
        canaries=found,
        membership=attacked,
        notes=tuple(notes),
        seconds=round(time.monotonic() - started, 1),
        versions=versions(),
    )
    _tell(record, run, "audit-without-noise" if without_noise else "audit", json=json)


def _read(run: Path) -> tuple[Study, Result]:
    study = read_study(run / "study.toml")
    try:
        result = read_result(run / "result.json")
    except OSError as error:
        raise InputError(
            str(run / "result.json"), expected="a finished run", got=error.strerror or "none", do="Name its folder."
        ) from None
    except msgspec.DecodeError as error:
        raise InputError(str(run / "result.json"), expected="a record of a run", got=str(error)) from None
    return study, result


def _canaries(study: Study, count: int | None, noise: Noise, bar: Progress) -> Canaries | None:
    if study.privacy.mode == "off":
        return None
    task = bar.add_task("canaries: steps", total=None)
    planted = canaries_for(study) if count is None else count
    return audit_canaries(study, planted, noise=noise, told=lambda done, of: bar.update(task, completed=done, total=of))


def _membership(run: Path, study: Study, result: Result, shadows: int, bar: Progress) -> Membership:
    homes = tuple(sorted(path.resolve() for path in (run / "sites").glob("*") if (path / "site.toml").is_file()))
    if not homes:
        raise InputError(str(run / "sites"), expected="the hospitals' folders", got="none", do="Name a simulated run.")
    task = bar.add_task("shadow models", total=shadows)
    claim = None if study.privacy.mode == "off" else claim_of(study)
    target = Target(run.resolve(), study, homes, result.rounds.best)
    return attack(target, shadows=shadows, claim=claim, told=lambda done, _: bar.update(task, completed=done))


def _tell(record: Audit, run: Path, name: str, *, json: bool) -> None:
    """Both files, the run's report anew, what is in them in words, and an alarm as a failure of the command."""
    kept, page = write_audit(record, run, name), write_page(record, run, name)
    write_report(read_result(run / "result.json"), run)  # which links the page from now on
    if json:
        typer.echo(kept.read_text("utf-8"), nl=False)
    else:
        console = Console(highlight=False, soft_wrap=True)
        console.print(headline(record), markup=False)
        if record.membership is not None:
            console.print(said_of_membership(record.membership), markup=False)
        for note in record.notes:
            console.print(note, markup=False)
        console.print(f"page: {page}   figures: {kept}", markup=False)
    if record.alarm:
        raise OperatorError(headline(record), do="docs/evidence.md says what an alarm means.")
