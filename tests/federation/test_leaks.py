"""Everything that leaves a hospital of N patients and one of N + 1, all else equal, put side by side.

Left out: what keys, masks and noise make new each time (their lengths are compared), and times that lie on the public
grid. Beside each comparison a test shows that it can fail. Numbers of patients are those at which naive private
training shows them (Opacus #819: its divisor jumps from 1024 patients to 1025 where a batch has 512).
"""

import contextlib
import functools
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

import client.doing
from client.audit import Audit
from client.home import Home
from client.policy import Policy
from client.site import Site
from client.training import private
from client.training.gradients.choose import Choice
from client.training.gradients.loop import Loop
from client.workbench import Prepared, prepare_for
from server.report import build
from server.report.result import Result
from shared.accounting import prv_epsilon
from shared.messages.replies import Refused
from shared.secagg.masks import Words
from shared.secagg.member import Masked, Plain, contribute
from shared.secagg.plan import Seat
from shared.study import Study, parse_study
from simulations.attacker import Attacker
from simulations.faults import LocalLink
from simulations.hospital import PROFILES, write_hospital
from simulations.local import LocalFederation
from simulations.wards import ward

STUDY = """
name = "leaks"
[task]
labels = ["clear", "nodule"]
[input]
modalities = ["DX", "CR"]
size = [8, 8]
[model]
name = "cnn"
[model.options]
width = 16
hidden = 16
[training]
rounds = 1
batch = 512
local_steps = 2
learning_rate = 4.0
augmentation = ["flip", "noise"]
copies = 2
[federation]
min_sites = 2
timeout_s = 5.0
max_images = 1000
[privacy]
mode = "local"
epsilon = 8.0
delta = 1e-5
clip = 1.0
sampling_rate = 0.005
[evaluation]
test = 0.3
validation = 0.3
per_site = true
"""
#: Every patient in every step: whoever is there is looked at.
EVERYBODY = STUDY.replace("sampling_rate = 0.005", "sampling_rate = 1.0")
_DISTRIBUTED = (
    STUDY.replace('mode = "local"', 'mode = "distributed"\nclip_quantile = 0.5')
    .replace("rounds = 1", "rounds = 2")
    .replace("local_steps = 2", "local_steps = 1")
    .replace("per_site = true", "per_site = true\nepsilon = 4.0\ndelta = 1e-5")
)
DISTRIBUTED = parse_study(_DISTRIBUTED)
MODES = {"local": parse_study(STUDY), "distributed": DISTRIBUTED}
#: Allows what is asked, and says nothing of what may be shown: there the default is judged.
QUIET = (
    '[privacy]\nleast = "off"\nepsilon_total = 100.0\nepsilon_per_study = 100.0\n'
    "[aggregation]\nmin_cohort = 2\n[studies]\nask = false\n"
)
OPEN = QUIET + "[evaluation]\nper_site_counts = true\n"
STRICT = QUIET.replace("epsilon_total = 100.0", "epsilon_total = 0.5")
#: Looks at each patient alone.
LOOP = Loop()
#: The times a hospital may show.
GRID = {2.0**k for k in range(20)}
#: What a reply holds packed in itself.
PACKED = {"contribution", "confirmation", "answer"}


WARDS: Mapping[str, Callable[[], Prepared]] = {
    "0 patients": lambda: ward(0),
    "1 patient of 30 images": lambda: ward(1, last=30),
    "1023 patients": lambda: ward(1023),
    "1024 patients": lambda: ward(1024),
    "1025 patients, the last of 30 images": lambda: ward(1025, last=30),
    "10 patients, nobody held out": lambda: ward(10, held_out=0),
}


