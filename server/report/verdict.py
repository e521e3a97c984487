"""What a steering group must know before it reads on: findings drawn from a `Result`, and nothing else.

Guarantees: a hospital that missed any round or any step is named; a run that stopped or failed, privacy that was
off or not recorded, and a federation that does not beat its best member are findings of level "bad"; what is not
known is said to be unknown.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from server.report import compared
from server.report.finding import Finding, Level
from server.report.promises import least_honest
from server.report.result import Result, SitePrivacy
from server.text import number, plural, power, ranges

#: reasons shown per hospital in the verdict; all of them stand under participation
_REASONS = 2
#: hospitals with their reasons in the verdict, the most absent first; the others are named with a count
_DETAILED = 6


@dataclass(frozen=True)
class Absence:
    """Why one hospital was missing from one kind of step, in which rounds."""

    site: str
    step: str
    reason: str
    rounds: str


def hospitals(result: Result) -> tuple[str, ...]:
    """Every hospital expected, then any other that the rounds name."""
    seen = {site for row in result.rounds.each for site in (*row.trained, *row.evaluated)}
    seen |= {gone.site for gone in result.sites.left_out}
    return (*result.sites.expected, *sorted(seen - set(result.sites.expected)))


def rounds_trained(result: Result, site: str) -> tuple[int, ...]:
    """The rounds whose sum holds an update of `site`."""
    return tuple(row.round for row in result.rounds.each if site in row.trained)


def contributing(result: Result) -> tuple[str, ...]:
    """Hospitals in at least one round's sum."""
    return tuple(site for site in hospitals(result) if rounds_trained(result, site))


def absences(result: Result) -> tuple[Absence, ...]:
    """Every reason recorded and every round missed without one, by hospital."""
    grouped: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for gone in result.sites.left_out:
        grouped[gone.site, gone.step, gone.reason].append(gone.round)
    for site in hospitals(result):
        for place, why in _unexplained(result, site):
            grouped[site, "train", why].append(place)
    order = {site: place for place, site in enumerate(hospitals(result))}
    rows = [(order[site], min(rounds), site, step, why, rounds) for (site, step, why), rounds in grouped.items()]
    return tuple(Absence(site, step, why, _when(rounds)) for _, _, site, step, why, rounds in sorted(rows))


def _unexplained(result: Result, site: str) -> Iterator[tuple[int, str]]:
    """Rounds that `site` missed without a reason of their own."""
    explained = {gone.round for gone in result.sites.left_out if gone.site == site}
    first = min((row.round for row in result.rounds.each), default=0)
    since = max((place for place in explained if place < first), default=None)
    for row in result.rounds.each:
        if row.round in explained:
            since = row.round
        elif site in row.trained:
            since = None
        else:
            yield row.round, "no reason recorded" if since is None else f"not back since {_when([since])}"


def _when(rounds: Sequence[int]) -> str:
    text = ranges(place for place in rounds if place > 0)
    named = f"round{'s' * (len(set(rounds)) > 1)} {text}" if text else ""
    return named if min(rounds) > 0 else "the start" if not text else f"the start, {named}"


def findings(result: Result) -> tuple[Finding, ...]:
    """All findings, the bad ones first."""
    found = [
        _ending(result),
        _open(result),
        _missing(result),
        _privacy(result),
        comparison(result),
        compared.subgroups(result),
    ]
    if _is_survey(result):
        found = [_ending(result), _surveyed(result)]
    present = [finding for finding in found if finding is not None]
    return tuple(sorted(present, key=lambda finding: ("bad", "note", "good").index(finding.level)))


def _open(result: Result) -> Finding | None:
    """That nothing hid a hospital's update from the coordinator, where that is so."""
    study = result.study.text
    if study.aggregation.adversary != "none" or not result.rounds.each:
        return None
    why = f"no masks (aggregation.adversary = “none”), for {study.federation.strategy} compares single updates"
    return Finding("bad", f"The coordinator saw each hospital's own update in every round: {why}.")


def _is_survey(result: Result) -> bool:
    """Whether the run was for the survey only, and has one."""
    return result.purpose == "survey" and result.survey is not None


def _surveyed(result: Result) -> Finding:
    """Whose images the survey holds; nothing was trained, so nothing else is to be judged."""
    gone = absences(result)
    everybody = hospitals(result)
    names = [site for site in everybody if any(a.site == site for a in gone)]
    if not names:
        return Finding("good", f"The survey holds the images of all {plural(len(everybody), 'hospital')}.")
    items = tuple(f"{a.site}, {a.step}: {a.reason}" for a in gone)
    return Finding("bad", f"{len(names)} of {plural(len(everybody), 'hospital')} were missing from a step.", items)


def headline(result: Result) -> str:
    """The verdict in one line."""
    if _is_survey(result):
        return "The survey is done; nothing was trained"
    bad = sum(finding.level == "bad" for finding in findings(result))
    ending = {"finished": "The run finished", "stopped": "The run stopped early", "failed": "The run failed"}
    if bad:
        return f"{ending[result.status]}: {plural(bad, 'finding')} to settle before this model is used"
    return f"{ending[result.status]}, and every hospital took part in every round"


