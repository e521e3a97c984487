"""The figure that speaks for a study, as people who watch its run read it.

>>> called(headline_of(parse_study(MINIMAL)))
'AUC'
"""

from shared.judged import Figure
from shared.study import Study
from shared.tasks.registry import kind_of


def headline_of(study: Study) -> Figure:
    """The headline of the study's kind of task, without a value."""
    kind = kind_of(study)
    return kind.judge([0] * kind.counts).headline


def called(figure: Figure) -> str:
    """Its name where there is little room, with its unit."""
    if figure.name == "stratified_auc":
        return "AUC"
    return f"{figure.shown} ({figure.unit})" if figure.unit else figure.shown
