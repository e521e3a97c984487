"""What people read of a study before they decide: all that leaves; and a study that is meant to choke its reader."""

from pathlib import Path

import pytest

from client.approvals import Asked
from client.explain import explain
from client.ledger import Ledger
from client.policy import Policy
from shared.study import MINIMAL, parse_study

#: Valid, and kept for approval: as many rounds as 64 bits hold by far, at a rate that leaves noise enough.
ENDLESS = parse_study(
    MINIMAL.replace("rounds = 2", "rounds = 1000000000000000")
    .replace("local_steps = 2", "local_steps = 1")
    .replace('mode = "off"', 'mode = "local"\nepsilon = 1e8\ndelta = 1e-5\nclip = 1.0\nsampling_rate = 1e-9')
)


def test_a_study_of_endless_rounds_is_explained(tmp_path: Path) -> None:
    """What its rounds cost is one product, not a list as long."""
    asked = Asked(study=ENDLESS, operator=b"o" * 32, run="r", sites=("alder",), at="2026-01-01T00:00:00Z")
    explained = explain(asked, Policy(), Ledger(tmp_path / "ledger.sqlite"))
    assert any(not rule.holds for rule in explained.rules)


def lines(tmp_path: Path, text: str) -> str:
    """What a hospital reads of the study `text`: what it does, what leaves, what stays."""
    asked = Asked(study=parse_study(text), operator=b"o" * 32, run="r", sites=("alder",), at="2026-01-01T00:00:00Z")
    found = explain(asked, Policy(), Ledger(tmp_path / "ledger.sqlite"))
    return "\n".join((*found.does, *found.leaves, "never leaves:", *found.stays))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("[evaluation]\ntest = 0.3\n", "Holds 30% of patients out for the test, 15% to choose."),
        # of a fold a half is the test, whatever `test` says, and `validation` is of the rest
        (
            "[evaluation]\nfolds = 2\nfold = 1\nvalidation = 0.2\n",
            "Holds 50% of patients (part 2 of 2) out for the test, 10% to choose.",
        ),
        (
            '[evaluation]\nsubgroups = ["sex", "age"]\n',
            "how well the model does on held-out patients, also by their sex, age where enough of them share it.",
        ),
    ],
)
def test_who_is_held_out_and_by_what_they_are_counted_is_said(tmp_path: Path, asked: str, said: str) -> None:
    assert said in lines(tmp_path, MINIMAL + asked)


def test_figures_of_the_images_in_a_model_are_told(tmp_path: Path) -> None:
    standard = MINIMAL.replace('name = "cnn"', 'name = "scattering"\n[model.options]\nstandardise = 1')
    assert "exact: the mean of each statistic of this hospital's training images" in lines(tmp_path, standard)
    assert "each statistic" not in lines(tmp_path, MINIMAL)


@pytest.mark.parametrize(
    ("personal", "stays"),
    [
        ("all", "This hospital's own model, beside the common one."),
        ("head", "This hospital's own weights of head, but for their part in the masked sum: their mean is public."),
    ],
)
def test_what_is_a_hospitals_own_stays_as_far_as_it_does(tmp_path: Path, personal: str, stays: str) -> None:
    text = MINIMAL.replace("min_sites = 2", f'min_sites = 2\npersonal = ["{personal}"]')
    assert stays in lines(tmp_path, text).partition("never leaves:")[2]
