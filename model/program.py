"""The two compiled programs that all training consists of: steps of an epoch, and the score on held-out images.

Both loop on the device over data that lies there as uint8; neither sees Python, a queue or an input pipeline between
two steps. Batch size, learning rate, seed and position in the epoch are arguments: nothing of a configuration but its
precision is compiled in, so one trace serves all trials of a process (on a GPU, XLA compiles once a batch size).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from model import forward
from model.data import ImageSet

VALIDATION_BATCH = 500


class DeviceData(NamedTuple):
    """Images on the device, in the form that `model.forward` takes."""

    blocks: tf.Tensor
    """uint8 (N, 17, 17, 12)"""
    moments: tf.Tensor
    """float32 (N, 2): mean and reciprocal deviation of each image"""
    labels: tf.Tensor
    """int32 (N,)"""


def on_device(images: ImageSet) -> DeviceData:
    """Put the images on the device, once."""
    return DeviceData(
        tf.constant(forward.to_blocks(images.images)),
        tf.constant(forward.standardization(images.images)),
        tf.constant(images.labels),
    )


def training_program(
    variables: Mapping[str, tf.Variable], trainable: frozenset[str], precision: str, xla: bool
) -> Callable[..., Any]:
    """The program `(data, order, position, *, last, learning_rate, seed, epoch) -> position`.

    A position is (steps done, sum of their mean losses, images classified correctly). It trains up to step `last` of
    an epoch, of which `order` (int32, steps x batch) holds the images. Sums go on from one call to the next, so that
    where an epoch is cut changes no bit of them. It stops after the first step whose loss is not finite.
    """
    dtype = tf.as_dtype(precision)

    def program(
        data: DeviceData,
        order: tf.Tensor,
        position: tuple[tf.Tensor, tf.Tensor, tf.Tensor],
        *,
        last: tf.Tensor,
        learning_rate: tf.Tensor,
        seed: tf.Tensor,
        epoch: tf.Tensor,
    ) -> Any:
        def unfinished(step: tf.Tensor, loss: tf.Tensor, _correct: tf.Tensor) -> tf.Tensor:
            return (step < last) & tf.math.is_finite(loss)

        def one_step(step: tf.Tensor, loss: tf.Tensor, correct: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            chosen = order[step]
            labels = tf.gather(data.labels, chosen)
            images = forward.prepare(tf.gather(data.blocks, chosen), tf.gather(data.moments, chosen), dtype)
            step_seed = tf.stack([seed, epoch * 2**32 + 2 * tf.cast(step, tf.int64)])
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([variables[name] for name in trainable])
                logits, moving = forward.train(variables, images, step_seed)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                mean_loss = tf.reduce_mean(losses)
            gradients = tape.gradient(mean_loss, {name: variables[name] for name in trainable})
            for name, gradient in gradients.items():
                # One pass over memory where `assign_sub(learning_rate * gradient)` takes two.
                tf.raw_ops.ResourceApplyGradientDescent(var=variables[name].handle, alpha=learning_rate, delta=gradient)
            for name, value in moving.items():
                variables[name].assign(value)
            return step + 1, loss + mean_loss, correct + _correct(logits, labels)

        return tf.while_loop(unfinished, one_step, position, parallel_iterations=1)

    return _compiled(program, xla)


def validation_program(variables: Mapping[str, tf.Variable], precision: str, xla: bool) -> Callable[..., Any]:
    """The program `(data) -> (loss, correct)`: summed loss and number of correct answers over all images of `data`."""
    dtype = tf.as_dtype(precision)

    def program(data: DeviceData) -> Any:
        size = data.labels.shape[0]
        batches = -(-size // VALIDATION_BATCH)
        batch = -(-size // batches)  # even batches, so that the last one repeats as few images as can be

        def one_batch(number: tf.Tensor, loss: tf.Tensor, correct: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            # A whole batch at the end too, for one shape throughout; what came before already counts nothing.
            start = tf.minimum(number * batch, size - batch)
            fresh = start + tf.range(batch) >= number * batch
            blocks, moments, labels = (tensor[start : start + batch] for tensor in data)
            blocks = tf.ensure_shape(blocks, (batch, *forward.BLOCKS))
            logits = forward.infer(variables, forward.prepare(blocks, moments, dtype))
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss += tf.reduce_sum(tf.where(fresh, losses, 0.0))
            return number + 1, loss, correct + _correct(logits, labels, fresh)

        start = (tf.zeros((), tf.int32), tf.zeros((), tf.float32), tf.zeros((), tf.int32))
        _, loss, correct = tf.while_loop(lambda number, *_: number < batches, one_batch, start, parallel_iterations=1)
        return loss, correct

    return _compiled(program, xla)


def epoch_order(seed: int, epoch: int, images: int, batch_size: int) -> tf.Tensor:
    """Which images each step of an epoch takes, int32 (steps, batch_size): a permutation, the remainder dropped."""
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(1, epoch))))
    steps = images // batch_size
    order = random.permutation(images)[: steps * batch_size].astype(np.int32)
    return tf.constant(order.reshape(steps, batch_size))


def _correct(logits: tf.Tensor, labels: tf.Tensor, counted: tf.Tensor | None = None) -> tf.Tensor:
    hits = tf.argmax(logits, axis=1, output_type=tf.int32) == labels
    return tf.math.count_nonzero(hits if counted is None else hits & counted, dtype=tf.int32)


def _compiled(program: Callable[..., Any], xla: bool) -> Callable[..., Any]:
    # On a CPU shapes stay open: a new batch size then needs no new trace, and kernels are as fast (measured).
    compiled: Callable[..., Any] = tf.function(program, autograph=False, jit_compile=xla, reduce_retracing=not xla)
    return compiled
