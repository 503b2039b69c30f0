"""The workers of this host: threads of this process, each with a training process of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from search.run.engines.engine import Ended

log = logging.getLogger(__name__)


class Threads:
    """A `Staff` of threads. Worker N calls the Nth of `calls`, which return once `stopping` is set."""

    def __init__(self, calls: Sequence[Callable[[], None]], stopping: threading.Event) -> None:
        self._calls, self._stopping = calls, stopping
        self._running: dict[int, threading.Thread] = {}
        self._errors: dict[int, BaseException] = {}

    def start(self, number: int) -> None:
        thread = threading.Thread(target=self._run, args=(number,), name=f"slot-{number}", daemon=True)
        self._running[number] = thread
        thread.start()

    def _run(self, number: int) -> None:
        try:
            self._calls[number]()
        except BaseException as error:  # noqa: BLE001 - told by `ended`
            log.warning("slot-%d ends: %r", number, error)
            self._errors[number] = error

    def ended(self) -> list[Ended]:
        gone = [number for number, thread in self._running.items() if not thread.is_alive()]
        for number in gone:
            del self._running[number]
        errors = [(number, self._errors.pop(number, None)) for number in gone]
        return [Ended(number, 1 if error else 0, repr(error or ""), error) for number, error in errors]

    def stop(self) -> None:
        self._stopping.set()

    def close(self) -> None:
        """Threads can't be ended but by the end of the process: then their slots are found dead."""
        if self._running:
            self._stopping.set()
