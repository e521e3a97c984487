"""konsil-simulate plan: what a study will cost, before anyone trains."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from server.text import NONE, number, size
from shared.errors import InputError
from shared.study import read_study
from simulations.plan import Evaluated, Plan, Spent, plan_of
from simulations.plan_tables import TARGETS, Rate, Varied
from simulations.plan_warnings import warnings_of

#: Version of the object that --json writes.
VERSION = 1
#: The targets, as they are typed.
GIVEN = ",".join(f"{target:g}" for target in TARGETS)


def plan(
    study: Annotated[Path, typer.Argument(help="The study file.")],
    *,
    sites: Annotated[int | None, typer.Option(help="Hospitals that take part; else the study's min_sites.")] = None,
    patients: Annotated[int | None, typer.Option(help="Training patients of all hospitals, a public guess.")] = None,
    epsilon: Annotated[str, typer.Option(help="Targets of the table of noise, beside the study's own.")] = GIVEN,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """What STUDY costs before anyone trains: noise, epsilon against rounds, batch and noise, bytes; warnings."""
    found = plan_of(read_study(study), sites=sites, patients=patients, targets=_targets(epsilon))
    if json:
        typer.echo(msgspec.json.encode({"version": VERSION, "plan": found, "warnings": warnings_of(found)}).decode())
    else:
        show(found, Console())


def _targets(option: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in option.split(","))
    except ValueError:
        found = ()
    if not found or not all(0 < target < 1e9 for target in found):
        raise InputError("--epsilon", expected="numbers above 0, as 1,2,4,8", got=option, do="Give such a list.")
    return found


def show(plan: Plan, console: Console) -> None:
    """`plan` in words and tables of at most 100 columns."""
    for table in (_summary(plan), *_tables(plan)):
        console.print(table)
    warnings = warnings_of(plan)
    for words in warnings:
        console.print(f"[yellow]Warning:[/] {words}", highlight=False)
    if plan.privacy is not None and not warnings:
        console.print("No setting of it is known to be bad.")


def _summary(plan: Plan) -> Table:
    study = plan.study
    table = Table(title=f"Study {study.name}, {plan.sites} hospitals, before anyone trains", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for name, words in _lines(plan):
        table.add_row(name, words)
    return table


def _lines(plan: Plan) -> list[tuple[str, str]]:
    """What is said of every plan, in order."""
    return [("privacy", _privacy(plan)), *_private(plan), *map(_evaluated, plan.evaluations), *_cost(plan)]


def _privacy(plan: Plan) -> str:
    privacy, spent = plan.study.privacy, plan.privacy
    if spent is None:
        return 'mode "off": nothing bounds what the sums and the model tell about one patient'
    return f'mode "{privacy.mode}", ε = {privacy.epsilon:g} at δ = {spent.delta:g} promised to each patient'


def _private(plan: Plan) -> list[tuple[str, str]]:
    training, spent, noise = plan.study.training, plan.privacy, plan.noise
    if spent is None or noise is None:
        return []
    drawn = NONE if plan.expected is None else f"{plan.expected:,.0f}"
    of = "of each hospital" if plan.study.privacy.mode == "local" else "of all hospitals"
    guess = "give --patients to see how many are drawn" if plan.expected is None else f"{drawn} patients {of} expected"
    return [
        ("steps", f"{training.rounds} rounds × {training.local_steps} = {spent.steps:,}"),
        ("patients", f"drawn with rate {spent.sampling_rate:g} per step; {guess}; batch {training.batch}"),
        ("noise", f"σ = {spent.noise_multiplier:g} times the clip of {plan.study.privacy.clip:g}; {_surplus(plan)}"),
        ("spent", _epsilons(spent)),
        (
            "per step",
            f"noise {noise.deviation:.2e} in each of {noise.entries:,} numbers, {noise.norm:.3g} in all:"
            f" {noise.per_clip:.2f} times the longest gradient",
        ),
    ]


def _surplus(plan: Plan) -> str:
    surplus = 1.0 if plan.noise is None else plan.noise.surplus
    if plan.study.privacy.mode == "local":
        return "every hospital adds all of it"
    return f"a sum over all hospitals has {surplus:.2f} times that, should some be lost or collude"


def _epsilons(spent: Spent) -> str:
    return f"ε = {spent.rdp_epsilon:.3f} as ledgers count (RDP), {spent.prv_epsilon:.3f} as reported (PRV)"


def _evaluated(evaluated: Evaluated) -> tuple[str, str]:
    times = "once" if evaluated.times == 1 else f"{evaluated.times} times"
    spent = evaluated.spent
    noise = f"σ = {spent.noise_multiplier:g} each, {_epsilons(spent)}" if spent else "exact sums, nothing bounded"
    return evaluated.split, f"evaluated {times}: {noise}"


def _cost(plan: Plan) -> list[tuple[str, str]]:
    traffic = plan.traffic
    return [
        ("model", f"{plan.parameters:,} parameters, {plan.trained:,} trained"),
        ("per round", f"{size(traffic.round_down)} down, {size(traffic.round_up)} up, for each hospital"),
        ("in all", f"{size(traffic.run_down)} down, {size(traffic.run_up)} up, {traffic.trips:,} trips"),
    ]


def _tables(plan: Plan) -> list[Table]:
    if plan.tables is None:
        return []
    return [
        _varied("ε by rounds and noise multiplier", "rounds", "σ ", plan.tables.epsilons),
        _varied("σ by target ε and rounds", "ε", "rounds ", plan.tables.noises),
        _rates(plan.tables.rates),
    ]


def _varied(title: str, row: str, column: str, varied: Varied) -> Table:
    table = Table(title=title)
    table.add_column(row, justify="right")
    for value in varied.columns:
        table.add_column(f"{column}{value:g}", justify="right")
    for value, figures in zip(varied.rows, varied.values, strict=True):
        table.add_row(f"{value:g}", *(number(figure) for figure in figures))
    return table


def _rates(rates: tuple[Rate, ...]) -> Table:
    table = Table(title="other sampling rates, the batch along with them")
    for name in ("rate", "batch", "ε at this σ", "σ for this ε", "noise ÷ gradient then"):
        table.add_column(name, justify="right")
    for rate in rates:
        figures = number(rate.epsilon), number(rate.noise_multiplier), number(rate.per_clip, 2)
        table.add_row(f"{rate.sampling_rate:g}", str(rate.batch), *figures)
    return table
