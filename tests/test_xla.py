"""The programs as a GPU gets them, compiled by XLA, here on the CPU: they train and score as plain Keras does.

Two steps of a batch of 8, since XLA on a CPU computes slowly. What is random (dropout, and which images are mirrored,
shifted and cut) is other than without XLA, so there is no dropout, and the draws are those of a compiled `draw`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from test_optimizers import keras_optimizer

from model import augment, forward, network
from model.config import DataSpec, TrainConfig
from model.data import Split, load_training, split
from model.device import Device
from model.evaluate import evaluate
from model.program import epoch_order
from model.train import Engine

STEPS, BATCH = 2, 8
CASES: dict[str, dict[str, Any]] = {
    "sgd": {},
    "momentum": {"momentum": 0.9, "weight_decay": 0.05, "augmentation": "flip"},
    "nesterov": {"optimizer": "nesterov", "momentum": 0.9, "label_smoothing": 0.1, "augmentation": "flip_shift"},
    "adamw": {
        "optimizer": "adamw",
        "weight_decay": 0.05,
        "augmentation": "flip_shift_cutout",
        "averaging": 0.5,
        "mirrored": True,
    },
}


@pytest.fixture(scope="module")
def images() -> Split:
    spec = DataSpec(source="synthetic", train_images=STEPS * BATCH, validation_images=20)
    return split(load_training("synthetic", Path()), spec)


@pytest.fixture(scope="module")
def engine(images: Split) -> Engine:
    return Engine(images.train, images.validation, Device("gpu", "this CPU, by XLA", "float32", xla=True, threads=2))


def drawn(seed: tf.Tensor, chance: tf.Tensor, reach: tf.Tensor) -> Any:
    return (*augment.draw(seed, tf.constant(BATCH), chance, reach), *augment.draw_square(seed, tf.constant(BATCH)))


DRAWN = tf.function(drawn, jit_compile=True)


def augmented(images: npt.NDArray[np.uint8], config: TrainConfig, step: int) -> npt.NDArray[np.float32]:
    """A step's images (B, 32, 32, 3) as NumPy makes them: moved, standardised by what they were before, and cut."""
    seed = tf.constant([config.seed, 2**32 + 2 * step], tf.int64)
    chance, reach = augment.flip_chance(config.augmentation), augment.reach(config.augmentation)
    draws = [each.numpy() for each in DRAWN(seed, tf.constant(chance), tf.constant(reach))]
    moments = forward.standardization(images)
    made = []
    for image, (mean, scale), mirrored, down, right, row, column in zip(images, moments, *draws, strict=True):
        turned = image[:, ::-1] if mirrored else image
        moved = np.pad(turned, ((4, 4), (4, 4), (0, 0)), mode="reflect")[4 - down : 36 - down, 4 - right : 36 - right]
        standard = (moved.astype(np.float32) - mean) * scale
        if augment.cuts(config.augmentation):
            standard[max(0, row - 8) : row + 8, max(0, column - 8) : column + 8] = 0
        made.append(standard)
    return np.stack(made)


def trained_by_keras(config: TrainConfig, images: Split) -> tuple[keras.Model, list[dict[str, Any]]]:
    """The network after an epoch of Keras' own training steps, and its weights after each."""
    net = network.build_alexnet(len(images.train.class_names))
    network.assign_weights(net, network.initial_weights(net, config.seed))
    network.set_dropout(net, 0.0)
    behind = keras.Model(net.get_layer("standardize").output, net.output)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=config.label_smoothing)
    behind.compile(keras_optimizer(config), loss)
    one_hot = np.eye(len(images.train.class_names), dtype=np.float32)
    after = []
    for step, chosen in enumerate(epoch_order(config.seed, 1, STEPS * BATCH, BATCH).numpy()):
        behind.train_on_batch(
            augmented(images.train.images[chosen], config, step), one_hot[images.train.labels[chosen]]
        )
        after.append(network.read_weights(net))
    return net, after


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_program_of_xla_trains_and_scores_as_plain_keras(engine: Engine, images: Split, case: str) -> None:
    """The output layer ends within 1% of the way that it went; what is scored is the network that is left."""
    values = {
        "batch_size": BATCH,
        "learning_rate": 1e-4,
        "epochs": 1,
        "dropout": 0.0,
        "precision": "float32",
        "seed": 3,
    }
    config = TrainConfig(**{**values, **CASES[case]})
    result = engine.train(config, lambda _metrics: True)
    ours, begun = network.read_weights(engine.network), network.initial_weights(engine._network, config.seed)
    _, after = trained_by_keras(config, images)
    for name in ("probabilities/kernel", "probabilities/bias", "norm1/moving_mean", "norm1/moving_variance"):
        expected = begun[name]
        for step, weights in enumerate(after, start=1):
            decay = min(config.averaging, (1 + step) / (10 + step))
            expected = decay * expected + (1 - decay) * weights[name]
        way = np.linalg.norm(expected - begun[name])
        assert np.linalg.norm(ours[name] - expected) < 0.01 * way, name
    found = evaluate(engine.network, images.validation)
    assert found.loss == pytest.approx(result.history[0].val_loss, rel=1e-4)
    assert found.accuracy == pytest.approx(result.history[0].val_accuracy, abs=1.5 / found.count)
