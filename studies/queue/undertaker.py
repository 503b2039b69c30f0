"""Which of a study's slots are dead: their process is gone from this machine, or has not beaten for too long."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import sqlalchemy as sa

from studies.queue.process import is_dead_here, machine
from studies.queue.queue import Queue
from studies.queue.standing import GRACE_SECONDS
from studies.store.schema import SLOTS

BEAT_SECONDS = 5.0
FEW = 64
"""So many slots of a study are looked at after every beat."""


class Undertaker:
    """Finds the slots of a study that are dead.

    A process that is gone from this machine is dead at once. A slot on another machine, or a process that hangs, is
    dead when its beats have not moved for `GRACE_SECONDS` of this observer's own clock, during which it could ask the
    database every few seconds. So neither a database that was away nor an observer that was frozen, nor clocks that
    differ, make a live slot look dead. Of a study with more than `FEW` slots, those on other machines are looked at
    less often, since there are as many observers the more: all together look at about as many a second.
    """

    def __init__(self, queue: Queue, clock: Callable[[], float] = time.monotonic) -> None:
        self._queue = queue
        self._clock = clock
        self._seen: dict[str, tuple[int, float]] = {}
        self._looked: float | None = None
        self._looked_far = -math.inf

    def look(self) -> list[str]:
        """The ids of the dead, to be given to `Queue.reap`."""
        far = self._clock() - self._looked_far >= BEAT_SECONDS * (len(self._seen) / FEW - 0.5)
        which = SLOTS.c.study_id == self._queue.study_id
        query = sa.select(SLOTS).where(which if far else which & (SLOTS.c.machine == machine()))
        rows = self._queue.storage.read(lambda session: session.execute(query).all())
        now = self._clock()
        if self._looked is None or now - self._looked > 3 * BEAT_SECONDS:
            self._seen = {}  # what happened in between was not seen: start watching anew
            self._looked_far = -math.inf
        self._looked = now
        seen = {
            row.slot_id: seen if (seen := self._seen.get(row.slot_id, (-1, now)))[0] == row.beats else (row.beats, now)
            for row in rows
        }
        if far:
            self._seen, self._looked_far = seen, now
        else:
            self._seen |= seen
        return [row.slot_id for row in rows if is_dead_here(row) or now - self._seen[row.slot_id][1] > GRACE_SECONDS]
