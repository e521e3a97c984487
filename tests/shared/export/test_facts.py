"""What an exported model says of its outputs is enough to make of them what Konsil's own measures are made of."""

import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from monai.inferers.utils import sliding_window_inference
from msgspec.structs import replace
from torch import Tensor

from shared.export import torchscript
from shared.export.base import Source
from shared.export.facts import Facts, facts_of
from shared.export.monai_bundle import metadata
from shared.export.run import INSIDE, export, source_of
from shared.meaning import Value, Window
from shared.network import network_of
from shared.parameters import layout_of, to_vector
from shared.published import Model, read_model
from shared.study import Study, read_study
from shared.tasks.registry import KINDS, kind_of
from shared.weights import save_weights

STUDIES = Path(__file__).parents[1] / "tasks" / "studies"
PAGE = Path(__file__).parents[3] / "docs" / "using-a-model.md"
AGE = read_study(STUDIES / "regression.toml")
MASKS = read_study(STUDIES / "segmentation.toml")  # 16 × 24 pixels
PATCHED = replace(MASKS, task=replace(MASKS.task, options={"patch": 16}))


def facts(study: Study) -> Facts:
    model = Model(Path("m"), study, np.zeros(1, np.float32), "ab" * 32, "r", "1", (), None)
    return msgspec.json.decode(facts_of(model), type=Facts)


def images_of(study: Study, count: int = 3) -> Tensor:
    return torch.rand(count, *study.input.shape, generator=torch.Generator().manual_seed(5))


def sure(study: Study) -> torch.nn.Module:
    """The study's network with outputs far enough from each other that every mistake shows."""
    network = network_of(study).eval().requires_grad_(False)
    for parameter in list(network.parameters())[-2:]:
        parameter.mul_(4.0)
    return network


@pytest.mark.parametrize("name", ["classification-finding", "classification-noisy", "multilabel"])
def test_logits_become_the_probabilities_that_are_measured(name: str) -> None:
    study = read_study(STUDIES / f"{name}.toml")
    told, network, images = facts(study), sure(study), images_of(study)
    outputs = network(images)
    read = {"softmax": lambda logits: logits.softmax(dim=1), "sigmoid": lambda logits: logits.sigmoid()}
    assert told.link is not None
    assert told.link in told.output
    assert told.channels == told.labels
    measured = kind_of(study).measure(network, images, torch.zeros(3, dtype=torch.int64), 1)
    np.testing.assert_allclose(read[told.link](outputs).numpy(), measured, rtol=1e-5)


def test_the_score_of_a_finding_is_said() -> None:
    assert facts(read_study(STUDIES / "classification-noisy.toml")).output.endswith("the finding is that of nodule")
    several = read_study(STUDIES / "classification-finding.toml")
    assert facts(several).output.endswith(f"that of {' plus that of '.join(several.task.finding)}")


def test_a_value_is_made_of_the_output_and_the_range() -> None:
    study = replace(AGE, task=replace(AGE.task, options={"minimum": 20, "maximum": 120, "unit": "years"}))
    told, network, images = facts(study), sure(study), images_of(study)
    assert told.value == Value(minimum=20.0, maximum=120.0, unit="years")
    assert told.output == "age in years = 20 + 100 × (output + 0.5), held between 20 and 120"
    value = told.value.minimum + (told.value.maximum - told.value.minimum) * (network(images)[:, 0].numpy() + 0.5)
    kind, true = kind_of(study), np.array([20.0, 70.0, 120.0], np.float32)
    measured = kind.measure(network, images, torch.from_numpy(true), 1)
    judged = kind.judge(kind.count(measured, true, np.arange(3)))
    errors = np.abs(value.clip(told.value.minimum, told.value.maximum) - true)
    assert judged.headline.unit == told.value.unit
    assert judged.headline.value == pytest.approx(errors.mean(), abs=1e-4)


@pytest.mark.parametrize(("structures", "channels"), [("softmax", ("background", "lesion")), ("sigmoid", ("lesion",))])
def test_channels_of_masks_are_named_and_linked_as_the_study_says(structures: str, channels: tuple[str, ...]) -> None:
    told = facts(replace(MASKS, task=replace(MASKS.task, options={"structures": structures})))
    assert (told.link, told.channels, told.window, told.views) == (structures, channels, None, 1)
    assert told.output.startswith(f"logits of each pixel; {structures}")


