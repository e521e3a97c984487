"""What a hospital says and shows in the clear, kept only as far as an honest one's would go: it ends in reports."""

import math
import re

from server.text import printable
from shared.accounting import noise_multiplier, planned_steps
from shared.errors import PeerError
from shared.messages.shown import Shown, Spent
from shared.reasons import Reason
from shared.study import Study

#: Characters kept of a hospital's reason.
LONGEST_REASON = 500
#: A run that repeats this many times its planned steps is not one that Konsil conducts.
MOST_REPEATS = 100
_NAME = re.compile(r"[a-z0-9_]{1,64}")


def said(reason: str) -> str:
    """A hospital's words, of a length to keep, and never empty: an empty reason reads as none."""
    return printable(reason[: 2 * LONGEST_REASON], LONGEST_REASON) or "no reason given"


def check_shown(shown: Shown, study: Study) -> None:
    """Raise PeerError for figures that no honest hospital shows."""
    if not 0 <= shown.seconds < math.inf:
        raise PeerError("seconds shown", expected="a finite time", got=str(shown.seconds))
    if shown.spent is not None:
        _check_spent(shown.spent, study)
    own = shown.figures
    if own is not None and not (
        all(value is None or _is_shown(value, own.name) for value in (own.value, own.low, own.high))
        and 0 <= (own.positives or 0) <= own.n < 2**53
        and _NAME.fullmatch(own.name)
    ):
        raise PeerError("figures shown", expected="a figure, finite or none, and counts", got="others")
    counts = shown.counts or {}
    if not (set(counts) <= {"used", *Reason} and all(0 <= value < 2**53 for value in counts.values())):
        raise PeerError("counts shown", expected="files used and skipped, by reason", got="others")


def _is_shown(value: float, name: str) -> bool:
    """Whether a figure `name` can be so: an area is a share."""
    return 0 <= value <= 1 if name.endswith("_auc") else math.isfinite(value)


def _check_spent(spent: Spent, study: Study) -> None:
    """The ledger's figures are of this study's privacy, and finite."""
    sigma, most = noise_multiplier(study) or 0.0, MOST_REPEATS * planned_steps(study)
    if (spent.noise_multiplier, spent.delta) != (sigma, study.privacy.delta or 0.0) or not 0 <= spent.steps <= most:
        raise PeerError(
            "privacy shown", expected="the study's noise and delta, its steps", got="another noise, delta or step count"
        )
    told = (spent.epsilon_run, spent.epsilon_total or 0.0, spent.epsilon_alone or 0.0, spent.evaluation or 0.0)
    if not (all(0 <= epsilon < math.inf for epsilon in told) and spent.honest >= 1):
        raise PeerError("privacy shown", expected="a finite epsilon", got=f"{spent.epsilon_run}, {spent.epsilon_total}")
