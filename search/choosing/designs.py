"""Samplers that go by a plan: trial number n takes the n-th point of it, whoever runs it and whatever came before.

Optuna's own grid and QMC samplers count in the database which point comes next, not in one transaction, so that
parallel workers take the same one; and they know no parameters that only some trials have.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
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
FARTHEST = 2**12
"""So many points of a sequence are looked at for those that constraints allow ..."""
_BLOCK = 2**7
"""... so many at a time."""


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


Sequence = Literal["sobol", "halton"]


def quasi_random(space: SearchSpace, number: int, attempt: int, sequence: Sequence) -> PlannedSampler:
    """Point `number` of a scrambled sequence over all searched parameters, one dimension each.

    Where constraints leave out some, it is point `number` of those that they allow, and each attempt has a sequence of
    its own; beyond those among the first `FARTHEST`, they begin anew.
    """
    if space.constraints:
        return PlannedSampler(_plan(space.searched(), _allowed(space, attempt, sequence).point(number)))
    index = number + attempt * _RETRY
    engine: Any = _engine(space, sequence, scrambling(space.study.seed))
    if sequence == "sobol":
        if index:  # it refuses to skip none
            engine.fast_forward(index)
    else:
        engine.num_generated = index  # its `fast_forward` makes every point on the way: seconds for a retry's millions
    return PlannedSampler(_plan(space.searched(), engine.random(1)[0].tolist()))


def _engine(space: SearchSpace, sequence: Sequence, random: np.random.Generator) -> Any:
    from scipy.stats import qmc

    return {"sobol": qmc.Sobol, "halton": qmc.Halton}[sequence](
        max(1, len(space.searched())), scramble=True, rng=random
    )


def _plan(names: Iterable[str], coordinates: Iterable[float]) -> Callable[[str, BaseDistribution], Any]:
    """The values of a point whose coordinates are from 0 to below 1."""
    point = dict(zip(names, coordinates, strict=False))

    def plan(name: str, distribution: BaseDistribution) -> Any:
        if isinstance(distribution, CategoricalDistribution):
            return distribution.choices[int(point[name] * len(distribution.choices))]
        transform = _SearchSpaceTransform({name: distribution}, transform_0_1=True)
        return transform.untransform(np.array([point[name]]))[name]

    return plan


class _Allowed:
    """The points of a sequence that a space's constraints allow, made as they are asked for."""

    def __init__(self, space: SearchSpace, attempt: int, sequence: Sequence) -> None:
        self._space, self._distributions = space, space.distributions()
        self._engine = _engine(space, sequence, scrambling(space.study.seed, attempt))
        self._points: list[list[float]] = []
        self._made = 0
        self._lock = threading.Lock()

    def point(self, number: int) -> list[float]:
        with self._lock:
            while len(self._points) <= number and self._made < FARTHEST:
                self._made += _BLOCK
                self._points += [point for point in self._engine.random(_BLOCK).tolist() if self._is_allowed(point)]
            return self._points[number % len(self._points)] if self._points else [0.5] * len(self._distributions)

    def _is_allowed(self, point: list[float]) -> bool:
        plan = _plan(self._distributions, point)
        return not self._space.broken(self._space.params(lambda name: plan(name, self._distributions[name])))


_allowed = lru_cache(maxsize=16)(_Allowed)


def on_grid(space: SearchSpace, number: int) -> PlannedSampler:
    """The combination of trial `number`; where there are more trials than combinations, they begin anew."""
    points = grid(space)
    point = points[(number - len(space.baseline or ())) % len(points)] if points else {}

    def plan(name: str, distribution: BaseDistribution) -> Any:
        if name in point:
            return point[name]
        # Only a trial that was enqueued with some values of its own asks for what this combination does not have.
        return distribution.choices[0] if isinstance(distribution, CategoricalDistribution) else distribution.low  # type: ignore[attr-defined]

    return PlannedSampler(plan)


@lru_cache(maxsize=4)
def grid(space: SearchSpace) -> tuple[Mapping[str, int | float | str], ...]:
    """The searched parameters of every combination but the baselines, in the order of the trials."""
    assert isinstance(space.sampler, GridSpec)  # noqa: S101 - for the type checker
    points = [
        {name: encode(parameter, point[name]) for name, parameter in space.searched().items() if name in point}
        for point in combinations(space.parameters(), space.sampler.points)
    ]
    first = space.baseline_params()
    left = [point for point in points if point not in first and not space.broken(point)]
    return tuple(left[index] for index in grid_order(space.study.seed, len(left)))


def most_trials(space: SearchSpace) -> int | None:
    """How many trials the sampler has different values for; None if there is no such number."""
    return len(grid(space)) + len(space.baseline or ()) if isinstance(space.sampler, GridSpec) else None
