"""Settings of a private study that are known to be bad, in words, each with what to change.

A warning is no refusal: the study is valid and its promise holds. Each is one small rule over study and plan.
"""

from collections.abc import Callable

from simulations.plan import Plan

#: How far the batch may be from the patients drawn before steps are another size than they read.
NEAR = 1.25
#: Noise ÷ longest signal. De et al. 2022 (arXiv 2204.13650) learn CIFAR-10 at ε = 1 with 4: σ = 10 on the 2.7 million
#: parameters of a WRN-16-4, batch 4,096.
LOUD = 5.0
#: Noise that is counted for nothing: for hospitals that may be lost or collude.
WASTE = 1.5
#: Above this ε a promise says little (Ponomareva et al. 2023, arXiv 2303.00654, section 5.2).
MOST_EPSILON = 10.0
#: Clip quantiles at which the clip says more of a few patients than of the rest.
QUANTILES = (0.1, 0.9)
#: How far off a step may see the share of patients within the clip.
MOST_SHARE = 0.5
#: Images, copies included, that one patient's gradient is taken over.
MOST_IMAGES = 64

Rule = Callable[[Plan], str | None]


def warnings_of(plan: Plan) -> tuple[str, ...]:
    """What is known to be bad about a planned study, each in a sentence or two."""
    return tuple(words for rule in RULES if (words := rule(plan)))


def _batch(plan: Plan) -> str | None:
    batch, expected = plan.study.training.batch, plan.expected
    if expected is None or batch / NEAR <= expected <= batch * NEAR:
        return None
    whose = "of each hospital" if plan.study.privacy.mode == "local" else "of all hospitals"
    return (
        f"training.batch = {batch} divides a sum over about {expected:.0f} patients {whose}: every step is"
        f" {expected / batch:.2g} times the mean. Set batch near {max(1, round(expected))}, or change"
        " privacy.sampling_rate; a larger divisor alone makes signal and noise smaller alike."
    )


def _loud(plan: Plan) -> str | None:
    if plan.noise is None or plan.noise.per_clip <= LOUD:
        return None
    return (
        f"The noise of a step is {plan.noise.per_clip:.1f} times as long as its gradient can be. Draw more patients in"
        " a step (sampling_rate and batch), take more hospitals in, raise epsilon, or train fewer parameters"
        " (model.frozen, a smaller model)."
    )


def _delta(plan: Plan) -> str | None:
    delta = max(plan.study.privacy.delta or 0.0, plan.study.evaluation.delta or 0.0)
    if plan.patients is None or delta * plan.patients <= 1:
        return None
    return (
        f"delta = {delta:g} is more than one in {plan.patients:,} patients: it would allow giving one of them away."
        f" Set it well below {1 / plan.patients:.1g}."
    )


def _epsilon(plan: Plan) -> str | None:
    epsilon = plan.study.privacy.epsilon
    if epsilon is None or epsilon <= MOST_EPSILON:
        return None
    return f"epsilon = {epsilon:g} promises little: {MOST_EPSILON:g} is where a promise begins to mean something."


def _surplus(plan: Plan) -> str | None:
    if plan.noise is None or plan.noise.surplus <= WASTE:
        return None
    return (
        f"The noise is {plan.noise.surplus:.2g} times what is counted, for hospitals that may be lost or collude. A"
        " higher aggregation.threshold or fewer aggregation.colluders need less of it."
    )


def _quantile(plan: Plan) -> str | None:
    quantile = plan.study.privacy.clip_quantile
    if quantile is None or QUANTILES[0] <= quantile <= QUANTILES[1]:
        return None
    return (
        f"clip_quantile = {quantile:g} makes the clip follow few patients, and the noise along with it; 0.5 is usual"
        " (Andrew et al. 2021)."
    )


def _share(plan: Plan) -> str | None:
    if plan.noise is None or (plan.noise.share_deviation or 0.0) <= MOST_SHARE:
        return None
    return (
        f"A step sees the share of patients within the clip only to ± {plan.noise.share_deviation:.2g}: the clip will"
        " wander. Leave clip_quantile out, or draw more patients in a step."
    )


def _images(plan: Plan) -> str | None:
    images = plan.study.training.images_per_patient * plan.study.training.copies
    if images <= MOST_IMAGES:
        return None
    return (
        f"images_per_patient × copies = {images} images make one patient's gradient: time without much gain. Augmented"
        " copies beyond 16 help little (De et al. 2022)."
    )


#: In the order in which they are said.
RULES: tuple[Rule, ...] = (_batch, _loud, _delta, _epsilon, _surplus, _quantile, _share, _images)
