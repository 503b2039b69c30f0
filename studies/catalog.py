"""The studies of a database: made, found and described. What a study was asked is kept in its user attributes.

space     the search space, as `SearchSpace.to_dict` gives it
data      fingerprint, counts and classes of its data
uid       tells this study from any other of the same name
baseline  the number of the trial that got the baseline, 0; absent without one
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import orm

from studies.queue import Counts, Queue
from studies.schema import EPOCHS
from studies.storage import Storage

METRIC = "val_accuracy"


class StudyError(Exception):
    """The study that was asked for is not there, or not ready for what was asked. The message says the way out."""


@dataclass(frozen=True)
class StudyRecord:
    """A study of the database."""

    study_id: int
    name: str
    attributes: Mapping[str, Any]

    @property
    def is_ours(self) -> bool:
        """Whether alexsearch made it: other Optuna studies may live in the same database."""
        return "space" in self.attributes


def all_studies(storage: Storage) -> list[StudyRecord]:
    """Every study of the database, oldest first."""
    found = storage.get_all_studies()
    return [StudyRecord(study._study_id, study.study_name, study.user_attrs) for study in found]


def find_study(storage: Storage, name: str | None) -> StudyRecord:
    """The study called `name`; without a name, the only one there is.

    Raises:
        StudyError: there is none, or without a name, more than one.
    """
    studies = all_studies(storage)
    names = ", ".join(sorted(study.name for study in studies))
    if name is not None:
        for study in studies:
            if study.name == name:
                return study
        there = f"There are: {names}." if studies else "There is none yet: start one with `alexsearch run quick`."
        raise StudyError(f"study {name!r} is not in {storage.name}. {there}")
    ours = [study for study in studies if study.is_ours] or studies
    if not ours:
        raise StudyError(f"no study in {storage.name} yet. Start one with `alexsearch run quick`.")
    if len(ours) > 1:
        raise StudyError(f"{storage.name} has several studies. Say which with --study NAME: {names}.")
    return ours[0]


def open_study(storage: Storage, name: str, attributes: Mapping[str, Any]) -> tuple[StudyRecord, bool]:
    """The study called `name`, made with these attributes where there is none, and whether it was made now.

    Of several processes that make it at once, one's attributes are kept by all.
    """
    with contextlib.suppress(optuna.exceptions.DuplicatedStudyError):
        storage.create_new_study([StudyDirection.MAXIMIZE], name)
    study_id = storage.get_study_id_from_name(name)
    queue = Queue(storage, study_id)

    def body(session: orm.Session) -> bool:
        queue.lock_study(session)
        attribute = models.StudyUserAttributeModel
        if session.scalar(sa.select(attribute.key).where(attribute.study_id == study_id, attribute.key == "uid")):
            return False
        for key, value in {**attributes, "uid": uuid.uuid4().hex}.items():
            session.add(attribute(study_id=study_id, key=key, value_json=json.dumps(value)))
        names = json.dumps([METRIC])  # what Optuna's set_metric_names writes, in the same transaction as the rest
        session.add(models.StudySystemAttributeModel(study_id=study_id, key="study:metric_names", value_json=names))
        return True

    made = storage.transaction(body)
    return StudyRecord(study_id, name, storage.get_study_user_attrs(study_id)), made


def best_trial(storage: Storage, study: StudyRecord) -> FrozenTrial:
    """The complete trial with the highest val_accuracy.

    Raises:
        StudyError: no trial is complete yet.
    """
    try:
        return storage.get_best_trial(study.study_id)
    except ValueError:
        counts = Queue(storage, study.study_id).counts()
        raise StudyError(
            f"study {study.name!r} has no complete trial yet ({described(counts)}). "
            "Wait for one, or go on with `alexsearch run`."
        ) from None


def top_trials(storage: Storage, study_id: int, count: int) -> list[FrozenTrial]:
    """The `count` complete trials with the highest values, the best first; of equals, the earlier."""
    value = models.TrialValueModel
    query = (
        sa.select(value.trial_id)
        .join(models.TrialModel, models.TrialModel.trial_id == value.trial_id)
        .where(models.TrialModel.study_id == study_id, models.TrialModel.state == TrialState.COMPLETE)
        .order_by(value.value.desc(), models.TrialModel.number)
        .limit(count)
    )
    return [storage.get_trial(trial_id) for trial_id in storage.read(lambda session: session.scalars(query).all())]


def epoch_history(storage: Storage, trial_id: int) -> list[dict[str, Any]]:
    """All metrics of every epoch of a trial, from the first; the keys are the columns of `studies.schema.EPOCHS`."""
    query = sa.select(EPOCHS).where(EPOCHS.c.trial_id == trial_id).order_by(EPOCHS.c.epoch)
    rows = storage.read(lambda session: session.execute(query).mappings().all())
    return [{key: value for key, value in row.items() if key != "trial_id"} for row in rows]


def trial_by_number(storage: Storage, study: StudyRecord, number: int) -> FrozenTrial:
    """The complete or pruned trial with this number.

    Raises:
        StudyError: there is none, or it is not finished or failed.
    """
    try:
        trial = storage.get_trial(storage.get_trial_id_from_study_id_trial_number(study.study_id, number))
    except KeyError:
        budget = Queue(storage, study.study_id).counts().budget
        raise StudyError(f"study {study.name!r} has no trial {number}: its numbers are 0 to {budget - 1}.") from None
    if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
        state = trial.state.name.lower().replace("fail", "failed")
        raise StudyError(
            f"trial {number} of study {study.name!r} is {state}: only a complete or pruned one has a value. "
            "`alexsearch best` shows the best."
        )
    return trial


def described(counts: Counts) -> str:
    """The counts in words: "3 of 8 settled: 2 complete, 1 pruned; 1 running, 4 waiting"."""
    settled = [f"{getattr(counts, kind)} {kind}" for kind in ("complete", "pruned", "failed") if getattr(counts, kind)]
    open_ = [f"{getattr(counts, kind)} {kind}" for kind in ("running", "waiting") if getattr(counts, kind)]
    text = f"{counts.settled} of {counts.budget} settled"
    text += f": {', '.join(settled)}" if settled else ""
    text += f"; {', '.join(open_)}" if open_ else ""
    return text + (f"; {counts.retried} retried" if counts.retried else "")
