import msgspec
import pytest

from client.status_record import Budget, Status, Work, read_status
from shared.errors import SiteError

STATUS = Status(
    site="alder",
    taking_part=True,
    why_not="",
    node=None,
    node_heard_s=None,
    agent_since="",
    busy=None,
    last_message=Work(),
    last_round=Work(),
    budget=Budget(spent=0.0, limit=8.0, delta=1e-5),
    disk_free_gb=1.0,
    gpu="",
    software="",
)


def test_an_answer_is_read_back() -> None:
    assert read_status(msgspec.json.encode(STATUS)) == STATUS


@pytest.mark.parametrize("data", [b"", b"\xff", b'{"site":"alder"}', b"[" * 9000])
def test_another_answer_is_a_clear_error(data: bytes) -> None:
    with pytest.raises(SiteError, match="Restart the agent"):
        read_status(data)
