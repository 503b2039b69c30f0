"""Which sampler proposes values, and the seeds of a trial.

Each trial's seeds derive from the study's seed and the trial's number alone. So a study run by one worker can be
repeated exactly, and no two workers propose the same first trials, as they do where each starts from one seed.
"""

from __future__ import annotations

import warnings

import numpy as np
import optuna

_SAMPLING, _TRAINING = 0, 1


def sampler_seed(study_seed: int, number: int) -> int:
    """The sampler's seed for trial `number`."""
    return _derived(study_seed, number, _SAMPLING)


def training_seed(study_seed: int, number: int) -> int:
    """The seed of trial `number`'s weights, image order and dropout."""
    return _derived(study_seed, number, _TRAINING)


def build_sampler(study_seed: int, number: int) -> optuna.samplers.BaseSampler:
    """The sampler that proposes the values of trial `number`: multivariate TPE.

    `group` lets it model the step_* parameters together though they exist in some trials only, and `constant_liar`
    keeps it away from what other workers are trying right now.
    """
    with warnings.catch_warnings():  # "multivariate" and "group" call themselves experimental since 2020
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            multivariate=True, group=True, constant_liar=True, seed=sampler_seed(study_seed, number)
        )


def _derived(study_seed: int, number: int, purpose: int) -> int:
    return int(np.random.SeedSequence([study_seed, number, purpose]).generate_state(1)[0])
