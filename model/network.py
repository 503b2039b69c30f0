"""The report's AlexNet as a plain Keras model: raw images in, probabilities out.

The preprocessing is part of the model, made of Keras' own layers only, so that a saved `.keras` file loads with
`keras.models.load_model` where none of this package is installed. 2,915,338 parameters, 2,304 of them not trained.
`model.forward` trains the same variables faster; this is the reference that it is tested against.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from model.our_keras import keras

IMAGE_SHAPE: Final = (32, 32, 3)
DROPOUT: Final = 0.5


class Stage(NamedTuple):
    """A convolution with ReLU, its BatchNormalization, and the max pooling behind it (none if `pool` is 1)."""

    number: int
    filters: int
    kernel: int
    stride: int
    padding: str
    pool: int

    @property
    def convolution(self) -> str:
        return f"conv{self.number}"

    @property
    def normalization(self) -> str:
        return f"norm{self.number}"


STAGES: Final = (
    Stage(1, 128, 11, 4, "valid", 2),
    Stage(2, 256, 5, 1, "same", 3),
    Stage(3, 256, 3, 1, "same", 1),
    Stage(4, 256, 1, 1, "same", 1),
    Stage(5, 256, 1, 1, "same", 2),
)
HIDDEN: Final = ("dense1", "dense2")
HIDDEN_UNITS: Final = 1024
OUTPUT: Final = "probabilities"


def build_alexnet(classes: int = 10) -> keras.Model:
    """The network of the report: uint8 RGB images (N, 32, 32, 3) to float32 probabilities (N, classes).

    Each image is standardised by its own mean and standard deviation and resized bilinearly to 64x64 first.
    """
    image = keras.Input(IMAGE_SHAPE, dtype="uint8", name="image")
    x = keras.layers.Rescaling(1.0, name="as_float")(image)
    # tf.image.per_image_standardization divides by max(deviation, 1/sqrt(3072)), this by sqrt(variance + 1e-6). The
    # two differ only where all but a pixel or two are equal: uint8 images have a variance of 0 or at least 1/3073.
    x = keras.layers.LayerNormalization(axis=(1, 2, 3), center=False, scale=False, epsilon=1e-6, name="standardize")(x)
    # UpSampling2D and not Resizing: the latter's `call` defaults to training=True, and Keras 3.15 lets that default
    # through to every later layer, so that a plain `network(images)` would drop units and move the statistics.
    x = keras.layers.UpSampling2D(2, interpolation="bilinear", name="resize")(x)
    for stage in STAGES:
        x = keras.layers.Conv2D(
            stage.filters,
            stage.kernel,
            strides=stage.stride,
            padding=stage.padding,
            activation="relu",
            name=stage.convolution,
        )(x)
        x = keras.layers.BatchNormalization(name=stage.normalization)(x)
        if stage.pool > 1:
            x = keras.layers.MaxPooling2D(stage.pool, name=f"pool{stage.number}")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    for name in HIDDEN:
        x = keras.layers.Dense(HIDDEN_UNITS, activation="relu", name=name)(x)
        x = keras.layers.Dropout(DROPOUT, name=f"dropout_{name}")(x)
    x = keras.layers.Dense(classes, activation="softmax", name=OUTPUT)(x)
    return keras.Model(image, x, name="alexnet")


def with_mirror_image(network: keras.Model) -> keras.Model:
    """The network whose probabilities are the mean of those for an image and for the image mirrored left to right.

    It shares its layers, weights and all. Mirroring is a product with the identity read backwards, which is exact:
    there is no layer of Keras' own that always mirrors.
    """
    pixels = network.get_layer("as_float").output
    mirror = keras.layers.Dense(IMAGE_SHAPE[1], use_bias=False, trainable=False, name="mirror")
    x = keras.layers.Permute((1, 3, 2), name="columns_last")(pixels)
    x = keras.layers.Permute((1, 3, 2), name="mirror_image")(mirror(x))
    mirror.set_weights([np.eye(IMAGE_SHAPE[1])[::-1]])
    for layer in network.layers[network.layers.index(network.get_layer("as_float")) + 1 :]:
        x = layer(x)
    mean = keras.layers.Average(name="mean")([network.output, x])
    return keras.Model(network.input, mean, name=f"{network.name}_mirrored")


def set_dropout(network: keras.Model, rate: float) -> None:
    """Have the network say, and a saved file of it too, that it was trained with this rate of dropout."""
    for name in HIDDEN:
        network.get_layer(f"dropout_{name}").rate = rate


def weights_of(network: keras.Model) -> dict[str, keras.Variable]:
    """The weights by name, as in `conv1/kernel` or `norm1/moving_mean`, in the order of the layers."""
    return {f"{layer.name}/{weight.name}": weight for layer in network.layers for weight in layer.weights}


def initial_weights(network: keras.Model, seed: int) -> dict[str, npt.NDArray[np.float32]]:
    """Keras' default initial weights (Glorot and Bengio 2010: uniform within sqrt(6 / (fan in + fan out))).

    They come from NumPy's counter-based Philox generator, one stream a weight, so that a seed means the same
    weights on every device and with every version of TensorFlow.
    """
    weights = {}
    for number, (name, weight) in enumerate(weights_of(network).items()):
        kind = name.rsplit("/", 1)[1]
        if kind == "kernel":
            *window, inputs, outputs = weight.shape
            limit = np.sqrt(6.0 / (np.prod(window, dtype=np.int64) * (inputs + outputs)))
            random = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(0, number))))
            value = (random.random(weight.shape, dtype=np.float32) * 2 - 1) * np.float32(limit)
        else:
            value = np.full(weight.shape, kind in ("gamma", "moving_variance"), dtype=np.float32)
        weights[name] = value
    return weights


def read_weights(network: keras.Model) -> dict[str, npt.NDArray[np.float32]]:
    """A copy of the weights, by name."""
    return {name: weight.numpy() for name, weight in weights_of(network).items()}


def assign_weights(network: keras.Model, values: Mapping[str, npt.NDArray[np.float32]]) -> None:
    """Overwrite the network's weights in place.

    In place because a process that builds a network a trial grows without end (tensorflow issue 36465).

    Raises:
        ValueError: a weight is missing, unknown, or of another shape.
    """
    weights = weights_of(network)
    if weights.keys() != values.keys():
        raise ValueError(f"weights {sorted(weights.keys() ^ values.keys())} are missing or not this network's")
    for name, weight in weights.items():
        weight.assign(values[name])
