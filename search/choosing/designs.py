"""Samplers that go by a plan: trial number n takes the n-th point of it, whoever runs it and whatever came before.

Optuna's own grid and QMC samplers count in the database which point comes next, not in one transaction, so that
parallel workers take the same one; and they know no parameters that only some trials have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import optuna
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from search.base.seeds import grid_order, scrambling
from search.space.parameters import combinations, encode
from search.space.samplers import GridSpec
from search.space.space import SearchSpace

_RETRY = 2**20
"""A point that was asked again comes from so much further on in the sequence."""


class PlannedSampler(BaseSampler):
    """Takes each value from a plan, by the parameter's name and its distribution."""

    def __init__(self, plan: Callable[[str, BaseDistribution], Any]) -> None:
        self._plan = plan

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        del study, trial
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        del study, trial, search_space
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        del study, trial
        return self._plan(param_name, param_distribution)


def quasi_random(space: SearchSpace, number: int, attempt: int, sequence: Literal["sobol", "halton"]) -> PlannedSampler:
    """Point `number` of a scrambled sequence over all searched parameters, one dimension each."""
    from scipy.stats import qmc

    searched = list(space.searched())
    dimensions, random, index = max(1, len(searched)), scrambling(space.study.seed), number + attempt * _RETRY
    engine: Any
    if sequence == "sobol":
        engine = qmc.Sobol(dimensions, scramble=True, rng=random)
        if index:  # it refuses to skip none
            engine.fast_forward(index)
    else:
        engine = qmc.Halton(dimensions, scramble=True, rng=random)
        engine.num_generated = index  # its `fast_forward` makes every point on the way: seconds for a retry's millions
    point = dict(zip(searched, engine.random(1)[0].tolist(), strict=False))

    def plan(name: str, distribution: BaseDistribution) -> Any:
        if isinstance(distribution, CategoricalDistribution):
            return distribution.choices[int(point[name] * len(distribution.choices))]
        transform = _SearchSpaceTransform({name: distribution}, transform_0_1=True)
        return transform.untransform(np.array([point[name]]))[name]

    return PlannedSampler(plan)


def on_grid(space: SearchSpace, number: int) -> PlannedSampler:
    """The combination of trial `number`; where there are more trials than combinations, they begin anew."""
    points = grid(space)
    point = points[(number - (space.baseline is not None)) % len(points)] if points else {}

    def plan(name: str, distribution: BaseDistribution) -> Any:
        if name in point:
            return point[name]
        # Only a trial that was enqueued with some values of its own asks for what this combination does not have.
        return distribution.choices[0] if isinstance(distribution, CategoricalDistribution) else distribution.low  # type: ignore[attr-defined]

    return PlannedSampler(plan)


@lru_cache(maxsize=4)
def grid(space: SearchSpace) -> tuple[Mapping[str, int | float | str], ...]:
    """The searched parameters of every combination but the baseline, in the order of the trials."""
    assert isinstance(space.sampler, GridSpec)  # noqa: S101 - for the type checker
    points = [
        {name: encode(parameter, point[name]) for name, parameter in space.searched().items() if name in point}
        for point in combinations(space.parameters(), space.sampler.points)
    ]
    left = [point for point in points if point != space.baseline_params()]
    return tuple(left[index] for index in grid_order(space.study.seed, len(left)))


def most_trials(space: SearchSpace) -> int | None:
    """How many trials the sampler has different values for; None if there is no such number."""
    return len(grid(space)) + (space.baseline is not None) if isinstance(space.sampler, GridSpec) else None
