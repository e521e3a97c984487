"""Mask seeds of 28 bits: found by search (PROTOCOL.md's list of published failures, 1)."""

import functools
import time
from collections.abc import Iterable
from typing import cast

import numpy as np
from flower_arithmetic import masks, pair_seeds, sealing_key, unmasked, update_of
from flower_attack import EXAMPLES, MAX_WEIGHT, MODULUS, TARGET, KeyPair, Masked, Outcome, Words, attack
from flower_round import Federation, configs_of, masked_of
from flower_sites import Site
from flower_workflow import Wire, workflow_round
from flwr.common.secure_aggregation.crypto.shamir import combine_shares
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    parameters_addition,
    parameters_mod,
    parameters_subtraction,
)
from flwr.common.secure_aggregation.secaggplus_constants import Key, Stage

BLOCK_BITS = 14
_SHIFT, _FACTOR = np.array(30, np.uint32), np.array(1812433253, np.uint32)
_STEPS = [np.array(i, np.uint32) for i in range(398)]


def spread(indices: Words) -> Words:
    """28-bit numbers as seeds: the top bit of each byte is 0, for a seed is the XOR of a base64 text's 4-byte words."""
    parts = [(indices >> np.uint32(7 * k) & np.uint32(127)) << np.uint32(8 * k) for k in range(4)]
    seeds: Words = parts[0] | parts[1] | parts[2] | parts[3]
    return seeds


def index_of(seed: int) -> int:
    """The inverse of `spread`."""
    return sum((seed >> 8 * k & 127) << 7 * k for k in range(4))


def first_words(seeds: Words) -> Words:
    """The first word numpy's RandomState draws from each seed: MT19937 seeded up to word 397, twisted, tempered."""
    word, scratch, second = seeds.copy(), np.empty_like(seeds), seeds
    for step in range(1, 398):
        np.right_shift(word, _SHIFT, out=scratch)
        np.bitwise_xor(scratch, word, out=scratch)
        np.multiply(scratch, _FACTOR, out=word)
        np.add(word, _STEPS[step], out=word)
        if step == 1:
            second = word.copy()
    mixed = (seeds & np.uint32(0x80000000)) | (second & np.uint32(0x7FFFFFFF))
    out: Words = word ^ (mixed >> np.uint32(1)) ^ ((mixed & np.uint32(1)) * np.uint32(0x9908B0DF))
    out ^= out >> np.uint32(11)
    out ^= (out << np.uint32(7)) & np.uint32(0x9D2C5680)
    out ^= (out << np.uint32(15)) & np.uint32(0xEFC60000)
    out ^= out >> np.uint32(18)
    return out


def seeds_drawing(first: int, blocks: Iterable[int]) -> list[int]:
    """Seeds whose first word is `first`, in these blocks of 2^14."""
    found: list[int] = []
    inside = np.arange(1 << BLOCK_BITS, dtype=np.uint32)
    for block in blocks:
        seeds = spread(inside + np.uint32(block << BLOCK_BITS))
        found += [int(seed) for seed in seeds[first_words(seeds) == first]]
    return found


def folded(shared: bytes) -> int:
    """The 32-bit seed Flower's pseudo_rand_gen makes of a shared key."""
    return functools.reduce(
        int.__xor__, (int.from_bytes(shared[i : i + 4], "little") for i in range(0, len(shared), 4))
    )


def blocks_around(site: Site, peer: bytes) -> range:
    """The 2^20 seeds around the one the site shares with this public key, read from the site's own state."""
    true = folded(sealing_key(cast(bytes, site.secrets()["sk1"]), peer))
    start = index_of(true) >> BLOCK_BITS & ~63
    return range(start, start + 64)


