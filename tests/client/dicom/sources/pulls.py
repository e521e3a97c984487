"""Sources of the tests' peers, and pulling from them."""

from typing import Any

from client.dicom.sources.base import Source
from client.dicom.sources.config import Pacs, Web
from client.dicom.sources.dimse import PacsSource
from client.dicom.sources.journal import Journal
from client.dicom.sources.pull import PullReport, pull
from client.dicom.sources.store import Store
from client.dicom.sources.web import WebSource


def pacs(port: int, store: Store, **options: Any) -> PacsSource:
    usual: dict[str, Any] = {
        "name": "pacs", "host": "127.0.0.1", "port": port, "ae_title": "ARCHIVE", "timeout_s": 10.0
    }  # fmt: skip
    return PacsSource(Pacs(**usual | options), store, store.folder.parent)


def web(url: str, store: Store, **options: Any) -> WebSource:
    usual: dict[str, Any] = {"name": "web", "url": url, "timeout_s": 5.0, "attempts": 1, "pause_s": 0.01}
    return WebSource(Web(**usual | options), store, store.folder.parent)


def go(source: Source, store: Store, journal: Journal, attempts: int = 1) -> PullReport:
    """Pull, and see that every object is accounted for."""
    report = pull(source, store, journal, attempts=attempts, pause_s=0.01)
    assert report.asked == report.here + report.received + report.failed
    assert source.name == report.source
    return report
