"""What the outputs of a kind of task's network are, for whoever uses them without the kind's own measures.

"softmax": logits of classes that exclude each other, along the second dimension; "sigmoid": logits of labels that do
not; "mean": values as they are. A kind that is not here has outputs that mean nothing without its file in shared/tasks.
"""

from collections.abc import Mapping
from typing import Literal

Link = Literal["softmax", "sigmoid", "mean"]

#: By kind of task.
LINKS: Mapping[str, Link] = {
    "classification": "softmax",
    "multilabel": "sigmoid",
    "regression": "mean",
    "segmentation": "softmax",
    "enhancement": "mean",
}

#: For a reader of an exported model.
WORDS: Mapping[Link, str] = {
    "softmax": "logits; softmax along dimension 1 makes probabilities of them",
    "sigmoid": "logits; sigmoid makes a probability of each",
    "mean": "values as they are",
}
