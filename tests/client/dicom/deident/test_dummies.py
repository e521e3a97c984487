"""Dummy values."""

import warnings

from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.valuerep import VR

from client.dicom.deident.dummies import VALUES, dummy


def test_every_vr_has_a_legal_value() -> None:
    plain = {vr.value for vr in VR if len(vr.value) == 2} - {"SQ", "UI"}
    assert set(VALUES) == plain
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for vr in plain:
            element = DataElement(0x00091001, vr, VALUES[vr], validation_mode=config.RAISE)
            assert not element.is_empty


def test_a_dummy_is_an_element() -> None:
    assert dummy(0x00100010, "PN") == DataElement(0x00100010, "PN", "REMOVED")
