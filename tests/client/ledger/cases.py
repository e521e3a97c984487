"""What the tests of the ledger share: tiny patients, events, purposes, and the naive way to work a ledger out."""

from collections.abc import Iterable, Sequence

from client.ledger import Limits, Purpose, What
from shared.accounting import Event, SampledGaussian, rdp_epsilon

DELTA = 1e-5
EVENT = SampledGaussian(sampling_rate=0.1, noise_multiplier=1.5, steps=20)
WIDE = Limits(epsilon_total=1e9, epsilon_per_study=1e9, delta=DELTA)


def purpose(round_: int, study: str = "s", run: str = "r", plan: bytes | None = None, what: What = "train") -> Purpose:
    name = f"{study}/{run}/{round_}/{what}".encode()
    return Purpose(plan or name.ljust(32), study, study.encode().ljust(32), run, round_, what)


def patients(start: int, stop: int) -> list[bytes]:
    return [number.to_bytes(32, "big") for number in range(start, stop)]


#: One charge as asked for: whom, what, what for.
Asked = tuple[Sequence[bytes], Event, Purpose]


def oracle(asked: Iterable[Asked], delta: float = DELTA, *, of: Sequence[bytes] | None = None) -> float:
    """Largest ε over the patients (over `of` only), each patient's events put together anew."""
    charged = list(asked)
    everybody = {patient for some, _, _ in charged for patient in some} if of is None else {*of}
    each = ([event for some, event, _ in charged if patient in some] for patient in everybody)
    return max((rdp_epsilon(events, delta) for events in each), default=0.0)
