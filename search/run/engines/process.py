"""The process `alexsearch worker` on the host where it works: started, watched and ended for its engine.

A process of its own keeps the engine's free of TensorFlow and of our threads, and gives signals their usual meaning.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

from search.run.engines.engine import TOLD_LINES, Ended, Order
from search.training.surroundings import python_command
from studies.words import one_line

GRACE_SECONDS = 30.0
"""How long a worker may take to give its trial back; whoever sends the signal waits so long before it kills."""
LONGEST_TOLD = 2000
"""Characters of a log that are told."""


class WorkerProcess:
    """One worker. Ends by SIGTERM where the process that started it dies, as far as the kernel can see to that."""

    def __init__(self, order: Order, number: int) -> None:
        """Start it. Raises OSError if its log can't be written, or its program not be started."""
        self._order, self._number = order, number
        log = order.log(number)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._from = output.tell()
            self._process = subprocess.Popen(
                python_command("-m", "search.run.engines.bound", str(os.getpid()), *order.program, *order.arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **order.environment},
                cwd=order.folder if order.folder.is_dir() else None,
                start_new_session=True,
            )

    def wait(self, seconds: float) -> Ended | None:
        """How it ended, if it does so within so many seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(seconds)
            return Ended(self._number, code, self._told())
        return None

    def stop(self) -> None:
        """SIGTERM: it gives its trial back and ends. Returns at once."""
        self._signal(signal.SIGTERM)

    def close(self, seconds: float = GRACE_SECONDS) -> Ended:
        """End it: by SIGTERM, and after so many seconds by SIGKILL."""
        self.stop()
        ended = self.wait(seconds)
        if ended is None:
            self._process.kill()
            self._process.wait()
            ended = Ended(self._number, self._process.returncode, self._told())
        return ended

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def _told(self) -> str:
        log = self._order.log(self._number)
        with contextlib.suppress(OSError), log.open("rb") as file:
            file.seek(max(self._from, log.stat().st_size - LONGEST_TOLD))
            lines = file.read().decode(errors="replace").splitlines()
            last = "; ".join(one_line(line) for line in lines[-TOLD_LINES:] if line.strip())
            return f"on {socket.gethostname()}, log {log}: {last or 'it printed nothing'}"
        return f"on {socket.gethostname()}"


def run_worker(order: Order, number: int) -> Ended:
    """Be the job of a worker: start it, hand SIGTERM, SIGINT and SIGUSR1 on to it as SIGTERM, and tell how it ended.

    For engines whose jobs get the signals themselves. Call it on the main thread.
    """
    stopped: list[float] = []
    worker: WorkerProcess | None = None

    def hand_on(_number: int, _frame: object) -> None:
        stopped.append(time.monotonic())
        if worker is not None and len(stopped) == 1:  # a second one would have it end at once
            worker.stop()

    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before = {each: signal.signal(each, hand_on) for each in signals}
    try:
        worker = WorkerProcess(order, number)
        if stopped:
            worker.stop()
        while (ended := worker.wait(1.0)) is None:
            if stopped and time.monotonic() - stopped[0] > GRACE_SECONDS:
                ended = worker.close(0.0)
                break
        if ended.code not in (0, None):
            print(ended.told, file=sys.stderr, flush=True)
        return ended
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
