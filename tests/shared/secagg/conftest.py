"""Five sites, any three of which answer, in either mode; and both ways to draw a key stream."""

import pytest

from shared.secagg import keystream
from tests.shared.secagg.rounds import ADVERSARIES, Rounds, rounds_of


@pytest.fixture(params=ADVERSARIES)
def case(request: pytest.FixtureRequest) -> Rounds:
    return rounds_of(5, request.param)


@pytest.fixture(params=[True, False], ids=["gcm", "ctr"])
def gcm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whichever is the faster here."""
    faster: bool = request.param
    monkeypatch.setattr(keystream, "_gcm_is_faster", lambda: faster)
    return faster
