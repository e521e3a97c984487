"""What the coordinator alone decides, for each site apart: no consistency check (published failures, 4)."""

import numpy as np
from flower_arithmetic import update_of
from flower_attack import CLIPPING, EXAMPLES, MAX_WEIGHT, MODULUS, TARGET, Outcome, Train, Vector, attack, raised
from flower_round import Federation
from flower_workflow import Wire, workflow_round
from flwr.app import Context, Message
from flwr.app.message_type import MessageType
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    factor_extract,
    parameters_mod,
)
from flwr.common.secure_aggregation.secaggplus_constants import Key, Stage
from flwr.compat.common import recorddict_compat as compat


@attack("all other sites' weights set to zero by the set-up")
def weights_zeroed() -> Outcome:
    """The maximal weight is any number, told to each site apart: 500 of 10^12 rounds to nothing."""
    federation, victim = Federation(5, threshold=4), 5
    keys = federation.setup([victim]) | federation.setup(federation.nodes[:4], {Key.MAX_WEIGHT: 1e12})
    bundles = federation.share_all(keys)
    total = federation.summed({node: federation.collect(node, bundles) for node in keys})
    # A site of weight zero still adds the quantised zero, which is known.
    zero = round(CLIPPING * TARGET / (2 * CLIPPING))
    plain = [total[0], parameters_mod([total[1] - 4 * zero], MODULUS)[0]]
    return federation.verdict(victim, update_of(plain), "the sum of an otherwise honest round is this site's alone")


@attack("modulus 2: masks of zeros")
def modulus_two() -> Outcome:
    """Masks are drawn from [0, modulus − 2]; a tiny maximal weight makes one bit of each parameter its sign."""
    federation, victim = Federation(5, threshold=4), 5
    keys = federation.setup(changed={Key.MOD_RANGE: 2, Key.TARGET_RANGE: 1, Key.MAX_WEIGHT: 1e-6})
    masked = federation.collect(victim, federation.share_all(keys))
    truth = federation.truth[victim]
    works = bool(np.array_equal(masked[1][truth != 0] == 1, truth[truth != 0] > 0))
    return ("the sign of every parameter of one site, from its masked vector alone" if works else "nothing"), works


@attack("different models to different sites")
def different_models() -> Outcome:
    """v·relu(w·x + b): where the model sent has b = −8, no gradient flows and the site returns what it was sent."""
    federation, victim, features = Federation(4, threshold=3, size=6), 4, 4

    def trained(seed: int) -> Train:
        inputs = np.random.default_rng(seed).random((16, features))

        def step(model: Vector) -> Vector:
            weights, bias, scale = model[:features], model[features], model[features + 1]
            alive = inputs @ weights + bias > 0
            error = scale * np.maximum(inputs @ weights + bias, 0) - inputs.sum(1)
            slope = error * scale * alive
            gradient = np.concatenate([slope @ inputs, [slope.sum()], [error @ np.maximum(inputs @ weights + bias, 0)]])
            return np.asarray(model - 0.1 * gradient / len(inputs), np.float64)

        return step

    for node, site in federation.sites.items():
        site.train = trained(node)
    honest, dead = np.full(features + 2, 0.5), np.full(features + 2, 0.5)
    dead[features] = -8
    keys = federation.setup()
    bundles = federation.share_all(keys)
    masked = {node: federation.collect(node, bundles, honest if node == victim else dead) for node in federation.nodes}
    weight, rest = factor_extract(federation.summed(masked))
    sums = np.asarray(rest[0]) * (2 * CLIPPING / TARGET) - len(masked) * CLIPPING
    found = (sums - 3 * dead * EXAMPLES / MAX_WEIGHT) * 4 * TARGET / weight
    truth = federation.sites[victim].train(honest)
    error, moved = np.abs(found - truth).max(), np.abs(truth - honest).max()
    works = bool(error < 1e-3 * moved)
    return f"one site's update to {error:.0e} (it moved by {moved:.2f}): nothing says all got one model", works


@attack("the message type train.default")
def unmasked_type() -> Outcome:
    """An app with `@app.train()` answers "train" and "train.default" alike; the mod masks only "train"."""
    federation, victim = Federation(3, threshold=2), 3
    app = ClientApp(mods=[secaggplus_mod])

    @app.train()
    def train(message: Message, _: Context) -> Message:
        update = ndarrays_to_parameters([federation.truth[victim]])
        result = FitRes(Status(Code.OK, ""), update, EXAMPLES, {})
        return Message(compat.fitres_to_recorddict(result, True), reply_to=message)

    site = federation.sites[victim]
    masked_type = raised(lambda: site.answer(federation.message(victim, "none", {}, federation.model), app))
    message = federation.message(victim, Stage.SETUP, {}, federation.model, kind=f"{MessageType.TRAIN}.default")
    reply = site.answer(message, app).content
    arrays = parameters_to_ndarrays(compat.recorddict_to_fitres(reply, True).parameters)
    old_style = raised(lambda: site.answer(message))
    works = bool(np.array_equal(arrays[0], federation.truth[victim])) and bool(masked_type)
    note = "an app made from client_fn refuses it" if old_style else "an app made from client_fn too"
    return (f"one site's update in the clear, where the app uses @app.train(); {note}" if works else "nothing"), works


@attack("the number of a site's images, though weights are masked")
def examples_in_the_clear() -> Outcome:
    federation = Federation(3, threshold=2)
    wire = Wire(federation.sites)
    federation.sites[2].examples = 137
    workflow_round(federation, wire)
    reply = wire.replies(Stage.COLLECT_MASKED_VECTORS)[2]
    sent = reply.metric_records["fitres.num_examples"]["num_examples"]
    return f"passive: {sent} images at site 2, in the reply beside the masked weight", sent == 137
