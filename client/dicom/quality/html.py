"""The quality report as one HTML file, for the people of the hospital.

Guarantees: made from a QualityReport and nothing else; loads nothing (no script, font, image or style from anywhere,
and a content policy in the page forbids it); every word from outside is escaped and freed of control characters; the
same report gives the same bytes; written whole or not at all, readable by its owner only.

    write_html(report, Path("quality.html"))
"""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from client.dicom.quality.figures import histogram, short
from client.dicom.quality.findings import findings, strength
from client.dicom.quality.intensity import PERCENTILES, Intensity
from client.dicom.quality.report import QualityReport
from shared.files import write_atomically
from shared.text import GAP, printable


def write_html(report: QualityReport, path: Path) -> None:
    """`report` as the file `path`. Raises SiteError if it cannot be written."""
    write_atomically(path, render(report).encode("utf-8", "replace"), mode=0o600)


def render(report: QualityReport) -> str:
    """The page."""
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            counts=report.counts,
            suspects=report.suspects,
            findings=findings(report),
            figures={one.modality: _figure(one) for one in report.intensities},
            percentiles=PERCENTILES,
            tallies=_tallies(report),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("client.dicom.quality", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_clean,
    )
    environment.filters.update(whole=_whole, percent=_percent, value=short, word=_word, strength=strength)
    return environment


def _clean(value: object) -> object:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _figure(one: Intensity) -> Markup:
    subject = f"Values of {one.modality or 'images without a modality'}, {one.low:g} to {one.high:g}"
    return histogram(one.shares, one.low, one.high, printable(subject))


def _tallies(report: QualityReport) -> tuple[tuple[str, dict[str, int]], ...]:
    """Titles and counts of the tables, without those that say nothing at all."""
    counts = report.counts
    named = (
        ("Modality", counts.by_modality),
        ("Manufacturer", counts.by_manufacturer),
        ("Year", counts.by_year),
        ("View", counts.by_view),
        ("Laterality", counts.by_laterality),
    )
    return tuple((title, dict(tally)) for title, tally in named if any(tally))


def _whole(number: int) -> str:
    return f"{number:,}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}{GAP}%"


def _word(word: str) -> str:
    return word or "not said"
