"""`python -m search.run.engines.bound PID ...`: runs the rest as Python would, and gets SIGTERM when process PID dies.

So no worker outlives the actor or job that it belongs to, whose GPU is given to somebody else. Linux only: elsewhere
it just runs.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import runpy
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1


def bind(parent: int) -> None:
    """Have the kernel send SIGTERM to this process when the thread that started it ends."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before
            raise SystemExit(128 + signal.SIGTERM)


def run(program: Sequence[str]) -> None:
    """As `python -m MODULE ...` or `python FILE ...`."""
    if program[0] == "-m":
        sys.argv = list(program[1:])
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(program)
        runpy.run_path(program[0], run_name="__main__")


if __name__ == "__main__":
    bind(int(sys.argv[1]))
    run(sys.argv[2:])
