"""Quantise and mask at a site, unmask at the coordinator: Konsil beside Flower's SecAgg+ and beside the limit.

One process, one thread, CPU-seconds (the median of the repetitions), peak extra memory by tracemalloc, which
sees numpy's arrays and Python's bytes. Flower's side calls the functions of its own mod and workflow in their
order; neither side's figures hold key agreement, sharing, encoding or signing except where named.

The limit: the key-stream bytes over the rate AES-256-CTR reaches here, plus the adds of as many words.

    python benchmarks/masking.py [--parameters 10000000] [--sites 20]
"""

import argparse
import os
import statistics
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    factor_combine,
    parameters_addition,
    parameters_mod,
    parameters_multiply,
    parameters_subtraction,
)
from flwr.common.secure_aggregation.quantization import quantize
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
from numpy.typing import NDArray

from shared.quantize import Quantizer
from shared.secagg.collector import Collector
from shared.secagg.keystream import CHUNK, KeyStream
from shared.secagg.masks import Sign, add_masks
from shared.secagg.member import contribute, unmask
from shared.secagg.plan import SiteRules
from shared.secagg.rehearsal import Federation
from shared.vectors import train_vector

#: Flower's defaults (SecAggPlusWorkflow): clipping range, target range, modulus.
CLIPPING, TARGET, MODULUS = 8.0, 1 << 22, 1 << 32

FloatVector = NDArray[np.float32]
Words = NDArray[np.uint32]


def cpu_seconds(action: Callable[[], object], repeat: int) -> float:
    """The median of `repeat` runs."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return statistics.median(times)


def extra_mb(action: Callable[[], object]) -> float:
    """Peak memory above what was held before, in MB (10^6 bytes)."""
    tracemalloc.start()
    action()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def seeds(count: int) -> list[bytes]:
    return [os.urandom(32) for _ in range(count)]


def konsil_site(update: FloatVector, sites: int) -> Words:
    """Step 1 without keys and shares: quantise, one self mask, one mask per peer."""
    quantizer = Quantizer(bound=CLIPPING, sites=sites)
    vector = train_vector(quantizer, update, weight=1, most=2, scaled=False)
    signs: list[Sign] = [1 if k % 2 else -1 for k in range(sites)]
    add_masks(vector, list(zip(seeds(sites), signs, strict=True)))
    return vector


def flower_site(update: FloatVector, sites: int) -> list[NDArray[np.int64]]:
    """flwr.client.mod.secure_aggregation.secaggplus_mod._collect_masked_vectors, from the update on."""
    vector = quantize(parameters_multiply([update], 0.5), CLIPPING, TARGET)
    vector = factor_combine(TARGET // 2, vector)
    shapes = [array.shape for array in vector]
    self_seed, *pair_seeds = seeds(sites)
    vector = parameters_addition(vector, pseudo_rand_gen(self_seed, MODULUS, shapes))
    for k, seed in enumerate(pair_seeds):
        mask = pseudo_rand_gen(seed, MODULUS, shapes)
        vector = parameters_addition(vector, mask) if k % 2 else parameters_subtraction(vector, mask)
    return parameters_mod(vector, MODULUS)


def konsil_unmask(total: Words, sites: int) -> None:
    """Step 4 from the seeds on, one site dropped: its pair masks and the survivors' self masks."""
    add_masks(total, [(seed, -1) for seed in seeds(2 * (sites - 1))])


def flower_unmask(total: list[NDArray[np.int64]], sites: int) -> list[NDArray[np.int64]]:
    """flwr.server.workflow.secure_aggregation.secaggplus_workflow, unmask stage, from the seeds on."""
    shapes = [array.shape for array in total]
    for seed in seeds(2 * (sites - 1)):
        total = parameters_subtraction(total, pseudo_rand_gen(seed, MODULUS, shapes))
    return parameters_mod(total, MODULUS)


def limit_rates(repeat: int = 5) -> tuple[float, float]:
    """CPU-seconds per word of key stream, and per word added, at the best of chunks in cache."""
    words, piece, rounds = np.empty(CHUNK, np.uint32), np.zeros(CHUNK, np.uint32), 500
    stream = KeyStream(os.urandom(32), "konsil/benchmark/v1")

    def draw() -> None:
        for _ in range(rounds):
            stream.fill(words)

    def add() -> None:
        for _ in range(rounds):
            np.add(piece, words, out=piece)

    return cpu_seconds(draw, repeat) / rounds / CHUNK, cpu_seconds(add, repeat) / rounds / CHUNK


