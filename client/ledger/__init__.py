"""The privacy ledger of a hospital: what its patients were exposed to, reserved before it is used (ledger.py)."""

from client.ledger.ledger import Ledger, archive_tag
from client.ledger.records import Limits, Line, Promise, Purpose, What
from client.ledger.statement import Statement

__all__ = ["Ledger", "Limits", "Line", "Promise", "Purpose", "Statement", "What", "archive_tag"]
