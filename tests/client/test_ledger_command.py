"""`konsil-client ledger`: the page, the JSON, and what is taken over, as people use them."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from client.audit import Audit
from client.cli import main
from client.dicom.keys import patient_key, short_key
from client.home import Home, make_keys
from client.ledger import Ledger, archive_tag
from client.ledger.past import Past, Spent
from shared.accounting import SampledGaussian, Stated, rdp_epsilon
from tests.client.ledger.cases import DELTA, EVENT, WIDE, patients, purpose

Command = Callable[..., tuple[int, str, str]]
POLICY = "[privacy]\nepsilon_total = 8.0\nepsilon_per_study = 4.0\n"
LIST = """version = 1
[[spent]]
study = "covid"
at = 2024-05-01
patients = "covid.csv"
epsilon = 1.5
delta = 1e-6
"""


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["konsil-client", "ledger", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_keys(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def ledger(home: Path) -> Ledger:
    return Ledger(home / "ledger.sqlite", archive=archive_tag(Home(home).archive_key))


def shown(command: Command, *arguments: str | Path) -> Any:
    status, out, _ = command(*arguments, "--json")
    assert status == 0
    return json.loads(out)


def listed(folder: Path, table: str = "patient_id\nMUSTERMANN77\nP2\n") -> Path:
    (folder / "list.toml").write_text(LIST)
    (folder / "covid.csv").write_text(table)
    return folder / "list.toml"


def test_the_page_says_what_for_whom_and_what_is_left(command: Command, home: Path, ledger: Ledger) -> None:
    (home / "policy.toml").write_text(POLICY)
    ledger.reserve(patients(0, 5), EVENT, purpose(0), WIDE)
    ledger.reserve(patients(0, 5), EVENT, purpose(1), WIDE)
    ledger.reserve(patients(5, 7), EVENT, purpose(0, what="evaluate"), WIDE)
    most = rdp_epsilon([EVENT] * 2, DELTA)
    status, out, _ = command("--home", home)
    assert status == 0
    lines = [" ".join(line.replace("│", " ").split()) for line in out.splitlines()]
    assert any(line.startswith(f"s 3 7 {most:.3f} 20") for line in lines)
    assert any(line.startswith(f"r training 2 5 {most:.3f} 20") for line in lines)
    assert any(line.startswith(f"r evaluation 1 2 {rdp_epsilon([EVENT], DELTA):.3f} 20") for line in lines)
    assert "above 0, up to 2 2" in lines
    assert "above 2, up to 4 5" in lines
    assert f"most spent by any one patient, over everything: ε = {most:.3f} at δ = 1e-05" in lines
    assert f"policy.toml allows ε = 8 in all and 4 per study; {8 - most:.3f} is left to that patient" in lines
    assert command("show", "--home", home)[1] == command("--home", home, "show")[1] == out


def test_json_has_the_same(command: Command, home: Path, ledger: Ledger) -> None:
    (home / "policy.toml").write_text(POLICY)
    shared = SampledGaussian(sampling_rate=0.1, noise_multiplier=4.0, steps=20, honest=4)
    own = SampledGaussian(sampling_rate=0.1, noise_multiplier=2.0, steps=20)
    ledger.reserve(patients(0, 5), shared, purpose(0), WIDE)
    found, most = shown(command, "--home", home), rdp_epsilon([shared], DELTA)
    assert (found["charges"], found["patients"], found["epsilon"], found["left"]) == (1, 5, most, 8.0 - most)
    assert found["epsilon_alone"] == rdp_epsilon([own], DELTA)
    assert found["limits"] == {"epsilon_total": 8.0, "epsilon_per_study": 4.0, "delta": 1e-5}
    (study,) = found["studies"]
    assert (study["study"], study["hash"], study["left"]) == ("s", b"s".ljust(32).hex(), 4.0 - most)
    assert [run["what"] for run in study["runs"]] == ["train"]
    assert sum(band["patients"] for band in found["bands"]) == 5
    at_another = shown(command, "--home", home, "--delta", "1e-6")
    assert (at_another["limits"], at_another["left"]) == (None, None), "the policy says nothing about this δ"
    assert at_another["epsilon"] == rdp_epsilon([shared], 1e-6)


@pytest.mark.parametrize("alone", [(), ("--alone",)])
def test_in_80_columns_no_name_and_no_date_is_cut(
    command: Command, home: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, alone: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    name, study = "distributed-4417-20261102-aabbccdd", "skin-lesions-of-the-north-2026"
    for number, day in enumerate(("2026-11-02", "2026-11-09")):
        of = purpose(number, study, name, plan=bytes([number]) * 32, what="imported")
        ledger.take_over([Past(patients(0, 5), (Spent(EVENT, of, f"{day}T00:00:00Z"),))])
    status, out, _ = command("--home", home, *alone)
    assert status == 0
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= 80
    assert out.count("2026-11-02  2026-11-09") == 2, "the study's line and the run's"
    width = next(line.index("what for") for line in out.splitlines() if "what for" in line)
    column = "".join(line[:width].strip() for line in out.splitlines())
    assert study in column
    assert name in column


def test_alone_is_shown_on_demand(command: Command, home: Path, ledger: Ledger) -> None:
    ledger.reserve(
        patients(0, 2), SampledGaussian(sampling_rate=0.1, noise_multiplier=4.0, steps=20, honest=4), purpose(0), WIDE
    )
    own = rdp_epsilon([SampledGaussian(sampling_rate=0.1, noise_multiplier=2.0, steps=20)], DELTA)
    assert f"{own:.3f}" not in command("--home", home)[1]
    out = command("--home", home, "--alone")[1]
    assert out.count(f"{own:.3f}") == 3
    assert f"if no other hospital had added its share of the noise: ε = {own:.3f}" in out


def test_without_bound_is_said_and_is_null(command: Command, home: Path, ledger: Ledger) -> None:
    stated = Spent(Stated(epsilon=1.0, delta=0.1), purpose(0, what="imported"), "2024-05-01T00:00:00Z")
    ledger.take_over([Past(patients(0, 1), (stated,))])
    assert "ε = without bound" in command("--home", home)[1]
    assert shown(command, "--home", home)["epsilon"] is None


def test_a_list_is_taken_over_once_and_nobody_is_named(command: Command, home: Path, tmp_path: Path) -> None:
    place = listed(tmp_path)
    first, second = command("import", place, "--home", home), command("--home", home, "import", place)
    assert first == (0, "1 charges taken over, 0 were in the ledger already\nthey concern 2 patients\n", "")
    assert second == (0, "nothing new: all 1 charges were in the ledger already\n", "")
    found = shown(command, "--home", home)
    assert (found["epsilon"], found["patients"], found["studies"][0]["runs"][0]["what"]) == (1.5, 2, "imported")
    for file in home.rglob("*"):
        assert not file.is_file() or b"MUSTERMANN77" not in file.read_bytes()
    key = Home(home).archive_key
    assert Ledger(home / "ledger.sqlite").patients() >= {patient_key(key, b"", b"MUSTERMANN77")}


def test_a_number_is_looked_up_in_the_catalog(
    command: Command, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two issuers have a P2; the list does not say whose is meant, so both are."""
    from tests.client.dicom.archives import keep  # noqa: PLC0415  the real scanner, on real objects
    from tests.client.dicom.geometry.series import line, series  # noqa: PLC0415

    archive = tmp_path / "a"
    for number, issuer in enumerate(("A", "B")):
        keep(archive, series(line(1), PatientID="P2", IssuerOfPatientID=issuer), series=str(number))
    (home / "site.toml").write_text(f'name = "alder"\narchive = "{archive}"\nlabels = "labels.csv"\n')
    monkeypatch.setattr("sys.argv", ["konsil-client", "scan", str(archive), "--home", str(home)])
    with pytest.raises(SystemExit):
        main()
    assert command("import", listed(tmp_path), "--home", home)[0] == 0
    key = Home(home).archive_key
    named = {patient_key(key, issuer, b"P2") for issuer in (b"A", b"B", b"")}
    assert Ledger(home / "ledger.sqlite").patients() == named | {patient_key(key, b"", b"MUSTERMANN77")}
    assert short_key(key, "bare-patient", b"P2")