@dataclass
class Eavesdropper:
    """What alder put under its masks in training: the counts beside the vector, and the vector's words as integers."""

    counts: list[list[int]] = field(default_factory=list)
    words: list[NDArray[np.int32]] = field(default_factory=list)

    def contribute(self, seat: Seat, plain: Plain, **rest: object) -> Masked:
        """The real one, overheard."""
        if seat.own.site == "alder" and seat.plan.step == "train":
            words: Words = np.zeros(seat.plan.length, seat.plan.dtype)
            plain.fill(0, words)
            self.counts.append(plain.counts.tolist())
            self.words.append(words.view("<i4"))
        return contribute(seat, plain, **rest)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Left:
    """What left alder in one run: its `replies` and their `sizes`, what the coordinator's `result` says of it, what was
    `printed`, and the `counts` that entered the sums of training: all without what is new each time. Beside it, what
    did not leave as it is: the noisy `words` of training, and alder's own `log`."""

    replies: list[object]
    sizes: list[int]
    result: object
    printed: list[str]
    counts: list[list[int]]
    words: list[NDArray[np.int32]]
    log: list[dict[str, object]]

    def seen(self) -> tuple[object, ...]:
        """All that two hospitals must have in common."""
        return self.replies, self.sizes, self.result, self.printed, self.counts, [len(words) for words in self.words]


def outside(tree: object) -> object:
    """A reply as anybody sees it: every plain value but the run's name; of byte strings, which keys, masks and noise
    make, the length."""
    if isinstance(tree, dict):
        opened = {key: msgspec.msgpack.decode(tree[key]) for key in PACKED & tree.keys()}
        hidden = {"run"} | {key for key in ("seconds",) if tree.get(key) in GRID}
        return {key: outside(value) for key, value in (tree | opened).items() if key not in hidden}
    if isinstance(tree, list):
        return [outside(each) for each in tree]
    return ("bytes", len(tree)) if isinstance(tree, bytes) else tree


def told(result: Result) -> object:
    """Of result.json what is said of single hospitals; not sums over all, names of this run, and times."""
    own = None if result.metrics is None else result.metrics.sites
    sites = replace(result.sites, images=replace(result.sites.images, used=0, splits={}, skipped={}))
    return json.loads(
        msgspec.json.encode((result.status, result.because, own, sites, result.privacy, result.aggregation))
    )


def log_of(home: Home) -> list[dict[str, object]]:
    """The audit log without what is new each time: times, run, digests."""
    new = {"at", "digest", "before", "plan", "run", "hash"}
    entries = Audit(home.path / "audit.jsonl").entries()
    return [{key: value for key, value in entry.facts.items() if key not in new} for entry in entries]


def lines_of(text: str) -> list[str]:
    """Lines without dates and measured times: whole numbers stay."""
    return [re.sub(r"\d{4}-\d\d-\d\dT[\d:.+]+|\d+\.\d+(e-?\d+)?", "#", line) for line in text.splitlines()]


Prepare = Callable[[Home, Study], Prepared]


class Days:
    """Whole runs over three hospitals, each from the same keys and folders."""

    def __init__(self, template: Path, folder: Path) -> None:
        self._template, self._folder, self._numbers = template, folder, count()

    def federation(self) -> LocalFederation:
        """The three of `template`, once more."""
        folder = self._folder / str(next(self._numbers))
        for part in ("federation", "sites"):
            shutil.copytree(self._template / part, folder / part)
        names = sorted(path.name for path in (folder / "sites").iterdir())
        return LocalFederation(folder, names)

    def run(
        self,
        study: Study,
        prepared: Prepared | None,
        *,
        policy: str = QUIET,
        local: LocalFederation | None = None,
        out: str = "run",
        way: Loop | None = LOOP,
    ) -> Left:
        """One run of `study`, with `prepared` at alder (None: with the archive of its site.toml); gradients taken in
        this `way` (None: in the one that is measured to be quickest)."""
        local = local or self.federation()
        for name in local.names:
            (local.home(name).path / "policy.toml").write_text(policy if name == "alder" else QUIET)
        alder: Prepare = prepare_for if prepared is None else lambda *_: prepared
        others = ward(20)
        sites = [
            Site(local.home(name), prepare=alder if name == "alder" else lambda *_: others, way=way)
            for name in local.names
        ]
        link, overheard, printed = LocalLink(sites), Eavesdropper(), io.StringIO()
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.redirect_stdout(printed))
            stack.enter_context(contextlib.redirect_stderr(printed))
            stack.enter_context(pytest.MonkeyPatch.context()).setattr(client.doing, "contribute", overheard.contribute)
            _, result = local.run(link, study, out=out)
        replies = [reply for node, _, reply in link.traffic if node == 0 and reply is not None]
        return Left(
            replies=[outside(msgspec.msgpack.decode(reply)) for reply in replies],
            sizes=[len(reply) for reply in replies],
            result=told(result),
            printed=lines_of(printed.getvalue()),
            counts=overheard.counts,
            words=overheard.words,
            log=log_of(local.home("alder")),
        )


