"""The page: whole, closed, and holding nothing that a browser would fetch or run."""

import re
import stat
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from client.dicom.quality.figures import histogram, short
from client.dicom.quality.findings import findings
from client.dicom.quality.html import render, write_html
from client.dicom.quality.report import QualityReport
from client.dicom.quality.shortcuts import Shortcut

VOID = {"meta", "br", "hr", "img", "input", "link"}
SECTIONS = ("What it holds", "What is left out, and why", "What the images look like", "Shortcuts")


class Page(HTMLParser):
    """Elements, attributes and text of a page; raises AssertionError where a tag is not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID and tag not in ("rect", "line"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(params=["good", "bad", "bare"])
def report(request: pytest.FixtureRequest, good: QualityReport) -> QualityReport:
    """One in order, one in none, one that holds almost nothing."""
    if request.param != "bare":
        found = request.getfixturevalue(request.param)
        assert isinstance(found, QualityReport)
        return found
    counts = replace(good.counts, by_modality={"": 1}, by_laterality={}, by_label={}, left_out={}, series_left_out={})
    return replace(good, labelled=False, counts=counts, intensities=(), observed=0, shortcuts=())


def test_it_loads_nothing_and_runs_nothing(report: QualityReport) -> None:
    page = render(report)
    parsed = Page(page)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form", "a"} & set(parsed.tags)
    assert not any(
        name in ("src", "href", "srcset", "action") or name.startswith("on") for name, _ in parsed.attributes
    )
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_it_holds_every_section_and_finding_in_order(report: QualityReport) -> None:
    text = Page(render(report)).text
    places = [text.index(section) for section in SECTIONS]
    assert places == sorted(places)
    if "alert" not in text:
        assert all(" ".join(one.text.split()) in text for one in findings(report))


def test_it_is_the_same_twice_and_small(report: QualityReport) -> None:
    assert render(report) == render(report)
    assert len(render(report)) < 60_000


def test_no_figure_leaks_as_none_or_nan(report: QualityReport) -> None:
    assert not re.search(r"\b(None|nan|inf|Undefined)\b", Page(render(report)).text)


def test_hostile_words_stay_words(bad: QualityReport) -> None:
    page = render(bad)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "{{ 7*7 }}" in page


def test_its_figures_are_in_it(good: QualityReport, bad: QualityReport) -> None:
    text = Page(render(good)).text
    assert "nodule 290 100" in text
    assert "a localizer, not a diagnostic image 10 7 Nothing to do" in text
    assert "CT , 200 images. 1 %: -1,024; 25 %: -900; 50 %: 40; 75 %: 80; 99 %: 1,500." in text
    assert "writing burned in 0" in text
    problems = Page(render(bad)).text
    assert "4 findings to settle before training" in problems
    assert "writing burned in, US 8" in problems
    assert "writing burned in, not said 1" in problems
    assert "not decoded: the pixels could not be decoded 10" in problems


def test_one_finding_is_one(good: QualityReport) -> None:
    warning = Shortcut("nodule", "white border", "area", 0.97, (100, 280), "more", True)
    assert "1 finding to settle" in Page(render(replace(good, shortcuts=(warning,)))).text


def test_it_is_written_for_its_owner_only(good: QualityReport, tmp_path: Path) -> None:
    path = tmp_path / "quality.html"
    write_html(good, path)
    assert path.read_text("utf-8") == render(good)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["quality.html"]


def test_a_histogram_is_bars_in_proportion() -> None:
    root = ElementTree.fromstring(histogram((0.25, 0.0, 0.75), -1000.0, 2000.0, 'C"T'))  # noqa: S314  our own
    heights = [float(bar.get("height", "")) for bar in root.iter("rect")]
    assert heights == [40, 120]
    assert [tick.text for tick in root.iter("text")] == ["-1,000", "-250", "500", "1,250", "2,000"]
    assert root.get("aria-label") == 'C"T'


def test_a_histogram_of_nothing_has_no_bars() -> None:
    assert "<rect" not in histogram((), 0.0, 1.0, "nothing")
    assert "<rect" not in histogram((0.0,), 0.0, 1.0, "nothing")


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, "0"), (0.12345, "0.123"), (99.94, "99.9"), (-1024.4, "-1,024"), (1e6, "1,000,000")]
)
def test_figures_are_short(value: float, expected: str) -> None:
    assert short(value) == expected
