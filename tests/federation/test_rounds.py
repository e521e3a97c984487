"""Whole runs of the real coordinator with real sites on real DICOM, with hospitals lost at every step."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from msgspec.structs import replace

import client.doing
from client.audit import Audit
from client.ledger import Ledger
from client.steps import Outcome
from shared.accounting import noise_multiplier, rdp_epsilon, round_event
from shared.errors import InputError, SiteError
from shared.layout import layout_for
from shared.messages.requests import Unmask, read_request
from shared.study import Study
from shared.update import Codec
from simulations.faults import Fault, LocalLink, Moment, altered, lost, reply_lost
from simulations.local import LocalFederation, Recorder


def set_policy(local: LocalFederation, name: str, text: str) -> None:
    (local.home(name).path / "policy.toml").write_text(text + "[studies]\nask = false\n")


STEPS = ("survey", "train", "evaluate")


def test_a_quiet_run_finishes_with_every_hospital_in_every_round(local: LocalFederation, study: Study) -> None:
    _, result = local.run(LocalLink(local.sites()), study)
    assert (result.status, result.because) == ("finished", "")
    assert result.sites.contributed == (("alder", "birch", "cedar"),) * 2
    assert result.sites.left_out == ()
    assert result.metrics is not None
    assert set(result.metrics.sites) == {"alder", "birch", "cedar"}
    assert sum(result.sites.images.splits.values()) == result.sites.images.used
    assert result.sites.images.skipped["truncated"] == 3
    assert all(name in result.versions for name in ("torch", "flwr"))


def test_masks_change_no_sum(local: LocalFederation, changed: Callable[[str, str], Study]) -> None:
    """Two rounds from the same weights under fresh keys and masks differ by the quantiser's rounding only."""
    study = changed("rounds = 2", "rounds = 1")
    first, _ = local.run(LocalLink(local.sites()), study)
    second, _ = local.run(LocalLink(local.sites()), study, out="again")
    images = first.checkpoint.memory.images
    assert images is not None
    quantizer = Codec.of(study, cohort=3, parameters=layout_for(study).size, seed=bytes(32)).quantizer
    step = quantizer.bound / quantizer.steps
    most_apart = 3 * step * study.federation.max_images / images.splits["train"]
    np.testing.assert_allclose(
        second.checkpoint.state.weights, first.checkpoint.state.weights, atol=2 * most_apart, rtol=1e-6
    )


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("fault", [lost, reply_lost, altered(1), altered(100)])
def test_a_hospital_lost_at_any_step_is_named_and_stops_nobody(
    local: LocalFederation, study: Study, step: str, fault: Fault
) -> None:
    link = LocalLink(local.sites(), {Moment(1, step, 0 if step == "survey" else 1): fault})
    _, result = local.run(link, study)
    assert result.status == "finished"
    left = {(out.site, out.step) for out in result.sites.left_out}
    gone = step == "train" and fault in (lost, reply_lost)  # a silent site joins again before the next round
    assert left == ({("birch", "train"), ("birch", "evaluate")} if gone else {("birch", step)})
    trained = result.sites.contributed
    assert trained[0] == (("alder", "cedar") if step == "train" else ("alder", "birch", "cedar"))
    assert trained[1] == ("alder", "birch", "cedar"), "it is back in the next round"


def test_a_hospital_lost_at_unmask_is_still_in_the_sum(local: LocalFederation, study: Study) -> None:
    link = LocalLink(local.sites(), {Moment(2, "unmask"): lost})
    outcome, result = local.run(link, study)
    assert outcome.status == "finished"
    assert {(out.site, out.step) for out in result.sites.left_out} >= {("cedar", "train unmask")}
    assert all(row.trained == ("alder", "birch", "cedar") for row in outcome.checkpoint.memory.rows)


def test_a_hospital_lost_at_confirm_is_still_in_the_sum(local: LocalFederation, study: Study) -> None:
    link = LocalLink(local.sites(), {Moment(2, "confirm"): lost})
    outcome, result = local.run(link, study)
    assert outcome.status == "finished"
    assert {(out.site, out.step) for out in result.sites.left_out} >= {("cedar", "train confirm")}
    assert all(row.trained == ("alder", "birch", "cedar") for row in outcome.checkpoint.memory.rows)


