"""Which sampler proposes values, and the seeds of a trial.

Each trial's seeds derive from the study's seed and the trial's number alone. So a study run by one worker can be
repeated exactly, and no two workers propose the same first trials, as they do where each starts from one seed.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Container

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

_SAMPLING, _TRAINING = 0, 1
LESSONS = ("diverged", "out-of-memory")
"""Reasons of a failure that the same values would bring about again."""


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


class StudyOfLessons(optuna.Study):
    """A study as the sampler sees it: what failed for what it was (it diverged, or took too much memory) is the worst.

    So its neighbourhood is avoided; Optuna's samplers pass over failed trials.
    """

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        trials = [_as_lesson(trial) for trial in super()._get_trials(deepcopy, None, use_cache)]
        return [trial for trial in trials if states is None or trial.state in states]


def _as_lesson(trial: FrozenTrial) -> FrozenTrial:
    if trial.state != TrialState.FAIL or not trial.user_attrs.get("reason", "").startswith(LESSONS):
        return trial
    lesson = copy.copy(trial)
    lesson.state = TrialState.PRUNED  # and without a report: TPE ranks it below every other
    lesson.intermediate_values = {}
    return lesson


def _derived(study_seed: int, number: int, purpose: int) -> int:
    return int(np.random.SeedSequence([study_seed, number, purpose]).generate_state(1)[0])
