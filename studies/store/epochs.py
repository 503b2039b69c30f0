"""The epochs of trials, out of our own table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from studies.store.schema import EPOCHS
from studies.store.shapes import decoded, is_number, is_whole
from studies.store.storage import Storage
from studies.store.tables import TRIALS

OURS = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
"""The metrics of a network that alexsearch trains."""
MOST_METRICS = 1000


def epoch_history(storage: Storage, trial_id: int) -> list[dict[str, Any]]:
    """All metrics of every epoch of a trial by name, from the first, with `epoch` and `seconds`.

    A row that holds something else than finite numbers is left out: others write to the same database.
    """
    query = sa.select(EPOCHS).where(EPOCHS.c.trial_id == trial_id).order_by(EPOCHS.c.epoch)
    rows = storage.read(lambda session: session.execute(query).mappings().all())
    return _sound(_epoch(row) for row in rows)


def epochs_of_study(storage: Storage, study_id: int) -> list[dict[str, Any]]:
    """The same of all trials of a study, by trial and epoch, each with the number of its `trial`."""
    query = (
        sa.select(TRIALS.c.number, EPOCHS)
        .join(TRIALS, TRIALS.c.trial_id == EPOCHS.c.trial_id)
        .where(TRIALS.c.study_id == study_id)
        .order_by(TRIALS.c.number, EPOCHS.c.epoch)
    )
    rows = storage.read(lambda session: session.execute(query).mappings().all())
    return _sound({**_epoch(row), "trial": row["number"]} for row in rows)


def _sound(epochs: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [epoch for epoch in epochs if is_whole(epoch["epoch"]) and all(map(is_number, epoch.values()))]


def _epoch(row: sa.RowMapping) -> dict[str, Any]:
    """One row; a value that is none where there is no number."""
    if row["metrics"] is None:
        return {key: value for key, value in row.items() if key not in ("trial_id", "number", "metrics")}
    try:
        metrics = decoded(row["metrics"])
    except (ValueError, RecursionError, TypeError):
        metrics = None
    if not isinstance(metrics, dict) or len(metrics) > MOST_METRICS:
        metrics = {"metrics": None}
    return {**metrics, "epoch": row["epoch"], "seconds": row["seconds"]}


def epoch_row(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The columns for an epoch with these metrics, as `epoch_history` gives them."""
    if all(name in metrics for name in OURS):
        return {name: metrics[name] for name in ("epoch", *OURS, "seconds")}
    others = {name: value for name, value in metrics.items() if name not in ("epoch", "seconds")}
    return {"epoch": metrics["epoch"], "seconds": metrics["seconds"], "metrics": json.dumps(others)}
