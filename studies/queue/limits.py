"""Where a study ends before its trials are used up: its device time is spent, its target is reached, or nothing better
came for a while or is expected.

The limits are those of the `run` that was started last, and hold for all workers on all hosts. They are looked at in
the very transaction that records an epoch or settles a trial, which then has the study stop, as `alexsearch stop --now`
does: no trial is taken after the one that reached a limit. Running ones go back into the queue with their checkpoints;
only if nothing better is expected (`enough`), which a worker says when it would begin another, are they finished.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields

import sqlalchemy as sa
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import orm

from studies.queue.pausing import paused
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
    patience: int | None = None
    """So many trials settled or paused, whatever becomes of them, since one was better than all before it by
    `min_gain`."""
    min_gain: float = 0.0
    """In the metric's own unit."""
    until_expected_gain: float | None = None
    """The sampler expects less than this of the best point that it knows, in the metric's own unit."""


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
        minimised = _minimised(session, study_id)
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
            return f"target {limits.target:g} is reached: trial {found[0]} has {_shown(found[1])}"
    if limits.patience is not None and (why := _impatient(session, study_id, limits.patience, limits.min_gain)):
        return why
    if limits.max_device_hours is not None:
        spent = sa.select(sa.func.sum(EPOCHS.c.seconds)).join(TRIALS, trial.trial_id == EPOCHS.c.trial_id)
        hours = (session.scalar(spent.where(trial.study_id == study_id)) or 0.0) / 3600
        if hours >= limits.max_device_hours:
            return f"max_device_hours {limits.max_device_hours:g} is spent: the trials took {hours:.3g}"
    return None


def enough(session: orm.Session, study_id: int, expected_gain: float) -> bool:
    """Have no further trial be taken if the sampler expects too little of it; whether it does."""
    least = of_study(session, study_id).until_expected_gain
    if least is None or expected_gain >= least:
        return False
    hold_study(session, study_id)
    if STUDY_SYSTEM.read(session, study_id, STOPPED_BY) is None:
        STUDY_SYSTEM.write(
            session, study_id, {STOP: "after", STOPPED_BY: f"gp expects no gain above {least:g}: {expected_gain:.2g}"}
        )
    return True


def _impatient(session: orm.Session, study_id: int, patience: int, min_gain: float) -> str | None:
    """Why the patience is over, in words; None if it is not. Until a trial is complete it does not begin."""
    trial, value = TRIALS.c, VALUES.c
    settled = (
        sa.select(trial.number, trial.state, value.value, value.value_type)
        .join(VALUES, value.trial_id == trial.trial_id, isouter=True)
        .where(trial.study_id == study_id)
        .where(trial.state.in_((TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)) | paused(study_id))
        .order_by(sa.func.coalesce(trial.datetime_complete, trial.datetime_start), trial.number)
    )
    sign = -1 if _minimised(session, study_id) else 1
    best: tuple[int, float] | None = None
    since = 0
    for number, state, reached_value, kind in session.execute(settled):
        since += best is not None
        if state == TrialState.COMPLETE and kind == FINITE and is_number(reached_value):
            gain = math.inf if best is None else sign * (reached_value - best[1])
            if gain > 0 and gain >= min_gain * (1 - 1e-9):  # 0.3 - 0.28 is a bit below 0.02
                best, since = (number, reached_value), 0
    if best is None or since < patience:
        return None
    than = f"is better by {min_gain:g}" if min_gain else "is better"
    return (
        f"patience {patience} is over: of {since} trials settled since, none {than} than "
        f"trial {best[0]}'s {_shown(best[1])}"
    )


def _minimised(session: orm.Session, study_id: int) -> bool:
    direction = session.scalar(sa.select(DIRECTIONS.c.direction).where(DIRECTIONS.c.study_id == study_id))
    return direction == StudyDirection.MINIMIZE


def _shown(value: float) -> str:
    return f"{value:.4f}" if 1e-3 <= value <= 1 else f"{value:.6g}"
