"""DICOMweb servers that fail or mean harm: nothing half is kept, nothing is told of patients, everything ends."""

import gzip
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from pydicom.dataset import Dataset

from client.dicom.sources.config import Filter
from client.dicom.sources.http import LARGEST_ANSWER
from client.dicom.sources.journal import Journal
from client.dicom.sources.store import Store
from shared.errors import InputError
from tests.client.dicom.sources.certificates import Authority
from tests.client.dicom.sources.peers import IMAGES, KEY, files, image
from tests.client.dicom.sources.pulls import go
from tests.client.dicom.sources.pulls import web as source
from tests.client.dicom.sources.webserver import MULTIPART, Answer, Asked, Encode, Server, properly

Start = Callable[..., Server]


@pytest.fixture
def start(encoded: Encode) -> Iterator[Start]:
    servers = []

    def one(answer: Answer = properly, images: list[Dataset] = IMAGES) -> Server:
        server = Server(answer, encoded, images)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return server

    yield one
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_proper_server(start: Start, store: Store, journal: Journal) -> None:
    web = start()
    assert go(source(web.url, store, page=1), store, journal).received == 10
    assert len(files(store)) == 10


def test_the_same_page_for_ever_is_noticed(start: Start, store: Store, journal: Journal) -> None:
    web = start(lambda asked: asked.say(json.dumps(asked.rows()[:2]).encode()))
    report = go(source(web.url, store, page=2), store, journal)
    assert "expected the next page of a search, got the same one again" in report.trouble
    assert len(web.asked) == 2


def test_a_server_that_ignores_the_offset_but_says_all_is_understood(
    start: Start, store: Store, journal: Journal
) -> None:
    def all_of_it(asked: Asked) -> None:
        asked.say(json.dumps(asked.rows()).encode()) if asked.is_search else properly(asked)

    assert go(source(start(all_of_it).url, store), store, journal).received == 10


def test_a_server_that_caps_pages_is_asked_for_the_rest(start: Start, store: Store, journal: Journal) -> None:
    def capped(asked: Asked) -> None:
        asked.say(json.dumps(asked.page()[:1]).encode()) if asked.is_search else properly(asked)

    assert go(source(start(capped).url, store), store, journal).received == 10


def test_results_without_end_are_not_believed(
    start: Start, store: Store, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(asked: Asked) -> None:
        offset = int(parse_qs(urlsplit(asked.path).query).get("offset", ["0"])[0])
        page = [{"0020000D": {"vr": "UI", "Value": [f"1.{offset + number}"]}} for number in range(10)]
        asked.say(json.dumps(page).encode())

    monkeypatch.setattr("client.dicom.sources.web.MOST_STUDIES", 50)
    assert "at most 50 answers" in go(source(start(endless).url, store), store, journal).trouble


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"{}", b"[1, null, []]", b'[{"0020000D": 3}]', b'[{"0020000D": {"Value": [{}]}}]',
     b'[{"0020000D": {"vr": "UI", "Value": ["../../x"]}}]', b"not json", b"[" * 100_000],
)  # fmt: skip
def test_nonsense_is_no_result(start: Start, store: Store, journal: Journal, body: bytes) -> None:
    served: list[bool] = []

    def once(asked: Asked) -> None:
        asked.say(b"[]" if served else body)
        served.append(True)

    report = go(source(start(once).url, store), store, journal)
    assert report.series == 0
    assert report.trouble or report.unusable or body in (b"", b"null")


def test_an_answer_larger_than_any_search_has_is_not_read(start: Start, store: Store, journal: Journal) -> None:
    bomb = gzip.compress(b" " * (LARGEST_ANSWER + (1 << 20)), 1)
    report = go(source(start(lambda asked: asked.say(bomb, Content_Encoding="gzip")).url, store), store, journal)
    assert "ContentDecodingError" in report.trouble


def test_a_redirect_elsewhere_is_refused_and_gets_no_secret(start: Start, store: Store, journal: Journal) -> None:
    other = start()
    web = start(lambda asked: asked.say(status=302, Location=other.url + asked.path))
    (store.folder.parent / "token").write_text("t0ken")
    report = go(source(web.url, store, token_file="token"), store, journal)
    assert "a redirect to another" in report.trouble
    assert other.asked == []
    assert other.url not in report.trouble


def test_a_redirect_within_the_server_is_followed(start: Start, store: Store, journal: Journal) -> None:
    def moved(asked: Asked) -> None:
        if asked.path.startswith("/old"):
            asked.say(status=307, Location=asked.path.removeprefix("/old"))
        else:
            properly(asked)

    assert go(source(start(moved).url + "/old", store), store, journal).received == 10


def test_the_token_is_sent(start: Start, store: Store, journal: Journal) -> None:
    def only_with_it(asked: Asked) -> None:
        properly(asked) if asked.headers["Authorization"] == "Bearer t0ken" else asked.say(status=401)

    (store.folder.parent / "token").write_text("t0ken\n")
    web = start(only_with_it)
    assert go(source(web.url, store, token_file="token"), store, journal).received == 10
    assert "HTTPError" in go(source(web.url, store), store, journal).trouble


