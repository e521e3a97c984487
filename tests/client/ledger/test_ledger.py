import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.ledger import Ledger, Limits, Promise, What, archive_tag
from shared.accounting import Event, SampledGaussian, Stated, rdp_epsilon
from shared.errors import MisuseError, RefusalError, SiteError
from tests.client.ledger.cases import DELTA, EVENT, WIDE, Asked, oracle, patients, purpose


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "l.sqlite")


def test_rounds_and_runs_and_studies_compose(ledger: Ledger) -> None:
    for round_ in range(3):
        ledger.reserve(patients(0, 5), EVENT, purpose(round_), WIDE)
    ledger.reserve(patients(0, 5), EVENT, purpose(1, study="t", run="q"), WIDE)
    assert ledger.epsilon(DELTA) == rdp_epsilon([EVENT] * 4, DELTA)
    assert ledger.epsilon(DELTA, run="r") == rdp_epsilon([EVENT] * 3, DELTA)
    assert ledger.events("r") == (EVENT,) * 3
    assert ledger.totals("r") == (SampledGaussian(sampling_rate=0.1, noise_multiplier=1.5, steps=60),)
    assert ledger.totals("r", "evaluate") == ledger.totals("nothing") == ()


def test_other_patients_are_not_charged(ledger: Ledger) -> None:
    ledger.reserve(patients(0, 5), EVENT, purpose(1), WIDE)
    ledger.reserve(patients(5, 9), EVENT, purpose(1, study="t", run="q"), WIDE)
    assert ledger.epsilon(DELTA) == rdp_epsilon([EVENT], DELTA)
    ledger.reserve(patients(4, 6), EVENT, purpose(1, study="u", run="p"), WIDE)
    assert ledger.epsilon(DELTA) == rdp_epsilon([EVENT] * 2, DELTA)


def test_the_same_plan_is_charged_once(ledger: Ledger) -> None:
    for _ in range(3):
        ledger.reserve(patients(0, 5), EVENT, purpose(1), WIDE)
    assert ledger.events("r") == (EVENT,)


def test_the_same_plan_for_other_patients_or_noise_is_refused(ledger: Ledger) -> None:
    ledger.reserve(patients(0, 5), EVENT, purpose(1), WIDE)
    with pytest.raises(SiteError, match="the archive changed"):
        ledger.reserve(patients(0, 6), EVENT, purpose(1), WIDE)
    less = SampledGaussian(sampling_rate=0.1, noise_multiplier=1.4, steps=20)
    with pytest.raises(SiteError, match="Konsil was changed"):
        ledger.reserve(patients(0, 5), less, purpose(1), WIDE)
    assert ledger.events("r") == (EVENT,)
    assert ledger.patients() == frozenset(patients(0, 5)), "nothing of what was refused stays"


@pytest.mark.parametrize(
    ("limits", "rule"),
    [(Limits(2.0, 100, DELTA), "privacy.epsilon_total"), (Limits(100, 2.0, DELTA), "privacy.epsilon_per_study")],
)
def test_a_round_that_would_pass_a_limit_is_refused_before_it_is_charged(
    ledger: Ledger, limits: Limits, rule: str
) -> None:
    with pytest.raises(RefusalError) as caught:
        for round_ in range(1000):
            ledger.reserve(patients(0, 3), EVENT, purpose(round_), limits)
    assert caught.value.rule == rule
    rounds = len(ledger.events("r"))
    assert rdp_epsilon([EVENT] * rounds, DELTA) <= 2.0 < rdp_epsilon([EVENT] * (rounds + 1), DELTA)


def test_a_limit_that_is_met_exactly_is_not_passed(ledger: Ledger) -> None:
    exact = rdp_epsilon([EVENT] * 3, DELTA)
    for round_ in range(3):
        ledger.reserve(patients(0, 3), EVENT, purpose(round_), Limits(exact, exact, DELTA), Promise(exact, DELTA))
    with pytest.raises(RefusalError):
        ledger.reserve(patients(0, 3), EVENT, purpose(3), Limits(exact, exact, DELTA))


def test_one_exhausted_patient_is_enough_to_refuse(ledger: Ledger) -> None:
    ledger.reserve(patients(0, 1), EVENT, purpose(1), WIDE)
    tight = Limits(rdp_epsilon([EVENT], DELTA) * 1.01, 100, DELTA)
    ledger.reserve(patients(1, 4), EVENT, purpose(1, study="t", run="q"), tight)
    with pytest.raises(RefusalError):
        ledger.reserve(patients(0, 4), EVENT, purpose(1, study="u", run="p"), tight)
    ledger.reserve(patients(4, 7), EVENT, purpose(1, study="u", run="p"), tight)  # and no one else pays for the attempt


