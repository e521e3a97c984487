"""In which unit changes of SCAFFOLD's control variates travel: gradients, scaled to the size of updates.

>>> from shared.study import MINIMAL, parse_study
>>> control_unit(parse_study(MINIMAL).training, 1)  # two steps at rate 0.1
0.2
"""

from shared.optimiser import learning_rate
from shared.study import Training


def control_unit(training: Training, round: int) -> float:
    """What a gradient is multiplied by on its way up: as far as it moves a model in `round`. Public, the same at both
    ends: of epochs it is one step each, for how many steps a hospital makes is its own."""
    return learning_rate(training, round) * (training.local_steps or training.local_epochs or 1)
