"""Counts of an archive, by hand."""

from client.dicom.quality.census import OTHERS, WORDS, Census, Counts
from client.dicom.quality.facts import FOR_PROCESSING, Facts
from client.dicom.reasons import Reason


def facts(patient: str = "a", series: str = "s", *labels: str, **values: object) -> Facts:
    known = {"modality": "CT", "manufacturer": "Acme"} | values
    return Facts(sop=b"o", series=series.encode(), patient=patient.encode(), labels=labels, **known)  # type: ignore[arg-type]


def counted(*files: Facts | tuple[Facts, Reason]) -> Counts:
    census = Census()
    for one in files:
        census.add(*one) if isinstance(one, tuple) else census.add(one, None)
    return census.counts()


def test_files_are_used_or_left_out() -> None:
    found = counted(
        facts(),
        (facts(), Reason.TRUNCATED),
        (facts(series="t"), Reason.TRUNCATED),
        (Facts(sop=b"", series=b"", patient=b""), Reason.NOT_DICOM),
    )
    assert (found.files, found.usable, found.patients) == (4, 1, 1)
    assert list(found.left_out.items()) == [(Reason.NOT_DICOM, 1), (Reason.TRUNCATED, 2)]
    assert found.series_left_out == {Reason.TRUNCATED: 2}


def test_series_are_whole_in_part_or_lost() -> None:
    bad = Reason.LOCALIZER
    found = counted(
        facts(series="whole"),
        facts(series="whole"),
        facts(series="part"),
        (facts(series="part"), bad),
        (facts(series="lost"), bad),
        (facts(series="lost"), bad),
    )
    assert found.series == (1, 1, 1)
    assert found.series_left_out == {bad: 2}


def test_words_are_counted_the_most_frequent_first() -> None:
    found = counted(facts(manufacturer="B"), facts(manufacturer="A"), facts(manufacturer="C"), facts(manufacturer="C"))
    assert list(found.by_manufacturer.items()) == [("C", 2), ("A", 1), ("B", 1)]
    assert found.by_modality == {"CT": 4}
    assert found.by_view == {"": 4}


def test_years_stand_in_order() -> None:
    assert list(counted(facts(year="2020"), facts(year="1999"), facts(year="2020")).by_year) == ["1999", "2020"]


def test_words_beyond_count_are_counted_together() -> None:
    found = counted(*(facts(manufacturer=f"{number:03}") for number in range(WORDS + 5)))
    assert len(found.by_manufacturer) == WORDS + 1
    assert found.by_manufacturer[OTHERS] == 5


def test_labels_count_images_and_patients() -> None:
    found = counted(
        facts("a", "s", "mass"), facts("a", "s", "mass"), facts("b", "s", "clear", "mass"), facts("c"), facts("c")
    )
    assert found.by_label == {"mass": 3, "clear": 1}
    assert found.patients_by_label == {"mass": 2, "clear": 1}
    assert found.patients == 3


def test_what_is_left_out_counts_as_nothing_else() -> None:
    found = counted((facts("a", "s", "mass", orphan=True), Reason.DUPLICATE))
    assert (found.usable, found.patients, found.orphans, found.by_label, found.by_modality) == (0, 0, 0, {}, {})


def test_raw_images_are_told_where_there_are_both_kinds() -> None:
    found = counted(
        facts(modality="MG", intent=FOR_PROCESSING),
        facts(modality="MG", intent="FOR PRESENTATION"),
        facts(modality="MG"),
        facts(modality="DX", intent=FOR_PROCESSING),
        facts(),
    )
    assert found.raw == {"MG": (1, 2)}


def test_orphans_are_counted() -> None:
    assert counted(facts(orphan=True), facts()).orphans == 1
