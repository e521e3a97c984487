"""For each attack on Flower's SecAgg+: what is tried against Konsil, and the tests that keep it so."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import flower_aftermath
import flower_faults
import flower_hospitals
import flower_keys
import flower_leftovers
import flower_lists
import flower_rehearsals
import flower_replays
import flower_seeds
import flower_settings
from flower_attack import Attack
from flower_ward import Here, Ward

ACTIVE, REFUSALS = "tests/federation/test_active.py", "tests/federation/test_refusals.py"
SECAGG = "tests/shared/secagg"
REFUSED = f"{ACTIVE}::test_the_attack_is_refused_by_name_and_leaves_nothing_behind"
UNMASK_REFUSED = f"{REFUSALS}::test_a_hostile_unmask_request_is_refused_and_an_honest_one_still_served"
#: Runs every row here again, and compares it with the page.
AGAIN = "tests/test_attacks.py::test_what_is_said_of_konsil_comes_out_again"


@dataclass(frozen=True)
class Pair:
    """`run` tries the attack against Konsil; `tests` by file and name."""

    run: Callable[[Ward], Here]
    tests: tuple[str, ...]


def refusals(name: str, *whats: str) -> Callable[[Ward], Here]:
    """Attempts that PROTOCOL.md lists under `name`."""
    return lambda ward: ward.attempts(name, *whats)


_IDENTITY, _REPLAYED = "unknown or unsigned identity", "replayed, reordered or cross-run messages"

PAIRS: Mapping[Attack[Any], Pair] = {
    flower_seeds.short_seeds: Pair(
        flower_rehearsals.short_seeds,
        (
            f"{SECAGG}/test_keystream.py::test_the_stream_is_aes_256_ctr",
            f"{SECAGG}/test_hiding.py::test_one_pair_mask_left_is_as_good_as_all",
        ),
    ),
    flower_seeds.repeated_bundle: Pair(
        refusals("bundle not from a member of U", "twice", "too few"),
        (UNMASK_REFUSED,),
    ),
    flower_lists.alive_and_dead: Pair(
        flower_hospitals.alive_and_dead,
        (
            f"{SECAGG}/test_member.py::test_an_answer_holds_one_kind_of_secret_per_member",
            f"{REFUSALS}::test_one_unmask_request_per_plan_ever",
        ),
    ),
    flower_lists.one_survivor: Pair(flower_hospitals.one_survivor, (UNMASK_REFUSED,)),
    flower_lists.split_views: Pair(
        flower_rehearsals.split_views,
        (f"{SECAGG}/test_plan.py::test_a_threshold_that_does_not_hold_is_refused_whatever_the_study_says",),
    ),
    flower_lists.split_views_over_half: Pair(
        flower_rehearsals.split_views_over_half,
        (
            f"{ACTIVE}::test_mixed_views_give_a_hospitals_survey_in_semi_honest_mode_only",
            f"{ACTIVE}::test_no_mix_of_views_opens_another_sum_in_active_mode",
        ),
    ),
    flower_lists.threshold_one: Pair(
        flower_hospitals.threshold_one, (f"{SECAGG}/test_plan.py::test_values_out_of_range_do_not_decode",)
    ),
    flower_keys.substituted_keys: Pair(
        refusals(_IDENTITY, "a peer's run key replaced", "forged members"),
        (f"{REFUSALS}::test_a_hostile_plan_is_refused",),
    ),
    flower_keys.sybils: Pair(
        refusals(_IDENTITY, "sybils", "one sybil"), (f"{REFUSALS}::test_a_hostile_plan_is_refused",)
    ),
    flower_keys.bad_keys: Pair(
        flower_hospitals.bad_keys,
        (f"{SECAGG}/test_joining.py::test_a_signed_low_order_or_second_encoding_is_refused",),
    ),
    flower_keys.same_key_twice: Pair(
        refusals("one's own public key or a peer's listed twice", "one's own", "a peer's"),
        (f"{SECAGG}/test_plan.py::test_a_key_listed_twice_is_refused_though_each_owner_signed_it",),
    ),
    flower_keys.same_key_rewritten: Pair(
        flower_hospitals.same_key_rewritten,
        (f"{SECAGG}/test_joining.py::test_a_signed_low_order_or_second_encoding_is_refused",),
    ),
    flower_keys.changed_bundles: Pair(flower_hospitals.changed_bundles, (UNMASK_REFUSED,)),
    flower_settings.weights_zeroed: Pair(
        flower_hospitals.weights_zeroed,
        (
            f"{REFUSALS}::test_another_study_under_the_same_run_is_refused",
            f"{SECAGG}/test_plan.py::test_a_member_of_another_run_is_refused",
        ),
    ),
    flower_settings.modulus_two: Pair(
        flower_hospitals.modulus_two,
        (f"{SECAGG}/test_plan.py::test_a_site_refuses_a_plan_that_differs_in_any_of_its_terms",),
    ),
    flower_settings.different_models: Pair(
        flower_hospitals.different_models,
        (f"{REFUSALS}::test_sites_given_different_models_share_no_mask_and_their_sum_opens_to_nothing",),
    ),
    flower_settings.unmasked_type: Pair(
        flower_hospitals.unmasked_type,
        ("tests/client/test_executor.py::test_what_is_not_relayed_is_answered_as_failed", AGAIN),
    ),
    flower_replays.asked_twice: Pair(
        flower_hospitals.asked_twice,
        (
            f"{ACTIVE}::test_asked_again_for_the_same_survivors_the_same_bytes_leave",
            f"{REFUSALS}::test_a_replayed_plan_gives_the_same_bytes_one_charge_and_no_second_training",
        ),
    ),
    flower_replays.old_messages: Pair(
        refusals(
            _REPLAYED,
            "an old step",
            "an old confirm request",
            "an old unmask request",
            "bundles of another attempt",
            "confirmations of another attempt",
        ),
        (REFUSED,),
    ),
    flower_replays.wrong_round: Pair(
        refusals(
            _REPLAYED,
            "an older round",
            "confirmations of another round",
            "confirmations of another run",
            "bundles of another run",
        ),
        (REFUSED,),
    ),
    flower_replays.restart_with_fewer: Pair(
        flower_aftermath.restart_with_fewer,
        ("tests/federation/test_differences.py::test_a_survey_is_not_opened_again_over_fewer_hospitals", AGAIN),
    ),
    flower_settings.examples_in_the_clear: Pair(
        flower_hospitals.examples_in_the_clear,
        ("tests/federation/test_traces.py::test_a_site_that_hides_its_counts_shows_coarse_times",),
    ),
    flower_faults.weight_over_maximum: Pair(
        flower_hospitals.weight_over_maximum,
        ("tests/shared/test_update_weights.py::test_a_weight_over_the_public_maximum_is_found", AGAIN),
    ),
    flower_faults.parameter_over_range: Pair(
        flower_rehearsals.parameter_over_range,
        (
            "tests/shared/test_update.py::test_an_entry_over_the_norm_is_an_error_where_nothing_is_rotated",
            "tests/shared/test_update.py::test_clamped_entries_are_counted_and_what_is_left_is_the_bound",
        ),
    ),
    flower_faults.lost_before_sharing: Pair(
        flower_rehearsals.lost_before_sharing,
        (f"{SECAGG}/test_exact.py::test_every_combination_of_losses_of_up_to_six_sites",),
    ),
    flower_faults.wrong_share_silent: Pair(
        flower_rehearsals.wrong_share(1),
        (f"{SECAGG}/test_rebuild.py::test_wrong_self_shares_are_named_and_the_rest_go_on",),
    ),
    flower_faults.wrong_share_crash: Pair(
        flower_rehearsals.wrong_share(32),
        (f"{ACTIVE}::test_wrong_shares_are_caught_and_the_liar_is_named_in_the_report",),
    ),
    flower_faults.share_cut_short: Pair(
        flower_rehearsals.share_cut_short,
        (f"{SECAGG}/test_collector.py::test_a_hostile_contribution_changes_nothing",),
    ),
    flower_leftovers.secrets_in_context: Pair(
        flower_aftermath.secrets_in_context,
        (
            f"{ACTIVE}::test_secrets_of_a_plan_go_with_a_newer_one_and_with_its_answer",
            "tests/federation/test_traces.py::test_a_run_key_unused_for_long_is_deleted_for_good",
        ),
    ),
    flower_leftovers.bytes_per_parameter: Pair(
        flower_rehearsals.bytes_per_parameter,
        (f"{SECAGG}/test_member.py::test_a_vector_takes_so_many_bits_a_word",),
    ),
}
