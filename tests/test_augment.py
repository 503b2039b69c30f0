"""Augmentation on the device is what NumPy does to the images themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from model import augment, forward

Images = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def images() -> Images:
    return np.random.default_rng(0).integers(0, 256, (162, 32, 32, 3), dtype=np.uint8)


def by_hand(image: Images, mirrored: bool, down: int, right: int) -> Images:
    image = image[:, ::-1] if mirrored else image
    wide = np.pad(image, ((4, 4), (4, 4), (0, 0)), mode="reflect")
    return wide[4 - down : 36 - down, 4 - right : 36 - right]


def drawn(augmentation: Any, seed: tuple[int, int] = (5, 0), count: int = 4000) -> list[npt.NDArray[Any]]:
    chance = tf.constant(augment.flip_chance(augmentation))
    reach = tf.constant(augment.reach(augmentation))
    return [each.numpy() for each in augment.draw(tf.constant(seed, tf.int64), tf.constant(count), chance, reach)]


def test_every_mirroring_and_shift_is_numpys(images: Images) -> None:
    moves = [(mirrored, down, right) for mirrored in (False, True) for down in range(-4, 5) for right in range(-4, 5)]
    mirrored, down, right = (tf.constant([move[i] for move in moves]) for i in range(3))
    moved = tf.function(augment.move)(forward.to_blocks(images), mirrored, down, right)
    expected = np.stack([by_hand(image, *move) for image, move in zip(images, moves, strict=True)])
    np.testing.assert_array_equal(moved, forward.to_blocks(expected))


def test_mirror_mirrors_every_image(images: Images) -> None:
    blocks = augment.mirror(tf.constant(forward.to_blocks(images)))
    np.testing.assert_array_equal(blocks, forward.to_blocks(images[:, :, ::-1]))


def test_none_moves_nothing(images: Images) -> None:
    blocks = forward.to_blocks(images)
    moves = [tf.constant(each) for each in drawn("none", count=len(images))]
    np.testing.assert_array_equal(augment.move(blocks, *moves), blocks)


def test_flip_mirrors_half_of_the_images_and_shifts_none() -> None:
    mirrored, down, right = drawn("flip")
    assert mirrored.mean() == pytest.approx(0.5, abs=0.04)
    assert not down.any()
    assert not right.any()


def test_shifts_reach_every_pixel_up_to_four_as_often() -> None:
    mirrored, down, right = drawn("flip_shift", count=9000)
    assert mirrored.mean() == pytest.approx(0.5, abs=0.03)
    for shifts in (down, right):
        values, counts = np.unique(shifts, return_counts=True)
        assert list(values) == list(range(-4, 5))
        assert counts.min() > 850
    assert abs(np.corrcoef([mirrored, down, right]) - np.eye(3)).max() < 0.05


def test_what_is_drawn_depends_on_the_seed_alone_and_differs_from_step_to_step() -> None:
    first, again, next_step, other = (drawn("flip_shift", seed) for seed in ((5, 0), (5, 0), (5, 2), (6, 0)))
    for one, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, same)
    for different in (next_step, other):
        assert any(not np.array_equal(one, new) for one, new in zip(first, different, strict=True))


def test_square_is_cut_out_as_numpy_cuts_it(images: Images) -> None:
    """In every place that matters: at the middle, over each edge and corner."""
    middles = [(row, column) for row in (0, 3, 7, 8, 16, 24, 25, 31) for column in (0, 8, 9, 17, 31)]
    some = images[: len(middles)]
    moments = forward.standardization(some)
    row, column = (tf.constant([middle[i] for middle in middles]) for i in range(2))
    prepared = forward.prepare(forward.to_blocks(some), moments, tf.float32)
    standard: Any = (some - moments[:, 0, None, None, None]) * moments[:, 1, None, None, None]
    for image, (y, x) in zip(standard, middles, strict=True):
        image[max(0, y - 8) : y + 8, max(0, x - 8) : x + 8] = 0
    np.testing.assert_allclose(tf.function(augment.cut_out)(prepared, row, column), forward.to_blocks(standard))


def test_squares_lie_everywhere_as_often_and_images_move_as_without_them() -> None:
    seed, count = tf.constant((5, 0), tf.int64), 9000
    row, column = (each.numpy() for each in augment.draw_square(seed, tf.constant(count)))
    for middles in (row, column):
        assert list(np.unique(middles)) == list(range(32))
        assert np.bincount(middles).min() > 200
    mirrored, down, right = drawn("flip_shift_cutout", count=count)
    assert abs(np.corrcoef([mirrored, down, right, row, column]) - np.eye(5)).max() < 0.05
    for ours, without in zip((mirrored, down, right), drawn("flip_shift", count=count), strict=True):
        np.testing.assert_array_equal(ours, without)


@pytest.mark.parametrize("shape", [(32, 32, 3), (48, 20, 1)])
def test_square_of_an_image_of_any_size_is_the_same_part_of_it(shape: tuple[int, ...]) -> None:
    height, width, _ = shape
    some = np.random.default_rng(0).integers(1, 256, (40, *shape), dtype=np.uint8)
    seed = tf.constant((5, 0), tf.int64)
    cut = tf.function(augment.cut_images)(tf.constant(some), seed, tf.constant(0, tf.uint8))
    middles = augment.draw_square(seed, tf.constant(40), height, width)
    for image, y, x in zip(some, *(each.numpy() for each in middles), strict=True):
        image[max(0, y - height // 4) : y + height // 4, max(0, x - width // 4) : x + width // 4] = 0
    np.testing.assert_array_equal(cut, some)
