"""Every error Konsil raises on purpose, by who must act on it.

A message names the thing, what was expected, what was got and what to do, in that order:

    >>> str(InputError("study.toml: privacy.epsilon", expected="a number above 0", got="-1", do="Raise it."))
    'study.toml: privacy.epsilon: expected a number above 0, got -1. Raise it.'

No message carries pixels, patient identifiers, keys or unmasked updates.
"""


class KonsilError(Exception):
    """Base of all: `what` is wrong, what was `expected`, what was `got`, what to `do`."""

    exit_status = 1

    def __init__(self, what: str, *, expected: str = "", got: str = "", do: str = "") -> None:
        self.what, self.expected, self.got, self.do = what, expected, got, do
        found = ", ".join(part for part in (expected and f"expected {expected}", got and f"got {got}") if part)
        text = f"{what}: {found}." if found else f"{what}."
        super().__init__(f"{text} {do}".strip())

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the trip between processes with the fields intact."""
        return (_rebuild, (type(self), self.what, self.expected, self.got, self.do))


def _rebuild(cls: type[KonsilError], what: str, expected: str, got: str, do: str) -> KonsilError:
    return cls(what, expected=expected, got=got, do=do)


class InputError(KonsilError):
    """The person at the command line gave something unusable: a file, a key, a value."""

    exit_status = 2


class OperatorError(KonsilError):
    """The consortium's operator must act: too few sites, a corrupt checkpoint, an unreachable target."""


class SiteError(KonsilError):
    """The hospital must act: disk full, archive unreadable, cache torn."""


class RefusalError(SiteError):
    """The hospital's own rules say no. `rule` names the rule of policy.toml."""

    def __init__(self, what: str, *, rule: str, expected: str = "", got: str = "", do: str = "") -> None:
        super().__init__(what, expected=expected, got=got, do=do)
        self.rule = rule

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild_refusal, (self.what, self.rule, self.expected, self.got, self.do))


def _rebuild_refusal(what: str, rule: str, expected: str, got: str, do: str) -> RefusalError:
    return RefusalError(what, rule=rule, expected=expected, got=got, do=do)


class PeerError(KonsilError):
    """Another party sent something the protocol forbids; nothing was done with it."""


class MisuseError(KonsilError):
    """A caller broke a contract of ours: wrong order, wrong shape. A bug, never an input."""


def unlikely(expected: str, got: str) -> OperatorError:
    """A masked sum that opened to what no hospitals can have sent."""
    return OperatorError(
        "unmasked sum",
        expected=expected,
        got=got,
        do="A hospital sent counts that no archive has; the sum is discarded.",
    )
