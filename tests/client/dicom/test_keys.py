import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.dicom.keys import file_key, orphan_key, patient_key, seal, short_key, unseal
from shared.errors import SiteError

KEY = b"k" * 32


def test_kinds_and_keys_have_their_own_hashes() -> None:
    hashes = [
        short_key(KEY, "sop", b"1.2"), short_key(KEY, "series", b"1.2"), short_key(b"x" * 32, "sop", b"1.2"),
        file_key(KEY, "1.2"), file_key(KEY, "1", ".2"), file_key(KEY, "1.", "2"), orphan_key(KEY, b"1.2")[:16],
        patient_key(KEY, b"", b"1.2")[:16], patient_key(KEY, b"1.2", b"")[:16],
    ]  # fmt: skip
    assert len(set(hashes)) == len(hashes)
    assert all(len(value) == 16 for value in hashes)
    assert short_key(KEY, "sop", b"") == b""


@given(st.binary(max_size=300))
def test_what_is_sealed_can_be_read_with_the_key_only(value: bytes) -> None:
    sealed = seal(KEY, value)
    assert (unseal(KEY, sealed), len(sealed)) == (value, len(value) + 16)
    assert seal(KEY, value) == sealed
    with pytest.raises(SiteError, match="one of this site's key"):
        unseal(b"x" * 32, sealed)


@given(st.binary(min_size=1, max_size=50), st.data())
def test_a_changed_seal_is_refused(value: bytes, data: st.DataObject) -> None:
    sealed = bytearray(seal(KEY, value))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    for broken in (bytes(sealed), b"", b"short"):
        with pytest.raises(SiteError):
            unseal(KEY, broken)
