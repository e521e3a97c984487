"""What an onlooker can tell from masked vectors: nothing, by statistics and by a game with a trained adversary.

Masks come from the operating system's randomness, so a test here may fail by chance: all of them together less than
once in 10^6 runs. Each claim stands beside a control that shows the same statistic or adversary at work without masks.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import stats

from shared.crypto.sealing import unseal
from shared.models.registry import build
from shared.parameters import to_vector
from shared.quantize import Quantizer
from shared.secagg.masks import Sign, Words, add_masks
from shared.secagg.member import Masked
from shared.secagg.messages import Contribution, piece
from shared.secagg.packing import unpack_words
from shared.secagg.plan import Plan
from shared.secagg.rehearsal import Federation, Hospital
from shared.secagg.sharing import SHARE_BYTES, combine, weights_at_zero
from shared.study import Model
from shared.wire import unpack

Bits = Literal[32, 16, 10]

#: A statistic may call uniform words strange so often; about 200 are looked at in a run.
ALARM = 1e-9
#: An adversary's wins are called more than luck, or fewer, at this chance; two games are judged so.
LUCK = 1e-7
WORDS = 1 << 16


def words_of(plan: Plan, sent: Masked) -> Words:
    """The masked words of a contribution: the one place here that knows how they travel."""
    return unpack_words(sent.vector, plan.length, plan.bits).copy()


# Uniform, whatever the vector


def bytes_p(words: Words, bits: int) -> float:
    """Chi-square of the lowest and the highest eight bits, the worse of the two."""
    found = []
    for place in (0, bits - 8):
        counts = np.bincount((words.astype(np.uint64) >> np.uint64(place)) & np.uint64(255), minlength=256)
        found.append(float(stats.chisquare(counts).pvalue))
    return min(found) * 2


def bits_p(words: Words, bits: int) -> float:
    """Zeros against ones in the lowest and in the highest bit."""
    found = []
    for place in (0, bits - 1):
        ones = int(((words.astype(np.uint64) >> np.uint64(place)) & np.uint64(1)).sum())
        found.append(float(stats.binomtest(ones, words.size).pvalue))
    return min(found) * 2


def kolmogorov_p(words: Words, bits: int) -> float:
    """Kolmogorov and Smirnov's distance of the words from evenly spread ones; a word stands for its middle."""
    return float(stats.kstest((words + 0.5) / 2.0**bits, "uniform").pvalue)


def runs_p(words: Words, bits: int) -> float:
    """Runs above and below the middle (Wald and Wolfowitz 1940): neighbours change sides half of the time."""
    above = words >= 2 ** (bits - 1)
    changes = int((above[1:] != above[:-1]).sum())
    return float(stats.binomtest(changes, words.size - 1).pvalue)


def serial_p(words: Words, bits: int) -> float:
    """Chi-square of the top four bits of neighbours, in pairs that do not overlap."""
    top = words.astype(np.uint64) >> np.uint64(bits - 4)
    pairs = np.bincount(top[0::2] * np.uint64(16) + top[1::2], minlength=256)
    return float(stats.chisquare(pairs).pvalue)


Statistic = Callable[[Words, int], float]
STATISTICS: dict[str, Statistic] = {
    "bytes": bytes_p, "bits": bits_p, "kolmogorov": kolmogorov_p, "runs": runs_p, "serial": serial_p,
}  # fmt: skip


def strange(words: Words, bits: int) -> list[str]:
    """The statistics by which `words` are not uniform."""
    return [name for name, statistic in STATISTICS.items() if statistic(words, bits) < ALARM]


@cache
def real_update() -> NDArray[np.float32]:
    """What a step on four grey images makes of the registered `cnn`, as many entries as `WORDS`."""
    net = build(Model(name="cnn"), channels=1, classes=2, size=(32, 32), seed=0)
    before = to_vector(net)
    images = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    torch.autograd.backward(F.cross_entropy(net(images), torch.tensor([0, 1, 1, 1])))
    torch.optim.SGD(net.parameters(), lr=0.5).step()
    return np.resize(to_vector(net) - before, WORDS)


def vectors(bits: Bits) -> dict[str, Words]:
    quantizer = Quantizer(bound=1.0, sites=2, bits=bits)
    wave = np.sin(np.linspace(0, 20, WORDS)).astype(np.float32) * np.float32(40 / quantizer.steps)
    return {
        "zeros": np.zeros(WORDS, quantizer.dtype),
        "constant": np.full(WORDS, 3 << (bits - 3), quantizer.dtype),
        "wave": quantizer.encode(wave, 1.0, seed=bytes(32)) & np.array(2**bits - 1, quantizer.dtype),
        "update": quantizer.encode(real_update(), 1.0, seed=bytes(32)) & np.array(2**bits - 1, quantizer.dtype),
    }


