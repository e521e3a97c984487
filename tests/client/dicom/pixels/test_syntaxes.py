"""The 79 files of ../shared/data/dicom/syntaxes.zip, one by one: each is decoded, and every pair of
which the standard says that it holds the same picture."""

import functools
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from client.dicom.pixels.image import canonical_image
from client.dicom.pixels.native import Cells
from client.dicom.pixels.objects import open_object
from client.dicom.pixels.stored import stored_frame
from shared.study import Input

ARCHIVE = Path(__file__).parents[5] / "shared" / "data" / "dicom" / "syntaxes.zip"

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not ARCHIVE.exists(), reason="../shared/data/dicom is not here"),
]


#: file: frames, where more than one
FRAMES = {
    "OBXXXX1A_2frame": 2, "OBXXXX1A_expb_2frame": 2, "OBXXXX1A_rle_2frame": 2, "SC_rgb_16bit_2frame": 2,
    "SC_rgb_2frame": 2, "SC_rgb_32bit_2frame": 2, "SC_rgb_expb_16bit_2frame": 2, "SC_rgb_expb_2frame": 2,
    "SC_rgb_expb_32bit_2frame": 2, "eCT_Supplemental": 2, "emri_small": 10, "emri_small_RLE": 10,
    "emri_small_big_endian": 10, "emri_small_jpeg_2k_lossless": 10, "emri_small_jpeg_2k_lossless_too_short": 10,
    "emri_small_jpeg_ls_lossless": 10, "liver": 3, "liver_deflate": 3, "liver_expb": 3, "liver_j2k": 3,
    "liver_nonbyte_aligned": 3, "liver_nonbyte_aligned_deflate": 3, "liver_nonbyte_aligned_j2k": 3,
    "liver_nonbyte_aligned_rle": 3, "liver_rle": 3,
}  # fmt: skip

#: The same stored values in several encodings.
SAME = (
    ("liver", "liver_deflate", "liver_expb", "liver_j2k", "liver_rle"),
    ("liver_nonbyte_aligned", "liver_nonbyte_aligned_deflate", "liver_nonbyte_aligned_j2k",
     "liver_nonbyte_aligned_rle"),
    ("emri_small", "emri_small_RLE", "emri_small_big_endian", "emri_small_jpeg_2k_lossless",
     "emri_small_jpeg_2k_lossless_too_short", "emri_small_jpeg_ls_lossless"),
    ("693_UNCR", "693_J2KR"), ("MR2_UNCR", "MR2_J2KR"), ("US1_UNCR", "US1_J2KR"),
    ("MR2_UNCI", "MR2_J2KI"), ("US1_UNCI", "US1_J2KI"),
    ("OBXXXX1A", "OBXXXX1A_expb", "OBXXXX1A_rle"), ("OBXXXX1A_2frame", "OBXXXX1A_expb_2frame", "OBXXXX1A_rle_2frame"),
    ("SC_rgb", "SC_rgb_expb", "SC_rgb_gdcm2k_uncompressed"), ("SC_rgb_16bit", "SC_rgb_expb_16bit"),
    ("SC_rgb_32bit", "SC_rgb_expb_32bit"), ("SC_rgb_2frame", "SC_rgb_expb_2frame"),
    ("SC_rgb_16bit_2frame", "SC_rgb_expb_16bit_2frame"), ("SC_rgb_32bit_2frame", "SC_rgb_expb_32bit_2frame"),
    ("color-pl", "color-px"), ("gdcm-US-ALOKA-16", "gdcm-US-ALOKA-16_big"),
    ("JLSL_RGB_ILV0", "JLSL_RGB_ILV1", "JLSL_RGB_ILV2"),
)  # fmt: skip

#: The same picture after a lossy round: greatest mean difference of the canonical tensor.
SIMILAR = (
    ("SC_rgb", "SC_rgb_dcmtk_ebcynp_dcmd", 0.01),
    ("SC_rgb", "SC_ybr_full_uncompressed", 0.01),
    ("JLSL_RGB_ILV0", "JLSN_RGB_ILV0", 0.01),
    ("HTJ2KLossless_08_RGB", "HTJ2K_08_RGB", 0.05),
    ("gdcm-US-ALOKA-16", "gdcm-US-ALOKA-16_big", 0),
)


@functools.cache
def objects() -> dict[str, Dataset]:
    with zipfile.ZipFile(ARCHIVE) as file:
        return {Path(name).stem: open_object(file.read(name)) for name in file.namelist() if name.endswith(".dcm")}


@functools.cache
def frames(name: str) -> tuple[Cells, ...]:
    first = stored_frame(objects()[name], 0)
    return (first.values, *(stored_frame(objects()[name], n).values for n in range(1, first.layout.frames)))


def test_all_decode() -> None:
    """OT-PAL-8-face has no meta header: its syntax is found, for its pixels are native."""
    assert len(objects()) == 79
    for name in objects():
        assert len(frames(name)) == FRAMES.get(name, 1), name


@pytest.mark.parametrize("names", SAME, ids=lambda names: names[0])
def test_the_same_values_in_every_encoding(names: tuple[str, ...]) -> None:
    for other in names[1:]:
        assert len(frames(names[0])) == len(frames(other))
        for one, two in zip(frames(names[0]), frames(other), strict=True):
            assert np.array_equal(one, two), other


@pytest.mark.parametrize(("one", "other", "most"), SIMILAR)
def test_the_same_picture(one: str, other: str, most: float) -> None:
    spec = Input(modalities=("OT",), size=(96, 96), color=True)
    images = [canonical_image(objects()[name], 0, spec) for name in (one, other)]
    assert np.abs(images[0] - images[1]).mean() <= most


def test_every_tensor_is_within_its_range() -> None:
    spec = Input(modalities=("OT",), size=(64, 64))
    for name in objects():
        image = canonical_image(objects()[name], 0, spec)
        assert image.shape == (1, 64, 64)
        assert 0 <= image.min() < image.max() <= 1, name
