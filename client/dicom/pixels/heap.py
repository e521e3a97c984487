"""For a process that decodes one image after another: memory of the last one is kept for the next.

Otherwise the C library gives the few megabytes of every image back to the system and fetches them anew, page by page,
which takes as long as decoding. Costs at most `KEPT` bytes that are not used.
"""

import ctypes

#: Bytes freed at the end of the heap that stay with the process.
KEPT = 1 << 28
#: The largest block that comes from the heap; the C library takes no more.
LARGEST = 1 << 25

#: Of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> bool:
    """Whether the C library agreed. Others than glibc do not know the question."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_TRIM_THRESHOLD, KEPT)) and bool(mallopt(_MMAP_THRESHOLD, LARGEST))
