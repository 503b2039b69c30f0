"""A trial's values, one at a time, as `optuna.Trial` comes to them, but without writing any of them down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, check_distribution_compatibility
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial


def asking(
    sampler: BaseSampler, study: optuna.Study, trial: FrozenTrial, distributions: Mapping[str, BaseDistribution]
) -> Callable[[str], Any]:
    """The function from a parameter's name to its value, as Optuna holds it.

    `trial` gets the values as they are asked for. It keeps those that it has; of the others, those that it was enqueued
    with come first, then what the sampler proposes for all together, then what it proposes for this one alone.

    The function raises ValueError where the trial has, or was given, what this distribution can't be.
    """
    sampler.before_trial(study, trial)
    enqueued = trial.system_attrs.get("fixed_params", {})

    @cache
    def together() -> tuple[dict[str, BaseDistribution], dict[str, Any]]:
        space = sampler.infer_relative_search_space(study, trial)
        return space, sampler.sample_relative(study, trial, space)

    def proposed(name: str, distribution: BaseDistribution) -> Any:
        space, params = together()
        if name in params:
            check_distribution_compatibility(space[name], distribution)
            if distribution._contains(distribution.to_internal_repr(params[name])):
                return params[name]
        return sampler.sample_independent(study, trial, name, distribution)

    def asked(name: str) -> Any:
        distribution = distributions[name]
        if name in trial.distributions:
            check_distribution_compatibility(trial.distributions[name], distribution)
            return trial.params[name]
        if name in enqueued:
            value = enqueued[name]
        elif distribution.single():
            value = optuna.distributions._get_single_value(distribution)
        else:
            value = without_dust(proposed(name, distribution), distribution)
        try:
            distribution.to_internal_repr(value)
        except ValueError as error:
            raise ValueError(f"{name} = {value!r} can't be trained with: {error}") from None
        trial.distributions[name] = distribution
        trial.params[name] = value
        return value

    return asked


def without_dust(value: Any, distribution: BaseDistribution) -> Any:
    """A value of a range with a step as people write it: 0.3, where reckoning in floats gave 0.30000000000000004."""
    if not isinstance(distribution, FloatDistribution) or distribution.step is None or not isinstance(value, float):
        return value
    low, step = Decimal(str(distribution.low)), Decimal(str(distribution.step))
    return float(low + round((Decimal(value) - low) / step) * step)
