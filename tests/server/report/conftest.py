"""Example runs as records, their figures computed by the real metrics."""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from server.report.build import evaluation_price
from server.report.judged import metrics_of
from server.report.result import (
    AggregationFacts,
    Baseline,
    Baselines,
    Images,
    LeftOut,
    Result,
    RoundRow,
    Rounds,
    SiteAuc,
    SitePrivacy,
    Sites,
    StudyId,
    SurveyFigures,
)
from shared.metrics import BINS, BinaryCounts
from shared.prefix_noise import spread
from shared.study import MINIMAL, Study, parse_study, study_hash

PRIVATE = (
    MINIMAL.replace("rounds = 2", "rounds = 12")
    .replace('"minimal"', '"chest-nodules"')
    .replace('mode = "off"', 'mode = "local"\nepsilon = 8.0\ndelta = 1e-5\nclip = 0.5\nsampling_rate = 0.2')
    + "[evaluation]\nper_site = true\n"
)
SITES = ("city", "north", "east", "university")


def counts(seed: int, patients: int = 120, apart: float = 2.2) -> BinaryCounts:
    """One hospital's held-out patients, two images each, positives `apart` logits above negatives."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(patients) < 0.35).astype(np.int64).repeat(2)
    logits = generator.normal(apart * (labels - 0.5), 1.1)
    return BinaryCounts.of(1 / (1 + np.exp(-logits)), labels, np.arange(patients).repeat(2))


def site_auc(own: BinaryCounts) -> SiteAuc:
    low, high = own.stratified_interval
    return SiteAuc(auc=own.stratified_auc, n=own.images, positives=int(own.positives.sum()), low=low, high=high)


def baseline(seed: int, sites: Sequence[str], apart: float) -> Baseline:
    each = {site: counts(seed + k, apart=apart) for k, site in enumerate(sites)}
    total = sum(list(each.values())[1:], next(iter(each.values())))
    low, high = total.stratified_interval
    return Baseline(
        stratified_auc=total.stratified_auc,
        low=low,
        high=high,
        pooled_auc=total.pooled_auc,
        sites={site: site_auc(own) for site, own in each.items()},
    )


def rounds_of(trained: Sequence[tuple[str, ...]], evaluated: Sequence[tuple[str, ...]]) -> Rounds:
    each = tuple(
        RoundRow(
            round=k + 1,
            attempt=2 if k == 4 else 1,
            trained=trained[k],
            evaluated=evaluated[k],
            seconds=14.5 + k % 3,
            slowest_site_s=11.25,
            bytes_down=len(trained[k]) * 1_300_000,
            bytes_up=len(trained[k]) * 1_420_000,
            scaled_down=int(k == 2),
            validation_auc=0.93 - 0.4 * 0.8**k if evaluated[k] else None,
            validation_ece=0.05 + 0.2 * 0.8**k if evaluated[k] else None,
        )
        for k in range(len(trained))
    )
    seconds, slowest = sum(r.seconds for r in each), sum(r.slowest_site_s for r in each)
    return Rounds(
        count=len(each),
        best=len(each),
        seconds=seconds,
        slowest_site_s=slowest,
        overhead_s=seconds - slowest,
        bytes_down=sum(r.bytes_down for r in each),
        bytes_up=sum(r.bytes_up for r in each),
        each=each,
    )


def privacy_of(site_epsilon: float = 7.93) -> SitePrivacy:
    return SitePrivacy(
        mode="local",
        unit="patient",
        epsilon_run=site_epsilon,
        epsilon_tight=site_epsilon * 0.9,
        epsilon_total=site_epsilon + 1.2,
        delta=1e-5,
        noise_multiplier=0.912,
    )


def good_run(sites: tuple[str, ...] = SITES, rounds: int = 12, secret: int = 1) -> Result:
    """Private, complete, better than its members; the last `secret` hospitals keep their own figures."""
    study = msgspec.structs.replace(parse_study(PRIVATE))
    study = msgspec.structs.replace(study, training=msgspec.structs.replace(study.training, rounds=rounds))
    own = {site: counts(k) for k, site in enumerate(sites)}
    total = sum(list(own.values())[1:], own[sites[0]])
    shown = sites[: len(sites) - secret]
    run = rounds_of([sites] * rounds, [sites] * rounds)
    return Result(
        status="finished",
        because="",
        run="2025-03-02T10-11-12-chest",
        study=StudyId(name=study.name, hash=study_hash(study).hex(), text=study),
        sites=Sites(
            expected=sites,
            contributed=(sites,) * rounds,
            left_out=(),
            images=Images(
                used=3211,
                splits={"train": 1920, "validation": 480, "test": 811},
                skipped={"localizer": 12, "no label": 4, "truncated file": 4},
                per_site={site: {"used": 800, "localizer": 3} for site in shown},
            ),
        ),
        rounds=run,
        metrics=metrics_of(counts(100), total, 0.9, {site: site_auc(own[site]) for site in shown}),
        baselines=Baselines(
            alone={site: baseline(200 + 10 * k, sites, 1.2) for k, site in enumerate(sites)},
            pooled=baseline(300, sites, 2.3),
        ),
        privacy={site: privacy_of() for site in sites},
        aggregation=AggregationFacts(
            adversary="active",
            threshold=3,
            colluders=1,
            cohort=len(sites),
            vector_length=97_136,
            bits=32,
            update_norm=10.0,
        ),
        versions={"konsil": "0.1.0", "flwr": "1.41.0", "torch": "2.13.0"},
        survey=SurveyFigures(
            labels={"clear": 1460, "nodule": 455},
            hidden_labels=2,
            class_weights={"clear": 1.0, "nodule": 1.0},
            intensities=tuple(2 * (place + 1) / (64 * 65) for place in range(64)),
            hidden_bins=7,
            mean=0.664,
            deviation=0.236,
        ),
    )


DISTRIBUTED = (
    PRIVATE.replace('"local"', '"distributed"')
    .replace("local_steps = 2", "local_steps = 1")
    .replace("min_sites = 2", "min_sites = 4")
    + "epsilon = 2.0\ndelta = 1e-5\n"
)


def noisy(seed: int, sigma: float = 1.0, patients: int = 120) -> BinaryCounts:
    """One hospital's held-out patients as `counts`, with noise."""
    own, generator = counts(seed, patients), np.random.default_rng(1000 + seed)
    noise = sigma * generator.normal(size=(2, BINS)) @ spread(BINS).T
    return BinaryCounts.noisy(own.positives / 2 + noise[0], own.negatives / 2 + noise[1], sigma)


