"""From how a run ended to the record that says it."""

from msgspec.structs import replace

from server.aggregate import Aggregator
from server.checkpoints import Memory
from server.coordinator import Outcome
from server.report.judged import metrics_of, metrics_without_finding, shown_group
from server.report.result import (
    AggregationFacts,
    EvaluationPrice,
    Images,
    Metrics,
    Purpose,
    Result,
    RoundRow,
    Rounds,
    SiteAuc,
    SitePrivacy,
    Sites,
    SplitPrice,
    StudyId,
)
from shared.accounting import TEST, VALIDATION, SampledGaussian, evaluation_event, prv_epsilon, rdp_epsilon
from shared.judged import Figure, Judged
from shared.messages.shown import OwnFigures, Spent
from shared.secagg.plan import threshold_for
from shared.study import Study, study_hash
from shared.subgroups import subgroups
from shared.tasks.classification import Classification
from shared.tasks.registry import kind_of
from shared.update import Codec
from shared.version import versions


def result_of(outcome: Outcome, study: Study, aggregator: Aggregator, purpose: Purpose = "model") -> Result:
    """The whole result, without baselines."""
    memory, rows = outcome.checkpoint.memory, outcome.checkpoint.memory.rows
    names = subgroups(study.evaluation)
    judged, groups = _judged(outcome, study)
    return Result(
        status=outcome.status,
        because=outcome.because,
        run=aggregator.run,
        study=StudyId(name=study.name, hash=study_hash(study).hex(), text=study),
        sites=Sites(
            expected=aggregator.expected,
            contributed=tuple(row.trained for row in rows),
            left_out=memory.left_out,
            images=memory.images or Images(used=0, splits={}, skipped={}, per_site={}),
        ),
        rounds=_rounds(memory, rows),
        metrics=_metrics(outcome, study),
        baselines=None,
        privacy={name: site_privacy(study, memory.spent.get(name)) for name in aggregator.expected},
        aggregation=_aggregation(study, memory, aggregator),
        versions=versions(),
        survey=memory.survey,
        purpose=purpose,
        evaluation=evaluation_price(study, sum(bool(row.evaluated) for row in rows), int(outcome.test is not None)),
        judged=judged,
        groups=dict(zip(names, groups, strict=False)),
        hidden=dict(zip(names, outcome.test.hidden if outcome.test else (), strict=False)),
        own={name: _own(study, own) for name, own in outcome.figures.items()},
        personal=kind_of(study).judge(outcome.personal.everybody) if outcome.personal is not None else None,
    )


def _judged(outcome: Outcome, study: Study) -> tuple[Judged | None, tuple[Judged, ...]]:
    """All figures of the test patients, and of each subgroup of them, thresholds chosen on the validation patients."""
    if outcome.validation is None or outcome.test is None:
        return None, ()
    kind, chosen_on = kind_of(study), outcome.validation.everybody
    everybody = kind.judge(outcome.test.everybody, chosen_on)
    return everybody, tuple(shown_group(kind.judge(group, chosen_on)) for group in outcome.test.groups)


def _own(study: Study, own: OwnFigures) -> Figure:
    head = kind_of(study).judge([0] * kind_of(study).counts).headline
    return replace(head, name=own.name, value=own.value, low=own.low, high=own.high)


def evaluation_price(study: Study, validations: int, tests: int) -> EvaluationPrice | None:
    """What so many evaluations of either split told of each of its patients; None where they carry no noise."""
    epsilon, delta = study.evaluation.epsilon, study.evaluation.delta
    if epsilon is None or delta is None:
        return None
    splits = {}
    for name, split, times in (("validation", VALIDATION, validations), ("test", TEST, tests)):
        event = evaluation_event(study, split)
        spent = rdp_epsilon([event] * times, delta)
        splits[name] = SplitPrice(evaluations=times, noise_multiplier=event.noise_multiplier, epsilon=spent)
    return EvaluationPrice(epsilon=epsilon, delta=delta, splits=splits)


