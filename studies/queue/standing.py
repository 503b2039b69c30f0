"""How the queue of a study stands: its trials by state, its slots, what stopped it. Nothing here changes anything."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from optuna.trial import TrialState
from sqlalchemy import orm

from studies.queue import limits, pausing
from studies.queue.limits import STOP, STOPPED_BY, Limits
from studies.queue.process import is_dead_here
from studies.store.attributes import STUDY_SYSTEM, TRIAL_SYSTEM
from studies.store.schema import SLOTS
from studies.store.shapes import is_number, is_text, is_whole
from studies.store.storage import Storage
from studies.store.tables import TRIALS

GRACE_SECONDS = 60.0
"""A slot on another host that showed no sign of life for so long, while the database answered, is taken for dead."""
RETRIES = 3
"""How often a trial whose worker died is run again; after that it failed for good."""
ATTEMPTS = "alexsearch:attempts"
"""System attribute of a trial: how many of its runs ended in a crash. A run that was given back does not count."""


@dataclass(frozen=True)
class Counts:
    """How the trials of a study stand. Their sum without `retried` and `paused` is the budget."""

    waiting: int
    running: int
    complete: int
    pruned: int
    failed: int
    """Failed for good."""
    retried: int
    """Runs that crashed and were repeated; the trials themselves are counted above."""
    paused: int = 0
    """Of those that wait, how many have done epochs: they go on from there, if they go on."""

    @property
    def settled(self) -> int:
        return self.complete + self.pruned + self.failed

    @property
    def budget(self) -> int:
        return self.settled + self.waiting + self.running


@dataclass(frozen=True)
class SlotStatus:
    """What a slot was last heard to do."""

    slot_id: str
    host: str
    pid: int
    device: str
    trial: int | None
    """Number of the trial it holds."""
    epoch: int
    images_per_second: float
    age_seconds: float
    """Since its last sign of life, by the database's clock."""
    stale: bool
    """It gave none for too long, or is gone."""
    gone: bool = False
    """Its process was on this machine and has ended."""


