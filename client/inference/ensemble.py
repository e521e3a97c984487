"""Several models as one: their outputs are averaged where the mean of outputs is an output again.

Guarantees: models are put together only if they answer the same question of the same tensors; a kind of task for which
no mean is known to be right is refused by name. Probabilities are averaged, not logits (Lakshminarayanan et al. 2017,
§2.4), and given back as logits, so that the kind's own measures stay as they are, sliding windows and views included.

    network = Ensemble((first, second), "softmax")
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shared.errors import InputError
from shared.meaning import Link
from shared.published import Model
from shared.study import Study
from shared.tasks.registry import kind_of
from shared.wire import pack

#: Keeps logarithms finite; float32 probabilities below it are 0 for every measure.
_LEAST = 1e-7


class Ensemble(nn.Module):
    """`members` as one network: [n, C, …] → [n, classes, …], logits of the mean probability or the mean value."""

    def __init__(self, members: Sequence[nn.Module], link: Link) -> None:
        super().__init__()
        self.members, self.link = nn.ModuleList(members), link

    def forward(self, images: Tensor) -> Tensor:
        """As each member's. In evaluation mode only: members then give nothing but logits."""
        outputs = [member(images).float() for member in self.members]
        if self.link == "mean":
            return torch.stack(outputs).mean(dim=0)
        if self.link == "sigmoid":
            shares = torch.stack([output.sigmoid() for output in outputs]).mean(dim=0).clamp(_LEAST, 1 - _LEAST)
            return shares.logit()
        return torch.stack([output.softmax(dim=1) for output in outputs]).mean(dim=0).clamp_min(_LEAST).log()


def link_of(studies: Sequence[Study]) -> Link:
    """How outputs of these studies' models are averaged. Raises InputError for studies that differ in task or input,
    and for a kind that has no mean."""
    first = studies[0]
    for other in studies[1:]:
        for section in ("task", "input"):
            if pack(getattr(first, section)) != pack(getattr(other, section)):
                raise InputError(
                    f"ensemble of {first.name} and {other.name}",
                    expected=f"models of the same [{section}]",
                    got="two that differ there",
                    do="Evaluate them one by one.",
                )
    kind, link = first.task.kind, kind_of(first).meaning.link
    if link is None:
        raise InputError(
            f"ensemble of {kind}",
            expected="a kind of task whose outputs have a mean that is an output again",
            got=f"{kind}, whose outputs have none",
            do="Evaluate the models one by one.",
        )
    return link


def check_distinct(models: Sequence[Model]) -> None:
    """Raise InputError where a model is named twice: it would count twice."""
    seen: dict[str, Model] = {}
    for model in models:
        if model.sha256 in seen:
            raise InputError(
                str(model.place),
                expected="models that differ",
                got=f"the weights of {seen[model.sha256].place} again",
                do="Name each model once.",
            )
        seen[model.sha256] = model
