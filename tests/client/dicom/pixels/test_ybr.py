import numpy as np
from pydicom.pixels.processing import convert_color_space

from client.dicom.pixels.ybr import rgb_of


def test_known_colours() -> None:
    # red, green, blue, white, black (PS3.3 C.7.6.3.1.2)
    ybr = np.array([[[76, 85, 255], [150, 44, 21], [29, 255, 107], [255, 128, 128], [0, 128, 128]]], dtype=np.uint8)
    assert rgb_of(ybr)[0].tolist() == [[254, 0, 0], [0, 255, 1], [0, 0, 254], [255, 255, 255], [0, 0, 0]]


def test_the_values_are_those_of_the_matrix() -> None:
    """Every chroma at several brightnesses: as pydicom computes it in floats."""
    blue, red = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    for luma in (0, 1, 100, 254, 255):
        ybr = np.stack((np.full_like(blue, luma), blue, red), axis=-1)
        assert np.array_equal(rgb_of(ybr), convert_color_space(ybr, "YBR_FULL", "RGB"))
