"""A study's trials, and their epochs, as the rows of a table that other programs read."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from studies.record.catalog import StudyRecord
from studies.record.cost import ledger, planned_epochs
from studies.store.epochs import epochs_of_study
from studies.store.shapes import ODD, TRIAL
from studies.store.storage import Storage
from studies.words import failure_of, is_searched, state_word

Cell = bool | int | float | str | datetime.datetime | None

PARAM, USER = "params_", "user_attrs_"
"""Before the names of parameters and of attributes that are not ours, as in Optuna's `trials_dataframe`: either may be
called as another column is."""
COST = ("epochs_run", "epochs_planned", "seconds", "images_per_second")
ABOUT = ("device", "host", "started", "ended", "reason", "seed")
KEPT = ("same_as", "resumed_after", "crashes", "data_fingerprint", "git_commit")
"""Attributes that are columns under their own names."""


@dataclass(frozen=True)
class Table:
    """Rows that all have these columns; None is a cell that is empty."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]


def trial_table(storage: Storage, study: StudyRecord) -> Table:
    """One row a trial, by its number.

    The columns depend on what the study searches and on what its trials hold, not on how far it has come: first number,
    state and value, then its parameters, then `COST`, `ABOUT` and `KEPT`, at last what others have written. Several
    objectives are value_0, value_1 and so on. Times are UTC.
    """
    trials = sorted(storage.get_all_trials(study.study_id, deepcopy=False), key=lambda trial: trial.number)
    costs = ledger(storage, study.study_id).by_trial
    count = len(study.directions)
    values = ("value",) if count == 1 else tuple(f"value_{index}" for index in range(count))
    params = _parameters(study, trials)
    others = sorted({key for trial in trials for key, value in trial.user_attrs.items() if _is_others(key, value)})

    def row(trial: FrozenTrial) -> tuple[Cell, ...]:
        stored = trial.user_attrs
        config = stored.get("config")
        config = config if isinstance(config, dict) else {}
        came_to = list(trial.values or ())[:count]
        cost = costs.get(trial.number)
        return (
            trial.number,
            state_word(trial),
            *came_to,
            *[None] * (count - len(came_to)),
            *(_cell(trial.params.get(name)) for name in params),
            stored.get("epochs_run", len(trial.intermediate_values)),
            planned_epochs(config),
            _cell(stored.get("seconds", cost and round(cost.seconds, 3))),
            _cell(stored.get("images_per_second")),
            _cell(stored.get("device")),
            _cell(stored.get("host")),
            _utc(trial.datetime_start),
            _utc(trial.datetime_complete),
            _cell(failure_of(stored)) or None,
            _cell(config.get("seed")),
            *(_cell(stored.get(key)) for key in KEPT),
            *(_cell(stored.get(key)) for key in others),
        )

    columns = (
        *("number", "state", *values, *(PARAM + _text(name) for name in params)),
        *(*COST, *ABOUT, *KEPT, *(USER + _text(key) for key in others)),
    )
    return Table(columns, [row(trial) for trial in trials])


def epoch_table(storage: Storage, study: StudyRecord) -> Table:
    """One row an epoch: the trial's number, the epoch, and all its metrics; by trial and epoch.

    Of another program's study, what its trials reported: trial, epoch (its step) and value.
    """
    if study.is_ours:
        epochs = epochs_of_study(storage, study.study_id)
        columns = tuple(dict.fromkeys(["trial", "epoch", *(key for epoch in epochs for key in epoch)]))
        return Table(columns, [tuple(_cell(epoch.get(key)) for key in columns) for epoch in epochs])
    trials = sorted(storage.get_all_trials(study.study_id, deepcopy=False), key=lambda trial: trial.number)
    rows = [(trial.number, *report) for trial in trials for report in sorted(trial.intermediate_values.items())]
    return Table(("trial", "epoch", "value"), rows)


def _parameters(study: StudyRecord, trials: Sequence[FrozenTrial]) -> list[str]:
    """The space's, in its order, whether a trial has them yet or not; then those that only trials have."""
    space: Mapping[str, Any] = study.attributes["space"]["space"] if study.is_ours else {}
    searched = [name for name, stored in space.items() if is_searched(stored)]
    return list(dict.fromkeys([*searched, *sorted({name for trial in trials for name in trial.params})]))


def _is_others(key: str, value: object) -> bool:
    return key not in TRIAL and key != ODD and isinstance(value, (bool, int, float, str))


def _cell(value: object) -> Cell:
    """A value as a cell holds it: what is neither number nor text, as text."""
    return value if value is None or isinstance(value, (bool, int, float)) else _text(str(value))


def _text(text: str) -> str:
    """Text that UTF-8 can hold: half a surrogate pair, as JSON may have it, becomes an escape."""
    return text.encode(errors="backslashreplace").decode()


def _utc(local: datetime.datetime | None) -> datetime.datetime | None:
    return local and local.astimezone(datetime.UTC)
