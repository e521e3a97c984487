"""What two sums of one run may not differ in, or their difference would be one hospital's part.

Rules, held in the file of client/rounds.py, in the transaction that lets something leave:
1. What was opened once over some survivors is not opened over others (`check_survivors`).
2. Which rounds count of which hospital, so from what it goes on (`TrainTask.counted`), is said once: the same to the
   end of a round, and later only of rounds that were not over then (`check_said`). Else the coordinator could ask
   for two sums between which one hospital alone goes on from something else.
3. A round counts of all whose updates its sum holds, or of none: whoever helped to open it knows them. Of itself a
   hospital need not know: a sum may have been opened anew without it. One that helped with a sum and whose part, but
   not help, was in another of that round over fewer refuses the rest of the run: it cannot tell that from an attack.

Rules 2 and 3 hold as long as masks do: so many hospitals help with every sum that one of those who did so twice is
honest (docs/protocol.md).
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.errors import PeerError

#: The name of sums that carry all their noise, drawn anew: what two of them differ in tells nothing.
NOISY = "noisy "
#: What was last said of `counted`, as JSON, in a task of `round`. A table of its own: files made before it grow it.
SAID = (
    "CREATE TABLE IF NOT EXISTS said (run TEXT PRIMARY KEY, round INTEGER NOT NULL, counted TEXT NOT NULL)"
    " WITHOUT ROWID"
)

#: By hospital, the last round that counts of it; of one that is not named, 0.
Counted = Mapping[str, int]


@dataclass(frozen=True)
class Topic:
    """What a plan's sum is about: its `name` ("survey", "evaluate 1", "train") and a digest of what is asked of it.

    One whose name begins with NOISY, or that has none, is about nothing that two sums could tell apart.
    """

    name: str = ""
    payload: bytes = b""


#: Of a sum that may be made again over others.
ANYTHING = Topic()


@dataclass(frozen=True)
class Said:
    """What a task says to the hospital `site` of rounds that count."""

    site: str
    counted: Counted


def check_survivors(db: sqlite3.Connection, plan: bytes, survivors: str) -> None:
    """Rule 1, for the sum of `plan` over `survivors`, as they are stored. Raises PeerError."""
    other = db.execute(
        "SELECT 1 FROM plan AS this JOIN plan AS before ON before.run = this.run AND before.topic = this.topic"
        " AND (before.round = this.round OR before.payload = this.payload)"
        " WHERE this.plan = ? AND this.topic != '' AND this.topic NOT LIKE ?"
        " AND before.plan != this.plan AND before.survivors != ?",
        (plan, f"{NOISY}%", survivors),
    ).fetchone()
    if other is not None:
        raise PeerError(
            "unmask request",
            expected="the survivors of the sum that was opened before",
            got="others",
            do="Two such sums would tell one hospital's part: wait for those survivors, or start a new run.",
        )


def check_said(db: sqlite3.Connection, run: str, round_: int, said: Said) -> None:
    """Rules 2 and 3, for what is `said` in a task of `round_`. Raises PeerError."""
    counted = said.counted
    row = db.execute("SELECT round, counted FROM said WHERE run = ?", (run,)).fetchone()
    if row is not None:
        _check_once(json.loads(row[1]), row[0], counted, round_)
    for earlier, survivors in _trained(db, run).items():
        behind = [name for name in survivors if name != said.site and counted.get(name, 0) < earlier]
        if earlier in counted.values() and behind:
            raise _refusal(f"round {earlier} to count of all whose sum it was", f"not of {', '.join(sorted(behind))}")
    if not all(0 <= last < round_ for last in counted.values()):
        raise _refusal(f"rounds before {round_}", "others")


def note_said(db: sqlite3.Connection, run: str, round_: int, said: Said) -> None:
    """Remember it. The caller holds the transaction of `check_said`."""
    db.execute("INSERT OR REPLACE INTO said VALUES (?, ?, ?)", (run, round_, json.dumps(dict(said.counted))))


def last_counted(db: sqlite3.Connection, run: str, site: str) -> int:
    """The last round that counts of `site`, as far as is known here: said, or helped to open. 0 for none."""
    row = db.execute("SELECT counted FROM said WHERE run = ?", (run,)).fetchone()
    said = json.loads(row[0]).get(site, 0) if row is not None else 0
    return max([int(said), *(round_ for round_, survivors in _trained(db, run).items() if site in survivors)])


def _check_once(before: Counted, said_in: int, counted: Counted, round_: int) -> None:
    for name in before.keys() | counted.keys():
        earlier, now = before.get(name, 0), counted.get(name, 0)
        if now != earlier and (round_ == said_in or now < said_in):
            raise _refusal(f"round {earlier} or one from {said_in} on to count of {name}", str(now))


def _trained(db: sqlite3.Connection, run: str) -> dict[int, Sequence[str]]:
    """Whose updates the sums hold that this hospital helped to open, by round; of several in one round the last."""
    rows = db.execute(
        "SELECT round, survivors FROM plan WHERE run = ? AND topic LIKE '%train' AND survivors IS NOT NULL"
        " ORDER BY attempt",
        (run,),
    )
    return {round_: json.loads(survivors) for round_, survivors in rows}


def _refusal(expected: str, got: str) -> PeerError:
    do = "Two such sums would tell one hospital's part: say what was said before, or start a new run."
    return PeerError("train task: counted", expected=expected, got=got, do=do)
