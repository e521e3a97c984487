import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from server.federation import create
from server.home import ServerHome
from server.models import models, publish_model, verify_model
from server.report.result import read_result
from shared.crypto.identity import Identity
from shared.errors import InputError, PeerError, SiteError
from shared.manifest import FILES, MANIFEST, MODEL_LABEL, sha256
from shared.network import network_of
from shared.parameters import layout_of, to_vector
from shared.study import MINIMAL, parse_study, study_hash
from shared.weights import save_weights

STUDY = parse_study(MINIMAL)
METRICS: dict[str, Any] = {
    "stratified_auc": 0.9, "stratified_low": 0.8, "stratified_high": 1.0, "mean_site_auc": None, "pooled_auc": 0.9,
    "n": 4, "positives": 2, "sites": {}, "operating_point": None, "calibration_error": None, "calibration": [],
    "roc_fpr": [0.0, 1.0], "roc_tpr": [0.0, 1.0],
}  # fmt: skip


def finished(folder: Path, run: str, **changes: Any) -> Path:
    """The folder of a finished run of the minimal study."""
    rounds = {"count": 2, "best": 2, "seconds": 1, "slowest_site_s": 1, "overhead_s": 0, "bytes_down": 1, "bytes_up": 1}
    images: dict[str, object] = {"used": 4, "splits": {}, "skipped": {}, "per_site": {}}
    result: dict[str, Any] = {
        "status": "finished", "because": "", "run": run,
        "study": {"name": STUDY.name, "hash": study_hash(STUDY).hex(), "text": STUDY},
        "sites": {"expected": ["north"], "contributed": [["north"]] * 2, "left_out": [], "images": images},
        "rounds": rounds | {"each": []}, "metrics": METRICS, "baselines": None, "privacy": {}, "aggregation": None,
        "versions": {"konsil": "0.1.0"},
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "result.json").write_bytes(msgspec.json.encode(result | changes))
    (folder / "study.toml").write_text(MINIMAL)
    (folder / "model.safetensors").write_bytes(weights(run))
    return folder


def weights(run: str, **changes: str) -> bytes:
    network = network_of(STUDY)
    metadata = {"run": run, "round": "2", "study": msgspec.json.encode(STUDY).decode()} | changes
    return save_weights(layout_of(network), to_vector(network).astype(np.float32), metadata)


def coordinator(path: Path) -> ServerHome:
    create(path).enroll({"north": Identity.generate().public})
    return ServerHome(path)


@pytest.fixture
def home(tmp_path: Path) -> ServerHome:
    return coordinator(tmp_path / "coordinator")


@pytest.fixture
def model(home: ServerHome) -> Path:
    return publish_model(home, finished(home.runs / "minimal-1", "minimal-1"))


@pytest.fixture
def root(home: ServerHome) -> bytes:
    return home.federation.root_public


