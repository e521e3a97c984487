import numpy as np
import pytest
from pydicom.dataset import Dataset

from client.dicom.pixels.lut import lut_of


def item(descriptor: list[int], data: object, vr: str = "US") -> Dataset:
    dataset = Dataset()
    dataset.add_new("LUTDescriptor", "US", descriptor)
    dataset.add_new("LUTData", vr, data)
    return dataset


def entries(
    descriptor: list[int], data: object, values: list[float], *, vr: str = "US", signed: bool = False
) -> object:
    return lut_of(item(descriptor, data, vr), signed=signed)(np.array(values, dtype=np.float64)).tolist()


def test_ends_go_on_and_values_are_rounded() -> None:
    assert entries([3, 10, 16], [5, 6, 7], [-9, 10, 10.6, 12, 99]) == [5, 5, 6, 7, 7]


def test_words_and_bytes_in_words() -> None:
    assert entries([2, 0, 16], b"\x01\x02\x03\x04", [0, 1], vr="OW") == [0x0201, 0x0403]
    assert entries([4, 0, 8], b"\x01\x02\x03\x04", [0, 1, 2, 3], vr="OW") == [1, 2, 3, 4]
    assert entries([3, 0, 8], b"\x01\x02\x03\x00", [0, 1, 2, 3], vr="OW") == [1, 2, 3, 3]


def test_a_first_value_below_zero_whatever_its_vr() -> None:
    assert entries([2, 65535, 16], [1, 2], [-1, 0], signed=True) == [1, 2]
    assert entries([2, 65535, 16], [1, 2], [-1, 0]) == [1, 1]


def test_0_entries_are_65536() -> None:
    table = np.arange(65536, dtype=np.uint16)
    assert entries([0, 0, 16], table.tobytes(), [0, 65535, 70000], vr="OW") == [0, 65535, 65535]


def test_top_is_what_the_bits_can_hold() -> None:
    assert lut_of(item([1, 0, 12], [9]), signed=False).top == 4095


@pytest.mark.parametrize(("descriptor", "data"), [([2, 0], [1, 2]), ([2, 0, 0], [1, 2]), ([2, 0, 17], [1, 2])])
def test_a_damaged_table_is_refused(descriptor: list[int], data: list[int]) -> None:
    with pytest.raises(ValueError, match="LUT"):
        lut_of(item(descriptor, data), signed=False)
    with pytest.raises(ValueError, match="LUT"):
        lut_of(item([2, 0, 16], b"", "OW"), signed=False)
