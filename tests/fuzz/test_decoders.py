"""Hostile bytes for every decoder: a few hundred of a fixed seed each, and every input that ever did wrong."""

import ast
import ctypes
import gc
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from shared.errors import PeerError
from tests.fuzz.apart import Apart
from tests.fuzz.dicom_seeds import pixel_seeds, placed_seeds
from tests.fuzz.element_changes import varied
from tests.fuzz.elements import parse, written
from tests.fuzz.engine import Decoder, Fault, attempt, fuzz, inputs, shorter
from tests.fuzz.mutations import LONGEST, Mutator, Nested, encoded
from tests.fuzz.samples import all_records, full_name
from tests.fuzz.targets import targets

ROOT = Path(__file__).resolve().parents[2]
REGRESSIONS: dict[str, dict[str, str]] = json.loads((Path(__file__).parent / "regressions.json").read_text())
TARGETS = targets()
#: Calls that turn bytes into values.
DECODING = {
    "unpack", "read_json", "read_toml", "parse_toml", "load_toml", "frombuffer", "loads", "safe_open", "dcmread",
    "decode_all", "load_ssh_public_key", "load_ssh_private_key", "load_pem_x509_certificate", "DictReader",
    "load_der_x509_certificate", "load_pem_public_key", "load_pem_private_key", "unpack_from", "decompressobj",
    "ZipFile", "reader", "decode_pixel_data", "get_item", "decode_frame", "stored_frame", "open_object",
}  # fmt: skip
#: Files with such calls whose bytes come from nobody else, and why.
OWN = {
    "shared/layout.py": "packs a study and unpacks it in the same call",
    "shared/tasks/registry.py": "packs a study and unpacks it in the same call",
    "shared/algorithms/registry.py": "packs a study and unpacks it in the same call",
    "shared/export/monai_bundle.py": "a bundle that it wrote a moment before",
    "client/differences.py": "rows of a database that it wrote itself",
    "client/votes.py": "what models were worth here, which the hospital wrote itself",
    "client/local_round.py": "a vector of the operator's whose length and numbers client/questions.py has checked",
    "client/dicom/picture_table.py": "a table that its own people import, at their command line",
    "client/dicom/targets/scene.py": "an object by client/dicom/pixels/objects.py, as the canonical tensor's are",
    "server/search/space.py": "a file of the operator's own, at the command line, by shared/toml.py",
    "shared/models/reference.py": "random words it drew itself",
    "shared/quantize.py": "random words it drew itself",
    "shared/secagg/keystream.py": "random words it drew itself",
    "client/ledger/store.py": "rows of a database that it wrote itself",
    "client/ledger/schema.py": "rows of a database that it wrote itself",
    "client/ledger/exposure.py": "rows of a database that it wrote itself",
    "client/ledger/listed.py": "a list that the hospital's own people import, at their command line",
    "server/certificates.py": "the federation's own keys, at the operator's command line",
    "server/control.py": "keys from the roster, and from Flower on loopback",
    "client/dicom/deident/table.py": "tables that are installed with it",
    "server/report/html.py": "a result that result.json was read as",
    "server/commands/federation.py": "the federation's own files, read through server/federation.py",
}


def small(name: str) -> int:
    """Inputs of one target in the suite: fewer where one costs more, and for each of the many record classes."""
    share = TARGETS[name].share
    return 60 if name.startswith("record ") else 200 if share >= 0.5 else 40


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_bytes_are_read_or_refused(name: str, tmp_path: Path) -> None:
    decoder = TARGETS[name].make(tmp_path)
    assert decoder.seeds
    tally = fuzz(decoder, inputs(decoder, name, seed=7, first=0, count=small(name)))
    # how long they take is for benchmarks/fuzz.py to say, on a machine that does nothing else
    assert not [fault for fault in tally.faults.values() if fault.kind != "slow"]


@pytest.mark.parametrize("name", REGRESSIONS)
def test_what_once_did_wrong_does_no_more(name: str, tmp_path: Path) -> None:
    decoder = TARGETS[REGRESSIONS[name]["target"]].make(tmp_path)
    seen = attempt(decoder, bytes.fromhex(REGRESSIONS[name]["hex"]))
    assert seen.fault is None or seen.fault.kind == "slow", seen.fault


def test_every_record_class_has_a_target() -> None:
    assert {f"record {full_name(cls)}" for cls in all_records()} <= set(TARGETS)


def test_every_file_that_decodes_is_covered() -> None:
    covered = {file for target in TARGETS.values() for file in target.covers}
    assert not [file for file in covered if not (ROOT / file).is_file()]
    found = {str(path.relative_to(ROOT)) for path in _sources() if _decodes(path)}
    assert found - covered - OWN.keys() == set()