def _ending(result: Result) -> Finding | None:
    planned, done = result.study.text.training.rounds, result.rounds.count
    why = result.because or "no reason recorded"
    if result.status == "finished" and not result.because:
        short = done < planned
        text = f"{done} of {plural(planned, 'planned round')} were run{', and the record does not say why' * short}."
        return Finding("bad", text) if short else None
    verb = {"finished": "finished", "stopped": "stopped early", "failed": "failed"}[result.status]
    level: Level = "note" if result.status == "finished" else "bad"
    return Finding(level, f"The run {verb} after {done} of {plural(planned, 'round')}: {why}")


def _missing(result: Result) -> Finding:
    gone = absences(result)
    done = len(result.rounds.each)
    if not done:
        recorded = tuple(f"{a.site}, {a.step}: {a.reason}" for a in gone)
        return Finding("bad", "No round was completed: no hospital contributed.", recorded)
    names = [site for site in hospitals(result) if any(a.site == site for a in gone)]
    if not names:
        return Finding("good", f"All {plural(len(hospitals(result)), 'hospital')} took part in every round.")
    names.sort(key=lambda site: len(rounds_trained(result, site)))
    items = [_why(result, site, gone) for site in names[:_DETAILED]]
    if names[_DETAILED:]:
        rest = (f"{site} ({len(rounds_trained(result, site))} of {done})" for site in names[_DETAILED:])
        items.append(f"also, with the reasons under “Who took part”: {', '.join(rest)}")
    text = f"{len(names)} of {plural(len(hospitals(result)), 'hospital')} did not take part in everything."
    return Finding("bad", text, tuple(items))


def _why(result: Result, site: str, gone: Sequence[Absence]) -> str:
    reasons = [f"{a.rounds}, {a.step}: {a.reason}" for a in gone if a.site == site]
    hidden = len(reasons) - _REASONS
    more = f"; and {plural(hidden, 'more reason')} under “Who took part”" if hidden > 0 else ""
    trained = len(rounds_trained(result, site))
    share = f"trained in {trained} of {plural(len(result.rounds.each), 'round')}" if trained else "is in no round's sum"
    return f"{site} {share}. Left out: {'; '.join(reasons[:_REASONS])}{more}"


def _privacy(result: Result) -> Finding | None:
    asked = result.study.text.privacy
    spenders = tuple(site for site in hospitals(result) if site in result.privacy or rounds_trained(result, site))
    unsafe: list[str] = []
    for site in spenders:
        own = result.privacy.get(site)
        if own is None or (own.mode != "off" and own.epsilon_run is None):
            unsafe.append(f"{site}: no figure recorded")
        elif own.mode == "off":
            unsafe.append(f"{site}: off")
        elif _over(own, asked.epsilon, asked.delta):
            spent = f"ε {number(own.epsilon_run, 2)} at δ {power(own.delta)}"
            unsafe.append(f"{site}: spent {spent}, more than the study's {asked.epsilon:g} at {power(asked.delta)}")
        if own is not None and _over_judged(result, own):
            unsafe.append(f"{site}: held-out patients spent ε {number(own.evaluation, 2)}, more than the study's")
    if asked.mode == "off" or (unsafe and all(item.endswith(": off") for item in unsafe)):
        where = "at every hospital" if len(unsafe) == len(spenders) else f"at {plural(len(unsafe), 'hospital')}"
        text = f"Differential privacy was off {where}: nothing bounds what the model gives away about a patient."
        return Finding("bad", text, tuple(unsafe) if len(unsafe) < len(spenders) else ())
    if unsafe:
        text = f"Privacy does not hold as the study promises at {plural(len(unsafe), 'hospital')}."
        return Finding("bad", text, tuple(unsafe))
    if not spenders:
        return None
    most = max(own.epsilon_run or 0.0 for own in result.privacy.values())
    text = (
        f"Every patient trained on is protected: this run spent at most ε {number(most, 2)} at δ {power(asked.delta)}"
    )
    return Finding("good", f"{text}{_if_honest(result)}.")


def _if_honest(result: Result) -> str:
    """On whom the promise rests besides the hospital itself."""
    if result.study.text.privacy.mode != "distributed":
        return ""
    honest = least_honest(result)
    return f", if {plural(honest, 'hospital')} in every sum add their noise as agreed"


def _over_judged(result: Result, own: SitePrivacy) -> bool:
    allowed = result.study.text.evaluation.epsilon
    return allowed is not None and (own.evaluation or 0.0) > allowed * (1 + 1e-9)


def _over(own: SitePrivacy, epsilon: float | None, delta: float | None) -> bool:
    too_much = epsilon is not None and (own.epsilon_run or 0.0) > epsilon * (1 + 1e-9)
    return too_much or (delta is not None and (own.delta is None or own.delta > delta))


def comparison(result: Result) -> Finding:
    """Whether the federation beats its best member."""
    return compared.comparison(result, contributing(result))
