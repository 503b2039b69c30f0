"""What Ctrl-C and the other signals do to a run: the first gives its trials back, the second ends it at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Any

from studies.store.storage import Storage

PATIENCE_SECONDS = 20.0
"""How long a stopping run waits for a database that is away: whoever sends the signal kills after 30 s or so."""
ECHO_SECONDS = 0.5
"""A signal so soon after the first is the same one: a terminal's Ctrl-C also comes through `uv run` or `timeout`."""
TERM_ECHO_SECONDS = 5.0
"""The same of SIGTERM, which is no person's second thought: a manager of jobs sends it to each process of a job, and
the parent hands it on to the worker, some time later on a busy host."""


class Stopping:
    """While entered, SIGINT, SIGTERM and SIGHUP (the terminal was closed) set `event`.

    The second of them, unless it is but an echo of the first, ends the process at once. Nothing is lost: the next run
    sees that this process is gone and puts its trials back. A signal that was ignored before, as `nohup` ignores
    SIGHUP, stays ignored.
    """

    def __init__(self, storage: Storage) -> None:
        self.event = threading.Event()
        self.exit_code = 0
        """128 and the signal's number; 0 without one, also where `alexsearch stop` ended the run."""
        self._storage = storage
        self._first: float | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Stopping:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._signalled)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._first is None and not self.event.is_set():
            self._first = now  # at once: the next may come while this one is in the event, whose lock it would wait for
            self.exit_code = 128 + number
            self.event.set()
            timer = threading.Timer(PATIENCE_SECONDS, self._storage.giving_up.set)
            timer.daemon = True
            timer.start()
            return
        echo = TERM_ECHO_SECONDS if number == signal.SIGTERM else ECHO_SECONDS
        if self._first is not None and now - self._first < echo:
            return
        self.exit_code = 128 + number
        if os.isatty(1):
            os.write(1, b"\x1b[?25h")  # the live table had hidden the cursor
        os._exit(self.exit_code)
