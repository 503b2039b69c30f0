"""The Gaussian process over hyperparameters and epochs: what it proposes, and what it learns from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from plain_optuna import suggested

from search.choosing import gp
from search.choosing.gp import CurveSampler, Floats
from search.choosing.proposing import StudyOfLessons
from search.choosing.samplers import build_sampler
from search.space.pruners import PauseSpec
from search.space.space import SearchSpace

SPACE: dict[str, Any] = {
    "batch_size": {"choices": [8, 16, 64]},
    "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
    "epochs": {"low": 2, "high": 8, "step": 2},
    "schedule": {"choices": ["constant", "step"]},
    "step_epochs": {"choices": [1, [1, 2]]},
    "step_factor": {"low": 0.1, "high": 0.5, "log": True},
    "dropout": {"low": 0.0, "high": 0.6},
    "optimizer": {"choices": ["sgd", "adam", "nesterov"]},
    "momentum": {"low": 0.1, "high": 0.9, "step": 0.1},
}
ONE: dict[str, Any] = {"batch_size": 8, "learning_rate": {"low": 1e-4, "high": 1.0, "log": True}, "epochs": 8}
BEST = 0.01


def space_of(space: Mapping[str, Any], startup: int = 4) -> SearchSpace:
    sampler = {"name": "gp", "n_startup_trials": startup}
    return SearchSpace.from_dict({"study": {"name": "s", "trials": 9}, "space": space, "sampler": sampler}, "s.toml")


def study_of() -> StudyOfLessons:
    storage = optuna.storages.InMemoryStorage()
    return StudyOfLessons(optuna.create_study(storage=storage, direction="maximize").study_name, storage)


def proposed(study: optuna.Study, space: SearchSpace, seed: int = 0, attempt: int = 0) -> dict[str, Any]:
    """The values of a next trial, which stays in the study as running."""
    study.sampler = build_sampler(space, len(study.trials), seed, attempt)
    trial = study.ask()
    suggested(space, trial)
    return trial.params


def told(
    study: optuna.Study,
    space: SearchSpace,
    accuracy: Callable[[dict[str, Any], int], float],
    fixed: Mapping[str, Any] | None = None,
    pruned_after: int | None = None,
) -> None:
    """A trial more, with this accuracy after each epoch."""
    study.sampler = build_sampler(space, len(study.trials), len(study.trials))
    if fixed:
        study.enqueue_trial(dict(fixed))
    trial = study.ask()
    config = suggested(space, trial)
    for epoch in range(1, (pruned_after or config.epochs) + 1):
        trial.report(accuracy(trial.params, epoch), epoch)
    if pruned_after:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, accuracy(trial.params, config.epochs))


def peaked(params: Mapping[str, Any], epoch: int) -> float:
    """Best where the learning rate is `BEST`, and better with every epoch."""
    return float((0.8 - 0.1 * abs(math.log10(params["learning_rate"] / BEST))) * (1 - 0.5**epoch))


def rising(params: Mapping[str, Any], epoch: int) -> float:
    """The better, the larger the learning rate, whatever the epoch."""
    del epoch
    return float(0.1 + 0.1 * math.log10(params["learning_rate"] / 1e-4))


def far(params: Mapping[str, Any]) -> float:
    """How many powers of ten from the best."""
    return abs(math.log10(params["learning_rate"] / BEST))


def test_every_proposal_is_a_point_of_the_space_and_its_seed_decides() -> None:
    space = space_of(SPACE)
    studies = study_of(), study_of()
    for study in studies:
        for _ in range(10):
            told(study, space, lambda params, epoch: params["dropout"] * (1 - 0.5**epoch))
    first = [proposed(studies[0], space, seed) for seed in range(5)]
    assert first == [proposed(studies[1], space, seed) for seed in range(5)]
    assert len({tuple(sorted(params.items())) for params in first}) == 5
    assert all(("step_factor" in params) == (params["schedule"] == "step") for params in first)
    assert all(("momentum" in params) == (params["optimizer"] != "adam") for params in first)
    assert all(round(10 * params.get("momentum", 0.1), 6).is_integer() for params in first)


def test_it_finds_the_best_learning_rate_within_a_dozen_trials() -> None:
    space, study = space_of(ONE), study_of()
    for _ in range(12):
        told(study, space, peaked)
    assert min(far(trial.params) for trial in study.trials) < 0.1
    assert sum(far(trial.params) < 1 for trial in study.trials[4:]) > 4


def test_it_learns_from_pruned_trials_where_not_to_look() -> None:
    """All that it is told lies below 0.03 and was pruned after one epoch; the lower, the worse."""
    space, study = space_of(ONE), study_of()
    for rate in (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03):
        told(
            study,
            space,
            lambda params, _: 0.1 + 0.1 * math.log10(params["learning_rate"] / 1e-4),
            {"learning_rate": rate},
            1,
        )
    assert proposed(study, space)["learning_rate"] > 0.01


def test_it_learns_from_the_epochs_of_a_long_trial_what_short_ones_come_to() -> None:
    """Told of trials of eight epochs only, whose accuracies fall from the second on, it proposes two."""
    space = space_of({**ONE, "epochs": {"low": 2, "high": 8}})
    study = study_of()
    for rate in (1e-4, 1e-3, 0.01, 0.1, 1.0):
        told(study, space, lambda _, epoch: 0.9 - 0.1 * epoch, {"learning_rate": rate, "epochs": 8})
    assert proposed(study, space)["epochs"] <= 3


def test_what_failed_for_what_it_was_is_the_worst() -> None:
    space, study = space_of(ONE), study_of()
    for rate in (1e-4, 1e-3, 0.01):
        told(
            study,
            space,
            lambda params, _: 0.1 + 0.1 * math.log10(params["learning_rate"] / 1e-4),
            {"learning_rate": rate},
        )
    for rate in (0.1, 0.5, 1.0):
        study.enqueue_trial({"learning_rate": rate})
        trial = study.ask()
        suggested(space, trial)
        trial.set_user_attr("failure", "diverged")
        study.tell(trial, state=TrialState.FAIL)
    assert proposed(study, space)["learning_rate"] < 0.1


def test_workers_that_ask_at_the_same_time_are_sent_to_different_places() -> None:
    space, study = space_of(ONE), study_of()
    for _ in range(6):
        told(study, space, peaked)
    assert proposed(study, space, seed=0) != proposed(study, space, seed=0)


def test_asked_again_it_proposes_something_else() -> None:
    space, study = space_of(SPACE), study_of()
    for _ in range(6):
        told(study, space, peaked)
    assert proposed(study, space, 0, 1) != proposed(study, space, 0, 0)


def test_long_studies_are_fitted_by_their_best_and_latest_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[int] = []
    fit = CurveSampler._fitted

    def counted(sampler: CurveSampler, inputs: Floats, values: Floats) -> Any:
        fitted.append(len(values))
        return fit(sampler, inputs, values)

    monkeypatch.setattr(CurveSampler, "_fitted", counted)
    monkeypatch.setattr(gp, "MOST_POINTS", 20)
    space, study = space_of(ONE), study_of()
    for _ in range(15):
        told(study, space, peaked)
    assert sum(far(trial.params) < 0.1 for trial in study.trials[4:]) > 4
    assert 10 <= max(fitted) <= 20


def test_before_anything_was_reported_it_goes_by_the_sequence() -> None:
    space, study = space_of(ONE), study_of()
    rates = {proposed(study, space, 0)["learning_rate"] for _ in range(8)}
    assert len(rates) == 8
    assert isinstance(study.trials[0], FrozenTrial)


@pytest.mark.parametrize("repeats", [False, True])
def test_what_was_tried_is_not_proposed_again_unless_repeats_are_wanted(repeats: bool) -> None:
    space = space_of(
        {"batch_size": 8, "learning_rate": {"choices": [0.001, 0.01, 0.1]}, "epochs": {"low": 1, "high": 2}}
    )
    space = space.model_copy(update={"study": space.study.model_copy(update={"repeats": repeats})})
    study = study_of()
    for rate, epochs in ((0.01, 2), (0.1, 2), (0.001, 2), (0.01, 1), (0.001, 1)):
        told(study, space, peaked, {"learning_rate": rate, "epochs": epochs})
    assert (proposed(study, space) == {"learning_rate": 0.1, "epochs": 1}) == (not repeats)


@pytest.mark.parametrize("seed", range(5))
def test_what_was_tried_is_not_proposed_again_either_where_each_is_planned_for_the_most_epochs(seed: int) -> None:
    rates = [0.0001, 0.001, 0.003, 0.01, 0.02, 0.03, 1.0]
    space = space_of({"batch_size": 8, "learning_rate": {"choices": rates}, "epochs": {"low": 1, "high": 4}})
    study = study_of()
    for rate in rates[:-1]:
        told(study, space, peaked, {"learning_rate": rate, "epochs": 4})
    assert proposed(study, space.model_copy(update={"pruner": PauseSpec()}), seed) == {
        "learning_rate": 1.0,
        "epochs": 4,
    }


def test_trial_that_took_over_a_result_counts_as_what_it_is() -> None:
    space, study = space_of(ONE), study_of()
    told(study, space, peaked, {"learning_rate": 0.01})
    taken_over = study.trials[0]
    sampler = CurveSampler(space, 2, 0, 0, 4)
    twin = optuna.trial.create_trial(params=taken_over.params, distributions=taken_over.distributions, value=0.7)
    assert 0.7 in sampler._observations([taken_over, twin], StudyDirection.MAXIMIZE)[1]


def test_few_trials_do_not_make_a_parameter_look_as_if_its_smallest_change_mattered() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.random((8, 6))
    process = CurveSampler(space_of(ONE), 2, 0, 0, 4)._fitted(inputs, rng.random(8))
    assert process.kernel_.k1.k2.length_scale.min() > 0.3


def test_epoch_under_cosine_is_a_part_of_its_own_trial_and_no_shorter_one() -> None:
    searched = {name: SPACE[name] for name in ("batch_size", "learning_rate", "epochs", "dropout")}
    space = space_of({**searched, "schedule": {"choices": ["constant", "cosine"]}})
    sampler = CurveSampler(space, 2, 0, 0, 4)
    params = {"batch_size": 8, "learning_rate": 0.01, "dropout": 0.1}

    def point(schedule: str, planned: int, epoch: int) -> list[float]:
        return list(sampler._places.point({**params, "schedule": schedule, "epochs": planned}, epoch))

    assert point("constant", 8, 4) == point("constant", 4, 4)
    assert point("cosine", 8, 4) != point("cosine", 4, 4)
    assert point("cosine", 8, 4)[:2] == [point("cosine", 8, 8)[0], 0.5]
    assert point("cosine", 4, 4)[:2] == point("constant", 4, 4)[:2]


def test_space_without_such_a_schedule_has_no_input_for_it() -> None:
    plain, cosine = ({**ONE, "schedule": schedule} for schedule in ("constant", "cosine"))
    sampler = CurveSampler(space_of(plain), 2, 0, 0, 4)
    assert len(sampler._places.point({"learning_rate": 0.1}, 4)) == 2
    assert len(CurveSampler(space_of(cosine), 2, 0, 0, 4)._places.point({"learning_rate": 0.1}, 4)) == 3


def test_trial_that_was_pruned_under_cosine_is_not_taken_for_a_bad_short_one() -> None:
    """Half-way through eight epochs they all have 0.2; those of four end with 0.8, those of eight with 0.7."""
    space, study = space_of({**ONE, "schedule": "cosine", "epochs": {"choices": [4, 8]}}), study_of()

    def late(params: Mapping[str, Any], epoch: int) -> float:
        left = 0.8 if params["epochs"] == 4 else 0.7
        return left if epoch == params["epochs"] else 0.2

    for rate in (0.001, 0.01, 0.1):
        told(study, space, late, {"learning_rate": rate, "epochs": 8}, pruned_after=4)
        told(study, space, late, {"learning_rate": rate, "epochs": 8})
        told(study, space, late, {"learning_rate": rate / 2, "epochs": 4})
    sampler = CurveSampler(space, 9, 0, 0, 4)
    process = sampler._fitted(*sampler._observations(study.trials, study.direction))
    short, long = (process.predict([sampler._places.point({"learning_rate": 0.02, "epochs": n}, n)])[0] for n in (4, 8))
    assert short > long > 0.6
