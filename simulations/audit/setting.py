"""The study that an audit runs in place of the one it audits, and how its opened sums are read.

Guarantees: the same mode, ε, δ, clip and rate over the same number of steps, so the same noise. Changed, so that
nothing but the noise stands between auditor and canaries: a small network on small images; each step its own round;
plain steps, which only add the noisy sums up; no drop-outs, so that no noise is to spare. All of it is post-processing,
or public.
"""

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from server.aggregate import Sum
from shared.accounting import planned_steps
from shared.messages.tasks import TrainTask
from shared.noisy_sum import mechanism_of, read_sum
from shared.study import Aggregation, Evaluation, Federation, Input, Model, Study, Task
from shared.update import Codec
from simulations.audit.auditor import LEAST_BLANK
from simulations.hospital import LABELS

#: What a canary moves its weight by in one step: much more than float32 rounds, much less than upsets the network.
STEP = 1e-3
#: Pixels of an image's side.
SIDE = 8
#: Outputs of the small network's convolution, flat, and weights of that: then [FLAT → hidden → 2].
WIDTH, FLAT = 4, 64
#: Hospitals at least.
LEAST_SITES = 3


def audited(study: Study, canaries: int) -> Study:
    """The study that is run in place of `study`: the same privacy, over the same number of steps."""
    clip, steps, asked = study.privacy.clip or 1.0, planned_steps(study), study.aggregation
    batch = max(1, round(canaries / 2 * (study.privacy.sampling_rate or 1.0)))  # canaries drawn, in the mean
    hidden = -(-(canaries + canaries // 10 + LEAST_BLANK) // (FLAT + 3))
    sites = max(LEAST_SITES, asked.colluders + 2)
    training = replace(
        study.training,
        rounds=steps,
        local_steps=1,
        batch=batch,
        learning_rate=STEP * batch / clip,
        optimizer="sgd",
        momentum=0.0,
        weight_decay=0.0,
        schedule="constant",
        warmup=0,
        augmentation=(),
        copies=1,
        class_weights="equal",
        precision="float32",
        early_stopping=0,
    )
    return Study(
        name="audit",
        task=Task(labels=LABELS),
        input=Input(modalities=("DX", "CR"), size=(SIDE, SIDE)),
        model=Model(name="cnn", options={"blocks": 1, "width": WIDTH, "pooling": "flatten", "hidden": hidden}),
        training=training,
        federation=Federation(min_sites=sites, max_images=1000),
        privacy=study.privacy,
        aggregation=Aggregation(
            adversary=asked.adversary, threshold=1.0, colluders=asked.colluders, update_norm=1000 * STEP
        ),
        evaluation=Evaluation(test=0.25, validation=0.25, every=steps),
    )


def opened(study: Study, task: TrainTask, total: Sum, parameters: int) -> NDArray[np.float64]:
    """The noisy sum of clipped gradients over hospitals, in clips, float64 [parameters], that `total` holds.

    In mode "distributed" as it is; in mode "local" from how far one plain step along it moved the weights.
    """
    cohort, survivors = len(total.plan.cohort), len(total.survivors)
    if study.privacy.mode == "distributed":
        clip = task.clip or 0.0
        mechanism = mechanism_of(study, clip=clip, cohort=cohort, parameters=parameters)
        return read_sum(total.opened, survivors, mechanism)[:parameters] / clip  # beyond: the bits of adaptive clipping
    codec = Codec.of(study, cohort=cohort, parameters=parameters, seed=total.plan.payload)
    update = codec.read(total.opened, survivors, study.federation.max_images)
    moved: NDArray[np.float64] = update.mean.astype(np.float64) * (-survivors / STEP)
    return moved
