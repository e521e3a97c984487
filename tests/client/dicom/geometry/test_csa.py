"""Siemens' private headers, built by the description and then damaged."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from client.dicom.geometry.csa import elements, image_count, read_plan
from tests.client.dicom.geometry.siemens import csa1, csa2, protocol, with_headers

VALUES = {
    "EchoLinePosition": ["32"],
    "NumberOfImagesInMosaic": ["5       ", "", "", "", "", ""],
    "SliceNormalVector": ["0.00000000", "-0.60000000", "0.80000000"],
    "Empty": [],
}
TEXTS = {
    "EchoLinePosition": ("32",),
    "NumberOfImagesInMosaic": ("5",),
    "SliceNormalVector": ("0.00000000", "-0.60000000", "0.80000000"),
    "Empty": (),
}


@pytest.mark.parametrize("encode", [csa1, csa2])
def test_elements_of_both_versions(encode: object) -> None:
    assert callable(encode)
    assert elements(encode(VALUES)) == TEXTS


@pytest.mark.parametrize("header", [b"", b"SV10", b"SV10" + bytes(100), struct.pack("<II", 3, 76), b"\xff" * 200])
def test_what_is_no_header_has_no_elements(header: bytes) -> None:
    assert elements(header) == {}


def test_a_header_cut_off_gives_what_is_whole() -> None:
    whole = csa2(VALUES)
    found = [elements(whole[:length]) for length in range(len(whole))]
    assert all(values.items() <= TEXTS.items() for values in found)
    assert {len(values) for values in found} == {0, 1, 2, 3}


@given(st.binary(max_size=400), st.booleans(), st.integers(0, 200))
@settings(deadline=None)
def test_any_bytes_are_survived(noise: bytes, modern: bool, count: int) -> None:
    start = (b"SV10\4\3\2\1" if modern else b"") + struct.pack("<II", count, 77)
    assert len(elements(start + noise)) <= count


def test_what_a_mosaic_needs() -> None:
    dataset = with_headers(Dataset(), csa2(VALUES), protocol([(0, 0, 4), (0, 1.5, -2), (1e-5, 3, 0)]))
    plan = read_plan(dataset)
    assert image_count(dataset) == 5
    assert plan.normal == (0, -0.6, 0.8)
    assert plan.centres is not None
    np.testing.assert_array_equal(plan.centres, [(0, 0, 4), (0, 1.5, -2), (1e-5, 3, 0)])


def test_a_count_outside_the_header() -> None:
    dataset = Dataset()
    dataset.add_new((0x0019, 0x0010), "LO", "SIEMENS MR HEADER")
    dataset.add_new((0x0019, 0x100A), "US", 7)
    assert image_count(dataset) == 7
    dataset[(0x0019, 0x100A)].VR, dataset[(0x0019, 0x100A)]._value = "UN", b"\7\0"  # of an implicit file
    assert image_count(dataset) == 7


def test_a_count_only_in_the_protocol() -> None:
    dataset = with_headers(Dataset(), b"", protocol([(0, 0, 4), (0, 0, 8)]))
    assert image_count(dataset) == 2
    assert read_plan(dataset).normal is None


def test_a_block_that_stands_elsewhere() -> None:
    dataset = Dataset()
    dataset.add_new((0x0029, 0x0010), "LO", "SOMEONE ELSE")
    dataset.add_new((0x0029, 0x0011), "LO", "SIEMENS CSA HEADER")
    dataset.add_new((0x0029, 0x1010), "OB", b"not this")
    dataset.add_new((0x0029, 0x1110), "OB", csa2(VALUES))
    assert image_count(dataset) == 5


def test_nothing_private_says_nothing() -> None:
    plan = read_plan(Dataset())
    assert (image_count(Dataset()), plan.normal, plan.centres) == (0, None, None)


@pytest.mark.parametrize(
    "text",
    [
        b"sSliceArray.lSize = 3\nsSliceArray.asSlice[0].sPosition.dTra = 4\n",  # two of three missing
        b"sSliceArray.lSize = 0\n",
        b"sSliceArray.lSize = 99999\n",
        b"sSliceArray.asSlice[0].sPosition.dTra = 4\n",
    ],
)
def test_a_plan_that_is_not_whole_is_none(text: bytes) -> None:
    assert read_plan(with_headers(Dataset(), b"", text)).centres is None
