"""The views of shared/models/views.py by how they are made, so that maps and boxes found in one can be turned back."""

from collections.abc import Iterator


def symmetries(views: int, *, square: bool) -> Iterator[tuple[tuple[int, ...], bool]]:
    """Sides along which an image is mirrored, counted from the last (−1), and whether its last two are then swapped."""
    if views <= 2:
        yield from [((), False), ((-1,), False)][:views]
        return
    for swapped in (False, True)[: 1 + square]:
        yield from ((flips, swapped) for flips in ((), (-1,), (-2,), (-2, -1)))
