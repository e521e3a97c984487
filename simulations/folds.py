"""Cross-validation over the federation: every patient of every hospital is held out once.

Guarantees: folds are made by patients, by the hospitals' own keyed hashes, so that no patient is trained on and judged
in one fold, and nobody but the hospital knows who is in which; all folds use the same homes, so the folds part the
patients; what all folds together tell of a patient stays within the study's ε. Figures of all folds together come from
the sums of their counts; how far apart the folds lie says more of chance than any interval of one of them.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from server.report.result import Result, read_result
from server.run import read_counts
from server.search.budget import share_of
from shared.errors import InputError, OperatorError
from shared.judged import Judged
from shared.study import Study, study_hash
from shared.tasks.registry import kind_of


@dataclass(frozen=True)
class Folds:
    """`each`: a fold's figures on its own held-out patients; `together`: of all patients, each judged once."""

    each: tuple[Judged, ...]
    together: Judged

    @property
    def spread(self) -> float:
        """Standard deviation of the headline over the folds; nan of fewer than two figures."""
        known = [one.headline.value for one in self.each if one.headline.value is not None]
        return statistics.stdev(known) if len(known) > 1 else float("nan")


def fold_study(study: Study, folds: int, fold: int) -> Study:
    """`study` for one of `folds`: its name says which. A patient is in training in all folds but its own, and each fold
    may spend so much that all together spend the study's ε."""
    each = share_of(study, folds)
    name = f"{study.name[:54]}-fold-{fold + 1}"
    return replace(each, name=name, evaluation=replace(study.evaluation, folds=folds, fold=fold))


def cross_validate(study: Study, folds: int, out: Path, run: Callable[[Study, Path], Result]) -> Folds:
    """Run every fold of `study`, in folders of `out`; `run` makes one run. A fold that ended is not run again.
    Raises InputError where a folder holds the run of another study, or of other folds."""
    for fold in range(folds):
        folder, wanted = out / f"fold-{fold + 1}", fold_study(study, folds, fold)
        if not (folder / "counts.json").exists():
            run(wanted, folder)
        _check_same(folder, wanted)
    kind = kind_of(study)
    counts = [held_out(out / f"fold-{fold + 1}") for fold in range(folds)]
    together = kind.judge([sum(values) for values in zip(*counts, strict=True)])
    return Folds(tuple(kind.judge(own) for own in counts), together)


def held_out(folder: Path) -> tuple[int, ...]:
    """Summed counts of the test patients of the fold in `folder`. Raises OperatorError for one that was not judged:
    without its patients, figures of all folds together would not be of all patients."""
    counts = read_counts(folder).test
    if not counts:
        do = "See its result.json for the reason; delete the folder and run it again."
        raise OperatorError(str(folder), expected="figures of held-out patients", got="none", do=do)
    return counts


def _check_same(folder: Path, wanted: Study) -> None:
    """Folds are added up: each must be of the one study, and of as many parts."""
    found = read_result(folder / "result.json").study
    if found.hash != study_hash(wanted).hex():
        told = found.text.evaluation
        raise InputError(
            str(folder),
            expected=f"fold {wanted.evaluation.fold + 1} of {wanted.evaluation.folds} of this study",
            got=f"a run of {found.name!r}, fold {told.fold + 1} of {told.folds}",
            do="Name another folder with --out.",
        )
