"""A hospital's vote on a round: is the new model worse than the one before, on its own validation patients?

The figures that models had here are remembered by the models' digests. A hospital that holds no validation patients, or
never saw the model before, abstains. The vote leaves masked, as one of a sum (`shared.evaluated.Evaluated`).

    >>> is_worse(Figure("auc", 0.70, "AUC"), before=Figure("auc", 0.80, "AUC"))
    True
"""

from pathlib import Path
from typing import NamedTuple

import msgspec

from shared.errors import SiteError
from shared.files import write_atomically
from shared.judged import Figure, goodness
from shared.wire import Record, read_json

#: How much worse the new model must be, as a share of the figure before, to be called harmful. Public, the same
#: everywhere: a few patients' figure moves by less than that from round to round where nothing is wrong.
TOLERANCE = 0.05
#: Models whose figures are remembered of a run.
REMEMBERED = 8


class Vote(NamedTuple):
    """`harmful` 0 or 1 of `votes` 0 or 1."""

    harmful: int = 0
    votes: int = 0


class _Known(Record, frozen=True):
    """Figures by digest of the model, in hex, oldest first."""

    figures: dict[str, Figure] = msgspec.field(default_factory=dict)
    version: int = 1


def is_worse(now: Figure, *, before: Figure) -> bool:
    """Whether `now` is worse by more than TOLERANCE of what was `before`."""
    return goodness(now) < goodness(before) - TOLERANCE * abs(before.value or 0.0)


class Votes:
    """What models were worth here in one run, in the file at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on(self, model: bytes, figure: Figure, before: bytes) -> Vote:
        """The vote on `model`, whose figure is `figure`, against the model `before` (digests); remembers `figure`."""
        known = self._known()
        earlier = known.get(before.hex()) if before else None
        self._remember(known, model.hex(), figure)
        if earlier is None or earlier.value is None:
            return Vote()
        return Vote(int(is_worse(figure, before=earlier)), 1)

    def _known(self) -> dict[str, Figure]:
        if not self._path.is_file():
            return {}
        try:
            return read_json(self._path.read_bytes(), _Known).figures
        except msgspec.DecodeError as error:
            raise SiteError(
                str(self._path), expected="figures of earlier models", got=str(error), do="Delete it."
            ) from None

    def _remember(self, known: dict[str, Figure], model: str, figure: Figure) -> None:
        kept = {name: value for name, value in known.items() if name != model}
        kept = dict(list(kept.items())[1 - REMEMBERED :]) | {model: figure}
        write_atomically(self._path, msgspec.json.encode(_Known(figures=kept)), mode=0o600)
