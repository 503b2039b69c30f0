"""What optuna-dashboard offers beside a settled trial: its curves as a picture, its epochs as a table.

They are named when the trial is settled (`studies.store.artifact_names`), and drawn from the database when somebody
first asks for them. So they cost training nothing, can't fail a trial, and are there for a dashboard on another host
than the one that trained.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from studies.record.metric import Metric
from studies.record.panels import measured, panels_of
from studies.record.published import stands_beside
from studies.store.artifact_names import KINDS, PREFIX
from studies.store.attributes import STUDY_USER, TRIAL_SYSTEM
from studies.store.epochs import epoch_history
from studies.store.shapes import STUDY, decoded, odd_ones
from studies.store.storage import Storage
from studies.store.tables import TRIALS
from studies.words import STATE_WORDS


def drawn_artifact(storage: Storage, artifact_id: str) -> bytes | None:
    """The content of an artifact that `named_artifacts` has named; None if no trial has one with this id.

    One thread at a time may draw: matplotlib is not made for several.
    """
    try:
        trial = storage.get_trial(_trial_of(storage, artifact_id))
        name = decoded(trial.system_attrs[PREFIX + artifact_id])["filename"]
    except (KeyError, ValueError, TypeError, OverflowError, RecursionError):
        return None
    history = epoch_history(storage, trial._trial_id)
    if not history or name not in list(KINDS):
        return None
    if name == "epochs.csv":
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, fieldnames=["epoch", *measured(history), "seconds"])
        writer.writeheader()
        writer.writerows(history)
        return table.getvalue().encode()
    from studies.draw.study_picture import trial_picture

    attributes = _attributes_of(storage, trial._trial_id)
    at = f" at {Metric.of(attributes).share(trial.value)}" if trial.value is not None else ""
    outcome, panels = f"{STATE_WORDS[trial.state.name]}{at}", panels_of(attributes, history)
    return trial_picture(trial.number, history, panels, outcome=outcome, paper=stands_beside(attributes))


def _trial_of(storage: Storage, artifact_id: str) -> int:
    """The id of the trial that has this artifact. Raises ValueError if none has.

    It ends the artifact's own, unless the study was brought from another database: then all trials are gone through.
    """
    trial, key = TRIAL_SYSTEM.table.c, PREFIX + artifact_id
    query = sa.select(trial.trial_id).where(trial.key == key)

    def body(session: orm.Session) -> int | None:
        named = session.scalar(query.where(trial.trial_id == int(artifact_id[-12:], 16) % 2**31))
        return session.scalar(query) if named is None else named

    found = storage.read(body)
    if found is None:
        raise ValueError(f"no trial has the artifact {artifact_id}")
    return found


def _attributes_of(storage: Storage, trial_id: int) -> Mapping[str, Any]:
    """What the trial's study was asked; empty if another program changed it."""
    query = sa.select(TRIALS.c.study_id).where(TRIALS.c.trial_id == trial_id)

    def body(session: orm.Session) -> dict[str, Any]:
        study_id = session.scalar(query) or 0
        return {key: STUDY_USER.read(session, study_id, key) for key in ("space", "data")}

    attributes = storage.read(body)
    return {} if odd_ones(attributes, STUDY) else attributes
