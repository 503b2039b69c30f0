"""How fast a study goes, and how long it has to go."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import orm

from studies.queue.standing import Counts, SlotStatus
from studies.store.reading import read_trials
from studies.store.storage import Storage
from studies.store.tables import TRIALS

RECENT = 20
"""How long a trial takes is what the last so many took."""


@dataclass(frozen=True)
class Pace:
    """How fast the study goes."""

    trials_per_hour: float | None
    """None if nobody works on it, or no trial is settled yet."""
    seconds_left: float | None
    images_per_second: float


def pace_of(trials: Sequence[FrozenTrial], counts: Counts, slots: Sequence[SlotStatus], now: datetime.datetime) -> Pace:
    """What is left takes as long as the last trials did, shared by the slots that live."""
    living = [slot for slot in slots if not slot.stale]
    images = sum(slot.images_per_second for slot in living if slot.trial is not None)
    ended = sorted(
        (trial.datetime_complete, (trial.datetime_complete - trial.datetime_start).total_seconds())
        for trial in trials
        if trial.state.is_finished() and trial.datetime_complete and trial.datetime_start
    )[-RECENT:]
    mean = sum(seconds for _, seconds in ended) / len(ended) if ended else 0.0
    if not living or mean <= 0:
        return Pace(None, None, images)
    since = [
        max(0.0, (now - trial.datetime_start).total_seconds())
        for trial in trials
        if trial.state is TrialState.RUNNING and trial.datetime_start
    ]
    left = counts.waiting * mean + sum(max(0.0, mean - seconds) for seconds in since)
    return Pace(3600 * len(living) / mean, left / len(living), images)


def recent_trials(storage: Storage, study_id: int) -> list[FrozenTrial]:
    """What `pace_of` looks at: the trials that run, and the last that were settled."""
    trial = TRIALS.c
    of_study = trial.study_id == study_id
    ended = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    last = sa.select(trial.trial_id).where(of_study, trial.state.in_(ended))
    last = last.order_by(trial.datetime_complete.desc()).limit(RECENT)

    def body(session: orm.Session) -> list[FrozenTrial]:
        ids = session.scalars(last).all()
        return read_trials(session, of_study & (trial.trial_id.in_(ids) | (trial.state == TrialState.RUNNING)))

    return storage.read(body)
