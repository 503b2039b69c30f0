"""Where a study ends before its trials are used up: its device time is spent, or its target is reached.

The limits are those of the `run` that was started last, and hold for all workers on all hosts. They are looked at in
the very transaction that records an epoch or settles a trial, which then has the study stop, as `alexsearch stop --now`
does: no trial is taken after the one that reached a limit. Running ones go back into the queue with their checkpoints.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import sqlalchemy as sa
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import orm

from studies.store.attributes import STUDY_SYSTEM
from studies.store.schema import EPOCHS
from studies.store.shapes import is_number
from studies.store.tables import DIRECTIONS, FINITE, TRIALS, VALUES, hold_study

STOP = "alexsearch:stop"
"""System attribute of a study: "after" takes no new trial, "now" also gives the running ones back; else absent."""
STOPPED_BY = "alexsearch:stopped_by"
"""System attribute of a study: the limit that made it stop, in words; absent if none did."""
LIMITS = "alexsearch:limits"
"""System attribute of a study: its `Limits`."""


@dataclass(frozen=True)
class Limits:
    """What ends a study, next to the number of its trials."""

    max_device_hours: float | None = None
    target: float | None = None
    """A complete trial's value that is this or better."""


def begin(session: orm.Session, study_id: int, limits: Limits) -> None:
    """Give the study these limits in place of those it has, and let its trials be taken again unless one is reached.

    The caller holds the study's row.
    """
    STUDY_SYSTEM.write(session, study_id, {LIMITS: asdict(limits)})
    STUDY_SYSTEM.remove(session, study_id, STOP, STOPPED_BY)
    enforce(session, study_id)


def of_study(session: orm.Session, study_id: int) -> Limits:
    """The limits that the study has; what is no number limits nothing."""
    stored = STUDY_SYSTEM.read(session, study_id, LIMITS)
    known = [field.name for field in fields(Limits)]
    return Limits(**{key: stored[key] for key in known if isinstance(stored, dict) and is_number(stored.get(key))})


def enforce(session: orm.Session, study_id: int) -> None:
    """Have the study stop if one of its limits is reached."""
    limits = of_study(session, study_id)
    if limits == Limits() or not (why := reached(session, study_id, limits)):
        return
    hold_study(session, study_id)  # another worker may be writing the same
    if STUDY_SYSTEM.read(session, study_id, STOPPED_BY) is None:
        STUDY_SYSTEM.write(session, study_id, {STOP: "now", STOPPED_BY: why})


def reached(session: orm.Session, study_id: int, limits: Limits) -> str | None:
    """Which of the limits is reached, in words; None if none is."""
    trial, value = TRIALS.c, VALUES.c
    if limits.target is not None:
        direction = session.scalar(sa.select(DIRECTIONS.c.direction).where(DIRECTIONS.c.study_id == study_id))
        minimised = direction == StudyDirection.MINIMIZE
        good_enough = value.value <= limits.target if minimised else value.value >= limits.target
        query = (
            sa.select(trial.number, value.value)
            .join(VALUES, value.trial_id == trial.trial_id)
            .where(trial.study_id == study_id, trial.state == TrialState.COMPLETE)
            .where(value.value_type == FINITE, good_enough)
            .order_by(trial.number)
            .limit(1)
        )
        if (found := session.execute(query).first()) is not None:
            text = f"{found[1]:.4f}" if 1e-3 <= found[1] <= 1 else f"{found[1]:.6g}"
            return f"target {limits.target:g} is reached: trial {found[0]} has {text}"
    if limits.max_device_hours is not None:
        spent = sa.select(sa.func.sum(EPOCHS.c.seconds)).join(TRIALS, trial.trial_id == EPOCHS.c.trial_id)
        hours = (session.scalar(spent.where(trial.study_id == study_id)) or 0.0) / 3600
        if hours >= limits.max_device_hours:
            return f"max_device_hours {limits.max_device_hours:g} is spent: the trials took {hours:.3g}"
    return None