@pytest.fixture(scope="module")
def days(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Days]:
    with pytest.MonkeyPatch.context() as patch:  # the runs spend the same, and it takes a second
        patch.setattr(build, "prv_epsilon", functools.cache(prv_epsilon))
        yield Days(template, tmp_path_factory.mktemp("days"))


@pytest.fixture(scope="module", params=sorted(MODES))
def study(request: pytest.FixtureRequest) -> Study:
    return MODES[request.param]


@pytest.fixture(scope="module")
def left(days: Days, study: Study) -> dict[str, Left]:
    """What left alder with each of the WARDS."""
    return {name: days.run(study, ward()) for name, ward in WARDS.items()}


# Everything that is seen


@pytest.mark.parametrize("name", sorted(WARDS))
def test_nothing_that_is_seen_tells_how_many_patients_there_are(left: dict[str, Left], study: Study, name: str) -> None:
    one, other = left["1024 patients"], left[name]
    assert len(one.counts) == study.training.rounds, "it took part in every round"
    assert other.replies == one.replies
    assert other.seen() == one.seen()


@pytest.mark.parametrize("patients", [0, 9])
def test_one_patient_more_of_whom_every_step_takes_all(days: Days, patients: int) -> None:
    few, many = (days.run(parse_study(EVERYBODY), ward(number)) for number in (patients, patients + 1))
    assert few.seen() == many.seen()


def test_a_patient_more_who_was_in_an_earlier_study_changes_nothing_that_is_seen(days: Days) -> None:
    """All other patients are new to the archive: what this one spent before must not show through the totals."""
    seen = []
    for known in ((), (5_000,)):
        local = days.federation()
        days.run(replace(DISTRIBUTED, name="before"), ward(3, known=(5_000,)), local=local, out="before")
        others = tuple(range(9_000, 9_020))
        seen.append(days.run(DISTRIBUTED, ward(len(others + known), held_out=0, known=others + known), local=local))
    assert seen[0].seen() == seen[1].seen()


def test_the_comparison_finds_what_a_policy_shows_and_what_is_not_on_the_grid(days: Days) -> None:
    """A hospital that shows its counts shows exact times too: both are found."""
    few, many = (days.run(DISTRIBUTED, ward(patients), policy=OPEN) for patients in (10, 11))
    assert few.seen() != many.seen()
    assert few.replies[1] != many.replies[1], "the survey's reply"
    assert "seconds" in str(few.replies[1])
    assert "seconds" not in str(days.run(DISTRIBUTED, ward(10)).replies)


def test_what_a_hospital_shows_of_its_own_is_off_by_default() -> None:
    rules = Policy().evaluation
    assert (rules.per_site_counts, rules.per_site_figures) == (False, False)


def test_one_patient_more_in_a_real_archive_changes_nothing_that_is_seen(
    days: Days, study: Study, tmp_path: Path
) -> None:
    """From the DICOM files on: alder's archive, and the same with a fifteenth patient."""
    archives = [tmp_path / str(patients) for patients in (14, 15)]
    seen = []
    for archive in archives:
        write_hospital(archive, patients=int(archive.name), seed=0, profile=PROFILES["alder"])
        local = days.federation()
        settings = local.home("alder").path / "site.toml"
        settings.write_text(re.sub(r'"[^"]*/alder(/labels.csv)?"', rf'"{archive}\1"', settings.read_text()))
        seen.append(days.run(study, None, local=local, way=None))
    assert seen[0].seen() == seen[1].seen()
    assert seen[0].log != seen[1].log, "the hospital's own log knows the number of its images"


