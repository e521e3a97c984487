"""pydicom's own test files with pixels, and the tensor or the reason that each of them ends as.

Run as a program it prints the outcomes as one line of JSON, so that a test can ask under another installation.
"""

import functools
import json
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

from pydicom import dcmread
from pydicom.data import get_testdata_files

from client.dicom.reasons import LeftOutError
from shared.study import Input
from tests.client.dicom.pixels.tensors import digest_of, tensor_of

FILES = tuple(sorted({Path(name) for name in get_testdata_files() if Path(name).is_file()}))

#: Of canonical tensors 64 × 64: first 16 digits of SHA-256, the same on every machine and with every optional decoder.
HASHES = {
    "CT_small.dcm": "ffde68288dfe4e37",
    "MR_small.dcm": "a9c98e5dd0dd3ef6",
    "MR_small_RLE.dcm": "a9c98e5dd0dd3ef6",
    "MR_small_jpeg_ls_lossless.dcm": "a9c98e5dd0dd3ef6",
    "MR_small_jp2klossless.dcm": "a9c98e5dd0dd3ef6",
    "693_J2KI.dcm": "0c915d1faf512778",
    "JPEG2000.dcm": "0eb5cf7607555000",
    "ExplVR_BigEnd.dcm": "ee402db2f24e2efd",
    "SC_rgb_jpeg_gdcm.dcm": "8eccf90fb9fcce96",
    "SC_rgb_jpeg_dcmtk.dcm": "7d90d01eedeac75a",
    "SC_rgb_dcmtk_+eb+cy+s4.dcm": "7d90d01eedeac75a",
    "examples_palette.dcm": "17083226aefaae91",
    "examples_ybr_color.dcm": "be5e4e2a087c963e",
    "image_dfl.dcm": "52f15faa0dc5e2c8",
    "rtdose.dcm": "0820917d4ad89251",
    "liver_1frame.dcm": "4708cd2b9a978c8e",
}

#: The two of lossy JPEG with 12 bits a value: nothing but the optional decoder can make a difference to them.
TWELVE_BITS = frozenset(("JPEG-lossy.dcm", "JPGExtended.dcm"))


@functools.cache
def with_pixels() -> tuple[Path, ...]:
    """Files in which pydicom finds pixels."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in FILES:
            dataset = dcmread(path, force=True)
            if any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
                found.append(path)
    return tuple(found)


def outcomes() -> Mapping[str, str]:
    """Name of each file with pixels → digits of its first frame's tensor, or the reason why there is none."""
    return {path.name: _outcome(path) for path in with_pixels()}


def _outcome(path: Path) -> str:
    spec = Input(modalities=("CT",), size=(64, 64), color=path.name.startswith(("SC", "examples")))
    try:
        return digest_of(tensor_of(path, spec))
    except LeftOutError as left_out:
        return left_out.reason.value


if __name__ == "__main__":
    sys.stdout.write(json.dumps(outcomes()))
