"""`audit.html`: an audit for a reviewer and the data protection officer, in one file.

Guarantees: made from an `Audit` and nothing else; loads nothing, and a content policy in the page forbids it; every
word from outside is escaped and freed of control characters; the same audit gives the same bytes.

    write_page(audit, Path("out"))   # out/audit.html
"""

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from server import text
from shared.files import write_atomically
from simulations.audit.auditor import LEVEL
from simulations.audit.membership import Membership
from simulations.audit.record import Audit, Canaries, headline

#: Width and height of a drawing, in its own units.
WIDTH, HEIGHT = 480, 150


@dataclass(frozen=True)
class Bar:
    """One bar of the histogram: from `x`, `width` wide, `top` of those trained on and of the others, from above."""

    x: float
    width: float
    inside: float
    outside: float


@dataclass(frozen=True)
class Mark:
    """One ε on the scale: its name, its figure, and how far along the scale, of WIDTH."""

    name: str
    epsilon: float
    x: float


def write_page(audit: Audit, folder: Path, name: str = "audit") -> Path:
    """`folder`/audit.html, or another `name`, whole or not at all. Raises SiteError if it cannot be written."""
    path = folder / f"{name}.html"
    write_atomically(path, render(audit).encode("utf-8", "replace"))
    return path


def render(audit: Audit) -> str:
    """The page."""
    environment = Environment(
        loader=PackageLoader("simulations.audit", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: text.printable(value) if type(value) is str else value,
    )
    for name in ("number", "percent", "power", "duration", "plural"):
        environment.filters[name] = getattr(text, name)
    return environment.get_template("audit.html.j2").render(
        audit=audit,
        headline=headline(audit),
        confidence=1 - LEVEL,
        marks=() if audit.canaries is None else _marks(audit.canaries),
        bars=() if audit.membership is None else _bars(audit.membership),
        width=WIDTH,
        height=HEIGHT,
    )


def _marks(found: Canaries) -> tuple[Mark, ...]:
    """What was proven and what was accounted for, on one scale from 0."""
    most = 1.05 * max(found.accounted, found.empirical, 1e-9)
    named = (("proven", found.empirical), ("composed exactly", found.tight), ("accounted", found.accounted))
    return tuple(Mark(name, epsilon, WIDTH * epsilon / most) for name, epsilon in named)


def _bars(found: Membership) -> tuple[Bar, ...]:
    """Heights as shares of each kind, so that both have the same area."""
    inside = [count / found.members for count in found.inside]
    outside = [count / found.others for count in found.outside]
    scale, step = HEIGHT / max(*inside, *outside), WIDTH / len(inside)
    return tuple(
        Bar(index * step, step, scale * high, scale * low)
        for index, (high, low) in enumerate(zip(inside, outside, strict=True))
    )
