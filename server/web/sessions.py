"""Who is logged in, and who has to wait before the next guess. In memory only: a restart logs everyone out.

Guarantees: a session ends 12 hours after login, 30 minutes after the last page that a person asked for, or when the
password changes; only hashes of tokens are kept, so looking one up tells nothing by its time. Wrong passwords delay the
next guess of the same source, up to a minute and no longer; both tables are bounded.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

LONGEST_S, IDLE_S = 12 * 3600.0, 30 * 60.0
MOST_SESSIONS, MOST_SOURCES = 100, 1000
#: seconds: the longest delay, and after how long without a guess the count begins anew
MOST_DELAY_S, FORGET_S = 60.0, 3600.0
Clock = Callable[[], float]


@dataclass(frozen=True)
class Session:
    """One login. `csrf` goes into its forms; `password` says under which one it was opened."""

    csrf: str
    password: str
    opened: float
    seen: float


class Sessions:
    """The sessions of this process, by the hash of their token."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[bytes, Session] = {}

    def open(self, password: str) -> str:
        """A new session's token, 43 characters."""
        while len(self._known) >= MOST_SESSIONS:
            del self._known[min(self._known, key=lambda key: self._known[key].seen)]
        token, now = secrets.token_urlsafe(32), self._clock()
        self._known[_key(token)] = Session(secrets.token_urlsafe(32), password, now, now)
        return token

    def find(self, token: str, password: str, *, by_hand: bool) -> Session | None:
        """The session of `token` if it still holds; one that a person uses (`by_hand`) stays open longer."""
        key, now = _key(token), self._clock()
        found = self._known.get(key)
        if found is None:
            return None
        if now - found.opened >= LONGEST_S or now - found.seen >= IDLE_S or found.password != password:
            del self._known[key]
            return None
        if by_hand:
            self._known[key] = replace(found, seen=now)
        return found

    def close(self, token: str) -> None:
        """Forget the session of `token`."""
        self._known.pop(_key(token), None)


class Delays:
    """Who guessed wrong, how often, and until when the next guess has to wait."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sources: dict[str, tuple[int, float]] = {}

    def claim(self, source: str) -> float:
        """0.0 and the guess may be checked; it counts as wrong until `clear`. Else the seconds to wait: it counts
        for nothing."""
        count, until = self._sources.get(source, (0, 0.0))
        now = self._clock()
        if now < until:
            return until - now
        count = 1 if now - until > FORGET_S else count + 1
        self._sources.pop(source, None)
        while len(self._sources) >= MOST_SOURCES:
            del self._sources[min(self._sources, key=lambda key: self._sources[key][1])]
        self._sources[source] = (count, now + min(MOST_DELAY_S, 2.0 ** (count - 1)))
        return 0.0

    def clear(self, source: str) -> None:
        """The guess was right."""
        self._sources.pop(source, None)


def _key(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
