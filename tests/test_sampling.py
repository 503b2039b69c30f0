"""Seeds of a trial derive from the study's seed and its number, and from nothing else."""

from __future__ import annotations

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from search.sampling import StudyOfLessons, build_sampler, sampler_seed, training_seed


def proposed(study_seed: int, number: int) -> float:
    study = optuna.create_study(sampler=build_sampler(study_seed, number))
    return study.ask().suggest_float("x", 0, 1)


def test_same_seed_and_number_propose_the_same() -> None:
    assert proposed(7, 3) == proposed(7, 3)


def test_trials_and_studies_differ() -> None:
    values = {proposed(seed, number) for seed in (0, 1) for number in range(5)}
    assert len(values) == 10


def test_seeds_of_sampling_and_training_are_apart_and_fit_32_bits() -> None:
    seeds = [f(study, number) for f in (sampler_seed, training_seed) for study in (0, 1, 2**31) for number in range(50)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds)


def in_the_failing_half(study_class: type[optuna.Study], reason: str) -> int:
    """How many of 30 proposals are above 1 once 12 trials there have failed and 12 below it have not."""
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(study_name="s", storage=storage, direction="maximize")
    study = study_class("s", storage)
    learning_rate: BaseDistribution = FloatDistribution(1e-3, 1e3, log=True)
    space = {"learning_rate": learning_rate}
    for index in range(12):
        fine, failing = ({"learning_rate": 10 ** (power + index / 5)} for power in (-2.5, 0.2))
        study.add_trial(create_trial(value=0.5, params=fine, distributions=space))
        why = {"reason": reason}
        study.add_trial(create_trial(state=TrialState.FAIL, params=failing, distributions=space, user_attrs=why))
    proposals = []
    for number in range(100, 130):
        study.sampler = build_sampler(0, number)
        proposals.append(study.ask(space).params["learning_rate"])
    return sum(rate > 1 for rate in proposals)


@pytest.mark.parametrize(
    "reason", ["diverged: the loss became inf", "out-of-memory: the kernel killed it; the last of 4 crashes"]
)
def test_sampler_learns_to_avoid_what_failed_for_what_it_was(reason: str) -> None:
    assert in_the_failing_half(StudyOfLessons, reason) < in_the_failing_half(optuna.Study, reason) / 2
