"""The views of shared/models/views.py by how they are made, so that maps and boxes found in one can be turned back, and
labels that say a side change places."""

from collections.abc import Iterator

from shared.study import Task


def symmetries(views: int, *, square: bool) -> Iterator[tuple[tuple[int, ...], bool]]:
    """Sides along which an image is mirrored, counted from the last (−1), and whether its last two are then swapped."""
    if views <= 2:
        yield from [((), False), ((-1,), False)][:views]
        return
    for swapped in (False, True)[: 1 + square]:
        yield from ((flips, swapped) for flips in ((), (-1,), (-2,), (-2, -1)))


def mirrored_of(task: Task) -> list[int]:
    """For each label of `task` the place of the one that it is in a mirror image: its own, unless it says a side."""
    partner = {one: other for pair in task.mirrored for one, other in (pair, pair[::-1])}
    return [task.labels.index(partner.get(label, label)) for label in task.labels]