def test_two_hospitals_lost_at_confirm_lose_the_round(local: LocalFederation, study: Study) -> None:
    """Two of three must confirm; nobody is asked to unmask what one confirmed."""
    faults = {Moment(node, "confirm"): lost for node in (1, 2)}
    link = LocalLink(local.sites(), faults)
    _, result = local.run(link, study)
    assert result.status != "finished"
    assert "survey confirm step: expected at least 2 hospitals, got 1" in result.because
    assert not [1 for _, request, _ in link.traffic if isinstance(read_request(request), Unmask)]


def test_too_few_hospitals_end_the_run_with_reasons_and_no_success(local: LocalFederation, study: Study) -> None:
    link = LocalLink(local.sites(), {Moment(0, "train", 2): lost, Moment(1, "train", 2): lost})
    recorder = Recorder()
    _, result = local.run(link, study, recorder=recorder)
    assert result.status == "stopped"
    assert "alder: no answer within 5 s" in result.because
    assert "--resume" not in result.because or result.rounds.count == 1
    assert {out.site for out in result.sites.left_out if out.round == 2} == {"alder", "birch"}


def test_sums_over_fewer_than_min_sites_are_never_opened(
    local: LocalFederation, changed: Callable[[str, str], Study]
) -> None:
    three = changed("min_sites = 2", "min_sites = 3")
    link = LocalLink(local.sites(), {Moment(0, "train"): lost})
    outcome, _ = local.run(link, three)
    assert outcome.status in ("stopped", "failed")
    assert outcome.checkpoint.memory.rows == ()


def test_an_exhausted_hospital_stops_and_the_run_goes_on_without_it(local: LocalFederation, private: Study) -> None:
    set_policy(local, "birch", "[privacy]\nepsilon_total = 7.5\n[aggregation]\nmin_cohort = 2\ncolluders = 0\n")
    _, result = local.run(LocalLink(local.sites()), private)
    assert result.sites.contributed == (("alder", "birch", "cedar"), ("alder", "cedar"))
    (out,) = result.sites.left_out
    assert (out.site, out.round, out.step) == ("birch", 2, "train")
    assert "privacy budget in all studies" in out.reason
    assert result.privacy["birch"].epsilon_run is not None
    assert result.privacy["birch"].epsilon_run <= 7.5
    assert result.privacy["alder"].epsilon_run == pytest.approx(8.0, abs=0.1)
    assert result.metrics is not None
    assert "birch" not in result.metrics.sites, "its policy shows no figures"


def test_every_budget_exhausted_ends_the_run_and_says_so(local: LocalFederation, private: Study) -> None:
    for name in ("alder", "birch", "cedar"):
        set_policy(local, name, "[privacy]\nepsilon_total = 7.5\n[aggregation]\nmin_cohort = 2\ncolluders = 0\n")
    outcome, _ = local.run(LocalLink(local.sites()), private)
    assert outcome.status == "stopped"
    assert outcome.because.count("privacy budget") == 3
    assert outcome.checkpoint.memory.round == 1


def test_a_policy_that_forbids_the_study_keeps_the_hospital_out_by_name(local: LocalFederation, study: Study) -> None:
    set_policy(local, "cedar", '[privacy]\nleast = "distributed"\n[aggregation]\nmin_cohort = 2\ncolluders = 0\n')
    _, result = local.run(LocalLink(local.sites()), study)
    assert result.status == "finished"
    assert result.sites.contributed == (("alder", "birch"),) * 2
    assert ("cedar", "join") in {(out.site, out.step) for out in result.sites.left_out}


def generous(local: LocalFederation) -> None:
    """Budgets that no repeated attempt exhausts."""
    for name in local.names:
        set_policy(
            local,
            name,
            "[privacy]\nepsilon_total = 100.0\nepsilon_per_study = 100.0\n"
            "[aggregation]\nmin_cohort = 2\ncolluders = 0\n",
        )


def of_rounds(study: Study, rounds: int) -> Study:
    """The study with so many rounds: its own ε pays for exactly as many, lost ones included."""
    return replace(study, training=replace(study.training, rounds=rounds))


def charges(local: LocalFederation, name: str, run: str) -> int:
    return len(Ledger(local.home(name).path / "ledger.sqlite").events(run))


