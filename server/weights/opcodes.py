"""An interpreter of the few pickle opcodes that torch archives are made of. It calls nothing and imports nothing.

Python's own unpickler does what data says (PEP 307: REDUCE calls any importable name); this one knows the names of
values.py, and makes of each a value of ours. Every other name and opcode is refused by its name.

Guarantees: time and memory grow with the length of the pickle alone; the result holds dict, list, tuple, str, int,
float, bool, None and the kinds of values.py; it may contain itself, which the reader of it must expect (archive.py).

    >>> value_of(b"\\x80\\x02}X\\x01\\x00\\x00\\x00aK\\x07s.")
    {'a': 7}
"""

from collections.abc import Callable
from typing import Any

from server.weights.operations import operations
from server.weights.values import GLOBALS, SCRIPT, Global, Scripted, Storage, Stored
from shared.errors import InputError

#: Operations of one pickle: a tensor takes about 30.
MOST_OPERATIONS = 1_000_000
#: Dimensions of a tensor.
MOST_SIDES = 16
#: No count or place in a storage reaches it.
BEYOND = 2**40
#: No number that is a key reaches it; Python takes the hash of a number modulo 2^61 − 1.
LONG = 2**60

_MARK = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = frozenset({"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"})
_FLAT = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}


def value_of(data: bytes, source: str = "data.pkl") -> Any:
    """What the pickle `data` stands for. Raises InputError naming `source`, and what in it is not known."""
    machine = _Machine(source)
    try:
        for count, (name, argument) in enumerate(operations(data)):
            if count > MOST_OPERATIONS:
                raise machine.refusal(f"at most {MOST_OPERATIONS} operations", "more")
            machine.step(name, argument)
    except ValueError as error:
        raise machine.refusal("a pickle as torch writes them", str(error)) from None
    return machine.result()


