"""pydicom's own test files with pixels: 88 of 95 decode with the decoders everybody may have."""

import functools
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from client.dicom.pixels import decoders
from client.dicom.pixels.objects import open_object
from client.dicom.pixels.stored import stored_frame
from client.dicom.pixels.syntaxes import DECODERS, LOSSLESS
from client.dicom.reasons import LeftOutError, Reason
from tests.client.dicom.pixels.pydicom_files import FILES, HASHES, outcomes, with_pixels

#: What is left out, and why; JPGExtended is the one that the optional decoder of 12-bit JPEG reads.
LEFT_OUT = {
    "JPEG-lossy.dcm": Reason.UNSUPPORTED_SYNTAX,
    "JPGExtended.dcm": Reason.UNSUPPORTED_SYNTAX,
    "JPEG2000-embedded-sequence-delimiter.dcm": Reason.DECODE_FAILED,
    "MR_truncated.dcm": Reason.TRUNCATED,
    "badVR.dcm": Reason.DECODE_FAILED,
    "meta_missing_tsyntax.dcm": Reason.UNSUPPORTED_SYNTAX,
    "nested_priv_SQ.dcm": Reason.UNSUPPORTED_PIXELS,
}

Frames = tuple[NDArray[Any], ...]


def frames(dataset: Dataset) -> Frames:
    first = stored_frame(dataset, 0)
    return (first.values, *(stored_frame(dataset, number).values for number in range(1, first.layout.frames)))


def reason_or_frames(path: Path) -> Reason | Frames:
    try:
        return frames(open_object(path.read_bytes()))
    except LeftOutError as left_out:
        return left_out.reason


@functools.cache
def decoded() -> dict[Path, Reason | Frames]:
    return {path: reason_or_frames(path) for path in with_pixels()}


def asked(path: Path, plugin: str) -> tuple[Frames, str]:
    """The frames as pydicom decodes them with `plugin`, and their photometric interpretation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = dcmread(path, force=True)
        array, said = get_decoder(dataset.file_meta.TransferSyntaxUID).as_array(dataset, decoding_plugin=plugin)
    return tuple(array) if int(dataset.get("NumberOfFrames") or 1) > 1 else (array,), str(
        said["photometric_interpretation"]
    )


def test_all_but_seven_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "has_libjpeg", lambda: False)
    assert len(with_pixels()) == 95
    left_out = {path.name: found for path in with_pixels() if isinstance(found := reason_or_frames(path), Reason)}
    assert left_out == LEFT_OUT


@pytest.mark.skipif(not decoders.has_libjpeg(), reason="pylibjpeg-libjpeg, the optional decoder, is not installed")
def test_the_optional_decoder_adds_one() -> None:
    left_out = {path.name for path in with_pixels() if isinstance(reason_or_frames(path), Reason)}
    assert left_out == LEFT_OUT.keys() - {"JPGExtended.dcm"}


def test_values_equal_those_of_every_decoder_installed() -> None:
    """Native and lossless: each of pydicom's plugins. Lossy JPEG is pinned: decoders differ there by up to 3."""
    compared = Counter[str]()
    for path, found in decoded().items():
        if isinstance(found, Reason):
            continue
        syntax = UID(str(open_object(path.read_bytes()).file_meta.TransferSyntaxUID))
        available = get_decoder(syntax).available_plugins if syntax in LOSSLESS else ()
        for plugin in available if DECODERS[syntax] else ("",):
            if (path.name, plugin) == ("GDCMJ2K_TextGBR.dcm", "pillow"):
                continue  # Pillow refuses it
            expected, photometric = asked(path, plugin)
            assert photometric in ("RGB", "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
            assert len(found) == len(expected)
            for one, other in zip(found, expected, strict=True):
                assert np.array_equal(one, other), (path.name, plugin)
            compared[plugin] += 1
    assert compared[""] == 61 - 9  # of DICOM.md §4, RLE aside
    assert min(compared[plugin] for plugin in ("gdcm", "pillow", "pyjpegls", "pydicom", "pylibjpeg")) > 0


def test_jpeg_is_as_gdcm_has_it() -> None:
    files = [path for path in with_pixels() if b"1.2.840.10008.1.2.4.50" in path.read_bytes()[:1024]]
    assert len(files) == 14
    for path in files:
        found = decoded()[path]
        assert not isinstance(found, Reason)
        expected, _ = asked(path, "gdcm")
        assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True)), path.name


def test_what_is_no_image_has_a_reason() -> None:
    for path in FILES:
        if path not in with_pixels():
            found = reason_or_frames(path)
            assert found in (Reason.NO_PIXELS, Reason.TRUNCATED, Reason.UNREADABLE), path.name


def test_the_tensor_is_the_same_everywhere() -> None:
    found = outcomes()
    assert {name: found[name] for name in HASHES} == HASHES
