"""The two compiled programs that all training consists of: steps of an epoch, and the score on held-out images.

Both loop on the device over data that lies there as uint8; neither sees Python, a queue or an input pipeline between
two steps. Batch size, seed, position in the epoch and every rate are arguments: nothing of a configuration but its
precision and its `Variant` is compiled in, so one trace serves most trials of a process (on a GPU, XLA compiles once a
batch size).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, NamedTuple, get_type_hints

import numpy as np
import tensorflow as tf

from model import augment, forward, optimizers
from model.config import TrainConfig
from model.data import ImageSet

VALIDATION_BATCH = 500


class Variant(NamedTuple):
    """What of a configuration selects a program."""

    optimizer: optimizers.Family
    extras: bool
    """Whether it can decay weights, smooth labels, mirror and shift images. Without, it is the report's and nothing
    more."""
    cuts: bool = False
    """Whether it cuts squares out of images."""
    averages: bool = False
    """Whether it keeps a moving average of the weights."""

    @classmethod
    def of(cls, config: TrainConfig) -> Variant:
        # Only plain SGD has both: a program more to compile for each of the others would save its steps less.
        kind = optimizers.family(config)
        extras = bool(config.weight_decay or config.label_smoothing or config.augmentation != "none")
        return cls(kind, extras or kind != "sgd", augment.cuts(config.augmentation), bool(config.averaging))


class Averages(NamedTuple):
    """The moving averages of all weights, BatchNormalization's moving statistics included."""

    weights: Mapping[str, tf.Variable]
    decay: tf.Variable
    """float32, a scalar: of a step. A variable, since `Settings` are those of every program."""


_Float32 = Annotated[tf.Tensor, tf.float32]
_Int32 = Annotated[tf.Tensor, tf.int32]
_Int64 = Annotated[tf.Tensor, tf.int64]


class Settings(NamedTuple):
    """What the steps of an epoch have in common, as scalars on the device. What is not told here has the same name in
    the configuration."""

    learning_rate: _Float32
    """This epoch's."""
    seed: _Int64
    """Decides augmentation and dropout together with the epoch and the step."""
    epoch: _Int64
    """Counted from 1."""
    dropout: _Float32
    momentum: _Float32
    weight_decay: _Float32
    label_smoothing: _Float32
    flip_chance: _Float32
    reach: _Int32
    """Pixels."""

    @classmethod
    def of(cls, config: TrainConfig, epoch: int, rate: float) -> Settings:
        """Those of an epoch, counted from 1, with this learning rate."""
        values = config.model_dump() | {
            "learning_rate": rate,
            "epoch": epoch,
            "flip_chance": augment.flip_chance(config.augmentation),
            "reach": augment.reach(config.augmentation),
        }
        return cls(**{name: tf.constant(values[name], dtype) for name, dtype in cls.dtypes().items()})

    @classmethod
    def dtypes(cls) -> dict[str, tf.DType]:
        """The type of each on the device."""
        return {name: hint.__metadata__[0] for name, hint in get_type_hints(cls, include_extras=True).items()}


class Position(NamedTuple):
    """How far an epoch has come, as scalars on the device."""

    steps: tf.Tensor
    """int32: steps done"""
    loss: tf.Tensor
    """float32: the sum of their mean losses"""
    correct: tf.Tensor
    """int32: images classified correctly, in training"""


class DeviceData(NamedTuple):
    """Images on the device, in the form that `model.forward` takes."""

    blocks: tf.Tensor
    """uint8 (N, 17, 17, 12)"""
    moments: tf.Tensor
    """float32 (N, 2): mean and reciprocal deviation of each image"""
    labels: tf.Tensor
    """int32 (N,)"""


def _any(dtype: tf.DType, *shape: int | None) -> tf.TensorSpec:
    return tf.TensorSpec(shape, dtype)


# On a CPU the batch size stays open: one trace serves all, and the kernels, chosen when they run, are as fast.
TRAINING_SIGNATURE: Final = (
    DeviceData(_any(tf.uint8, None, *forward.BLOCKS), _any(tf.float32, None, 2), _any(tf.int32, None)),
    _any(tf.int32, None, None),
    Position(_any(tf.int32), _any(tf.float32), _any(tf.int32)),
    _any(tf.int32),
    Settings(**{name: _any(dtype) for name, dtype in Settings.dtypes().items()}),
)


