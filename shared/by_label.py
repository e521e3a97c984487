"""Figures of several labels beside each other, in tables that are narrow enough to be read.

Guarantees: every figure stands in one place, in the order given; labels with the same figures share tables, and a label
whose figures no other has is listed by name instead; no table has more than WIDEST columns beside its first; nothing is
computed here.

    >>> found = [Figure("dice", 0.5, "Dice", of=label) for label in ("liver", "spleen")]
    >>> [sheet.columns for sheet in sheets(found)]
    [('Of', 'Dice')]
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from shared.judged import Figure

#: Columns with an interval each that a laptop shows without moving the page.
WIDEST = 7


@dataclass(frozen=True)
class Sheet:
    """One table: `columns` name what stands in the first and the figures or labels beside it; each row has its name and
    a figure for each further column."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Figure, ...]], ...]


def name_of(figure: Figure) -> str:
    """What people read above it, and which way is better where that is down."""
    return f"{figure.shown}{' (lower is better)' if figure.better == 'lower' else ''}"


def alone(figures: Iterable[Figure]) -> tuple[tuple[str, Figure], ...]:
    """Those that a list shows, each with its name: of all images, or of a label that has no table."""
    given = tuple(figures)
    tabled = {of for group in _groups(given) for of in group}
    return tuple(
        (f"{name_of(figure)}{f', {figure.of}' if figure.of else ''}", figure)
        for figure in given
        if figure.of not in tabled
    )


def sheets(figures: Iterable[Figure]) -> tuple[Sheet, ...]:
    """The others: a row for each label, or for each figure where that makes fewer columns."""
    return tuple(sheet for group in _groups(figures) for sheet in _sheets(group))


def _groups(figures: Iterable[Figure]) -> tuple[dict[str, tuple[Figure, ...]], ...]:
    """Labels that have the same figures, two or more, with these."""
    each: dict[str, tuple[Figure, ...]] = {}
    for figure in figures:
        if figure.of:
            each[figure.of] = (*each.get(figure.of, ()), figure)
    alike: dict[tuple[str, ...], dict[str, tuple[Figure, ...]]] = {}
    for label, own in each.items():
        alike.setdefault(tuple(figure.name for figure in own), {})[label] = own
    return tuple(group for group in alike.values() if len(group) > 1)


def _sheets(group: dict[str, tuple[Figure, ...]]) -> Iterator[Sheet]:
    names = tuple(name_of(figure) for figure in next(iter(group.values())))
    table = tuple(group.values())  # a row for each label
    if len(names) <= len(group):
        yield from _cut("Of", names, tuple(group), table)
    else:
        yield from _cut("Figure", tuple(group), names, tuple(zip(*table, strict=True)))


def _cut(
    first: str, across: Sequence[str], down: Sequence[str], table: Sequence[tuple[Figure, ...]]
) -> Iterator[Sheet]:
    """The table of figures, `down` × `across`, in as few pieces as are narrow enough, all about as wide."""
    width = ceil(len(across) / ceil(len(across) / WIDEST))
    for start in range(0, len(across), width):
        part = slice(start, start + width)
        rows = tuple((name, row[part]) for name, row in zip(down, table, strict=True))
        yield Sheet((first, *across[part]), rows)