def site_auc(own: OwnFigures) -> SiteAuc:
    """One hospital's own figures, where it holds both classes."""
    return SiteAuc(auc=own.value, n=own.n, positives=own.positives or 0, low=own.low, high=own.high)


def _metrics(outcome: Outcome, study: Study) -> Metrics | None:
    kind = kind_of(study)
    if outcome.validation is None or outcome.test is None or not isinstance(kind, Classification):
        return None
    shown = {name: site_auc(own) for name, own in outcome.figures.items()}
    chosen, found = (kind.finding(of.everybody) for of in (outcome.validation, outcome.test))
    if chosen is None or found is None:
        return metrics_without_finding(kind.judge(outcome.test.everybody), shown)
    return metrics_of(chosen.counts, found.counts, study.evaluation.sensitivity, shown)


def _rounds(memory: Memory, rows: tuple[RoundRow, ...]) -> Rounds:
    seconds, slowest = sum(row.seconds for row in rows), sum(row.slowest_site_s for row in rows)
    return Rounds(
        count=len(rows),
        best=memory.best_round,
        seconds=round(seconds, 3),
        slowest_site_s=round(slowest, 3),
        overhead_s=round(seconds - slowest, 3),
        bytes_down=sum(row.bytes_down for row in rows),
        bytes_up=sum(row.bytes_up for row in rows),
        each=rows,
    )


def site_privacy(study: Study, spent: Spent | None) -> SitePrivacy:
    """What one hospital's patients spent, as it `spent` last said; None if it never did."""
    mode = study.privacy.mode
    if mode == "off":
        return SitePrivacy(
            mode=mode,
            unit="patient",
            epsilon_run=None,
            epsilon_tight=None,
            epsilon_total=None,
            delta=None,
            noise_multiplier=None,
            evaluation=spent.evaluation if spent else None,
        )
    if spent is None:
        return SitePrivacy(
            mode=mode,
            unit="patient",
            epsilon_run=0.0,
            epsilon_tight=0.0,
            epsilon_total=None,
            delta=study.privacy.delta,
            noise_multiplier=None,
        )
    return SitePrivacy(
        mode=mode,
        unit="patient",
        epsilon_run=spent.epsilon_run,
        epsilon_tight=min(spent.epsilon_run, prv_epsilon(_trained(study, spent), spent.delta)),
        epsilon_total=spent.epsilon_total,
        delta=spent.delta,
        noise_multiplier=spent.noise_multiplier,
        honest=spent.honest,
        epsilon_alone=spent.epsilon_alone,
        evaluation=spent.evaluation,
    )


def _trained(study: Study, spent: Spent) -> tuple[SampledGaussian, ...]:
    """What a hospital's training patients were exposed to in this run."""
    if not spent.steps:
        return ()
    event = SampledGaussian(
        sampling_rate=study.privacy.sampling_rate or 1.0,
        noise_multiplier=spent.noise_multiplier,
        steps=spent.steps,
        honest=spent.honest,
    )
    return (event,)


def _aggregation(study: Study, memory: Memory, aggregator: Aggregator) -> AggregationFacts | None:
    """Of the last round; of a run that has none yet, of its survey."""
    rows, aggregation = memory.rows, study.aggregation
    if not rows and memory.survey is None:
        return None
    members = len(rows[-1].trained) if rows else len(aggregator.members.records)
    cohort = max(2, members)
    codec = Codec.of(study, cohort=cohort, parameters=aggregator.parameters, seed=bytes(32))
    words = codec.length
    if (
        study.privacy.mode == "distributed"
    ):  # the gradients' sum as it is, and how many were short where the clip adapts
        words = aggregator.parameters + (study.privacy.clip_quantile is not None)
    return AggregationFacts(
        adversary=aggregation.adversary,
        threshold=threshold_for(cohort, aggregation.threshold, aggregation.colluders),
        cohort=members,
        vector_length=words if rows else 0,
        bits=aggregation.bits,
        colluders=aggregation.colluders,
        update_norm=aggregation.update_norm,
    )
