"""Inputs chosen by the coverage they reach, under libFuzzer: fuzz.py --atheris, where that package is there."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

from fuzz_crew import memory

from tests.fuzz.engine import Target
from tests.fuzz.mutations import Mutator
from tests.fuzz.targets import targets

FUZZ = Path(__file__).with_name("fuzz.py")


def atheris(chosen: Sequence[Target], total: int, seed: int) -> int:
    """Each target in a process of its own, under libFuzzer; the worst exit status."""
    worst, shares = 0, sum(target.share for target in chosen)
    for target in chosen:
        runs = max(1, round(total * target.share / shares))
        command = [sys.executable, str(FUZZ), "--guided", target.name, "--inputs", str(runs), "--seed", str(seed)]
        worst = max(worst, abs(subprocess.run(command, check=False).returncode))
    return min(worst, 1)


def guided(name: str, runs: int, seed: int) -> None:
    """This process under libFuzzer: it ends with it."""
    import atheris as guide  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: PLC0415

    with tempfile.TemporaryDirectory(dir=memory()) as folder, contextlib.ExitStack() as stack:
        corpus = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for module in [
            module for name_, module in sys.modules.items() if name_.split(".")[0] in ("client", "server", "shared")
        ]:
            for thing in vars(module).values():
                if (
                    callable(thing)
                    and getattr(thing, "__module__", "") == module.__name__
                    and hasattr(thing, "__code__")
                ):
                    guide.instrument_func(thing)
        decoder = targets()[name].make(Path(folder))
        for number, data in enumerate(decoder.seeds):
            (corpus / str(number)).write_bytes(data)
        mutate = Mutator(decoder.seeds, decoder.grammar, decoder.tokens)

        def one(data: bytes) -> None:
            with contextlib.suppress(*decoder.allowed):
                decoder.read(data)

        def varied(data: bytes, most: int, number: int) -> bytes:
            if number % 2:
                return bytes(guide.Mutate(data, most))
            return mutate(Random(f"{seed} {number}"))[:most]  # noqa: S311  hostile, not secret

        options = [
            sys.argv[0],
            f"-runs={runs}",
            f"-seed={seed}",
            "-max_len=65536",
            "-timeout=30",
            "-verbosity=0",
            str(corpus),
        ]
        guide.Setup(options, one, custom_mutator=varied)
        print(f"{name}: {runs} inputs by coverage", flush=True)
        guide.Fuzz()
