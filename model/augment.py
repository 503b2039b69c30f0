"""Augmentation on the device: images stay uint8 and in 2x2 blocks, and each step draws anew what becomes of them."""

from __future__ import annotations

from typing import Final

import numpy as np
import tensorflow as tf

from model.config import Augmentation

REACH: Final = 4
"""Pixels that an image is shifted by at most, up, down, left and right."""
SIDE: Final = 32
CUT: Final = 16
"""Side in pixels of the square that is cut out: DeVries and Taylor's for CIFAR-10 (2017, "Improved Regularization of
Convolutional Neural Networks with Cutout")."""
STORED: Final = np.clip(np.arange(SIDE + 2) - 1, 0, SIDE - 1).astype(np.int32)
"""Which row of the image lies in each of the 34 rows of the stored form; columns likewise."""


def flip_chance(augmentation: Augmentation) -> float:
    """How often an image is mirrored."""
    return 0.0 if augmentation == "none" else 0.5


def reach(augmentation: Augmentation) -> int:
    """By how many pixels an image is shifted at most."""
    return REACH if augmentation.startswith("flip_shift") else 0


def cuts(augmentation: Augmentation) -> bool:
    """Whether a square is cut out of each image."""
    return augmentation.endswith("cutout")


def draw(seed: tf.Tensor, images: tf.Tensor, chance: tf.Tensor, reach: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """For each image of a step whether it is mirrored (bool), then how far it goes down and to the right (int32).

    `seed` is the step's, int64 (2); its first number lies below 2**32, and what is drawn here has its own above.
    """
    own = seed + tf.constant([2**32, 0], tf.int64)
    uniform = tf.random.stateless_uniform((3, images), own, alg="philox")
    shifts = tf.cast(uniform[1:] * tf.cast(2 * reach + 1, tf.float32), tf.int32) - reach
    return uniform[0] < chance, shifts[0], shifts[1]


def move(blocks: tf.Tensor, mirrored: tf.Tensor, down: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Images as stored, uint8 (B, 17, 17, 12), mirrored left to right where `mirrored` says so, and then shifted.

    Equals `to_blocks` of the images that NumPy pads by `mode="reflect"` and cuts out again.
    """
    rows = _reflected(STORED - down[:, None])
    columns = _reflected(STORED - right[:, None])
    columns = tf.where(mirrored[:, None], SIDE - 1 - columns, columns)
    pixels = tf.transpose(tf.reshape(blocks, (-1, 17, 17, 2, 2, 3)), (0, 1, 3, 2, 4, 5))
    pixels = tf.reshape(pixels, (-1, SIDE + 2, SIDE + 2, 3))
    pixels = tf.gather(pixels, rows + 1, axis=1, batch_dims=1)
    pixels = tf.gather(pixels, columns + 1, axis=2, batch_dims=1)
    pixels = tf.transpose(tf.reshape(pixels, (-1, 17, 2, 17, 2, 3)), (0, 1, 3, 2, 4, 5))
    return tf.reshape(pixels, (-1, 17, 17, 12))


def draw_square(
    seed: tf.Tensor, images: tf.Tensor, height: int = SIDE, width: int = SIDE
) -> tuple[tf.Tensor, tf.Tensor]:
    """For each image of a step the row and the column (int32) of the middle of its square: any pixel, as likely.

    `seed` is that of `draw`; what is drawn has a stream of its own, so that with or without it images move alike.
    """
    own = seed + tf.constant([2 * 2**32, 0], tf.int64)
    uniform = tf.random.stateless_uniform((2, images), own, alg="philox")
    return tf.cast(uniform[0] * height, tf.int32), tf.cast(uniform[1] * width, tf.int32)


def cut_out(images: tf.Tensor, row: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
    """Standardised images in blocks (B, 17, 17, 12) with zeros in the square around each one's pixel (row, column).

    From 8 pixels before it up to 7 behind it, as far as that is in the image. Equals `prepare` of an image that has its
    mean there: it is standardised by what it was before.
    """
    behind = (STORED - at[:, None] for at in (row, column))
    rows, columns = ((pixels >= -CUT // 2) & (pixels < CUT // 2) for pixels in behind)
    cut = tf.reshape(rows, (-1, 17, 1, 2, 1, 1)) & tf.reshape(columns, (-1, 1, 17, 1, 2, 1))
    kept = tf.reshape(tf.repeat(~cut, 3, axis=-1), (-1, 17, 17, 12))
    return tf.where(kept, images, tf.zeros((), images.dtype))


def mirror(images: tf.Tensor) -> tf.Tensor:
    """Images in blocks (B, 17, 17, 12) mirrored left to right, all of them: `move` for one that is always mirrored."""
    pixels = tf.reshape(images, (-1, 17, 17, 2, 2, 3))  # rows, columns, and both within a block
    return tf.reshape(tf.reverse(pixels, (2, 4)), (-1, 17, 17, 12))


def move_images(images: tf.Tensor, seed: tf.Tensor, chance: tf.Tensor, reach: tf.Tensor) -> tf.Tensor:
    """Images of any size, uint8 (B, H, W, C), mirrored left to right and shifted as `draw` and `move` do.

    `reach` is meant for an image of 32 pixels a side; one of others moves by the same part of its height and width.
    """
    height, width = images.shape[1:3]
    own = reach * tf.constant([[height], [width]]) // SIDE
    mirrored, down, right = draw(seed, tf.shape(images)[0], chance, own)
    rows = _reflected(tf.range(height) - down[:, None], height)
    columns = _reflected(tf.range(width) - right[:, None], width)
    columns = tf.where(mirrored[:, None], width - 1 - columns, columns)
    images = tf.gather(images, rows, axis=1, batch_dims=1)
    return tf.gather(images, columns, axis=2, batch_dims=1)


def cut_images(images: tf.Tensor, seed: tf.Tensor, fill: tf.Tensor) -> tf.Tensor:
    """Images of any size (B, H, W, C) with `fill` in a square of each, as `draw_square` and `cut_out` have it.

    Of an image that is not 32 pixels a side, the same part of its height and width is cut out.
    """
    height, width = images.shape[1:3]
    middles = draw_square(seed, tf.shape(images)[0], height, width)
    behind = (tf.range(side) - at[:, None] for side, at in zip((height, width), middles, strict=True))
    halves = (side * CUT // SIDE // 2 for side in (height, width))
    rows, columns = ((pixels >= -half) & (pixels < half) for pixels, half in zip(behind, halves, strict=True))
    return tf.where(rows[:, :, None, None] & columns[:, None, :, None], fill, images)


def _reflected(index: tf.Tensor, side: int = SIDE) -> tf.Tensor:
    """An index of a row that may lie outside the image, as the one whose reflection is seen there."""
    return (side - 1) - tf.abs((side - 1) - tf.abs(index))
