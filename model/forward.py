"""The fast forward pass that trains the network's own variables: the same function as the plain Keras model.

What differs is how it is computed:
- Bilinear doubling to 64x64 followed by the 11x11 convolution of stride 4 is, exactly, one 7x7 convolution of stride
  2 on the 32x32 image with its first row and column repeated: each output sees rows 2j-1 to 2j+5 of the image, and
  the kernel is A'WA with A (11, 7) the interpolation. The 11x11 kernel stays the parameter.
- That convolution, padded to 8x8, is a 4x4 one of stride 1 over the image cut into 2x2 blocks of 12 channels. The
  images are stored that way from the start, and convolutions over 3 channels waste most of a vector register.
- Arithmetic may be in bfloat16; weights, statistics of BatchNormalization, softmax and loss stay float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model import kernels
from model.network import HIDDEN, OUTPUT, STAGES, Stage

BLOCKS: Final = (17, 17, 12)
"""Shape of an image as stored: 34x34 pixels (one repeated before, one unused behind) in blocks of 2x2."""
MOMENTUM: Final = 0.99
EPSILON: Final = 1e-3
"""Keras' defaults for BatchNormalization."""


def to_blocks(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Images (N, 32, 32, 3) as blocks (N, 17, 17, 12): the channels of a block are (row, column, colour)."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    blocks = padded.reshape(-1, 17, 2, 17, 2, 3).transpose(0, 1, 3, 2, 4, 5)
    return np.ascontiguousarray(blocks).reshape(-1, *BLOCKS)


def standardization(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Mean and reciprocal deviation of each image, float32 (N, 2), as `tf.image.per_image_standardization` has them."""
    flat = images.reshape(len(images), -1)
    size = flat.shape[1]
    total = flat.sum(axis=1, dtype=np.int64)
    squares = np.einsum("ij,ij->i", flat, flat, dtype=np.int64, casting="safe") if len(flat) else total
    mean = total / size
    deviation = np.sqrt(np.maximum(squares / size - mean**2, 0.0))
    return np.stack([mean, 1.0 / np.maximum(deviation, size**-0.5)], axis=1).astype(np.float32)


def _fold_matrix() -> npt.NDArray[np.float32]:
    """The linear map (64, 121) from an 11x11 kernel to the 4x4 one over 2x2 blocks, rows as (y, x, row, column).

    Output row 4j + r of the doubled image is 0.75 of the pixel it lies in and 0.25 of the nearer neighbour
    (bilinear, half-pixel centres). Counted from pixel 2j - 1, row r lies in pixel 1 + r // 2.
    """
    interpolation = np.zeros((11, 8))
    for r in range(11):
        pixel = 1 + r // 2
        interpolation[r, pixel] = 0.75
        interpolation[r, pixel + (1 if r % 2 else -1)] = 0.25
    matrix = np.einsum("ry,sx->yxrs", interpolation, interpolation).reshape(4, 2, 4, 2, 121)
    return np.asarray(matrix.transpose(0, 2, 1, 3, 4).reshape(64, 121), dtype=np.float32)


FOLD: Final = _fold_matrix()


def fold_kernel(kernel: tf.Tensor) -> tf.Tensor:
    """The 11x11 kernel (11, 11, 3, F) as the kernel (4, 4, 12, F) over blocks, float32."""
    filters = kernel.shape[-1]
    return tf.reshape(tf.linalg.matmul(FOLD, tf.reshape(kernel, (121, 3 * filters))), (4, 4, 12, filters))


def prepare(blocks: tf.Tensor, moments: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Standardise uint8 blocks (B, 17, 17, 12) by their images' mean and reciprocal deviation (B, 2)."""
    mean, scale = tf.split(moments, 2, axis=1)
    pixels = tf.cast(blocks, tf.float32)
    return tf.cast((pixels - mean[:, :, None, None]) * scale[:, :, None, None], dtype)


def infer(weights: Mapping[str, Any], images: tf.Tensor, *, plain: bool = False) -> tf.Tensor:
    """Logits, float32 (B, classes), of prepared images, as the Keras model computes them outside training.

    `plain` takes TensorFlow's own convolutions, for XLA and GPUs, instead of those of `model.kernels`.
    """
    logits, _ = _network(weights, images, None, None, plain)
    return logits


def train(
    weights: Mapping[str, Any], images: tf.Tensor, seed: tf.Tensor, rate: tf.Tensor, *, plain: bool = False
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Logits, float32 (B, classes), in training, and what the moving statistics become.

    `seed` (int64, 2) decides dropout, and nothing else does; the next step's second number is to be 2 higher or more.
    `rate` (float32) is the part of the units that it leaves out.
    """
    return _network(weights, images, seed, rate, plain)


def _network(
    weights: Mapping[str, Any], x: tf.Tensor, seed: tf.Tensor | None, rate: tf.Tensor | None, plain: bool
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    moving: dict[str, tf.Tensor] = {}
    for stage in STAGES:
        x = _convolve(weights, stage, x, plain)
        x = _normalize(weights, stage.normalization, x, moving if seed is not None else None)
        if stage.pool > 1:
            x = tf.nn.max_pool2d(x, stage.pool, stage.pool, "VALID")
    x = tf.reshape(x, (-1, x.shape[-1]))
    for number, name in enumerate(HIDDEN):
        x = tf.nn.relu(_dense(weights, name, x))
        if seed is not None:
            x = dropout(x, seed, number, rate)
    return tf.cast(_dense(weights, OUTPUT, x), tf.float32), moving


def _convolve(weights: Mapping[str, Any], stage: Stage, x: tf.Tensor, plain: bool) -> tf.Tensor:
    kernel = weights[f"{stage.convolution}/kernel"]
    bias = tf.cast(weights[f"{stage.convolution}/bias"], x.dtype)
    if stage.number == 1:
        return tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, tf.cast(fold_kernel(kernel), x.dtype), 1, "VALID"), bias))
    kernel = tf.cast(kernel, x.dtype)
    if plain:
        return tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias))
    if stage.kernel == 1:
        return kernels.pointwise(x, kernel, bias)
    if stage.kernel == 3 and x.shape[1:3] == (2, 2):
        return kernels.convolution_on_2x2(x, kernel, bias)
    return kernels.convolution(x, kernel, bias)


def _dense(weights: Mapping[str, Any], name: str, x: tf.Tensor) -> tf.Tensor:
    product = tf.linalg.matmul(x, tf.cast(weights[f"{name}/kernel"], x.dtype))
    return tf.nn.bias_add(product, tf.cast(weights[f"{name}/bias"], x.dtype))


def dropout(x: tf.Tensor, seed: tf.Tensor, number: int, rate: tf.Tensor) -> tf.Tensor:
    """The step's dropout number 0 or 1: each unit is dropped or scaled by 1 / (1 - rate), as the seed says."""
    # Philox by name, so that a seed means the same on all CPUs: "auto" picks a generator by the device. XLA hands out
    # Philox's numbers in another order, so on a GPU the same seed drops other units.
    uniform = tf.random.stateless_uniform(tf.shape(x), seed + tf.constant([0, number], tf.int64), alg="philox")
    return x * tf.where(uniform >= rate, tf.cast(1.0 / (1.0 - rate), x.dtype), tf.zeros((), x.dtype))


def _normalize(weights: Mapping[str, Any], name: str, x: tf.Tensor, moving: dict[str, tf.Tensor] | None) -> tf.Tensor:
    mean = tf.convert_to_tensor(weights[f"{name}/moving_mean"])
    variance = tf.convert_to_tensor(weights[f"{name}/moving_variance"])
    training = moving is not None
    empty = tf.zeros((0,), tf.float32)
    normalized, batch_mean, batch_variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=weights[f"{name}/gamma"],
        offset=weights[f"{name}/beta"],
        mean=empty if training else mean,
        variance=empty if training else variance,
        epsilon=EPSILON,
        is_training=training,
    )
    if moving is not None:
        # The fused operation gives the variance with Bessel's correction; Keras' moving variance has none.
        count = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
        batch_variance *= (count - 1) / count
        moving[f"{name}/moving_mean"] = mean * MOMENTUM + batch_mean * (1 - MOMENTUM)
        moving[f"{name}/moving_variance"] = variance * MOMENTUM + batch_variance * (1 - MOMENTUM)
    return normalized
