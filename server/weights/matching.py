"""Which tensor of a file is which weight of a study's model: by name, or with another beginning.

    >>> layout = Layout(("conv1.bias",), ((3,),))
    >>> dict(match(layout, {"encoder.conv1.bias": np.zeros(3, np.float32)}).renamed)
    {'conv1.bias': 'encoder.conv1.bias'}

Guarantees: no tensor stands for two weights, none of another shape is taken, and at most one beginning is exchanged for
another, the one that most names agree on; whatever else differs is for the operator to say (`--map`).
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shared.layout import Layout, Vector

#: What BatchNorm keeps beside its weights; GroupNorm keeps nothing.
RUNNING = ("running_mean", "running_var", "num_batches_tracked")
#: Names with the same end that are compared, at most.
ALIKE = 1000


@dataclass(frozen=True)
class Matched:
    """Names of the model's weights and of the file's tensors: `same` name and shape; `renamed`, weight → tensor;
    weights that are `missing` in the file; tensors of another `shape`, weight → tensor; tensors that are `unused`, and
    of them the `running` statistics of BatchNorm."""

    same: tuple[str, ...]
    renamed: Mapping[str, str]
    missing: tuple[str, ...]
    shape: Mapping[str, str]
    unused: tuple[str, ...]
    running: tuple[str, ...]

    def chosen(self, tensors: Mapping[str, Vector]) -> dict[str, Vector]:
        """The file's tensors under the names of the model."""
        return {name: tensors[name] for name in self.same} | {new: tensors[old] for new, old in self.renamed.items()}


def renamed(tensors: Mapping[str, Vector], maps: Mapping[str, str]) -> dict[str, Vector]:
    """`tensors`, those whose names begin with a key of `maps` (whole words) with its value in the key's place. An empty
    value takes the beginning away; an empty key puts one before all that no other key fits."""
    return {_renamed(name, maps): tensor for name, tensor in tensors.items()}


def _renamed(name: str, maps: Mapping[str, str]) -> str:
    fits = [old for old in maps if not old or name == old or name.startswith(f"{old}.")]
    if not fits:
        return name
    old = max(fits, key=len)
    rest = name[len(old) :].removeprefix(".")
    return ".".join(part for part in (maps[old], rest) if part)


def match(layout: Layout, tensors: Mapping[str, Vector]) -> Matched:
    """The weights of `layout` found in `tensors`."""
    shapes = dict(zip(layout.names, layout.shapes, strict=True))
    same = tuple(name for name in layout.names if name in tensors and tensors[name].shape == shapes[name])
    other = {name: name for name in layout.names if name in tensors and name not in same}
    free = {name: tensor.shape for name, tensor in tensors.items() if name not in shapes}
    wanted = {name: shape for name, shape in shapes.items() if name not in tensors}
    mine, theirs = _beginnings(wanted, free)
    moved = {name: theirs + name[len(mine) :] for name in wanted if name.startswith(mine)}
    moved = {new: old for new, old in moved.items() if old in free}
    other |= {new: old for new, old in moved.items() if free[old] != wanted[new]}
    moved = {new: old for new, old in moved.items() if free[old] == wanted[new]}
    unused = tuple(sorted(set(tensors) - set(same) - set(moved.values())))
    return Matched(
        same=same,
        renamed=moved,
        missing=tuple(name for name in wanted if name not in moved and name not in other),
        shape=other,
        unused=unused,
        running=tuple(name for name in unused if name.rpartition(".")[2] in RUNNING),
    )


def _beginnings(wanted: Mapping[str, tuple[int, ...]], free: Mapping[str, tuple[int, ...]]) -> tuple[str, str]:
    """The beginning of the model's names, and of the file's, that most names agree to exchange; "" and "" for none."""
    by_end = defaultdict[tuple[object, ...], list[str]](list)
    for name, shape in free.items():
        by_end[*_end(name), shape].append(name)
    votes = Counter[tuple[str, str]]()
    for name, shape in wanted.items():
        votes.update(set(_differences(name, by_end[*_end(name), shape][:ALIKE])))
    best = max(votes.items(), key=lambda vote: (vote[1], -len(vote[0][0]) - len(vote[0][1]), vote[0]), default=None)
    return best[0] if best is not None else ("", "")


def _end(name: str) -> tuple[str, ...]:
    return tuple(name.split(".")[-2:])


def _differences(name: str, others: list[str]) -> Iterator[tuple[str, str]]:
    """For each of `others`, what stands before the longest common end of whole words."""
    words = name.split(".")
    for other in others:
        theirs, common = other.split("."), 0
        while common < min(len(words), len(theirs)) and words[-1 - common] == theirs[-1 - common]:
            common += 1
        yield _before(words, common), _before(theirs, common)


def _before(words: list[str], common: int) -> str:
    first = words[: len(words) - common]
    return ".".join(first) + "." if first else ""
