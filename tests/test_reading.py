"""Trials read from plain rows are those that Optuna's own storage builds."""

from __future__ import annotations

import math

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

import studies.store.storage
from studies.store.opening import open_storage
from studies.store.storage import Storage


@pytest.fixture
def storage(database_url: str) -> Storage:
    """Two studies, the first with a trial of every kind."""
    storage = open_storage(database_url)
    study = optuna.create_study(storage=storage, study_name="s", directions=["minimize", "maximize"])
    distributions = {
        "z": FloatDistribution(1e-5, 1, log=True),
        "a": CategoricalDistribution([None, "two", 3, True]),
        "n": IntDistribution(1, 9, step=2),
    }
    for number, choice in enumerate([None, "two", 3, True]):
        study.add_trial(
            create_trial(
                values=(math.inf, -1.5) if number else (-math.inf, 2.0),
                params={"z": 0.1 / (number + 1), "a": choice, "n": 2 * number + 1},
                distributions=distributions,
                user_attrs={"config": {"nested": [1, None]}, "reason": "x" * 3000},
                intermediate_values={3: math.nan, 1: math.inf, 2: -math.inf, 7: 0.25},
            )
        )
    study.add_trial(create_trial(state=TrialState.FAIL, system_attrs={"fixed_params": {"z": 0.5}}))
    study.ask().suggest_float("z", 0.1, 0.2, log=True)
    study.enqueue_trial({"z": 0.01})
    optuna.create_study(storage=storage, study_name="other").add_trial(create_trial(value=1.0))
    return storage


def as_texts(trials: list[FrozenTrial]) -> list[str]:
    # NaN is not equal to itself, but its text is; a dict's order is part of the text and may be any.
    return [repr(sorted((key, _sorted(value)) for key, value in vars(trial).items())) for trial in trials]


def _sorted(value: object) -> object:
    return sorted(value.items(), key=str) if isinstance(value, dict) else value


@pytest.mark.parametrize("many", [0, 5000])
def test_plain_rows_give_what_optuna_gives(storage: Storage, many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies.store.storage, "MANY_IDS", many)  # 0: by no ids at all
    study_id = storage.get_study_id_from_name("s")
    asked: list[tuple[tuple[TrialState, ...] | None, set[int], int]] = [
        (None, set(), -1),
        ((TrialState.COMPLETE, TrialState.RUNNING), set(), -1),
        (None, set(), 4),
        (None, {1, 2, 6}, 4),
        ((TrialState.WAITING,), {1, 2}, 3),
        ((), set(), -1),
    ]
    for states, included, after in asked:
        theirs = RDBStorage._get_trials(storage, study_id, states, included, after)
        assert as_texts(storage._get_trials(study_id, states, included, after)) == as_texts(theirs)
        assert states == () or theirs


def test_order_of_parameters_is_the_one_they_were_chosen_in(storage: Storage) -> None:
    (first, *_) = storage._get_trials(1, None, set(), -1)
    assert list(first.params) == list(first.distributions) == ["z", "a", "n"]


def test_study_that_is_not_there_is_said(storage: Storage) -> None:
    with pytest.raises(KeyError):
        storage._get_trials(99, None, set(), -1)