@pytest.mark.parametrize(("what", "rule"), [("train", "study.epsilon"), ("evaluate", "study.evaluation.epsilon")])
def test_a_run_is_held_to_what_its_study_promised(ledger: Ledger, what: What, rule: str) -> None:
    promise = Promise(rdp_epsilon([EVENT] * 2, DELTA), DELTA)
    for round_ in range(2):
        ledger.reserve(patients(0, 3), EVENT, purpose(round_, what=what), WIDE, promise)
    with pytest.raises(RefusalError) as caught:
        ledger.reserve(patients(0, 3), EVENT, purpose(2, what=what), WIDE, promise)
    assert caught.value.rule == rule
    ledger.reserve(patients(0, 3), EVENT, purpose(2, run="another", what=what), WIDE, promise)


def test_training_and_evaluations_of_one_run_have_a_promise_each(ledger: Ledger) -> None:
    promise = Promise(rdp_epsilon([EVENT], DELTA), DELTA)
    ledger.reserve(patients(0, 3), EVENT, purpose(0), WIDE, promise)
    ledger.reserve(patients(3, 5), EVENT, purpose(0, what="evaluate"), WIDE, promise)
    # the hospital's limits know no such difference: trained on in one run, held out in the next, is both
    ledger.reserve(patients(0, 1), EVENT, purpose(0, run="q", what="evaluate"), WIDE, promise)
    assert ledger.epsilon(DELTA) == rdp_epsilon([EVENT] * 2, DELTA)
    assert ledger.events("r") == ledger.events("r", "evaluate") == (EVENT,)


def test_images_added_to_known_patients_change_nothing(ledger: Ledger) -> None:
    ledger.reserve(patients(0, 3), EVENT, purpose(0), WIDE)
    ledger.reserve([*patients(0, 3), *patients(0, 3)], EVENT, purpose(1), WIDE)  # a key per image would be the same
    assert ledger.epsilon(DELTA) == rdp_epsilon([EVENT] * 2, DELTA)
    assert len(ledger.patients()) == 3


def test_a_patient_whose_images_are_deleted_keeps_what_was_spent(ledger: Ledger) -> None:
    ledger.reserve(patients(0, 2), EVENT, purpose(0), WIDE)
    ledger.reserve(patients(0, 1), EVENT, purpose(1), WIDE)
    ledger.reserve(patients(0, 2), EVENT, purpose(2), WIDE)  # and is back
    assert ledger.epsilon_with([], DELTA) == rdp_epsilon([EVENT] * 3, DELTA)
    tight = Limits(rdp_epsilon([EVENT] * 3, DELTA), 100, DELTA)
    ledger.reserve(patients(1, 2), EVENT, purpose(3), tight)
    with pytest.raises(RefusalError):
        ledger.reserve(patients(1, 2), EVENT, purpose(4), tight)


def test_epsilon_with_counts_a_patient_never_seen(ledger: Ledger) -> None:
    assert ledger.epsilon(DELTA) == 0.0
    assert ledger.epsilon_with([EVENT], DELTA) == rdp_epsilon([EVENT], DELTA)
    ledger.reserve(patients(0, 2), EVENT, purpose(0), WIDE)
    assert ledger.epsilon_with([EVENT], DELTA) == rdp_epsilon([EVENT] * 2, DELTA)
    assert ledger.epsilon_with([EVENT], DELTA, study_hash=bytes(32)) == rdp_epsilon([EVENT], DELTA)


def test_nobody_held_out_is_judged_as_anybody(ledger: Ledger) -> None:
    with pytest.raises(RefusalError):
        ledger.reserve([], EVENT, purpose(0), Limits(0.1, 0.1, DELTA))
    ledger.reserve([], EVENT, purpose(0), WIDE)
    assert (ledger.epsilon(DELTA), ledger.events("r")) == (0.0, (EVENT,))


def test_a_key_of_another_length_is_a_bug(ledger: Ledger) -> None:
    with pytest.raises(MisuseError):
        ledger.reserve([b"short"], EVENT, purpose(0), WIDE)


def test_stated_spending_adds_and_takes_of_delta(ledger: Ledger) -> None:
    stated = Stated(epsilon=1.0, delta=4e-6)
    ledger.reserve(patients(0, 1), stated, purpose(0, what="imported"), WIDE)
    ledger.reserve(patients(0, 2), EVENT, purpose(1), WIDE)
    assert ledger.epsilon(DELTA) == rdp_epsilon([stated, EVENT], DELTA) > rdp_epsilon([EVENT], DELTA) + 1.0
    ledger.reserve(patients(1, 2), Stated(epsilon=0.1, delta=2e-5), purpose(2, what="imported"), Limits(9, 9, 1e-4))
    assert ledger.epsilon(DELTA) == float("inf"), "more δ was stated than there is"


