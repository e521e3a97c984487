import re
from pathlib import Path

import pytest

from client.dicom.keys import patient_key
from client.ledger import Ledger
from client.ledger.listed import read_list
from client.ledger.past import Taken
from shared.accounting import SampledGaussian, Stated, rdp_epsilon
from shared.errors import InputError

KEY = b"k" * 32
STEPS = "sampling_rate = 0.02\nnoise_multiplier = 1.1\nsteps = 3000\n"
STATED = "epsilon = 1.5\ndelta = 1e-6\n"
DELTA = 1e-5


def nobody(_bare: bytes) -> frozenset[bytes]:
    return frozenset()


def written(folder: Path, *entries: str, table: str = "patient_id\nP1\nP2\n") -> Path:
    (folder / "covid.csv").write_text(table)
    parts = [f'[[spent]]\nstudy = "covid"\nat = 2024-05-01\n{entry}' for entry in entries]
    (folder / "list.toml").write_text("version = 1\n" + "".join(parts))
    return folder / "list.toml"


def test_steps_or_stated_of_listed_patients_or_everyone(tmp_path: Path) -> None:
    entries = (f'patients = "covid.csv"\n{STEPS}honest = 3\n', f"everyone = true\n{STATED}")
    first, second = read_list(written(tmp_path, *entries), KEY, nobody)
    assert first.patients == sorted([patient_key(KEY, b"", b"P1"), patient_key(KEY, b"", b"P2")])
    assert first.spent[0].event == SampledGaussian(sampling_rate=0.02, noise_multiplier=1.1, steps=3000, honest=3)
    assert (second.patients, second.spent[0].event) == (None, Stated(epsilon=1.5, delta=1e-6))
    about = first.spent[0].purpose
    assert (about.study, about.what, first.spent[0].at) == ("covid", "imported", "2024-05-01T00:00:00Z")


def test_a_number_without_an_issuer_means_all_who_have_it(tmp_path: Path) -> None:
    place = written(tmp_path, f'patients = "covid.csv"\n{STATED}', table="patient_id;issuer\nP1;A\nP2;\n")
    asked, other = list[bytes](), b"o" * 32

    def known(bare: bytes) -> frozenset[bytes]:
        asked.append(bare)
        return frozenset([other])

    (past,) = read_list(place, KEY, known)
    assert past.patients == sorted([patient_key(KEY, b"A", b"P1"), patient_key(KEY, b"", b"P2"), other])
    assert asked == [b"P2"]


def test_the_same_list_under_other_names_is_the_same(tmp_path: Path) -> None:
    ledger, entry = Ledger(tmp_path / "l.sqlite"), f'patients = "covid.csv"\n{STATED}'
    assert ledger.take_over(read_list(written(tmp_path, entry, entry), KEY, nobody)) == Taken(2, 0), "two equal are two"
    place = written(tmp_path, entry.replace("covid.csv", "other.csv"), entry, table="patient_id\nP2\nP1\nP1\n")
    (tmp_path / "other.csv").write_text("patient_id\nP1\nP2\n")
    assert ledger.take_over(read_list(place, KEY, nobody)) == Taken(0, 2)
    assert ledger.take_over(read_list(written(tmp_path, entry, entry, entry), KEY, nobody)) == Taken(1, 2)
    assert ledger.epsilon(DELTA) == rdp_epsilon([Stated(epsilon=1.5, delta=1e-6)] * 3, DELTA)


def test_no_patient_is_in_the_ledger_in_clear(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    entry = f'patients = "covid.csv"\n{STATED}'
    ledger.take_over(read_list(written(tmp_path, entry, table="patient_id\nMUSTERMANN77\n"), KEY, nobody))
    ledger.close()
    for file in tmp_path.glob("l.sqlite*"):
        assert b"MUSTERMANN77" not in file.read_bytes()


@pytest.mark.parametrize(
    "entry",
    [
        STATED,
        f'everyone = true\npatients = "covid.csv"\n{STATED}',
        "everyone = true\n",
        f"everyone = true\n{STEPS}{STATED}",
        "everyone = true\nsteps = 3\nepsilon = 1.0\ndelta = 0.0\n",
        "everyone = true\nepsilon = -1.0\ndelta = 1e-6\n",
        "everyone = true\nepsilon = nan\ndelta = 1e-6\n",
        "everyone = true\nepsilon = inf\ndelta = 1e-6\n",
        "everyone = true\nsampling_rate = 0.0\nnoise_multiplier = 1.0\nsteps = 1\n",
        "everyone = true\nsampling_rate = 0.1\nnoise_multiplier = 0.0\nsteps = 1\n",
        "everyone = true\nsampling_rate = 0.1\nnoise_multiplier = 1.0\nsteps = -1\n",
        f'everyone = true\nstudy_hash = "abc"\n{STATED}',
        f"everyone = true\nhonest = 0\n{STATED}",
        f"everyone = true\nunheard_of = 1\n{STATED}",
    ],
)
def test_what_would_lower_or_say_nothing_is_refused(tmp_path: Path, entry: str) -> None:
    with pytest.raises(InputError):
        read_list(written(tmp_path, entry), KEY, nobody)


@pytest.mark.parametrize("table", ["patient_id\n", "name\nMUSTERMANN\n", "patient_id,x\n,1\n", ""])
def test_a_table_without_patients_is_refused_and_names_nobody(tmp_path: Path, table: str) -> None:
    with pytest.raises(InputError) as caught:
        read_list(written(tmp_path, f'patients = "covid.csv"\n{STATED}', table=table), KEY, nobody)
    assert "MUSTERMANN" not in str(caught.value)


def test_a_later_version_is_refused(tmp_path: Path) -> None:
    place = written(tmp_path, f"everyone = true\n{STATED}")
    place.write_text(place.read_text().replace("version = 1", "version = 2"))
    with pytest.raises(InputError, match="version"):
        read_list(place, KEY, nobody)


def test_the_list_on_the_page_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "ledger.md").read_text("utf-8")
    (text,) = re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)
    (tmp_path / "past.toml").write_text(text)
    (tmp_path / "covid.csv").write_text("patient_id\nP1\n")
    first, second = read_list(tmp_path / "past.toml", KEY, nobody)
    assert (first.spent[0].purpose.study, second.patients) == ("covid-2024", None)
