import re
from collections.abc import Callable
from xml.etree import ElementTree

import matplotlib as mpl
import pytest

from server.report import figures
from server.report.figures import Dot
from server.report.result import Result
from shared.judged import Curve

ROWS = [Dot("city", 0.9, 0.8, 0.95), Dot("north", 0.7, None, None), Dot("federated", 0.93, 0.91, 0.95, ours=True)]


CURVES = tuple(Curve("ROC", name, "x", "y", (0.0, 0.5, 1.0), (0.0, 0.8, 1.0), diagonal=True) for name in "abc")
HOSTILE = ["$x^$", "<script>alert(1)</script>", 'a" onload="x', "病院", "a\x00\x1b[31mb", "#000004"]


def parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)  # noqa: S314  our own SVG


def drawn(result: Result) -> dict[str, str]:
    assert result.metrics is not None
    metrics = result.metrics
    return {
        "roc": figures.roc(metrics.roc_fpr, metrics.roc_tpr, metrics.operating_point, metrics.pooled_auc),
        "calibration": figures.calibration(metrics.calibration),
        "curve": figures.curve("AUC", [(1, 0.5), (2, None), (3, 0.7)], 3, "good"),
        "dots": figures.dots(ROWS, "Hospitals"),
        "lines": figures.lines("ROC", CURVES),
        "histogram": figures.histogram((0.25, 0.0, 0.75), "Values of the training images"),
    }


@pytest.mark.parametrize("name", ["roc", "calibration", "curve", "dots", "lines", "histogram"])
class TestEveryFigure:
    def test_is_one_element_that_says_what_it_shows(self, good: Result, name: str) -> None:
        root = parse(drawn(good)[name])
        assert root.tag == "svg" and root.get("role") == "img"
        assert len(root.get("aria-label", "")) > 20

    def test_same_bytes_twice(self, good: Result, name: str) -> None:
        assert drawn(good)[name] == drawn(good)[name]

    def test_names_no_outside_resource_and_styles_nothing_else(self, good: Result, name: str) -> None:
        svg = drawn(good)[name]
        assert "http" not in svg and "<style" not in svg and "<image" not in svg
        assert all(url.startswith("#") for url in re.findall(r"(?:href=\"|url\()([^\")]*)", svg))

    def test_takes_its_colours_from_the_page(self, good: Result, name: str) -> None:
        svg = drawn(good)[name]
        assert "currentColor" in svg and "var(--blue)" in svg
        assert set(re.findall(r"#[0-9a-f]{6}(?=[;\"])", svg)) <= {"#000000"}


def test_leaves_matplotlibs_settings_as_they_were(good: Result) -> None:
    before = dict(mpl.rcParams)
    drawn(good)
    assert dict(mpl.rcParams) == before


def test_figures_of_one_page_share_no_id(good: Result) -> None:
    ids = [name for svg in drawn(good).values() for name in re.findall(r'\bid="([^"]+)"', svg)]
    assert len(ids) == len(set(ids)) > 0


def test_every_clip_and_marker_is_defined_in_the_figure_that_uses_it(good: Result) -> None:
    for svg in drawn(good).values():
        used = set(re.findall(r"(?:url\(#|href=\"#)([^\")]+)", svg))
        assert used <= set(re.findall(r'\bid="([^"]+)"', svg))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_drawn_as_it_stands(name: str) -> None:
    root = parse(figures.dots([Dot(name, 0.8, None, None)], "Hospitals"))
    shown = "".join(c if c.isprintable() else "\ufffd" for c in name)
    labels = [element.text for element in root.iter("text")]
    assert (shown if len(shown) <= 24 else shown[:12] + "…" + shown[-11:]) in labels
    assert shown in root.get("aria-label", "")


def test_the_federations_row_differs_by_shape() -> None:
    def shapes(svg: str) -> int:
        return len(set(re.findall(r'<path id="[^"]+" d="([^"]+)"', svg)))

    same = [Dot(row.name, row.value, row.low, row.high) for row in ROWS]
    assert shapes(figures.dots(ROWS, "Hospitals")) > shapes(figures.dots(same, "Hospitals"))


def test_a_round_without_a_figure_is_said_and_not_drawn_as_zero() -> None:
    svg = figures.curve("AUC", [(1, 0.5), (2, None), (3, 0.7)], 0, "good")
    assert "round 2: –" in svg
    assert svg.count("<use") < figures.curve("AUC", [(1, 0.5), (2, 0.6), (3, 0.7)], 0, "good").count("<use")


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.roc((0.0, 1.0), (0.0, 1.0), None, None),
        lambda: figures.calibration(()),
        lambda: figures.curve("AUC", [(1, 0.5)], 1, "good"),
        lambda: figures.curve("Seconds", [(1, 0.0)], 0, "time"),
        lambda: figures.dots([Dot("city", 0.9, None, None)], "Hospitals"),
        lambda: figures.dots([Dot("city", 12.5, 11.0, 14.0)], "Hospitals", "Mean absolute error"),
        lambda: figures.lines("Errors", [Curve("Errors", "age", "years", "share", (0.0, 80.0), (0.0, 1.0))]),
        lambda: figures.lines("Errors", [Curve("Errors", "age", "years", "share", (), ())]),
    ],
)
def test_little_or_nothing_to_draw(draw: Callable[[], str]) -> None:
    assert draw().startswith("<svg")
