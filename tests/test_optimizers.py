"""The optimizers are Keras' own, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from model import network, optimizers, program
from model.config import DataSpec, TrainConfig
from model.data import Split, load_training, split
from model.device import Device
from model.train import Engine

CONFIGS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd"},
    "sgd with decay": {"optimizer": "sgd", "weight_decay": 0.05},
    "momentum": {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.05},
    "nesterov": {"optimizer": "nesterov", "momentum": 0.8},
    "adam": {"optimizer": "adam"},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.05},
}


def config_of(name: str, **values: Any) -> TrainConfig:
    return TrainConfig(
        **{"batch_size": 25, "learning_rate": 0.02, "epochs": 2, "precision": "float32", **CONFIGS[name], **values}
    )


def keras_optimizer(config: TrainConfig) -> Any:
    values = {"learning_rate": config.learning_rate, "weight_decay": config.weight_decay or None}
    match config.optimizer:
        case "adam" | "adamw":
            optimizer = (
                keras.optimizers.Adam(**values) if config.optimizer == "adam" else keras.optimizers.AdamW(**values)
            )
        case _:
            nesterov = config.optimizer == "nesterov"
            optimizer = keras.optimizers.SGD(**values, momentum=config.momentum, nesterov=nesterov)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


@pytest.mark.parametrize("name", CONFIGS)
def test_thirty_steps_are_those_of_keras(name: str) -> None:
    """Within 1e-6 of the largest weight, which is one rounding of float32 in eight."""
    config = config_of(name)
    random = np.random.default_rng(1)
    ours = tf.Variable(random.standard_normal((40, 30)), dtype=tf.float32)
    theirs = keras.Variable(ours.numpy(), name="kernel")
    optimizer = keras_optimizer(config)
    kind = optimizers.family(config)
    accumulators = tuple(tf.Variable(tf.zeros_like(ours)) for _ in optimizers.ACCUMULATORS[kind])
    rate, momentum, weight_decay = (
        tf.constant(value) for value in (config.learning_rate, config.momentum, config.weight_decay)
    )
    for step in range(1, 31):
        gradient = tf.constant(random.standard_normal((40, 30)) * 10.0 ** random.integers(-3, 2), tf.float32)
        optimizers.decay(ours, rate, weight_decay)
        optimizers.update(kind, ours, accumulators, gradient, rate, momentum, tf.constant(float(step)))
        optimizer.apply([gradient], [theirs])
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-6 * float(tf.reduce_max(tf.abs(theirs))))


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_average_is_tensorflows_exponential_moving_average(decay: float) -> None:
    random = np.random.default_rng(1)
    kept = tf.Variable(random.standard_normal((4, 3)), dtype=tf.float32)
    expected = kept.numpy().astype(np.float64)
    for step in range(1, 40):
        value = random.standard_normal((4, 3)).astype(np.float32)
        optimizers.average(kept, tf.constant(value), tf.constant(decay), tf.constant(float(step)))
        own = min(decay, (1 + step) / (10 + step))
        expected = own * expected + (1 - own) * value
        np.testing.assert_allclose(kept, expected, rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def images() -> Split:
    spec = DataSpec(source="synthetic", train_images=50, validation_images=150)
    return split(load_training("synthetic", Path()), spec)


@pytest.fixture(scope="module")
def engine(images: Split) -> Engine:
    return Engine(images.train, None, Device("cpu", "this CPU", "float32", xla=False, threads=2))


def trained_by_keras(config: TrainConfig, images: Split) -> keras.Model:
    """Two epochs of `fit`'s own training step over the same batches."""
    net = network.build_alexnet(len(images.train.class_names))
    network.assign_weights(net, network.initial_weights(net, config.seed))
    network.set_dropout(net, config.dropout)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=config.label_smoothing)
    net.compile(keras_optimizer(config), loss)
    one_hot = np.eye(len(images.train.class_names), dtype=np.float32)
    for epoch in (1, 2):
        for chosen in program.epoch_order(config.seed, epoch, len(images.train.labels), config.batch_size).numpy():
            net.train_on_batch(images.train.images[chosen], one_hot[images.train.labels[chosen]])
    return net


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rate"), [("momentum", 1e-4), ("adamw", 1e-5)])
def test_whole_training_is_that_of_keras(engine: Engine, images: Split, name: str, rate: float) -> None:
    """Decay, smoothing and the count of steps included: the output layer ends within 1% of the way that it went.

    The rates are small because the network is chaotic: a ReLU that rounding flips moves all gradients before it.
    """
    config = config_of(name, learning_rate=rate, weight_decay=0.5, dropout=0.0, label_smoothing=0.2, seed=4)
    engine.train(config, lambda _metrics: True)
    reference = network.read_weights(trained_by_keras(config, images))
    ours = network.read_weights(engine.network)
    begun = network.initial_weights(engine.network, config.seed)
    for key in ("probabilities/kernel", "probabilities/bias"):
        way = np.linalg.norm(reference[key] - begun[key])
        assert np.linalg.norm(ours[key] - reference[key]) < 0.01 * way, key
