"""Descriptions cleaned: only words of a closed list stay (PS3.15 E.3.5, note 2).

Guarantees: what is not in words.txt goes, numbers and everything in other languages too. Konsil does not understand
text: "Hand, Dr." keeps its "Hand", unless a name in the same object says that somebody is called so (identifiers.py).

    >>> cleaned("CT chest abdomen pelvis - 55F Dr. Smith")
    'CT chest abdomen pelvis'
"""

import re
from functools import cache
from importlib.resources import files

_WORDS = re.compile(r"[^\W_]+")


@cache
def vocabulary() -> frozenset[str]:
    """The words that stay, in lower case."""
    text = files(__package__).joinpath("words.txt").read_text(encoding="ascii")
    return frozenset(word for line in text.splitlines() if not line.startswith("#") for word in line.split())


def cleaned(text: str) -> str:
    """The words of `text` that are in the vocabulary, in their order; empty if none is."""
    return " ".join(word for word in _WORDS.findall(text) if word.casefold() in vocabulary())
