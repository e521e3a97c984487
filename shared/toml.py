"""Read a TOML file that a person wrote into a frozen record, or say which key is wrong.

Every unknown key is refused, with the nearest known name or what became of it; a wrong choice is told what there is to
choose from; nothing is coerced. Whatever the text is, it is read in less than a second or refused.

    parse_toml(Policy, "[privacy]\nepsilon_totl = 1.0", "policy.toml")
    # InputError: policy.toml: privacy.epsilon_totl: … Did you mean 'epsilon_total'?
"""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec
import tomli_w

from shared.errors import InputError
from shared.wire import Record, pack

R = TypeVar("R", bound=Record)

#: Bytes of the longest file, and dots in it: the reader takes time in the square of a dotted key's length.
LONGEST, MOST_DOTS = 1 << 20, 2048
#: Characters of a wrong value that are quoted.
LONGEST_QUOTE = 200
_NOTHING: Mapping[str, str] = MappingProxyType({})

_PLACE = re.compile(r"^(?P<message>.*?)(?: - at (?:`key` in )?`\$(?:\.(?P<key>.*))?`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`")
_MISSING = re.compile(r"missing required field `(?P<name>[^`]*)`")
_EXPECTED = re.compile(r"^Expected (?P<expected>.*?)(?:, got (?P<got>.*))?$", re.DOTALL)
_CHOICE = re.compile(r"^Invalid enum value (?P<got>.*)$", re.DOTALL)


def _parts(kind: Any) -> Iterator[Any]:
    """`kind` and all it is made of: a union's members, a list's elements; a Literal's values are no part."""
    yield kind
    if get_origin(kind) is not Literal:
        for part in get_args(kind):
            yield from _parts(part)


def _fields(kind: Any) -> dict[str, Any]:
    """The type of each key of the section that `kind` is, or is a list of."""
    records = (part for part in _parts(kind) if isinstance(part, type) and issubclass(part, Record))
    return {field.name: field.type for record in records for field in msgspec.structs.fields(record)}


def _type_at(cls: type[Record], parents: list[str]) -> Any:
    """The type of what lies at `parents`, as msgspec names them: "pacs[0]" is one of a list of sections."""
    kind: Any = cls
    for parent in parents:
        kind = _fields(kind)[parent.partition("[")[0]]
    return kind


def _value_at(plain: Any, parents: list[str]) -> Any:
    """What was written at `parents`; None where that cannot be told."""
    for step in (step for parent in parents for step in parent.replace("]", "").split("[")):
        if isinstance(plain, list) and step.isdigit():
            plain = plain[int(step)]
        elif isinstance(plain, dict) and step in plain:
            plain = plain[step]
        else:
            return None
    return plain


def _choices(kind: Any) -> str:
    """The values that a Literal within `kind` allows."""
    allowed = [str(value) for part in _parts(kind) if get_origin(part) is Literal for value in get_args(part)]
    return f"one of {', '.join(allowed)}" if len(allowed) > 1 else "".join(allowed)


def _explain(
    error: msgspec.ValidationError, cls: type[Record], plain: Any, source: str, renamed: Mapping[str, str]
) -> InputError:
    place = _PLACE.match(str(error))
    message, key = (place["message"], place["key"] or "") if place else (str(error), "")
    parents = key.replace("[...]", "[]").split(".") if key else []  # [...]: some key of a table of people's own keys
    if unknown := _UNKNOWN.search(message):
        where = f"{key}.{unknown['name']}" if key else unknown["name"]
        hint = renamed.get(where) or _nearest(unknown["name"], list(_fields(_type_at(cls, parents))))
        return InputError(f"{source}: {where}", expected="a known key", got="one Konsil does not know", do=hint)
    if missing := _MISSING.search(message):
        where = f"{key}.{missing['name']}" if key else missing["name"]
        return InputError(f"{source}: {where}", expected="a value", got="none", do=f"Add {where}.")
    where = key or "the file"
    if choice := _CHOICE.match(message):
        expected, got = _choices(_type_at(cls, parents)), _shortened(choice["got"])
    else:
        found = _EXPECTED.match(message)
        expected = found["expected"] if found else message
        got = _got(_value_at(plain, parents), (found and found["got"]) or "", within="[" in key)
    return InputError(f"{source}: {where}", expected=expected, got=got, do=f"Correct {where}.")


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean '{close[0]}'?" if close else f"Known here: {', '.join(known)}."


def _got(value: Any, told: str, *, within: bool) -> str:
    """The wrong value; `told`: its type, if that is what is wrong with it. Of what lies `within` a list only numbers
    out of their range are shown: the rest may name patients."""
    shown = isinstance(value, int | float) and not told if within else isinstance(value, str | int | float | list)
    return _quoted(value) if shown else told


def _quoted(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # thousands of digits, or of brackets
        return "one that is too long to show"
    return _shortened(text)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}…"


def parse_toml(cls: type[R], text: str, source: str, *, renamed: Mapping[str, str] = _NOTHING) -> R:
    """`text` as a `cls`; raises InputError naming `source` and the first wrong key.

    `renamed`: what to do about keys of former versions, by their full name.
    """
    plain = load_toml(text, source)
    try:
        found = msgspec.convert(plain, cls)
        pack(found)
    except msgspec.ValidationError as error:
        raise _explain(error, cls, plain, source, renamed) from None
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


def read_toml(cls: type[R], path: Path, *, renamed: Mapping[str, str] = _NOTHING) -> R:
    """The file at `path` as a `cls`, as `parse_toml`; raises InputError if it is missing, not text or wrong."""
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST + 1).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        got = getattr(error, "strerror", None) or "bytes that are not UTF-8"
        raise InputError(str(path), expected="a readable TOML file", got=got, do="Check the path.") from None
    return parse_toml(cls, text, path.name, renamed=renamed)


def write_toml(record: Record) -> str:
    """`record` as TOML text that `parse_toml` reads as the same; what is None is left out."""
    return tomli_w.dumps(_without_nothing(msgspec.to_builtins(record)))


def _without_nothing(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {key: _without_nothing(value) for key, value in plain.items() if value is not None}
    return [_without_nothing(value) for value in plain] if isinstance(plain, list | tuple) else plain
