"""Text that a reader of TOML stumbles over: a clear error, at once."""

from pathlib import Path

import pytest

from shared.errors import InputError
from shared.toml import LONGEST, LONGEST_QUOTE, MOST_DOTS, parse_toml, read_toml
from shared.wire import Record


class Settings(Record, frozen=True):
    name: str
    count: int = 0


@pytest.mark.parametrize(
    "text", ["a=" + "[" * 5000, "count = " + "9" * 5000, "a." * MOST_DOTS + "a.b = 1", "\n" * (LONGEST + 1)]
)
def test_what_only_costs_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"settings\.toml"):
        parse_toml(Settings, text, "settings.toml")


@pytest.mark.parametrize("value", ["0x" + "f" * 5000, "[" * 300 + "]" * 300, "9" * 4000])
def test_a_wrong_value_is_quoted_only_so_far(value: str) -> None:
    with pytest.raises(InputError, match=r"settings\.toml: name") as caught:
        parse_toml(Settings, f"name = {value}", "settings.toml")
    assert len(caught.value.got) <= LONGEST_QUOTE + 1


def test_of_an_endless_file_no_more_is_read_than_may_be(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(b"#" * (LONGEST + 9))
    with pytest.raises(InputError, match="at most"):
        read_toml(Settings, path)
    path.write_bytes(b'name = "a"\r\n')
    assert read_toml(Settings, path) == Settings(name="a")


def test_a_number_beyond_64_bits_is_refused() -> None:
    with pytest.raises(InputError, match="64 bits"):
        parse_toml(Settings, 'name = "a"\ncount = 99999999999999999999', "settings.toml")
