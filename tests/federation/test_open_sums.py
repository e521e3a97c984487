"""A study without masks: what travels, who must allow it, and what a robust mean makes of a hostile hospital."""

import numpy as np
import pytest
from msgspec.structs import replace

import client.local_round
import client.steps
from client.local_round import Trained
from server.report.verdict import findings
from shared.layout import begin
from shared.messages.replies import Contributed, read_reply
from shared.messages.requests import Confirm, Step, Unmask, read_request
from shared.open_sums import OpenContribution
from shared.study import Study
from shared.wire import unpack
from simulations.faults import LocalLink, Moment, altered
from simulations.local import LocalFederation

POLICY = """\
[privacy]
least = "off"
[aggregation]
min_cohort = 2
colluders = 0
adversary = "{}"
[studies]
ask = false
"""


def robust(study: Study, strategy: str = "median", **options: float) -> Study:
    return replace(
        study,
        federation=replace(study.federation, strategy=strategy, options=options, min_sites=3),
        aggregation=replace(study.aggregation, adversary="none"),
    )


def allow(local: LocalFederation, adversary: str = "none") -> None:
    for name in local.names:
        (local.home(name).path / "policy.toml").write_text(POLICY.format(adversary))


def test_no_hospital_gives_its_mask_up_that_has_not_said_so(local: LocalFederation, study: Study) -> None:
    allow(local, "semi-honest")
    _, result = local.run(LocalLink(local.sites()), robust(study))
    assert result.status != "finished" and "masks that hold against a coordinator" in result.because


def test_updates_travel_open_and_counts_masked_and_the_report_begins_with_it(
    local: LocalFederation, study: Study
) -> None:
    allow(local)
    link = LocalLink(local.sites())
    outcome, result = local.run(link, robust(study))
    assert result.status == "finished" and result.sites.contributed == (local.names,) * 2
    bodies = [read_request(request) for _, request, _ in link.traffic]
    steps = [body.plan for body in bodies if isinstance(body, Step)]
    assert {(plan.step, plan.adversary) for plan in steps} == {
        ("survey", "active"),
        ("train", "none"),
        ("evaluate", "active"),
    }
    masked = {plan.digest() for plan in steps if plan.step != "train"}
    asked = [body for body in bodies if isinstance(body, Confirm | Unmask)]
    assert len(asked) == 2 * 3 * len(masked), "nobody confirms or unmasks a step without masks"
    assert outcome.checkpoint.state.steps == 2
    first = findings(result)[0]
    assert first.level == "bad" and "saw each hospital's own update" in first.text


def test_a_reply_that_was_changed_on_the_way_is_left_out(local: LocalFederation, study: Study) -> None:
    allow(local)
    asked = replace(robust(study), federation=replace(robust(study).federation, min_sites=2))
    _, result = local.run(LocalLink(local.sites(), {Moment(1, "train", 1): altered(100)}), asked)
    assert result.rounds.each[0].trained == ("alder", "cedar")
    (left,) = [left for left in result.sites.left_out if left.step == "train"]
    assert left.site == "birch" and "signature" in left.reason


@pytest.mark.parametrize(
    ("strategy", "options"), [("median", {}), ("krum", {"hostile": 0}), ("trimmed-mean", {"trim": 0.34})]
)
def test_one_hostile_hospital_of_three_moves_a_robust_mean_little(
    local: LocalFederation, study: Study, monkeypatch: pytest.MonkeyPatch, strategy: str, options: dict[str, float]
) -> None:
    """It sends the longest update it may; FedAvg goes a third of it along."""
    honest, seeds = client.local_round.trained, list[int]()

    def trained(*args: object, seed: int, **rest: object) -> Trained:
        found = honest(*args, seed=seed, **rest)  # type: ignore[arg-type]
        seeds.append(seed)
        if seed != seeds[0]:
            return found
        return Trained(np.full_like(found.up, 9.99 / np.sqrt(found.up.size)), found.scaled, found.steps, found.kept)

    monkeypatch.setattr(client.steps, "trained", trained)
    allow(local)
    outcome, _ = local.run(LocalLink(local.sites()), robust(study, strategy, **options))
    moved = float(np.linalg.norm(outcome.checkpoint.state.weights - begin(study)[1]))
    assert 0 < moved < 1.0


def test_what_travels_is_the_update_itself(local: LocalFederation, study: Study) -> None:
    """Anybody who reads it, as the coordinator does, has the hospital's quantised update: that is what is given up."""
    allow(local)
    link = LocalLink(local.sites())
    asked = robust(replace(study, training=replace(study.training, rounds=1)))
    outcome, _ = local.run(link, asked)
    sent = []
    for _, request, reply in link.traffic:
        body = read_request(request)
        if isinstance(body, Step) and body.plan.adversary == "none" and reply is not None:
            found = read_reply(reply)
            assert isinstance(found, Contributed)
            assert unpack(OpenContribution, found.contribution).plan == body.plan.digest()
            weight = int(np.frombuffer(unpack(OpenContribution, found.contribution).counts, "<i8")[3])
            words = np.frombuffer(found.vector, "<i4").astype(float)
            bound = asked.aggregation.update_norm / ((2**31 - 1) // 3)
            sent.append(words * bound * asked.federation.max_images / weight)
    median = np.median(sent, axis=0)
    np.testing.assert_allclose(outcome.checkpoint.state.weights - begin(study)[1], median, atol=1e-6)
