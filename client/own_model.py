"""This hospital's own model of a run with federation.personal, as the file that evaluate and export read.

Guarantees: it is the model that was judged here as this hospital's own: the common weights of the finished model, and
in their places those that were kept here. No thresholds stand in it: those of the run were chosen for the common model.
Nothing is sent.

Not promised: privacy. It was made of this hospital's patients alone, and no sum hides them: who is given it learns of
them what the study's privacy lets a model tell.
"""

import msgspec

from client.kept import Keeper
from client.personal import PERSONAL, make_personal
from shared.errors import InputError
from shared.network import network_of
from shared.parameters import layout_of, load_vector, to_vector
from shared.published import Model
from shared.weights import save_weights


def own_model(model: Model, keeper: Keeper) -> bytes:
    """`model` with this hospital's own weights, as safetensors bytes. Raises InputError where its study has none, or
    none were judged here."""
    study = model.study
    kept = keeper.judged(model.run)
    if not study.federation.personal or PERSONAL not in kept:
        why = f"nothing kept of run {model.run or '(unknown)'}" if study.federation.personal else "a study without"
        raise InputError(
            f"{model.place}: own weights",
            expected="a run with federation.personal in which this hospital’s own model was judged",
            got=why,
            do="Name the finished model of that run, and the home that took part; what is kept is forgotten in time.",
        )
    module = network_of(study)
    load_vector(module, model.weights)
    make_personal(study, module, layout_of(module).part(model.weights), kept)
    metadata = {"run": model.run, "round": model.round, "study": msgspec.json.encode(study).decode()}
    return save_weights(layout_of(module), to_vector(module), metadata)
