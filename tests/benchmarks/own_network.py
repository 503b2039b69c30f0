"""How fast is a network of one's own trained? Against Keras `fit` over NumPy arrays in memory, on this CPU.

    python tests/benchmarks/own_network.py [--rounds 5] [--images 8192] [--batch-size 64]

Both train the same network in float32, by SGD, without validation, and take turns round by round, so that what else the
machine does hits both. Each round is one call of `fit` and one training; its first epoch, in which either compiles,
does not count. `fit` gets standardised float32 images, prepared beforehand; ours are uint8 and standardised in each
step. Where other work shares the cores, the seconds of processor time say more than those of the clock: both are told.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from model.config import EpochMetrics, NetworkSpec, TrainConfig
from model.data import ImageSet
from model.device import Device, available_cores, configure, cpu_name

NETWORKS = """
import keras
from keras import layers

def mlp(image_shape, classes):
    return keras.Sequential([
        keras.Input(image_shape), layers.Flatten(), layers.Dense(128, activation="relu"),
        layers.Dense(128, activation="relu"), layers.Dense(classes),
    ])

def resnet(image_shape, classes):
    image = keras.Input(image_shape)
    x = layers.Conv2D(16, 3, padding="same", use_bias=False)(image)
    for number in range(3):
        width, stride = 16 * 2**number, 1 if number == 0 else 2
        shortcut = layers.Conv2D(width, 1, strides=stride, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Add()([shortcut, layers.Conv2D(width, 3, padding="same", use_bias=False)(x)])
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.BatchNormalization()(x)))
    return keras.Model(image, layers.Dense(classes)(x))
"""
RATE = 0.01


class Took(NamedTuple):
    """Seconds that an epoch took."""

    clock: float
    processor: float


class Stopwatch:
    """Is pressed at the end of each epoch."""

    def __init__(self) -> None:
        self._pressed: list[tuple[float, float]] = []

    def press(self) -> None:
        self._pressed.append((time.perf_counter(), time.process_time()))

    def took(self) -> Took:
        """An epoch in the mean, the first aside."""
        (clock, processor), (last_clock, last_processor) = self._pressed[0], self._pressed[-1]
        epochs = len(self._pressed) - 1
        return Took((last_clock - clock) / epochs, (last_processor - processor) / epochs)


def ours(spec: NetworkSpec, images: ImageSet, device: Device, batch_size: int, epochs: int) -> Callable[[], Took]:
    """A training, to be called once a round."""
    from model.own_engine import OwnEngine

    engine = OwnEngine(images, None, device, spec)
    config = TrainConfig(batch_size=batch_size, learning_rate=RATE, epochs=epochs + 1, precision="float32", network={})

    def run() -> Took:
        watch = Stopwatch()

        def on_epoch(_: EpochMetrics) -> bool:
            watch.press()
            return True

        engine.train(config, on_epoch)
        return watch.took()

    return run


def keras_fit(spec: NetworkSpec, images: ImageSet, batch_size: int, epochs: int) -> Callable[[], Took]:
    """The same by `fit`."""
    from model import own_network
    from model.our_keras import keras

    shape = images.images.shape[1:]
    model = own_network.load_builder(spec)(shape, len(images.class_names))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(RATE), loss, metrics=["accuracy"])
    x = images.images.astype(np.float32)
    x = (x - x.mean((1, 2, 3), keepdims=True)) / x.std((1, 2, 3), keepdims=True)

    def run() -> Took:
        watch = Stopwatch()
        after = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: watch.press())
        model.fit(x, images.labels, batch_size=batch_size, epochs=epochs + 1, verbose=0, callbacks=[after])
        return watch.took()

    return run


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Median, least and most."""
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8192)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=2, help="that count, of a round")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    device = configure()
    random = np.random.default_rng(0)
    # Whole batches: an incomplete last one is another shape, for which `fit` compiles anew.
    count = asked.images // asked.batch_size * asked.batch_size
    pixels = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    images = ImageSet(pixels, random.integers(0, 10, count).astype(np.int32), tuple("0123456789"))
    print(f"{cpu_name()}, {available_cores()} cores; {count} images, batch {asked.batch_size}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "networks.py"
        file.write_text(NETWORKS)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        for function in ("mlp", "resnet"):
            spec = NetworkSpec(file=str(file), function=function, sha256=digest)
            fit = keras_fit(spec, images, asked.batch_size, asked.epochs)
            own = ours(spec, images, device, asked.batch_size, asked.epochs)
            pairs = []
            for number in range(asked.rounds):
                first, second = (own, fit) if number % 2 else (fit, own)
                took = {first: first(), second: second()}
                pairs.append((took[own], took[fit]))
            print(function)
            print(f"  ours                      {spread([count / mine.clock for mine, _ in pairs])} images/s")
            print(f"  fit                       {spread([count / theirs.clock for _, theirs in pairs])} images/s")
            print(f"  times fit                 {spread([theirs.clock / mine.clock for mine, theirs in pairs], 2)}")
            ratios = [theirs.processor / mine.processor for mine, theirs in pairs]
            print(f"  times fit, processor time {spread(ratios, 2)}", flush=True)


if __name__ == "__main__":
    main()
