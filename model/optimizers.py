"""What a step does with its gradients: Keras' own optimizers, each as one fused operation a weight.

Whatever of a configuration is a number is an argument here, so that a program serves all configurations of its family.
A family's accumulators (the momentum; Adam's two moments) are variables that start at zero and belong into the
checkpoint. So do the averages of the weights, if there are any, which start as the weights. The number of steps done
needs none: it follows from the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import tensorflow as tf

from model.config import TrainConfig

Family = Literal["sgd", "momentum", "nesterov", "adam"]

ACCUMULATORS: Final[Mapping[Family, tuple[str, ...]]] = {
    "sgd": (),
    "momentum": ("momentum",),
    "nesterov": ("momentum",),
    "adam": ("mean", "variance"),
}
BETA_1: Final = 0.9
BETA_2: Final = 0.999
EPSILON: Final = 1e-7
"""Keras' defaults for Adam (Kingma and Ba 2015)."""


def family(config: TrainConfig) -> Family:
    """Which update a configuration needs. SGD without momentum has no accumulators, so it is a family of its own."""
    match config.optimizer:
        case "adam" | "adamw":
            return "adam"
        case "nesterov":
            return "nesterov"
        case _:
            return "momentum" if config.momentum else "sgd"


def decay(variable: tf.Variable, rate: tf.Tensor, weight_decay: tf.Tensor) -> None:
    """Weight decay as Keras has it: before the update, and apart from the gradient."""
    variable.assign(variable * (1.0 - rate * weight_decay))


def average(kept: tf.Variable, value: tf.Tensor, decay: tf.Tensor, step: tf.Tensor) -> None:
    """Take a step's weights into their exponential moving average; `step` counts from 1 over the whole training.

    Early on the decay is (1 + step) / (10 + step), as in TensorFlow's ExponentialMovingAverage, so that what the
    weights began with is soon forgotten: the average then is over the last tenth of the steps.
    """
    decay = tf.minimum(decay, (1.0 + step) / (10.0 + step))
    # kept -= (1 - decay) (kept - value), as one pass over memory less than an assignment takes.
    tf.raw_ops.ResourceApplyGradientDescent(var=kept.handle, alpha=1.0 - decay, delta=kept - value)


def update(
    kind: Family,
    variable: tf.Variable,
    accumulators: tuple[tf.Variable, ...],
    gradient: tf.Tensor,
    rate: tf.Tensor,
    momentum: tf.Tensor,
    step: tf.Tensor,
) -> None:
    """One step of one weight; `step` counts from 1 over the whole training, float32."""
    # Each raw operation is one pass over memory where an assignment of an expression takes several.
    match kind:
        case "sgd":
            tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)
        case "momentum" | "nesterov":
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=variable.handle,
                accum=accumulators[0].handle,
                lr=rate,
                grad=gradient,
                momentum=momentum,
                use_nesterov=kind == "nesterov",
            )
        case "adam":
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=accumulators[0].handle,
                v=accumulators[1].handle,
                beta1_power=tf.pow(BETA_1, step),
                beta2_power=tf.pow(BETA_2, step),
                lr=rate,
                beta1=BETA_1,
                beta2=BETA_2,
                epsilon=EPSILON,
                grad=gradient,
            )
