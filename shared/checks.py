"""Preflight checks: what was found, and what to do about it.

Guarantees of `examine`: every check of the tuple gives one `Check`, in order; one that raises becomes a failed check
and stops no other; of an exception that is not ours only the kind is told, because its text could hold a path with a
patient's name. No I/O here: the functions that are handed in do it.

    >>> def disk(free: int) -> Check:
    ...     return ok(f"{free} GiB free")
    >>> def clock(_: int) -> Check:
    ...     return fail("310 s ahead", "Start the time service.")
    >>> render(examine(40, (disk, clock)))
    'ok    disk: 40 GiB free\\nfail  clock: 310 s ahead\\n      Start the time service.\\n1 of 2 checks failed'
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import msgspec

from shared.errors import KonsilError

State = Literal["ok", "warn", "fail"]
ContextT = TypeVar("ContextT")


@dataclass(frozen=True)
class Check:
    """One thing looked at: whether it will do, what was `found`, what to `do` unless it is ok; `name` is stable."""

    state: State
    found: str
    do: str = ""
    name: str = ""


class NotCheckedError(Exception):
    """Nothing can be said here because of something that another check tells of."""


def ok(found: str) -> Check:
    """Nothing to do. `examine` gives the name, here and below."""
    return Check("ok", found)


def warn(found: str, do: str) -> Check:
    """It will work, but somebody should act."""
    return Check("warn", found, do)


def fail(found: str, do: str) -> Check:
    """It will not work, or a promise would not hold."""
    return Check("fail", found, do)


def graded(value: float, *, warn_at: float, fail_at: float, found: str, do: str) -> Check:
    """fail beyond `fail_at`, warn beyond `warn_at`, else ok. Beyond is above, or below where fail_at < warn_at."""
    sign = 1 if fail_at > warn_at else -1
    if sign * value > sign * fail_at:
        return fail(found, do)
    return warn(found, do) if sign * value > sign * warn_at else ok(found)


def examine(context: ContextT, checks: Iterable[Callable[[ContextT], Check]]) -> tuple[Check, ...]:
    """The outcome of every check on `context`, in order, named as its function is."""
    return tuple(replace(_one(context, check), name=check.__name__.replace("_", " ")) for check in checks)


def _one(context: ContextT, check: Callable[[ContextT], Check]) -> Check:
    try:
        return check(context)
    except NotCheckedError as reason:
        return warn(f"not checked: {reason}", "Correct what it depends on, then run the doctor again.")
    except KonsilError as error:
        return fail(_without_advice(error), error.do or "Correct it, then run the doctor again.")
    except OSError as error:
        return fail(error.strerror or type(error).__name__, "Check that the file or device is there and allowed.")
    except Exception as error:  # noqa: BLE001  the other checks must still run
        return fail(f"an error of the doctor itself, {type(error).__name__}", "Report it to Konsil's maintainers.")


def _without_advice(error: KonsilError) -> str:
    """The message of `error` up to what to do, which has a line of its own."""
    return str(error).removesuffix(error.do).rstrip(" .")


def passed(checks: Iterable[Check]) -> bool:
    """Whether none failed."""
    return all(check.state != "fail" for check in checks)


def render(checks: Sequence[Check]) -> str:
    """One line per check, with what to do below it, and a last line that counts."""
    lines = []
    for check in checks:
        lines.append(f"{check.state:<5} {check.name}: {check.found}")
        if check.state != "ok":
            lines.append(f"      {check.do}")
    failed = sum(check.state == "fail" for check in checks)
    warned = sum(check.state == "warn" for check in checks)
    if failed:
        return "\n".join([*lines, f"{failed} of {len(checks)} checks failed"])
    return "\n".join([*lines, f"ready: {len(checks)} checks, {warned} warnings"])


def json_lines(checks: Iterable[Check]) -> str:
    """One JSON object per check, each on a line of its own."""
    return "\n".join(msgspec.json.encode(check).decode() for check in checks)
