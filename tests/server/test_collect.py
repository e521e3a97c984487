"""GridLink over a Grid of our own: replies late, twice, broken or never."""

import tracemalloc
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from server.collect import GONE_S, LINGER_S, PAUSE_S, Arrival, GridLink
from shared.relay import open_message, wrap

#: What a node does with a message: its replies, now.
Node = Callable[[Message], Iterable[Message]]


@pytest.fixture(autouse=True)
def task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who Flower believes to be at work in this process; no message is made without."""
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class FakeGrid(Grid):
    """Flower's Grid, with the nodes' behaviour given."""

    behaviour: Mapping[int, Node]
    sent: list[tuple[float, int]] = field(default_factory=list)
    waiting: dict[str, list[Message]] = field(default_factory=dict)
    lifetimes: set[float] = field(default_factory=set)

    clock: Clock = field(default_factory=Clock)

    def set_run(self, run: Run) -> None: ...

    @property
    def run(self) -> Run:
        raise NotImplementedError

    def create_message(self, *_: object, **__: object) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return list(self.behaviour)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        numbers = []
        for message in messages:
            node, number = message.metadata.dst_node_id, f"m{len(self.sent)}"
            self.sent.append((self.clock.now, node))
            self.lifetimes.add(message.metadata.ttl)
            self.waiting[number] = list(self.behaviour[node](message))
            numbers.append(number)
        return numbers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [message for number in message_ids for message in self.waiting.pop(number, [])]

    def send_and_receive(self, *_: object, **__: object) -> Iterable[Message]:
        raise NotImplementedError


def echo(message: Message) -> list[Message]:
    return [Message(wrap(b"re " + (open_message(message) or b"")), reply_to=message)]


def silent(_: Message) -> list[Message]:
    return []


def second_time() -> Node:
    """Loses the first message it gets, and answers the second."""
    seen: list[Message] = []

    def node(message: Message) -> list[Message]:
        seen.append(message)
        return echo(message) if len(seen) > 1 else []

    return node


def broken(message: Message) -> list[Message]:
    return [Message(Error(code=2, reason="not relayed"), reply_to=message)]


def foreign(message: Message) -> list[Message]:
    return [Message(RecordDict({"konsil": ConfigRecord({"a": 1})}), reply_to=message)]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("server.collect.time", clock)
    return clock


def ask(clock: Clock, behaviour: Mapping[int, Node], timeout_s: float = 10.0) -> tuple[dict[int, Arrival], FakeGrid]:
    grid = FakeGrid(behaviour, clock=clock)
    arrivals = list(GridLink(grid).ask({node: b"%d" % node for node in behaviour}, timeout_s))
    assert len(arrivals) == len(behaviour)  # one per node
    return {arrival.node: arrival for arrival in arrivals}, grid


def test_every_node_answers_for_itself(clock: Clock) -> None:
    found, grid = ask(clock, {1: echo, 2: echo, 3: echo})
    assert {node: arrival.data for node, arrival in found.items()} == {1: b"re 1", 2: b"re 2", 3: b"re 3"}
    assert [node for _, node in grid.sent] == [1, 2, 3]
    assert grid.lifetimes == {10.0 + LINGER_S}
    assert clock.now < 1


def test_a_lost_message_is_sent_again_at_half_time_and_only_then(clock: Clock) -> None:
    found, grid = ask(clock, {1: echo, 2: second_time()})
    assert found[2].data == b"re 2"
    assert [node for _, node in grid.sent] == [1, 2, 2]
    assert 5.0 <= grid.sent[-1][0] < 6.0


def test_silence_ends_at_the_timeout(clock: Clock) -> None:
    found, grid = ask(clock, {1: echo, 2: silent})
    assert found[2] == Arrival(2, None, "no answer within 10 s")
    assert len(grid.sent) == 3
    assert 10.0 <= clock.now < 11.0


def test_a_reply_twice_is_one_arrival(clock: Clock) -> None:
    """Of the first message late, of the second at once; and two replies to one message."""
    late: list[Message] = []

    def both(message: Message) -> list[Message]:
        late.append(message)
        return echo(message) * 2

    def slow(message: Message) -> list[Message]:
        late.append(message)
        return [] if len(late) < 3 else echo(message)

    found, _ = ask(clock, {1: both, 2: slow})
    assert (found[1].data, found[2].data) == (b"re 1", b"re 2")


def test_errors_and_foreign_replies_are_problems_not_data(clock: Clock) -> None:
    found, _ = ask(clock, {1: broken, 2: foreign})
    assert found[1] == Arrival(1, None, "failed with Flower error 2")
    assert found[2] == Arrival(2, None, "answered without a Konsil reply")
    assert clock.now < 1


def test_a_request_that_flower_lost_is_sent_again_when_its_node_is_back(clock: Clock) -> None:
    def died(message: Message) -> list[Message]:
        return [Message(Error(code=ErrorCode.NODE_UNAVAILABLE, reason=""), reply_to=message)] if len(sent) < 2 else []

    sent: list[Message] = []

    def node(message: Message) -> list[Message]:
        sent.append(message)
        return died(message) or echo(message)

    found, grid = ask(clock, {1: node})
    assert found[1].data == b"re 1"
    assert [at for at, _ in grid.sent] == pytest.approx([0.0, PAUSE_S], abs=0.2)


def test_a_node_that_went_away_for_good_is_given_up_before_the_timeout(clock: Clock) -> None:
    class Empty(FakeGrid):
        def get_node_ids(self) -> Iterable[int]:
            return []

    def died(message: Message) -> list[Message]:
        return [Message(Error(code=ErrorCode.NODE_UNAVAILABLE, reason=""), reply_to=message)]

    grid = Empty({1: died}, clock=clock)
    (found,) = GridLink(grid).ask({1: b"x"}, 600.0)
    assert (found.data, found.problem) == (None, f"no longer connected, for {GONE_S:g} s")
    assert clock.now < GONE_S + 1


def test_replies_are_held_one_at_a_time() -> None:
    """Twenty replies of a megabyte, consumed as they come."""
    size = 1 << 20

    class Lazy(FakeGrid):
        def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
            (number,) = message_ids
            request = self.waiting.pop(number, [])
            return [Message(wrap(bytes(size)), reply_to=request[0])] if request else []

    grid = Lazy({node: lambda message: [message] for node in range(20)})
    tracemalloc.start()
    try:
        for arrival in GridLink(grid).ask(dict.fromkeys(range(20), b"x"), 10.0):
            assert arrival.data is not None
            del arrival
        assert tracemalloc.get_traced_memory()[1] < 8 * size
    finally:
        tracemalloc.stop()


def test_the_nodes_are_sorted() -> None:
    assert GridLink(FakeGrid({3: echo, 1: echo})).nodes() == (1, 3)
