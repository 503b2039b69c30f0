"""A study of `gp` ends once too little is expected of its next trial; the limits in a space file."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from search.base.mistakes import InputError
from search.choosing.proposing import StudyOfLessons, propose
from search.space.space import SearchSpace

optuna.logging.set_verbosity(optuna.logging.WARNING)


def space_of(sampler: str = "gp", **study: Any) -> SearchSpace:
    return SearchSpace.from_dict(
        {
            "study": {"name": "s", "trials": 40, **study},
            "space": {"x": {"low": 0.0, "high": 1.0}},
            "train": {"function": "t.py:train", "metric": "loss", "direction": "minimize"},
            "sampler": {"name": sampler},
        },
        "my.toml",
    )


def test_expectation_falls_as_the_study_learns_and_nothing_is_kept_of_the_trial_that_ends_it() -> None:
    space, storage = space_of(), optuna.storages.InMemoryStorage()
    study = StudyOfLessons(optuna.create_study(storage=storage, direction="minimize").study_name, storage)
    expected: list[float] = []

    def enough(gain: float) -> bool:
        expected.append(gain)
        return gain < 0.002

    for number in range(25):
        trial_id = storage.create_new_trial(study._study_id)
        proposal = propose(study, trial_id, number, space, enough=enough)
        if proposal.ends:
            break
        x = storage.get_trial(trial_id).params["x"]
        storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [(x - 0.3) ** 2])
    assert proposal.ends
    assert storage.get_trial(trial_id).params == {}
    assert number == len(expected) + 5, "the first six go by no model"
    assert expected[-1] < 0.002 <= min(expected[:-1])
    assert study.best_value < 0.002
    storage.set_trial_system_attr(trial_id, "fixed_params", {"x": 0.9})
    assert not propose(study, trial_id, number, space, enough=enough).ends, "what somebody enqueued is trained"


@pytest.mark.parametrize(
    ("study", "sampler", "told"),
    [
        ({"min_gain": 0.1}, "gp", "[study]: min_gain is what patience waits for. Add it, e.g. patience = 20"),
        ({"patience": 0}, "gp", "[study]: patience must be >= 1, but is 0."),
        ({"patience": 2, "min_gain": -1.0}, "gp", "[study]: min_gain must be >= 0, but is -1.0."),
        ({"until_expected_gain": 0.0}, "gp", "[study]: until_expected_gain must be > 0, but is 0.0."),
        (
            {"until_expected_gain": 0.1},
            "tpe",
            '[study]: until_expected_gain is what gp tells, but the sampler is "tpe"',
        ),
    ],
)
def test_limits_that_make_no_sense_are_told(study: dict[str, Any], sampler: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        space_of(sampler, **study)
    (line,) = caught.value.mistakes
    assert line.startswith(f"my.toml {told}")


def test_limits_are_no_part_of_the_question() -> None:
    assert space_of(patience=5, min_gain=0.1, until_expected_gain=0.1).digest() == space_of().digest()
