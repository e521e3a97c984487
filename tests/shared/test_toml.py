"""Text that a reader of TOML stumbles over: a clear error, at once."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from msgspec import Meta, field

from shared.errors import InputError
from shared.toml import LONGEST, LONGEST_QUOTE, MOST_DOTS, parse_toml, read_toml
from shared.wire import Record


class Settings(Record, frozen=True):
    name: str
    count: int = 0


class Section(Record, frozen=True):
    mode: Literal["off", "local"] = "off"
    window: Literal["file"] | tuple[float, float] = "file"
    views: tuple[Literal[1, 2, 8], ...] = ()
    noise: Annotated[float, Meta(gt=0)] | None = None
    patient: str = ""


class Whole(Record, frozen=True):
    version: Literal[1] = 1
    one: Section = Section()
    many: tuple[Section, ...] = ()
    named: dict[str, Section] = field(default_factory=dict)


def refused(text: str) -> InputError:
    with pytest.raises(InputError) as caught:
        parse_toml(Whole, text, "whole.toml")
    return caught.value


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


@pytest.mark.parametrize(
    ("text", "where", "expected", "got"),
    [
        ('[one]\nmode = "central"', "one.mode", "one of off, local", "'central'"),
        ('[one]\nwindow = "none"', "one.window", "file", "'none'"),
        ("[one]\nviews = [1, 3]", "one.views[1]", "one of 1, 2, 8", "3"),
        ('[[many]]\n[[many]]\nmode = "central"', "many[1].mode", "one of off, local", "'central'"),
        ('[named.a]\nmode = "central"', "named[...].mode", "one of off, local", "'central'"),
        ("version = 2", "version", "1", "2"),
    ],
)
def test_a_wrong_choice_is_told_what_there_is_to_choose_from(text: str, where: str, expected: str, got: str) -> None:
    error = refused(text)
    assert (error.what, error.expected, error.got) == (f"whole.toml: {where}", expected, got)
    assert error.do == f"Correct {where}."


def test_a_long_wrong_choice_is_quoted_only_so_far() -> None:
    assert len(refused(f'[one]\nmode = "{"x" * 5000}"').got) == LONGEST_QUOTE + 1


@pytest.mark.parametrize("text", ["[one]\nnoise = -1", "[[many]]\n[[many]]\nnoise = -1"])
def test_a_number_out_of_its_range_is_shown_in_lists_too(text: str) -> None:
    assert (refused(text).expected, refused(text).got) == ("`float` > 0.0", "-1")


@pytest.mark.parametrize("text", ["[[many]]\npatient = 77001122", "[[many]]\npatient = [77001122]"])
def test_what_may_be_a_patients_number_is_not_shown(text: str) -> None:
    assert refused(text).what == "whole.toml: many[0].patient"
    assert "77001122" not in str(refused(text))


def test_a_key_of_a_former_version_is_told_what_became_of_it(tmp_path: Path) -> None:
    renamed, path = {"one.kind": "It is one.mode now."}, tmp_path / "whole.toml"
    path.write_text('[one]\nkind = "off"')
    with pytest.raises(InputError, match=r"whole\.toml: one\.kind: .* It is one\.mode now\.$"):
        read_toml(Whole, path, renamed=renamed)
    path.write_text('[one]\nmodes = "off"')
    with pytest.raises(InputError, match=r"one\.modes: .* Did you mean 'mode'\?$"):
        read_toml(Whole, path, renamed=renamed)
    assert refused("[named.a]\nmod = 1").do == "Did you mean 'mode'?"
    assert refused("[[many]]\nzzz = 1").do == "Known here: mode, window, views, noise, patient."
