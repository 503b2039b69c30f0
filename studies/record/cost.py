"""What a study cost: the seconds its devices trained, and an estimate of those that pruning saved.

A trial's seconds are those of its recorded epochs, validation included, over all its runs; an epoch that a crash cut
off is in nobody's account, nor is the start of a process. Where several trials share a GPU each counts its own. A
pruned trial saved the epochs that it no longer ran, each at the mean of those that it did.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from optuna.trial import TrialState

from studies.queue.pausing import PAUSES, pauses
from studies.store.attributes import TRIAL_USER
from studies.store.schema import EPOCHS
from studies.store.shapes import decoded, is_amount, is_whole
from studies.store.storage import Storage
from studies.store.tables import TRIALS


@dataclass(frozen=True)
class TrialCost:
    """What one trial took."""

    seconds: float
    saved_seconds: float
    """An estimate; 0 unless it was pruned."""


@dataclass(frozen=True)
class Ledger:
    """What the trials of a study took; those that no epoch is known of are left out."""

    by_trial: Mapping[int, TrialCost]
    """By the trial's number."""
    pauses: int = 0
    """How often a trial paused."""

    @property
    def device_seconds(self) -> float:
        return sum(cost.seconds for cost in self.by_trial.values())

    @property
    def saved_seconds(self) -> float:
        return sum(cost.saved_seconds for cost in self.by_trial.values())


def ledger(storage: Storage, study_id: int) -> Ledger:
    """The account of a study, with its running trials and those given back after some epochs."""
    trial, attribute = TRIALS.c, TRIAL_USER.table.c
    spent = (
        sa.select(
            trial.trial_id,
            trial.number,
            sa.func.sum(EPOCHS.c.seconds).label("seconds"),
            sa.func.count().label("epochs"),
        )
        .join(EPOCHS, EPOCHS.c.trial_id == trial.trial_id)
        .where(trial.study_id == study_id)
        .group_by(trial.trial_id, trial.number)
    )
    configs = (
        sa.select(attribute.trial_id, attribute.value_json)
        .join(TRIALS, trial.trial_id == attribute.trial_id)
        .where(trial.study_id == study_id, trial.state == TrialState.PRUNED, attribute.key == "config")
    )
    paused = (
        sa.select(attribute.value_json)
        .join(TRIALS, trial.trial_id == attribute.trial_id)
        .where(trial.study_id == study_id, attribute.key == PAUSES)
    )
    rows = storage.read(lambda session: session.execute(spent).all())
    stored = storage.read(lambda session: session.execute(configs).all())
    planned = {trial_id: _planned(config) for trial_id, config in stored}
    # A sum of what is no number: another program has written there.
    return Ledger(
        {
            row.number: _cost(row.seconds, row.epochs, planned.get(row.trial_id))
            for row in rows
            if is_amount(row.seconds)
        },
        pauses=sum(map(_pauses, storage.read(lambda session: session.scalars(paused).all()))),
    )


def _planned(stored: str) -> int | None:
    with contextlib.suppress(ValueError, RecursionError):
        return planned_epochs(decoded(stored))
    return None


def planned_epochs(config: Any) -> int | None:
    """How many epochs a trial's `config` has; None if another program keeps something else under that name."""
    epochs = config.get("epochs") if isinstance(config, dict) else None
    return epochs if is_whole(epochs) else None


def _pauses(stored: str) -> int:
    with contextlib.suppress(ValueError, RecursionError):
        return len(pauses(decoded(stored)))
    return 0


def _cost(seconds: float, epochs: int, planned: int | None) -> TrialCost:
    """`planned` is the number of epochs that a pruned trial would have had; None for one that was not pruned."""
    left = max(0, planned - epochs) if planned is not None else 0
    return TrialCost(seconds, left * seconds / epochs)
