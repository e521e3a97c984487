"""Break a real federation at every step of a round, and say what came of it.

One run per process: in each of its rounds that process is killed (kill -9) at another step. Then what hospitals live
with: a slow one, a late one, one that leaves, a line that is cut or slow, a full disk. The table is written by what
happened, not by what was hoped: rounds, hospitals and plans are counted afterwards in the coordinator's history, the
hospitals' audit logs and ledgers, and the model is compared with that of a run nobody disturbed.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from rich.console import Console
from safetensors.numpy import load_file

from client.ledger import Ledger
from server.history import History, RunLine
from server.observer import RoundFinished, RoundStarted
from server.report.result import Result, read_result
from shared.accounting import noise_multiplier, rdp_epsilon, round_event
from shared.errors import OperatorError
from shared.study import Study, parse_study
from simulations.moments import STEPS, Stage
from simulations.process_table import Role, kill
from simulations.processes import Processes

#: The hospital that suffers.
VICTIM = "birch"
#: Seconds until a disturbed run must be over.
LONGEST_RUN_S = 900.0
#: Models of two undisturbed runs differ by the random rounding of their sums, amplified by training.
SAME = 0.02

STUDY = """
name = "faults"
[task]
labels = ["clear", "nodule"]
[input]
modalities = ["DX", "CR"]
size = [32, 32]
[model]
name = "cnn"
[training]
rounds = {rounds}
batch = 8
local_steps = 120
learning_rate = 0.01
[federation]
min_sites = 2
timeout_s = {timeout}
max_images = 1000
[privacy]
{privacy}
[aggregation]
colluders = 0                     # of three hospitals two must answer: one may be lost
[evaluation]
test = 0.3
validation = 0.3
per_site = true
"""
PUBLIC = 'mode = "off"'
PRIVATE = 'mode = "local"\nepsilon = 3.0\ndelta = 1e-5\nclip = 1.0\nsampling_rate = 0.3'


@dataclass(frozen=True)
class Strike:
    """`do` it in `round` at the moment that `wait` waits for."""

    fault: str
    step: str
    round: int
    do: Callable[[Stage], None]
    wait: Callable[[Stage, int], None]


@dataclass(frozen=True)
class Line:
    """One row of the table in docs/reliability.md."""

    fault: str
    step: str
    outcome: str
    seconds: float


@dataclass(frozen=True)
class Disturbed:
    """A run that is over, and what is known of it."""

    line: RunLine
    result: Result | None
    stage: Stage
    study: Study


def study_text(rounds: int, *, private: bool = False, timeout_s: float = 60.0) -> str:
    """The suite's study."""
    return STUDY.format(rounds=rounds, privacy=PRIVATE if private else PUBLIC, timeout=timeout_s)


def kills(role: Role) -> tuple[Strike, ...]:
    """Kill `role` once in every round, each time at the next step."""

    def strike(round_: int, step: str) -> Strike:
        return Strike(
            f"kill -9 {role}",
            step,
            round_,
            lambda stage: _kill(stage, role),
            lambda stage, at: stage.wait(step, at),  # type: ignore[arg-type]  # one of STEPS
        )

    return tuple(strike(number, step) for number, step in enumerate(STEPS, start=1))


def _kill(stage: Stage, role: Role) -> None:
    kill(stage.federation, role, stage.site if role in ("node", "supernode", "agent") else "")


def disturbed(federation: Processes, text: str, strikes: Sequence[Strike], console: Console) -> Disturbed:
    """Run the study of `text`; let each strike fall; return when it is over. Raises OperatorError if it never is."""
    history = History(federation.coordinator.history)
    path = federation.out / "study.toml"
    path.write_text(text, "utf-8")
    federation.command("konsil-server", "run", path, "--no-wait")
    stage = Stage(federation, history.runs()[0].run, VICTIM)
    fallen = threading.Thread(target=_strike_all, args=(stage, strikes, console), daemon=True)
    fallen.start()
    line = _wait_over(history, stage.run)
    fallen.join(LONGEST_RUN_S)
    path = federation.coordinator.runs / stage.run / "result.json"
    return Disturbed(line, read_result(path) if path.exists() else None, stage, parse_study(text))


