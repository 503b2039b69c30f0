"""A trial of plain Optuna over a space of ours, which `propose` has no part in."""

from __future__ import annotations

import optuna

from model.config import TrainConfig
from search.space.space import SearchSpace


def suggested(space: SearchSpace, trial: optuna.Trial, seed: int = 0) -> TrainConfig:
    """What the trial trains once it was asked for each value in turn, as an objective function does it."""
    distributions = space.distributions()
    config = space.config(space.params(lambda name: trial._suggest(name, distributions[name])), seed)
    assert isinstance(config, TrainConfig)
    return config
