"""A DICOMweb server for tests: proper unless it is told to be otherwise."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydicom.dataset import Dataset

Encode = Callable[[Dataset], bytes]
Answer = Callable[["Asked"], None]


class Asked(BaseHTTPRequestHandler):
    """Answers with the server's `answer`, or as a proper server with IMAGES would."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "Server"

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.answer(self)

    def log_message(self, *_: object) -> None:
        pass

    def say(self, body: bytes = b"", status: int = 200, kind: str = "application/dicom+json", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Type": kind, "Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def rows(self) -> list[dict[str, Any]]:
        """What QIDO has to say to the path that was asked, all pages."""
        parts = urlsplit(self.path).path.strip("/").split("/")
        key = {1: "StudyInstanceUID", 3: "SeriesInstanceUID", 5: "SOPInstanceUID"}[len(parts)]
        images = [one for one in self.server.images if len(parts) < 3 or one.StudyInstanceUID == parts[1]]
        images = [one for one in images if len(parts) < 5 or one.SeriesInstanceUID == parts[3]]
        first = {str(one[key].value): one for one in reversed(images)}
        return [row(one, key) for _, one in sorted(first.items())]

    def page(self) -> list[dict[str, Any]]:
        asked = parse_qs(urlsplit(self.path).query)
        offset = int(asked.get("offset", ["0"])[0])
        return self.rows()[offset : offset + int(asked["limit"][0])]

    @property
    def is_search(self) -> bool:
        return "limit=" in self.path

    def parts(self) -> bytes:
        """What WADO has to say: the objects of a series, or one."""
        path = urlsplit(self.path).path.strip("/").split("/")
        images = [one for one in self.server.images if one.SeriesInstanceUID == path[3]]
        images = [one for one in images if len(path) < 6 or one.SOPInstanceUID == path[5]]
        head = b"\r\n--XX\r\nContent-Type: application/dicom\r\n\r\n"
        body = b"".join(head + self.server.encode(one) for one in images)
        return body + b"\r\n--XX--\r\n"


def row(dataset: Dataset, key: str) -> dict[str, Any]:
    values = {key, "PatientID", "Modality", "SOPClassUID", "StudyDate"}
    return {f"{dataset[name].tag:08X}": {"vr": "UI", "Value": [str(dataset[name].value)]} for name in values}


MULTIPART = 'multipart/related; type="application/dicom"; boundary=XX'


def properly(asked: Asked) -> None:
    if asked.is_search:
        asked.say(json.dumps(asked.page()).encode())
    else:
        asked.say(asked.parts(), kind=MULTIPART)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answer: Answer, encode: Encode, images: list[Dataset]) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.answer, self.encode, self.images = answer, encode, images
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        pass