def test_the_ledger_says_what_the_run_spent(local: LocalFederation, private: Study) -> None:
    outcome, result = local.run(LocalLink(local.sites()), private)
    sigma = noise_multiplier(private)
    assert sigma is not None
    ledger = Ledger(local.home("alder").path / "ledger.sqlite")
    assert ledger.events(outcome.checkpoint.memory.run) == (round_event(private, sigma),) * 2
    assert ledger.epsilon(1e-5) == rdp_epsilon([round_event(private, sigma)] * 2, 1e-5)
    assert result.privacy["alder"].epsilon_run == ledger.epsilon(1e-5) <= 8.0


def test_training_that_fails_was_charged_before_it_began(
    local: LocalFederation, private: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Outcome:
        raise SiteError("local training", expected="a GPU", got="none")

    monkeypatch.setattr(client.doing, "train_round", fail)
    generous(local)
    outcome, result = local.run(LocalLink(local.sites()), of_rounds(private, 3))
    run = outcome.checkpoint.memory.run
    assert (result.status, result.metrics) == ("failed", None)
    assert [charges(local, name, run) for name in local.names] == [3, 3, 3], "one charge for each attempt"


def test_a_lost_reply_stays_charged_and_a_lost_request_never_was(local: LocalFederation, private: Study) -> None:
    generous(local)
    link = LocalLink(local.sites(), {Moment(0, "train", 1): reply_lost, Moment(1, "train", 1): lost})
    outcome, _ = local.run(link, of_rounds(private, 3))
    run = outcome.checkpoint.memory.run
    assert [charges(local, name, run) for name in local.names] == [3, 0, 3]


def test_resume_goes_on_where_the_run_stopped(local: LocalFederation, changed: Callable[[str, str], Study]) -> None:
    study = changed("rounds = 2", "rounds = 4")
    broken = LocalLink(local.sites(), {Moment(node, "train", 3): lost for node in (0, 1, 2)})
    first, _ = local.run(broken, study)
    assert (first.status, first.checkpoint.memory.round) == ("stopped", 2)
    second, _ = local.run(LocalLink(local.sites()), study, resume=True)
    assert (second.status, second.checkpoint.memory.round) == ("finished", 4)
    assert [row.round for row in second.checkpoint.memory.rows] == [1, 2, 3, 4]
    attempts = [row.attempt for row in second.checkpoint.memory.rows]
    assert attempts == sorted(attempts)
    assert attempts[2] > 2_000_000, "a new start never uses an old attempt"


def test_a_folder_with_a_run_is_not_overwritten(local: LocalFederation, study: Study) -> None:
    local.run(LocalLink(local.sites()), study)
    with pytest.raises(InputError, match="--resume"):
        local.run(LocalLink(local.sites()), study)


def test_early_stopping_says_so(local: LocalFederation, changed: Callable[[str, str], Study]) -> None:
    study = changed("rounds = 2", "rounds = 30\nearly_stopping = 1")
    outcome, _ = local.run(LocalLink(local.sites()), study)
    assert outcome.status == "finished"
    assert outcome.checkpoint.memory.round < 30
    assert outcome.because.startswith("early stopping")


def test_nothing_that_leaves_holds_an_identity_and_the_audit_log_has_every_byte(
    local: LocalFederation, study: Study
) -> None:
    link = LocalLink(local.sites())
    local.run(link, study)
    replies = [(node, reply) for node, _, reply in link.traffic if reply is not None]
    secrets = _identities(Path(local.home("alder").config.archive))
    assert secrets
    for _, reply in replies:
        assert not any(secret in reply for secret in secrets)
    log = (local.home("alder").path / "audit.jsonl").read_text()
    assert not any(secret.decode() in log for secret in secrets)
    assert Audit(local.home("alder").path / "audit.jsonl").verify() > 0
    sent = {digest for line in log.splitlines() for digest in [json.loads(line).get("digest")] if digest}
    assert sent == {hashlib.sha256(reply).hexdigest() for node, reply in replies if node == 0}


def _identities(archive: Path) -> set[bytes]:
    found = set()
    for path in sorted(archive.rglob("*.dcm"))[:6]:
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        for name in ("PatientID", "PatientName", "SOPInstanceUID", "StudyInstanceUID"):
            value = str(header.get(name, ""))
            if len(value) > 4:
                found.add(value.encode())
    return found
