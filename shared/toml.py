"""Read a TOML file that a person wrote into a frozen record, or say which key is wrong.

Every unknown key is refused, with the nearest known name; nothing is coerced.
"""

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from shared.errors import InputError
from shared.wire import Record

R = TypeVar("R", bound=Record)

_PLACE = re.compile(r"^(?P<message>.*?)(?: - at (?:`key` in )?`\$(?:\.(?P<key>.*))?`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`")
_MISSING = re.compile(r"missing required field `(?P<name>[^`]*)`")
_EXPECTED = re.compile(r"^Expected (?P<expected>.*?)(?:, got (?P<got>.*))?$", re.DOTALL)


def _known_keys(cls: type[Record], parents: list[str]) -> list[str]:
    for parent in parents:
        cls = next(f.type for f in msgspec.structs.fields(cls) if f.name == parent)
    return [f.name for f in msgspec.structs.fields(cls)]


def _value_at(plain: Any, parents: list[str]) -> Any:
    for parent in parents:
        if not isinstance(plain, dict) or parent not in plain:
            return None
        plain = plain[parent]
    return plain


def _explain(error: msgspec.ValidationError, cls: type[Record], plain: Any, source: str) -> InputError:
    place = _PLACE.match(str(error))
    message, key = (place["message"], place["key"] or "") if place else (str(error), "")
    parents = key.split(".") if key else []
    if unknown := _UNKNOWN.search(message):
        known = _known_keys(cls, parents)
        close = difflib.get_close_matches(unknown["name"], known, n=1)
        hint = f"Did you mean '{close[0]}'?" if close else f"Known here: {', '.join(known)}."
        where = ".".join([*parents, unknown["name"]])
        return InputError(f"{source}: {where}", expected="a known key", got="one Konsil does not know", do=hint)
    if missing := _MISSING.search(message):
        where = ".".join([*parents, missing["name"]])
        return InputError(f"{source}: {where}", expected="a value", got="none", do=f"Add {where}.")
    found = _EXPECTED.match(message)
    expected = found["expected"] if found else message
    value = _value_at(plain, parents)
    got = repr(value) if isinstance(value, str | int | float | list) else (found and found["got"]) or ""
    where = key or "the file"
    return InputError(f"{source}: {where}", expected=expected, got=got, do=f"Correct {where}.")


def parse_toml(cls: type[R], text: str, source: str) -> R:
    """`text` as a `cls`; raises InputError naming `source` and the first wrong key."""
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(source, expected="valid TOML", got=str(error), do="Correct that line.") from None
    try:
        return msgspec.convert(plain, cls)
    except msgspec.ValidationError as error:
        raise _explain(error, cls, plain, source) from None


def read_toml(cls: type[R], path: Path) -> R:
    """The file at `path` as a `cls`; raises InputError if it is missing, not text or wrong."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        got = getattr(error, "strerror", None) or "bytes that are not UTF-8"
        raise InputError(str(path), expected="a readable TOML file", got=got, do="Check the path.") from None
    return parse_toml(cls, text, path.name)
