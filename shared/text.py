"""Words from outside, made safe to show, and figures as they are read: in a terminal, a log line, a page.

Guarantees: `printable` is one line that steers no terminal and turns no line around; `is_plain` says whether a text was
that already. Neither knows markup: whoever shows text through rich wraps it in `Text`, through a page escapes it.

    >>> printable("a\\x1b[31m\\nb"), is_plain("clear"), is_plain("a\\u202eb")
    ('a\ufffd[31m b', True, False)
"""

from math import floor, log10

#: no line ends between a figure and its unit
GAP = "\u00a0"
#: Between these a figure needs more than three decimals; what is nearer to 0 is rounding.
_LEAST, _SMALL = 1e-9, 1e-2


def printable(text: str, most: int | None = None) -> str:
    """`text` in one line, without control, direction and private characters, its middle cut out beyond `most`."""
    clean = "".join(c if c.isprintable() or c == GAP else " " if c in "\n\r\t" else "\ufffd" for c in text)
    if most is None or len(clean) <= most:
        return clean
    tail = (most - 1) // 2
    return f"{clean[: most - 1 - tail]}…{clean[len(clean) - tail :]}"


def decimal(value: float, digits: int = 3) -> str:
    """`value` with `digits` decimals; a small one with as many as show two figures of it, so that it is not read as 0.

    >>> decimal(1234.5), decimal(0.00031), decimal(0.0)
    ('1,234.500', '0.00031', '0.000')
    """
    if _LEAST < abs(value) < _SMALL:
        digits = max(digits, 1 - floor(log10(abs(value))))
    return f"{round(value, digits) + 0.0:,.{digits}f}"  # never −0


def is_plain(text: str) -> bool:
    """Whether `text` is free of control, format, direction, private and unassigned characters and of line ends."""
    return text.isprintable()
