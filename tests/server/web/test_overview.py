from server import observer as seen
from server.history import Moment, RunLine, State
from server.web.overview import Absence, view_of


def line(state: State = "running") -> RunLine:
    return RunLine(
        run="a", study="s", study_hash="", state=state, created="", started="", ended="", because="", starts=1
    )


def moments(*events: seen.Event) -> list[Moment]:
    """One event a minute from 10:00."""
    return [Moment(k, f"2025-03-02T10:{k:02d}:00Z", event) for k, event in enumerate(events)]


def done(number: int, *trained: str, auc: float | None = None, **epsilon: float) -> seen.RoundFinished:
    return seen.RoundFinished(number, auc, epsilon, trained, 60.0)


START = (seen.RunStarted("a", "s", 3, 4), seen.SiteJoined("city"), seen.SiteJoined("north"), seen.RoundStarted(1))


def test_a_run_without_events_knows_nothing() -> None:
    view = view_of(line("queued"), ())
    assert (view.rounds_planned, view.sites_expected, view.rounds, view.sites) == (0, 0, (), ())
    assert (view.best, view.worst, view.left_s, view.step) == (None, None, None, None)


def test_who_left_is_out_since_then_until_it_trains_again() -> None:
    events = moments(*START, seen.SiteLeft("north", "train", "no answer"), done(1, "city"), seen.RoundStarted(2))
    north = view_of(line(), events).sites[0]
    assert (north.name, north.presence, north.since) == ("north", "out", "2025-03-02T10:04:00Z")
    assert (north.why, north.trained) == ("train: no answer", 0)
    events = moments(*(moment.event for moment in events), done(2, "city", "north"))
    north = view_of(line(), events).sites[1]
    assert (north.presence, north.since, north.why, north.trained) == ("in", "2025-03-02T10:07:00Z", "", 1)


def test_who_trained_but_missed_the_evaluation_is_out() -> None:
    left = seen.SiteLeft("north", "evaluate unmask", "no answer")
    view = view_of(line(), moments(*START, left, done(1, "city", "north")))
    assert [(site.name, site.presence, site.trained) for site in view.sites] == [("north", "out", 1), ("city", "in", 1)]


def test_who_was_lost_in_one_attempt_and_trained_in_the_next_is_in_and_stays_in_the_list() -> None:
    view = view_of(line(), moments(*START, seen.SiteLeft("north", "train", "lost"), done(1, "city", "north")))
    assert {site.presence for site in view.sites} == {"in"}
    assert view.absences == (Absence("2025-03-02T10:04:00Z", "north", 1, "train", "lost"),)


def test_being_in_goes_back_to_when_it_came() -> None:
    view = view_of(line(), moments(*START, done(1, "city", "north"), seen.RoundStarted(2), done(2, "city", "north")))
    assert [site.since for site in view.sites] == ["2025-03-02T10:01:00Z", "2025-03-02T10:02:00Z"]


def test_a_hospital_that_nobody_heard_of_is_shown_and_missing_from_every_round() -> None:
    view = view_of(line(), moments(*START, done(1, "city", "north")), expected=("city", "north", "west"))
    assert (view.sites[0].name, view.sites[0].presence) == ("west", "not yet")
    assert view.rounds[0].missing == ("west",)


def test_a_round_repeated_after_a_restart_counts_once_as_it_ended_last() -> None:
    again = (seen.RunStarted("a", "s", 3, 4), seen.RoundStarted(1), done(1, "city", auc=0.7))
    view = view_of(line(), moments(*START, done(1, "city", "north", auc=0.9), *again))
    assert [one.event.figure for one in view.rounds] == [0.7]
    assert view.rounds[0].missing == ("north",)


def test_the_best_round_and_the_worst_hospital() -> None:
    rounds = (done(1, "city", auc=0.8, city=1.0, north=2.0), done(2, "city", city=1.5, north=2.0), done(3, auc=0.6))
    view = view_of(line(), moments(*START, *rounds))
    assert view.best is not None and view.best.event.round == 1
    assert view.worst is not None and (view.worst.name, view.worst.epsilon) == ("north", 2.0)
    assert [one.worst_epsilon for one in view.rounds] == [2.0, 2.0, None]


def test_a_run_with_noise_on_its_evaluations_says_so() -> None:
    noisy = seen.RunStarted("a", "s", 3, 4, noisy=True)
    assert view_of(line(), moments(noisy, done(1, "city", auc=0.7))).noisy
    assert not view_of(line(), moments(*START)).noisy


def test_the_time_left_counts_down() -> None:
    events = moments(*START, done(1, "city"), done(2, "city"))
    assert view_of(line(), events, now="2025-03-02T10:05:00+00:00").left_s == 120
    assert view_of(line(), events, now="2025-03-02T10:05:30+00:00").left_s == 90
    assert view_of(line(), events, now="2025-03-02T12:00:00+00:00").left_s == 0
    assert view_of(line("stopped"), events, now="2025-03-02T10:05:00+00:00").left_s is None


def test_the_step_under_way_is_the_last_one_told() -> None:
    step = seen.StepProgress(1, "train", 1, 2)
    assert view_of(line(), moments(*START, step)).step == step
    assert view_of(line(), moments(*START, step, done(1, "city"))).step is None
    assert view_of(line("failed"), moments(*START, step)).step is None
