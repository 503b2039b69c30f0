"""Seeds of a trial derive from the study's seed and its number, and from nothing else."""

from __future__ import annotations

import optuna

from search.sampling import build_sampler, sampler_seed, training_seed


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
