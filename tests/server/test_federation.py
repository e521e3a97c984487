from pathlib import Path

import pytest

from server.federation import create
from shared.crypto.identity import Identity, verify
from shared.errors import OperatorError, PeerError
from shared.study import MINIMAL, STUDY_LABEL, parse_study

KEYS = {name: Identity.generate().public for name in ("north", "south")}


def test_a_second_create_replaces_no_key(tmp_path: Path) -> None:
    first = create(tmp_path).root_public
    operator = (tmp_path / "operator.key").read_bytes()
    assert create(tmp_path).root_public == first
    assert (tmp_path / "operator.key").read_bytes() == operator
    assert (tmp_path / "root.key").stat().st_mode & 0o077 == 0


def test_the_roster_changes_only_when_the_hospitals_do(tmp_path: Path) -> None:
    federation = create(tmp_path)
    federation.enroll(KEYS)
    first = federation.signed_roster
    federation.enroll(KEYS)
    assert federation.signed_roster == first
    federation.enroll(KEYS | {"west": Identity.generate().public})
    assert federation.roster.version == 2
    assert federation.roster.identity("north") == KEYS["north"]


def test_an_invitation_is_signed_for_its_run(tmp_path: Path) -> None:
    federation = create(tmp_path)
    federation.enroll(KEYS)
    study = parse_study(MINIMAL)
    invitation = federation.invitation("run-1", study)
    operator = federation.roster.operator
    verify(operator, invitation.signature, STUDY_LABEL, b"run-1", study)
    with pytest.raises(PeerError):
        verify(operator, invitation.signature, STUDY_LABEL, b"run-2", study)


def test_a_lost_key_says_what_to_do(tmp_path: Path) -> None:
    federation = create(tmp_path)
    (tmp_path / "root.key").unlink()
    with pytest.raises(OperatorError, match="Restore it from a backup"):
        federation.enroll(KEYS)
