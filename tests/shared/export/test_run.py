"""Every format, every model of the registry, every kind of task: what is written answers as the network does."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from monai.bundle.config_parser import ConfigParser
from monai.bundle.scripts import load, run
from torch import Tensor, nn

from shared.errors import InputError, OperatorError, PeerError, SiteError
from shared.export import torchscript
from shared.export.base import FACTS, Runner, Source
from shared.export.facts import Facts, facts_of
from shared.export.run import BOUND, export, source_of, write_checked
from shared.models.registry import MODELS, build
from shared.network import network_of
from shared.parameters import layout_of, to_vector
from shared.published import Model, read_model
from shared.study import MINIMAL, Study, parse_study, read_study, study_hash
from shared.study import Model as Chosen
from shared.tasks.registry import KINDS
from shared.weights import save_weights

STUDIES = Path(__file__).parents[1] / "tasks" / "studies"
STUDY = parse_study(MINIMAL.replace("[32, 32]", "[16, 16]"))
HOSTILE = "$__import__('os').system('touch /tmp/konsil-was-here')"
#: A study of one kind only builds them: they are exported with it below.
OF_ONE_KIND = ("diffusion", "gan")
NAMES = {"onnx": "m.onnx", "torch-export": "m.pt2", "torchscript": "m.ts", "monai-bundle": "bundle"}


def written(path: Path, study: Study = STUDY) -> Path:
    network = network_of(study)
    inside = {"run": "r-1", "round": "2", "study": msgspec.json.encode(study).decode()}
    path.write_bytes(save_weights(layout_of(network), to_vector(network).astype(np.float32), inside))
    return path


def of(network: nn.Module, *shape: int) -> Source:
    model = Model(Path("x"), STUDY, np.zeros(1, np.float32), "ab" * 32, "", "", (), None)
    return Source(network.eval().requires_grad_(False), torch.rand(2, *shape), facts_of(model))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture(scope="module")
def exported(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    folder = tmp_path_factory.mktemp("exported")
    for name, file in NAMES.items():
        done = export(place, None, name, folder / file)
        assert 0 <= done.difference < 1e-5 < done.largest
        assert done.outputs == (1 + 2 + 3) * 2
        assert not done.genuine
    yield {name: folder / file for name, file in NAMES.items()}
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES.values())


def expected(place: Path, images: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Tensor:
    source = source_of(read_model(place))
    with torch.inference_mode():
        answer: Tensor = source.network(torch.from_numpy(images))
    return answer


IMAGES = np.random.default_rng(3).random((5, 1, 16, 16), np.float32)


class TestFormats:
    def test_onnx_runs_without_torch(self, exported: dict[str, Path], place: Path) -> None:
        session = onnxruntime.InferenceSession(str(exported["onnx"]), providers=["CPUExecutionProvider"])
        (answer,) = session.run(None, {"images": IMAGES})
        torch.testing.assert_close(torch.from_numpy(answer), expected(place, IMAGES), atol=1e-5, rtol=1e-4)
        inside = {one.key: one.value for one in onnx.load(str(exported["onnx"])).metadata_props}
        check_facts(inside[FACTS])

    def test_torchscript_is_loaded_by_torch_alone(self, exported: dict[str, Path], place: Path) -> None:
        files = {FACTS: ""}
        with torchscript.quiet():
            module = torch.jit.load(str(exported["torchscript"]), _extra_files=files)  # type: ignore[no-untyped-call]
        torch.testing.assert_close(module(torch.from_numpy(IMAGES)), expected(place, IMAGES))
        told = files[FACTS]
        check_facts(told if isinstance(told, str) else bytes(told).decode())

    @pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")
    def test_torch_export_is_loaded_by_torch_alone(self, exported: dict[str, Path], place: Path) -> None:
        files = {FACTS: ""}
        module = torch.export.load(str(exported["torch-export"]), extra_files=files).module()
        torch.testing.assert_close(module(torch.from_numpy(IMAGES)), expected(place, IMAGES))
        check_facts(files[FACTS])

    def test_torch_export_holds_nothing_that_is_pickled(self, exported: dict[str, Path]) -> None:
        with zipfile.ZipFile(exported["torch-export"]) as archive:
            data = {info.filename: archive.read(info) for info in archive.infolist()}
        assert not [name for name in data if name.endswith(".pkl")]
        assert [body for name, body in data.items() if name.endswith("sample_inputs/model.pt")] in ([], [b""])

    @pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:parsing config_file:UserWarning")
    def test_monai_loads_and_runs_the_bundle(self, exported: dict[str, Path], place: Path, tmp_path: Path) -> None:
        bundle = exported["monai-bundle"]
        loaded: Any = load(bundle.name, bundle_dir=str(bundle.parent), load_ts_module=True)
        network, metadata, _ = loaded
        check_facts(json.dumps(metadata))
        torch.testing.assert_close(network(torch.from_numpy(IMAGES)), expected(place, IMAGES))
        (tmp_path / "in").mkdir()
        for place_, image in enumerate(IMAGES):
            np.save(tmp_path / "in" / f"{place_}.npy", image)
        configs = bundle / "configs"
        run(
            run_id="run", config_file=str(configs / "inference.json"), meta_file=str(configs / "metadata.json"),
            bundle_root=str(bundle), input=str(tmp_path / "in"), output=str(tmp_path / "out.npy"),
        )  # fmt: skip
        torch.testing.assert_close(torch.from_numpy(np.load(tmp_path / "out.npy")), expected(place, IMAGES))

    def test_the_bundle_holds_no_pickle_of_ours(self, exported: dict[str, Path]) -> None:
        files = {str(path.relative_to(exported["monai-bundle"])) for path in exported["monai-bundle"].rglob("*.*")}
        assert files == {"configs/inference.json", "configs/metadata.json", "models/model.ts", "docs/README.md"}
        check_facts(json.loads((exported["monai-bundle"] / "configs" / "metadata.json").read_text())["konsil"])


def check_facts(text: str) -> None:
    facts = msgspec.json.decode(text, type=Facts)
    assert (facts.study, facts.run, facts.round) == ("minimal", "r-1", "2")
    assert facts.study_hash == study_hash(STUDY).hex()
    assert facts.labels == ("clear", "nodule")
    assert (facts.shape, facts.least, facts.most) == ((1, 16, 16), 0.0, 1.0)
    assert "softmax along dimension 1" in facts.output
    assert facts.input == STUDY.input


def test_a_label_is_no_expression_of_a_bundle(tmp_path: Path) -> None:
    """MONAI evaluates what begins with a dollar sign."""
    task = msgspec.structs.replace(STUDY.task, labels=("@network", HOSTILE[:64]))
    study = msgspec.structs.replace(STUDY, task=task)
    export(written(tmp_path / "m", study), None, "monai-bundle", tmp_path / "bundle")
    parser = ConfigParser()
    parser.read_config(str(tmp_path / "bundle" / "configs" / "inference.json"))
    parser.read_meta(str(tmp_path / "bundle" / "configs" / "metadata.json"))
    parser["device"] = "cpu"
    meta = parser.get_parsed_content("_meta_")
    assert msgspec.json.decode(meta["konsil"], type=Facts).labels == study.task.labels


@pytest.mark.parametrize("name", sorted(set(MODELS) - set(OF_ONE_KIND)))
def test_every_model_is_exported(name: str, tmp_path: Path) -> None:
    network = build(Chosen(name=name), channels=2, classes=2, size=(32, 32), seed=0)
    difference, largest, outputs = write_checked(of(network, 2, 32, 32), "torchscript", tmp_path / "m")
    assert difference <= BOUND * max(1.0, largest)
    assert outputs > 0


def cases() -> dict[tuple[str, str], Path]:
    """A study for each kind of task and each network that one has there."""
    found = {}
    for path in sorted(STUDIES.glob("*.toml")):
        study = read_study(path)
        found[study.task.kind, study.model.name] = path
    return found


def test_every_kind_and_every_model_is_tried() -> None:
    assert {kind for kind, _ in cases()} == set(KINDS)
    assert {model for _, model in cases()} >= set(OF_ONE_KIND)


@pytest.mark.parametrize("path", cases().values(), ids=lambda path: path.stem)
def test_every_kind_is_exported_or_refused_by_name(path: Path, tmp_path: Path) -> None:
    study = read_study(path)
    try:
        done = export(written(tmp_path / "m", study), None, "torchscript", tmp_path / "out.ts")
    except InputError as error:
        assert "export of" in str(error)
        assert not (tmp_path / "out.ts").exists()
    else:
        assert done.outputs > 0


@pytest.mark.parametrize("name", ["onnx", "torch-export"])
@pytest.mark.parametrize("model", ["mlp", "recurrent"])
def test_graphs_take_any_number_of_images(name: str, model: str, tmp_path: Path) -> None:
    network = build(Chosen(name=model), channels=2, classes=3, size=(16, 16), seed=0)
    assert write_checked(of(network, 2, 16, 16), name, tmp_path / NAMES[name])[2] == 6 * 3


class Random(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.rand(len(images), 2)


class Two(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images, images


class Fixed(nn.Module):
    """Its trace is of two images for ever."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1).sum(dim=1) + torch.arange(float(len(images)))


