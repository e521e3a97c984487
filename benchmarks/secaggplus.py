"""What a coordinator gains against Flower's own SecAgg+, by attack: each one is run against the installed Flower.

The sites are real ClientApps behind Flower's `secaggplus_mod`; every message and every site's state passes through
Flower's own wire format, and a site whose app raises keeps its old state, as under Flower's node. The server is
either Flower's `SecAggPlusWorkflow` itself or sends an honest round's messages with one thing wrong. An attack
counts as working where the code let it happen: a recovered update is compared with the true one bit for bit (the
numbers are chosen so that quantising is exact). Where Flower holds, the table says so.

Flower's documentation promises that the server can open only the sum and names no adversary. Rows marked "passive" need
a server that does nothing but follow the workflow; the others need one that lies, or a site that does.

    python benchmarks/secaggplus.py [--near] [--only PART_OF_A_NAME]

The attacks lie in flower_*.py beside it, by theme; what Konsil does against the same: attacks.py.
"""

import argparse
from collections.abc import Mapping
from typing import Any

from flower_attack import Attack, Gain
from flower_faults import (
    lost_before_sharing,
    parameter_over_range,
    share_cut_short,
    weight_over_maximum,
    wrong_share_crash,
    wrong_share_silent,
)
from flower_keys import bad_keys, changed_bundles, same_key_rewritten, same_key_twice, substituted_keys, sybils
from flower_leftovers import bytes_per_parameter, secrets_in_context
from flower_lists import alive_and_dead, one_survivor, split_views, split_views_over_half, threshold_one
from flower_replays import asked_twice, old_messages, restart_with_fewer, wrong_round
from flower_seeds import repeated_bundle, short_seeds
from flower_settings import different_models, examples_in_the_clear, modulus_two, unmasked_type, weights_zeroed

#: By the published failures of PROTOCOL.md.
THEMES: Mapping[str, tuple[Attack[Any], ...]] = {
    "Mask seeds of 28 bits": (short_seeds, repeated_bundle),
    "Both secrets of one node": (alive_and_dead, one_survivor, split_views, split_views_over_half),
    "Any threshold": (threshold_one,),
    "No signatures": (
        substituted_keys,
        sybils,
        bad_keys,
        same_key_twice,
        same_key_rewritten,
        changed_bundles,
    ),
    "No consistency check": (weights_zeroed, modulus_two, different_models, unmasked_type),
    "No binding to run and round": (asked_twice, old_messages, wrong_round, restart_with_fewer),
    "Weights and ranges": (examples_in_the_clear, weight_over_maximum, parameter_over_range),
    "Sites that are lost or lie": (lost_before_sharing, wrong_share_silent, wrong_share_crash, share_cut_short),
    "Secrets in the framework's context": (secrets_in_context,),
    "Bytes on the wire": (bytes_per_parameter,),
}
ATTACKS: tuple[Attack[Any], ...] = tuple(attack for attacks in THEMES.values() for attack in attacks)


def gain_of(attack: Attack[Any], *, near: bool) -> Gain:
    """`near`: where seeds are searched, only the 2^20 around the true one, extrapolated to all 2^28."""
    return attack(near=near) if attack is short_seeds else attack()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--near", action="store_true", help="search 2^20 of the 2^28 mask seeds and extrapolate")
    parser.add_argument("--only", default="", help="attacks whose name has this in it")
    options = parser.parse_args()
    print(f"{'attack on SecAgg+':68}{'works':7}{'CPU-s':>7}  gained")
    for attack in ATTACKS:
        if options.only in attack.name:
            gain = gain_of(attack, near=options.near)
            print(f"{gain.attack:68}{'yes' if gain.works else 'no':7}{gain.seconds:7.2f}  {gain.gained}", flush=True)


if __name__ == "__main__":
    main()
