"""Quantise and mask at a site, unmask at the coordinator: Konsil beside Flower's SecAgg+ and beside the limit.

One process; CPU-seconds and, for threads, wall seconds, each the median of the repetitions, in each of which
everything is run once, so that what else the machine does falls on all alike. Peak extra memory by tracemalloc, which
sees numpy's arrays and Python's bytes. Flower's side calls the functions of its own mod and workflow in their
order; neither side's figures hold key agreement, sharing, encoding or signing except with `--whole`.

The limit: the key-stream bytes over the rate AES-256-CTR reaches here in this run, plus the adds of as many words. Two
readings: adds once per mask, and, strict, adds once in all. The limit counts neither quantising nor the dither nor the
pages of a new vector. Where OpenSSL draws the same key stream faster under GCM, Konsil may come below it;
`--ctr` forbids that.

    python benchmarks/masking.py [--parameters 10000000] [--sites 20] [--threads 2]
"""

import argparse
import os
import statistics
import time
import tracemalloc
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar
from unittest import mock

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR, GCM
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
from shared.secagg import keystream
from shared.secagg.collector import Collector
from shared.secagg.keystream import CHUNK_BYTES, KeyStream
from shared.secagg.masks import Sign, Words, add_masks, filled
from shared.secagg.member import Plain, contribute, unmask
from shared.secagg.plan import SiteRules
from shared.secagg.rehearsal import Federation

T = TypeVar("T")

#: Flower's defaults (SecAggPlusWorkflow): clipping range, target range, modulus.
CLIPPING, TARGET, MODULUS = 8.0, 1 << 22, 1 << 32

FloatVector = NDArray[np.float32]