@pytest.mark.parametrize("bits", [32, 16, 10])
def test_a_masked_vector_passes_every_statistic_whatever_the_vector(bits: Bits) -> None:
    federation = Federation.of(2)
    plan = federation.plan(length=WORDS, bits=bits)
    for name, vector in vectors(bits).items():
        masked = words_of(plan, federation.contribute(plan, federation.hospitals[0], vector))
        assert strange(masked, bits) == [], name


@pytest.mark.parametrize("bits", [32, 16, 10])
def test_control_every_statistic_finds_vectors_without_masks(bits: Bits) -> None:
    found = vectors(bits)
    for name in ("zeros", "constant", "wave"):
        assert strange(found[name], bits) == list(STATISTICS), name
    # the lowest bits of a real update are as good as random where its words are fine, the rest is not
    assert {"bytes", "kolmogorov"} <= set(strange(found["update"], bits))


def test_one_mask_of_a_known_seed_is_enough() -> None:
    """No chance in this one: the stream of a fixed seed passes, always."""
    for vector in vectors(32).values():
        add_masks(vector, [(bytes(range(32)), 1)])
        assert strange(vector, 32) == []


# Colluders


def sign(own: int, other: int) -> Sign:
    """Of the mask of secret `other` in the vector of member `own` (PROTOCOL.md, step 1)."""
    return 1 if other >= own else -1


def secrets_by_collusion(plan: Plan, sent: Mapping[int, Masked], owner: int, members: Collection[int]) -> list[bytes]:
    """All n mask seeds of `owner`, put together from the bundles that t `members` were sent, as they can open them."""
    bundles = unpack(Contribution, sent[owner].contribution).bundles
    opened = {}
    for member in members:
        sealed = bundles[member - (member > owner)]  # a dealer leaves its own place out
        opened[member] = unseal(sent[member].state.openers[owner], sealed, plan.digest())
    weights = weights_at_zero([member + 1 for member in opened])
    slots = range(len(plan.cohort))
    return [combine([piece(opened[k], slot, SHARE_BYTES) for k in opened], weights) for slot in slots]


def without(words: Words, own: int, secrets: Mapping[int, bytes]) -> Words:
    """`words` of member `own` less the masks of `secrets`, by slot."""
    bare = words.copy()
    add_masks(bare, [(secret, -1 if sign(own, slot) == 1 else 1) for slot, secret in secrets.items()])
    return bare


def everybody(federation: Federation, plan: Plan, vectors: Mapping[str, Words]) -> dict[int, Masked]:
    return {k: federation.contribute(plan, h, vectors[h.name]) for k, h in enumerate(federation.hospitals)}


def test_all_others_but_one_against_one_site_learn_nothing() -> None:
    """n - 2 pair masks are known, and the self masks too, as after step 3: the last pair mask hides the vector."""
    federation = Federation.of(5)
    plan = federation.plan(length=WORDS)
    zeros = {hospital.name: np.zeros(WORDS, np.uint32) for hospital in federation.hospitals}
    sent = everybody(federation, plan, zeros)
    for own in sent:
        others = [k for k in sent if k != own]
        seeds = dict(enumerate(secrets_by_collusion(plan, sent, own, others[: plan.threshold])))
        for honest in others:
            known = {slot: seed for slot, seed in seeds.items() if slot != honest}
            assert strange(without(words_of(plan, sent[own]), own, known), 32) == []
        assert not without(words_of(plan, sent[own]), own, seeds).any()  # control: with that one it lies open


def test_masks_of_a_pair_in_two_plans_are_independent() -> None:
    federation = Federation.of(2)
    a, b = federation.hospitals

    def pair_mask(own: Hospital, peer: int, round_: int) -> Words:
        plan = federation.plan(length=WORDS, round=round_)
        state = federation.contribute(plan, own, np.zeros(WORDS, np.uint32)).state
        mask = np.zeros(WORDS, np.uint32)
        add_masks(mask, [(state.seeds[peer], 1)])
        return mask

    first, second = pair_mask(a, 1, 1), pair_mask(a, 1, 2)
    for both in (first, second, first - second, first + second, first ^ second):
        assert strange(both, 32) == []
    # control: the two ends of the pair have the same mask in the same plan
    assert strange(first - pair_mask(b, 0, 1), 32) == list(STATISTICS)


# The game: which of two vectors of the adversary's choice does a hold, b holding the other?

