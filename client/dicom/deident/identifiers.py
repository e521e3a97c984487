"""What names the patient in one object, so that a copy of it in any other attribute is found: the final sweep.

Guarantees: a name counts as found where one of its parts (two letters or more) is a word of the text, or stands
within it (five letters or more); a number where it is a word of the text (three characters), or stands within it
(five), whatever letters, case or punctuation are around it. Where in doubt the text goes: a patient called Head takes
"head first" with him. Identifiers are kept out of `repr`.

    >>> found = Identifiers()
    >>> found.add_name("Muster^Erika")
    >>> found.in_text("Thorax, Fr. MUSTER")
    True
"""

import re
import unicodedata

#: Attributes that identify by number: their values are looked for everywhere else.
NUMBERS = frozenset(
    {
        0x00080050,  # Accession Number
        0x00100020,  # Patient ID
        0x00100030,  # Patient's Birth Date
        0x00101000,  # Other Patient IDs
        0x00101040,  # Patient's Address
        0x00101090,  # Medical Record Locator
        0x00102154,  # Patient's Telephone Numbers
        0x00120040,  # Clinical Trial Subject ID
        0x00380010,  # Admission ID
        0x00380060,  # Service Episode ID
        0x00402016,  # Placer Order Number / Imaging Service Request
        0x00402017,  # Filler Order Number / Imaging Service Request
    }
)
_WORDS = re.compile(r"[^\W_]+")
#: Characters from which on a part of a name or a number is looked for within words.
_LONG = 5


class Identifiers:
    """The names and numbers met while one object is read."""

    def __init__(self) -> None:
        self._words: set[str] = set()
        self._within: set[str] = set()
        self._spelled: set[str] = set()

    def __repr__(self) -> str:
        return f"Identifiers({len(self._words)} words)"

    def add_name(self, value: str) -> None:
        """A Person Name, all its groups and components (PS3.5 6.2.1)."""
        parts = [part for part in _WORDS.findall(_folded(value)) if len(part) >= 2]
        self._words.update(parts)
        self._within.update(part for part in parts if len(part) >= _LONG)

    def add_number(self, value: str) -> None:
        """An identifier as a whole, without its punctuation; among bytes with it, too."""
        number = _squashed(value)
        if len(number) >= 3:
            self._words.add(number)
        if len(number) >= _LONG:
            self._within.add(number)
            self._spelled.add(_folded(value).strip())

    def in_text(self, text: str) -> bool:
        """Whether `text` holds one of them."""
        if not self._words:
            return False
        folded = _folded(text)
        if not self._words.isdisjoint(_WORDS.findall(folded)):
            return True
        squashed = "".join(_WORDS.findall(folded))
        return squashed in self._words or any(part in squashed for part in self._within)

    def in_bytes(self, data: bytes) -> bool:
        """Whether `data`, read byte by byte as text, holds one of the longer ones; zeros between letters are skipped,
        so that text of two bytes a letter is found too."""
        if not self._within:
            return False
        text = data.replace(b"\0", b"").decode("latin-1").casefold()
        return any(part in text for part in self._within | self._spelled)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _squashed(text: str) -> str:
    return "".join(_WORDS.findall(_folded(text)))