def test_an_older_copy_put_back_is_noticed_and_mended(command: Command, home: Path, tmp_path: Path) -> None:
    key, audit = Home(home).archive_key, Audit(home / "audit.jsonl")
    for round_ in range(2):
        ledger = Ledger(home / "ledger.sqlite", archive=archive_tag(key))
        ledger.reserve(patients(0, 3), EVENT, purpose(round_), WIDE)
        audit.record("reserved", run="r", round=round_, plan=purpose(round_).plan.hex())
        ledger.close()
        shutil.copy(home / "ledger.sqlite", tmp_path / f"{round_}.sqlite")
    assert command("--home", home)[0] == 0
    shutil.copy(tmp_path / "0.sqlite", home / "ledger.sqlite")
    status, out, error = command("--home", home)
    assert (status, "Privacy ledger" in out) == (1, True)
    assert "got 1 fewer" in error
    assert command("import", tmp_path / "1.sqlite", "--home", home)[:2] == (
        0,
        "1 charges taken over, 1 were in the ledger already\nthey concern 3 patients\n",
    )
    assert command("--home", home)[0] == 0
    assert Ledger(home / "ledger.sqlite").epsilon(DELTA) == rdp_epsilon([EVENT] * 2, DELTA)


def test_a_ledger_of_another_key_only_for_everyone(command: Command, home: Path, tmp_path: Path) -> None:
    lost = Ledger(tmp_path / "lost.sqlite", archive=archive_tag(b"o" * 32))
    lost.reserve(patients(0, 3), EVENT, purpose(0), WIDE)
    lost.close()
    status, _, error = command("import", tmp_path / "lost.sqlite", "--home", home)
    assert (status, "--everyone" in error) == (1, True)
    status, out, _ = command("import", tmp_path / "lost.sqlite", "--everyone", "--home", home)
    assert (status, out.splitlines()[1]) == (0, "they concern every patient, now and to come")
    assert shown(command, "--home", home)["epsilon"] == rdp_epsilon([EVENT], DELTA)
    assert command("import", listed(tmp_path), "--everyone", "--home", home)[0] == 2


