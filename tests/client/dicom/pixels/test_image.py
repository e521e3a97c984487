from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import MPEG4HP41, JPEG2000Lossless, JPEGLSLossless, RLELossless

from client.dicom.pixels.colour import LUMA
from client.dicom.pixels.grey import Grey
from client.dicom.pixels.image import plane_of
from client.dicom.pixels.resample import rounded
from client.dicom.pixels.stored import stored_frame
from client.dicom.reasons import LeftOutError, Reason
from shared.study import Input
from tests.client.dicom.pixels.tensors import tensor, tensor_of

Write = Callable[..., Path]
Make = Callable[..., Dataset]


def spec(window: Any = "file", size: tuple[int, int] = (8, 8), color: bool = False) -> Input:
    return Input(modalities=("DX",), size=size, color=color, window=window)


def image(make: Make, values: list[int], dtype: Any = np.uint16, **header: object) -> Dataset:
    """An 8 × 8 object whose first pixels are `values`, repeated: no resampling at size 8 × 8."""
    pixels = np.resize(np.array(values, dtype=dtype), (8, 8))
    dataset: Dataset = make(pixels, **header)
    return dataset


def first(dataset: Dataset, count: int, window: Any = "file") -> list[float]:
    values: NDArray[np.float32] = tensor(dataset, spec(window))[0, 0, :count]
    return [round(float(value), 4) for value in values]


def window(centre: Any, width: Any, **others: object) -> dict[str, object]:
    return {"WindowCenter": centre, "WindowWidth": width, **others}


def test_linear_window_is_one_narrower_than_it_says(make: Make) -> None:
    # PS3.3 C.11.2.1.2.1: c = 2048, w = 4096 shows 0..4095 exactly
    dataset = image(make, [0, 4095, 819, 5000], **window(2048, 4096))
    assert first(dataset, 4) == [0.0, 1.0, 0.2, 1.0]


def test_window_of_width_one_is_a_threshold(make: Make) -> None:
    assert first(image(make, [9, 10], **window(10, 1)), 2) == [0.0, 1.0]


def test_linear_exact(make: Make) -> None:
    dataset = image(make, [0, 5, 10, 12], **window(5, 10, VOILUTFunction="LINEAR_EXACT"))
    assert first(dataset, 4) == [0.0, 0.5, 1.0, 1.0]


def test_sigmoid(make: Make) -> None:
    dataset = image(make, [0, 100, 125], **window(100, 100, VOILUTFunction="SIGMOID"))
    assert first(dataset, 3) == [0.018, 0.5, 0.7311]


def test_first_of_several_windows(make: Make) -> None:
    assert first(image(make, [0, 10], **window([5.5, 100], [11, 3])), 2) == [0.0, 1.0]


def test_rescale_comes_before_the_window(make: Make) -> None:
    dataset = image(make, [0, 2048], **window(0.5, 2049, RescaleSlope=1, RescaleIntercept=-1024))
    assert first(dataset, 2) == [0.0, 1.0]


def test_modality_lut_excludes_rescale(make: Make) -> None:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [3, 1, 16], [0, 50, 100]
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    dataset = image(
        make, [0, 1, 2, 3, 9], **window(50.5, 101, ModalityLUTSequence=[item], RescaleSlope=9, RescaleIntercept=9)
    )
    assert first(dataset, 5) == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_voi_lut_before_window(make: Make) -> None:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [2, 10, 8], [0, 255]
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    dataset = image(make, [9, 10, 11], VOILUTSequence=[item], **window(1000, 2))
    assert first(dataset, 3) == [0.0, 0.0, 1.0]


def test_mr_windows_speak_of_stored_values(make: Make) -> None:
    dataset = image(make, [0, 10], **window(5.5, 11, Modality="MR", RescaleSlope=7, RescaleIntercept=3))
    assert first(dataset, 2) == [0.0, 1.0]


def test_without_a_window_percentiles(make: Make) -> None:
    dataset = image(make, list(range(64)))
    low, high = np.percentile(np.arange(64), (1, 99))
    expected = np.clip((np.arange(64) - low) / (high - low), 0, 1)
    assert np.allclose(tensor(dataset, spec()).ravel(), expected, atol=1e-5)
    assert first(image(make, [5]), 2) == [0.0, 0.0]  # nothing to see in one value


