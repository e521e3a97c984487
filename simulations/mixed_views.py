"""The attack that active mode is for: tell different hospitals of different survivors, and put their answers together.

Each hospital answers once, for one set that has everything it may ask for. But one may give its seeds with a peer
because that peer is "lost", another its share of the same peer's self mask because it "survived". The protocol
promises: no sum is opened by that (loot.py) but the one over the survivors that everybody named.

    stage = in_memory(Federation.of(3), plan, vectors)
    gained = mix("mixed views", stage, split(plan, victim="a"), victim="a")
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from shared.secagg.masks import Words
from shared.secagg.plan import Plan
from shared.secagg.rehearsal import Federation
from simulations.loot import Views, plunder
from simulations.stage import Stage, in_memory

NOTHING = "nothing"


@dataclass(frozen=True)
class Gained:
    """What an attack got its coordinator: `gained` in words, and whether that is more than the sum it was promised."""

    attack: str
    gained: str
    works: bool


def split(plan: Plan, victim: str) -> Views:
    """Views that, mixed, give the vector of `victim` alone, where n = 2t - 1 or there are many hospitals; no colluder.

    Its self mask needs t answers of hospitals told that it survived; each of its pair seeds one answer of either end
    told that the other was lost, or t of others told so.
    """
    sites, t = plan.sites(), plan.threshold
    others = tuple(name for name in sites if name != victim)
    if len(sites) == 2 * t - 1:
        told_lost = others[: t - 1]
        views = dict.fromkeys(others, sites) | dict.fromkeys(told_lost, others)
        return {name: views[name] for name in others} | {victim: tuple(sorted((victim, *told_lost)))}
    # the victim tells its seeds with those it is told were lost; of the rest, the others tell shares
    rest, missing = others[: t - 1], len(sites) - t
    told = dict.fromkeys(rest, 0)
    chosen: dict[str, tuple[str, ...]] = {victim: tuple(sorted((victim, *rest)))}
    for site in others:
        lost = sorted((name for name in rest if name != site), key=lambda name: told[name])[:missing]
        told |= {name: told[name] + 1 for name in lost}
        chosen[site] = tuple(name for name in sites if name not in lost)
    return chosen


def every_view(stage: Stage) -> Iterator[Views]:
    """Each way to tell each honest hospital of one set it would accept; for four hospitals at most."""
    sites, t = stage.plan.sites(), stage.plan.threshold
    sets = [view for size in range(t, len(sites) + 1) for view in itertools.combinations(sites, size)]
    choices = [[view for view in sets if site in view] for site in stage.honest]
    for picked in itertools.product(*choices):
        yield dict(zip(stage.honest, picked, strict=True))


def mix(attack: str, stage: Stage, views: Views, victim: str) -> Gained:
    """What `views` give of `victim`."""
    alone = plunder(stage, views).sum_over((victim,))
    return Gained(attack, NOTHING if alone is None else f"the vector of {victim}, exactly", alone is not None)


def search(attack: str, stage: Stage, victim: str) -> Gained:
    """The first of `every_view` that gives the vector of `victim` alone; for four hospitals at most."""
    found = (mix(attack, stage, views, victim) for views in every_view(stage))
    return next((gained for gained in found if gained.works), Gained(attack, NOTHING, works=False))


def _rehearsal(
    sites: int, adversary: Literal["semi-honest", "active"], *, promised: int = 0, colluders: Sequence[str] = ()
) -> Stage:
    """So many hospitals, each with a vector of its own, under a study with `aggregation.colluders` = `promised`."""
    federation = Federation.of(sites)
    plan = federation.plan(length=2, colluders=promised, adversary=adversary)
    vectors: dict[str, Words] = {
        hospital.name: np.array([1, 100 + number], np.uint32) for number, hospital in enumerate(federation.hospitals)
    }
    return in_memory(federation, plan, vectors, colluders)


@dataclass(frozen=True)
class _Mix:
    """One row of MIXES: `searched` through all views, else by `split`."""

    stage: Callable[[], Stage]
    searched: bool = False

    def run(self, attack: str) -> Gained:
        stage = self.stage()
        return search(attack, stage, "a") if self.searched else mix(attack, stage, split(stage.plan, "a"), "a")


_MIXES: Mapping[str, _Mix] = {
    "3 hospitals, each told of other survivors; semi-honest mode": _Mix(lambda: _rehearsal(3, "semi-honest")),
    "3 hospitals, each told of other survivors; active mode": _Mix(lambda: _rehearsal(3, "active")),
    "10 hospitals, t for one colluder; semi-honest mode": _Mix(lambda: _rehearsal(10, "semi-honest", promised=1)),
    "10 hospitals, t for one colluder; active mode": _Mix(lambda: _rehearsal(10, "active", promised=1)),
    "4 hospitals, one colludes, t for one; semi-honest mode": _Mix(
        lambda: _rehearsal(4, "semi-honest", promised=1, colluders=("d",)), searched=True
    ),
    "4 hospitals, one colludes and signs every view, t for one; active mode": _Mix(
        lambda: _rehearsal(4, "active", promised=1, colluders=("d",)), searched=True
    ),
    "3 hospitals, one colludes, t for none: more than the study says; active mode": _Mix(
        lambda: _rehearsal(3, "active", colluders=("c",)), searched=True
    ),
}


def mixes() -> list[Gained]:
    """What different survivors for different hospitals give, by mode and number of colluders, in memory."""
    return [row.run(attack) for attack, row in _MIXES.items()]
