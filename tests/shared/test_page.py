import re

import pytest

from shared.judged import Curve
from shared.page import Block, Chart, Commands, Lines, Page, Rows, Section, to_html, to_markdown

HOSTILE = (
    "<script>alert(1)</script>",
    "](https://evil.example) [x](javascript:alert(1))",
    "https://evil.example www.evil.example who@evil.example",
    "a | b\n# heading\n\n- item",
    "![x](//evil.example/pixel.png)",
    "`code` **bold** ~~gone~~ &lt; &#60;b&#62;",
    "\x1b[31m\u202e\x00",
    "</table></svg></title><style>*{display:none}</style>",
    '\'" onmouseover=alert(1) x="',
)


def page(word: str) -> Page:
    curve = Curve(chart=word, name=word, x_label=word, y_label=word, x=(0, 1), y=(0, 1), diagonal=True)
    blocks: tuple[Block, ...] = (
        Lines((word,)),
        Lines((word, word)),
        Rows((word, word), ((word, 0.5), (word, None)), title=word, note=word),
        Chart((curve,)),
        Commands(("konsil-client scan X",)),
    )
    return Page(word, (Section(word, blocks),), word)


@pytest.mark.parametrize("word", HOSTILE)
def test_no_word_becomes_markup(word: str) -> None:
    told = to_html(page(word))
    plain = to_html(page("plain"))
    tags = r"<[a-zA-Z/!][^>]*>"
    shape = [re.sub(r'"[^"]*"', '""', tag) for tag in re.findall(tags, told)]
    assert shape == [re.sub(r'"[^"]*"', '""', tag) for tag in re.findall(tags, plain)]
    assert "\x1b" not in told and "\u202e" not in told and "\x00" not in told


@pytest.mark.parametrize("word", HOSTILE)
def test_no_word_becomes_markdown(word: str) -> None:
    told = to_markdown(page(word))
    assert len(told.splitlines()) == len(to_markdown(page("plain")).splitlines())
    for line in told.splitlines():
        bare = re.sub(r"\\.", "", line)  # what is escaped means nothing
        assert not re.search(r"[<>&`\[\]!@]|www\.|:\S|~|\*\*.*\*\*.*\*\*", bare.replace("```", "")), line
    rows = [line for line in told.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3}


@pytest.mark.parametrize("word", ["1. one", "- one", "===", "---", "# one", "12.5 %"])
def test_no_line_begins_a_list_or_a_heading(word: str) -> None:
    last = to_markdown(Page("x", (Section("y", (Lines((word,)),)),))).splitlines()[-1]
    assert last == {"1. one": r"1\. one", "- one": r"\- one", "===": r"\===", "---": r"\---", "# one": r"\# one",
                    "12.5 %": r"12\.5 %"}[word]  # fmt: skip


def test_the_same_page_gives_the_same_bytes_and_loads_nothing() -> None:
    told = to_html(page("plain"))
    assert told == to_html(page("plain"))
    assert "default-src 'none'" in told
    assert not re.search(r"src=|href=|url\(|@import", told)


def test_numbers_are_shown_with_three_decimals_and_nothing_as_a_dash() -> None:
    told = to_markdown(Page("x", (Section("y", (Rows(("a", "b", "c"), ((0.12345, None, 7),)),)),)))
    assert "| 0.123 | – | 7 |" in told


def test_curves_lie_where_their_values_are() -> None:
    curve = Curve(chart="c", name="n", x_label="x", y_label="y", x=(0.0, 0.5, 1.0), y=(0.0, 1.0, 0.5))
    assert '<polyline points="60.0,315.0 210.0,15.0 360.0,165.0"' in to_html(
        Page("x", (Section("y", (Chart((curve,)),)),))
    )


def test_a_value_outside_widens_the_axis() -> None:
    curve = Curve(chart="c", name="n", x_label="x", y_label="y", x=(0.0, 2.0), y=(-1.0, 1.0))
    assert 'points="60.0,315.0 360.0,15.0"' in to_html(Page("x", (Section("y", (Chart((curve,)),)),)))
