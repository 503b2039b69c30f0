"""The learning rate of an epoch."""

from __future__ import annotations

from model.config import TrainConfig


def learning_rate(config: TrainConfig, epoch: int) -> float:
    """The learning rate of this epoch, counted from 1.

    A step after epoch n is in force from epoch n + 1 on: the report's [10, 20] with 0.1 trains epochs 1 to 10
    with 0.001, 11 to 20 with 0.0001 and the rest with 0.00001. A warm-up multiplies what the schedule says.
    """
    warm = min(1.0, epoch / (config.warmup_epochs + 1))
    if config.step_epochs is None or config.step_factor is None:
        return config.learning_rate * warm
    if isinstance(config.step_epochs, int):
        steps = (epoch - 1) // config.step_epochs
    else:
        steps = sum(epoch > milestone for milestone in config.step_epochs)
    return float(config.learning_rate * config.step_factor**steps) * warm


def milestones(config: TrainConfig) -> tuple[int, ...]:
    """The epochs after which the learning rate steps down while there is still something to train."""
    if config.step_epochs is None:
        return ()
    if isinstance(config.step_epochs, int):
        return tuple(range(config.step_epochs, config.epochs, config.step_epochs))
    return tuple(milestone for milestone in config.step_epochs if milestone < config.epochs)
