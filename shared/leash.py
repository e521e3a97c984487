"""Start a program that dies with its parent: `python -m shared.leash PROGRAM ARGUMENTS`.

Guarantees (Linux, prctl(2) PR_SET_PDEATHSIG): whoever kills the parent, however hard, the program gets SIGTERM; it
leaves no orphan that holds a port, a lock or a GPU. The setting survives the exec that follows.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """End when the process `parent` does, which started this one. Raises OSError where the kernel does not do it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:  # it died before the leash was on
        sys.exit(1)


def main(command: list[str], parent: int) -> None:
    """Become `command`; raises OSError where the kernel does not do it."""
    die_with(parent)
    os.execv(command[0], command)  # noqa: S606  the caller's own program, no shell


if __name__ == "__main__":
    main(sys.argv[2:], int(sys.argv[1]))
