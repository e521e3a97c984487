"""Whether the federation beats its best member, and for whom the model does worse than for all: for any headline.

Guarantees: which figure is better is the figure's own word; where a gap may be chance, that is said; a subgroup is
named only if its whole interval is worse than the figure of all.
"""

from server.report.finding import Finding
from server.report.heads import baseline_head, better_end, head_of, named, worse_end
from server.report.result import Result
from server.text import number, span
from shared.judged import goodness


def comparison(result: Result, contributing: tuple[str, ...]) -> Finding:
    """Whether the federation beats its best member; `contributing` are the hospitals in any round's sum."""
    ours = head_of(result)
    if ours.value is None:
        return Finding("bad", f"The model was not judged: there is no {named(ours)} on held-out patients.")
    alone = result.baselines.alone if result.baselines else {}
    known = {site: baseline_head(own) for site, own in alone.items() if baseline_head(own).value is not None}
    if not known:
        return Finding("note", "Whether the federation beats its best member is not known: no baselines were trained.")
    best = max(known, key=lambda site: goodness(known[site]))
    against = f"{named(ours)} {number(ours.value)} against {number(known[best].value)} of {best} alone"
    absent = [site for site in contributing if site not in known]
    unknown = f" Without a baseline: {', '.join(absent)}." if absent else ""
    if goodness(ours) <= goodness(known[best]):
        return Finding("bad", f"The federation does not beat its best member: {against}.{unknown}")
    if goodness(known[best]) >= worse_end(ours):
        chance = "the gap lies within the federation's 95 % interval, so chance is not ruled out"
        return Finding("note", f"The federation beats its best member: {against}; {chance}.{unknown}")
    return Finding("note" if absent else "good", f"The federation beats its best member: {against}.{unknown}")


def subgroups(result: Result) -> Finding | None:
    """The subgroups for whom the model is worse than for all, beyond chance; None where there are none."""
    ours = head_of(result)
    heads = {name: judged.headline for name, judged in result.groups.items() if judged.headline.value is not None}
    worse = {name: head for name, head in heads.items() if better_end(head) < goodness(ours)}
    if ours.value is None or not worse:
        return None
    items = tuple(f"{name}: {number(head.value)} ({span(head.low, head.high)})" for name, head in worse.items())
    level = "bad" if any(better_end(head) < worse_end(ours) for head in worse.values()) else "note"
    text = (
        f"For some patients the model is worse than for all, beyond chance: {named(ours)} {number(ours.value)} of all."
    )
    return Finding("bad" if level == "bad" else "note", text, items)