class TestPublish:
    def test_what_was_published_verifies_and_is_listed(self, home: ServerHome, model: Path, root: bytes) -> None:
        manifest = verify_model(model, root)
        assert model == home.models / "minimal-1"
        assert {path.name for path in model.iterdir()} == {*FILES, MANIFEST}
        assert (manifest.run, manifest.round, manifest.study) == ("minimal-1", 2, "minimal")
        assert manifest.operator == home.federation.roster.operator.hex()
        assert [(one.manifest, one.problem) for one in models(home)] == [(manifest, "")]
        assert [path.name for path in home.models.iterdir()] == ["minimal-1"]

    def test_it_verifies_anywhere_without_the_coordinator(self, model: Path, root: bytes, tmp_path: Path) -> None:
        copy = shutil.copytree(model, tmp_path / "elsewhere" / "x")
        shutil.rmtree(tmp_path / "coordinator")
        assert verify_model(copy, root).run == "minimal-1"

    def test_it_outlives_the_roster(self, home: ServerHome, model: Path, root: bytes) -> None:
        home.federation.enroll({"north": Identity.generate().public, "south": Identity.generate().public})
        assert verify_model(model, root).run == "minimal-1"

    def test_it_outlives_the_operators_key(self, home: ServerHome, model: Path, root: bytes) -> None:
        federation = home.federation
        before = federation.operator.public
        federation.publish(federation.signed(federation.roster.entries, operator=federation.make_operator()))
        federation.adopt_operator()
        assert verify_model(model, root).operator == before.hex() != federation.operator.public.hex()
        later = publish_model(home, finished(home.runs / "minimal-2", "minimal-2"))
        assert verify_model(later, root).operator == federation.operator.public.hex()

    @pytest.mark.parametrize("status", ["stopped", "failed"])
    def test_a_run_that_did_not_finish_has_no_model(self, home: ServerHome, status: str) -> None:
        folder = finished(home.runs / "minimal-1", "minimal-1", status=status)
        with pytest.raises(InputError, match=f"run minimal-1: expected a finished run, got one that {status}"):
            publish_model(home, folder)
        assert models(home) == ()

    def test_a_run_that_was_not_judged_has_no_model(self, home: ServerHome) -> None:
        with pytest.raises(InputError, match="was not judged"):
            publish_model(home, finished(home.runs / "minimal-1", "minimal-1", metrics=None))

    def test_twice_is_once(self, home: ServerHome, model: Path) -> None:
        before = {path.name: path.read_bytes() for path in model.iterdir()}
        assert publish_model(home, home.runs / "minimal-1") == model
        assert {path.name: path.read_bytes() for path in model.iterdir()} == before

    def test_what_a_killed_process_left_is_no_model_and_goes(self, home: ServerHome) -> None:
        (home.models / ".minimal-1.x" / "minimal-1").mkdir(parents=True)
        assert models(home) == ()
        publish_model(home, finished(home.runs / "minimal-1", "minimal-1"))
        assert [path.name for path in home.models.iterdir()] == ["minimal-1"]

    @pytest.mark.parametrize("name", ["model.safetensors", "study.toml", "result.json"])
    def test_a_missing_file_publishes_nothing(self, home: ServerHome, name: str) -> None:
        folder = finished(home.runs / "minimal-1", "minimal-1")
        (folder / name).unlink()
        with pytest.raises(PeerError, match=f"{name}: expected a file, got none"):
            publish_model(home, folder)
        assert not list(home.models.glob("*"))

    def test_weights_of_another_run_are_not_published(self, home: ServerHome) -> None:
        folder = finished(home.runs / "minimal-1", "minimal-1")
        (folder / "model.safetensors").write_bytes(weights("minimal-2"))
        with pytest.raises(PeerError, match="safetensors: run: expected minimal-1, got minimal-2"):
            publish_model(home, folder)
        assert not list(home.models.glob("*"))

    def test_a_run_named_like_a_path_is_refused(self, home: ServerHome) -> None:
        with pytest.raises(PeerError, match=r"run: expected letters, digits and dashes, at most 128, got '\.\./x'"):
            publish_model(home, finished(home.runs / "a", "../x"))

    def test_a_full_disk_is_said(self, home: ServerHome) -> None:
        folder = finished(home.runs / "minimal-1", "minimal-1")
        home.models.write_text("no folder")
        with pytest.raises(SiteError, match="publishing"):
            publish_model(home, folder)


def forge(model: Path, home: ServerHome, signer: Identity | None = None, **changes: Any) -> None:
    """Change the manifest and sign it anew, by the operator unless `signer` is given."""
    key = signer or Identity.from_private_bytes((home.path / "operator.key").read_bytes())
    manifest = json.loads((model / MANIFEST).read_text())["manifest"] | changes
    signature = key.sign(MODEL_LABEL, msgspec.json.encode(manifest, order="deterministic")).hex()
    (model / MANIFEST).write_text(json.dumps({"manifest": manifest, "signature": signature}))


