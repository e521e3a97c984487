import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource
import numpy as np
from client.dicom.pixels.heap import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        np.ones((16, 512, 512), np.float32)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given_back = faults()
assert keep_freed_memory()
faults()
print(given_back, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_memory_of_one_image_serves_the_next() -> None:
    """Pages are fetched once, instead of for every image; in a process of its own, for it cannot be undone."""
    run = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
    given_back, kept = map(int, run.stdout.split())
    assert kept * 10 < given_back
