import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.errors import InputError, MisuseError
from shared.layout import Layout, begin, layout_for
from shared.network import network_of
from shared.parameters import layout_of, to_vector
from shared.study import MINIMAL, parse_study

LAYOUT = Layout(("a", "b", "c"), ((2, 2), (), (1, 0, 3)))
STUDY = parse_study(MINIMAL)


def test_the_vector_in_its_shapes() -> None:
    assert LAYOUT.size == 5
    found = LAYOUT.split(np.arange(5, dtype=np.float32))
    assert found["a"].tolist() == [[0, 1], [2, 3]]
    assert found["b"] == 4
    assert found["c"].shape == (1, 0, 3)


@given(st.lists(st.lists(st.integers(0, 4), max_size=3).map(tuple), min_size=1, max_size=5))
def test_join_undoes_split(shapes: list[tuple[int, ...]]) -> None:
    layout = Layout(tuple(f"t{number}" for number in range(len(shapes))), tuple(shapes))
    vector = np.arange(layout.size, dtype=np.float32)
    assert layout.join(layout.split(vector)).tolist() == vector.tolist()


@pytest.mark.parametrize("vector", [np.zeros(4, np.float32), np.zeros((1, 5), np.float32), np.zeros(5)])
def test_another_vector_is_misuse(vector: NDArray[np.float32]) -> None:
    with pytest.raises(MisuseError, match=r"float32 \[5\]"):
        LAYOUT.split(vector)


def test_other_names_or_shapes_are_misuse() -> None:
    good = LAYOUT.split(np.zeros(5, np.float32))
    for bad in ({**good, "d": good["b"]}, {"a": good["a"]}, {**good, "a": good["a"].reshape(4)}):
        with pytest.raises(MisuseError, match="names and shapes"):
            LAYOUT.join(bad)


def test_a_study_begins_as_its_network_does() -> None:
    layout, weights = begin(STUDY)
    network = network_of(STUDY)
    assert layout == layout_of(network) == layout_for(STUDY)
    np.testing.assert_array_equal(weights, to_vector(network))


def test_an_unknown_model_is_the_persons_error() -> None:
    with pytest.raises(InputError):
        begin(parse_study(MINIMAL.replace('"cnn"', '"no-such-model"')))