def seconds(action: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds of one run."""
    cpu, wall = time.process_time(), time.perf_counter()
    action()
    return time.process_time() - cpu, time.perf_counter() - wall


def medians(actions: Mapping[str, Callable[[], object]], repeat: int) -> dict[str, tuple[float, float]]:
    """CPU and wall seconds of each action, the medians of `repeat` rounds over all of them."""
    times: dict[str, list[tuple[float, float]]] = {what: [] for what in actions}
    for _ in range(repeat):
        for what, action in actions.items():
            times[what].append(seconds(action))
    return {
        what: (statistics.median(cpu for cpu, _ in runs), statistics.median(wall for _, wall in runs))
        for what, runs in times.items()
    }


def extra_mb(action: Callable[[], object]) -> float:
    """Peak memory above what was held before, in MB (10^6 bytes)."""
    tracemalloc.start()
    action()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def seeds(count: int) -> list[bytes]:
    return [os.urandom(32) for _ in range(count)]


def konsil_site(update: FloatVector, sites: int, bits: int, threads: int) -> Words:
    """Step 1 without keys and shares: a new vector, quantised, with one self mask and one mask per peer."""
    quantizer = Quantizer(bound=CLIPPING, sites=sites, bits=bits)
    vector: Words = np.empty(update.size, quantizer.dtype)
    add_masks(vector, masks(sites), fill=quantizer.encoder(update, 0.5), threads=threads)
    return vector


def masks(count: int) -> list[tuple[bytes, Sign]]:
    return [(seed, 1 if k % 2 else -1) for k, seed in enumerate(seeds(count))]


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
    add_masks(total, masks(2 * (sites - 1)))


def flower_unmask(total: list[NDArray[np.int64]], sites: int) -> list[NDArray[np.int64]]:
    """flwr.server.workflow.secure_aggregation.secaggplus_workflow, unmask stage, from the seeds on."""
    shapes = [array.shape for array in total]
    for seed in seeds(2 * (sites - 1)):
        total = parameters_subtraction(total, pseudo_rand_gen(seed, MODULUS, shapes))
    return parameters_mod(total, MODULUS)


#: Chunks drawn or added in one measurement of a rate.
ROUNDS = 300


def draw() -> None:
    """Key stream as the limit takes it: AES-256-CTR, chunks that stay in the cache."""
    zeros, chunk = bytes(CHUNK_BYTES), bytearray(CHUNK_BYTES)
    encryptor = Cipher(AES256(os.urandom(32)), CTR(bytes(16))).encryptor()
    for _ in range(ROUNDS):
        encryptor.update_into(zeros, chunk)


def draw_ours() -> None:
    stream, words = KeyStream(os.urandom(32), "konsil/benchmark/v1"), np.empty(CHUNK_BYTES // 4, np.uint32)
    for _ in range(ROUNDS):
        stream.fill(words)


def add(dtype: str) -> None:
    size = CHUNK_BYTES // np.dtype(dtype).itemsize
    words, piece = np.zeros(size, dtype), np.zeros(size, dtype)
    for _ in range(ROUNDS):
        np.add(piece, words, out=piece)


def whole_steps(sites: int, parameters: int) -> list[tuple[str, float]]:
    """The roles themselves, active mode, keys, shares, signatures and encoding included, one site dropped."""
    federation = Federation.of(sites)
    plan = federation.plan(length=parameters, colluders=1)
    collector = Collector(plan, federation.roster)
    first, *others = federation.hospitals[:-1]
    vector = np.zeros(parameters, np.uint32)
    plain = Plain(np.ones(1, "<u8"), filled(vector))
    seat, states, results = federation.seat(plan, first), {}, []

    def timed(what: str, action: Callable[[], T]) -> T:
        start = time.process_time()
        found = action()
        results.append((what, time.process_time() - start))
        return found

    masked = timed(
        "site: contribute",
        lambda: contribute(seat, plain, run_key=first.run_key, identity=first.identity),
    )
    timed("coordinator: add one", lambda: collector.add(masked.contribution, masked.vector))
    states[first] = masked.state
    for hospital in others:
        masked = federation.contribute(plan, hospital, vector)
        states[hospital] = masked.state
        collector.add(masked.contribution, masked.vector)
    collector.close()
    timed("everybody: confirm", lambda: federation.confirm(collector, states))
    for hospital, state in states.items():
        request = collector.request(hospital.name)
        collector.answer(unmask(state, request, identity=hospital.identity, rules=SiteRules()))
    timed("coordinator: finish", collector.finish)
    again = partial(contribute, seat, plain, run_key=first.run_key, identity=first.identity)
    results.append(("site: contribute, peak extra memory, MB", extra_mb(again)))
    return results


def chunk_sweep(words: int = 5_000_000, count: int = 10) -> None:
    """CPU-seconds to add masks in one pass under CTR and GCM, by the size of the piece: how `CHUNK` was found."""
    vector = np.zeros(words, np.uint32)

    def one_pass(size: int, mode: Callable[[bytes], CTR | GCM]) -> None:
        zeros, stream = bytes(4 * size), np.empty(size, np.uint32)
        ciphers = [Cipher(AES256(seed), mode(bytes(16))).encryptor() for seed in seeds(count)]
        for start in range(0, words - size, size):
            piece = vector[start : start + size]
            for cipher in ciphers:
                cipher.update_into(zeros, stream.data.cast("B"))
                np.add(piece, stream, out=piece)

    for kib in (32, 64, 128, 256, 512, 1024):
        size = kib * 256
        runs = medians({"CTR": partial(one_pass, size, CTR), "GCM": partial(one_pass, size, GCM)}, 5)
        times = "".join(f"{cpu * words / (words // size * size):8.4f} {mode}" for mode, (cpu, _) in runs.items())
        print(f"{kib:6} KiB{times}, CPU-s")


def row(what: str, ours: float, flower: float | None, limits: tuple[float, float]) -> None:
    """Seconds, how often they go into Flower's, and the multiples of the limit, both readings."""
    ratio = f"{flower:9.3f}{flower / ours:7.1f}x" if flower else " " * 17
    print(f"{what:38}{ours:9.3f}{ratio}" + "".join(f"{limit:9.3f}{ours / limit:7.2f}x" for limit in limits))


def report(parameters: int, sites: int, repeat: int, threads: int) -> None:
    update = np.random.default_rng(0).standard_normal(parameters, dtype=np.float32) * np.float32(1e-2)
    flower_vector = [np.zeros(1, np.int64), np.zeros(parameters, np.int64)]
    vectors = {bits: np.zeros(parameters, Quantizer(bound=1.0, sites=2, bits=bits).dtype) for bits in (32, 16)}
    actions: dict[str, Callable[[], object]] = {"draw": draw, "draw ours": draw_ours}
    actions |= {
        "flower site": lambda: flower_site(update, sites),
        "flower unmask": lambda: flower_unmask(flower_vector, sites),
    }
    for bits, vector in vectors.items():
        actions |= {
            f"add {bits}": partial(add, vector.dtype.str),
            f"site {bits}": partial(konsil_site, update, sites, bits, 1),
            f"site {bits} threads": partial(konsil_site, update, sites, bits, threads),
            f"masks {bits}": partial(add_masks, vector, masks(sites)),
            f"unmask {bits}": partial(konsil_unmask, vector, sites),
        }
    took = medians(actions, repeat)
    cpu = {what: times[0] for what, times in took.items()}
    per_byte = {what: cpu[what] / ROUNDS / CHUNK_BYTES for what in ("draw", "draw ours", "add 32", "add 16")}
    rates = ", ".join(f"{what} {1e-9 / per_byte[what]:.1f}" for what in per_byte)
    print(
        f"{parameters:,} parameters, {sites} sites, {repeat} repetitions, load {os.getloadavg()[0]:.1f}; GB/s: {rates}"
    )
    print(f"{'CPU-seconds, one thread':38}{'Konsil':>9}{'Flower':>9}{'':8}{'limit':>9}{'':8}{'strict':>9}")
    for bits, vector in vectors.items():
        stream, adds = vector.nbytes * per_byte["draw"], vector.nbytes * per_byte[f"add {bits}"]
        limits = sites * (stream + adds), sites * stream + adds
        row(f"site: quantise and mask, {bits} bits", cpu[f"site {bits}"], cpu["flower site"], limits)
        row("  masks alone", cpu[f"masks {bits}"], None, limits)
        count = 2 * (sites - 1)
        limits = count * (stream + adds), count * stream + adds
        row(f"coordinator: one drop-out, {bits} bits", cpu[f"unmask {bits}"], cpu["flower unmask"], limits)
    print(f"{'site':38}{'wall, 1':>9}{'CPU':>9}{f'wall, {threads}':>9}{'CPU':>9}   threads")
    for bits in vectors:
        times = (*took[f"site {bits}"][::-1], *took[f"site {bits} threads"][::-1])
        print(f"{f'  {bits} bits, seconds':38}" + "".join(f"{value:9.3f}" for value in times))
    print(f"{'peak extra memory, MB':38}{'vector':>9}{'site':>9}{f'{threads} thr.':>9}{'unmask':>9}")
    for bits, vector in vectors.items():
        peaks = [extra_mb(actions[what]) for what in (f"site {bits}", f"site {bits} threads", f"unmask {bits}")]
        print(f"{f'  {bits} bits':38}{vector.nbytes / 1e6:9.1f}" + "".join(f"{peak:9.1f}" for peak in peaks))
    peaks = [extra_mb(actions["flower site"]), extra_mb(actions["flower unmask"])]
    print(f"{'  Flower':38}{'':9}{peaks[0]:9.1f}{'':9}{peaks[1]:9.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=int, default=10_000_000)
    parser.add_argument("--sites", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2, help="beside one thread, show so many")
    parser.add_argument("--ctr", action="store_true", help="key stream under CTR only, as without vector AES")
    parser.add_argument("--chunks", action="store_true", help="only find the best size of a piece")
    parser.add_argument("--whole", action="store_true", help="only the whole steps, with keys, shares and signatures")
    options = parser.parse_args()
    if options.chunks:
        chunk_sweep()
    elif options.whole:
        for what, took in whole_steps(options.sites, options.parameters):
            print(f"{what if 'MB' in what else what + ', CPU-s':42}{took:9.3f}")
    elif options.ctr:
        with mock.patch.object(keystream, "_gcm_is_faster", return_value=False):
            report(options.parameters, options.sites, options.repeat, options.threads)
    else:
        report(options.parameters, options.sites, options.repeat, options.threads)


if __name__ == "__main__":
    main()
