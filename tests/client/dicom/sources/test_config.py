"""sources.toml: what a hospital may write, and what it is told when it wrote something else."""

from datetime import date
from pathlib import Path

import pytest

from client.dicom.sources.config import Filter, Pacs, read_lines, read_sources
from shared.errors import InputError

PACS = '[[pacs]]\nname = "radiology"\nhost = "10.0.0.4"\nport = 104\nae_title = "ARCHIVE"\n'
WEB = '[[web]]\nname = "cloud"\nurl = "https://pacs.example/dicom-web"\n'
LISTEN = '[listen]\nhost = "10.0.0.9"\ncalling = ["ARCHIVE"]\npeers = ["10.0.0.0/24"]\n'


@pytest.fixture
def write(tmp_path: Path) -> Path:
    return tmp_path / "sources.toml"


def test_the_least_there_is(write: Path) -> None:
    write.write_text(PACS)
    sources = read_sources(write)
    assert sources.pacs == (Pacs(name="radiology", host="10.0.0.4", port=104, ae_title="ARCHIVE"),)
    assert (sources.folder, sources.listen, sources.web) == ("received", None, ())
    assert [source.name for source in sources.all] == ["radiology"]


def test_all_of_it(write: Path) -> None:
    write.write_text(
        'folder = "in"\nlargest_object_mb = 10\nfree_disk_gb = 1.5\n'
        + LISTEN + '[listen.tls]\nca = "ca.pem"\ncertificate = "c.pem"\nkey = "k.pem"\n'
        + PACS + 'retrieve = "move"\n[pacs.filter]\nmodalities = ["CT", "MR"]\nstudy_from = 2020-01-01\n'
        + 'study_until = 2020-12-31\ndescription = "*THORAX*"\npatients = "patients.txt"\n'
        + WEB + 'token_file = "token"\npage = 50\n'
    )  # fmt: skip
    sources = read_sources(write)
    expected = Filter(
        modalities=("CT", "MR"), study_from=date(2020, 1, 1), study_until=date(2020, 12, 31),
        description="*THORAX*", patients="patients.txt",
    )  # fmt: skip
    assert sources.pacs[0].filter == expected
    assert [source.name for source in sources.all] == ["radiology", "cloud"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PACS + "prot = 1\n", "Did you mean 'port'?"),
        (PACS + '[pacs.filter]\nmodality = "CT"\n', "Did you mean 'modalities'?"),
        (PACS + PACS, "a name of its own"),
        (PACS + WEB.replace("cloud", "radiology"), "a name of its own"),
        (PACS + 'retrieve = "move"\n', "[listen] beside"),
        (PACS.replace("104", "0"), "port"),
        (PACS.replace("ARCHIVE", "SEVENTEEN_LETTERS"), "ae_title"),
        (PACS.replace('"ARCHIVE"', '"BACK\\\\SLASH"'), "ae_title"),
        (PACS.replace('"ARCHIVE"', '" "'), "ae_title"),
        (PACS.replace("radiology", "Radio logy"), "name"),
        (PACS + '[pacs.filter]\nmodalities = ["CT\\\\MR"]\n', "modalities"),
        (PACS + "[pacs.filter]\nstudy_from = 2021-01-01\nstudy_until = 2020-01-01\n", "study_from"),
        (PACS + '[pacs.filter]\npatients = "a"\naccessions = "b"\n', "not both"),
        (PACS + '[pacs.tls]\ncertificate = "c"\n', "certificate and key"),
        (PACS + '[pacs.tls]\ncertificate = "c"\nkey = "k"\n', "ca"),
        (LISTEN.replace('["ARCHIVE"]', "[]"), "calling"),
        (LISTEN.replace('["10.0.0.0/24"]', "[]"), "peers"),
        (LISTEN.replace("10.0.0.0/24", "everybody"), "everybody"),
        (WEB.replace("https://", "https://me:secret@"), "url"),
        (WEB.replace("https", "ftp"), "url"),
        (WEB.replace("https", "http") + 'token_file = "t"\n', "https"),
        (WEB + 'user = "me"\n', "password_file"),
        (WEB + 'user = "me"\npassword_file = "p"\ntoken_file = "t"\n', "not both"),
        (PACS + "timeout_s = 0\n", "timeout_s"),
        ("pacs = 3\n", "pacs"),
        ("[[pacs]\n", "TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(write: Path, text: str, said: str) -> None:
    write.write_text(text)
    with pytest.raises(InputError) as error:
        read_sources(write)
    assert said in str(error.value)
    assert "me:secret" not in str(error.value)


def test_no_file(write: Path) -> None:
    with pytest.raises(InputError, match=r"sources\.toml: expected a readable TOML file"):
        read_sources(write)


def test_a_list_of_patients(tmp_path: Path) -> None:
    path = tmp_path / "patients.txt"
    path.write_text("\ufeffPAT-A\r\n\n PAT-B \nPAT-A\n", encoding="utf-8")
    assert read_lines(path) == ("PAT-A", "PAT-B")


@pytest.mark.parametrize("wrong", ["PAT*", "PAT?", "A\\B", "x" * 65, ""])
def test_a_list_that_would_ask_for_others_is_refused_and_not_quoted(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "patients.txt"
    path.write_text(f"PAT-SECRET\n{wrong}\n" if wrong else "\n")
    with pytest.raises(InputError) as error:
        read_lines(path)
    assert "PAT-SECRET" not in str(error.value)
    assert not wrong or (wrong not in str(error.value) and "line 2" in str(error.value))
