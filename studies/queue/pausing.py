"""Trials that pause: they wait in the queue with what they reported until a worker goes on with them.

A paused trial is a waiting one that has reported something, so nothing that holds for waiting trials changes for it:
the budget counts it, a stop leaves it, a resume finds it. Who goes on with it is decided in the transaction that takes
it. Which one is worth going on with is not known here: `search.choosing.pausing` says so, and gives a list of wishes.

What is kept of it, in user attributes of the trial:

    pauses    an entry a pause: {"epoch": 3, "paused": when, "machine": where its checkpoint lies, "thawed": when}

and of a study, in a system attribute, what a free worker was last told to take.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from optuna.trial import TrialState
from sqlalchemy import orm

from studies.store.attributes import STUDY_SYSTEM, TRIAL_SYSTEM, TRIAL_USER
from studies.store.shapes import is_number
from studies.store.tables import REPORTS, TRIALS

PAUSES = "pauses"
NEXT = "alexsearch:next"
"""System attribute of a study: the trials that a free worker would go on with, best first, None for a new one."""
TO_ITS_END = "alexsearch:to_its_end"
"""System attribute of a trial: somebody asked for all its epochs. It does not pause any more."""
MOST_SHOWN = 10

NEW = None
"""In a list of wishes, a trial that has not begun."""


def has_reported() -> sa.ColumnElement[bool]:
    return TRIALS.c.trial_id.in_(sa.select(REPORTS.c.trial_id))


def paused(study_id: int) -> sa.ColumnElement[bool]:
    """Which trials are paused ones of this study. Those that a stopping worker gave back after some epochs are, too."""
    return sa.and_(TRIALS.c.study_id == study_id, TRIALS.c.state == TrialState.WAITING, has_reported())


def unfinished(study_id: int) -> sa.ColumnElement[bool]:
    """Which trials of this study were not trained to their end, but can be: they paused, or were pruned."""
    pruned = sa.and_(TRIALS.c.study_id == study_id, TRIALS.c.state == TrialState.PRUNED, has_reported())
    return sa.or_(paused(study_id), pruned)


def first_wanted(session: orm.Session, study_id: int, wishes: Sequence[int | None], new: sa.Select[Any]) -> int | None:
    """The id of the first of these trials that is to be had, held for the caller; `new` finds one that waits."""
    for number in wishes:
        query = new.where(~has_reported())
        if number is not NEW:
            query = sa.select(TRIALS.c.trial_id).where(paused(study_id), TRIALS.c.number == number)
            query = query.with_for_update(skip_locked=True)
        found = session.scalar(query)
        if found is not None:
            return int(found)
    return None


def to_its_end(study_id: int) -> sa.Select[Any]:
    """The waiting trials that somebody asked to be trained to their end, the lowest number first."""
    asked = sa.select(TRIAL_SYSTEM.table.c.trial_id).where(TRIAL_SYSTEM.table.c.key == TO_ITS_END)
    waiting = (TRIALS.c.study_id == study_id, TRIALS.c.state == TrialState.WAITING, TRIALS.c.trial_id.in_(asked))
    return sa.select(TRIALS.c.trial_id).where(*waiting).order_by(TRIALS.c.number).limit(1)


def note_pause(session: orm.Session, trial_id: int, epoch: int, machine: str) -> None:
    entry = {"epoch": epoch, "paused": _now(), "machine": machine}
    TRIAL_USER.write(session, trial_id, {PAUSES: [*pauses(TRIAL_USER.read(session, trial_id, PAUSES)), entry]})


def note_thaw(session: orm.Session, trial_id: int) -> None:
    """Tell of a trial that goes on when that was, if it had paused."""
    before = pauses(TRIAL_USER.read(session, trial_id, PAUSES))
    if before and "thawed" not in before[-1]:
        TRIAL_USER.write(session, trial_id, {PAUSES: [*before[:-1], {**before[-1], "thawed": _now()}]})


def note_next(session: orm.Session, study_id: int, wishes: Sequence[int | None]) -> None:
    """Keep what would be taken next, for people to see."""
    shown = list(wishes[:MOST_SHOWN])
    if STUDY_SYSTEM.read(session, study_id, NEXT) != shown:
        STUDY_SYSTEM.write(session, study_id, {NEXT: shown})


def last_report(session: orm.Session, trial_id: int) -> float | None:
    """What the trial reported last; None if that is no finite number."""
    query = sa.select(REPORTS.c.intermediate_value).where(REPORTS.c.trial_id == trial_id)
    value: Any = session.scalar(query.order_by(REPORTS.c.step.desc()).limit(1))
    return float(value) if is_number(value) else None


def pauses(stored: Any) -> list[Mapping[str, Any]]:
    """A trial's pauses as its attribute holds them, in order; another program may have written something else there."""
    return [each for each in stored if isinstance(each, dict)] if isinstance(stored, list) else []


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
