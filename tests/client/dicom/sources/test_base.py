"""Filters as questions, and answers that are held to them."""

from datetime import date

import pytest

from client.dicom.sources.base import Object, Query, Series, dates, queries
from client.dicom.sources.config import Filter
from shared.errors import PeerError

YEAR = Filter(study_from=date(2020, 1, 1), study_until=date(2020, 12, 31))


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        (None, None, ""),
        (date(2020, 1, 2), None, "20200102-"),
        (None, date(2020, 1, 2), "-20200102"),
        (date(2020, 1, 2), date(2021, 3, 4), "20200102-20210304"),
    ],
)
def test_ranges_of_dates(first: date | None, last: date | None, said: str) -> None:
    assert dates(first, last) == said


def test_one_question_per_modality_and_patient() -> None:
    asked = [(query.modality, query.patient) for query in queries(Filter(modalities=("CT", "MR")), patients=("A", "B"))]
    assert asked == [("CT", "A"), ("CT", "B"), ("MR", "A"), ("MR", "B")]
    assert len(list(queries(Filter()))) == 1
    keys = next(iter(queries(YEAR, accessions=("7",)))).keys()
    assert {name: value for name, value in keys.items() if value} == {
        "StudyDate": "20200101-20201231",
        "AccessionNumber": "7",
    }


@pytest.mark.parametrize(
    ("query", "row", "admitted"),
    [
        (Query(Filter(), patient="A"), {"PatientID": "A"}, True),
        (Query(Filter(), patient="A"), {"PatientID": "AB"}, False),
        (Query(Filter(), patient="A"), {"PatientID": ""}, False),
        (Query(YEAR), {"StudyDate": "2020.05.01"}, True),
        (Query(Filter()), {"PatientID": "whoever"}, True),
        (Query(Filter(), accession="7"), {"AccessionNumber": "8"}, False),
        (Query(YEAR), {"StudyDate": "20200101"}, True),
        (Query(YEAR), {"StudyDate": "20201231"}, True),
        (Query(YEAR), {"StudyDate": "20191231"}, False),
        (Query(YEAR), {"StudyDate": "2021.01.01"}, False),
        (Query(YEAR), {"StudyDate": ""}, False),
        (Query(Filter(study_from=date(2020, 1, 1))), {"StudyDate": "20991231"}, True),
        (Query(Filter(study_until=date(2020, 1, 1))), {"StudyDate": ""}, False),
        (Query(Filter(description="*thorax*")), {"StudyDescription": "CT THORAX nativ"}, True),
        (Query(Filter(description="*THORAX")), {"StudyDescription": "CT THORAX nativ"}, False),
        (Query(Filter(description="C?")), {"StudyDescription": "CT"}, True),
        (Query(Filter(description="[C]T")), {"StudyDescription": "CT"}, False),
        (Query(Filter(description="[C]T")), {"StudyDescription": "[C]T"}, True),
    ],
)
def test_an_answer_is_held_to_the_question(query: Query, row: dict[str, str], admitted: bool) -> None:
    assert query.admits(row, "PACS x") is admitted


@pytest.mark.parametrize(
    ("query", "keyword"),
    [
        (Query(Filter(), patient="A"), "PatientID"),
        (Query(Filter(description="*")), "StudyDescription"),
        (Query(YEAR), "StudyDate"),
    ],
)
def test_an_answer_without_what_the_filter_is_about_ends_the_pull(query: Query, keyword: str) -> None:
    with pytest.raises(PeerError, match=f"PACS x: expected answers with {keyword}"):
        query.admits({"Modality": "CT"}, "PACS x")


def test_reprs_name_nobody() -> None:
    shown = repr(Query(Filter(), patient="PAT-A", accession="ACC")) + repr(Series("1.2", "1.3")) + repr(Object("1.4"))
    assert not any(value in shown for value in ("PAT-A", "ACC", "1.2", "1.3", "1.4"))
