"""The unmasked sum is the integer sum, for every set of sites lost at every step; below the threshold there is none.

What a site may do once it was asked to contribute: never do so; or contribute and, in active mode, confirm or not, and
then answer or not. Small cohorts are gone through in every combination; larger ones are in test_exact_many.py.
"""

import copy
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from shared.errors import MisuseError, OperatorError, PeerError
from shared.secagg.collector import Collector
from shared.secagg.messages import UnmaskRequest
from shared.secagg.packing import Bits
from shared.wire import pack, unpack
from tests.shared.secagg.rounds import ADVERSARIES, WIDTHS, Adversary, Rounds, refused, rounds_of, subsets

# every combination, small cohorts


def thresholds(count: int) -> Iterator[tuple[int, int]]:
    """Every t that some plan of `count` sites may have, each with the most colluders it holds against."""
    for threshold in range(max(2, count // 2 + 1), count + 1):
        yield threshold, 2 * threshold - count - 1


def every_answer(rounds: Rounds, collector: Collector, survivors: tuple[str, ...]) -> int:
    """Step 3 and 4 for every part of the survivors that answers; how many there were."""
    answers = {name: rounds.unmask(name, collector.request(name)) for name in survivors}
    expected = rounds.total_of(survivors)
    tried = 0
    for answering in subsets(survivors):
        branch = copy.deepcopy(collector)
        for name in answering:
            branch.answer(answers[name])
        tried += 1
        if len(answering) < rounds.plan.threshold:
            refused(branch.finish, "unmask answers", rounds.plan, len(answering))
            continue
        assert rounds.read(branch.finish()) == expected
        assert branch.faults == []
    return tried


def every_combination(rounds: Rounds) -> None:
    """Each site: lost; or confirming or not, and answering or not: 5^n combinations in active mode, 3^n without."""
    plan, tried = rounds.plan, 0
    for survivors in subsets(rounds.names):
        collector = rounds.collector(survivors)
        if len(survivors) < plan.threshold:
            refused(collector.close, "contributions", plan, len(survivors))
            tried += (4 if rounds.active else 2) ** len(survivors)
            continue
        assert collector.close() == survivors
        if not rounds.active:
            tried += every_answer(rounds, collector, survivors)
            continue
        for confirming in subsets(survivors):
            branch = rounds.confirm(copy.deepcopy(collector), confirming)
            if len(confirming) < plan.threshold:
                refused(branch.settle, "confirmations", plan, len(confirming))
                tried += 2 ** len(survivors)
                continue
            branch.settle()
            tried += every_answer(rounds, branch, survivors)
    assert tried == (5 if rounds.active else 3) ** len(rounds.names)


@pytest.mark.parametrize("adversary", ADVERSARIES)
@pytest.mark.parametrize(
    ("count", "threshold", "colluders"), [*((n, t, c) for n in range(2, 6) for t, c in thresholds(n)), (6, 4, 1)]
)
def test_every_combination_of_losses_of_up_to_six_sites(
    count: int, threshold: int, colluders: int, adversary: Adversary
) -> None:
    every_combination(rounds_of(count, adversary, threshold, colluders))


@pytest.mark.parametrize("adversary", ADVERSARIES)
@pytest.mark.parametrize(("count", "threshold"), [(n, t) for n in range(2, 5) for t, _ in thresholds(n)])
@pytest.mark.parametrize("counts", [1, 4])
def test_every_combination_of_losses_without_a_vector(
    counts: int, count: int, threshold: int, adversary: Adversary
) -> None:
    """Counts alone, as in evaluation and in the survey; 1: nothing but how many sites there are."""
    rounds = rounds_of(count, adversary, threshold, length=0, counts=counts)
    assert all(len(member.vector) == 0 for member in rounds.members.values())
    assert rounds.total_of(rounds.names)[1] == []
    every_combination(rounds)


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("adversary", ADVERSARIES)
def test_every_combination_of_losses_at_every_width(bits: Bits, adversary: Adversary) -> None:
    """Four sites, t = 3, eleven words, which end within a byte at every packed width."""
    rounds = rounds_of(4, adversary, 3, 1, bits, 11)
    for survivors in subsets(rounds.names, 3):
        collector = rounds.collector(survivors)
        collector.close()
        rounds.settle(collector, survivors[:3])
        every_answer(rounds, collector, survivors)


# below the threshold


@pytest.mark.parametrize("adversary", ADVERSARIES)
@pytest.mark.parametrize(("count", "threshold"), [(n, t) for n in range(3, 6) for t, _ in thresholds(n)])
def test_below_the_threshold_no_site_tells_anything(count: int, threshold: int, adversary: Adversary) -> None:
    """A coordinator that goes on with fewer contributions than t: everything it asks for is right but their number,
    each site refuses, and a state that refused answers the full set after it."""
    rounds = rounds_of(count, adversary, threshold)
    whole = rounds.unmasking(rounds.names)
    requests = {name: unpack(UnmaskRequest, whole.request(name)) for name in rounds.names}
    for name, request in requests.items():
        peers = [peer for peer in rounds.names if peer != name]
        bundles = dict(zip(peers, request.bundles, strict=True))
        for others in subsets(peers):
            survivors = tuple(sorted((name, *others)))
            if len(survivors) >= threshold:
                continue
            hostile = replace(
                request,
                survivors=survivors,
                bundles=tuple(bundles[peer] for peer in others),
                confirmations=request.confirmations[: len(survivors)],
            )
            with pytest.raises(PeerError, match=f"survivors: expected at least {threshold} sites"):
                rounds.unmask(name, pack(hostile))
        rounds.unmask(name, pack(request))


@pytest.mark.parametrize("adversary", ADVERSARIES)
def test_a_failed_step_hands_nothing_over_and_waits_for_more(adversary: Adversary) -> None:
    """The sum stays masked behind each OperatorError, and is exact once enough have come."""
    rounds = rounds_of(5, adversary, 3)
    collector = rounds.collector("ab")
    refused(collector.close, "contributions", rounds.plan, 2)
    with pytest.raises(MisuseError):
        collector.finish()
    rounds.add(collector, "cd").close()
    if adversary == "active":
        rounds.confirm(collector, "bc")
        refused(collector.settle, "confirmations", rounds.plan, 2)
        for step in (lambda: collector.request("a"), collector.finish):
            with pytest.raises(MisuseError):
                step()
        rounds.confirm(collector, "d").settle()
    for name in "ad":
        rounds.answer(collector, name)
        with pytest.raises(OperatorError, match="unmask answers"):
            collector.finish()
    assert rounds.read(rounds.answer(collector, "b").finish()) == rounds.total_of("abcd")
