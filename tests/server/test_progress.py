import io
from pathlib import Path

import pytest
from rich.console import Console

from server.observer import (
    Event,
    Observer,
    RoundFinished,
    RoundStarted,
    RunFinished,
    RunStarted,
    Silent,
    SiteJoined,
    SiteLeft,
    StepProgress,
)
from server.progress import Progress
from server.text import duration, plural, power, printable, ranges, size
from shared.study import MINIMAL, parse_study
from simulations.faults import LocalLink
from simulations.hospital import PROFILES, write_hospital
from simulations.local import LocalFederation, Recorder

EVENTS: tuple[Event, ...] = (
    RunStarted("r-1", "chest", 4, 3),
    SiteJoined("city"),
    SiteJoined("north"),
    SiteJoined("east"),
    SiteLeft("university", "join", "policy.toml allows no such study"),
    RoundStarted(1),
    StepProgress(1, "train", 2, 3),
    RoundFinished(1, 0.81, {"city": 1.5, "north": 1.25}, ("city", "north", "east"), 10.0),
    RoundStarted(2),
    SiteLeft("east", "train", "no answer within 600 s"),
    RoundFinished(2, 0.79, {"city": 2.5, "north": 2.25}, ("city", "north"), 20.0),
)

NOISY = (
    MINIMAL.replace('["DX"]', '["DX", "CR"]').replace("[32, 32]", "[16, 16]")
    + "[aggregation]\ncolluders = 0\n[evaluation]\ntest = 0.3\nvalidation = 0.3\nepsilon = 4.0\ndelta = 1e-5\n"
)
OPEN_POLICY = """
[privacy]
least = "off"
epsilon_total = 100.0
epsilon_per_study = 100.0
[aggregation]
min_cohort = 2
colluders = 0
[studies]
ask = false
"""

HOSTILE = ["\x1b[2J\x1b[31mred", "[bold red]x[/nonsense]", "a\nround 9/9: AUC 1.000", "\u202eabc"]


def plain(*events: Event) -> list[str]:
    """What a log file would hold."""
    out = io.StringIO()
    with Progress(Console(file=out, width=40)) as progress:
        for event in events:
            progress.notice(event)
    return out.getvalue().replace("\u00a0", " ").splitlines()


def screen(*events: Event, height: int = 40) -> str:
    """The display after `events`, without colours."""
    progress = Progress(Console(file=io.StringIO(), width=100))
    for event in events:
        progress.notice(event)
    out = io.StringIO()
    Console(file=out, width=100, height=height).print(progress)
    return out.getvalue().replace("\u00a0", " ")


def test_a_log_has_one_line_per_event() -> None:
    assert plain(*EVENTS, RunFinished("stopped", "2 hospitals are left")) == [
        "chest: run r-1, 4 hospitals expected, 3 rounds",
        "in: city",
        "in: north",
        "in: east",
        "out: university (join): policy.toml allows no such study",
        "round 1/3: AUC 0.810 (best 0.810 in round 1), ε at most 1.50, 3 of 4 hospitals trained, 10 s, about 20 s left",
        "out: east (round 2, train): no answer within 600 s",
        "round 2/3: AUC 0.790 (best 0.810 in round 1), ε at most 2.50, 2 of 4 hospitals trained, 20 s, about 15 s left",
        "stopped after 2 rounds: 2 hospitals are left; left out at times: east, university",
    ]


def test_the_display_shows_who_is_out_and_why_first() -> None:
    rows = [line for line in screen(*EVENTS).splitlines() if line.startswith("│")]
    assert [row.split("│")[1].strip() for row in rows] == ["east", "university", "city", "north"]
    assert "OUT" in rows[0] and "round 2, train: no answer within 600 s" in rows[0]
    assert "2.50" in rows[2] and "in" in rows[2]


def test_the_display_shows_round_step_best_auc_and_time_left() -> None:
    shown = screen(*EVENTS, RoundStarted(3), StepProgress(3, "unmask", 1, 2))
    assert "round 3/3" in shown and "unmask 1/2, about 15 s left" in shown
    assert "AUC 0.790 (best 0.810 in round 1)" in shown
    assert "2 of 4 hospitals in" in shown


def test_a_hospital_that_came_back_stays_marked() -> None:
    row = next(line for line in screen(*EVENTS, SiteJoined("east")).splitlines() if "east" in line)
    assert "OUT" not in row and "no answer within 600 s" in row


def test_a_figure_that_does_not_exist_is_a_dash() -> None:
    line = plain(RunStarted("r", "s", 2, 9), RoundFinished(1, None, {}, ("a", "b"), 1.0))[-1]
    assert "AUC –, 2 of 2 hospitals trained" in line and "ε" not in line and "0.000" not in line


def test_the_figure_has_its_own_name_and_may_be_better_lower() -> None:
    start = RunStarted("r", "s", 2, 2, figure="Mean absolute error (years)", better="lower")
    lines = plain(start, RoundFinished(1, 9.5, {}, ("a", "b"), 1.0), RoundFinished(2, 11.0, {}, ("a", "b"), 1.0))
    assert "Mean absolute error (years) 11.000 (best 9.500 in round 1)" in lines[-1]


