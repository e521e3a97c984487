"""Whose model does how well on whose patients: a row for each training, a column for each hospital.

Guarantees: nothing is computed here; a figure that the record does not hold is None; only simulations, which may show
every hospital's own figures, have more than the federation's row.
"""

from server.report.heads import head_of
from server.report.result import Baseline, Result
from shared.judged import Table


def cross_site(result: Result) -> Table | None:
    """The matrix of `result`: each hospital alone, all pooled, the federation; None without baselines."""
    if result.baselines is None or not result.baselines.alone:
        return None
    sites = tuple(result.baselines.alone)
    rows = [(f"{name} alone", *_row(own, sites)) for name, own in result.baselines.alone.items()]
    if result.baselines.pooled is not None:
        rows.append(("pooled in one place", *_row(result.baselines.pooled, sites)))
    rows.append(("federated", *(result.own[site].value if site in result.own else None for site in sites)))
    title = f"Across hospitals: {head_of(result).shown} of each model on each hospital's held-out patients"
    return Table(title, ("Trained", *sites), tuple(rows))


def _row(own: Baseline, sites: tuple[str, ...]) -> tuple[float | None, ...]:
    if own.each:
        return tuple(own.each[site].headline.value if site in own.each else None for site in sites)
    return tuple(own.sites[site].auc if site in own.sites else None for site in sites)
