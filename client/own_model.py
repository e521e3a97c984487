"""This hospital's own model of a run with federation.personal, as the file that evaluate and export read.

Guarantees: it is the very model that was judged here as this hospital's own. No thresholds stand in it: those of the
run were chosen for the common model. Nothing is sent.

Not promised: privacy. It was made of this hospital's patients alone, and no sum hides them: who is given it learns of
them what the study's privacy lets a model tell.
"""

import msgspec

from client.kept import Keeper
from shared.errors import InputError
from shared.layout import layout_for
from shared.published import Model
from shared.weights import save_weights


def own_model(model: Model, keeper: Keeper) -> bytes:
    """This hospital's own model of the run that made `model`, as safetensors bytes. Raises InputError where its study
    has none, or none was judged here."""
    study, weights = model.study, keeper.judged(model.run)
    if not study.federation.personal or weights is None:
        why = f"nothing kept of run {model.run or '(unknown)'}" if study.federation.personal else "a study without"
        raise InputError(
            f"{model.place}: own weights",
            expected="a run with federation.personal in which this hospital’s own model was judged",
            got=why,
            do="Name the finished model of that run, and the home that took part; what is kept is forgotten in time.",
        )
    metadata = {"run": model.run, "round": model.round, "study": msgspec.json.encode(study).decode()}
    return save_weights(layout_for(study), weights, metadata)
