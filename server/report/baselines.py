"""What a federation is compared with, in one sentence.

Guarantees: it says which images, how large the steps are, what of the study is left out, and what privacy costs there,
as simulations/alone.py and simulations/baselines.py train them.
"""

from shared.study import Study


def described(study: Study) -> str:
    """The baselines of `study`: every hospital alone, and all images in one place."""
    return (
        "Each baseline is the study’s network, trained for as many rounds with the study’s settings and no federation:"
        f" a hospital alone on its own images{_alone(study)}, pooled on all images in one place{_pooled(study)};"
        f" steps are plain{_without(study)}, {_privacy(study)},"
        " and the best round is chosen on the validation patients of the images trained on."
    )


def _alone(study: Study) -> str:
    return " in steps of its share of a batch" if study.privacy.mode == "distributed" else ""


def _pooled(study: Study) -> str:
    if study.privacy.mode == "distributed":
        return " in steps of a whole batch"
    if study.training.local_steps is None:
        return " with as many passes over them"
    return " in steps of a batch that is larger by the number of hospitals"


def _without(study: Study) -> str:
    """What only a federation has: hospitals on their own, and one in which nothing is averaged, have none of it."""
    federation, left = study.federation, list[str]()
    if (federation.strategy != "fedavg" or federation.options) and study.privacy.mode != "distributed":
        left.append(f"{federation.strategy} and its options")
    if federation.personal:
        left.append("weights that stay with a hospital")
    return f", without {' or '.join(left)}" if left else ""


def _privacy(study: Study) -> str:
    if study.privacy.mode == "off":
        return "without privacy as in the run"
    return "with all the noise of the study’s ε added in one place"
