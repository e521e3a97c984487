"""How large a study's model is, without keeping it: parameters, and bytes on the line per round."""

from shared.study import Study


def parameters_of(study: Study) -> int:
    """Weights of the study's network. Imports torch and builds the network once."""
    from shared.network import network_of  # noqa: PLC0415  torch takes seconds, and only this needs it
    from shared.parameters import layout_of  # noqa: PLC0415

    return layout_of(network_of(study)).size


def bytes_per_round(study: Study) -> int:
    """4 bytes per parameter down (float32 weights) and 4 up (uint32 masked vector); messages beside them are small."""
    return 4 * parameters_of(study) * 2
