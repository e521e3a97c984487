"""One sentence of a report's verdict."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["bad", "note", "good"]


@dataclass(frozen=True)
class Finding:
    """One sentence of the verdict, with what it rests on."""

    level: Level
    text: str
    items: tuple[str, ...] = ()
