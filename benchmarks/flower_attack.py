"""An attack on Flower's SecAgg+: its name, what runs it, what it gained; and what the harness around it needs."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, ParamSpec

import numpy as np
from cryptography.fernet import InvalidToken
from flwr.supercore.task_identity import TaskIdentity
from numpy.typing import NDArray

#: Flower's defaults (SecAggPlusWorkflow).
CLIPPING, TARGET, MODULUS, MAX_WEIGHT = 8.0, 1 << 22, 1 << 32, 1000.0
#: Half the maximal weight: update × weight is then a whole number of quanta, and quantising loses nothing.
EXAMPLES = 500
#: What a site's code or the workflow raises; anything else is a fault of the harness.
RAISED = (ArithmeticError, AssertionError, LookupError, TypeError, ValueError, InvalidToken)

Vector = NDArray[np.float64]
Words = NDArray[np.uint32]
Masked = list[NDArray[np.int64]]
Train = Callable[[Vector], Vector]
KeyPair = tuple[bytes, bytes]
P = ParamSpec("P")
Outcome = tuple[str, bool]


@dataclass(frozen=True)
class Gain:
    """`works`: Flower's code let the attack happen. `seconds`: CPU-seconds of the attack, the harness with it."""

    attack: str
    gained: str
    works: bool
    seconds: float


@contextlib.contextmanager
def flower_log() -> Iterator[list[str]]:
    """What Flower logs at WARNING and above, kept off the screen."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger = logging.getLogger("flwr")
    handlers, logger.handlers = logger.handlers, [Keep(logging.WARNING)]
    passes_on, logger.propagate = logger.propagate, False
    try:
        yield lines
    finally:
        logger.handlers, logger.propagate = handlers, passes_on


@contextlib.contextmanager
def as_server() -> Iterator[None]:
    """This process is the server's task of run 1, as Flower wants to know before a message is made."""
    before = {name: getattr(TaskIdentity, name) for name in ("_task_id", "_run_id", "_node_id")}
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(TaskIdentity, name, value)


@dataclass(frozen=True)
class Attack(Generic[P]):
    """`run` under its `name`; a call runs it as the server's task, with Flower's log off the screen, and times it."""

    name: str
    run: Callable[P, Outcome]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Gain:
        start = time.process_time()
        with flower_log(), as_server():
            gained, works = self.run(*args, **kwargs)
        return Gain(self.name, gained, works, time.process_time() - start)


def attack(name: str) -> Callable[[Callable[P, Outcome]], Attack[P]]:
    """Names an attack."""
    return lambda run: Attack(name, run)


def raised(action: Callable[[], object]) -> str:
    """What `action` raised, or nothing where it went through."""
    try:
        action()
    except RAISED as error:
        return f"{type(error).__name__}: {error}".rstrip(": ")
    return ""