class TestWindows:
    def test_they_are_said_with_views(self) -> None:
        told = facts(replace(PATCHED, evaluation=replace(PATCHED.evaluation, views=2)))
        assert told.window == Window(size=(16, 16), overlap=0.5, mode="gaussian")
        assert (told.shape, told.views) == ((1, 16, 16), 2)

    def test_images_that_fit_have_none(self) -> None:
        told = facts(replace(MASKS, task=replace(MASKS.task, options={"patch": 24})))
        assert (told.window, told.shape) == (None, (1, 16, 24))

    def test_the_copy_takes_them_and_finds_the_masks_that_are_judged(self, tmp_path: Path) -> None:
        place = written(tmp_path / "m", PATCHED)
        export(place, None, "torchscript", tmp_path / "m.ts")
        told, images = facts(PATCHED), images_of(PATCHED)
        assert told.window is not None
        answer = torchscript.reload(tmp_path / "m.ts")

        def run(windows: Tensor) -> Tensor:
            return torch.from_numpy(answer(windows.numpy()))

        logits = sliding_window_inference(
            images, told.window.size, 4, run, overlap=told.window.overlap, mode=told.window.mode
        )
        found = torch.as_tensor(logits).argmax(dim=1)
        assert found.shape == (3, 16, 24)
        assert 0 < int(found.sum()) < found.numel()
        network, kind = source_of(read_model(place)).network, kind_of(PATCHED)
        judged = kind.judge(kind.count(kind.measure(network, images, found, 1), found.numpy(), np.arange(3)))
        assert judged.headline.value == 1.0

    def test_a_network_of_one_size_is_exported_at_theirs(self, tmp_path: Path) -> None:
        model = replace(MASKS.model, name="unetr", options={"hidden": 8, "heads": 1, "width": 4, "patch": 16})
        source = source_of(read_model(written(tmp_path / "m", replace(PATCHED, model=model))))
        assert source.network(source.images).shape == (2, 2, 16, 16)


def written(path: Path, study: Study) -> Path:
    network = sure(study)
    inside = {"run": "r-1", "round": "2", "study": msgspec.json.encode(study).decode()}
    path.write_bytes(save_weights(layout_of(network), to_vector(network).astype(np.float32), inside))
    return path


@pytest.mark.parametrize(
    ("name", "kind", "form", "part"),
    [
        ("classification", "probabilities", "logits", False),
        ("regression", "tuples", "values", False),
        ("segmentation-volume", "image", "logits", False),
        ("enhancement", "image", "magnitude", False),
        ("registration", "image", "magnitude", False),
        ("detection", "tuples", "values", False),
        ("patched", "image", "logits", True),
    ],
)
def test_a_bundle_says_what_comes_out(name: str, kind: str, form: str, part: bool) -> None:
    study = PATCHED if name == "patched" else read_study(STUDIES / f"{name}.toml")
    told = facts(study)
    source = Source(network_of(study).eval().requires_grad_(False), torch.rand(2, *told.shape), "")
    form_of: dict[str, dict[str, dict[str, object]]] = metadata(source, told)["network_data_format"]  # type: ignore[assignment]
    (inside,), (outside,) = form_of["inputs"].values(), form_of["outputs"].values()
    assert (outside["type"], outside["format"], outside["is_patch_data"]) == (kind, form, part)
    assert inside["is_patch_data"] is part


def test_every_kind_says_what_it_gives() -> None:
    for path in sorted(STUDIES.glob("*.toml")):
        told, kind = facts(read_study(path)), kind_of(read_study(path))
        assert len(told.output) > 20, path.name
        assert "as they are" not in told.output
        assert len(told.channels) in (0, kind.outputs), path.name


def test_the_page_tells_how_every_exported_kind_is_read() -> None:
    told = re.findall(r"^\| `(\w+)` \|", PAGE.read_text("utf-8").split("| kind | outputs")[1], re.MULTILINE)
    assert set(told) == set(KINDS) - set(INSIDE)


def test_facts_of_before_are_read() -> None:
    """They only ever grow: those without what came later still say what they said."""
    told = facts(AGE)
    old = {
        k: v for k, v in msgspec.to_builtins(told).items() if k not in ("link", "channels", "value", "window", "views")
    }
    assert msgspec.convert(old, Facts) == replace(told, link=None, channels=(), value=None)
