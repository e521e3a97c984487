"""sources.toml: where a hospital's images come from, and which of them are asked for. No I/O but reading that file.

folder, largest_object_mb, free_disk_gb     where objects are kept, and when they are refused
[listen]    we are the C-STORE server: who may send, from where
[[pacs]]    we ask a PACS by DIMSE; `retrieve = "move"` needs [listen], known to the PACS by its AE title
[[web]]     we ask a DICOMweb server

Each [[pacs]] and [[web]] has a [pacs.filter] or [web.filter]; without one everything there is asked for. A relative
path counts from the hospital's folder. Secrets and lists of patients stand in files of their own, never in this one. An
unknown key is refused by name.

    [[pacs]]
    name = "radiology"
    host = "10.0.0.4"
    port = 104
    ae_title = "ARCHIVE"
    [pacs.filter]
    modalities = ["CT"]
    study_from = 2020-01-01
"""

import datetime
import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta

from shared.errors import InputError
from shared.toml import read_toml
from shared.wire import Record

#: PS3.5 6.2, VR AE: at most 16 characters, no backslash; a blank at either end means nothing.
AeTitle = Annotated[str, Meta(pattern=r"\A[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?\Z")]
Name = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9._-]{0,62}\Z")]
Host = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9.:_-]{1,253}\Z")]
Port = Annotated[int, Meta(ge=1, le=65535)]
Seconds = Annotated[float, Meta(gt=0, le=3600)]
Attempts = Annotated[int, Meta(ge=1, le=20)]
Text = Annotated[str, Meta(max_length=64)]
_CODE = re.compile(r"[A-Z0-9_]{1,16}")  # PS3.5 6.2, VR CS


class Filter(Record, frozen=True):
    """What is asked for; what is left out matches everything. `description` matches the study's, with `*` and `?`.
    `patients` and `accessions`: files with one identifier per line."""

    modalities: tuple[str, ...] = ()
    study_from: datetime.date | None = None
    study_until: datetime.date | None = None
    description: Text = ""
    patients: str = ""
    accessions: str = ""

    def __post_init__(self) -> None:
        if not all(_CODE.fullmatch(modality) for modality in self.modalities):
            raise ValueError("modalities as DICOM writes them, such as CT or MR")
        if self.study_from and self.study_until and self.study_from > self.study_until:
            raise ValueError("study_from no later than study_until")
        if self.patients and self.accessions:
            raise ValueError("patients or accessions, not both")
        if "\\" in self.description:
            raise ValueError("a description without a backslash")


class Tls(Record, frozen=True):
    """PEM files. `ca`: who must have signed the other side's certificate ("system": this machine's authorities)."""

    ca: str = ""
    certificate: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        if bool(self.certificate) != bool(self.key) or (self.certificate and not self.ca):
            raise ValueError("certificate and key together, and a ca: without one anybody could be the other side")


class Pacs(Record, frozen=True):
    """A PACS asked by DIMSE. `our_ae_title` is who we say we are; `timeout_s` the longest silence."""

    name: Name
    host: Host
    port: Port
    ae_title: AeTitle
    our_ae_title: AeTitle = "KONSIL"
    retrieve: Literal["get", "move"] = "get"
    timeout_s: Seconds = 60.0
    attempts: Attempts = 3
    pause_s: Seconds = 2.0
    tls: Tls = Tls()
    filter: Filter = Filter()


class Web(Record, frozen=True):
    """A DICOMweb server at `url`. `token_file` holds a bearer token, `password_file` the password of `user`; `ca` who
    signed its certificate; `page` the results asked for at a time."""

    name: Name
    url: str
    token_file: str = ""
    user: str = ""
    password_file: str = ""
    ca: str = ""
    page: Annotated[int, Meta(ge=1, le=10_000)] = 100
    timeout_s: Seconds = 30.0
    attempts: Attempts = 4
    pause_s: Seconds = 1.0
    filter: Filter = Filter()

    def __post_init__(self) -> None:
        at = urlsplit(self.url)
        if at.scheme not in ("http", "https") or not at.hostname or at.query or at.fragment or "@" in at.netloc:
            raise ValueError("a url such as https://pacs.example/dicom-web, without a user, a query or a fragment")
        if self.token_file and self.user:
            raise ValueError("a token or a user, not both")
        if bool(self.user) != bool(self.password_file):
            raise ValueError("user and password_file together")
        if (self.token_file or self.user) and at.scheme == "http" and at.hostname not in ("127.0.0.1", "localhost"):
            raise ValueError("https for a server that is told a secret")


class Listen(Record, frozen=True):
    """Our C-STORE server: the AE titles that may call it and the addresses or networks they may call from."""

    host: Host
    calling: Annotated[tuple[AeTitle, ...], Meta(min_length=1)]
    peers: Annotated[tuple[str, ...], Meta(min_length=1)]
    port: Annotated[int, Meta(ge=0, le=65535)] = 11112
    ae_title: AeTitle = "KONSIL"
    max_associations: Annotated[int, Meta(ge=1, le=100)] = 8
    max_pdu: Annotated[int, Meta(ge=4096, le=1 << 20)] = 1 << 17
    timeout_s: Seconds = 60.0
    tls: Tls = Tls()

    def __post_init__(self) -> None:
        for peer in self.peers:
            ipaddress.ip_network(peer, strict=False)  # raises ValueError
        if self.tls.ca and not self.tls.certificate:
            raise ValueError("a certificate and a key beside the ca")


class Sources(Record, frozen=True):
    """The whole file. Objects above `largest_object_mb` and all objects while less than `free_disk_gb` is free are
    refused."""

    folder: str = "received"
    largest_object_mb: Annotated[int, Meta(ge=1, le=8192)] = 2048
    free_disk_gb: Annotated[float, Meta(ge=0)] = 5.0
    listen: Listen | None = None
    pacs: tuple[Pacs, ...] = ()
    web: tuple[Web, ...] = ()

    @property
    def all(self) -> list[Pacs | Web]:
        """Every source that can be pulled from, in the order of the file."""
        return [*self.pacs, *self.web]

    def __post_init__(self) -> None:
        if len({source.name for source in self.all}) < len(self.all):
            raise ValueError("a name of its own for every source")
        if self.listen is None and any(pacs.retrieve == "move" for pacs in self.pacs):
            raise ValueError('[listen] beside retrieve = "move": a PACS moves objects to a server of ours')


def read_sources(path: Path) -> Sources:
    """The file at `path`. Raises InputError where it is missing or wrong, naming the key."""
    return read_toml(Sources, path)


def read_lines(path: Path) -> tuple[str, ...]:
    """The lines of a list of identifiers, stripped, without empty ones and repeats. Raises InputError; names none."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        got = getattr(error, "strerror", None) or "bytes that are not UTF-8"
        raise InputError(path.name, expected="a file with one identifier per line", got=got, do="Check it.") from None
    found = tuple(dict.fromkeys(line for line in lines if line))
    # PS3.5 6.2, VR LO; * and ? would ask for other patients too
    wrong = [number for number, line in enumerate(lines, 1) if len(line) > 64 or set(line) & set("\\*?")]
    if wrong or not found:
        expected = "lines of at most 64 characters without a backslash, * or ?"
        got = f"another in line {wrong[0]}" if wrong else "none"
        raise InputError(path.name, expected=expected, got=got, do="Correct it.")
    return found