def test_a_noisy_auc_is_said_to_be_noisy() -> None:
    events = (
        RunStarted("r", "s", 2, 2, noisy=True),
        RoundFinished(1, None, {}, ("a", "b"), 1.0),
        RoundFinished(2, 0.98, {}, ("a", "b"), 1.0),
    )
    lines = plain(*events)
    assert "AUC –, 2 of" in lines[1]
    assert "AUC 0.980 (noisy; best 0.980 in round 2)" in lines[2]
    assert "AUC 0.980 (noisy; best 0.980 in round 2)" in screen(*events)


def test_evaluations_with_noise_bound_nothing_of_a_run_without_privacy(tmp_path: Path) -> None:
    """Hospitals' ledgers charge such evaluations; ε 0 of its training would be a promise that nobody keeps."""
    archives = {name: tmp_path / "archives" / name for name in ("alder", "birch", "cedar")}
    for seed, (name, path) in enumerate(archives.items()):
        write_hospital(path, patients=14, seed=seed, profile=PROFILES[name])
    study = parse_study(NOISY)
    local = LocalFederation.make(tmp_path, archives, study)
    for name in archives:
        (local.home(name).path / "policy.toml").write_text(OPEN_POLICY)
    recorder = Recorder()
    _, result = local.run(LocalLink(local.sites()), study, recorder=recorder)
    assert {own.evaluation is not None for own in result.privacy.values()} == {True}, "they were charged"
    assert [event.noisy for event in recorder.events if isinstance(event, RunStarted)] == [True]
    assert [event.epsilon for event in recorder.events if isinstance(event, RoundFinished)] == [{}, {}]
    rounds = [line for line in plain(*recorder.events) if line.startswith("round ")]
    assert len(rounds) == 2
    assert [line for line in rounds if "ε" in line] == []


def test_a_resumed_run_goes_on_at_its_round() -> None:
    first = RunStarted("r", "s", 2, 10), RoundStarted(8)
    assert "round 8/10" in screen(*first)
    assert "about 4.0 s left" in plain(*first, RoundFinished(8, 0.9, {}, ("a", "b"), 2.0))[-1]


def test_a_hospital_that_never_came_is_counted() -> None:
    ending = plain(RunStarted("r", "s", 3, 1), SiteJoined("a"), RunFinished("finished", ""))[-1]
    assert ending == "finished after 0 rounds; never came: 2"


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_words_stay_words_in_one_line(words: str) -> None:
    lines = plain(RunStarted("r", "s", 1, 1), SiteLeft(words, words, words))
    assert len(lines) == 2
    assert "\x1b" not in lines[1] and "\u202e" not in lines[1]
    assert "\x1b[2J" not in screen(SiteJoined(words), SiteLeft(words, words, words))


def test_on_a_terminal_drop_outs_stay_above_the_display() -> None:
    out = io.StringIO()
    console = Console(file=out, width=100, height=30, force_terminal=True, color_system=None, _environ={})
    with Progress(console) as progress:
        for event in (*EVENTS, RunFinished("finished", "")):
            progress.notice(event)
    shown = out.getvalue()
    assert shown.count("out: east (round 2, train): no answer within 600 s") == 1
    assert "in: city" not in shown and "finished after 2 rounds" in shown
    assert shown.rstrip().endswith("\x1b[?25h")  # the cursor is back


def test_the_cursor_comes_back_after_an_error() -> None:
    out = io.StringIO()
    with pytest.raises(RuntimeError), Progress(Console(file=out, force_terminal=True, _environ={})):
        raise RuntimeError
    assert out.getvalue().rstrip().endswith("\x1b[?25h")


@pytest.mark.parametrize("observer", [Silent(), Progress(Console(file=io.StringIO()))])
def test_every_observer_takes_every_event_in_any_order(observer: Observer) -> None:
    for event in (*EVENTS, RunFinished("failed", "disk full")):
        observer.notice(event)
    for event in reversed(EVENTS):
        observer.notice(event)


def test_figures_as_words() -> None:
    times = [duration(seconds).replace("\u00a0", " ") for seconds in (0.44, 12, 185, 7800)]
    assert times == ["0.4 s", "12 s", "3 min 05 s", "2 h 10 min"]
    sizes = [size(count).replace("\u00a0", " ") for count in (0, 999, 1_420_000, 4_200_000_000)]
    assert sizes == ["0 B", "999 B", "1.42 MB", "4.2 GB"]
    assert [power(value) for value in (None, 1e-5, 2.5e-6, 0.02)] == ["–", "10⁻⁵", "2.5·10⁻⁶", "0.02"]
    assert [ranges([3, 9, 8, 7]), ranges([])] == ["3, 7–9", ""]
    assert [plural(1, "round"), plural(2000, "round")] == ["1 round", "2,000 rounds"]
    assert printable("a-very-long-name-of-one", 9) == "a-ve…-one"
