"""What a model card must say against its model: what was not measured, not promised, or rests on little.

Guarantees: drawn from a `Result` alone, one rule a function; a rule that finds nothing says nothing; what nobody can
know from a run (how good it is elsewhere) is said of every model.
"""

from collections.abc import Callable, Iterator

from server.report import verdict
from server.report.result import Result
from server.text import number, percent, plural

#: Fewer held-out or training images than these are called few, a smaller share of the training images rare.
FEW, FEW_OF_A_LABEL, RARE = 100, 50, 0.05

Rule = Callable[[Result], Iterator[str]]


def limits(result: Result) -> tuple[str, ...]:
    """In plain sentences."""
    return tuple(sentence for rule in _RULES for sentence in rule(result))


def _elsewhere(result: Result) -> Iterator[str]:
    del result
    yield (
        "No external validation: every figure is of patients of the hospitals that trained it. At another hospital, on"
        " another scanner, it may be worse."
    )


def _ended(result: Result) -> Iterator[str]:
    if result.status != "finished":
        yield f"The run {result.status} before its last round. {result.because}".strip()
    if result.judged is None and result.metrics is None:
        yield "It was never judged on held-out patients: nothing is known of how good it is."


def _little(result: Result) -> Iterator[str]:
    judged = result.judged
    if judged is not None and judged.images < FEW:
        yield f"It was judged on {plural(judged.images, 'held-out image')} only."
    if judged is not None and judged.headline.value is not None and judged.headline.low is None:
        yield f"{judged.headline.shown} has no interval: how far chance moves it is not known."
    if judged is not None and judged.headline.value is None:
        yield f"{judged.headline.shown} could not be formed from the held-out patients."


def _rare(result: Result) -> Iterator[str]:
    survey = result.survey
    if survey is None:
        yield "How often each label stood among the training images was not counted."
        return
    total, least = sum(survey.labels.values()), "at least " if survey.hidden_labels else ""
    for label, count in survey.labels.items():
        if count < FEW_OF_A_LABEL or count < RARE * total:
            yield f"Few training images have {label}: {least}{count} of {least}{total}."
    if survey.hidden_labels:
        yield f"Hospitals kept back counts of {plural(survey.hidden_labels, 'label')} that rest on few patients."


def _groups(result: Result) -> Iterator[str]:
    asked = result.study.text.evaluation.subgroups
    missing = [name for name in ("sex", "age", "manufacturer") if name not in asked]
    if missing:
        yield f"Not measured by {', '.join(missing)}: whether it is worse for some of them is not known."
    for name, judged in result.groups.items():
        if judged.headline.value is None:
            yield f"No figure for {name}."
    if kept := [name for name, sites in result.hidden.items() if sites]:
        yield f"Hospitals kept back what rests on few patients of {', '.join(kept)}: these figures lack them."


def _compared(result: Result) -> Iterator[str]:
    if result.baselines is None:
        yield "Not compared with models that hospitals trained alone, nor with all images in one place."
    if not result.own and not (result.metrics and result.metrics.sites):
        yield "No hospital showed its own figures: how much it differs between them is not known."


def _absent(result: Result) -> Iterator[str]:
    there = verdict.contributing(result)
    if gone := [site for site in result.sites.expected if site not in there]:
        yield f"Of {plural(len(result.sites.expected), 'hospital')} expected, {', '.join(gone)} trained in no round."


def _private(result: Result) -> Iterator[str]:
    study = result.study.text
    if study.privacy.mode == "off":
        yield "Differential privacy was off: nothing bounds what the weights tell of one patient who was trained on."
    if study.aggregation.adversary == "none":
        yield "Updates were not masked: the coordinator saw each hospital’s own."
    elif study.aggregation.adversary == "semi-honest":
        yield "Masks held against a coordinator that follows the protocol, not against one that lies."
    if study.aggregation.colluders == 0 and study.aggregation.adversary != "none":
        yield "Masks were not meant to hold against a coordinator that works with one of the hospitals."


def _own(result: Result) -> Iterator[str]:
    personal = result.study.text.federation.personal
    if personal == ("all",):
        yield "Every hospital also trained a model of its own, which stays there; this is the common one."
    elif personal:
        yield f"Every hospital has {', '.join(personal)} of its own, which stays there; here is their mean."


def _measured(result: Result) -> Iterator[str]:
    metrics, judged = result.metrics, result.judged
    known = {figure.name for figure in judged.figures if figure.value is not None} if judged else set()
    if metrics is not None and metrics.calibration_error is None and "calibration_error" not in known:
        yield "Whether its probabilities are true ones was not measured."
    if metrics is not None and metrics.noise is not None:
        yield f"Figures carry noise for privacy, of {number(metrics.noise.total, 1)} patients in all positives."
    if metrics is not None and metrics.n and metrics.positives < RARE * metrics.n:
        yield f"Only {percent(metrics.positives / metrics.n)} of the held-out images have the finding."
    yield "Labels are as the hospitals gave them; nobody read the images again."


_RULES: tuple[Rule, ...] = (
    _elsewhere, _ended, _little, _rare, _groups, _compared, _absent, _private, _own, _measured,
)  # fmt: skip
