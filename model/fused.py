"""BatchNormalization as one operation, which Keras computes of a dozen: most of a small ResNet's time on a CPU.

    with fused(model):
        model(images, training=True)     # while a program is traced

What comes out is the same but for the order of sums, the moving statistics included. It is for tracing alone: outside
of the block the layers are Keras' own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import tensorflow as tf

from model.our_keras import keras

_LEAST_EPSILON: Final = 1.001e-5
"""cuDNN takes none below."""


@contextmanager
def fused(model: keras.Model) -> Iterator[None]:
    """Have the model's own BatchNormalization layers be computed by `normalized` in this block."""
    layers = [layer for layer in model._flatten_layers() if type(layer) is keras.layers.BatchNormalization]
    for layer in layers:
        object.__setattr__(layer, "call", _call_of(layer, layer.call))  # past Keras' tracking
    try:
        yield
    finally:
        for layer in layers:
            object.__delattr__(layer, "call")


def _call_of(layer: Any, plain: Callable[..., Any]) -> Callable[..., Any]:
    def call(inputs: tf.Tensor, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        if mask is None and _can_be(layer, inputs):
            return normalized(layer, inputs, training=bool(training and layer.trainable))
        return plain(inputs, training=training, mask=mask)

    return call


def _can_be(layer: Any, inputs: tf.Tensor) -> bool:
    last = inputs.shape.rank == 4 and layer.axis in (-1, 3)
    plain = layer.scale and layer.center and not layer.synchronized and not getattr(layer, "renorm", False)
    return bool(last and plain and layer.epsilon >= _LEAST_EPSILON and layer.gamma.dtype == "float32")


def normalized(layer: Any, x: tf.Tensor, *, training: bool) -> tf.Tensor:
    """x (B, H, W, C), normalised by the statistics of the batch in training, else by the moving ones.

    In training the moving statistics of the layer are brought up to date.
    """
    mean, variance = layer.moving_mean.value, layer.moving_variance.value
    empty = tf.zeros((0,), tf.float32)
    result, batch_mean, batch_variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=layer.gamma.value,
        offset=layer.beta.value,
        mean=empty if training else mean,
        variance=empty if training else variance,
        epsilon=layer.epsilon,
        is_training=training,
    )
    if training:
        # The fused operation gives the variance with Bessel's correction; Keras' moving variance has none.
        count = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
        kept = layer.momentum
        layer.moving_mean.assign(mean * kept + batch_mean * (1 - kept))
        layer.moving_variance.assign(variance * kept + batch_variance * ((count - 1) / count) * (1 - kept))
    return result
