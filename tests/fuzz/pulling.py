"""What arrives from other machines: sources.toml and lists beside it, a DICOMweb server's answers, objects to keep."""

import contextlib
import io
import itertools
import shutil
import socket
import socketserver
import warnings
from collections.abc import Iterable
from datetime import date
from functools import partial
from pathlib import Path
from threading import Thread

from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode, encode

from client.dicom.scanning.header import read_header
from client.dicom.sources.base import Query, Series
from client.dicom.sources.config import Filter, Web, read_lines, read_sources
from client.dicom.sources.dimse import _texts
from client.dicom.sources.multipart import BrokenError, boundary_of, parts
from client.dicom.sources.store import DRAFT, RefusedError, Store
from client.dicom.sources.web import WebSource
from shared.errors import KonsilError, PeerError
from tests.client.dicom.sources.webserver import MULTIPART
from tests.fuzz.dicom_files import KEY, all_seeds, picked
from tests.fuzz.dicom_seeds import WORDS, pixel_seeds
from tests.fuzz.engine import Decoder, Target
from tests.fuzz.files import TOML_WORDS

_SOURCES = b"""folder = "received"
largest_object_mb = 9
[listen]
host = "0.0.0.0"
calling = ["CT1"]
peers = ["10.0.0.0/8"]
[[pacs]]
name = "radiology"
host = "10.0.0.4"
port = 104
ae_title = "ARCHIVE"
retrieve = "move"
[pacs.filter]
modalities = ["CT"]
study_from = 2020-01-01
[[web]]
name = "vna"
url = "https://vna.example/dicom-web"
ca = "ca.pem"
token_file = "token"
"""
_HTTP_WORDS = (
    b"HTTP/1.1 200 OK\r\n", b"Content-Length: 99999999999\r\n", b"Content-Length: -1\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Location: http://example.org/\r\n", b"Location: /again\r\n",
    b"HTTP/1.1 302 \r\n",
    b"Retry-After: 1e9\r\n", b"HTTP/1.1 503 \r\n", b"ffffffffffffffff\r\n", b"Set-Cookie: a=b\r\n", b"[" * 3000,
    b'"Value": [{}]', b'"0020000D"', b"--XX", b"--XX--", b"boundary=", b"\r\n\r\n", b"HTTP/1.1 204 \r\n\r\n", b"1.2.3",
)  # fmt: skip


def _settings(folder: Path) -> Decoder:
    path = folder / "sources.toml"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        for source in read_sources(path).all:
            repr(source)

    return Decoder(read, (_SOURCES,), "text", (*TOML_WORDS, b"peers = ['::/0']", b"url = 'http://a@b'", b"port = 0"))


def _lines(folder: Path) -> Decoder:
    path = folder / "patients.txt"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        read_lines(path)

    return Decoder(read, (b"PAT-1\nPAT-2\r\n\n", b"\xef\xbb\xbfA 1\n"), "text", (b"*", b"?", b"\\", b"\x85", b"\0"))


def _multipart(_: Path) -> Decoder:
    """In chunks of every size: the parts do not depend on how they arrive."""

    def read(data: bytes) -> None:
        head, _, body = data.partition(b"\n")
        boundary = boundary_of(head.decode("latin-1"))
        size = (1, 3, 64, 1 << 16)[picked(data, 4)]
        found = _contents(_chunks(body, size), boundary)
        if found != _contents([body], boundary):
            raise AssertionError("other parts in other chunks")

    body = b"\r\n--XX\r\nContent-Type: application/dicom\r\n\r\nabc\r\n--XX\r\n\r\nde\r\n-f\r\n--XX--\r\n"
    seeds = (
        MULTIPART.encode() + b"\n" + body,
        b'multipart/related; boundary="a b"\npreamble\r\n--a b\r\n\r\n1\r\n--a b--',
    )
    words = (
        b"--XX",
        b"\r\n--XX",
        b"--XX--",
        b"\r\n\r\n",
        b"boundary=",
        b"multipart/related; ",
        b"a" * 70000,
        b"*=utf-8''",
    )
    return Decoder(read, seeds, "text", words, (BrokenError,), slow_s=2.0)


