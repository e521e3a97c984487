"""What the lists of the unmask stage and the threshold let a coordinator ask for (published failures, 2 and 3)."""

import numpy as np
from flower_arithmetic import pair_seeds, sealing_key, unmasked, update_of
from flower_attack import Outcome, attack
from flower_round import Federation, opened_by_all
from flower_workflow import Wire, workflow_round
from flwr.common.secure_aggregation.crypto.shamir import combine_shares


@attack("one unmask message names a node both alive and dead")
def alive_and_dead() -> Outcome:
    federation, victim = Federation(5, threshold=4), 5
    keys, masked = federation.until_masked()
    opened = opened_by_all(federation, federation.nodes, [victim])
    seed = combine_shares([each.seeds[victim] for each in opened])
    private = combine_shares([each.keys[victim] for each in opened])
    plain = unmasked(masked[victim], victim, seed, pair_seeds(private, keys, victim))
    return federation.verdict(victim, update_of(plain), "both its secrets come in one answer, for any t and n")


@attack("one survivor listed t times, all others called dead")
def one_survivor() -> Outcome:
    """No name stands in both lists and all sites see the same lists: the client counts entries, not nodes."""
    federation, victim = Federation(5, threshold=4), 5
    keys, masked = federation.until_masked()
    others = [node for node in federation.nodes if node != victim]
    opened = opened_by_all(federation, [victim] * federation.threshold, others)
    seed = combine_shares([each.seeds[victim] for each in opened])
    pairs = {}
    for node in others:
        private = combine_shares([each.keys[node] for each in opened])
        pairs[node] = sealing_key(private, keys[victim][0])
    plain = unmasked(masked[victim], victim, seed, pairs)
    return federation.verdict(victim, update_of(plain), "t is checked against the length of a list with repeats")


@attack("different dead lists to different sites, t at most half")
def split_views() -> Outcome:
    return split(threshold=3)


@attack("different dead lists to different sites, t over half")
def split_views_over_half() -> Outcome:
    return split(threshold=4)


def split(threshold: int) -> Outcome:
    """Sites 1-3 hear that the seventh is alive, 4-6 that it is dead."""
    federation, victim = Federation(7, threshold=threshold), 7
    keys, masked = federation.until_masked()
    others = federation.nodes[:-1]
    seeds = [federation.unmask(node, federation.nodes).seeds[victim] for node in others[:3]]
    shares = [federation.unmask(node, others, [victim]).keys[victim] for node in others[3:]]
    try:
        pairs = pair_seeds(combine_shares(shares), keys, victim)
        plain = unmasked(masked[victim], victim, combine_shares(seeds), pairs)
    except ValueError:
        return f"nothing: {len(seeds)} shares of {threshold} needed (but the coordinator names t)", False
    return federation.verdict(victim, update_of(plain), f"{threshold} shares of each secret, t = {threshold} of 7")


@attack("threshold 1, 0 or below")
def threshold_one() -> Outcome:
    """One site, alone in its cohort: no peer, no pair mask, and its own answer is its whole self seed."""
    took = []
    for threshold in (1, 0, -1):
        federation, victim = Federation(5, threshold=threshold), 5
        keys = federation.setup([victim])
        federation.share(victim, keys)
        masked = federation.collect(victim, [])
        seed = combine_shares([federation.unmask(victim, [victim]).seeds[victim]])
        if np.array_equal(update_of(unmasked(masked, victim, seed, {})), federation.truth[victim]):
            took.append(str(threshold))
    federation = Federation(3, threshold=0)
    ran = workflow_round(federation, Wire(federation.sites)) is not None
    workflow = f"Flower's workflow {'runs with 0 too' if ran else 'refuses 0'}"
    return f"one site's update, exactly, from that site alone, at t = {', '.join(took)}; {workflow}", len(took) == 3