def test_fixed_window(make: Make) -> None:
    dataset = image(make, [0, 1000], **window(3, 5, RescaleSlope=1, RescaleIntercept=-1000))
    assert first(dataset, 2, window=(-499.5, 1001.0)) == [0.0, 1.0]


@pytest.mark.parametrize(
    "header",
    [
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
        {"PresentationLUTShape": "INVERSE"},
    ],
)
def test_polarity_once_and_after_the_window(make: Make, header: dict[str, object]) -> None:
    assert first(image(make, [0, 10, 100], **window(5.5, 11), **header), 3) == [1.0, 0.0, 0.0]


def test_padding_is_black_and_outside_the_statistics(make: Make) -> None:
    values = [60000, 10, 20, 30]
    dataset = image(make, values, PixelPaddingValue=60000, PhotometricInterpretation="MONOCHROME1")
    assert first(dataset, 4) == [0.0, 1.0, 0.5, 0.0]
    dataset = image(make, [0, 1, 2, 10], PixelPaddingValue=0, PixelPaddingRangeLimit=2, **window(5.5, 11))
    assert first(dataset, 4) == [0.0, 0.0, 0.0, 1.0]


def test_padding_is_found_before_rescale_and_with_the_wrong_sign(make: Make) -> None:
    dataset = image(make, [-2000, 0, 10], np.int16, RescaleSlope=1, RescaleIntercept=5, **window(10.5, 11))
    dataset.add_new(0x00280120, "US", 63536)  # -2000 in two's complement
    assert first(dataset, 3) == [0.0, 0.0, 1.0]


def test_bits_outside_bits_stored_fall_away(make: Make) -> None:
    # 12 bits in 16, an overlay in bit 15, rubbish in bit 12
    dataset = image(make, [0x8000, 0x1000 | 4095], BitsStored=12, HighBit=11, **window(2048, 4096))
    assert first(dataset, 2) == [0.0, 1.0]
    # the same values shifted to the top: High Bit 15
    dataset = image(make, [0x000F, 4095 << 4], BitsStored=12, HighBit=15, **window(2048, 4096))
    assert first(dataset, 2) == [0.0, 1.0]


def test_sign_is_extended(make: Make) -> None:
    dataset = image(make, [0x0FFF, 0x0800, 0x07FF], np.uint16, BitsStored=12, HighBit=11, PixelRepresentation=1)
    assert stored_frame(dataset, 0).values[0, :3].tolist() == [-1, -2048, 2047]


def test_color_from_grey_and_grey_from_color(make: Make) -> None:
    grey = tensor(image(make, [0, 255], np.uint8, **window(128, 256)), spec(color=True))
    assert grey.shape == (3, 8, 8)
    assert np.array_equal(grey[0], grey[2])
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[..., 0] = 255
    red = make(pixels)
    assert tensor(red, spec(color=True))[:, 0, 0].tolist() == [1.0, 0.0, 0.0]
    assert tensor(red, spec())[0, 0, 0] == pytest.approx(LUMA[0], abs=1e-5)


def test_ybr_becomes_rgb(make: Make) -> None:
    pixels = np.full((8, 8, 3), (76, 85, 255), dtype=np.uint8)  # red, PS3.3 C.7.6.3.1.2
    rgb = tensor(make(pixels, PhotometricInterpretation="YBR_FULL"), spec(color=True))
    assert rgb[:, 0, 0] == pytest.approx([1, 0, 0], abs=0.01)


def test_palette(make: Make) -> None:
    dataset = image(make, [10, 11, 12], np.uint8, PhotometricInterpretation="PALETTE COLOR")
    for color, table in (("Red", b"\0\0\xff\xff"), ("Green", b"\0\0\0\0"), ("Blue", b"\xff\xff\0\0")):
        dataset.add_new(f"{color}PaletteColorLookupTableDescriptor", "US", [2, 11, 16])
        setattr(dataset, f"{color}PaletteColorLookupTableData", table)
    rgb = tensor(dataset, spec(color=True))[:, 0, :3]
    assert rgb.T.tolist() == [[0, 0, 1], [0, 0, 1], [1, 0, 0]]


