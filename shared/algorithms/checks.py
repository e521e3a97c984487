"""What an algorithm cannot do, said before anything runs: each rule is one function that names the study's key.

Guarantees: a study that passes is one whose promises hold under its algorithm: masks where nobody needs a hospital's
own update, none where one does; noise of which nothing is shown before it is summed; figures that the study charges.
"""

from collections.abc import Callable
from typing import Protocol

from shared.algorithms.options import Averaging, Choosing, ChoosingMany, Common, Extrapolating, Trimming
from shared.errors import InputError
from shared.study import Study


class Needs(Protocol):
    """What the rules ask of an algorithm (registry.Algorithm)."""

    @property
    def up(self) -> int:
        """Vectors in the sum."""

    @property
    def open(self) -> bool:
        """Whether it must see each hospital's update."""

    @property
    def plain_steps(self) -> bool:
        """Whether a hospital's steps must be plain SGD."""


def check(study: Study, algorithm: Needs, options: Common) -> None:
    """Raise InputError for the first rule that `study` breaks."""
    for rule in RULES:
        rule(study, algorithm, options)


def _masks(study: Study, algorithm: Needs, options: Common) -> None:
    """Masks are given up where that buys something, and nowhere else."""
    del options
    name, adversary = study.federation.strategy, study.aggregation.adversary
    if algorithm.open and adversary != "none":
        raise InputError(
            "aggregation.adversary",
            expected=f'"none" with {name}, which compares single updates',
            got=f'"{adversary}"',
            do='Choose a strategy that works on the sum; or write "none", and every hospital must allow it.',
        )
    if adversary == "none" and not algorithm.open:
        raise InputError(
            "aggregation.adversary",
            expected=f'"active" or "semi-honest" with {name}, which needs the sum alone',
            got='"none"',
            do="Keep the masks.",
        )


def _noise(study: Study, algorithm: Needs, options: Common) -> None:
    """Noise makes updates long; and that of mode "distributed" is whole in the sum of plain gradients alone."""
    del algorithm
    federation = study.federation
    if study.privacy.mode != "off" and isinstance(options, Extrapolating):
        raise InputError(
            "federation.strategy",
            expected='one whose rate does not follow the length of updates, with privacy.mode other than "off"',
            got=f'"{federation.strategy}"',
        )
    if study.privacy.mode == "distributed" and (federation.strategy != "fedavg" or federation.options):
        raise InputError(
            "federation.strategy",
            expected='"fedavg" without options with privacy.mode = "distributed": [training] says how it steps',
            got=f'"{federation.strategy}"' if federation.strategy != "fedavg" else f"{dict(federation.options)}",
        )


def _personal(study: Study, algorithm: Needs, options: Common) -> None:
    federation, personal = study.federation, study.federation.personal
    if not personal:
        if "personal_mu" in federation.options:
            raise InputError("federation.options.personal_mu", expected='federation.personal = ["all"]', got="none")
        return
    if study.privacy.mode != "off":
        raise InputError(
            "federation.personal",
            expected='nothing with privacy.mode other than "off": what a hospital keeps is trained without noise',
            got=", ".join(personal),
        )
    if study.evaluation.epsilon is not None:
        raise InputError(
            "federation.personal",
            expected="nothing with evaluation.epsilon, which does not pay for a second test",
            got=", ".join(personal),
        )
    if study.aggregation.adversary == "none":
        raise InputError(
            "federation.personal",
            expected='nothing with aggregation.adversary "none": no sum says whose own models may be judged together',
            got=", ".join(personal),
        )
    if "all" in personal:
        if personal != ("all",):
            raise InputError("federation.personal", expected='"all" alone', got=", ".join(personal))
    else:
        _parts(study, algorithm, options)


def _parts(study: Study, algorithm: Needs, options: Common) -> None:
    """Of weights that hospitals keep, the sum must hold the mean and nothing may move it further."""
    del algorithm
    name = study.federation.strategy
    plain = isinstance(options, Averaging) and (options.server_rate, options.server_momentum) == (1.0, 0.0)
    if not plain:
        raise InputError(
            "federation.personal",
            expected=f'"all", or fedavg or fedprox without server_rate and server_momentum, not {name}',
            got=", ".join(study.federation.personal),
        )
    if "personal_mu" in study.federation.options:
        raise InputError("federation.options.personal_mu", expected='federation.personal = ["all"]', got="others")


def _bits(study: Study, algorithm: Needs, options: Common) -> None:
    """What a hospital remembers of a narrow, clamped vector would part from what the coordinator remembers."""
    del options
    if algorithm.up > 1 and study.aggregation.bits != 32:
        raise InputError(
            "aggregation.bits",
            expected=f"32 with {study.federation.strategy}, whose vectors add up over rounds",
            got=str(study.aggregation.bits),
        )


def _steps(study: Study, algorithm: Needs, options: Common) -> None:
    """A mean gradient is read off how far plain SGD went."""
    del options
    training = study.training
    if not algorithm.plain_steps:
        return
    if training.optimizer != "sgd":
        raise InputError(
            "training.optimizer", expected=f'"sgd" with {study.federation.strategy}', got=f'"{training.optimizer}"'
        )
    if training.momentum:
        raise InputError(
            "training.momentum", expected=f"0 with {study.federation.strategy}", got=f"{training.momentum:g}"
        )


def _guard(study: Study, algorithm: Needs, options: Common) -> None:
    del algorithm, options
    if not study.federation.guard:
        return
    if study.evaluation.epsilon is not None:
        raise InputError(
            "federation.guard",
            expected="false with evaluation.epsilon: a vote is an exact answer about held-out patients",
            got="true",
        )
    if study.evaluation.every != 1:
        raise InputError(
            "evaluation.every",
            expected="1 with federation.guard: every round is voted on",
            got=f"{study.evaluation.every}",
        )


def _crowd(study: Study, algorithm: Needs, options: Common) -> None:
    """What a robust mean promises holds for the smallest cohort (Krum: n > 2 f + 2, Blanchard et al. 2017, 4.2)."""
    del algorithm
    sites = study.federation.min_sites
    if isinstance(options, Trimming) and options.trim * sites < 1:
        raise InputError(
            "federation.options.trim",
            expected=f"at least 1 ÷ min_sites = {1 / sites:.3g}: less leaves nobody out",
            got=f"{options.trim:g}",
        )
    if not isinstance(options, Choosing):
        return
    hostile = options.hostile
    if sites < 2 * hostile + 3:
        raise InputError(
            "federation.options.hostile",
            expected=f"at most (min_sites − 3) ÷ 2 of {sites} hospitals",
            got=str(hostile),
            do="Raise federation.min_sites, or lower it.",
        )
    if isinstance(options, ChoosingMany) and options.keep > sites - hostile:
        raise InputError(
            "federation.options.keep", expected=f"at most {sites - hostile}, those not hostile", got=str(options.keep)
        )


Rule = Callable[[Study, Needs, Common], None]
RULES: tuple[Rule, ...] = (_masks, _noise, _personal, _bits, _steps, _guard, _crowd)
