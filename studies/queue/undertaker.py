"""Which of a study's slots are dead: their process is gone from this machine, or has not beaten for too long."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import sqlalchemy as sa

from studies.store.schema import SLOTS

if TYPE_CHECKING:
    from studies.queue.queue import Queue

BEAT_SECONDS = 5.0
GRACE_SECONDS = 60.0
"""A slot on another host that showed no sign of life for so long, while the database answered, is taken for dead."""


class Undertaker:
    """Finds the slots of a study that are dead.

    A process that is gone from this machine is dead at once. A slot on another machine, or a process that hangs, is
    dead when its beats have not moved for `GRACE_SECONDS` of this observer's own clock, during which it could look
    every few seconds. So neither a database that was away nor an observer that was frozen, nor clocks that differ,
    make a live slot look dead.
    """

    def __init__(self, queue: Queue, clock: Callable[[], float] = time.monotonic) -> None:
        self._queue = queue
        self._clock = clock
        self._seen: dict[str, tuple[int, float]] = {}
        self._looked: float | None = None

    def look(self) -> list[str]:
        """The ids of the dead, to be given to `Queue.reap`."""
        rows = self._queue.storage.read(
            lambda session: session.execute(sa.select(SLOTS).where(SLOTS.c.study_id == self._queue.study_id)).all()
        )
        now = self._clock()
        if self._looked is None or now - self._looked > 3 * BEAT_SECONDS:
            self._seen = {}  # what happened in between was not seen: start watching anew
        self._looked = now
        self._seen = {
            row.slot_id: seen if (seen := self._seen.get(row.slot_id, (-1, now)))[0] == row.beats else (row.beats, now)
            for row in rows
        }
        return [row.slot_id for row in rows if is_dead_here(row) or now - self._seen[row.slot_id][1] > GRACE_SECONDS]


@cache
def machine() -> str:
    """Names this boot of this machine and this container: two processes with the same one see each other's pids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()}|{boot}|{Path('/proc/self/ns/pid').readlink()}"[:255]
    except OSError:
        return f"{socket.gethostname()}|{int(psutil.boot_time())}"[:255]


def process_started(pid: int) -> float | None:
    """Seconds from the start of the machine to that of the process; None where it is gone but for its entry.

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
