"""The sampler that a space file's `[sampler]` table (`space.samplers`) asks for.

Every trial gets a sampler of its own, whose seed derives from the study's seed and the trial's number: so a study with
one worker can be repeated exactly, and no two workers propose the same first trials.
"""

from __future__ import annotations

from optuna import samplers

from search.choosing import designs
from search.choosing.gp import CurveSampler
from search.choosing.pausing import PausingSampler
from search.choosing.quiet import without_warnings
from search.space.pruners import PauseSpec
from search.space.samplers import GpSpec, GridSpec, QmcSpec, RandomSpec, TpeSpec
from search.space.space import SearchSpace


def build_sampler(space: SearchSpace, number: int, seed: int, attempt: int = 0) -> samplers.BaseSampler:
    """The sampler that proposes the values of trial `number`. `attempt` counts from 0 how often it was asked before.

    `seed` is the trial's and the attempt's own. Grid goes by the study's seed and the number, QMC by the attempt too.
    """
    with without_warnings():  # "multivariate" and "group" call themselves experimental since 2020
        match space.sampler:
            case GpSpec() as spec if isinstance(space.pruner, PauseSpec):
                return PausingSampler(space, number, seed, attempt, spec.n_startup_trials)
            case GpSpec() as spec:
                return CurveSampler(space, number, seed, attempt, spec.n_startup_trials)
            case TpeSpec() as spec:
                # `group` lets it model parameters together that exist in some trials only, and `constant_liar` keeps
                # it away from what other workers are trying right now.
                return samplers.TPESampler(
                    multivariate=True,
                    group=True,
                    constant_liar=True,
                    n_startup_trials=spec.n_startup_trials,
                    n_ei_candidates=spec.n_ei_candidates,
                    seed=seed,
                )
            case RandomSpec():
                return samplers.RandomSampler(seed)
            case QmcSpec() as spec:
                return designs.quasi_random(space, number, attempt, spec.sequence)
            case GridSpec():
                return designs.on_grid(space, number)
