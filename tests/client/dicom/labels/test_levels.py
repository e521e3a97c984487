import pytest

from client.dicom.keys import file_key
from client.dicom.labels.levels import LEVELS, identifier_key

KEY = b"k" * 32


@pytest.mark.parametrize(
    ("name", "path", "member"),
    [
        ("a/1.dcm", "a/1.dcm", ""),
        ("./a//1.dcm", "a/1.dcm", ""),
        ("a\\1.dcm", "a/1.dcm", ""),
        ("a/B.ZIP/c/1.dcm", "a/B.ZIP", "c/1.dcm"),
        ("a/b.zip", "a/b.zip", ""),
        ("a/b.zip/c.zip/1.dcm", "a/b.zip", "c.zip/1.dcm"),
    ],
)
def test_a_file_is_named_by_its_path(name: str, path: str, member: str) -> None:
    assert identifier_key(KEY, "file", name) == file_key(KEY, path, member)


def test_equal_identifiers_of_different_levels_have_different_keys() -> None:
    assert len({identifier_key(KEY, level, "1.2.3") for level in LEVELS}) == len(LEVELS)