def hashes(model: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((model / MANIFEST).read_text())["manifest"]["files"]
    return found


class TestAttacks:
    @pytest.mark.parametrize("name", FILES)
    @pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
    def test_a_changed_byte_is_found_and_named(self, model: Path, root: bytes, name: str, place: float) -> None:
        data = bytearray((model / name).read_bytes())
        data[int(place * len(data))] ^= 1
        (model / name).write_bytes(data)
        with pytest.raises(PeerError, match=name):
            verify_model(model, root)

    def test_any_changed_value_of_the_manifest_is_found(self, model: Path, root: bytes) -> None:
        text = (model / MANIFEST).read_text()
        for value in ("minimal-1", '"round": 2', '"konsil": "0', "Z", hashes(model)["study.toml"]):
            assert value in text
            changed = text.replace(value, value[:-1] + ("1" if value[-1] != "1" else "2"))
            (model / MANIFEST).write_text(changed)
            with pytest.raises(PeerError, match=r"manifest\.json"):
                verify_model(model, root)

    def test_a_layout_of_the_manifest_is_no_change(self, model: Path, root: bytes) -> None:
        (model / MANIFEST).write_text(json.dumps(json.loads((model / MANIFEST).read_text()), sort_keys=True))
        assert verify_model(model, root).run == "minimal-1"

    @pytest.mark.parametrize("name", [*FILES, MANIFEST])
    def test_a_removed_file_is_named(self, model: Path, root: bytes, name: str) -> None:
        (model / name).unlink()
        with pytest.raises(PeerError, match=name):
            verify_model(model, root)

    def test_an_added_file_is_named(self, model: Path, root: bytes) -> None:
        (model / "sitecustomize.py").write_text("")
        with pytest.raises(PeerError, match=r"got .*sitecustomize\.py"):
            verify_model(model, root)

    @pytest.mark.parametrize("name", FILES)
    def test_a_link_is_no_file(self, model: Path, root: bytes, tmp_path: Path, name: str) -> None:
        (model / name).rename(tmp_path / name)
        (model / name).symlink_to(tmp_path / name)
        with pytest.raises(PeerError, match=f"{name}: expected a file, got something else"):
            verify_model(model, root)

    def test_another_runs_model_with_its_own_manifest_entry_is_found(
        self, home: ServerHome, model: Path, root: bytes
    ) -> None:
        other = publish_model(home, finished(home.runs / "minimal-2", "minimal-2"))
        shutil.copy(other / "model.safetensors", model)
        with pytest.raises(PeerError, match=r"model\.safetensors: expected SHA-256"):
            verify_model(model, root)
        forge(model, home, files=hashes(model) | {"model.safetensors": hashes(other)["model.safetensors"]})
        with pytest.raises(PeerError, match="safetensors: run: expected minimal-1, got minimal-2"):
            verify_model(model, root)

    def test_a_manifest_of_another_operator_is_refused(self, home: ServerHome, model: Path, root: bytes) -> None:
        stranger = Identity.generate()
        forge(model, home, stranger)
        with pytest.raises(PeerError, match=r"manifest\.json: signature for konsil/model/v1"):
            verify_model(model, root)
        forge(model, home, stranger, operator=stranger.public.hex())
        with pytest.raises(PeerError, match=r"manifest\.json: operator"):
            verify_model(model, root)

    def test_a_roster_of_another_root_is_refused(self, tmp_path: Path, model: Path, root: bytes) -> None:
        stranger = coordinator(tmp_path / "stranger")
        theirs = publish_model(stranger, finished(stranger.runs / "minimal-1", "minimal-1"))
        assert verify_model(theirs, stranger.federation.root_public)
        with pytest.raises(PeerError, match=r"roster\.bin: signature for konsil/roster/v1"):
            verify_model(theirs, root)
        shutil.copy(theirs / "roster.bin", model)
        with pytest.raises(PeerError, match=r"roster\.bin: signature"):
            verify_model(model, root)

    def test_a_model_made_after_its_roster_expired_is_refused(self, home: ServerHome, model: Path, root: bytes) -> None:
        forge(model, home, created="2099-01-01T00:00:00Z")
        with pytest.raises(PeerError, match=r"roster\.bin: roster 1: expected valid at 4070908800"):
            verify_model(model, root)

    @pytest.mark.parametrize("name", ["../root/root.key", "/etc/passwd", "a/b", "", ".", "extra.txt"])
    def test_a_manifest_that_names_other_files_is_refused(
        self, home: ServerHome, model: Path, root: bytes, name: str
    ) -> None:
        forge(model, home, files=hashes(model) | {name: "0" * 64})
        with pytest.raises(PeerError, match=r"manifest\.json: files: expected model-card\.html"):
            verify_model(model, root)

    @pytest.mark.parametrize(
        "changes",
        [
            {"extra": 1}, {"version": 3}, {"run": "../x"}, {"round": 0}, {"files": []}, {"created": "yesterday"},
            {"study_hash": "00"}, {"operator": None}, {"versions": {"konsil": 1}},
        ],
    )  # fmt: skip
    def test_a_manifest_with_other_fields_is_refused_even_if_signed(
        self, home: ServerHome, model: Path, root: bytes, changes: dict[str, Any]
    ) -> None:
        forge(model, home, **changes)
        with pytest.raises(PeerError, match=r"manifest\.json: expected a manifest as Konsil writes it"):
            verify_model(model, root)

    @pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b'{"manifest": {}, "signature": ""}', b"[" * 100_000])
    def test_a_manifest_that_is_none_is_refused(self, model: Path, root: bytes, data: bytes) -> None:
        (model / MANIFEST).write_bytes(data)
        with pytest.raises(PeerError, match=r"manifest\.json: expected a manifest as Konsil writes it"):
            verify_model(model, root)

    def test_a_huge_manifest_is_not_read(self, model: Path, root: bytes) -> None:
        with (model / MANIFEST).open("ab") as file:
            file.truncate(1 << 30)
        with pytest.raises(PeerError, match=r"manifest\.json: expected at most 1048576 bytes"):
            verify_model(model, root)

    @pytest.mark.parametrize(
        ("name", "change", "message"),
        [
            ("study.toml", lambda data: data.replace(b"rounds = 2", b"rounds = 3"), "study.toml: hash"),
            ("study.toml", lambda data: data + b"[more]\n", "study.toml: more"),
            ("result.json", lambda data: data.replace(b'"finished"', b'"stopped"'), "result.json: status"),
            ("result.json", lambda data: data.replace(b'"minimal-1"', b'"minimal-2"'), "result.json: run"),
            ("result.json", lambda _: b"{}", "result.json: expected the result of a run"),
            ("model.safetensors", lambda data: data[:-4], "model.safetensors"),
            ("model.safetensors", lambda _: weights("minimal-1", round="1"), "model.safetensors: round"),
            ("model.safetensors", lambda _: weights("minimal-1", study="{}"), "model.safetensors: study"),
            ("model.safetensors", lambda _: b"", "model.safetensors"),
        ],
    )
    def test_even_the_operator_cannot_sign_what_does_not_belong_together(
        self, home: ServerHome, model: Path, root: bytes, name: str, change: Callable[[bytes], bytes], message: str
    ) -> None:
        data = change((model / name).read_bytes())
        (model / name).write_bytes(data)
        forge(model, home, files=hashes(model) | {name: sha256(data)})
        with pytest.raises(PeerError) as caught:
            verify_model(model, root)
        assert str(caught.value).startswith(message)

    def test_the_list_shows_what_is_wrong_and_goes_on(self, home: ServerHome, model: Path) -> None:
        shutil.copytree(model, home.models / "minimal-9")
        bad = next(one for one in models(home) if one.folder.name == "minimal-9")
        assert bad.manifest is None and "expected minimal-9, got minimal-1" in bad.problem
        assert len(models(home)) == 2


def test_the_result_inside_is_the_runs(home: ServerHome, model: Path) -> None:
    assert read_result(model / "result.json") == read_result(home.runs / "minimal-1" / "result.json")
