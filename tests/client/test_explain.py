"""A study whose figures are meant to choke whoever reads it."""

from pathlib import Path

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