def compiled(program: Callable[..., Any], xla: bool, signature: tuple[Any, ...] | None) -> Callable[..., Any]:
    """A `tf.function` of the program, with XLA or without; without a signature, a trace for each set of shapes."""
    function: Callable[..., Any] = tf.function(program, input_signature=signature, autograph=False, jit_compile=xla)
    return function


def on_device(images: ImageSet) -> DeviceData:
    """Put the images on the device, once."""
    return DeviceData(
        tf.constant(forward.to_blocks(images.images)),
        tf.constant(forward.standardization(images.images)),
        tf.constant(images.labels),
    )


def training_program(
    variables: Mapping[str, tf.Variable],
    accumulators: Mapping[str, tuple[tf.Variable, ...]],
    variant: Variant,
    precision: str,
    xla: bool,
    averages: Averages | None = None,
) -> Callable[..., Any]:
    """The program `(data, order, position, last, settings) -> position`.

    `accumulators` has the weights that are trained, with what the optimizer keeps of each; `averages` is what a variant
    that averages keeps of all.

    It trains up to step `last` of an epoch, of which `order` (int32, steps x batch) holds the images. Sums go on from
    one call to the next, so that where an epoch is cut changes no bit of them. It stops after the first step whose
    loss is not finite.
    """
    dtype = tf.as_dtype(precision)

    def program(
        data: DeviceData,
        order: tf.Tensor,
        position: Position,
        last: tf.Tensor,
        settings: Settings,
    ) -> Any:
        def unfinished(position: Position) -> tf.Tensor:
            return (position.steps < last) & tf.math.is_finite(position.loss)

        def one_step(position: Position) -> tuple[Position]:
            step, loss, correct = position
            chosen = order[step]
            labels = tf.gather(data.labels, chosen)
            step_seed = tf.stack([settings.seed, settings.epoch * 2**32 + 2 * tf.cast(step, tf.int64)])
            blocks = tf.gather(data.blocks, chosen)
            if variant.extras:
                drawn = augment.draw(step_seed, tf.size(chosen), settings.flip_chance, settings.reach)
                blocks = augment.move(blocks, *drawn)
            images = forward.prepare(blocks, tf.gather(data.moments, chosen), dtype)
            if variant.cuts:
                images = augment.cut_out(images, *augment.draw_square(step_seed, tf.size(chosen)))
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([variables[name] for name in accumulators])
                logits, moving = forward.train(variables, images, step_seed, settings.dropout, plain=xla)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                mean_loss = objective = tf.reduce_mean(losses)
                if variant.extras:
                    objective += settings.label_smoothing * smoothing(labels, logits)
            gradients = tape.gradient(objective, {name: variables[name] for name in accumulators})
            done = steps_done(order, step, settings)
            for name, gradient in gradients.items():
                decays = variant.extras and name.endswith("/kernel")
                descend(variant, variables[name], accumulators[name], gradient, settings, done, decays=decays)
            for name, value in moving.items():
                variables[name].assign(value)
            if averages is not None:
                for name, kept in averages.weights.items():
                    optimizers.average(kept, variables[name], averages.decay, done)
            return (Position(step + 1, loss + mean_loss, correct + correct_of(logits, labels)),)

        return tf.while_loop(unfinished, one_step, (position,), parallel_iterations=1)[0]

    return compiled(program, xla, None if xla else TRAINING_SIGNATURE)