def whole_steps(sites: int, parameters: int) -> list[tuple[str, float]]:
    """The roles themselves, keys, shares, signatures and encoding included, one site dropped."""
    federation = Federation.of(sites)
    plan = federation.plan(length=parameters)
    collector = Collector(plan, federation.roster)
    first, *others = federation.hospitals[:-1]
    vector = np.zeros(parameters, np.uint32)
    seat = federation.seat(plan, first)
    results = []

    def timed(what: str, action: Callable[[], object]) -> None:
        results.append((what, cpu_seconds(action, 1)))

    states = {}

    def step_one() -> None:
        states[first.name], data[0] = contribute(seat, vector, run_key=first.run_key, identity=first.identity)

    data = [b""]
    timed("site: contribute", step_one)
    timed("coordinator: add one", lambda: collector.add(data[0]))
    for hospital in others:
        states[hospital.name], data[0] = federation.contribute(plan, hospital, vector)
        collector.add(data[0])
    collector.close()
    for hospital in (first, *others):
        request = collector.request(hospital.name)
        collector.answer(unmask(states[hospital.name], request, identity=hospital.identity, rules=SiteRules()))
    timed("coordinator: finish", collector.finish)
    return results


def chunk_sweep(words: int = 5_000_000, masks: int = 10) -> None:
    """CPU-seconds to add masks in one pass, by the size of the piece: how `CHUNK` was found."""
    vector = np.zeros(words, np.uint32)
    for kib in (32, 64, 128, 256, 512, 1024, 2048):
        size = kib * 256
        zeros, stream = bytes(4 * size), np.empty(size, np.uint32)

        def one_pass(size: int = size, zeros: bytes = zeros, stream: Words = stream) -> None:
            ciphers = [Cipher(AES256(seed), CTR(bytes(16))).encryptor() for seed in seeds(masks)]
            for start in range(0, words - size, size):
                piece = vector[start : start + size]
                for cipher in ciphers:
                    cipher.update_into(zeros, stream.data.cast("B"))
                    np.add(piece, stream, out=piece)

        print(f"{kib:6} KiB {cpu_seconds(one_pass, 5) / (words // size * size) * words:8.4f} CPU-s")


def compare(what: str, ours: Callable[[], object], theirs: Callable[[], object], limit: float, repeat: int) -> None:
    """Two lines: CPU-seconds against Flower and the limit, and peak extra memory."""
    mine, flower = cpu_seconds(ours, repeat), cpu_seconds(theirs, repeat)
    times = f"{mine:10.3f}{flower:10.3f}{flower / mine:7.1f}x{limit:10.3f}{mine / limit - 1:8.0%}"
    print(f"{what + ', CPU-s':40}{times}")
    mine, flower = extra_mb(ours), extra_mb(theirs)
    print(f"{'  peak extra memory, MB':40}{mine:10.1f}{flower:10.1f}{flower / max(mine, 0.1):7.1f}x")


def report(parameters: int, sites: int, repeat: int) -> None:
    update = np.random.default_rng(0).standard_normal(parameters, dtype=np.float32) * np.float32(1e-2)
    vector = np.zeros(parameters, np.uint32)
    flower_vector = [np.zeros(1, np.int64), np.zeros(parameters, np.int64)]
    draw, add = limit_rates()
    one_mask = parameters * (draw + add)
    print(f"{parameters:,} parameters, {sites} sites; AES-256-CTR {4e-9 / draw:.1f} GB/s, adds {4e-9 / add:.1f} GB/s")
    print(f"{'':40}{'Konsil':>10}{'Flower':>10}{'ratio':>8}{'limit':>10}{'over':>8}")
    compare(
        "site: quantise and mask",
        lambda: konsil_site(update, sites),
        lambda: flower_site(update, sites),
        one_mask * sites,
        repeat,
    )
    masks: list[tuple[bytes, Sign]] = [(seed, 1) for seed in seeds(sites)]
    mask_only, limit = cpu_seconds(lambda: add_masks(vector, masks), repeat), one_mask * sites
    print(f"{'  of which masks, CPU-s':40}{mask_only:10.3f}{limit:28.3f}{mask_only / limit - 1:8.0%}")
    compare(
        "coordinator: unmask, one drop-out",
        lambda: konsil_unmask(vector, sites),
        lambda: flower_unmask(flower_vector, sites),
        one_mask * 2 * (sites - 1),
        repeat,
    )
    print("whole steps, with keys, shares, signatures and encoding (one run each):")
    for what, seconds in whole_steps(sites, parameters):
        print(f"{'  ' + what + ', CPU-s':40}{seconds:10.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=int, default=10_000_000)
    parser.add_argument("--sites", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--chunks", action="store_true", help="only find the best size of a piece")
    options = parser.parse_args()
    if options.chunks:
        chunk_sweep()
        return
    report(options.parameters, options.sites, options.repeat)


if __name__ == "__main__":
    main()
