"""What a search may change of a study: the file `space.toml`.

Guarantees: only keys that it names change, and never privacy, evaluation or the tensors that images become.

    [training.learning_rate]
    low = 0.001
    high = 0.1
    log = true
    [model.options.width]
    choices = [8, 16]
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from shared.errors import InputError
from shared.study import Study
from shared.toml import load_toml
from shared.wire import Record

#: Sections of a study that a search may change.
SEARCHED = ("training", "model", "federation", "task")
Value = int | float | str


class Range(Record, frozen=True):
    """Numbers from `low` to `high`, whole ones if both are; with `log`, alike on the logarithmic scale."""

    low: int | float
    high: int | float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low <= self.high or (self.log and not self.low > 0):
            raise ValueError("low up to high, and above 0 with log")


class Choices(Record, frozen=True):
    """One of `choices`."""

    choices: Annotated[tuple[Value, ...], Meta(min_length=1)]


Wish = Range | Choices
#: Dotted key of the study → what it may be.
Space = Mapping[str, Wish]


def read_space(path: Path) -> Space:
    """The space in the file at `path`. Raises InputError naming the key that is wrong."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), expected="a readable TOML file", got=str(error), do="Check the path.") from None
    space = dict(_wishes(load_toml(text, str(path)), "", path))
    if not space:
        raise InputError(str(path), expected="at least one key with low and high, or choices", got="none")
    return space


def _wishes(plain: Mapping[str, Any], prefix: str, path: Path) -> Iterator[tuple[str, Wish]]:
    for key, value in plain.items():
        name = f"{prefix}{key}"
        if not isinstance(value, dict) or name.partition(".")[0] not in SEARCHED:
            raise InputError(f"{path}: {name}", expected=f"sections of {', '.join(SEARCHED)}", got=repr(value)[:80])
        if "low" in value or "choices" in value:
            yield name, _wish(value, f"{path}: {name}")
        else:
            yield from _wishes(value, f"{name}.", path)


def _wish(value: Mapping[str, Any], where: str) -> Wish:
    try:
        return msgspec.convert(value, Range) if "low" in value else msgspec.convert(value, Choices)
    except msgspec.ValidationError as error:
        raise InputError(where, expected="low and high, or choices", got=str(error), do="Correct it.") from None


def with_settings(study: Study, settings: Mapping[str, Value]) -> Study:
    """`study` with the dotted keys of `settings` changed. Raises InputError for a key or value that no study has."""
    plain = msgspec.to_builtins(study)
    for key, value in settings.items():
        *parents, last = key.split(".")
        section = plain
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = value
    try:
        return msgspec.convert(plain, Study)
    except msgspec.ValidationError as error:
        given = ", ".join(f"{key} = {value}" for key, value in settings.items())
        raise InputError(given, expected="values that a study may have", got=str(error), do="Correct them.") from None
