"""Shifted dates."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.dicom.deident.dates import shifted, weeks_back


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("20240229", "20230302"),
        ("2024.02.29", "20230302"),
        ("20240229235959.123456+0100", "20230302235959.123456+0100"),
        ("202402291200", "202303021200"),
        ("202403", "202303"),
        ("2024", "2023"),
        ("2024+0200", "2023+0200"),
        (" 20240229 ", "20230302"),
    ],
)
def test_dates_move_back_and_times_stay(value: str, result: str) -> None:
    assert shifted(value, 52) == result


@pytest.mark.parametrize(
    "value",
    ["", "20230229", "20241301", "00010101", "Muster", "20240101-20240201", "2024022", "120000.5"],
)
def test_what_is_no_date_has_no_shifted_value(value: str) -> None:
    assert shifted(value, 52) is None


def test_a_patient_moves_as_a_whole_and_patients_apart() -> None:
    shifts = [weeks_back(b"k" * 32, bytes([patient])) for patient in range(200)]
    assert weeks_back(b"k" * 32, b"\0") == shifts[0]
    assert len(set(shifts)) > 100
    assert min(shifts) >= 52
    assert max(shifts) <= 571
    assert weeks_back(b"x" * 32, b"\0") != shifts[0]


@given(st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1)), st.integers(52, 571))
def test_the_time_between_dates_stays(moment: datetime, weeks: int) -> None:
    moved = shifted(moment.strftime("%Y%m%d%H%M%S"), weeks)
    assert moved is not None
    assert moment.replace(microsecond=0) - datetime.strptime(moved, "%Y%m%d%H%M%S") == timedelta(weeks=weeks)