def test_aspect_is_kept_and_padded_with_black(make: Make) -> None:
    wide = make(np.full((4, 8), 255, dtype=np.uint8), **window(128, 256))
    result = tensor(wide, spec())[0]
    assert result.sum(axis=1).tolist() == [0, 0, 8, 8, 8, 8, 0, 0]
    tall_pixels = make(np.full((4, 8), 255, dtype=np.uint8), PixelSpacing=[2, 1], **window(128, 256))
    assert tensor(tall_pixels, spec()).min() == 1
    ratio = make(np.full((8, 4), 255, dtype=np.uint8), PixelAspectRatio=[1, 2], **window(128, 256))
    assert tensor(ratio, spec()).min() == 1


def test_reducing_averages(make: Make) -> None:
    pixels = np.zeros((64, 64), dtype=np.uint8)
    pixels[:, ::2] = 255
    result = tensor(make(pixels, **window(128, 256)), spec())[0, 2:-2, 2:-2]
    assert np.allclose(result, 0.5, atol=0.03)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("signed", [False, True])
def test_every_lossless_syntax_gives_the_same_tensor(write: Write, syntax: str, signed: bool) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(-2000 if signed else 0, 2000, (32, 32)).astype(np.int16 if signed else np.uint16)
    header = {"BitsStored": 12, "HighBit": 11, **window(0, 3000)}
    plain, packed = write("a.dcm", 1, pixels, **header), write("b.dcm", 1, pixels, syntax=syntax, **header)
    assert np.array_equal(tensor_of(plain, spec()), tensor_of(packed, spec()))


def test_what_cannot_be_used_has_a_reason(make: Make, tmp_path: Path) -> None:
    def reason(dataset: Dataset) -> Reason:
        with pytest.raises(LeftOutError) as caught:
            tensor(dataset, spec())
        return caught.value.reason

    video = make()
    video.file_meta.TransferSyntaxUID = MPEG4HP41
    video.PixelData = encapsulate([b"\0\0"])
    assert reason(video) is Reason.UNSUPPORTED_SYNTAX
    assert reason(make(NumberOfFrames=2)) is Reason.DECODE_FAILED  # the second one is not there
    assert reason(make(PixelData=b"\0" * 4)) is Reason.DECODE_FAILED
    assert reason(make(PhotometricInterpretation="HSV")) in (Reason.UNSUPPORTED_PIXELS, Reason.DECODE_FAILED)
    empty = make()
    del empty.PixelData
    assert reason(empty) is Reason.NO_PIXELS
    with pytest.raises(LeftOutError):
        tensor_of(tmp_path / "none.dcm", spec())


def test_each_frame_by_itself(make: Make) -> None:
    pixels = np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8)
    dataset = make(pixels[0], NumberOfFrames=3, PixelData=pixels.tobytes(), **window(128, 256))
    for frame in range(3):
        shown = tensor(dataset, spec(), frame)[0]
        assert np.array_equal(np.rint(shown * 255), pixels[frame])
    for frame in (3, -1):
        with pytest.raises(LeftOutError):
            tensor(dataset, spec(), frame)


def test_a_pixel_as_large_as_the_study_says(make: Make) -> None:
    pixels = np.full((16, 16), 255, dtype=np.uint8)
    half = Input(modalities=("DX",), size=(8, 8), spacing=(2.0, 2.0), window="file")
    small = tensor(make(pixels[:8, :8], PixelSpacing=[1, 1], **window(128, 256)), half)[0]
    assert small.sum(axis=0).tolist() == [0, 0, 4, 4, 4, 4, 0, 0]  # 8 mm of the grid's 16
    large = tensor(make(pixels, PixelSpacing=[4, 4], **window(128, 256)), half)
    assert large.min() == 1  # 64 mm, cropped to 16
    for unknown in ({}, {"PixelAspectRatio": [1, 1]}):
        with pytest.raises(LeftOutError) as caught:
            tensor(make(pixels, **unknown), half)
        assert caught.value.reason is Reason.NO_GEOMETRY


def test_an_image_of_the_right_size_is_only_rounded(make: Make) -> None:
    """The short way, by the table, gives what the long way does."""
    rng = np.random.default_rng(3)
    dataset = make(rng.integers(0, 4096, (8, 8)).astype(np.uint16), **window(2048, 4096))
    plane = plane_of(dataset, 0)
    assert isinstance(plane, Grey)
    long = rounded(np.asarray(Image.fromarray(plane.shown(spec())).resize((8, 8), Image.Resampling.BILINEAR)))
    assert tensor(dataset, spec())[0].tobytes() == long.tobytes()
