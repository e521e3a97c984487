"""What a round leaves behind, and what it costs on the wire (published failures, 7 and 8)."""

from typing import cast

from flower_arithmetic import pair_seeds, unmasked, update_of
from flower_attack import Outcome, attack
from flower_round import Federation
from flwr.common.secure_aggregation.secaggplus_constants import Key, Stage
from flwr.common.serde import message_to_proto


@attack("secrets in the framework's context, in the clear, after the round")
def secrets_in_context() -> Outcome:
    """The node's state after the round and the masked vector as sent give the update."""
    federation, victim = Federation(3, threshold=2), 3
    _, masked = federation.until_masked()
    federation.summed(masked)
    secrets = federation.sites[victim].secrets()
    names = cast(list[int], secrets["public_keys_dict:K"])
    flat = cast(list[bytes], secrets["public_keys_dict:V"])
    keys = {node: (flat[2 * i], flat[2 * i + 1]) for i, node in enumerate(names)}
    pairs = pair_seeds(cast(bytes, secrets["sk1"]), keys, victim)
    found = update_of(unmasked(masked[victim], victim, cast(bytes, secrets["rd_seed"]), pairs))
    return federation.verdict(victim, found, "to whoever reads the node's state (sk1, sk2, rd_seed); not over the wire")


@attack("bytes on the wire for each parameter")
def bytes_per_parameter(parameters: int = 10_000) -> Outcome:
    federation = Federation(3, threshold=2, size=parameters)
    keys = federation.setup()
    bundles = federation.share_all(keys)
    mine = [bundle for bundle in bundles if bundle.to == 1]
    lists = {Key.CIPHERTEXT_LIST: [b.ciphertext for b in mine], Key.SOURCE_LIST: [b.source for b in mine]}
    message = federation.message(1, Stage.COLLECT_MASKED_VECTORS, lists, federation.model)
    reply = message_to_proto(federation.sites[1].answer(message)).ByteSize()
    each = reply / parameters
    return f"{each:.2f} bytes each (int64), where values are below 2^32", each >= 8
