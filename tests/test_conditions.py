"""`when`: a parameter that exists only where others have certain values, in every kind of space, for every sampler."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from search.base.mistakes import InputError
from search.choosing.proposing import StudyOfLessons, propose
from search.space.space import SearchSpace

optuna.logging.set_verbosity(optuna.logging.WARNING)

IMAGES: dict[str, Any] = {
    "batch_size": {"choices": [16, 32]},
    "learning_rate": {"low": 0.001, "high": 0.1},
    "epochs": 5,
}
SPACES: dict[str, dict[str, Any]] = {
    "AlexNet": {
        "space": {
            **IMAGES,
            "dropout": {"choices": [0.1, 0.5], "when": {"batch_size": 32}},
            "label_smoothing": {"choices": [0.05, 0.1], "when": {"dropout": [0.1]}},
        }
    },
    "model": {
        "model": {"network": "net.py:build"},
        "space": {
            **IMAGES,
            "cells": {"choices": [1, 2], "when": {"batch_size": 32}},
            "width": {"choices": [8, 16], "when": {"cells": [2]}},
        },
    },
    "train": {
        "train": {"function": "t.py:train", "metric": "score", "direction": "maximize"},
        "space": {
            "batch_size": {"choices": [16, 32]},
            "width": {"choices": [8, 16], "when": {"deep": [True]}},
            "deep": {"choices": [True, False], "when": {"batch_size": [32]}},
            "rate": {"low": 0.0, "high": 1.0},
        },
    },
}
# Where the AlexNet's dropout does not exist, it is the paper's 0.5: what asks for that would exist without it.
CHAINS: dict[str, tuple[str, str, Any]] = {
    "AlexNet": ("dropout", "label_smoothing", 0.1),
    "model": ("cells", "width", 2),
    "train": ("deep", "width", True),
}


def space_of(sampler: str = "gp", **tables: Any) -> SearchSpace:
    document = {"study": {"name": "s", "trials": 30, "seed": 1}, "sampler": {"name": sampler}, **tables}
    return SearchSpace.from_dict(document, "my.toml")


@pytest.mark.parametrize("sampler", ["gp", "tpe", "random", "qmc", "grid"])
@pytest.mark.parametrize("kind", list(SPACES))
def test_every_sampler_keeps_a_chain_of_conditions(kind: str, sampler: str) -> None:
    space, storage = space_of(sampler, **SPACES[kind]), optuna.storages.InMemoryStorage()
    study = StudyOfLessons(optuna.create_study(storage=storage, direction="maximize").study_name, storage)
    child, grandchild, value = CHAINS[kind]
    for number in range(20 if sampler == "grid" else 9):
        trial_id = storage.create_new_trial(study._study_id)
        propose(study, trial_id, number, space)
        params = storage.get_trial(trial_id).params
        assert (child in params) is (params["batch_size"] == 32)
        assert (grandchild in params) is (params.get(child) == value)
        storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [number / 10])
    assert {child in trial.params for trial in study.get_trials()} == {True, False}


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"a": {"choices": [1, 2], "when": {"bb": [1]}}, "b": 1}, "[space.a]: when names bb, which is not in [space]."),
        (
            {"a": {"value": 1, "when": {"b": 1}}, "b": {"value": 1, "when": {"a": 1}}},
            "depend on each other in a circle",
        ),
        ({"a": {"value": 1, "when": {"b": [7]}}, "b": {"low": 1, "high": 3}}, "it would never exist"),
        ({"a": {"value": 1, "when": {}}, "b": 1}, "must name parameters with their values"),
        ({"a": {"value": 1, "when": {"b": []}}, "b": 1}, "must name parameters with their values"),
    ],
)
def test_condition_that_makes_no_sense_is_told_in_one_line(space: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as caught:
        space_of(train=SPACES["train"]["train"], space=space)
    (line,) = caught.value.mistakes
    assert told in line