def passive_view() -> tuple[Federation, dict[int, KeyPair], dict[int, Masked], int]:
    """Flower's workflow, three sites, t = 2, the third lost after sharing; then only what passed over the wire.

    Returns the federation, the keys, the vectors of sites 1 and 2 with every mask off but the one between
    these two (subtracted by 1, added by 2), and the weight of site 1.
    """
    federation = Federation(3, threshold=2)
    wire = Wire(federation.sites, lost={3: Stage.COLLECT_MASKED_VECTORS})
    workflow_round(federation, wire)
    keys = {}
    for node, reply in wire.replies(Stage.SETUP).items():
        pair = configs_of(reply)
        keys[node] = (cast(bytes, pair[Key.PUBLIC_KEY_1]), cast(bytes, pair[Key.PUBLIC_KEY_2]))
    shares: dict[int, list[bytes]] = {node: [] for node in federation.nodes}
    for reply in wire.replies(Stage.UNMASK).values():
        owners = cast(list[int], configs_of(reply)[Key.NODE_ID_LIST])
        for owner, share in zip(owners, cast(list[bytes], configs_of(reply)[Key.SHARE_LIST]), strict=True):
            shares[owner].append(share)
    with_lost = pair_seeds(combine_shares(shares[3]), keys, 3)
    sent = wire.replies(Stage.COLLECT_MASKED_VECTORS)
    left = {
        node: unmasked(masked_of(reply), node, combine_shares(shares[node]), {3: with_lost[node]})
        for node, reply in sent.items()
    }
    examples = cast(int, sent[1].metric_records["fitres.num_examples"]["num_examples"])
    return federation, keys, left, round(examples / MAX_WEIGHT * TARGET)


@attack("mask seeds of 28 bits, from a non-cryptographic generator")
def short_seeds(near: bool = False) -> Outcome:
    """near: search only the 2^20 seeds around the true one and extrapolate.

    One unknown mask is one search. Several at once are out of its reach, so a passive coordinator needs all but two
    sites of a neighbourhood gone; one that lies has `repeated_bundle`.
    """
    federation, keys, left, weight = passive_view()
    blocks = blocks_around(federation.sites[1], keys[2][0]) if near else range(1 << 28 - BLOCK_BITS)
    begun = time.process_time()
    # The weight, masked by the first word drawn, is known: it follows from the number of images sent in the clear.
    candidates = seeds_drawing((weight - int(left[1][0][0])) % MODULUS, blocks)
    whole = (time.process_time() - begun) * (1 << 28 - BLOCK_BITS) / len(blocks)
    for seed in candidates:
        mask = masks(seed.to_bytes(4, "little"), left[1])
        plain = {
            1: parameters_mod(parameters_addition(left[1], mask), MODULUS),
            2: parameters_mod(parameters_subtraction(left[2], mask), MODULUS),
        }
        if all(np.array_equal(update_of(plain[node]), federation.truth[node]) for node in plain):
            how = (
                f"t = 2, one site lost; 2^28 seeds in {whole:.0f} CPU-s ({'extrapolated' if near else 'all searched'})"
            )
            return f"passive: both remaining sites' updates, exactly; {how}", True
    return "nothing", False


@attack("one bundle handed over t − 1 times, the others kept back")
def repeated_bundle() -> Outcome:
    """The bundles are counted with repeats: one peer's mask, t − 1 times over, is all that covers the update.

    Five times a number is undone modulo 2^32, so the search is that of `short_seeds`, here near the true seed.
    """
    federation, victim, times = Federation(9, threshold=6), 9, 5
    keys = federation.setup()
    bundles = federation.share_all(keys)
    only = [bundle for bundle in bundles if bundle.to == victim and bundle.source == 1]
    masked = {node: federation.collect(node, bundles) for node in federation.nodes[:-1]}
    masked[victim] = federation.collect(victim, only * times)
    opened = [federation.unmask(node, federation.nodes) for node in masked if node != victim]
    left = unmasked(masked[victim], victim, combine_shares([each.seeds[victim] for each in opened]), {})
    covered = int(left[0][0]) - round(EXAMPLES / MAX_WEIGHT * TARGET)
    first = covered * pow(times, -1, MODULUS) % MODULUS
    for seed in seeds_drawing(first, blocks_around(federation.sites[victim], keys[1][0])):
        pairs = zip(left, masks(seed.to_bytes(4, "little"), left), strict=True)
        plain = parameters_mod([array - times * mask for array, mask in pairs], MODULUS)
        if np.array_equal(update_of(plain), federation.truth[victim]):
            return "one site's update, exactly: one seed of 28 bits covers it, whatever t is (searched as above)", True
    return "nothing", False
