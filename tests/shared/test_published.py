import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from shared.errors import InputError, PeerError
from shared.network import network_of
from shared.parameters import layout_of, to_vector
from shared.published import Model, pinned, read_model
from shared.study import MINIMAL, parse_study, study_hash
from shared.tasks.registry import kind_of
from shared.weights import save_weights

STUDY = parse_study(MINIMAL)


def written(path: Path, **metadata: str) -> Path:
    network = network_of(STUDY)
    inside = {"run": "r-1", "round": "2", "study": msgspec.json.encode(STUDY).decode()} | metadata
    path.write_bytes(save_weights(layout_of(network), to_vector(network), inside))
    return path


def test_a_file_alone_says_what_it_is(tmp_path: Path) -> None:
    counts = [0] * kind_of(STUDY).counts
    place = written(tmp_path / "any.name", validation=json.dumps(counts))
    model = read_model(place)
    assert (model.run, model.round, model.manifest) == ("r-1", "2", None)
    assert model.hash == study_hash(STUDY).hex()
    assert model.validation == tuple(counts)
    assert np.array_equal(model.weights, to_vector(network_of(STUDY)))


def test_a_folder_is_the_file_in_it(tmp_path: Path) -> None:
    place = written(tmp_path / "model.safetensors")
    assert read_model(tmp_path).sha256 == read_model(place).sha256


def test_weights_without_validation_counts_are_read(tmp_path: Path) -> None:
    assert read_model(written(tmp_path / "m")).validation == ()


@pytest.mark.parametrize("there", [False, True])
def test_no_model_is_said(tmp_path: Path, there: bool) -> None:
    place = tmp_path / "x"
    if there:
        place.mkdir()
    with pytest.raises(InputError, match=r"expected a model, got none\. Name a published model"):
        read_model(place)


@pytest.mark.parametrize("data", [b"", b"\xff" * 20, b"\x02\0\0\0\0\0\0\0{}", b"\x10\0\0\0\0\0\0\0" + b"[" * 16])
def test_bytes_that_are_no_model_are_a_peers_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m").write_bytes(data)
    with pytest.raises(PeerError, match=r"model\.safetensors"):
        read_model(tmp_path / "m")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"study": ""}, "study: expected the study"),
        ({"study": "{}"}, "study: expected the study"),
        ({"study": msgspec.json.encode(parse_study(MINIMAL.replace("32, 32", "16, 16"))).decode()}, ""),
        ({"validation": "{}"}, "validation: expected a list of counts"),
        ({"validation": "[1.5]"}, "validation: expected a list of counts"),
        ({"validation": "[1" + "0" * 400 + "]"}, "validation: expected a list of counts"),
    ],
)
def test_what_stands_inside_is_checked(tmp_path: Path, metadata: dict[str, str], message: str) -> None:
    place = written(tmp_path / "m", **metadata)
    if not message:  # a network of the same weights for another size: what fits, fits
        assert read_model(place).study.input.size == (16, 16)
        return
    with pytest.raises(PeerError, match=message):
        read_model(place)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    wider = parse_study(MINIMAL.replace('name = "cnn"', 'name = "cnn"\n[model.options]\nwidth = 5'))
    place = written(tmp_path / "m", study=msgspec.json.encode(wider).decode())
    with pytest.raises(PeerError, match="expected the weights of this model"):
        read_model(place)


def test_with_a_root_a_bare_file_is_not_enough(tmp_path: Path) -> None:
    place = written(tmp_path / "model.safetensors")
    for unsigned in (place, tmp_path):
        with pytest.raises(InputError, match=r"expected a folder with a signed manifest\.json, got none"):
            read_model(unsigned, bytes(32))


def test_a_root_is_32_bytes(tmp_path: Path) -> None:
    (tmp_path / "root.pub").write_bytes(bytes(32))
    assert pinned(tmp_path / "root.pub") == bytes(32)
    (tmp_path / "root.pub").write_bytes(bytes(31))
    with pytest.raises(InputError, match="expected 32 bytes, got 31"):
        pinned(tmp_path / "root.pub")
    with pytest.raises(InputError, match="got 0"):
        pinned(tmp_path / "none")


def test_a_model_is_frozen(tmp_path: Path) -> None:
    model: Model = read_model(written(tmp_path / "m"))
    with pytest.raises(AttributeError):
        model.run = "other"  # type: ignore[misc]
