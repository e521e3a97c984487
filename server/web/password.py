"""The operator's password, as web.json keeps it: scrypt, mode 0600, never the password itself.

Guarantees: a guess costs 32 MiB and about a quarter of a second; comparing takes the same time wherever two hashes
differ; setting a new password ends every session opened with the old one (`version` changes).
"""

import hashlib
import hmac
import secrets
import unicodedata
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from server.home import ServerHome
from shared.errors import InputError, OperatorError
from shared.files import write_atomically
from shared.wire import Record, read_json

SHORTEST, LONGEST = 12, 1024
#: RFC 7914, section 2: cost, block size, parallelisation; one of the settings OWASP names as equal
_COST, _BLOCK, _LANES = 2**15, 8, 3
_MEMORY = 64 << 20


class Password(Record, frozen=True):
    """web.json: the hash of one password, in hex."""

    version: Literal[1]
    cost: Annotated[int, Meta(ge=2, le=2**15)]
    block: Annotated[int, Meta(ge=1, le=8)]
    lanes: Annotated[int, Meta(ge=1, le=8)]
    salt: Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
    hash: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]

    def matches(self, guess: str) -> bool:
        """Whether `guess` is the password. Slow on purpose: call it off the event loop."""
        found = _scrypt(guess[: LONGEST + 1], bytes.fromhex(self.salt), self.cost, self.block, self.lanes)
        return hmac.compare_digest(found, bytes.fromhex(self.hash))

    def tag(self, text: str) -> str:
        """What only this coordinator can say of `text`, until the password changes. Hex."""
        return hmac.new(bytes.fromhex(self.hash), b"konsil/web/v1\0" + text.encode(), hashlib.sha256).hexdigest()


def password_file(home: ServerHome) -> Path:
    """Where it is kept."""
    return home.path / "web.json"


def set_password(home: ServerHome, password: str, *, cost: int = _COST) -> None:
    """Keep the hash of `password`. Raises InputError, and keeps the old one, for a short or endless one."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise InputError("the password", expected=f"at least {SHORTEST} characters", got=f"{len(password)}")
    salt = secrets.token_bytes(16)
    found = _scrypt(password, salt, cost, _BLOCK, _LANES)
    kept = Password(version=1, cost=cost, block=_BLOCK, lanes=_LANES, salt=salt.hex(), hash=found.hex())
    write_atomically(password_file(home), msgspec.json.encode(kept), mode=0o600)


def read_password(home: ServerHome) -> Password | None:
    """The password in force, None before one is set. Raises OperatorError for a damaged file."""
    path = password_file(home)
    try:
        return read_json(path.read_bytes(), Password)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        do = "Set the password anew: konsil-server password."
        raise OperatorError(str(path), expected="the hash of a password", got=str(error), do=do) from None


def _scrypt(password: str, salt: bytes, cost: int, block: int, lanes: int) -> bytes:
    """32 bytes. The same password typed on another keyboard has the same code points (NFKC)."""
    data = unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
    return hashlib.scrypt(data, salt=salt, n=cost, r=block, p=lanes, maxmem=_MEMORY, dklen=32)
