"""The SuperNode's clock: sooner while a round is on, Flower's own pace otherwise."""

import ast
import inspect
import time
from types import ModuleType

import pytest
from flwr.supernode import start_client_internal

from client.supernode import IDLE_S, LINGER_S, SOON_S, Clock


@pytest.fixture
def real() -> ModuleType:
    """A module `time` that stands still until it sleeps."""
    fake = ModuleType("time")
    vars(fake).update(now=0.0, slept=[], marker="as it was", monotonic=lambda: vars(fake)["now"])

    def sleep(seconds: float) -> None:
        vars(fake)["slept"].append(seconds)
        vars(fake)["now"] += seconds

    vars(fake)["sleep"] = sleep
    return fake


def slept(clock: Clock, real: ModuleType, *wanted: float) -> list[float]:
    vars(real)["slept"].clear()
    for seconds in wanted:
        clock.sleep(seconds)
    return list(vars(real)["slept"])


def test_an_idle_node_sleeps_as_flowers_does(real: ModuleType) -> None:
    vars(real)["now"] = 1000.0
    assert slept(Clock(real), real, IDLE_S, IDLE_S) == [IDLE_S, IDLE_S]


def test_after_a_message_it_looks_again_soon_and_for_a_while_only(real: ModuleType) -> None:
    clock = Clock(real)
    assert slept(clock, real, 0.5) == [0.5], "a wait for the answer is as long as Flower wants it"
    found = slept(clock, real, *[IDLE_S] * 60)
    assert found[: int(LINGER_S) - 1] == [SOON_S] * (int(LINGER_S) - 1)
    assert found[-1] == IDLE_S


def test_everything_else_is_the_modules_own(real: ModuleType) -> None:
    assert Clock(real).marker == "as it was"
    assert Clock().monotonic is time.monotonic


def test_flowers_loop_sleeps_as_this_file_says() -> None:
    """One sleep of three seconds, when no message was found; all others are shorter. Where that changes, look again."""
    calls = [
        node
        for node in ast.walk(ast.parse(inspect.getsource(start_client_internal)))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep"
    ]
    assert sorted(ast.literal_eval(call.args[0]) for call in calls) == [0.5, 0.5, IDLE_S]