class TestRefusals:
    @pytest.mark.parametrize(
        ("network", "message"),
        [(Random(), "Random: expected the same answer twice"), (Two(), "Two: expected a network that answers in one")],
    )
    def test_what_cannot_be_exported_is_refused_by_name(self, network: nn.Module, message: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=message):
            write_checked(of(network, 1, 8, 8), "torchscript", tmp_path / "m")

    @pytest.mark.parametrize(("name", "message"), [("torchscript", "answers"), ("torch-export", "any number")])
    def test_a_graph_of_one_size_is_refused_and_nothing_is_there(self, name: str, message: str, tmp_path: Path) -> None:
        with pytest.raises((OperatorError, InputError), match=message):
            write_checked(of(Fixed(), 1, 8, 8), name, tmp_path / NAMES[name])
        assert list(tmp_path.iterdir()) == []

    def test_a_copy_with_other_answers_is_not_left_there(
        self, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reload = torchscript.reload

        def wrong(path: Path) -> Runner:
            answer = reload(path)
            return lambda images: answer(images) + np.float32(2e-4)

        monkeypatch.setattr(torchscript, "reload", wrong)
        with pytest.raises(
            OperatorError, match=r"answers of the copy: expected a difference of at most 1\.0e-04, got 2"
        ):
            export(place, None, "torchscript", tmp_path / "m.ts")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("answer", ["nan", "shape"])
    def test_nor_one_with_none(self, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
        made = {"nan": lambda images: np.full((len(images), 2), np.nan, np.float32), "shape": lambda images: images}
        monkeypatch.setattr(torchscript, "reload", lambda _: made[answer])
        with pytest.raises(OperatorError, match="answers of the copy"):
            export(place, None, "torchscript", tmp_path / "m.ts")
        assert list(tmp_path.iterdir()) == []

    def test_what_is_there_is_not_replaced(self, place: Path, tmp_path: Path) -> None:
        (tmp_path / "m.ts").write_text("mine")
        with pytest.raises(InputError, match="expected a place with nothing there"):
            export(place, None, "torchscript", tmp_path / "m.ts")
        assert (tmp_path / "m.ts").read_text() == "mine"

    def test_an_unknown_format_is_named(self, place: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"--format: expected one of onnx.*Did you mean 'torchscript'"):
            export(place, None, "torchscrpt", tmp_path / "m")

    @pytest.mark.parametrize(("name", "suffix"), [("onnx", r"\.onnx"), ("torch-export", r"\.pt2")])
    def test_a_file_is_named_as_its_readers_expect(self, name: str, suffix: str, place: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=f"expected a name ending in {suffix}, got none"):
            export(place, None, name, tmp_path / "m")

    def test_no_model_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="expected a model, got none"):
            export(tmp_path / "none", None, "torchscript", tmp_path / "m")
        (tmp_path / "torn").write_bytes(b"torn")
        with pytest.raises(PeerError, match=r"model\.safetensors"):
            export(tmp_path / "torn", None, "torchscript", tmp_path / "m")

    def test_a_place_that_cannot_be_is_said(self, place: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(SiteError, match="writing"):
            export(place, None, "torchscript", tmp_path / "file" / "m.ts")
