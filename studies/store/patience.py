"""Patience with a database that is away for a while: restarting, locked, out of connections."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy.engine import URL

from studies.store.problems import database_problem, explained, is_passing, problem_text
from studies.store.urls import redacted

log = logging.getLogger(__name__)

T = TypeVar("T")

SILENT_SECONDS = 3.0
"""A command that has said nothing for so long says what it waits for."""


class Patience:
    """Repeats a call, which must be safe to repeat, while the database at `url` is away. Threads may share one.

    The log gets a line when the first of their calls is repeated, and one when the last is through.
    """

    def __init__(self, url: URL, seconds: float) -> None:
        self.url = url
        self.seconds = seconds
        self.giving_up = threading.Event()
        """Set it to end all waiting at once."""
        self.waiting: Callable[[str], None] | None = None
        """Called once, in a thread of its own, when a call takes longer than `SILENT_SECONDS`: what it waits for."""
        self._lock = threading.Lock()
        self._repeated = 0
        self._since = 0.0

    def __reduce__(self) -> tuple[Any, ...]:
        return Patience, (self.url, self.seconds)

    def __call__(self, call: Callable[[], T]) -> T:
        """What `call()` returns in the end.

        Raises:
            StorageError: The database stayed away for `seconds`, or no waiting would help.
        """
        deadline = time.monotonic() + self.seconds
        attempt = 0
        silence = threading.Timer(SILENT_SECONDS, self._tell) if self.waiting else None
        if silence:
            silence.daemon = True
            silence.start()
        try:
            while True:
                try:
                    return call()
                except Exception as error:
                    problem = database_problem(error)
                    if problem is None:
                        raise
                    if not is_passing(problem) or time.monotonic() > deadline:
                        raise explained(problem, self.url) from None
                    attempt += 1
                    if attempt == 1:
                        self._begin(problem)
                    if self.giving_up.wait(_delay(attempt)):
                        raise explained(problem, self.url) from None
        finally:
            if silence:
                silence.cancel()
            if attempt:
                self._end()

    def _tell(self) -> None:
        tell, self.waiting = self.waiting, None
        if tell:
            holder = (
                "another program holds its lock" if self.url.get_backend_name() == "sqlite" else "it does not answer"
            )
            tell(f"waiting for storage {redacted(self.url)}: {holder}. Ctrl-C ends the waiting; nothing is lost.")

    def _begin(self, problem: Exception) -> None:
        with self._lock:
            self._repeated += 1
            if self._repeated == 1:
                self._since = time.monotonic()
                text = problem_text(problem, self.url)
                log.warning("storage %s is asked again for up to %.0f s: %s", redacted(self.url), self.seconds, text)

    def _end(self) -> None:
        with self._lock:
            self._repeated -= 1
            if self._repeated == 0:
                seconds = time.monotonic() - self._since
                log.info("storage %s: no call is repeated any more, after %.1f s", redacted(self.url), seconds)


def _delay(attempt: int) -> float:
    """Seconds before the next attempt: doubling from 0.1 to 5, with jitter so that workers do not come in step."""
    longest = min(5.0, 0.1 * 2.0 ** min(attempt, 6))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
