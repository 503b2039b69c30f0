"""Which paused trial is gone on with, and when a new configuration is worth more."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.choosing.pausing import Pausing, PausingSampler, Ranking
from search.space.pruners import PauseSpec
from search.space.space import SearchSpace

RATE: dict[str, Any] = {"rate": {"low": 1e-4, "high": 1.0, "log": True}}
WITH_CONDITION = {**RATE, "kind": {"choices": ["a", "b"]}, "tail": {"low": -1.0, "high": 1.0, "when": {"kind": "b"}}}
PLANNED = 10


def space_of(direction: str = "maximize", searched: dict[str, Any] = RATE) -> SearchSpace:
    return SearchSpace.from_dict(
        {
            "study": {"name": "s", "trials": 99},
            "space": searched,
            "train": {"command": ["-"], "metric": "score", "direction": direction, "epochs": PLANNED},
            "sampler": {"name": "gp", "n_startup_trials": 2},
            "pruner": {"name": "pause"},
        }
    )


def accurate() -> SearchSpace:
    """Of the AlexNet, whose metric is an accuracy."""
    return SearchSpace.from_dict(
        {
            "study": {"name": "s", "trials": 99},
            "space": {
                "batch_size": 32,
                "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
                "schedule": "constant",
                "epochs": PLANNED,
            },
            "sampler": {"name": "gp", "n_startup_trials": 2},
            "pruner": {"name": "pause"},
        }
    )


def trial_of(
    space: SearchSpace,
    number: int,
    course: list[float],
    state: TrialState = TrialState.WAITING,
    params: dict[str, Any] | None = None,
) -> FrozenTrial:
    params = params or {next(iter(space.distributions())): 10.0 ** -(number % 4)}
    distributions = {name: each for name, each in space.distributions().items() if name in params}
    trial = create_trial(
        state=state,
        params=params,
        distributions=distributions,
        value=course[-1] if state == TrialState.COMPLETE else None,
        intermediate_values=dict(enumerate(course, 1)),
    )
    trial.number = number
    return trial


def rising(end: float, epochs: int) -> list[float]:
    return [end * (1 - 0.7**epoch) for epoch in range(1, epochs + 1)]


def study_of(space: SearchSpace, sign: float = 1.0) -> list[FrozenTrial]:
    """One complete trial, and three that paused after three epochs: of these the last is by far the best."""
    ends = {1: 0.2, 2: 0.3, 3: 0.9}
    paused = [trial_of(space, n, [sign * value for value in rising(end, 3)]) for n, end in ends.items()]
    complete = trial_of(space, 0, [sign * value for value in rising(0.5, PLANNED)], TrialState.COMPLETE)
    return [complete, *paused]


@pytest.mark.parametrize(("direction", "sign"), [("maximize", 1.0), ("minimize", -1.0)])
def test_paused_trial_that_promises_most_is_first(direction: str, sign: float) -> None:
    space = space_of(direction)

    ranking = Pausing(space).rank(study_of(space, sign), may_begin=False)

    assert ranking.order[0] == 3


def test_order_is_the_same_for_the_same_trials() -> None:
    space = space_of()

    first, second = (Pausing(space).rank(study_of(space), may_begin=True) for _ in range(2))

    assert first == second
    assert set(first.order) == {1, 2, 3, None}


def test_running_trial_that_asks_is_ranked_with_the_paused() -> None:
    space = space_of()
    *others, best = study_of(space)
    running = trial_of(space, best.number, list(best.intermediate_values.values()), TrialState.RUNNING)

    assert Pausing(space).rank([*others, running], may_begin=False, asking=3).order[0] == 3
    assert 3 not in Pausing(space).rank([*others, running], may_begin=False).order


def test_seconds_count_for_what_is_first() -> None:
    space = space_of()
    alike = [trial_of(space, n, rising(0.5, 3), params={"rate": 0.1}) for n in (1, 2)]
    complete = trial_of(space, 0, rising(0.4, PLANNED), TrialState.COMPLETE)

    for slow in (1, 2):
        costs = {0: 1.0, slow: 50.0, 3 - slow: 1.0}
        ranking = Pausing(space).rank([complete, *alike], lambda trial: costs[trial.number], may_begin=False)  # noqa: B023
        assert ranking.order == (3 - slow, slow)


def test_begins_with_as_many_new_ones_as_the_sampler_starts_with() -> None:
    space = space_of()

    assert Pausing(space).rank([], may_begin=True) == Ranking((None,))
    assert Pausing(space).rank([trial_of(space, 0, [0.1])], may_begin=True).order[0] is None


@pytest.mark.parametrize("wild", [math.inf, -math.inf, math.nan, 1e30])
def test_wild_loss_decides_nothing(wild: float) -> None:
    space = space_of("minimize")
    trials = [*study_of(space, -1.0), trial_of(space, 4, [0.0, wild, wild], TrialState.PRUNED)]

    assert Pausing(space).rank(trials, may_begin=False).order[0] == 3


def test_at_the_end_each_paused_trial_is_either_ranked_or_without_hope() -> None:
    space = space_of()
    complete = [trial_of(space, n, rising(0.9 + 0.01 * n, PLANNED), TrialState.COMPLETE) for n in range(6)]
    flat = [trial_of(space, n, [0.01] * 8, params={"rate": 1e-4}) for n in range(6, 9)]
    best = trial_of(space, 9, rising(0.93, 8), params={"rate": 0.5})

    ranking = Pausing(space).rank([*complete, *flat, best], may_begin=False)

    assert ranking.order[0] == 9
    assert set(ranking.order) | set(ranking.hopeless) == {6, 7, 8, 9}
    assert set(ranking.hopeless) == {6, 7, 8}
    assert "the best trial has" in ranking.hopeless[6]


def test_trials_need_not_have_the_same_parameters() -> None:
    space = space_of(searched=WITH_CONDITION)
    ways = [{"rate": 0.1, "kind": "a"}, {"rate": 0.1, "kind": "b", "tail": 0.5}]
    trials = [trial_of(space, n, rising(0.1 + 0.1 * n, 2), params=params) for n, params in enumerate(ways)]

    assert set(Pausing(space).rank(trials, may_begin=True).order) == {0, 1, None}


def test_rungs_are_ever_further_apart_and_before_the_end() -> None:
    assert Pausing(accurate()).rungs(24) == (1, 2, 3, 5, 8, 13, 21)
    assert Pausing(space_of()).rungs(100) == (1, 10)
    assert Pausing(space_of()).rungs(101) == (1, 10, 100)
    assert Pausing(accurate()).rungs(1) == Pausing(space_of()).rungs(1) == ()


def test_pause_is_a_pruner_of_a_space_file() -> None:
    assert isinstance(space_of().pruner, PauseSpec)


def test_best_of_very_many_trials_is_not_left_out() -> None:
    space = space_of()
    many = [trial_of(space, n, [0.1, 0.1], params={"rate": 10.0 ** -(4 * n / 400)}) for n in range(400)]
    many[390] = trial_of(space, 390, rising(0.9, 3), params=many[390].params)
    many[5] = trial_of(space, 5, rising(0.8, 3), params=many[5].params)

    assert set(Pausing(space).rank(many, may_begin=False).order[:2]) == {5, 390}


def test_first_trials_pause_early_and_the_best_of_them_goes_on_first() -> None:
    space = accurate()
    pausing, begun = Pausing(space), [trial_of(space, n, rising(0.1 + 0.1 * n, 2)) for n in range(3)]
    asking = trial_of(space, 3, rising(0.35, 2), TrialState.RUNNING)

    assert pausing.rank(begun, may_begin=True).order == (None, 2, 1, 0)
    assert pausing.rank([*begun[:2], asking], may_begin=True, asking=3).order[0] is None
    assert pausing.rank([*begun, asking], may_begin=True, asking=3).order[0] == 3
    assert pausing.rank([*begun, trial_of(space, 3, rising(0.2, 2))], may_begin=True).order[0] == 2


def test_trial_without_hope_waits_until_a_slow_starter_shows_what_can_be_gained() -> None:
    space = accurate()
    fast = [trial_of(space, n, [0.9] * PLANNED, TrialState.COMPLETE) for n in range(4)]
    low, slow = trial_of(space, 4, [0.2] * 3), trial_of(space, 5, [0.1] * 3 + [0.95] * 7, TrialState.COMPLETE)

    assert Pausing(space).rank([*fast, low], may_begin=True).order == (None, 4)
    assert Pausing(space).rank([*fast, low, slow], may_begin=True).order == (4, None)


def ranked(number: int, epochs: int, state: TrialState = TrialState.WAITING) -> FrozenTrial:
    """The lower the number, the better."""
    return trial_of(SPACE, number, [1.0 + 0.01 * number] * epochs, state)


SPACE = SearchSpace.from_dict(
    {
        "study": {"name": "s", "trials": 99},
        "space": RATE,
        "train": {"command": ["-"], "metric": "loss", "direction": "minimize", "epochs": 50},
        "pruner": {"name": "pause"},
    }
)


def test_of_a_loss_the_best_tenth_of_a_rung_goes_on_and_the_best_of_the_highest_rung_first() -> None:
    looked = [ranked(n, 1) for n in range(3, 25)]
    further = [ranked(1, 10), ranked(2, 10), ranked(0, 50, TrialState.COMPLETE)]

    order = Pausing(SPACE).rank([*looked, *further], may_begin=True).order

    # 25 came to epoch 1, so the best two go on, which did; of the three that came to epoch 10 only the best does.
    assert order[0] is None
    order = Pausing(SPACE).rank([*looked, *further, *(ranked(n, 1) for n in range(30, 55))], may_begin=True).order
    assert order[:3] == (3, 4, None)
    better = trial_of(SPACE, 2, [0.9] * 10)
    order = Pausing(SPACE).rank([*looked, further[0], better, further[2]], may_begin=True).order
    assert order[:2] == (2, None)


def test_of_a_loss_ten_are_looked_at_before_one_goes_on() -> None:
    nine, asking = [ranked(n, 1) for n in range(9)], ranked(9, 1, TrialState.RUNNING)

    assert Pausing(SPACE).rank(nine, may_begin=True).order[0] is None
    assert Pausing(SPACE).rank([*nine[:8], ranked(8, 1, TrialState.RUNNING)], may_begin=True, asking=8).order[0] is None
    assert Pausing(SPACE).rank([*nine, asking], may_begin=True, asking=9).order[:2] == (0, None)


def test_of_a_loss_one_that_is_past_its_rung_is_judged_by_what_it_had_there() -> None:
    """A run that was stopped gave it back, or training did not wait for the answer."""
    past = trial_of(SPACE, 0, [0.5, 9.0, 9.0])
    late = trial_of(SPACE, 1, [7.0, 0.1])

    assert Pausing(SPACE).rank([past, late, *(ranked(n, 1) for n in range(2, 12))], may_begin=True).order[:2] == (
        0,
        None,
    )


def test_of_a_loss_reach_says_at_the_end_who_may_still_be_the_best() -> None:
    complete = [ranked(n, 50, TrialState.COMPLETE) for n in range(6)]
    worse = trial_of(SPACE, 9, [1.04] * 10)

    assert Pausing(SPACE).rank([*complete, worse], may_begin=True).order == (None, 9)
    ranking = Pausing(SPACE).rank([*complete, worse], may_begin=False)
    assert set(ranking.order) | set(ranking.hopeless) == {9}


def test_new_configuration_learns_from_paused_ones_and_is_planned_for_the_most_epochs() -> None:
    space = SearchSpace.from_dict(
        {
            "study": {"name": "s", "trials": 99},
            "space": {
                "batch_size": 32,
                "learning_rate": {"low": 1e-4, "high": 0.1, "log": True},
                "schedule": "constant",
                "epochs": {"low": 2, "high": 9},
            },
            "sampler": {"name": "gp", "n_startup_trials": 2},
            "pruner": {"name": "pause"},
        }
    )
    study = optuna.create_study(direction="maximize")
    for n in range(4):
        params = {"learning_rate": 10.0 ** -(n % 4 + 1), "epochs": 4}
        study.add_trial(trial_of(space, n, rising(0.1 + 0.2 * n, 3), params=params))
    asking = study.get_trials()[0]
    asking.number = 4

    params = PausingSampler(space, 4, 0, 0, 2).sample_relative(study, asking, {})

    assert params["epochs"] == 9
    assert params["learning_rate"] < 0.01
