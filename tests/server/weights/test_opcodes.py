"""What a pickle may say, and what it may not: nothing in it is ever run."""

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest

from server.weights.archive import named
from server.weights.opcodes import value_of
from server.weights.values import Storage, Stored
from shared.errors import InputError

PLAIN: dict[str | int, object] = {
    "a": [1, -70000, 2**40, 0.5, None, True],
    "b": ("x", ("y", "z", "ä"), {}),
    3: "x" * 300,
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_are_as_python_reads_them(protocol: int) -> None:
    assert value_of(pickle.dumps(PLAIN, protocol)) == PLAIN


def test_an_ordered_dict_is_its_pairs() -> None:
    assert value_of(pickle.dumps(OrderedDict(a=1, b=2), 2)) == {"a": 1, "b": 2}


class Runs:
    """What Python's unpickler would run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_program_is_named_and_not_run(protocol: int, tmp_path: Path) -> None:
    data = pickle.dumps({"weights": Runs(tmp_path / "ran")}, protocol)
    with pytest.raises(InputError, match=r"posix\.system.*could be a program"):
        value_of(data)
    assert not (tmp_path / "ran").exists()
    pickle.loads(data)  # noqa: S301  the trap works where nobody looks
    assert (tmp_path / "ran").exists()


STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQ"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + b"K\x01(K\x02K\x02t(K\x02K\x01t\x89}tR"


def test_a_tensor_is_its_place_in_a_storage() -> None:
    storage = Storage("FloatStorage", "0", 6)
    assert value_of(b"\x80\x02" + TENSOR + b".") == Stored(storage, 1, (2, 2), (2, 1))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "does not end"),
        (b"\x80\x02}", "does not end"),
        (b".", "empty stack"),
        (b"(.", "empty stack"),
        (b"\x80\x02K", "ends too early"),
        (b"X\xff\xff\xff\x7fabc.", "ends too early"),
        (b"h\x07.", "memo 7"),
        (b"}K\x01a.", "expected a list, got dict"),
        (b"]K\x01K\x02s.", "expected a dict"),
        (b"}]K\x02s.", "names or numbers for keys"),
        (b"t.", "no mark"),
        (b"}}R.", "expected a name"),
        (b"cbuiltins\neval\n.", "builtins.eval"),
        (b"X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93.", "os.system"),
        (b"K\x01K\x02\x93.", "could be a program"),
        (b"cos\nsystem\n)\x81.", "os.system"),
        (b"ctorch\nFloatStorage\n)\x81.", "an object of torch.FloatStorage"),
        (b"c__torch__\nNet\nX\x01\x00\x00\x00a\x85R.", "a call of __torch__.Net"),
        (b"ccollections\nOrderedDict\n]\x85R.", "a call of collections.OrderedDict"),
        (b"K\x01}b.", "attributes of a state_dict"),
        (b"K\x01Q.", "another persistent id"),
        (b"ios\nsystem\n(.", "the pickle operation INST"),
        (b"(X\x01\x00\x00\x00aios\nsystem\n.", "the pickle operation INST"),
        (b"\x82\x01.", "the pickle operation EXT1"),
        (b"\x80\x02}(\x92.", "the pickle operation NEWOBJ_EX"),
        (b"\xff.", "0xff"),
        (TENSOR.replace(b"K\x01(", b"J\xff\xff\xff\xff(") + b".", "a tensor of a storage"),
        (b"c" + b"a" * 5000, "a name without an end"),
        (b"X\x02\x00\x00\x00\xff\xfe.", "can't decode"),
        (b"]" * 1_000_100, "at most 1000000 operations"),
    ],
)
def test_anything_else_is_refused_with_its_name(data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        value_of(data)


def test_a_value_within_itself_is_walked_once() -> None:
    knot = value_of(b"\x80\x02}q\x00(X\x01\x00\x00\x00ah\x00X\x01\x00\x00\x00b" + TENSOR + b"u.")
    assert [place for place, _ in named(knot, "knot")] == ["b"]


def test_what_doubles_at_every_level_is_walked_once_too() -> None:
    """2^25 ways lead to the tensor; one of them names it."""
    twice = b"".join(b"q%c]h%ch%c\x86a" % (n, n, n) for n in range(25))
    laughs = b"\x80\x02]" + TENSOR + b"a" + twice + b"."
    assert len(list(named(value_of(laughs), "laughs"))) == 1


def test_what_lies_too_deep_is_refused() -> None:
    deep = b"\x80\x02" + b"]" * 70 + TENSOR + b"a" * 70 + b"."
    with pytest.raises(InputError, match="at most 64 levels"):
        list(named(value_of(deep), "deep"))


def test_keys_with_one_hash_are_refused_before_they_take_hours() -> None:
    alike = {number * (2**61 - 1): 0 for number in range(1, 4)}
    assert len({hash(key) for key in alike}) == 1
    with pytest.raises(InputError, match="names or numbers for keys"):
        value_of(pickle.dumps(alike, 2))
    assert value_of(pickle.dumps({2**59: 1, -1: 2}, 2)) == {2**59: 1, -1: 2}