def test_only_a_server_whose_certificate_we_trust(start: Start, store: Store, journal: Journal, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.sign("server")
    web = start()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    web.socket = context.wrap_socket(web.socket, server_side=True)
    url = web.url.replace("http:", "https:")
    assert "expected a certificate we trust" in go(source(url, store), store, journal).trouble
    assert go(source(url, store, ca="ca.pem"), store, journal).received == 10
    with pytest.raises(InputError, match=r"none\.pem"):
        source(url, store, ca="none.pem")


@pytest.mark.parametrize("secret", ["", "two\nlines", None])
def test_a_secret_that_is_none(store: Store, secret: str | None) -> None:
    if secret is not None:
        (store.folder.parent / "token").write_text(secret)
    with pytest.raises(InputError, match="token"):
        source("https://x", store, token_file="token")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(start: Start, store: Store, journal: Journal, status: int) -> None:
    busy = []

    def once(asked: Asked) -> None:
        if asked.path not in busy:
            busy.append(asked.path)
            asked.say(status=status, Retry_After="0")
        else:
            properly(asked)

    assert go(source(start(once).url, store, attempts=2), store, journal).received == 10


def test_a_connection_that_is_reset_is_tried_again(start: Start, store: Store, journal: Journal) -> None:
    reset = []

    def once(asked: Asked) -> None:
        if asked.path in reset:
            properly(asked)
        else:
            reset.append(asked.path)
            asked.close_connection = True

    assert go(source(start(once).url, store, attempts=2), store, journal).received == 10


def test_a_server_that_never_answers(start: Start, store: Store, journal: Journal) -> None:
    done = threading.Event()
    report = go(source(start(lambda _: done.wait(20) and None).url, store, timeout_s=0.3), store, journal)
    done.set()
    assert "expected a whole answer, got" in report.trouble


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("honest", [True, False])
def test_half_an_object_is_not_kept(start: Start, store: Store, journal: Journal, cut: float, honest: bool) -> None:
    """The connection ends early, or the length given is that of the half."""
    images = IMAGES[:1]

    def half(asked: Asked) -> None:
        if asked.is_search:
            properly(asked)
            return
        body = asked.parts()
        part = body[: int((len(body) - 8) * cut)]
        asked.say(part, kind=MULTIPART, Content_Length=str(len(body) if honest else len(part)))
        asked.close_connection = True

    report = go(source(start(half, images).url, store), store, journal)
    assert (report.asked, report.received, report.statuses) == (1, 0, {"no answer": 1})
    assert files(store) == []


def test_what_came_before_the_break_is_kept_and_not_asked_for_again(
    start: Start, store: Store, journal: Journal
) -> None:
    images = IMAGES[:3]
    broken: list[bool] = []

    def half(asked: Asked) -> None:
        if asked.is_search or broken:
            properly(asked)
            return
        broken.append(True)
        body = asked.parts()
        asked.say(body[: len(body) // 2], kind=MULTIPART)

    web = start(half, images)
    assert go(source(web.url, store), store, journal).received == 1
    assert go(source(web.url, store), store, journal).received == 2
    assert sum("/instances/" in path for path in web.asked) == 2


@pytest.mark.parametrize("named", ["../../x", "/etc/x"])
def test_an_object_with_a_climbing_uid_is_not_kept(
    start: Start, store: Store, journal: Journal, named: str, tmp_path: Path
) -> None:
    bad = image("PAT-A", "1", 1, SOPInstanceUID=named)

    def swapped(asked: Asked) -> None:
        if asked.is_search:
            properly(asked)
        else:
            body = b"--XX\r\n\r\n" + asked.server.encode(bad) + b"\r\n--XX--"
            asked.say(body, kind=MULTIPART)

    report = go(source(start(swapped, IMAGES[:1]).url, store), store, journal)
    assert report.statuses == {"no DICOM object, or not all of one": 1}
    assert files(store) == []


def test_an_object_that_was_not_asked_for_is_not_taken(start: Start, store: Store, journal: Journal) -> None:
    def swapped(asked: Asked) -> None:
        if asked.is_search:
            properly(asked)
        else:
            body = b"--XX\r\n\r\n" + asked.server.encode(IMAGES[-1]) + b"\r\n--XX--"
            asked.say(body, kind=MULTIPART)

    report = go(source(start(swapped, IMAGES[:1]).url, store), store, journal)
    assert report.statuses == {"not the object it was announced as": 1}
    assert files(store) == []


def test_an_object_above_the_limit_is_not_kept(start: Start, journal: Journal, tmp_path: Path, encoded: Encode) -> None:
    small = Store(tmp_path / "small", KEY, largest=len(encoded(IMAGES[0])) - 1, floor=0)
    report = go(source(start(properly, IMAGES[:3]).url, small), small, journal)
    assert report.statuses == {"larger than this hospital accepts": 3}
    assert files(small) == []


def test_one_object_without_multipart_is_taken(start: Start, store: Store, journal: Journal) -> None:
    def alone(asked: Asked) -> None:
        if asked.is_search:
            properly(asked)
        else:
            asked.say(asked.server.encode(IMAGES[0]), kind="application/dicom")

    assert go(source(start(alone, IMAGES[:1]).url, store), store, journal).received == 1


def test_what_is_gone_meanwhile_is_told_by_its_status(start: Start, store: Store, journal: Journal) -> None:
    report = go(
        source(start(lambda a: properly(a) if a.is_search else a.say(status=404), IMAGES[:2]).url, store),
        store,
        journal,
    )
    assert (report.failed, report.statuses) == (2, {"HTTP 404": 1, "not sent": 1})


def test_errors_and_reports_name_nobody(
    start: Start, store: Store, journal: Journal, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    web = start(lambda a: properly(a) if a.is_search else a.say(status=503, Retry_After="0"))
    (store.folder.parent / "list.txt").write_text("PAT-A\n")
    shown = [repr(go(source(web.url, store, filter=Filter(patients="list.txt")), store, journal)), caplog.text]
    gone = source(web.url.replace("http://127.0.0.1", "http://127.0.0.2"), store, filter=Filter(patients="list.txt"))
    shown.append(repr(go(gone, store, journal)))
    assert any("PAT-A" in path for path in web.asked)
    for text in (*shown, *capfd.readouterr()):
        assert "PAT-A" not in text
        assert str(IMAGES[0].StudyInstanceUID) not in text
