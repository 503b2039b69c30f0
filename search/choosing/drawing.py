"""Values by chance, those that constraints allow among them, and values as numbers from 0 to 1."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from search.space.samplers import RandomSpec
from search.space.space import SearchSpace

NEAR = 0.1
"""How far what is drawn near a value lies from it: the standard deviation, in parts of a parameter's range; also the
odds of a new choice."""
TRIES = 10_000
"""So many points are drawn in search of allowed ones ..."""
ENOUGH = 50
"""... until there are so many."""


def allowed_near(
    space: SearchSpace,
    near: Mapping[str, Any],
    seed: int,
    tried: Collection[Mapping[str, Any]],
    given: Collection[str] = (),
) -> dict[str, Any]:
    """Params that the space's constraints allow, drawn by chance, and not those of `tried` if there are others.

    They are the nearest to `near` of `ENOUGH`; if the sampler is `random`, any. What is `given` is as in `near`; if
    nothing is allowed beside it, all are.
    """
    rng, distributions = np.random.default_rng(seed), space.distributions()

    def drawn() -> Iterator[dict[str, Any]]:
        for _ in range(TRIES):
            params = space.params(lambda name: near[name] if name in given else draw(rng, distributions[name], None))
            if not space.broken(params):
                yield params

    def distance(params: Mapping[str, Any]) -> float:
        return sum(
            (here - there) ** 2
            for name, distribution in distributions.items()
            for here, there in zip(
                coordinates(distribution, params.get(name)), coordinates(distribution, near.get(name)), strict=True
            )
        )

    found = list(itertools.islice(drawn(), ENOUGH))
    if not found:  # a space was made only after one was found in it, by `allowed`
        found = [dict(near)] if given else list(itertools.islice(space.allowed(), ENOUGH))
    new = [params for params in found if params not in tried] or found
    return new[0] if isinstance(space.sampler, RandomSpec) else min(new, key=distance)


def draw(rng: np.random.Generator, distribution: BaseDistribution, near: Any) -> Any:
    """A value by chance: about `NEAR` of its range away from `near`, or anywhere if that is None."""
    match distribution:
        case CategoricalDistribution(choices=choices):
            keep = near is not None and rng.random() > NEAR
            return near if keep else choices[int(rng.integers(len(choices)))]
        case IntDistribution(log=False, low=low, high=high, step=step):  # every whole number as likely
            drawn = int(rng.integers((high - low) // step + 1)) * step + low
            if near is None:
                return drawn
            moved = round(near + rng.standard_normal() * max(step, NEAR * (high - low)))
            return low + step * round((min(high, max(low, moved)) - low) / step)
        case IntDistribution():
            return round(_draw_between(rng, distribution, near))
        case FloatDistribution():
            return _draw_between(rng, distribution, near)
    raise TypeError(distribution)


def _draw_between(rng: np.random.Generator, distribution: IntDistribution | FloatDistribution, near: Any) -> float:
    low, high, step = distribution.low, distribution.high, distribution.step
    share = float(rng.random())
    if near is not None:
        share = float(np.clip(_share(distribution, near) + NEAR * rng.standard_normal(), 0, 1))
    value = low * (high / low) ** share if distribution.log else low + (high - low) * share
    if step and not distribution.log:
        value = low + step * round((value - low) / step)
    return min(high, max(low, value))


def coordinates(distribution: BaseDistribution, value: Any) -> list[float]:
    if isinstance(distribution, (IntDistribution, FloatDistribution)):
        return [0.5 if value is None else _share(distribution, value)]
    assert isinstance(distribution, CategoricalDistribution)  # noqa: S101 - for the type checker
    choices: Sequence[Any] = distribution.choices
    if all(isinstance(choice, (int, float)) for choice in choices):  # numbers have an order
        return [0.5 if value is None else sorted(choices).index(value) / max(1, len(choices) - 1)]
    return [1 / len(choices) if value is None else float(choice == value) for choice in choices]


def _share(distribution: IntDistribution | FloatDistribution, value: float) -> float:
    low, high = float(distribution.low), float(distribution.high)
    if low == high:
        return 0.5
    if distribution.log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)
