"""Words from outside, made safe to show: in a terminal, a log line, a page.

Guarantees: `printable` is one line that steers no terminal and turns no line around; `is_plain` says whether a text was
that already. Neither knows markup: whoever shows text through rich wraps it in `Text`, through a page escapes it.

    >>> printable("a\\x1b[31m\\nb"), is_plain("clear"), is_plain("a\\u202eb")
    ('a\ufffd[31m b', True, False)
"""

#: no line ends between a figure and its unit
GAP = "\u00a0"


def printable(text: str, most: int | None = None) -> str:
    """`text` in one line, without control, direction and private characters, its middle cut out beyond `most`."""
    clean = "".join(c if c.isprintable() or c == GAP else " " if c in "\n\r\t" else "\ufffd" for c in text)
    if most is None or len(clean) <= most:
        return clean
    tail = (most - 1) // 2
    return f"{clean[: most - 1 - tail]}…{clean[len(clean) - tail :]}"


def is_plain(text: str) -> bool:
    """Whether `text` is free of control, format, direction, private and unassigned characters and of line ends."""
    return text.isprintable()
