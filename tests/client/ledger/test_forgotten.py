from pathlib import Path

from client.audit import Audit
from client.ledger.forgotten import Forgotten, forgotten


def test_a_reservation_that_the_ledger_lacks_is_told(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit.jsonl")
    for round_ in range(3):
        audit.record("reserved", run="r", round=round_, plan=(bytes([round_]) * 32).hex())
        audit.record("answered", run="r", round=round_, plan=(bytes([round_]) * 32).hex())
    every = frozenset(bytes([round_]) * 32 for round_ in range(4))
    assert forgotten(audit.entries(), every) == ()
    (lost,) = forgotten(audit.entries(), every - {b"\x01" * 32})
    assert lost == Forgotten(line=3, at=lost.at, run="r", round=1)
    assert lost.at.startswith("20")
    assert forgotten(Audit(tmp_path / "none").entries(), frozenset()) == ()
