from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from client.dicom.scanning.header import read_header
from client.dicom.scanning.views import first_code, view

Make = Callable[..., Dataset]


def code(value: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", "a view"
    return item


@pytest.mark.parametrize("endless", [True, False])
@pytest.mark.parametrize(
    ("syntax", "found"), [(ExplicitVRLittleEndian, "MLO"), (ImplicitVRLittleEndian, "MLO"), (ExplicitVRBigEndian, "CC")]
)
def test_the_code_counts_before_the_position(
    make: Make, tmp_path: Path, syntax: str, found: str, endless: bool
) -> None:
    dataset = make(ViewPosition="CC", ViewCodeSequence=Sequence([code("399368009"), code("399162004")]))
    dataset["ViewCodeSequence"].is_undefined_length = endless
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dcmwrite(tmp_path / "a.dcm", dataset, enforce_file_format=True)
    header = read_header(tmp_path / "a.dcm")
    assert (header.view, header.view_position) == (found, "CC")


@pytest.mark.parametrize(("value", "position", "found"), [("", "AP", "AP"), ("R-10242", "", "CC"), ("X", "PA", "PA")])
def test_view(value: str, position: str, found: str) -> None:
    assert view(value, position) == found


def test_the_codes_are_those_of_the_standard() -> None:
    told = {name: view(getattr(codes.cid4014, name).value, "") for name in ("CranioCaudal", "CaudoCranial")}
    assert told == {"CranioCaudal": "CC", "CaudoCranial": "FB"}
    assert view(codes.cid4014.MedioLateralObliqueProjection.value, "") == "MLO"
    assert view(codes.cid4014.SuperolateralToInferomedialOblique.value, "") == "SIO"
    assert view(codes.cid4014.CranioCaudalExaggeratedLaterally.value, "") == "XCCL"


@given(st.binary(max_size=60))
def test_no_bytes_raise(value: bytes) -> None:
    first_code(value)
    first_code(b"\xfe\xff\x00\xe0\xff\xff\xff\xff\x08\x00\x00\x01" + value)