events = st.sampled_from(
    [
        EVENT,
        SampledGaussian(sampling_rate=0.01, noise_multiplier=0.7, steps=1, honest=3),
        SampledGaussian(sampling_rate=1.0, noise_multiplier=30.0, steps=4),
        Stated(epsilon=0.3, delta=1e-6),
        Stated(epsilon=0.2, delta=0.0),
    ]
)
charge = st.tuples(st.sets(st.integers(0, 11)), events, st.sampled_from("stu"), st.sampled_from(["train", "evaluate"]))


@settings(max_examples=15, deadline=None)
@given(st.lists(charge, max_size=10))
def test_what_it_says_is_what_the_charges_say(
    tmp_path_factory: pytest.TempPathFactory,
    charges: list[tuple[set[int], Event, str, What]],
) -> None:
    """Two handles take turns, as two processes would; each patient's charges are put together anew to compare."""
    path = tmp_path_factory.mktemp("l") / "l.sqlite"
    books, asked = (Ledger(path), Ledger(path)), list[Asked]()
    for number, (some, event, study, what) in enumerate(charges):
        whom, why = [patients(n, n + 1)[0] for n in some], purpose(number, study, f"{study}-run", what=what)
        would = oracle([*asked, (whom, event, why)], of=whom) if whom else rdp_epsilon([event], DELTA)
        limits = Limits(would * (1 - 1e-6), 1e9, DELTA)  # the most that is too little
        with pytest.raises(RefusalError):
            books[number % 2].reserve(whom, event, why, limits)
        books[number % 2].reserve(whom, event, why, Limits(would * (1 + 1e-6), 1e9, DELTA))
        asked.append((whom, event, why))
    for book in (*books, Ledger(path)):
        book.check()
        assert book.epsilon(DELTA) == pytest.approx(oracle(asked), rel=1e-9)
        for run in {why.run for _, _, why in asked}:
            within = [one for one in asked if one[2].run == run]
            assert book.epsilon(DELTA, run=run) == pytest.approx(oracle(within), rel=1e-9)
        whole = sorted(rdp_epsilon([e for some, e, _ in asked if p in some], DELTA) for p in book.patients())
        shown = [epsilon for epsilon, count in book.statement(DELTA).histories for _ in range(count)]
        assert sorted(shown) == pytest.approx(whole, rel=1e-9)


def test_a_new_process_finds_every_charge(tmp_path: Path) -> None:
    Ledger(tmp_path / "l.sqlite").reserve(patients(0, 2), EVENT, purpose(1), WIDE)
    assert Ledger(tmp_path / "l.sqlite").epsilon(DELTA) == rdp_epsilon([EVENT], DELTA)


def test_what_was_confirmed_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    script = (
        "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
        "from client.ledger import *; from shared.accounting import SampledGaussian\n"
        "book = Ledger(Path(sys.argv[1])); wide = Limits(1e9, 1e9, 1e-5)\n"
        "event = SampledGaussian(sampling_rate=0.1, noise_multiplier=1.5, steps=20)\n"
        "start = len(book.events('r'))\n"
        "for k in range(start, start + 100000):\n"
        "    book.reserve([b'p' * 32], event, Purpose(str(k).encode().ljust(32), 's', b's' * 32, 'r', k), wide)\n"
        "    print(k + 1, flush=True)\n"
    )
    root = str(Path(__file__).resolve().parents[3])
    for pause in (0.05, 0.11, 0.17):
        command = [sys.executable, "-c", script, str(path), root]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as child:
            assert child.stdout is not None
            first = child.stdout.readline()
            time.sleep(pause)
            os.killpg(child.pid, signal.SIGKILL)
            confirmed = int((first + child.stdout.read()).split()[-1])
        assert len(Ledger(path).events("r")) >= confirmed


def reserve_until_refused(path: Path, name: str, limits: Limits) -> int:
    ledger = Ledger(path)
    for round_ in range(100):
        try:
            ledger.reserve(patients(0, 3), EVENT, purpose(round_, run=name), limits)
        except RefusalError:
            return round_
    return 100


def test_several_processes_share_one_budget(tmp_path: Path) -> None:
    limits = Limits(rdp_epsilon([EVENT] * 9, DELTA), 100, DELTA)
    with ProcessPoolExecutor(3, mp_context=get_context("fork")) as pool:
        rounds = list(pool.map(reserve_until_refused, [tmp_path / "l.sqlite"] * 3, "abc", [limits] * 3))
    assert sum(rounds) == 9


def test_a_ledger_keeps_to_one_archive_key(tmp_path: Path) -> None:
    path, (mine, other) = tmp_path / "l.sqlite", (archive_tag(bytes(32)), archive_tag(b"k" * 32))
    Ledger(path).close()
    assert Ledger(path).tag is None
    assert Ledger(path, archive=mine).tag == Ledger(path, archive=mine).tag == mine != other
    with pytest.raises(SiteError, match="import OLD --everyone"):
        Ledger(path, archive=other)
