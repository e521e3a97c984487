import numpy as np
import pytest

from server.weights.matching import match, renamed
from shared.layout import Layout, Vector

LAYOUT = Layout(("body.0.bias", "body.0.weight", "head.bias"), ((2,), (2, 3), (4,)))


def file(*names: str) -> dict[str, Vector]:
    shapes = {"bias": (2,), "weight": (2, 3), "running_mean": (2,)}
    return {name: np.zeros(shapes[name.rpartition(".")[2]], np.float32) for name in names}


def test_the_same_names_are_the_same_weights() -> None:
    found = match(LAYOUT, file("body.0.bias", "body.0.weight", "other.weight"))
    assert found.same == ("body.0.bias", "body.0.weight")
    assert (found.missing, found.unused) == (("head.bias",), ("other.weight",))


@pytest.mark.parametrize(("before", "model"), [("module.net.", "body."), ("", "body."), ("encoder.body.", "body.")])
def test_one_other_beginning_is_found(before: str, model: str) -> None:
    found = match(LAYOUT, file(f"{before}0.bias", f"{before}0.weight", f"{before}0.running_mean"))
    assert found.renamed == {f"{model}0.bias": f"{before}0.bias", f"{model}0.weight": f"{before}0.weight"}
    assert found.running == (f"{before}0.running_mean",)


def test_of_two_beginnings_the_one_that_most_names_have() -> None:
    found = match(LAYOUT, file("a.0.bias", "b.0.bias", "b.0.weight"))
    assert set(found.renamed.values()) == {"b.0.bias", "b.0.weight"}
    assert found.unused == ("a.0.bias",)


def test_another_shape_is_not_taken() -> None:
    found = match(LAYOUT, {"head.bias": np.zeros(5, np.float32), "body.0.bias": np.zeros(2, np.float32)})
    assert (found.shape, found.same) == ({"head.bias": "head.bias"}, ("body.0.bias",))
    assert "head.bias" not in found.missing


def test_chosen_are_the_files_tensors_under_the_models_names() -> None:
    tensors = {"x.0.bias": np.ones(2, np.float32), "head.bias": np.full(4, 2, np.float32)}
    assert {n: t[0] for n, t in match(LAYOUT, tensors).chosen(tensors).items()} == {"body.0.bias": 1, "head.bias": 2}


@pytest.mark.parametrize(
    ("maps", "name"),
    [({"enc": "body"}, "body.0.bias"), ({"enc.0": "a.1"}, "a.1.bias"), ({"en": "x"}, "enc.0.bias"),
     ({"enc": ""}, "0.bias"), ({"": "net"}, "net.enc.0.bias"), ({"": "net", "enc": "b"}, "b.0.bias")],
)  # fmt: skip
def test_maps_exchange_whole_words(maps: dict[str, str], name: str) -> None:
    assert list(renamed(file("enc.0.bias"), maps)) == [name]
