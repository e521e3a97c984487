"""Processes for work that one core cannot do alone: fresh, with one thread each, importing only what their work needs.

Spawned processes import the program they were started from. A command line that has torch and Flower loaded would make
each of them load both again, seconds apiece, to decode a picture. So while a pool is open the program's file is hidden.
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context


@contextmanager
def pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """An executor over `workers` spawned processes. What runs there must come from a module, not from the program."""
    program = sys.modules["__main__"]
    file = program.__dict__.pop("__file__", None)
    try:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as executor:
            yield executor
    finally:
        if file is not None:
            program.__dict__["__file__"] = file