class Standing:
    """The queue of one study as it stands."""

    def __init__(self, storage: Storage, study_id: int) -> None:
        self.storage = storage
        self.study_id = study_id

    def unbegun(self) -> bool:
        """Whether a trial waits that has not reported anything yet."""
        waiting = sa.select(TRIALS.c.trial_id).where(
            TRIALS.c.study_id == self.study_id, TRIALS.c.state == TrialState.WAITING, ~pausing.has_reported()
        )
        return self.storage.read(lambda session: session.execute(waiting.limit(1)).first()) is not None

    def unfinished(self) -> list[int]:
        """The numbers of the trials that paused, or were pruned: those that can be thawed."""
        query = sa.select(TRIALS.c.number).where(pausing.unfinished(self.study_id)).order_by(TRIALS.c.number)
        return list(self.storage.read(lambda session: session.scalars(query).all()))

    def machines(self) -> set[str]:
        """Where the study's slots are, as `studies.queue.process.machine` names them."""
        here = sa.select(SLOTS.c.machine).where(SLOTS.c.study_id == self.study_id)
        return {str(name) for name in self.storage.read(lambda session: session.scalars(here).all())}

    def stop_requested(self) -> str | None:
        """ "after", "now", or None if the study is not to stop."""
        return self.storage.read(self._stop)

    def stopped_by(self) -> str | None:
        """The limit that made the study stop, in words; None if none did."""
        why = self.storage.read(lambda session: STUDY_SYSTEM.read(session, self.study_id, STOPPED_BY))
        return why if is_text(why) else None

    def reached(self, within: Limits) -> str | None:
        """Which of these limits the study has reached already, in words; None if it has reached none."""
        return self.storage.read(lambda session: limits.reached(session, self.study_id, within))

    def counts(self) -> Counts:
        """How the study's trials stand now."""

        def body(session: orm.Session) -> Counts:
            states = (
                sa.select(TRIALS.c.state, sa.func.count())
                .where(TRIALS.c.study_id == self.study_id, TRIALS.c.state.in_(list(TrialState)))
                .group_by(TRIALS.c.state)
            )
            by_state: dict[TrialState, int] = dict(session.execute(states).all())
            attribute = TRIAL_SYSTEM.table.c
            attempts = session.scalars(
                sa.select(attribute.value_json)
                .join(TRIALS, TRIALS.c.trial_id == attribute.trial_id)
                .where(TRIALS.c.study_id == self.study_id, attribute.key == ATTEMPTS)
            )
            retried = sum(min(_whole(value), RETRIES) for value in attempts)
            paused = sa.select(sa.func.count()).select_from(TRIALS).where(pausing.paused(self.study_id))
            return Counts(
                paused=session.scalar(paused) or 0,
                waiting=by_state.get(TrialState.WAITING, 0),
                running=by_state.get(TrialState.RUNNING, 0),
                complete=by_state.get(TrialState.COMPLETE, 0),
                pruned=by_state.get(TrialState.PRUNED, 0),
                failed=by_state.get(TrialState.FAIL, 0),
                retried=retried,
            )

        return self.storage.read(body)

    def elsewhere(self) -> list[int]:
        """The numbers of the running trials, if no trial waits and no slot has any of them.

        Another program has asked for them (Optuna's `study.ask`): they never come back to us. Else empty.
        """

        def body(session: orm.Session) -> list[int]:
            left = (
                sa.select(TRIALS.c.number, TRIALS.c.state, SLOTS.c.slot_id)
                .join(SLOTS, SLOTS.c.trial_id == TRIALS.c.trial_id, isouter=True)
                .where(TRIALS.c.study_id == self.study_id, TRIALS.c.state.in_([TrialState.WAITING, TrialState.RUNNING]))
                .order_by(TRIALS.c.number)
            )
            rows = session.execute(left).all()
            ours = any(row.state == TrialState.WAITING or row.slot_id is not None for row in rows)
            return [] if ours else [row.number for row in rows]

        return self.storage.read(body)

    def slots(self) -> list[SlotStatus]:
        """The slots of the study, by host and process."""

        def body(session: orm.Session) -> list[SlotStatus]:
            query = (
                sa.select(SLOTS, TRIALS.c.number, self._now().label("now"))
                .join(TRIALS, TRIALS.c.trial_id == SLOTS.c.trial_id, isouter=True)
                .where(SLOTS.c.study_id == self.study_id)
                .order_by(SLOTS.c.host, SLOTS.c.pid, SLOTS.c.device)
            )
            return [
                SlotStatus(
                    slot_id=row.slot_id,
                    host=row.host,
                    pid=row.pid,
                    device=row.device,
                    trial=row.number,
                    epoch=row.epoch,
                    images_per_second=row.images_per_second,
                    age_seconds=max(0.0, row.now - row.beat_at),
                    stale=gone or row.now - row.beat_at > GRACE_SECONDS,
                    gone=gone,
                )
                for row in session.execute(query)
                if is_number(row.beat_at) and is_number(row.images_per_second) and is_whole(row.epoch)
                for gone in [is_dead_here(row)]
            ]

        return self.storage.read(body)

    def _stop(self, session: orm.Session) -> str | None:
        stop = STUDY_SYSTEM.read(session, self.study_id, STOP)
        return stop if stop in ("after", "now") else None

    def _now(self) -> sa.ColumnElement[float]:
        """Seconds since 1970 by the database's clock, the only one that all hosts share."""
        if self.storage.engine.name == "sqlite":
            return sa.literal_column("((julianday('now') - 2440587.5) * 86400.0)", sa.Float)
        return sa.literal_column("extract(epoch from clock_timestamp())::float", sa.Float)


def _whole(stored: str) -> int:
    """A count as an attribute holds it; 0 if another program has written something else there."""
    return int(stored) if stored.isascii() and stored.isdecimal() and len(stored) < 9 else 0
