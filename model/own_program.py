"""The two compiled programs of a network of one's own: as those of `model.program`, over any Keras model.

A trace is of one model: what of it changes between two trainings is in its variables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import tensorflow as tf

from model import augment, forward, program
from model.data import ImageSet
from model.fused import fused
from model.our_keras import keras
from model.own_network import OwnNetwork, Shape

_VALIDATION_PIXELS: Final = program.VALIDATION_BATCH * 32 * 32 * 3
_LEAST_VALIDATION_BATCH: Final = 32


class DeviceImages(NamedTuple):
    """Images on the device, as they are."""

    images: tf.Tensor
    """uint8 (N, H, W, C)"""
    moments: tf.Tensor
    """float32 (N, 2): mean and reciprocal deviation of each image"""
    labels: tf.Tensor
    """int32 (N,)"""


def on_device(images: ImageSet) -> DeviceImages:
    """Put the images on the device, once."""
    moments = tf.constant(forward.standardization(images.images))
    return DeviceImages(tf.constant(images.images), moments, tf.constant(images.labels))


def standardised(images: tf.Tensor, moments: tf.Tensor) -> tf.Tensor:
    """float32 (B, H, W, C): each image less its mean, over its deviation."""
    mean, scale = tf.split(moments[:, :, None, None], 2, axis=1)
    return (tf.cast(images, tf.float32) - mean) * scale


def training_program(
    network: OwnNetwork,
    image_shape: Shape,
    trainable: Mapping[str, keras.Variable],
    accumulators: Mapping[str, tuple[tf.Variable, ...]],
    variant: program.Variant,
    xla: bool,
) -> Callable[..., Any]:
    """As `program.training_program`, over `DeviceImages`.

    Losses that layers add (regularisers) count in what is minimised, and not in the loss that is reported.
    """
    weights = {name: variable.value for name, variable in trainable.items()}

    def run(
        data: DeviceImages,
        order: tf.Tensor,
        position: program.Position,
        last: tf.Tensor,
        settings: program.Settings,
    ) -> Any:
        def unfinished(position: program.Position) -> tf.Tensor:
            return (position.steps < last) & tf.math.is_finite(position.loss)

        def one_step(position: program.Position) -> tuple[program.Position]:
            step, loss, correct = position
            chosen = order[step]
            labels = tf.gather(data.labels, chosen)
            images = tf.gather(data.images, chosen)
            if variant.extras:
                step_seed = tf.stack([settings.seed, settings.epoch * 2**32 + 2 * tf.cast(step, tf.int64)])
                images = augment.move_images(images, step_seed, settings.flip_chance, settings.reach)
            moments = tf.gather(data.moments, chosen)
            if not network.raw:
                images = standardised(images, moments)
            if variant.cuts:
                mean = tf.round(moments[:, 0, None, None, None])  # which is zero once an image is standardised
                images = augment.cut_images(images, step_seed, tf.cast(mean * int(network.raw), images.dtype))
            with fused(network.model), tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(weights)
                logits = network.logits(network.model(images, training=True))
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                mean_loss = objective = tf.reduce_mean(losses)
                if variant.extras:
                    objective += settings.label_smoothing * program.smoothing(labels, logits)
                for added in network.model.losses:
                    objective += tf.cast(added, tf.float32)
            gradients = tape.gradient(objective, weights)
            done = program.steps_done(order, step, settings)
            for name, found in gradients.items():
                if found is None:  # the result does not depend on this weight
                    continue
                variable, gradient = trainable[name], tf.convert_to_tensor(found)
                decays = variant.extras and len(variable.shape) > 1 and not variable.name.endswith("bias")
                program.descend(variant, weights[name], accumulators[name], gradient, settings, done, decays=decays)
                if variable.constraint is not None:
                    weights[name].assign(variable.constraint(weights[name]))
            return (program.Position(step + 1, loss + mean_loss, correct + program.correct_of(logits, labels)),)

        return tf.while_loop(unfinished, one_step, (position,), parallel_iterations=1)[0]

    images, moments = tf.TensorSpec((None, *image_shape), tf.uint8), tf.TensorSpec((None, 2), tf.float32)
    data = DeviceImages(images, moments, tf.TensorSpec((None,), tf.int32))
    return program.compiled(run, xla, None if xla else (data, *program.TRAINING_SIGNATURE[1:]))


def validation_program(network: OwnNetwork, image_shape: Shape, xla: bool) -> Callable[..., Any]:
    """As `program.validation_program`, over `DeviceImages`."""
    most = min(program.VALIDATION_BATCH, max(_LEAST_VALIDATION_BATCH, _VALIDATION_PIXELS // math.prod(image_shape)))

    def run(data: DeviceImages) -> Any:
        def infer(start: tf.Tensor, batch: int) -> tf.Tensor:
            images = tf.ensure_shape(data.images[start : start + batch], (batch, *image_shape))
            if not network.raw:
                images = standardised(images, data.moments[start : start + batch])
            with fused(network.model):
                return network.logits(network.model(images, training=False))

        return program.score(data.labels, most, infer)

    return program.compiled(run, xla, None)
