import numpy as np
import pytest
import torch
from torch import nn

from shared.errors import InputError, MisuseError
from shared.parameters import layout_of, load_vector, to_vector
from shared.weights import load_weights, save_weights


def tiny() -> nn.Linear:
    net = nn.Linear(2, 1)
    load_vector(net, np.array([3, 1, 2], np.float32))
    return net


def test_the_vector_is_in_the_order_of_sorted_names() -> None:
    net = tiny()
    assert layout_of(net).names == ("bias", "weight")
    assert net.bias.tolist() == [3] and net.weight.tolist() == [[1, 2]]
    assert to_vector(net).tolist() == [3, 1, 2]


def test_the_vector_is_a_copy() -> None:
    net = tiny()
    to_vector(net)[:] = 9
    assert to_vector(net).tolist() == [3, 1, 2]


@pytest.mark.parametrize(
    "vector", [np.zeros(2, np.float32), np.zeros(3), np.zeros((3, 1), np.float32), np.full(3, np.nan, np.float32)]
)
def test_a_vector_that_does_not_fit_changes_nothing(vector: "np.ndarray[tuple[int], np.dtype[np.float32]]") -> None:
    net = tiny()
    with pytest.raises(MisuseError):
        load_vector(net, vector)
    assert to_vector(net).tolist() == [3, 1, 2]


def test_batch_counters_are_refused() -> None:
    with pytest.raises(MisuseError, match=r"num_batches_tracked"):
        layout_of(nn.BatchNorm1d(2))


def test_safetensors_there_and_back() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.GroupNorm(2, 4))
    vector, layout = to_vector(net), layout_of(net)
    data = save_weights(layout, vector, {"study": "minimal"})
    assert (load_weights(layout, data) == vector).all()
    assert data == save_weights(layout, vector, {"study": "minimal"})


def test_torn_bytes_are_named() -> None:
    layout = layout_of(tiny())
    data = save_weights(layout, to_vector(tiny()))
    for cut in (0, 5, 20, len(data) - 1):
        with pytest.raises(InputError, match=r"round-3.safetensors: expected whole safetensors bytes"):
            load_weights(layout, data[:cut], "round-3.safetensors")


def test_another_models_weights_are_named() -> None:
    layout, data = layout_of(tiny()), save_weights(layout_of(nn.Linear(4, 1)), to_vector(nn.Linear(4, 1)))
    with pytest.raises(InputError, match=r"got 'weight' as float32 \[1, 4\], not float32 \[1, 2\]"):
        load_weights(layout, data)
    bare = nn.Linear(2, 1, bias=False)
    with pytest.raises(InputError, match=r"got no 'bias'"):
        load_weights(layout, save_weights(layout_of(bare), to_vector(bare)))
    with pytest.raises(InputError, match=r"got 'bias' besides"):
        load_weights(layout_of(bare), save_weights(layout, to_vector(tiny())))


def test_weights_that_are_not_finite_are_refused() -> None:
    layout = layout_of(tiny())
    data = save_weights(layout, np.array([1, np.inf, 0], np.float32))
    with pytest.raises(InputError, match=r"finite"):
        load_weights(layout, data)


def test_a_vector_of_the_right_size_on_another_layout_is_torch_free() -> None:
    layout = layout_of(tiny())
    pieces = layout.split(np.arange(3, dtype=np.float32))
    assert layout.join(pieces).tolist() == [0, 1, 2]
    with pytest.raises(MisuseError):
        layout.join({"bias": pieces["bias"]})
    assert torch.is_tensor(tiny().weight)