def validation_program(
    variables: Mapping[str, tf.Variable], precision: str, xla: bool, *, mirrored: bool = False
) -> Callable[..., Any]:
    """The program `(data) -> (loss, correct)`: summed loss and number of correct answers over all images of `data`.

    With `mirrored`, of the mean of the probabilities for an image and for its mirror image.
    """
    dtype = tf.as_dtype(precision)

    def program(data: DeviceData) -> Any:
        def infer(start: tf.Tensor, batch: int) -> tf.Tensor:
            blocks, moments = (tensor[start : start + batch] for tensor in (data.blocks, data.moments))
            blocks = tf.ensure_shape(blocks, (batch, *forward.BLOCKS))
            images = forward.prepare(blocks, moments, dtype)
            logits = forward.infer(variables, images, plain=xla)
            if not mirrored:
                return logits
            return _log_mean(logits, forward.infer(variables, augment.mirror(images), plain=xla))

        return score(data.labels, VALIDATION_BATCH, infer)

    return compiled(program, xla, None)


def score(labels: tf.Tensor, most: int, infer: Callable[[tf.Tensor, int], tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Summed loss and number of correct answers over all images, `most` at once at the most.

    `infer(start, batch)` gives the logits, float32 (batch, classes), of so many images from `start` on.
    """
    size = labels.shape[0]
    batches = -(-size // most)
    batch = -(-size // batches)  # even batches, so that the last one repeats as few images as can be

    def one_batch(number: tf.Tensor, loss: tf.Tensor, correct: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # A whole batch at the end too, for one shape throughout; what came before already counts nothing.
        start = tf.minimum(number * batch, size - batch)
        fresh = start + tf.range(batch) >= number * batch
        some = labels[start : start + batch]
        logits = infer(start, batch)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(some, logits)
        loss += tf.reduce_sum(tf.where(fresh, losses, 0.0))
        return number + 1, loss, correct + correct_of(logits, some, fresh)

    start = (tf.zeros((), tf.int32), tf.zeros((), tf.float32), tf.zeros((), tf.int32))
    _, loss, correct = tf.while_loop(lambda number, *_: number < batches, one_batch, start, parallel_iterations=1)
    return loss, correct


def steps_done(order: tf.Tensor, step: tf.Tensor, settings: Settings) -> tf.Tensor:
    """How many steps the whole training has done with this one of its epoch, float32."""
    done = (settings.epoch - 1) * tf.shape(order, tf.int64)[0] + tf.cast(step + 1, tf.int64)
    return tf.cast(done, tf.float32)


def descend(
    variant: Variant,
    variable: tf.Variable,
    accumulators: tuple[tf.Variable, ...],
    gradient: tf.Tensor,
    settings: Settings,
    done: tf.Tensor,
    *,
    decays: bool,
) -> None:
    """One step of one weight; `done` is that of `steps_done`."""
    rate = settings.learning_rate
    if decays:
        optimizers.decay(variable, rate, settings.weight_decay)
    optimizers.update(variant.optimizer, variable, accumulators, gradient, rate, settings.momentum, done)


def epoch_order(seed: int, epoch: int, images: int, batch_size: int) -> tf.Tensor:
    """Which images each step of an epoch takes, int32 (steps, batch_size): a permutation, the remainder dropped."""
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(1, epoch))))
    steps = images // batch_size
    order = random.permutation(images)[: steps * batch_size].astype(np.int32)
    return tf.constant(order.reshape(steps, batch_size))


def smoothing(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """What smoothing by 1 would add to the mean loss.

    The cross-entropy with targets (1 - s) one-hot + s / K is that of the labels plus s times the label's logit less the
    mean of all: the logarithms of the partition function cancel.
    """
    own = tf.gather(logits, labels, axis=1, batch_dims=1)
    return tf.reduce_mean(own) - tf.reduce_mean(logits)


def _log_mean(logits: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """The logarithm of the mean of both ones' probabilities: logits of that mean."""
    both = tf.stack([tf.nn.log_softmax(logits), tf.nn.log_softmax(others)])
    return tf.reduce_logsumexp(both, axis=0) - math.log(2)


def correct_of(logits: tf.Tensor, labels: tf.Tensor, counted: tf.Tensor | None = None) -> tf.Tensor:
    """How many of these images are classified correctly, int32; with `counted` (bool), of those alone."""
    hits = tf.argmax(logits, axis=1, output_type=tf.int32) == labels
    return tf.math.count_nonzero(hits if counted is None else hits & counted, dtype=tf.int32)
