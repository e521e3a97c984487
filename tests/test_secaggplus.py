"""What is said of Flower's SecAgg+ is what the installed Flower's code does: each row of benchmarks/secaggplus.py.

Where Flower mends one of these, the test of that row fails, and the sentence about it has to go.
"""

import sys
from pathlib import Path

import numpy as np
import pytest
from flwr.common.secure_aggregation.crypto.symmetric_encryption import generate_shared_key
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
from flwr.supercore.primitives.asymmetric import generate_key_pairs
from flwr.supercore.task_identity import TaskIdentity

# benchmarks/ is a folder of scripts, not a package.
sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import flower_attack
import flower_faults
import flower_keys
import flower_leftovers
import flower_lists
import flower_replays
import flower_round
import flower_seeds
import flower_settings
import flower_workflow
import secaggplus
from flower_attack import Attack

sys.path.pop()

#: One site's update, bit for bit, to a coordinator (or, for the last, to whoever reads the node's state).
RECOVERED = [
    flower_lists.alive_and_dead,
    flower_lists.one_survivor,
    flower_lists.split_views,
    flower_lists.threshold_one,
    flower_keys.substituted_keys,
    flower_keys.sybils,
    flower_keys.same_key_rewritten,
    flower_replays.restart_with_fewer,
    flower_settings.weights_zeroed,
    flower_seeds.repeated_bundle,
    flower_leftovers.secrets_in_context,
]
#: Let through, with what the row says of it.
LET_THROUGH = [
    (flower_replays.old_messages, "old keys and bundles refused"),
    (flower_replays.wrong_round, "nothing by itself"),
    (flower_settings.modulus_two, "the sign of every parameter"),
    (flower_settings.different_models, "one site's update to"),
    (
        flower_settings.unmasked_type,
        "in the clear, where the app uses @app.train(); an app made from client_fn refuses it",
    ),
    (flower_settings.examples_in_the_clear, "137 images at site 2"),
    (flower_faults.weight_over_maximum, "every site sent 0.5, the model says 0.084: 1 warning,"),
    (flower_faults.parameter_over_range, "every site sent 100, the model says 16: 0 warnings"),
    (flower_faults.lost_before_sharing, "the 4 other sites raise KeyError: 5"),
    (flower_faults.wrong_share_silent, "taken without an error; nobody is named"),
    (flower_faults.wrong_share_crash, "ValueError: Failed to combine shares"),
    (flower_faults.share_cut_short, "the workflow ends with ValueError"),
]
#: Where Flower holds.
REFUSED = [
    (flower_lists.split_views_over_half, "3 shares of 4 needed"),
    (flower_keys.bad_keys, "8 of 8 refused"),
    (flower_keys.same_key_twice, "Some public keys are identical"),
    (flower_replays.asked_twice, "each stage answers once"),
    (flower_keys.changed_bundles, "InvalidToken, InvalidToken, InvalidToken"),
]


def test_the_mask_seed_is_found_by_search() -> None:
    gain = flower_seeds.short_seeds(near=True)
    assert gain.works
    assert gain.gained.startswith("passive: both remaining sites' updates, exactly")


@pytest.mark.parametrize("attack", RECOVERED, ids=lambda attack: attack.name)
def test_an_update_is_recovered(attack: Attack[[]]) -> None:
    gain = attack()
    assert gain.works
    assert gain.gained.startswith("one site's update, exactly")


@pytest.mark.parametrize(("attack", "words"), LET_THROUGH)
def test_it_is_let_through(attack: Attack[[]], words: str) -> None:
    gain = attack()
    assert gain.works
    assert words in gain.gained


@pytest.mark.parametrize(("attack", "words"), REFUSED)
def test_flower_holds(attack: Attack[[]], words: str) -> None:
    gain = attack()
    assert not gain.works
    assert gain.gained.startswith("nothing")
    assert words in gain.gained


def test_eight_bytes_go_over_the_wire_for_each_parameter() -> None:
    assert flower_leftovers.bytes_per_parameter(parameters=1000).works


def test_an_honest_round_of_the_harness_gives_the_mean() -> None:
    with flower_attack.flower_log(), flower_attack.as_server():
        federation = flower_round.Federation(4, threshold=3)
        wire = flower_workflow.Wire(federation.sites)
        model = flower_workflow.workflow_round(federation, wire)
    assert model is not None
    np.testing.assert_array_equal(model, np.mean(list(federation.truth.values()), axis=0))
    assert not any(letter.error for letter in wire.traffic)


def test_every_row_of_the_table_has_a_test() -> None:
    tested = {flower_seeds.short_seeds, flower_leftovers.bytes_per_parameter, *RECOVERED}
    assert tested | {each for each, _ in LET_THROUGH + REFUSED} == set(secaggplus.ATTACKS)


def test_the_search_goes_over_every_seed_a_shared_key_can_give() -> None:
    for _ in range(8):
        (private, _), (_, public) = generate_key_pairs(), generate_key_pairs()
        seed = flower_seeds.folded(generate_shared_key(private, public))
        assert seed & 0x80808080 == 0
        index = flower_seeds.index_of(seed)
        assert index < 1 << 28
        assert int(flower_seeds.spread(np.array([index], np.uint32))[0]) == seed


def test_the_search_draws_what_flower_draws() -> None:
    seeds = np.array([0, 1, 0x7F7F7F7F, 123456789], np.uint32)
    drawn = [int(pseudo_rand_gen(int(seed).to_bytes(4, "little"), 1 << 32, [(1,)])[0][0]) for seed in seeds]
    assert flower_seeds.first_words(seeds).tolist() == drawn


def test_the_process_is_what_it_was_afterwards() -> None:
    before = dict(vars(TaskIdentity))
    flower_keys.same_key_twice()
    assert vars(TaskIdentity) == before