GAMES, LENGTH = 500, 48
FEATURES = 5 * (LENGTH + 256)


@dataclass(frozen=True)
class Records:
    """What adversaries of growing knowledge see, [GAMES, hospitals, LENGTH], and the coin that each has to guess."""

    coin: NDArray[np.bool_]
    #: the coordinator: what it is sent
    masked: NDArray[np.uint32]
    #: with n - 2 colluders, after step 3: all masks of a and b taken off but that of their pair
    one_mask_left: NDArray[np.uint32]
    #: with t colluders: every seed of a
    all_taken_off: NDArray[np.uint32]
    #: masks off: the vectors themselves
    bare: NDArray[np.uint32]


@cache
def records() -> Records:
    federation = Federation.of(5)
    rng = np.random.default_rng(7)
    coins = rng.random(GAMES) < 0.5
    quantizer = Quantizer(bound=10.0, sites=5)
    choice = [quantizer.encode(x, 1.0, seed=bytes(32)) for x in (np.zeros(LENGTH, np.float32), real_update()[:LENGTH])]
    shape = (GAMES, 5, LENGTH)
    masked, one_left, taken, bare = (np.zeros(shape, np.uint32) for _ in range(4))
    for game, coin in enumerate(coins):
        plan = federation.plan(length=LENGTH, round=game + 1)
        held = [choice[int(coin)], choice[1 - int(coin)], *[np.zeros(LENGTH, np.uint32)] * 3]
        sent = everybody(federation, plan, dict(zip("abcde", held, strict=True)))
        bare[game], masked[game] = held, [words_of(plan, sent[k]) for k in range(5)]
        one_left[game], taken[game] = masked[game], masked[game]
        seeds = [dict(enumerate(secrets_by_collusion(plan, sent, own, (2, 3, 4)))) for own in (0, 1)]
        for own, peer in ((0, 1), (1, 0)):
            known = {slot: seed for slot, seed in seeds[own].items() if slot != peer}
            one_left[game, own] = without(masked[game, own], own, known)
        taken[game, 0] = without(masked[game, 0], 0, seeds[0])
    return Records(coins, masked, one_left, taken, bare)


def features(seen: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Every word as a number in [-1, 1), and how often each byte occurs at each hospital: [games, FEATURES]."""
    numbers = (seen.view(np.int32) / 2.0**31).reshape(len(seen), -1)
    octets = seen.view(np.uint8).reshape(len(seen) * 5, -1)
    places = octets.astype(np.int64) + 256 * np.arange(len(octets))[:, None]
    counts = np.bincount(places.ravel(), minlength=256 * len(octets)).reshape(len(seen), -1)
    return np.concatenate([numbers, counts / (4 * LENGTH)], axis=1)


def wins(seen: NDArray[np.uint32], coin: NDArray[np.bool_]) -> tuple[int, int]:
    """Right guesses, of how many, of logistic regression trained on the first half of the games, in the second."""
    found, half = features(seen), len(seen) // 2
    mean, spread = found[:half].mean(axis=0), found[:half].std(axis=0)
    found = (found - mean) / np.where(spread > 0, spread, 1.0)
    weights, bias = np.zeros(found.shape[1]), 0.0
    for _ in range(200):
        error = 1 / (1 + np.exp(-np.clip(found[:half] @ weights + bias, -30, 30))) - coin[:half]
        weights -= 0.02 * (found[:half].T @ error / half + 0.01 * weights)
        bias -= 0.02 * float(error.mean())
    guesses = found[half:] @ weights + bias > 0
    return int((guesses == coin[half:]).sum()), len(coin) - half


def luck(seen: NDArray[np.uint32]) -> float:
    """The chance that coin tossing is as far from half as the trained adversary."""
    right, games = wins(seen, records().coin)
    return float(stats.binomtest(right, games).pvalue)


def test_the_adversary_guesses_no_better_than_a_coin() -> None:
    assert luck(records().masked) > LUCK


def test_one_pair_mask_left_is_as_good_as_all() -> None:
    assert luck(records().one_mask_left) > LUCK


def test_the_sum_is_the_same_either_way() -> None:
    """So the adversary cannot win by what it is meant to see."""
    assert len({total.tobytes() for total in records().bare.sum(axis=1, dtype=np.uint32)}) == 1


@pytest.mark.parametrize("view", ["bare", "all_taken_off"])
def test_control_the_same_adversary_wins_without_masks_or_with_t_colluders(view: str) -> None:
    right, games = wins(getattr(records(), view), records().coin)
    assert right >= 0.98 * games
