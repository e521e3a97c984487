"""The attacker's arithmetic: what follows from the seeds and keys of Flower's SecAgg+."""

from collections.abc import Mapping

import numpy as np
from flower_attack import CLIPPING, MODULUS, TARGET, KeyPair, Masked, Vector
from flwr.common.secure_aggregation.crypto.symmetric_encryption import generate_shared_key
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    factor_extract,
    get_parameters_shape,
    parameters_addition,
    parameters_mod,
    parameters_subtraction,
)
from flwr.common.secure_aggregation.quantization import dequantize
from flwr.common.secure_aggregation.secaggplus_utils import (
    pseudo_rand_gen,
)
from flwr.supercore.primitives.asymmetric import (
    bytes_to_private_key,
    bytes_to_public_key,
    generate_key_pairs,
    private_key_to_bytes,
    public_key_to_bytes,
)


def masks(seed: bytes, like: Masked) -> Masked:
    return pseudo_rand_gen(seed, MODULUS, get_parameters_shape(like))


def pair_seeds(private: bytes, keys: Mapping[int, KeyPair], without: int) -> dict[int, bytes]:
    """The seeds a node shares with its peers, from its first private key."""
    own = bytes_to_private_key(private)
    return {k: generate_shared_key(own, bytes_to_public_key(pair[0])) for k, pair in keys.items() if k != without}


def unmasked(vector: Masked, node: int, self_seed: bytes, pairs: Mapping[int, bytes]) -> Masked:
    """The node's quantised vector, from its masked one and all of its seeds."""
    plain = parameters_subtraction(vector, masks(self_seed, vector))
    for peer, seed in pairs.items():
        undo = parameters_subtraction if node > peer else parameters_addition
        plain = undo(plain, masks(seed, vector))
    return parameters_mod(plain, MODULUS)


def update_of(quantised: Masked) -> Vector:
    """One node's update, from its weight and its quantised weighted update."""
    weight, rest = factor_extract(quantised)
    return np.asarray(dequantize(rest, CLIPPING, TARGET)[0] * (TARGET / weight), np.float64)


def new_keys() -> tuple[KeyPair, KeyPair]:
    """(private, public): two pairs, as a node makes them."""
    (one, pub_one), (two, pub_two) = generate_key_pairs(), generate_key_pairs()
    private = (private_key_to_bytes(one), private_key_to_bytes(two))
    return private, (public_key_to_bytes(pub_one), public_key_to_bytes(pub_two))


def sealing_key(private: bytes, public: bytes) -> bytes:
    return generate_shared_key(bytes_to_private_key(private), bytes_to_public_key(public))
