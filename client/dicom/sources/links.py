"""Associations with a PACS that we open: kept open between questions, opened anew where the PACS closed them.

Guarantees: every failure is ours to tell: SilentError where nobody answers or somebody broke off, PeerError where the
PACS says no. After an error the association is gone, and the next question gets a new one.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pynetdicom import AE, build_context, build_role
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, StoragePresentationContexts
from pynetdicom.transport import AddressInformation

from client.dicom.sources.association import LONGEST_PDU, SYNTAXES, ClosingSocket, tls_context
from client.dicom.sources.base import SilentError
from client.dicom.sources.config import Pacs
from shared.errors import PeerError

# Study Root (PS3.4 C.6.2.3)
FIND, MOVE, GET = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))
UNCOMPRESSED = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]
#: PS3.8 D.1: context ids are odd bytes.
MOST_CONTEXTS = 128
#: Storage classes one association for C-GET has contexts for.
MOST_CLASSES = (MOST_CONTEXTS - 1) // len(SYNTAXES)
CHECK = "Check host, port and AE titles in sources.toml, and that it runs."


class _Entity(AE):
    """An AE whose sockets are closed when they are no longer needed."""

    def _create_socket(
        self, assoc: Association, address: AddressInformation, tls_args: tuple[ssl.SSLContext, str] | None
    ) -> ClosingSocket:
        made = ClosingSocket(assoc, address=address)
        made.tls_args = tls_args
        return made


class Links:
    """The associations with the PACS of `config`; `handlers` are pynetdicom's. Relative paths count from `base`."""

    def __init__(self, config: Pacs, base: Path, handlers: list[Any]) -> None:
        self.who = f"PACS {config.name}"
        self._config, self._handlers = config, handlers
        self._tls = tls_context(config.tls, base, server=False)
        self._open: dict[tuple[str, ...], Any] = {}

    @contextmanager
    def asking(self) -> Iterator[Any]:
        """An association for C-FIND, and C-MOVE where that is how we retrieve."""
        services = (FIND, MOVE) if self._config.retrieve == "move" else (FIND,)
        with self._kept(services, [build_context(service, UNCOMPRESSED) for service in services]) as association:
            yield association

    @contextmanager
    def getting(self, classes: tuple[str, ...]) -> Iterator[Any]:
        """An association for C-GET of objects of `classes`, at most MOST_CLASSES, or ("",) where they are not known."""
        for other in [key for key in self._open if key[0] == GET and key[1:] != classes]:
            _end(self._open.pop(other))
        with self._kept((GET, *classes), _get_contexts(classes)) as association:
            yield association

    def close(self) -> None:
        """Release all of them."""
        while self._open:
            _end(self._open.popitem()[1])

    @contextmanager
    def _kept(self, key: tuple[str, ...], contexts: list[PresentationContext]) -> Iterator[Any]:
        association = self._open.get(key)
        if association is None or not association.is_established:
            association = self._open[key] = self._associate(contexts)
        try:
            yield association
        except BaseException as error:
            self._open.pop(key).abort()
            if isinstance(error, RuntimeError | ValueError):  # pynetdicom's, for an association that is gone meanwhile
                raise SilentError(self.who, expected="an answer", got="none", do=CHECK) from None
            raise

    def _associate(self, contexts: list[PresentationContext]) -> Any:
        config = self._config
        entity = _Entity(ae_title=config.our_ae_title)
        entity.acse_timeout = entity.dimse_timeout = config.timeout_s
        entity.network_timeout = entity.connection_timeout = config.timeout_s
        storage = dict.fromkeys(
            str(context.abstract_syntax) for context in contexts if context.abstract_syntax not in (FIND, MOVE, GET)
        )
        association = entity.associate(
            config.host,
            config.port,
            contexts=contexts,
            ae_title=config.ae_title,
            max_pdu=LONGEST_PDU // 8,
            # of what a C-GET brings we are the receiving side (PS3.7 D.3.3.4)
            ext_neg=[build_role(sop_class, scp_role=True) for sop_class in storage],
            tls_args=(self._tls, config.host) if self._tls else None,
            evt_handlers=self._handlers,
        )
        permanent = getattr(association.acceptor.primitive, "result", 0) == 1  # PS3.8 9.3.4; 2 is transient
        if association.is_rejected and permanent:
            do = f"Let its administrator admit the AE title {config.our_ae_title}."
            raise PeerError(self.who, expected="an association", got="a rejection", do=do)
        if not association.is_established:
            raise SilentError(self.who, expected="an association", got="none", do=CHECK)
        services = {FIND, MOVE, GET} & {str(context.abstract_syntax) for context in contexts}
        if not services <= {str(context.abstract_syntax) for context in association.accepted_contexts}:
            association.release()
            do = "Ask its administrator what it offers to us: C-FIND, and C-GET or C-MOVE."
            raise PeerError(self.who, expected="the service asked for", got="less", do=do)
        return association


def _end(association: Any) -> None:
    if association.is_established:
        association.release()


def _get_contexts(classes: tuple[str, ...]) -> list[PresentationContext]:
    """C-GET, and one context for each class and syntax: the PACS sends each object as it has it, and need not convert.
    Where it does not say what class an object has, the usual ones with all syntaxes, of which it chooses one."""
    get = build_context(GET, UNCOMPRESSED)
    if classes == ("",):
        usual = [str(context.abstract_syntax) for context in StoragePresentationContexts[: MOST_CONTEXTS - 1]]
        return [get, *(build_context(sop_class, list(SYNTAXES)) for sop_class in usual)]
    return [get, *(build_context(sop_class, [syntax]) for sop_class in classes for syntax in SYNTAXES)]
