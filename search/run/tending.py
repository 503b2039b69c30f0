"""Keeps the workers of a run at work: starts again those that crashed or lost their host, and tells of those it can't.

A worker that was ended from outside (its host is lost, its job was preempted) is started again as often as it takes,
as long as it had some time to work; one that crashed three times in a row, or is refused, is not. What it was at is in
the queue again before: it gave its trial back, or is found dead.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from search.run.engines.engine import Ended, EngineError, Staff

CRASHES, REMOVALS = 3, 20
"""So often in a row, without `LIVED_SECONDS` of work between, a worker may crash, or be ended from outside."""
LIVED_SECONDS = 300.0
OVER_SECONDS = 5.0
"""How long the workers of a study that is at its end have to see so themselves."""

log = logging.getLogger(__name__)


class Tending:
    """The workers of one run. One thread uses it."""

    def __init__(
        self,
        staff: Staff,
        note: Callable[[str], None],
        *,
        restarts: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`restarts` False: whoever ends has ended."""
        self.error: BaseException | None = None
        """The first that a worker in this process raised."""
        self.failed: Ended | None = None
        """The last one that will not be started again, for it crashed or was refused."""
        self._staff, self._note, self._restarts, self._clock = staff, note, restarts, clock
        self._working: dict[int, float] = {}
        self._in_a_row: dict[int, list[Ended]] = {}
        self._stopped = False
        self._over: float | None = None

    def begin(self, workers: int) -> None:
        """Start so many. Raises EngineError."""
        for number in range(workers):
            self._start(number)

    @property
    def working(self) -> int:
        """How many are at work, or wait for a place."""
        return len(self._working)

    def _start(self, number: int) -> None:
        self._staff.start(number)
        self._working[number] = self._clock()

    def look(self) -> None:
        """See who has ended. Raises EngineError."""
        for ended in self._staff.ended():
            lived = self._clock() - self._working.pop(ended.number)
            if ended.error is not None:
                self.error = self.error or ended.error
            elif self._restarts and not ended.is_done and not self._stopped:
                self._again(ended, lived)

    def _again(self, ended: Ended, lived: float) -> None:
        before = self._in_a_row.setdefault(ended.number, [])
        if lived >= LIVED_SECONDS:
            before.clear()
        before.append(ended)
        how, name = _how(ended), f"worker {ended.number}"
        log.warning("%s %s: %s", name, how, ended.told)
        crashes = sum(not each.is_innocent for each in before)
        if ended.is_refused or crashes >= CRASHES or len(before) >= REMOVALS:
            self.failed = ended
            times = f", {len(before)} times in a row" if len(before) > 1 else ""
            self._note(f"{name} {how}{times}, and is not started again: {ended.told}")
            return
        self._note(f"{name} {how}, and is started again{f': {ended.told}' if ended.told else ''}")
        self._start(ended.number)

    def over(self) -> None:
        """The study is at its end. Workers see so themselves; those that still wait for a place never would."""
        self._over = self._clock() if self._over is None else self._over
        if self._clock() - self._over >= OVER_SECONDS:
            self.stop()

    def stop(self) -> None:
        """Have all of them give their trials back and end. Nobody is started again."""
        if not self._stopped:
            self._stopped = True
            self._staff.stop()

    def close(self) -> None:
        self._staff.close()


def _how(ended: Ended) -> str:
    if ended.is_refused:
        return "can't take part"
    if ended.code is None:
        return "is lost"
    if ended.is_innocent:
        return "was ended from outside"
    return f"was killed by signal {-ended.code}" if ended.code < 0 else f"ended with code {ended.code}"


def lost(failed: Ended) -> EngineError:
    """What a run comes to that has no worker left."""
    return EngineError(f"no worker is left. The last one, worker {failed.number}, {_how(failed)}: {failed.told}")
