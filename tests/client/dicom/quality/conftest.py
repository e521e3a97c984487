"""Reports made by hand: one of an archive in order, one with something wrong in every place."""

from dataclasses import replace

import pytest

from client.dicom.quality.census import Counts
from client.dicom.quality.intensity import Intensity
from client.dicom.quality.report import QualityReport
from client.dicom.quality.shortcuts import Shortcut
from client.dicom.quality.suspects import Suspects
from client.dicom.reasons import Reason
from client.dicom.series import Scans

#: As a scanner, or a label file, could write it.
HOSTILE = "<script>alert('x')</script><img src=\"http://evil.example/p.png\">\x1b[31m\u202e{{ 7*7 }}"


@pytest.fixture
def good() -> QualityReport:
    return QualityReport(
        labelled=True,
        counts=Counts(
            files=1000,
            usable=990,
            patients=400,
            orphans=0,
            series=(395, 5, 2),
            left_out={Reason.LOCALIZER: 10},
            series_left_out={Reason.LOCALIZER: 7},
            by_modality={"CT": 700, "MR": 290},
            by_manufacturer={"Acme": 600, "": 390},
            by_year={"2019": 400, "2020": 590},
            by_view={"": 990},
            by_laterality={"L": 500, "R": 490},
            by_label={"clear": 700, "nodule": 290},
            patients_by_label={"clear": 300, "nodule": 100},
            raw={},
        ),
        scans=Scans(395, {}),
        suspects=Suspects(
            looked=400,
            failed={},
            text={},
            constant=0,
            saturated=0,
            clipped=0,
            inverted=0,
            copies=0,
            copied=0,
            contradictions=0,
        ),
        intensities=(
            Intensity("CT", 200, -1024.0, 3071.0, (0.5, *(0.5 / 63,) * 63), (-1024.0, -900.0, 40.0, 80.0, 1500.0)),
            Intensity("", 1, 0.0, 0.001, (1 / 64,) * 64, (0.0, 0.0, 0.0005, 0.0007, 0.001)),
        ),
        observed=380,
        shortcuts=(Shortcut("nodule", "contrast", "area", 0.61, (100, 280), "more", False),),
    )


@pytest.fixture
def bad(good: QualityReport) -> QualityReport:
    return replace(
        good,
        counts=replace(
            good.counts,
            files=2000,
            orphans=3,
            by_manufacturer={HOSTILE: 990},
            by_label={HOSTILE: 3, "clear": 987},
            patients_by_label={HOSTILE: 2, "clear": 398},
            raw={"MG": (12, 30)},
            left_out={Reason.TRUNCATED: 1010},
        ),
        suspects=Suspects(
            looked=390,
            failed={Reason.DECODE_FAILED: 10},
            text={"US": 8, "": 1},
            constant=1,
            saturated=39,
            clipped=4,
            inverted=2,
            copies=5,
            copied=2,
            contradictions=1,
        ),
        shortcuts=(
            Shortcut(HOSTILE, "white border", "area", 0.97, (20, 370), "more", True),
            Shortcut(HOSTILE, "manufacturer", "V", 0.8, (20, 370), HOSTILE, True),
            Shortcut(HOSTILE, "contrast", "area", 0.55, (20, 370), "less", False),
        ),
    )
