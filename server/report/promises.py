"""What a run promised, to whom, against whom and on what that rests: for a data protection officer.

Guarantees: drawn from a `Result` alone; a promise that was not made is said to be none, and marked so; figures are
those of the hospital that spent most; an assumption is named with every promise.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from server.report.result import Result
from server.text import NONE, number, plural, power
from shared.noisy_sum import honest_of


@dataclass(frozen=True)
class Promise:
    """One row: `made` is false where nothing bounds what may be learnt about `whom`."""

    whom: str
    what: str
    against: str
    rests: str
    made: bool


def promises(result: Result) -> tuple[Promise, ...]:
    """To patients trained on, to patients held out, and to everybody counted."""
    return _trained(result), _held_out(result), _counted()


def _trained(result: Result) -> Promise:
    whom, privacy = "Patients whose images were trained on", result.study.text.privacy
    if privacy.mode == "off":
        return Promise(whom, "Nothing: differential privacy was off.", NONE, NONE, made=False)
    spent = _most(own.epsilon_run for own in result.privacy.values())
    what = f"ε of at most {number(spent, 2)} in this run, at δ {power(privacy.delta)}, for each, all images together."
    if privacy.mode == "local":
        return Promise(whom, what, _EVERYONE, _ALONE, made=spent is not None)
    colluders = result.study.text.aggregation.colluders
    against = f"Whoever holds the model; the coordinator; and with it up to {plural(colluders, 'other hospital')}."
    return Promise(whom, what, against, _shared(result), made=spent is not None)


_EVERYONE = "Everyone: the coordinator, all other hospitals, and whoever holds the model or this report."
_ALONE = "The hospital’s own Konsil: it adds all of the noise itself, whatever others do."


def least_honest(result: Result) -> int:
    """The fewest hospitals whose noise a step rested on: of those that trained, by their word; else by the study."""
    study = result.study.text
    told = [own.honest for own in result.privacy.values() if own.noise_multiplier is not None]
    return min(told, default=honest_of(study, study.federation.min_sites))


def _shared(result: Result) -> str:
    """What mode "distributed" assumes, and what is left without it."""
    honest = least_honest(result)
    text = (
        f"Secure aggregation, and {plural(honest, 'hospital')} in every sum, this one counted, that add their share of"
        " the noise as agreed and keep it to themselves."
    )
    alone = _most(own.epsilon_alone for own in result.privacy.values())
    return (
        f"{text} If no other hospital did, its own share alone would bound ε by {number(alone, 2)}." if alone else text
    )


def _held_out(result: Result) -> Promise:
    whom, price = "Patients held out to judge the model", result.evaluation
    if price is None:
        rests = "Masks: a hospital’s counts are seen in sums with others’ only. The sums are exact."
        return Promise(whom, "Nothing: evaluations carry no noise.", NONE, rests, made=False)
    each = (
        f"{number(own.epsilon, 2)} for those of the {name} ({plural(own.evaluations, 'evaluation')})"
        for name, own in price.splits.items()
    )
    told = _most(own.evaluation for own in result.privacy.values())
    ledgers = f" Hospitals’ ledgers charged up to {number(told, 2)}, sums asked for again included." if told else ""
    what = f"ε of {' and '.join(each)}, at δ {power(price.delta)}, for each, all images together.{ledgers}"
    return Promise(whom, what, _EVERYONE, _ALONE, made=True)


def _counted() -> Promise:
    """The survey's sums have no noise, in any mode."""
    what = "No ε: numbers of images, by split, label, brightness and reason of being left out, are exact sums."
    rests = "Masks: a hospital’s numbers are seen in sums with others’ only, and small ones of labels and bins as 0."
    return Promise("Everybody whose images were counted", what, NONE, rests, made=True)


def _most(figures: Iterable[float | None]) -> float | None:
    return max((figure for figure in figures if figure is not None), default=None)
