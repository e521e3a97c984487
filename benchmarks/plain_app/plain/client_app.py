"""The plain app's hospital: the study's model, its steps of SGD, its evaluation; images from an .npz file."""

import time
from pathlib import Path

import monai  # noqa: F401  as an app of this kind does
import numpy as np
import opacus  # noqa: F401
import torch
import torch.nn.functional as F
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import nn

from shared.network import network_of
from shared.study import Study, read_study

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """The study's local steps, on random batches."""
    started = time.perf_counter()
    study, module = _open(message, context)
    images, labels = _images(context, "train")
    optimizer = torch.optim.SGD(module.parameters(), lr=study.training.learning_rate)
    for _ in range(study.training.local_steps or 1):
        chosen = torch.randint(len(images), (study.training.batch,))
        optimizer.zero_grad()
        F.cross_entropy(module(images[chosen]), labels[chosen]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    arrays = ArrayRecord(module.state_dict())
    return _reply(message, {"arrays": arrays, "metrics": _metrics(started, len(images))})


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """The model's scores of the validation images."""
    started = time.perf_counter()
    _, module = _open(message, context)
    images, labels = _images(context, "validation")
    with torch.no_grad():
        right = (module.eval()(images).argmax(1) == labels).float().mean()
    metrics = _metrics(started, len(images))
    metrics["accuracy"] = float(right)
    return _reply(message, {"metrics": metrics})


def _open(message: Message, context: Context) -> tuple[Study, nn.Module]:
    study = read_study(Path(str(context.node_config["study"])))
    module = network_of(study)
    module.load_state_dict(message.content.array_records["arrays"].to_torch_state_dict())
    return study, module


def _images(context: Context, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    with np.load(Path(str(context.node_config["images"]))) as file:
        return torch.from_numpy(file[split]), torch.from_numpy(file[f"{split}_label"])


def _metrics(started: float, count: int) -> MetricRecord:
    return MetricRecord({"num-examples": count, "seconds": time.perf_counter() - started})


def _reply(message: Message, records: dict[str, ArrayRecord | MetricRecord]) -> Message:
    return Message(RecordDict(dict(records)), reply_to=message)