def _sources() -> Iterator[Path]:
    for room in ("client", "server", "shared"):
        yield from (ROOT / room).rglob("*.py")


def _decodes(path: Path) -> bool:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in DECODING or ast.unparse(node.func) in ("msgspec.json.decode", "msgspec.msgpack.decode"):
                return True
    return False


def decoder(read: object) -> Decoder:
    """A decoder for the tests of the trial itself."""
    assert callable(read)
    return Decoder(read, (b"seed",), "bytes", extra_mb=40.0, slow_s=0.5)


def test_another_exception_is_a_fault_and_an_error_of_ours_is_none() -> None:
    def wrong(data: bytes) -> None:
        if b"x" in data:
            raise KeyError(data)
        raise PeerError("input")

    assert attempt(decoder(wrong), b"y").outcome == "refused"
    tally = fuzz(decoder(wrong), iter([b"abcxdef", b"y", b"xx"]))
    (fault,) = tally.faults.values()
    assert (fault.kind, fault.data, tally.refused) == ("exception", b"x", 1)


@pytest.fixture
def lean() -> None:
    """Free memory given back: what a test before this one left would be taken again, and no growth be seen."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


@pytest.mark.usefixtures("lean")
def test_time_and_memory_are_bounded() -> None:
    def slow(_: bytes) -> None:
        until = time.process_time() + 0.6
        while time.process_time() < until:
            pass

    seen = attempt(decoder(slow), b"a").fault, attempt(decoder(lambda _: bytearray(60_000_000)), b"b").fault
    assert [found.kind for found in seen if isinstance(found, Fault)] == ["slow", "memory"]


def test_what_ends_its_process_costs_one_input() -> None:
    def ends(data: bytes) -> None:
        if data == b"killed":
            os.kill(os.getpid(), signal.SIGKILL)  # as the system does for want of memory
        if data == b"x":
            os.abort()
        raise PeerError("input")

    apart = Decoder(ends, (b"seed",), "bytes", apart=Apart())
    assert [attempt(apart, data).outcome for data in (b"y", b"x", b"y")] == ["refused", "ended", "refused"]
    assert fuzz(apart, iter([b"x", b"y", b"x"])).ended == 2
    seen = attempt(apart, b"killed")
    assert seen.fault is not None
    assert seen.fault.kind == "crash"


@pytest.mark.usefixtures("lean")
def test_a_process_apart_is_bounded_as_this_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.apart.HANG_S", 1)

    def read(data: bytes) -> object:
        if data == b"wait":
            time.sleep(60)
        if data == b"large":
            return bytearray(60_000_000)
        raise KeyError(data)

    apart = Decoder(read, (b"seed",), "bytes", extra_mb=40.0, apart=Apart())
    seen = [attempt(apart, data).fault for data in (b"wait", b"large", b"key")]
    assert [fault.kind for fault in seen if fault] == ["hang", "memory", "exception"]


def test_dicom_files_are_trees_that_are_written_as_they_were() -> None:
    for seed in (*pixel_seeds(), *placed_seeds()):
        file = parse(seed)
        assert file is not None
        assert file.deflated or written(file) == seed
    assert parse(b"no DICOM") is None


def test_changed_elements_have_lengths_that_fit() -> None:
    seeds = placed_seeds()
    made = [varied(Random(number), seeds[0], seeds) for number in range(60)]  # noqa: S311  hostile, not secret
    assert len(set(made)) > 50
    assert sum(parse(one) is not None for one in made if one) > 40


def test_inputs_depend_on_their_number_alone() -> None:
    one = decoder(bytes)
    every = list(inputs(one, "a", seed=1, first=0, count=50))
    assert list(inputs(one, "a", seed=1, first=30, count=20)) == every[30:]
    assert list(inputs(one, "a", seed=2, first=0, count=50)) != every
    assert all(len(data) <= LONGEST for data in every)


def test_trees_are_written_as_their_grammar_has_it() -> None:
    assert encoded({"a": [1, b"b", None]}, "json") == b'{"a":[1,"62",null]}'
    assert encoded({"a": [1, b"b"]}, "msgpack") == b"\x81\xa1a\x92\x01\xc4\x01b"
    assert encoded([Nested(3, maps=False)], "json") == b"[[[[1]]]]"
    assert encoded(Nested(2, maps=True), "msgpack") == b"\x81\xa1a\x81\xa1a\xc0"


def test_a_shorter_input_is_found() -> None:
    assert shorter(b"aaaaxbbbbybb", lambda data: b"x" in data and b"y" in data, 200) == b"xy"


def test_a_mutator_needs_no_tree() -> None:
    assert Mutator((b"",), "json")  # no value to change: bytes only
