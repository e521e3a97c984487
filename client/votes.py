"""A hospital's vote on a round: is the new model worse than the one before, on its own validation patients?

Worse is by more than TOLERANCE, and beyond chance: the whole 95 % interval of the difference on the same patients
(client/standing.py) must lie there. The interval is against the chance of few patients, for whom an honest round often
looks worse; the tolerance against that of training, whose every step moves a model a little, which many patients would
prove. A hospital abstains that has fewer than FEWEST validation patients, whose patients are not those of before, or
that cannot know that others judged the model before as well (client/doing.py). What models were worth here is
remembered by their digests. The vote leaves masked, as one of a sum (`shared.evaluated.Evaluated`).
"""

from pathlib import Path
from typing import NamedTuple

import msgspec

from client.standing import Standing, difference
from shared.errors import SiteError
from shared.files import write_atomically
from shared.wire import Record, read_json

#: How much worse the new model must be at least, as a share of the figure before. Public, the same everywhere.
TOLERANCE = 0.05
#: Validation patients of a hospital that votes: of fewer it would find a ruined model in less than half of all cases,
#: and its votes would only keep others from taking the round back.
FEWEST = 10
#: Models that are remembered of a run.
REMEMBERED = 8


class Vote(NamedTuple):
    """`harmful` 0 or 1 of `votes` 0 or 1."""

    harmful: int = 0
    votes: int = 0


class _Known(Record, frozen=True):
    """Standings by digest of the model, in hex, oldest first."""

    standings: dict[str, Standing] = msgspec.field(default_factory=dict)
    version: int = 1


def vote(now: Standing, *, before: Standing) -> Vote:
    """On the model that is worth `now` what another was worth `before`; nothing of `before` without a value."""
    earlier = before.figure.value
    if earlier is None or now.whose != before.whose or now.patients < FEWEST:
        return Vote()
    if now.figure.value is None:  # of the same patients: the model gives no numbers any more
        return Vote(1, 1)
    found = difference(now, before)
    return Vote() if found is None else Vote(int(found.high < -TOLERANCE * abs(earlier)), 1)


class Votes:
    """What models were worth here in one run, in the file at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on(self, model: bytes, standing: Standing, before: bytes) -> Vote:
        """The vote on `model`, of that `standing`, against the model `before` (digests, empty for no vote); remembers
        `standing`. Raises SiteError where `before` is forgotten: others' votes alone would be fewer than they seem."""
        known = self._known()
        if before and before.hex() not in known:
            raise SiteError(
                "vote",
                expected="to remember what the model before was worth here",
                got=f"only {len(known)} later ones",
                do="An honest coordinator compares with the last round that counts. Say so to the consortium.",
            )
        self._remember(known, model.hex(), standing)
        return vote(standing, before=known[before.hex()]) if before else Vote()

    def _known(self) -> dict[str, Standing]:
        if not self._path.is_file():
            return {}
        try:
            return read_json(self._path.read_bytes(), _Known).standings
        except msgspec.DecodeError as error:
            raise SiteError(
                str(self._path), expected="what earlier models were worth", got=str(error), do="Delete it."
            ) from None

    def _remember(self, known: dict[str, Standing], model: str, standing: Standing) -> None:
        kept = {name: value for name, value in known.items() if name != model}
        kept = dict(list(kept.items())[1 - REMEMBERED :]) | {model: standing}
        write_atomically(self._path, msgspec.json.encode(_Known(standings=kept)), mode=0o600)