# Noise


def deviation(left: Left) -> NDArray[np.float64]:
    """Of what went under the masks, in each training step."""
    return np.array([words.astype(np.float64).std() for words in left.words])


@pytest.mark.parametrize("name", sorted(WARDS))
def test_the_noise_is_as_large_whoever_is_there(left: dict[str, Left], name: str) -> None:
    """Were steps, divisor or noise to follow the patients, the words would be wider or narrower.

    Of d > 20,000 words the deviation is known to 1 / √(2d) = 0.5 %. What the patients drawn add to it is 10 % where 20
    of 1025 are drawn at a rate of 0.005 and all pull one way.
    """
    few = deviation(left["0 patients"])
    assert all(len(words) > 20_000 for words in left[name].words)
    np.testing.assert_allclose(deviation(left[name]), few, rtol=0.12)


def test_a_divisor_that_jumps_as_naive_ones_do_is_found(days: Days) -> None:
    """512 patients in a batch at 1024 of them, 341 at 1025. In mode "distributed" hospitals divide by nothing."""
    study = MODES["local"]
    batches = [replace(study, training=replace(study.training, batch=batch)) for batch in (512, 341)]
    one, other = (deviation(days.run(batch, ward(0))) for batch in batches)
    assert np.all(np.abs(np.log(one / other)) > 0.3)


# The hospital's own log


def test_the_log_holds_no_count_that_is_sent(left: dict[str, Left]) -> None:
    """Of all that the audit log says, only the number of images differs: it is not in a reply."""
    logs = [left[name].log for name in ("1024 patients", "1025 patients, the last of 30 images")]
    counted = [[line.pop("images") for line in log if line["event"] == "prepared"] for log in logs]
    assert counted[0] != counted[1]
    assert logs[0] == logs[1]


# Refusals


def test_a_budget_that_is_used_up_is_refused_in_the_same_words(days: Days) -> None:
    few, many = (days.run(DISTRIBUTED, ward(patients), policy=STRICT) for patients in (0, 1025))
    assert few.replies == many.replies
    assert few.result == many.result
    assert "privacy.epsilon_total" in str(few.replies)
    assert few.counts == []


def test_the_promise_used_up_by_repeated_rounds_is_used_up_for_nobody_too(days: Days, study: Study) -> None:
    """Whoever asks for a round again and again learns at the same attempt that it may not, whoever is there."""
    refusals = []
    for patients in (0, 1):
        local, asked = days.federation(), ward(patients)
        for name in local.names:
            (local.home(name).path / "policy.toml").write_text(QUIET)
        sites = {
            name: Site(local.home(name), prepare=lambda *_, asked=asked: asked, way=Loop()) for name in local.names
        }
        attacker = Attacker(local.federation, sites, study).join_all()
        task = attacker.train_task()
        replies = [attacker.step("alder", task, attacker.plan(task, attempt=attempt)) for attempt in range(1, 5)]
        refusals.append([isinstance(reply, Refused) for reply in replies])
        assert refusals[-1][-1], "more than the study promised"
    assert refusals[0] == refusals[1]


# The way to take gradients


def test_the_quickest_way_is_measured_on_images_that_are_made_up(days: Days) -> None:
    """Whatever is measured is told nothing of the hospital but the shape of one image, which is the study's."""
    told_to: list[object] = []

    def overheard(module: object, loss: object, **rest: object) -> Choice:
        told_to.append(rest)
        return Choice(way=Loop(), at_once=4, seconds={})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(private, "fastest", overheard)
        for patients in (1, 1025):
            days.run(DISTRIBUTED, ward(patients), way=None)
    assert len(told_to) == 2 * 3
    assert all(each == told_to[0] for each in told_to)
    assert set(told_to[0]) == {"images", "example", "device", "precision", "limit_bytes"}  # type: ignore[call-overload]
