from msgspec.structs import replace

from server.report.cross_site import cross_site
from server.report.html import render
from server.report.result import Baseline, Baselines, Result
from shared.judged import Figure, Judged, Table


def judged(value: float | None) -> Judged:
    return Judged("classification", 10, (Figure("stratified_auc", value, "Site-stratified AUC"),))


def baseline(**values: float | None) -> Baseline:
    return Baseline(None, None, None, None, {}, judged(0.5), {name: judged(value) for name, value in values.items()})


def with_baselines(result: Result) -> Result:
    alone = {"north": baseline(north=0.9, south=0.6), "south": baseline(north=None, south=0.8)}
    shortcut = Table("Can the hospital be told <from> the image?", ("", "AUC"), (("north", 0.97),))
    own = {"north": Figure("stratified_auc", 0.93, "Site-stratified AUC")}
    return replace(result, baselines=Baselines(alone, baseline(north=0.92, south=0.85), shortcut), own=own)


def test_every_model_on_every_hospitals_patients(good: Result) -> None:
    table = cross_site(with_baselines(good))
    assert table is not None
    assert table.columns == ("Trained", "north", "south")
    assert table.rows == (
        ("north alone", 0.9, 0.6),
        ("south alone", None, 0.8),
        ("pooled in one place", 0.92, 0.85),
        ("federated", 0.93, None),
    )


def test_without_baselines_there_is_no_matrix(good: Result) -> None:
    assert cross_site(replace(good, baselines=None)) is None


def test_the_report_shows_both_and_escapes_their_words(good: Result) -> None:
    page = render(with_baselines(good))
    assert "Across hospitals" in page and "Is it the image, or the hospital?" in page
    assert "<from>" not in page and "&lt;from&gt;" in page