class _Machine:
    """The stack and the memo."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._done: list[Any] = []

    def refusal(self, expected: str, got: str) -> InputError:
        """What is wrong with the file."""
        do = "Save the state_dict alone, as torch.save(model.state_dict(), FILE), or as safetensors."
        return InputError(self._source, expected=expected, got=got, do=do)

    def result(self) -> Any:
        """What STOP left."""
        if not self._done:
            raise self.refusal("a whole pickle", "one that does not end")
        return self._done[0]

    def step(self, name: str, argument: Any) -> None:
        """One operation."""
        if name in _LITERALS:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in _FLAT:
            self._stack.append(_FLAT[name]())
        else:
            _ACTIONS[name](self, argument)

    def proceed(self, _: object) -> None:
        """PROTO and FRAME say nothing about the value."""

    def stop(self, _: object) -> None:
        """The value is whole."""
        self._done.append(self._pop())

    def mark(self, _: object) -> None:
        """A place to come back to."""
        self._stack.append(_MARK)

    def put(self, place: object) -> None:
        """Remember what lies on top; MEMOIZE counts the places itself."""
        self._memo[place if isinstance(place, int) else len(self._memo)] = self._top()

    def get(self, place: int) -> None:
        """What was remembered."""
        if place not in self._memo:
            raise self.refusal("a whole pickle", f"memo {place} before it was put")
        self._stack.append(self._memo[place])

    def name(self, argument: str) -> None:
        """GLOBAL."""
        self._stack.append(self._known(argument))

    def stacked_name(self, _: object) -> None:
        """STACK_GLOBAL: both from the stack."""
        name, module = self._pop(), self._pop()
        self._stack.append(self._known(f"{module}.{name}" if isinstance(module, str) else "?"))

    def tuple_of(self, count: int) -> None:
        """TUPLE1, TUPLE2, TUPLE3."""
        items = [self._pop() for _ in range(count)]
        self._stack.append(tuple(reversed(items)))

    def tuple_of_mark(self, _: object) -> None:
        """TUPLE."""
        self._stack.append(tuple(self._since_mark()))

    def append(self, _: object) -> None:
        """One item."""
        self._extend([self._pop()])

    def appends(self, _: object) -> None:
        """The items since the mark."""
        self._extend(self._since_mark())

    def set_item(self, _: object) -> None:
        """One pair."""
        value, key = self._pop(), self._pop()
        self._update([key, value])

    def set_items(self, _: object) -> None:
        """The pairs since the mark."""
        self._update(self._since_mark())

    def storage(self, _: object) -> None:
        """BINPERSID: ("storage", kind, member, device, count)."""
        match self._pop():
            case ("storage", Global(name), str(key), _, int(count)) if 0 <= count < BEYOND and name in GLOBALS:
                self._stack.append(Storage(name.removeprefix("torch."), key, count))
            case other:
                raise self.refusal("a storage of the archive", f"another persistent id ({type(other).__name__})")

    def new(self, _: object) -> None:
        """NEWOBJ, of TorchScript modules only."""
        arguments, kind = self._pop(), self._pop()
        if not (isinstance(kind, Global) and kind.name.startswith(SCRIPT) and arguments == ()):
            raise self.refusal("a TorchScript module", f"an object of {getattr(kind, 'name', type(kind).__name__)}")
        self._stack.append(Scripted())

    def build(self, _: object) -> None:
        """Attributes: of a TorchScript module they are its content, of a state_dict notes that nobody needs."""
        state, value = self._pop(), self._top()
        if isinstance(value, Scripted) and isinstance(state, dict):
            value.attributes = state  # not a copy: data may name the same one without end
        elif not isinstance(value, dict):
            raise self.refusal("attributes of a state_dict", f"those of {type(value).__name__}")

    def reduce(self, _: object) -> None:
        """A call, of which only the name is looked at."""
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise self.refusal("a name and its arguments", type(function).__name__)
        self._stack.append(self._made(function.name, arguments))

    def _made(self, name: str, arguments: tuple[Any, ...]) -> Any:
        short = name.rpartition(".")[2]
        if name == "collections.OrderedDict" and not arguments:
            return {}
        if short in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return self._tensor(arguments[:4])
        if short == "device":
            return None
        wraps = short in ("_rebuild_parameter", "_rebuild_parameter_with_state", "Size")
        if arguments and (wraps or name.startswith("torch.jit.")):
            return arguments[0]
        raise self.refusal("tensors and plain values", f"a call of {name}")

    def _tensor(self, arguments: tuple[Any, ...]) -> Stored:
        match arguments:
            case (Storage() as storage, int(offset), tuple(shape), tuple(stride)) if len(shape) == len(
                stride
            ) <= MOST_SIDES and all(
                type(number) is int and 0 <= number < BEYOND for number in (offset, *shape, *stride)
            ):
                return Stored(storage, offset, shape, stride)
        raise self.refusal("a tensor of a storage", "another")

    def _known(self, name: str) -> Global:
        if name not in GLOBALS and not name.startswith(SCRIPT):
            raise self.refusal("names of torch archives", f"{name[:200]!r}, which could be a program")
        return Global(name)

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self._top(), list):
            raise self.refusal("a list", type(self._top()).__name__)
        self._top().extend(items)

    def _update(self, flat: list[Any]) -> None:
        keys = flat[::2]
        if not isinstance(self._top(), dict) or len(flat) % 2 or not all(map(_is_key, keys)):
            raise self.refusal("a dict with names or numbers for keys", "another")
        self._top().update(zip(keys, flat[1::2], strict=True))

    def _top(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise self.refusal("a whole pickle", "an empty stack")
        return self._stack[-1]

    def _pop(self) -> Any:
        found = self._top()
        self._stack.pop()
        return found

    def _since_mark(self) -> list[Any]:
        for place in range(len(self._stack) - 1, -1, -1):
            if self._stack[place] is _MARK:
                found = self._stack[place + 1 :]
                del self._stack[place:]
                return found
        raise self.refusal("a whole pickle", "no mark")


def _is_key(key: object) -> bool:
    """A text, or a number that is its own hash: of longer ones a file could hold a million with one hash, which a dict
    takes hours for."""
    return isinstance(key, str) or (isinstance(key, int) and abs(key) < LONG)


_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine.proceed,
    "FRAME": _Machine.proceed,
    "STOP": _Machine.stop,
    "MARK": _Machine.mark,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.put,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.stacked_name,
    "TUPLE": _Machine.tuple_of_mark,
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "BINPERSID": _Machine.storage,
    "NEWOBJ": _Machine.new,
    "BUILD": _Machine.build,
    "REDUCE": _Machine.reduce,
}
