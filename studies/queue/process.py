"""Which process a slot belongs to, told so that no later process of any machine is taken for it."""

from __future__ import annotations

import os
import socket
import sys
from functools import cache
from pathlib import Path
from typing import Any

import psutil


@cache
def machine() -> str:
    """Names this boot of this machine and this container: two processes with the same one see each other's pids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()}|{boot}|{Path('/proc/self/ns/pid').readlink()}"[:255]
    except OSError:
        return f"{socket.gethostname()}|{int(psutil.boot_time())}"[:255]


def process_started(pid: int) -> float | None:
    """Seconds from the start of the machine to that of the process; None if it is gone but for its entry.

    Not the time of day: that is reckoned back from the clock, and a clock that is set would make every process another.

    Raises:
        OSError, psutil.Error: this user may not see it, or it is gone.
    """
    if sys.platform == "linux":
        # proc(5): the name, in parentheses, may hold anything; the third field, after it, is the state.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19]) / os.sysconf("SC_CLK_TCK")
    process = psutil.Process(pid)
    return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time() - psutil.boot_time()


def is_dead_here(row: Any) -> bool:
    """Whether the process of a row of `SLOTS` was on this machine and is gone (its pid may be another's by now)."""
    if row.machine != machine():
        return False
    try:
        os.kill(row.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # another user's
    try:
        started = process_started(row.pid)
    except (OSError, psutil.Error):
        return False  # /proc can be mounted so that it hides what others run: then its beats tell
    return started is None or abs(started - row.process_started) > 2.0
