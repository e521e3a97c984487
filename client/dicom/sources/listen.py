"""Our C-STORE server: a PACS or a scanner sends, we keep.

Guarantees: success is answered only for an object that is whole on disk (store.py). Only the AE titles and addresses of
the configuration are served, the called title must be ours; with TLS, only peers whose certificate `ca` signed. One
peer cannot hold up another: TLS is negotiated outside the accepting thread, in bounded time. Nothing received is
decoded, and nothing of a patient is told: counts only.

    with Listener(config, store, home) as listener:
        ...  # listener.port, listener.counts
"""

import ipaddress
import socket
import socketserver
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import ThreadedAssociationServer

from client.dicom.sources.association import Limits, guard, receiver, storage_contexts, tls_context
from client.dicom.sources.config import Listen
from client.dicom.sources.store import Kept, Store, Why
from shared.errors import MisuseError, SiteError

#: Seconds a peer may take for its TLS handshake and for its A-ASSOCIATE-RQ.
HANDSHAKE_S = 10.0

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Listener:
    """The server of `config`, keeping into `store`; relative paths of its TLS files count from `base`. `released` is
    called with the counts each time an association ends. A context manager; raises SiteError where it cannot listen."""

    def __init__(
        self, config: Listen, store: Store, base: Path, *, released: Callable[[dict[str, int]], None] | None = None
    ) -> None:
        self._config = config
        self._counting = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._released = released
        entity = AE(ae_title=config.ae_title)
        entity.require_called_aet = True
        entity.require_calling_aet = list(config.calling)
        entity.maximum_associations = config.max_associations
        entity.maximum_pdu_size = config.max_pdu
        entity.acse_timeout = min(HANDSHAKE_S, config.timeout_s)
        entity.dimse_timeout = entity.network_timeout = config.timeout_s
        entity.supported_contexts = storage_contexts()
        entity.add_supported_context(Verification)
        self._entity = entity
        self._handlers = [
            guard(Limits(store.largest, config.timeout_s)),
            receiver(store, self._tell),
            (evt.EVT_RELEASED, self._ended),
            (evt.EVT_ABORTED, self._ended),
            (evt.EVT_REJECTED, self._rejected),
        ]
        self._tls = tls_context(config.tls, base, server=True)
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        """The port it listens at; of `port = 0` the one the system chose."""
        return int(self._running.server_address[1])

    @property
    def counts(self) -> dict[str, int]:
        """Objects so far: kept, again (the same once more), beside (another content under a known UID), refused and
        why; and associations rejected."""
        with self._counting:
            return dict(self._counts)

    @property
    def _running(self) -> "_Server":
        if self._server is None:
            raise MisuseError("a Listener", expected="one that was entered", got="one that was not")
        return self._server

    def __enter__(self) -> Self:
        config = self._config
        try:
            server: Any = self._entity.make_server(
                (config.host, config.port),
                evt_handlers=self._handlers,
                server_class=_Server,
                peers=[ipaddress.ip_network(peer, strict=False) for peer in config.peers],
                most=2 * config.max_associations,
                tls=self._tls,
            )
        except OSError as error:
            do = "Is it in use, by another konsil-client listen? Else choose another in sources.toml: listen."
            got = error.strerror or "an I/O error"
            raise SiteError(f"listening at port {config.port}", expected="a free port", got=got, do=do) from None
        self._server = server
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop accepting and cut off who is connected: what was not answered with success, they send again."""
        self._running.shutdown()
        for association in self._running.active_associations:
            association.abort()
        self._server = None

    def _tell(self, outcome: Kept | Why) -> None:
        name = f"refused: {outcome.value}" if isinstance(outcome, Why) else _word(outcome)
        with self._counting:
            self._counts[name] += 1

    def _ended(self, _: evt.Event) -> None:
        if self._released is not None:
            self._released(self.counts)

    def _rejected(self, _: evt.Event) -> None:
        with self._counting:
            self._counts["rejected"] += 1


def _word(kept: Kept) -> str:
    return "again" if kept.again else "beside" if kept.beside else "kept"


class _Server(ThreadedAssociationServer):
    """pynetdicom's server with an address list, a bound on connections, and TLS outside the accepting thread."""

    daemon_threads = True

    def __init__(
        self, *arguments: Any, peers: list[Network], most: int, tls: ssl.SSLContext | None, **options: Any
    ) -> None:
        self._peers, self._most, self._tls = peers, most, tls
        self._opening = threading.BoundedSemaphore(most)
        super().__init__(*arguments, **options)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002  socketserver's signature
        """Whether to speak with this peer at all; before a byte of it is read."""
        address = ipaddress.ip_address(client_address[0])
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._peers) and len(self.active_associations) < self._most

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread of its own for the connection, unless too many are in their handshake."""
        if not self._opening.acquire(blocking=False):
            self.shutdown_request(request)
            return
        threading.Thread(target=self._open, args=(request, client_address), daemon=True).start()

    def _open(self, request: socket.socket, client_address: Any) -> None:
        try:
            if self._tls is not None:
                request.settimeout(HANDSHAKE_S)
                request = self._tls.wrap_socket(request, server_side=True)
            self.finish_request(request, client_address)
        except OSError:  # no TLS, or not one we trust, or gone again
            self.shutdown_request(request)
        finally:
            self._opening.release()

    def shutdown(self) -> None:
        """Stop accepting. pynetdicom's would look for itself in a list that only its own start fills."""
        socketserver.BaseServer.shutdown(self)
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: the peer is cut off, and what it sent is not repeated in a log."""
