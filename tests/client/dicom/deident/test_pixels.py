"""The pixel data element: pixels, and nothing beside them."""

import numpy as np
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, JPEGLSLossless

from client.dicom.deident.engine import deidentify
from client.dicom.deident.profile import Profile
from tests.client.dicom.conftest import Make
from tests.client.dicom.deident.conftest import KEY, round_trip


@pytest.mark.parametrize("again", [False, True])
def test_what_stands_behind_the_last_frame_goes(make: Make, again: bool) -> None:
    dataset = make(SOPClassUID=CTImageStorage)
    pixels = bytes(dataset.PixelData)
    dataset.PixelData = pixels + b"Muster"
    source = round_trip(dataset) if again else dataset
    assert deidentify(source, Profile(), key=KEY).PixelData == pixels + bytes(6)


def test_native_pixels_of_odd_length_keep_their_padding(make: Make) -> None:
    dataset = make(np.arange(15, dtype=np.uint8).reshape(3, 5))
    assert deidentify(dataset, Profile(), key=KEY).PixelData == dataset.PixelData


@pytest.mark.parametrize("again", [False, True])
def test_comments_in_streams_go_and_the_object_decodes_to_the_same(make: Make, again: bool) -> None:
    dataset = make(np.random.default_rng(1).integers(0, 4096, (16, 16), dtype=np.uint16))
    before = dataset.pixel_array.copy()
    dataset.compress(UID(JPEGLSLossless), encoding_plugin="pyjpegls", generate_instance_uid=False)
    (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
    comment = b"\xff\xfe\x00\x08Muster"
    dataset.PixelData = encapsulate([frame[:2] + comment + frame[2:]])
    dataset["PixelData"].is_undefined_length = True
    source = round_trip(dataset) if again else dataset
    output = round_trip(deidentify(source, Profile(), key=KEY))
    assert b"Muster" not in output.PixelData
    assert output.file_meta.TransferSyntaxUID == JPEGLSLossless != ExplicitVRLittleEndian
    np.testing.assert_array_equal(output.pixel_array, before)
