"""A page of facts, once as Markdown and once as one HTML file: headings, sentences, lists, tables, charts, commands.

Guarantees: every word is escaped for where it stands, so that no label or name becomes a link, markup or an ending of
its table; control characters are gone; the HTML loads nothing and a content policy in it forbids it; the same page
gives the same bytes. What is said is the caller's.

    page = Page("Model card: chest", (Section("Data", (Lines(("four hospitals",)),)),))
    to_markdown(page), to_html(page)
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from shared.judged import Curve
from shared.svg import chart
from shared.text import decimal, printable

Cell = str | float | int | None

#: What CommonMark and GitHub's dialect give a meaning in running text (CommonMark 0.31 §2.4, GFM §6.9 for links without
#: brackets), and what begins a list, a heading or a rule at the beginning of a line.
_MARKS = re.compile(r"([\\`*_{}\[\]<>()#+!|~&@]|:(?!\s|$)|(?<=www)\.)", re.IGNORECASE)
_BEGINNING = re.compile(r"^(\d*)([-=.])")
_NONE = "–"


@dataclass(frozen=True)
class Lines:
    """Sentences; as a list where there are several."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Rows:
    """A table under `columns`; numbers are shown with three decimals, what does not exist as a dash."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Commands:
    """Lines for a shell; ours, never from outside."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Chart:
    """Curves in one drawing; Markdown has none and says where they are."""

    curves: tuple[Curve, ...]


Block = Lines | Rows | Commands | Chart


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    """The whole; `lead` is the sentence under its title."""

    title: str
    sections: tuple[Section, ...]
    lead: str = ""


def to_markdown(page: Page) -> str:
    """`page` in CommonMark with GitHub's tables."""
    parts = [f"# {_marked(page.title)}", *([_line(page.lead)] if page.lead else [])]
    for section in page.sections:
        parts.append(f"## {_marked(section.title)}")
        parts += [text for block in section.blocks for text in _markdown(block)]
    return "\n\n".join(parts) + "\n"


def to_html(page: Page) -> str:
    """`page` as one HTML file."""
    parts = [f"<h1>{_safe(page.title)}</h1>", *([f'<p class="lead">{_safe(page.lead)}</p>'] if page.lead else [])]
    for section in page.sections:
        parts.append(f"<h2>{_safe(section.title)}</h2>")
        parts += [text for block in section.blocks for text in _html(block)]
    return _FRAME.format(title=_safe(page.title), body="\n".join(parts))


def shown(cell: Cell) -> str:
    """A table's cell in words."""
    if cell is None:
        return _NONE
    return decimal(cell) if isinstance(cell, float) else str(cell)


def _marked(text: str) -> str:
    return _MARKS.sub(r"\\\1", printable(text))


def _line(text: str) -> str:
    return _BEGINNING.sub(r"\1\\\2", _marked(text))


def _safe(text: str) -> str:
    return escape(printable(text))


def _markdown(block: Block) -> Iterator[str]:
    if isinstance(block, Lines):
        many = len(block.lines) > 1
        yield "\n".join(f"- {_line(line)}" if many else _line(line) for line in block.lines)
    elif isinstance(block, Commands):
        yield "\n".join(["```sh", *map(printable, block.lines), "```"])
    elif isinstance(block, Chart):
        yield f"Drawn on the HTML page: {_marked(', '.join(_charts(block.curves)))}."
    else:
        yield from [f"**{_marked(block.title)}**"] if block.title else []
        rows = [block.columns, tuple("---" for _ in block.columns), *block.rows]
        cells = [[_marked(shown(cell)) if place != 1 else "---" for cell in row] for place, row in enumerate(rows)]
        yield "\n".join(f"| {' | '.join(row)} |" for row in cells)
        yield from [_line(block.note)] if block.note else []


def _html(block: Block) -> Iterator[str]:
    if isinstance(block, Lines):
        many = len(block.lines) > 1
        lines = [f"<li>{_safe(line)}</li>" if many else f"<p>{_safe(line)}</p>" for line in block.lines]
        yield f"<ul>{''.join(lines)}</ul>" if many else "".join(lines)
    elif isinstance(block, Commands):
        yield f"<pre>{_safe_lines(block.lines)}</pre>"
    elif isinstance(block, Chart):
        for name, curves in _charts(block.curves).items():
            yield f"<figure>{chart(curves)}<figcaption>{_safe(name)}</figcaption></figure>"
    else:
        caption = f"<caption>{_safe(block.title)}</caption>" if block.title else ""
        head = "".join(f'<th scope="col">{_safe(name)}</th>' for name in block.columns)
        rows = "".join(f"<tr>{''.join(f'<td>{_safe(shown(cell))}</td>' for cell in row)}</tr>" for row in block.rows)
        table = f"{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        kind = ' class="many"' if len(block.columns) > 2 else ""
        yield f'<div class="wide"><table{kind}>{table}</div>'
        yield from [f'<p class="note">{_safe(block.note)}</p>'] if block.note else []


def _safe_lines(lines: Sequence[str]) -> str:
    return "\n".join(map(_safe, lines))


def _charts(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    found: dict[str, list[Curve]] = {}
    for curve in curves:
        found.setdefault(curve.chart, []).append(curve)
    return found


_FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ --paper: #fff; --ink: #1b1f24; --muted: #59636e; --line: #d5dae0; --soft: #f4f6f8; --blue: #0a5fa8 }}
@media screen and (prefers-color-scheme: dark) {{ :root {{ --paper: #14181d; --ink: #e6e9ed; --muted: #a3adb8;
  --line: #343c46; --soft: #1d232a; --blue: #6db5f5 }} }}
body {{ margin: 0 auto; max-width: 62rem; padding: 1.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere }}
h1 {{ font-size: 1.75rem; line-height: 1.2 }}
h2 {{ font-size: 1.25rem; margin-top: 2.5rem; padding-top: .9rem; border-top: 1px solid var(--line) }}
.lead, .note, figcaption, caption {{ color: var(--muted); text-align: left }}
.wide {{ overflow-x: auto; margin: 1rem 0 }}
table {{ border-collapse: collapse; min-width: 50% }}
th, td {{ text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top }}
.many {{ font-size: .85rem }} .many th, .many td {{ overflow-wrap: break-word }} caption {{ font-size: .92rem }}
.many td:first-child {{ position: sticky; left: 0; background: var(--paper); max-width: 13rem }}
@media (max-width: 34rem) {{ .many td:first-child {{ max-width: 7.5rem }} }}
pre {{ background: var(--soft); padding: .8rem; overflow-x: auto }}
svg {{ max-width: 26rem; height: auto; color: var(--ink) }}
</style>
</head>
<body>
{body}
</body>
</html>
"""
