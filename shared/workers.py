"""Processes for work that this one cannot, or should not, do: fresh, importing only what their work needs.

Spawned processes import the program they were started from. A command line that has torch and Flower loaded would make
each of them load both again, seconds apiece, to decode a picture. So while a pool is open the program's file is hidden.
"""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from multiprocessing import get_context
from typing import Any

from shared.leash import die_with


@contextmanager
def program_hidden() -> Iterator[None]:
    """While processes are spawned: they do not load the program that this one was started from."""
    program = sys.modules["__main__"]
    file = program.__dict__.pop("__file__", None)
    try:
        yield
    finally:
        if file is not None:
            program.__dict__["__file__"] = file


@contextmanager
def pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """An executor over `workers` spawned processes, which end when this one does. What runs there must come from a
    module, not from the program."""
    spawned = get_context("spawn")
    with (
        program_hidden(),
        ProcessPoolExecutor(workers, spawned, initializer=die_with, initargs=(os.getpid(),)) as executor,
    ):
        yield executor


def aside(module: str, function: str, *arguments: object) -> Any:
    """`function` of a module of ours that needs torch: here where torch is loaded, else in a process of its own.

    The coordinator holds vectors, not networks: the 250 MB that torch takes it would keep for good. `module` and
    `function` are written in our source, never read from data.
    """
    if "torch" in sys.modules:
        return _call(module, function, *arguments)
    with pool(1) as executor:
        return executor.submit(_call, module, function, *arguments).result()


def _call(module: str, function: str, *arguments: object) -> Any:
    return getattr(import_module(module), function)(*arguments)