def test_a_replaced_key_is_noticed(command: Command, home: Path, tmp_path: Path, ledger: Ledger) -> None:
    ledger.close()
    (home / "keys" / "archive.key").write_bytes(b"n" * 32)
    status, _, error = command("import", listed(tmp_path), "--home", home)
    assert (status, "keys/archive.key as it is now" in error) == (1, True)


@pytest.mark.parametrize("content", ["", "x = 1\n", "version = 1\nspent = []\n", None])
def test_what_cannot_be_imported_is_told(command: Command, home: Path, tmp_path: Path, content: str | None) -> None:
    place = tmp_path / "list.toml"
    if content is not None:
        place.write_text(content)
    status, _, error = command("import", place, "--home", home)
    assert (status, error.startswith("konsil-client: ")) == (2, True)


def test_another_programs_database_is_no_empty_ledger(command: Command, home: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.sqlite")) as db:
        db.execute("CREATE TABLE theirs (x)")
    status, _, error = command("import", tmp_path / "other.sqlite", "--home", home)
    assert (status, "a ledger with charges in it" in error) == (2, True)


def test_a_wrong_home_is_refused_and_not_made(command: Command, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    for arguments in ((), ("--json",), ("show",), ("import", listed(tmp_path))):
        status, out, error = command("--home", wrong, *arguments)
        assert (status, out, error.startswith(f"konsil-client: {wrong}")) == (2, "", True)
        assert not wrong.exists()


def test_a_home_without_a_ledger_is_told_so_and_gets_none(command: Command, home: Path) -> None:
    before = sorted(home.rglob("*"))
    status, out, error = command("--home", home)
    assert (status, out) == (2, "")
    assert "ledger.sqlite: expected this hospital's ledger, got none: nothing was ever charged here. Check" in error
    assert sorted(home.rglob("*")) == before


def test_a_ledger_that_is_gone_is_not_called_one_that_never_was(command: Command, home: Path) -> None:
    Audit(home / "audit.jsonl").record("reserved", run="r", round=0, plan=purpose(0).plan.hex())
    status, _, error = command("--home", home)
    assert (status, "got 1 fewer" in error, "nothing was ever charged" in error) == (1, True, False)
    assert not (home / "ledger.sqlite").exists()


def test_an_epsilon_out_of_range_in_a_list_is_shown(command: Command, home: Path, tmp_path: Path) -> None:
    place = listed(tmp_path)
    place.write_text(LIST.replace("1.5", "-1"))
    status, _, error = command("import", place, "--home", home)
    assert (status, "spent[0].epsilon: expected `float` > 0.0, got -1." in error) == (2, True)


def test_a_policy_of_a_former_version_is_told_what_to_write(command: Command, home: Path, ledger: Ledger) -> None:
    (home / "policy.toml").write_text("[privacy]\nallow_off = true\n")
    status, _, error = command("--home", home)
    assert (status, "policy.toml: privacy.allow_off: " in error) == (2, True)
    assert 'It is privacy.least now: for true write least = "off", for false delete it.' in error
