"""Where a study ends before its trials are used up: its device time is spent, or its target is reached.

The limits are those of the `run` that was started last, and hold for all workers on all hosts. They are looked at in
the very transaction that records an epoch or settles a trial, which then has the study stop, as `alexsearch stop --now`
does: no trial is taken after the one that reached a limit. Running ones go back into the queue with their checkpoints.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import orm

from studies.store.schema import EPOCHS

STOP = "alexsearch:stop"
"""System attribute of a study: "after" takes no new trial, "now" also gives the running ones back; else absent."""
STOPPED_BY = "alexsearch:stopped_by"
"""System attribute of a study: the limit that made it stop, in words; absent where none did."""
LIMITS = "alexsearch:limits"
"""System attribute of a study: its `Limits`."""


@dataclass(frozen=True)
class Limits:
    """What ends a study, next to the number of its trials."""

    max_device_hours: float | None = None
    target: float | None = None
    """The val_accuracy of a complete trial."""


def begin(session: orm.Session, study_id: int, limits: Limits) -> None:
    """Give the study these limits in place of those it has, and let its trials be taken again unless one is reached.

    The caller holds the study's row.
    """
    write(session, study_id, LIMITS, asdict(limits))
    write(session, study_id, STOP, None)
    write(session, study_id, STOPPED_BY, None)
    enforce(session, study_id)


def of_study(session: orm.Session, study_id: int) -> Limits:
    """The limits that the study has."""
    return Limits(**(read(session, study_id, LIMITS) or {}))


def enforce(session: orm.Session, study_id: int) -> None:
    """Have the study stop where one of its limits is reached."""
    limits = of_study(session, study_id)
    if limits == Limits() or not (why := reached(session, study_id, limits)):
        return
    # Another worker may be writing the same: the study's row is held until this transaction ends.
    study = models.StudyModel
    session.execute(sa.update(study).where(study.study_id == study_id).values(study_name=study.study_name))
    if read(session, study_id, STOPPED_BY) is None:
        write(session, study_id, STOP, "now")
        write(session, study_id, STOPPED_BY, why)


def reached(session: orm.Session, study_id: int, limits: Limits) -> str | None:
    """Which of the limits is reached, in words; None where none is."""
    trial, value = models.TrialModel, models.TrialValueModel
    if limits.target is not None:
        query = (
            sa.select(trial.number, value.value)
            .join(value, value.trial_id == trial.trial_id)
            .where(trial.study_id == study_id, trial.state == TrialState.COMPLETE, value.value >= limits.target)
            .order_by(trial.number)
            .limit(1)
        )
        if (found := session.execute(query).first()) is not None:
            return f"target {limits.target:g} is reached: trial {found[0]} has {found[1]:.4f}"
    if limits.max_device_hours is not None:
        spent = sa.select(sa.func.sum(EPOCHS.c.seconds)).join(trial, trial.trial_id == EPOCHS.c.trial_id)
        hours = (session.scalar(spent.where(trial.study_id == study_id)) or 0.0) / 3600
        if hours >= limits.max_device_hours:
            return f"max_device_hours {limits.max_device_hours:g} is spent: the trials took {hours:.3g}"
    return None


def read(session: orm.Session, study_id: int, key: str) -> Any:
    """A system attribute of the study; None where it is absent."""
    attribute = models.StudySystemAttributeModel
    query = sa.select(attribute.value_json).where(attribute.study_id == study_id, attribute.key == key)
    value = session.scalar(query)
    return None if value is None else json.loads(value)


def write(session: orm.Session, study_id: int, key: str, value: Any) -> None:
    """Set a system attribute of the study; None removes it. The caller holds the study's row."""
    attribute = models.StudySystemAttributeModel
    session.execute(sa.delete(attribute).where(attribute.study_id == study_id, attribute.key == key))
    if value is not None:
        session.execute(sa.insert(attribute).values(study_id=study_id, key=key, value_json=json.dumps(value)))
