"""`[constraints]`: what of a space is left out, kept by every sampler, and told where nothing fits."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from search.base.mistakes import InputError
from search.choosing.designs import grid, most_trials
from search.choosing.given import given_params
from search.choosing.proposing import Proposal, StudyOfLessons, propose
from search.space.constraints import parsed
from search.space.space import SearchSpace, differences

optuna.logging.set_verbosity(optuna.logging.WARNING)

SAMPLERS = ("gp", "tpe", "random", "qmc", "grid")
OURS: dict[str, Any] = {
    "batch_size": {"choices": [16, 32, 64, 128, 256]},
    "learning_rate": {"low": 1e-4, "high": 0.1, "log": True},
    "epochs": {"low": 5, "high": 50, "step": 5},
}
OWN: dict[str, Any] = {
    "width": {"low": 8, "high": 64},
    "optimizer": {"choices": ["adam", "sgd"]},
    "momentum": {"low": 0.0, "high": 0.99, "when": {"optimizer": ["sgd"]}},
    "nesterov": {"choices": [True, False], "when": {"optimizer": ["sgd"]}},
    "rate": {"low": 1e-4, "high": 1.0, "log": True},
}


def space_of(
    *keep: str, space: dict[str, Any] = OURS, sampler: str = "gp", train: bool = False, **tables: Any
) -> SearchSpace:
    document = {
        "study": {"name": "s", "trials": 30, "seed": 3},
        "space": space,
        "sampler": {"name": sampler},
        **({"constraints": {"keep": list(keep)}} if keep else {}),
        **(
            {"train": {"function": "t.py:train", "metric": "loss", "direction": "minimize", "epochs": 3}}
            if train
            else {}
        ),
        **tables,
    }
    return SearchSpace.from_dict(document, "my.toml")


def mistakes(*keep: str, **more: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        space_of(*keep, **more)
    return list(caught.value.mistakes)


class Study:
    """A study of one worker, in memory, each trial of which comes to what `score` says."""

    def __init__(self, space: SearchSpace) -> None:
        self.space, storage = space, optuna.storages.InMemoryStorage()
        name = optuna.create_study(storage=storage, direction=space.direction).study_name
        self.study = StudyOfLessons(name, storage)

    def run(self, trials: int, **given: Any) -> list[Proposal]:
        proposals = []
        for _ in range(trials):
            trial_id = self.study._storage.create_new_trial(self.study._study_id)
            if given:
                self.study._storage.set_trial_system_attr(trial_id, "fixed_params", given)
            number = self.study._storage.get_trial(trial_id).number
            proposals.append(propose(self.study, trial_id, number, self.space))
            params = self.study._storage.get_trial(trial_id).params
            score = sum(value for value in params.values() if isinstance(value, (int, float))) / 100
            self.study._storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [min(1.0, score)])
        return proposals

    @property
    def params(self) -> list[dict[str, Any]]:
        return [trial.params for trial in self.study.get_trials(deepcopy=False)]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_keeps_them(sampler: str) -> None:
    study = Study(space_of("batch_size * epochs <= 1024", "batch_size * learning_rate >= 0.05", sampler=sampler))
    study.run(9)
    assert all(params["batch_size"] * params["epochs"] <= 1024 for params in study.params)
    assert all(params["batch_size"] * params["learning_rate"] >= 0.05 for params in study.params)
    assert len({tuple(params.values()) for params in study.params}) == 9


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_finds_a_hundredth_of_the_space(sampler: str) -> None:
    space = {**OURS, "batch_size": {"low": 16, "high": 1000, "step": 4}}
    study = Study(space_of("0.95 <= batch_size / 113 <= 1.05", space=space, sampler=sampler))
    study.run(7)
    assert {params["batch_size"] for params in study.params} <= {108, 112, 116}
    assert len({tuple(params.values()) for params in study.params}) == 7


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_parameter_that_a_trial_does_not_have_is_not_asked_about(sampler: str) -> None:
    space = {**OWN, "rate": {"low": 0.1, "high": 1.0}}
    study = Study(space_of("momentum * rate <= 0.2", "nesterov == 1", space=space, sampler=sampler, train=True))
    study.run(10)
    assert {params["optimizer"] for params in study.params} == {"adam", "sgd"}
    with_momentum = [params for params in study.params if params["optimizer"] == "sgd"]
    assert all(params["momentum"] * params["rate"] <= 0.2 and params["nesterov"] for params in with_momentum)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_study_with_constraints_can_be_repeated_exactly(sampler: str) -> None:
    space = space_of("batch_size * epochs <= 300", sampler=sampler)
    first, second = Study(space), Study(space)
    assert first.run(7) == second.run(7)


def test_points_of_qmc_go_on_filling_what_is_allowed_evenly() -> None:
    space = {**OURS, "batch_size": 32, "epochs": 5, "dropout": {"low": 0.0, "high": 0.5}}
    study = Study(space_of("dropout >= 0.25", space=space, sampler="qmc"))
    study.run(16)
    counts = [sum(low <= params["dropout"] < low + 0.0625 for params in study.params) for low in (0.25, 0.3125, 0.375)]
    assert all(2 <= count <= 6 for count in counts)


def test_grid_has_only_what_is_allowed() -> None:
    space = space_of("batch_size * epochs <= 256", sampler="grid", space={**OURS, "learning_rate": 0.01})
    allowed = {(b, e) for b in (16, 32, 64, 128, 256) for e in range(5, 51, 5) if b * e <= 256}
    assert {(point["batch_size"], point["epochs"]) for point in grid(space)} == allowed
    assert most_trials(space) == len(allowed)


def test_where_all_that_is_allowed_was_tried_results_are_taken_over() -> None:
    space = {**OURS, "learning_rate": 0.01}
    proposals = Study(space_of("batch_size * epochs <= 160", space=space, sampler="random")).run(8)
    assert sum(proposal.twin is None for proposal in proposals) == 3  # 16 and 5 or 10, 32 and 5
    assert all(proposal.config.model_dump()["batch_size"] * proposal.config.epochs <= 160 for proposal in proposals)


def test_constraints_are_part_of_the_question() -> None:
    free, bound = space_of(), space_of("batch_size * epochs <= 4096")
    assert free.digest() != bound.digest()
    assert differences(free, bound) == [
        '[constraints] keep: was not there, is now ["batch_size * epochs <= 4096"]',
    ]
    assert "constraints" not in free.to_dict()
    assert SearchSpace.from_dict(bound.to_dict()) == bound


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("batch_size * epochs", "compares nothing"),
        ("batch_size <= ", "is no comparison that can be read"),
        ("5 <= 6", "names no parameter"),
        ("epochs <= '7'", "has '7' in it, which is no number"),
        ("epochs <= True", "has True in it, which is no number"),
        ("epochs <= 2j", "has 2j in it, which is no number"),
        ("__import__('os').system('true') == 0", "has "),
        ("epochs.real <= 7", 'has "epochs.real" in it'),
        ("abs(epochs) <= 7", 'has "abs(epochs)" in it'),
        ("(epochs <= 7) <= batch_size", 'has "epochs <= 7" in it'),
        ("epochs in [7]", "in it"),
        ("epochs <= 7 and batch_size <= 16", "compares nothing"),
        ("epochs << 3 <= 7", "has lshift in it"),
        ("(" * 300 + "epochs <= 7", "is no comparison that can be read"),
        ("epochs <= " + "9" * 600, "must have at most 500 letters"),
        ("epochs \x00<= 7", "is no comparison that can be read"),
    ],
)
def test_what_is_no_arithmetic_is_refused_in_one_line(text: str, told: str) -> None:
    (line,) = mistakes("epochs <= 50", text)
    assert line.startswith("my.toml [constraints.keep]: item 2, ")
    assert told in line


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("epochs <= 10 ** 10 ** 10", ", and in some a number in it is too large"),
        ("batch_size <= " + "9" * 400, ", and in some a number in it is too large"),
        ("epochs / (batch_size - batch_size) <= 7", ", and in some it divides by 0"),
        ("(0 - epochs) ** 0.5 > 0", ", and in some a power in it is none: of 0, or of a number below it"),
        ("epochs >= 51", ""),
    ],
)
def test_one_that_is_met_nowhere_is_told_with_its_reason(text: str, told: str) -> None:
    (line,) = mistakes("epochs <= 50", text)
    assert line.startswith("my.toml [constraints.keep]: ")
    assert f"is met by none of 10,008 configurations that were looked at{told}. Loosen it" in line


def test_those_that_are_met_nowhere_together_are_told() -> None:
    (line,) = mistakes("epochs <= 10", "epochs >= 20")
    assert line.startswith("my.toml [constraints]: all of them together are met by none of 10,008 configurations")
    (line,) = mistakes("epochs <= 7", "learning_rate > 0.05", "learning_rate < 0.09", sampler="grid")
    assert "are met by none of 250 configurations of the grid that were looked at" in line


def test_where_it_cannot_be_reckoned_it_is_not_met() -> None:
    space = {**OURS, "dropout": {"choices": [0.0, 0.2]}}
    study = Study(space_of("1 / dropout <= 5", space=space, sampler="random"))
    study.run(9)
    assert {params["dropout"] for params in study.params} == {0.2}


def test_corner_of_the_space_is_enough() -> None:
    space = {**OURS, "dropout": {"low": 0.0, "high": 0.5}, "momentum": {"low": 0.0, "high": 0.9}, "optimizer": "sgd"}
    study = Study(space_of("dropout + momentum <= 0", space=space, sampler="tpe"))
    study.run(3)
    assert all(params["dropout"] == params["momentum"] == 0 for params in study.params)


def test_names_that_are_not_there_or_are_words_are_told_with_the_closest() -> None:
    assert mistakes("batch_sze * epochs <= 7", "schedule <= 3") == [
        'my.toml [constraints.keep]: item 1, "batch_sze * epochs <= 7", names batch_sze, which is not in [space]. '
        "Did you mean batch_size?",
        'my.toml [constraints.keep]: item 2, "schedule <= 3", names schedule, whose values are not all numbers. '
        "Compare others, or use when.",
    ]


def test_baseline_that_breaks_one_is_told() -> None:
    baseline = {"batch_size": 256, "learning_rate": 0.01, "epochs": 50}
    assert mistakes("batch_size * epochs <= 4096", baseline=baseline) == [
        'my.toml [baseline]: is left out by [constraints], "batch_size * epochs <= 4096": batch_size is 256 and epochs '
        "is 50. Change one of the two."
    ]


def test_mistakes_of_the_file_hide_no_mistake_of_the_constraints() -> None:
    lines = mistakes("batch_sze <= 7", space={**OURS, "schedule": "step"})
    assert any("step_epochs is missing" in line for line in lines)
    assert mistakes("epochs <=", "rate <= 7", space={**OURS, "epochs": "seven"})[0].startswith("my.toml [space")


def test_enqueued_values_that_are_left_out_are_told_and_allowed_outside() -> None:
    space = space_of("batch_size * epochs <= 1024")
    with pytest.raises(InputError, match=r'"batch_size \* epochs <= 1024" of \[constraints\] is not met'):
        given_params(space, ["batch_size=256", "epochs=50"])
    assert given_params(space, ["batch_size=256"]) == {"batch_size": 256}  # few epochs may yet meet it
    given = given_params(space, ["batch_size=256", "epochs=50"], outside=True)
    (proposal,) = Study(space).run(1, **given)
    assert "left out by the constraints (batch_size * epochs <= 1024), and trained all the same" in proposal.remark


@pytest.mark.parametrize("sampler", ["gp", "tpe", "random"])
def test_the_rest_of_what_was_enqueued_meets_them(sampler: str) -> None:
    study = Study(space_of("batch_size * epochs <= 1280", sampler=sampler))
    study.run(2, batch_size=128)
    assert all(params["epochs"] <= 10 for params in study.params)


def test_values_are_compared_as_numbers() -> None:
    assert parsed("1 < a <= 2 * b").met({"a": 2, "b": True})
    assert not parsed("1 < a <= 2 * b").met({"a": 2, "b": False})
    assert parsed("a ** 2 == 4").met({"a": -2})
    assert parsed("a // 2 + a % 2 - +a != 0").met({"a": 3})
    assert parsed("a <= b").met({"a": 3}), "b does not exist in it"