def _strike_all(stage: Stage, strikes: Sequence[Strike], console: Console) -> None:
    for strike in strikes:
        try:
            strike.wait(stage, strike.round)
            strike.do(stage)
            console.print(f"round {strike.round}: {strike.fault}, {strike.step}", highlight=False)
        except OperatorError as error:
            console.print(f"round {strike.round}: {strike.fault}, {strike.step}: NOT DONE: {error}", highlight=False)


def _wait_over(history: History, run: str) -> RunLine:
    until = time.monotonic() + LONGEST_RUN_S
    while (line := history.run(run)).state in ("queued", "running"):
        if time.monotonic() > until:
            raise OperatorError(f"run {run}", expected="an end", got=f"none in {LONGEST_RUN_S:g} s", do="See its logs.")
        time.sleep(0.5)
    return line


def rows(run: Disturbed, strikes: Sequence[Strike], calm: Disturbed) -> list[Line]:
    """One line per strike: what became of its round."""
    rounds = range(1, calm.study.training.rounds + 1)
    usual = float(np.median([_seconds(calm, round_) for round_ in rounds]))
    return [
        Line(strike.fault, strike.step, _round_outcome(run, strike.round), _seconds(run, strike.round) - usual)
        for strike in strikes
    ]


def _round_outcome(run: Disturbed, round_: int) -> str:
    result = run.result
    row = next((row for row in result.rounds.each if row.round == round_), None) if result is not None else None
    if result is None or row is None:
        return f"run {run.line.state}: {run.line.because}"
    plans = len(run.stage.plans(round_))
    missed = {f"{out.site} ({out.step}: {out.reason})" for out in result.sites.left_out if out.round == round_}
    what = "nobody twice" if plans <= 1 else f"{VICTIM} for {plans} plans"
    return f"{len(row.trained)} of {len(result.sites.expected)} trained, {what}" + "".join(
        f"; left out: {each}" for each in sorted(missed)
    )


def _seconds(run: Disturbed, round_: int) -> float:
    """From the round's first start to its end, restarts of the coordinator included."""
    moments = History(run.stage.federation.coordinator.history).events(run.stage.run)
    starts = [m.at for m in moments if isinstance(m.event, RoundStarted) and m.event.round == round_]
    ends = [m.at for m in moments if isinstance(m.event, RoundFinished) and m.event.round == round_]
    if not starts or not ends:
        return float("nan")
    return (datetime.fromisoformat(ends[0]) - datetime.fromisoformat(starts[0])).total_seconds()


def distance(run: Disturbed, calm: Disturbed) -> float:
    """How far the two models are apart, as a share of the calm one's length; nan where a run left none."""
    if not _model(run).exists():
        return float("nan")
    one, other = (load_file(_model(each)) for each in (run, calm))
    a, b = (np.concatenate([tensors[name].ravel() for name in sorted(tensors)]) for tensors in (one, other))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def _model(run: Disturbed) -> Path:
    return run.stage.federation.coordinator.runs / run.stage.run / "model.safetensors"


def budget(run: Disturbed) -> str:
    """Whether every round that a hospital trained is in its ledger: ε charged against ε of what left the house."""
    sigma, delta = noise_multiplier(run.study), run.study.privacy.delta
    if sigma is None or delta is None:
        return "not private"
    worst = []
    for name in run.stage.federation.names:
        stage = Stage(run.stage.federation, run.stage.run, name)
        left = sum(len(stage.plans(round_)) for round_ in range(1, run.study.training.rounds + 1))
        used = rdp_epsilon([round_event(run.study, sigma)] * left, delta)
        charged = Ledger(stage.federation.site(name) / "ledger.sqlite").epsilon(delta, run=stage.run)
        worst.append(f"{name} {charged:.3f} charged, {used:.3f} used" + ("" if charged >= used - 1e-9 else " SHORT"))
    return "; ".join(worst)
