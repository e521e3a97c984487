"""The options of what a study names (a model, a task, an algorithm), checked against what that knows.

Guarantees: an unknown option, one of a wrong kind or out of range is an InputError that names the key and what is near.

    >>> options_of(Settings, {"width": 4}, where="model.options", owner="cnn")
    Settings(width=4)
"""

import difflib
import re
from collections.abc import Mapping
from typing import Literal, TypeVar, get_args, get_origin

import msgspec

from shared.errors import InputError

_UNKNOWN = re.compile(r"unknown field `(?P<key>[^`]*)`")
_WRONG = re.compile(r"^(?:Expected )?(?P<expected>.*?)(?:, got .*?)? - at `\$\.(?P<key>[^`]*)`$", re.DOTALL)

T = TypeVar("T", bound=msgspec.Struct)


def options_of(cls: type[T], given: Mapping[str, int | float | str], *, where: str, owner: str) -> T:
    """`given` as `cls`, the struct of the options of `owner`, which stand at `where` in the study."""
    try:
        return msgspec.convert(dict(given), cls)
    except msgspec.ValidationError as error:
        raise _explain(str(error), cls, given, where=where, owner=owner) from None


def chosen(name: str, known: Mapping[str, object], where: str) -> None:
    """Raise InputError unless `name`, which stands at `where` in the study, is one of `known`."""
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else "Name one of them."
    raise InputError(where, expected=f"one of {', '.join(known)}", got=f"'{name}'", do=hint)


def _explain(
    message: str, cls: type[msgspec.Struct], given: Mapping[str, int | float | str], *, where: str, owner: str
) -> InputError:
    known = [field.name for field in msgspec.structs.fields(cls)]
    if unknown := _UNKNOWN.search(message):
        near = difflib.get_close_matches(unknown["key"], known, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Options of {owner}: {', '.join(known) or 'none'}."
        return InputError(f"{where}.{unknown['key']}", expected=f"an option of {owner}", got="an unknown one", do=hint)
    wrong = _WRONG.match(message)
    key, expected = (wrong["key"], wrong["expected"]) if wrong else ("", message)
    if key in known and (choices := _choices(cls, key)):
        expected = f"one of {choices}"
    named = f"{where}.{key}" if key else where
    return InputError(named, expected=expected, got=repr(given.get(key)), do=f"Correct {named}.")


def _choices(cls: type[msgspec.Struct], key: str) -> str:
    kind = next(field.type for field in msgspec.structs.fields(cls) if field.name == key)
    return ", ".join(map(str, get_args(kind))) if get_origin(kind) is Literal else ""