def noisy_run(sites: tuple[str, ...] = SITES) -> Result:
    """Mode "distributed", and evaluations with noise; one hospital shows its figures, one too small to have any."""
    study, good = parse_study(DISTRIBUTED), good_run()
    own = {site: noisy(k) for k, site in enumerate(sites)}
    total = sum(list(own.values())[1:], own[sites[0]])
    shown = {"city": site_auc(own["city"]), "north": SiteAuc(auc=None, n=7, positives=0, low=0.0, high=1.0)}
    each = replace(privacy_of(), mode="distributed", honest=2, epsilon_alone=23.5, evaluation=1.97)
    return replace(
        good,
        study=StudyId(name=study.name, hash=study_hash(study).hex(), text=study),
        metrics=metrics_of(noisy(100), total, 0.9, shown),
        privacy=dict.fromkeys(sites, each),
        evaluation=evaluation_price(study, 12, 1),
    )


def troubled_run() -> Result:
    """One hospital lost, one never there, privacy off, stopped early, no baselines, no final figures."""
    study: Study = parse_study(MINIMAL.replace("rounds = 2", "rounds = 12"))
    two, three = ("city", "north"), ("city", "north", "east")
    good = good_run()
    nothing = SitePrivacy(
        mode="off",
        unit="patient",
        epsilon_run=None,
        epsilon_tight=None,
        epsilon_total=None,
        delta=None,
        noise_multiplier=None,
    )
    left = [
        LeftOut(site="university", round=0, step="join", reason="policy.toml allows no study without privacy"),
        *(LeftOut(site="east", round=k, step="train", reason="no answer within 600 s") for k in (4, 5, 6)),
        LeftOut(site="north", round=6, step="evaluate", reason="cache: disk full"),
    ]
    evaluated = [three, three, three, (*two, "east"), (), ("city",)]
    return msgspec.structs.replace(
        good,
        status="stopped",
        survey=None,
        because="2 hospitals are left and federation.min_sites is 3.",
        study=StudyId(name=study.name, hash=study_hash(study).hex(), text=study),
        sites=Sites(
            expected=SITES,
            contributed=(three, three, three, two, two, two),
            left_out=tuple(left),
            images=Images(used=2100, splits={}, skipped={}, per_site={}),
        ),
        rounds=rounds_of([three, three, three, two, two, two], evaluated),
        metrics=None,
        baselines=None,
        privacy=dict.fromkeys(three, nothing),
        aggregation=None,
    )


def large_run() -> Result:
    """Twenty hospitals, fifty rounds, some of them missing here and there."""
    sites = tuple(f"hospital-{k:02d}-of-the-consortium" for k in range(1, 21))
    good = good_run(sites, 50, secret=6)
    trained = [tuple(s for k, s in enumerate(sites) if (k * 7 + r * 3) % 41 and (k != 3 or r < 30)) for r in range(50)]
    left = tuple(
        LeftOut(
            site=s, round=r + 1, step="train", reason="the policy's ε per patient is spent" if k == 3 else "timeout"
        )
        for r in range(50)
        for k, s in enumerate(sites)
        if s not in trained[r]
    )
    return msgspec.structs.replace(
        good,
        sites=msgspec.structs.replace(good.sites, contributed=tuple(trained), left_out=left),
        rounds=rounds_of(trained, [sites if r % 2 else tuple(trained[r]) for r in range(50)]),
    )


@pytest.fixture(scope="session")
def good() -> Result:
    return good_run()


@pytest.fixture(scope="session")
def priced() -> Result:
    return noisy_run()


@pytest.fixture(scope="session")
def troubled() -> Result:
    return troubled_run()


@pytest.fixture(scope="session")
def large() -> Result:
    return large_run()


@pytest.fixture(scope="session")
def altered(good: Result) -> Callable[..., Result]:
    """The good run with some fields replaced."""
    return lambda **fields: msgspec.structs.replace(good, **fields)
