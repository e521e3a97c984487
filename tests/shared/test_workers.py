import json
import os
import subprocess
import sys
from typing import Any

import pytest

from shared.workers import aside, pool

#: A program that has loaded torch: what does its worker load?
PROGRAM = """
import json, sys
import shared.workers
if {loaded}: import torch
if __name__ == "__main__":
    with shared.workers.pool(1) as executor:
        inside = executor.submit(eval, "[m for m in ('torch', 'flwr') if m in __import__('sys').modules]").result()
    print(json.dumps([inside, __file__ == sys.argv[0]]))
"""


def test_workers_do_not_load_the_program_they_serve(tmp_path: Any) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(loaded=False).replace("import json", "import flwr.app, json"))
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == [[], True]


def test_the_programs_file_comes_back_after_a_failure() -> None:
    program = sys.modules["__main__"]
    before = program.__dict__.get("__file__")
    with pytest.raises(ZeroDivisionError), pool(1):
        raise ZeroDivisionError
    assert program.__dict__.get("__file__") == before


def test_aside_here_where_torch_is_loaded_and_elsewhere_where_not() -> None:
    assert "torch" in sys.modules  # tests/conftest.py
    assert aside("os", "getpid") == os.getpid()
    code = (
        "import os, sys; from shared.workers import aside;"
        "print(aside('os', 'getpid') != os.getpid(), aside('math', 'gcd', 4, 6), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["True", "2", "False"]