def _chunks(data: bytes, size: int) -> Iterable[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def _contents(chunks: Iterable[bytes], boundary: bytes) -> tuple[list[bytes], bool]:
    """The parts that are whole, and whether the end was."""
    found: list[bytes] = []
    try:
        for part in parts(chunks, boundary):
            found.append(b"".join(part))  # noqa: PERF401  what came before the break counts
    except BrokenError:
        return found, False
    return found, True


def _store(folder: Path) -> Decoder:
    """Bytes that come in pieces, announced as something: kept whole under a name of ours, or not at all."""

    def read(data: bytes) -> None:
        shutil.rmtree(folder / "kept", ignore_errors=True)
        store = Store(folder / "kept", KEY, largest=1 << 17, floor=0)
        announced = ("", "1.2.3", "1.2.840.10008.5.1.4.1.1.7")[picked(data, 3)]
        try:
            for _ in range(2):
                store.keep(_chunks(data, 1 + picked(data, 5000)), sop_class=announced if picked(data, 2) else "")
        except RefusedError:
            if [path for path in store.folder.rglob("*") if path.is_file()]:
                raise AssertionError("what was refused is still there") from None
            raise
        (path,) = (path for path in store.folder.rglob("*") if path.is_file())
        if path.read_bytes() != data or path.name.startswith(DRAFT) or not path.is_relative_to(store.folder):
            raise AssertionError("another object than came")
        read_header(path)

    return Decoder(read, all_seeds(), "dicom", WORDS, (RefusedError,), extra_mb=150)


class _Server(socketserver.ThreadingTCPServer):
    """Says the same to whatever it is asked."""

    daemon_threads = True
    words = b""


class _Says(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        with contextlib.suppress(OSError):
            self.request.settimeout(2)
            self.request.recv(1 << 16)
            self.request.sendall(self.server.words)
            self.request.shutdown(socket.SHUT_WR)


def _web(folder: Path) -> Decoder:
    """A server's answer, byte for byte: to a search, and to the request for objects."""
    server = _Server(("127.0.0.1", 0), _Says)
    Thread(target=partial(server.serve_forever, 0.05), daemon=True).start()
    store = Store(folder / "kept", KEY, largest=1 << 17, floor=0)
    config = Web(
        name="vna", url=f"http://127.0.0.1:{server.server_address[1]}/rs", timeout_s=1.0, attempts=1,
        filter=Filter(modalities=("CT",)),
    )  # fmt: skip

    def read(data: bytes) -> None:
        server.words = data
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # urllib3 leaves half an answer to the collector
            _asked(WebSource(config, store, folder))

    return Decoder(read, _answers(), "text", _HTTP_WORDS, extra_mb=150, slow_s=3.0)


def _asked(source: WebSource) -> None:
    try:
        with contextlib.suppress(KonsilError):
            list(itertools.islice(source.series(), 50))
        series = Series("1.2", "1.2.3", "CT")
        source.fetch(series, source.objects(series), whole=True)
    finally:
        source.close()


def _answers() -> tuple[bytes, ...]:
    uids = ("0020000D", "0020000E", "00080018", "00080016", "00080060", "00080061")
    row = b"{%b}" % b",".join(b'"%b":{"vr":"UI","Value":["1.2.3"]}' % uid.encode() for uid in uids)
    search = b"[%b,%b]" % (row, row)
    body = b"\r\n--XX\r\nContent-Type: application/dicom\r\n\r\n" + pixel_seeds()[0] + b"\r\n--XX--\r\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
    chunked = b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\nTransfer-Encoding: chunked\r\n\r\n"
    return (
        head % (b"application/dicom+json", len(search), search),
        chunked + b"%x\r\n%b\r\n0\r\n\r\n" % (len(search), search),
        head % (MULTIPART.encode(), len(body), body),
        b"HTTP/1.1 302 Found\r\nLocation: /rs/other\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
    )


def _found(_: Path) -> Decoder:
    """An answer to a C-FIND, decoded as pynetdicom does, which takes any error for no answer."""
    query = Query(Filter(description="CT*", study_from=date(2020, 1, 1)))

    def read(data: bytes) -> None:
        row = None
        with warnings.catch_warnings(), contextlib.suppress(Exception):
            warnings.simplefilter("ignore")
            row = decode(io.BytesIO(data), is_implicit_vr=bool(picked(data, 2)), is_little_endian=True)
        query.admits(_texts(row), "PACS")

    answer = Dataset()
    answer.StudyInstanceUID, answer.SeriesInstanceUID, answer.Modality = "1.2", "1.2.3", "CT"
    answer.StudyDate, answer.StudyDescription, answer.PatientID = "20200303", "CT THORAX", "PAT-1"
    answer.NumberOfSeriesRelatedInstances = "3"
    seeds = [encode(answer, is_implicit_vr=implicit, is_little_endian=True) or b"" for implicit in (True, False)]
    return Decoder(read, seeds, "bytes", WORDS, (PeerError,))


_SOURCES_ROOM = "client/dicom/sources/"
PULLING_TARGETS = (
    Target("sources.toml", _settings, 1, (f"{_SOURCES_ROOM}config.py",)),
    Target("list of patients", _lines, 1, (f"{_SOURCES_ROOM}config.py",)),
    Target("multipart", _multipart, 1, (f"{_SOURCES_ROOM}multipart.py",)),
    Target("DICOM received", _store, 0.5, (f"{_SOURCES_ROOM}store.py",)),
    Target("DIMSE answers", _found, 1, (f"{_SOURCES_ROOM}dimse.py", f"{_SOURCES_ROOM}base.py")),
    Target("DICOMweb answers", _web, 0.2, (f"{_SOURCES_ROOM}web.py", f"{_SOURCES_ROOM}http.py")),
)
