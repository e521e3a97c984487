"""How large a study's model is, without keeping it: parameters, and bytes on the line per round."""

from shared.layout import layout_for
from shared.study import Study


def parameters_of(study: Study) -> int:
    """Weights of the study's network. Builds the network once."""
    return layout_for(study).size


def bytes_per_round(study: Study) -> int:
    """4 bytes per parameter that moves down (float32 weights) and 4 up (uint32 masked vector); messages beside them are
    small."""
    return 4 * layout_for(study).moving * 2
