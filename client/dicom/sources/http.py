"""HTTP as we speak it to a DICOMweb server: bounded in time and size, patient with a busy server, loyal to one host.

Guarantees of `Session`: no request waits longer than `timeout_s` for a connection or the next byte, and none goes on
longer than LONGEST_S; a server that is busy (408, 425, 429, 5xx) or breaks off is asked again after a pause,
Retry-After's if it names one; a redirect to another scheme, host or port is refused, because the secret would go with
it; no secret comes from the environment or from .netrc. An answer that is read at once (QIDO's JSON) has at most
LARGEST_ANSWER bytes.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth

from client.dicom.sources.base import SilentError
from client.dicom.sources.config import Web
from shared.errors import InputError, PeerError

# They log URLs, which name studies and patients.
for _name in ("dicomweb_client", "requests", "retrying", "urllib3"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)

LARGEST_ANSWER = 1 << 26
#: Seconds of one whole answer; a volume of 2 GiB at 2 MB/s takes a third of it.
LONGEST_S = 3600.0
LONGEST_PAUSE_S = 120.0
BUSY = frozenset((408, 425, 429, 500, 502, 503, 504))
_PORTS = {"http": 80, "https": 443}


class Session(requests.Session):
    """A session with the server of `config`; relative paths of its files count from `base`."""

    def __init__(self, config: Web, base: Path) -> None:
        super().__init__()
        self.trust_env = False
        self.max_redirects = 5
        self.verify = str(base / config.ca) if config.ca else True
        self._config = config
        if config.ca and not (base / config.ca).is_file():
            raise InputError(f"{config.ca}", expected="the certificate authority's file, PEM", got="none")
        if config.token_file:
            self.headers["Authorization"] = f"Bearer {_secret(base / config.token_file)}"
        if config.user:
            self.auth = HTTPBasicAuth(config.user.encode(), _secret(base / config.password_file).encode())
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter())

    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override]
        """The answer, after as many attempts as are configured. Raises SilentError, PeerError; names no URL."""
        config = self._config
        options["timeout"] = config.timeout_s
        for attempt in range(1, config.attempts + 1):
            pause = min(config.pause_s * 2 ** (attempt - 1), LONGEST_PAUSE_S)
            with told(config.name, last=attempt == config.attempts):
                answer = super().request(method, url, **options)
                if answer.status_code not in BUSY:
                    return answer
                pause = max(pause, _retry_after(answer))
                answer.close()
                if attempt == config.attempts:
                    raise SilentError(_who(config), expected="an answer", got=f"status {answer.status_code}")
            time.sleep(pause)
        raise SilentError(_who(config), expected="an answer", got="none")

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Where an answer redirects to, on the same server. Raises PeerError for another."""
        target = super().get_redirect_target(resp)
        if target is not None and _origin(urljoin(resp.url, target)) != _origin(self._config.url):
            resp.close()
            do = "If it moved, correct its url in sources.toml."
            raise PeerError(_who(self._config), expected="answers from this server", got="a redirect to another", do=do)
        return target


@contextmanager
def told(name: str, *, last: bool = True) -> Iterator[None]:
    """The errors of requests as ours, without their text, which holds the URL and with it UIDs. Not the `last` attempt:
    what is worth another is swallowed."""
    try:
        yield
    except requests.exceptions.SSLError:
        do = "Check the server's certificate and `ca` in sources.toml."
        raise PeerError(f"DICOMweb server {name}", expected="a certificate we trust", got="another", do=do) from None
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        if last:
            got = type(error).__name__
            raise SilentError(f"DICOMweb server {name}", expected="a whole answer", got=got) from None
    except (requests.RequestException, ValueError, RecursionError) as error:
        got = type(error).__name__
        raise PeerError(f"DICOMweb server {name}", expected="an answer as DICOMweb has it", got=got) from None


class _Adapter(HTTPAdapter):
    """Puts limits on the bodies of answers."""

    def send(self, request: requests.PreparedRequest, stream: bool = False, *args: Any, **options: Any) -> Any:
        answer = super().send(request, stream, *args, **options)
        answer.raw = _Body(answer.raw, None if stream else LARGEST_ANSWER)
        return answer


class _Body:
    """The body of an answer, unpacked, of at most `largest` bytes, ended by LONGEST_S."""

    def __init__(self, raw: Any, largest: int | None) -> None:
        self._raw, self._largest = raw, largest

    def stream(self, size: int, decode_content: bool = True) -> Iterator[bytes]:
        """Chunks of about `size` bytes. Raises requests' errors where a limit is passed."""
        deadline, read = time.monotonic() + LONGEST_S, 0
        for chunk in self._raw.stream(size, decode_content=decode_content):
            read += len(chunk)
            if self._largest is not None and read > self._largest:
                self._raw.close()
                raise requests.exceptions.ContentDecodingError("a larger answer than any search has")
            if time.monotonic() > deadline:
                self._raw.close()
                raise requests.ReadTimeout("an answer without end")
            yield chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


def _secret(path: Path) -> str:
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        got = getattr(error, "strerror", None) or "bytes that are not UTF-8"
        raise InputError(path.name, expected="a file with the secret", got=got, do="Check it.") from None
    if not secret or not secret.isprintable():
        raise InputError(path.name, expected="one line with the secret", got="something else", do="Check it.")
    return secret


def _retry_after(answer: requests.Response) -> float:
    """RFC 9110 section 10.2.3, in seconds; 0 for a date, which our own pause replaces."""
    value = answer.headers.get("Retry-After", "")
    return min(float(value), LONGEST_PAUSE_S) if value.isdecimal() and len(value) < 8 else 0.0


def _origin(url: str) -> tuple[str, str, int]:
    """RFC 6454 section 4: scheme, host, port."""
    at = urlsplit(url)
    return at.scheme, at.hostname or "", at.port or _PORTS.get(at.scheme, 0)


def _who(config: Web) -> str:
    return f"DICOMweb server {config.name}"
