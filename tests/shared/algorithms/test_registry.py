"""The registry of algorithms, and every study that one of them cannot do."""

from typing import Any

import pytest
from msgspec.structs import replace

from server.strategies.choose import strategy_of
from shared.algorithms.registry import ALGORITHMS, algorithm_of, keeps, options_for
from shared.errors import InputError
from shared.layout import Layout
from shared.study import MINIMAL, Privacy, Study, parse_study

LOCAL = Privacy(mode="local", epsilon=8.0, delta=1e-5, clip=1.0, sampling_rate=0.5)
DISTRIBUTED = Privacy(mode="distributed", epsilon=8.0, delta=1e-5, clip=1.0, sampling_rate=0.5)


def study(strategy: str = "fedavg", options: dict[str, Any] | None = None, **sections: dict[str, Any]) -> Study:
    plain = parse_study(MINIMAL.replace("min_sites = 2", "min_sites = 5"))
    federation = replace(plain.federation, strategy=strategy, options=options or {}, **sections.pop("federation", {}))
    if ALGORITHMS.get(strategy, ALGORITHMS["fedavg"]).open:
        sections.setdefault("aggregation", {"adversary": "none"})
    changed = {name: replace(getattr(plain, name), **change) for name, change in sections.items()}
    return replace(plain, federation=federation, **changed)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_is_there_at_the_coordinator(name: str) -> None:
    asked = study(name)
    strategy = strategy_of(asked, Layout(("w",), ((3,),)))
    assert algorithm_of(asked) is ALGORITHMS[name]
    assert isinstance(options_for(asked), ALGORITHMS[name].options)
    assert strategy is not None


def test_who_keeps_something() -> None:
    assert {name for name in ALGORITHMS if keeps(study(name))} == {"scaffold", "feddyn"}
    assert keeps(study(federation={"personal": ("norm",)}))


def test_local_privacy_goes_with_what_is_made_of_noisy_updates() -> None:
    for name in ("fedavg", "fedprox", "fedadam", "fedyogi", "fedadagrad", "scaffold", "feddyn", "fednova", "median"):
        algorithm_of(replace(study(name), privacy=LOCAL))


REFUSED: dict[str, tuple[Study, str]] = {
    "no such algorithm": (study("fedsgd"), r"federation\.strategy: expected one of .*Did you mean"),
    "no such option": (study("fedadam", {"beta3": 0.5}), r"federation\.options\.beta3.*Did you mean 'beta"),
    "an option out of range": (study("fedavg", {"server_momentum": 1.0}), r"federation\.options\.server_momentum"),
    "masks and a median": (
        study("median", aggregation={"adversary": "active"}),
        r"aggregation\.adversary: expected \"none\"",
    ),
    "no masks for nothing": (study(aggregation={"adversary": "none"}), r"aggregation\.adversary: expected \"active\""),
    "no masks over shares of noise": (
        replace(study("median"), privacy=DISTRIBUTED, training=replace(study().training, local_steps=1)),
        r"federation\.strategy: expected \"fedavg\" without options",
    ),
    "an optimiser over distributed noise": (
        replace(study("fedadam"), privacy=DISTRIBUTED, training=replace(study().training, local_steps=1)),
        r"federation\.strategy: expected \"fedavg\" without options",
    ),
    "a rate over distributed noise": (
        replace(
            study("fedavg", {"server_rate": 2.0}),
            privacy=DISTRIBUTED,
            training=replace(study().training, local_steps=1),
        ),
        r"federation\.strategy: expected \"fedavg\" without options",
    ),
    "a rate that follows the noise": (replace(study("fedexp"), privacy=LOCAL), r"follow the length of updates"),
    "own weights under noise": (
        replace(study(federation={"personal": ("norm",)}), privacy=LOCAL),
        r"federation\.personal: expected nothing with privacy\.mode",
    ),
    "own weights and noisy evaluations": (
        study(federation={"personal": ("norm",)}, evaluation={"epsilon": 1.0, "delta": 1e-5}),
        r"federation\.personal: expected nothing with evaluation\.epsilon",
    ),
    "own parts and moments": (study("fedadam", federation={"personal": ("norm",)}), r"federation\.personal.*fedadam"),
    "own parts and momentum": (
        study("fedavg", {"server_momentum": 0.5}, federation={"personal": ("norm",)}),
        r"federation\.personal: expected \"all\"",
    ),
    "all and parts": (study(federation={"personal": ("all", "norm")}), r"federation\.personal: expected \"all\" alone"),
    "a pull on nothing": (study("fedavg", {"personal_mu": 1.0}), r"federation\.options\.personal_mu"),
    "narrow words for two vectors": (study("scaffold", aggregation={"bits": 16}), r"aggregation\.bits: expected 32"),
    "control variates of Adam": (
        study("scaffold", training={"optimizer": "adam"}),
        r"training\.optimizer: expected \"sgd\"",
    ),
    "control variates of momentum": (study("scaffold", training={"momentum": 0.9}), r"training\.momentum: expected 0"),
    "votes on noisy figures": (
        study(federation={"guard": True}, evaluation={"epsilon": 1.0, "delta": 1e-5}),
        r"federation\.guard: expected false with evaluation\.epsilon",
    ),
    "votes now and then": (
        study(federation={"guard": True}, evaluation={"every": 2}),
        r"evaluation\.every: expected 1",
    ),
    "more hostile hospitals than Krum stands": (study("krum", {"hostile": 2}), r"federation\.options\.hostile"),
    "a mean of the hostile too": (study("multi-krum", {"hostile": 1, "keep": 5}), r"federation\.options\.keep"),
    "own models where nobody is masked": (
        study("median", federation={"personal": ("all",)}),
        r"federation\.personal: expected nothing with aggregation\.adversary",
    ),
    "a trim of nobody": (study("trimmed-mean", {"trim": 0.1}), r"federation\.options\.trim: expected at least"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_an_algorithm_cannot_do_is_refused_by_the_key(name: str) -> None:
    asked, why = REFUSED[name]
    with pytest.raises(InputError, match=why):
        algorithm_of(asked)
    with pytest.raises(InputError, match=why):
        strategy_of(asked, Layout(("w",), ((3,),)))
