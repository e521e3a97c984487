"""A line of the coordinator's log of replies (server/receipts.py), which a hospital holds against its own audit log
(client/receipts.py)."""

from shared.wire import Record


class Receipt(Record, frozen=True):
    """One reply as the coordinator got it, noted before anything was done with it.

    `purpose` as in the hospital's audit log: "join", the plan's step, "confirm", "unmask", or "refusal".
    """

    at: str
    site: str
    run: str
    round: int
    purpose: str
    sha256: str
    bytes: int
    version: int = 1
