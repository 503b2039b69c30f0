"""The learning rate of an epoch.

Epochs are counted from 1; E are planned, of which the first W warm up. What each of these schedules gives epoch e is
`learning_rate` times

    constant   1
    step       step_factor ** (steps that came before e)              PyTorch's StepLR and MultiStepLR
    cosine     (1 + cos(pi p)) / 2, where p = (e - 1 - W) / (E - W)   Keras' CosineDecay, PyTorch's CosineAnnealingLR
    linear     1 - p                                                  Keras' PolynomialDecay, PyTorch's LinearLR

Cosine (Loshchilov and Hutter 2017, without restarts) and linear start after the warm-up, at the whole learning rate in
epoch W + 1, and would be at zero in epoch E + 1: the last epoch still trains. Both count an epoch as one step of theirs
(Keras: `decay_steps = E - W`, `alpha = 0`, `warmup_steps = W`; PyTorch: `T_max = total_iters = E - W`). In the warm-up
epoch e has e / (W + 1) of what the schedule says, where cosine and linear then still say 1.
"""

from __future__ import annotations

import math

from model.config import TrainConfig


def learning_rate(config: TrainConfig, epoch: int) -> float:
    """The learning rate of this epoch, counted from 1.

    A step after epoch n is in force from epoch n + 1 on: the report's [10, 20] with 0.1 trains epochs 1 to 10
    with 0.001, 11 to 20 with 0.0001 and the rest with 0.00001. A warm-up multiplies what the schedule says.
    """
    warm = min(1.0, epoch / (config.warmup_epochs + 1))
    if depends_on_epochs(config.schedule):
        done = max(0, epoch - 1 - config.warmup_epochs) / (config.epochs - config.warmup_epochs)
        left = (1 + math.cos(math.pi * done)) / 2 if config.schedule == "cosine" else 1 - done
        return config.learning_rate * left * warm
    if config.step_epochs is None or config.step_factor is None:
        return config.learning_rate * warm
    if isinstance(config.step_epochs, int):
        steps = (epoch - 1) // config.step_epochs
    else:
        steps = sum(epoch > milestone for milestone in config.step_epochs)
    return float(config.learning_rate * config.step_factor**steps) * warm


def depends_on_epochs(schedule: str) -> bool:
    """Whether an epoch's learning rate depends on how many are planned.

    If it does, the first epochs of a longer training are not those of a shorter one.
    """
    return schedule in ("cosine", "linear")


def stretched(config: TrainConfig, epochs: int) -> TrainConfig:
    """The configuration over so many epochs, with its schedule drawn out (or together) to them.

    What is counted in epochs, `step_epochs` and `warmup_epochs`, is scaled alike and rounded; steps stay apart, and an
    epoch after the warm-up is left. Cosine and linear need nothing: they reach over all epochs as they are. Nothing
    else changes: `averaging`, which counts steps, does not either.
    """
    times = epochs / config.epochs
    step = config.step_epochs
    if isinstance(step, int):
        step = max(1, round(step * times))
    elif step is not None:
        rising: list[int] = []
        for milestone in step:
            rising.append(max(round(milestone * times), rising[-1] + 1 if rising else 1))
        step = tuple(rising)
    warm = min(round(config.warmup_epochs * times), epochs - 1)
    return TrainConfig(**{**config.model_dump(), "epochs": epochs, "step_epochs": step, "warmup_epochs": warm})


def milestones(config: TrainConfig) -> tuple[int, ...]:
    """The epochs after which the learning rate steps down while there is still something to train."""
    if config.step_epochs is None:
        return ()
    if isinstance(config.step_epochs, int):
        return tuple(range(config.step_epochs, config.epochs, config.step_epochs))
    return tuple(milestone for milestone in config.step_epochs if milestone < config.epochs)
