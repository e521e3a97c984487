"""konsil-client deidentify, as the hospital runs it."""

from pathlib import Path

import msgspec
import pytest
import typer
from pydicom import dcmread
from pydicom.uid import CTImageStorage
from typer.testing import CliRunner

from client.commands.deidentify import deidentify
from client.dicom.reasons import Reason
from shared.errors import InputError
from tests.client.dicom.conftest import Write

app = typer.Typer()
app.command()(deidentify)


@pytest.fixture
def arguments(write: Write, tmp_path: Path) -> list[str]:
    """An archive of a CT image and an ultrasound image, an output folder, a home."""
    write("a.dcm", number=1, SOPClassUID=CTImageStorage, Modality="CT", PatientAge="041Y", SeriesDescription="Thorax X")
    write("b.dcm", number=2, Modality="US")
    return [str(tmp_path / "archive"), "--out", str(tmp_path / "out"), "--home", str(tmp_path / "home")]


def test_the_counts_as_json(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    counts = msgspec.json.decode(result.stdout)
    assert counts == {"written": 1, "unclaimed": 0, "quarantined": {"suspected_text": 1}, "left_out": {}, "swept": 0}


def test_the_counts_in_words(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "written" in result.stdout
    said = " ".join(result.stdout.replace("│", " ").split())
    assert f"quarantined, not written: {Reason.SUSPECTED_TEXT.explain} {Reason.SUSPECTED_TEXT.advice}" in said
    assert "left out" not in said


def test_what_is_left_out_comes_with_what_can_be_done(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "archive" / "notes.txt").write_text("nothing")
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    said = " ".join(result.stdout.replace("│", " ").split())
    assert f"left out: {Reason.NOT_DICOM.explain} {Reason.NOT_DICOM.advice}" in said


def test_options_reach_the_objects(arguments: list[str], tmp_path: Path) -> None:
    flags = ["--retain", "patient", "--retain", "full-dates", "--clean", "descriptors", "--allow-burned-in"]
    assert CliRunner().invoke(app, [*arguments, *flags], catch_exceptions=False).exit_code == 0
    written = [dcmread(path) for path in (tmp_path / "out").iterdir()]
    assert sorted(dataset.PatientIdentityRemoved for dataset in written) == ["NO", "YES"]
    (ct,) = (dataset for dataset in written if dataset.Modality == "CT")
    assert (ct.PatientAge, ct.SeriesDescription) == ("041Y", "Thorax")
    assert ct.LongitudinalTemporalInformationModified == "UNMODIFIED"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--retain", "graphics"], "--retain: expected uids, device"),
        (["--clean", "uids"], "--clean: expected descriptors"),
        (["--retain", "full-dates", "--retain", "modified-dates"], "full-dates or modified-dates"),
    ],
)
def test_options_that_are_none_are_refused_before_anything_is_read(
    arguments: list[str], tmp_path: Path, flags: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        CliRunner().invoke(app, [*arguments, *flags], catch_exceptions=False)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "home").exists()
