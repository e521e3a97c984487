"""Read a TOML file that a person wrote into a frozen record, or say which key is wrong.

Every unknown key is refused, with the nearest known name; nothing is coerced. Whatever the text is, it is read in less
than a second or refused.
"""

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from shared.errors import InputError
from shared.wire import Record, pack

R = TypeVar("R", bound=Record)

#: Bytes of the longest file, and dots in it: the reader takes time in the square of a dotted key's length.
LONGEST, MOST_DOTS = 1 << 20, 2048
#: Characters of a wrong value that are quoted.
LONGEST_QUOTE = 200

_PLACE = re.compile(r"^(?P<message>.*?)(?: - at (?:`key` in )?`\$(?:\.(?P<key>.*))?`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`")
_MISSING = re.compile(r"missing required field `(?P<name>[^`]*)`")
_EXPECTED = re.compile(r"^Expected (?P<expected>.*?)(?:, got (?P<got>.*))?$", re.DOTALL)


def _known_keys(cls: type[Record], parents: list[str]) -> list[str]:
    """The keys of the section below `parents`, as msgspec names them: "pacs[...]" is one of a list of sections."""
    for parent in parents:
        name = parent.partition("[")[0]
        kind = next(field.type for field in msgspec.structs.fields(cls) if field.name == name)
        cls = next(part for part in (kind, *get_args(kind)) if isinstance(part, type) and issubclass(part, Record))
    return [field.name for field in msgspec.structs.fields(cls)]


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
    got = _quoted(value) if isinstance(value, str | int | float | list) else (found and found["got"]) or ""
    where = key or "the file"
    return InputError(f"{source}: {where}", expected=expected, got=got, do=f"Correct {where}.")


def _quoted(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # thousands of digits, or of brackets
        return "one that is too long to show"
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}…"


def parse_toml(cls: type[R], text: str, source: str) -> R:
    """`text` as a `cls`; raises InputError naming `source` and the first wrong key."""
    plain = load_toml(text, source)
    try:
        found = msgspec.convert(plain, cls)
        pack(found)
    except msgspec.ValidationError as error:
        raise _explain(error, cls, plain, source) from None
    except OverflowError:
        raise InputError(source, expected="whole numbers of at most 64 bits", got="a larger one") from None
    return found


def load_toml(text: str, source: str) -> dict[str, Any]:
    """`text` as plain values; raises InputError naming `source` for what is no TOML, or too long or deep for ours."""
    if len(text) > LONGEST or text.count(".") > MOST_DOTS:
        raise InputError(source, expected=f"at most {LONGEST} characters and {MOST_DOTS} dots", got="more")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: not TOML, or a number of thousands of digits
        raise InputError(source, expected="valid TOML", got=str(error), do="Correct that line.") from None


def read_toml(cls: type[R], path: Path) -> R:
    """The file at `path` as a `cls`; raises InputError if it is missing, not text or wrong."""
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST + 1).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        got = getattr(error, "strerror", None) or "bytes that are not UTF-8"
        raise InputError(str(path), expected="a readable TOML file", got=got, do="Check the path.") from None
    return parse_toml(cls, text, path.name)
