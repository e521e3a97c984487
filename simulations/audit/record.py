"""`audit.json`: what an audit found, in records that only ever grow, and what is to be made of it.

Guarantees: a figure that does not exist is null; the page and the verdict are made from this record and nothing else.
"""

from pathlib import Path
from typing import Literal

import msgspec

from shared.files import write_atomically
from shared.wire import Record, read_json
from simulations.audit.guesses import Guesses
from simulations.audit.membership import Membership

#: Which noise honest hospitals added: what they promise, or, to see that the audit notices, none.
Noise = Literal["as promised", "none"]


class Canaries(Record, frozen=True):
    """The canary audit. ε are at `delta`: `asked` by the study, `accounted` as ledgers charge it, `tight` of the very
    curve that the guesses are held against; `empirical`, the largest that they prove with 95 % confidence, and
    `empirical_pair` the same from that one (ε, δ) alone. Noise in clips: `promised` and as `measured` in the sums."""

    mode: Literal["local", "distributed"]
    noise: Noise
    delta: float
    asked: float
    accounted: float
    tight: float
    noise_multiplier: float
    sampling_rate: float
    steps: int
    sites: int
    colluders: int
    canaries: int
    guesses: tuple[Guesses, ...]
    promised: float
    measured: float
    empirical: float
    empirical_pair: float
    contradicted: bool


class Audit(Record, frozen=True):
    """The whole of audit.json. `canaries` is None where the study promises nothing, `membership` where there is no
    final model; `notes` say why."""

    run: str
    study: str
    hash: str
    canaries: Canaries | None
    membership: Membership | None
    notes: tuple[str, ...]
    seconds: float
    versions: dict[str, str]
    version: int = 1

    @property
    def alarm(self) -> bool:
        """Whether something contradicts what the study promises."""
        return self.canaries is not None and self.canaries.contradicted


def headline(audit: Audit) -> str:
    """The verdict, in one line."""
    found = audit.canaries
    if found is None:
        return "no promise to audit: the study's privacy is off"
    said = f"empirical ε {found.empirical:.2f} (95 %) of {found.accounted:.2f} accounted"
    if not found.contradicted:
        return f"{said}: no contradiction"
    if found.noise == "none":
        return f"ALARM, as it must be without noise: {said}"
    return f"ALARM: {said}: the run was not as private as it said"


def said_of_membership(found: Membership) -> str:
    """What the attack on the final model came to, in one line."""
    rates = "; ".join(
        f"at {100 * rate.false:g} % false alarms {100 * rate.found:.1f} % found"
        f" ({100 * rate.low:.1f} to {100 * rate.high:.1f} %)"
        for rate in found.rates
    )
    return f"membership inference: AUC {found.auc:.3f} ({found.low:.3f} to {found.high:.3f}); {rates}"


def write_audit(audit: Audit, folder: Path, name: str = "audit") -> Path:
    """`folder`/audit.json, or another `name`, whole or not at all."""
    path = folder / f"{name}.json"
    write_atomically(path, msgspec.json.format(msgspec.json.encode(audit), indent=1) + b"\n")
    return path


def read_audit(path: Path) -> Audit:
    """An audit.json as a record. Raises OSError, or msgspec.DecodeError for a damaged one."""
    return read_json(path.read_bytes(), Audit)
