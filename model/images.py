"""A set of labelled images in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from model.config import DataError

IMAGE_SHAPE: Final = (32, 32, 3)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images and what is on them. The arrays are read-only."""

    images: npt.NDArray[np.uint8]
    """(N, 32, 32, 3), RGB"""
    labels: npt.NDArray[np.int32]
    """(N,): an index into `class_names` each"""
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        self.images.setflags(write=False)
        self.labels.setflags(write=False)

    def __len__(self) -> int:
        return len(self.labels)


def checked(
    images: npt.NDArray[np.generic],
    labels: npt.NDArray[np.generic],
    *,
    classes: int | None = None,
    class_names: tuple[str, ...] | None = None,
    where: str,
    names: tuple[str, str] = ("images", "labels"),
) -> ImageSet:
    """An ImageSet of two arrays from outside, `where` they came from being named in every message.

    Labels must be 0 to `classes` - 1; without `classes` the highest label says how many there are, and then every
    class must have an image. Labels of shape (N, 1), as Keras gives CIFAR-10's, are flattened.

    Raises:
        DataError: the arrays are not what an ImageSet holds.
    """
    x, y = names
    if images.dtype != np.uint8 or images.shape[1:] != IMAGE_SHAPE:
        raise DataError(
            f"{where}: {x} must be uint8 of shape (N, 32, 32, 3), RGB, but is {images.dtype} of shape {images.shape}. "
            "Convert or resize the images first."
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape not in {(labels.size,), (labels.size, 1)}:
        raise DataError(
            f"{where}: {y} must be integers of shape (N,) or (N, 1), but is {labels.dtype} of shape {labels.shape}."
        )
    if len(images) != len(labels):
        raise DataError(f"{where}: {x} has {len(images)} images, but {y} has {len(labels)} labels.")
    if not len(images):
        raise DataError(f"{where}: {x} has no images.")
    lowest, highest = int(labels.min()), int(labels.max())
    expected = classes if classes is not None else highest + 1
    if lowest < 0 or highest >= expected:
        raise DataError(f"{where}: {y} must lie from 0 to {expected - 1}, but go from {lowest} to {highest}.")
    if classes is None:
        # `highest` comes from outside: with one stray label of 2**31 the counts alone would fill the memory.
        present = np.unique(labels)
        if len(present) != expected:
            absent = next(number for number, label in enumerate([*present.tolist(), -1]) if number != label)
            raise DataError(
                f"{where}: {y} go up to {highest}, but no image has label {absent}. "
                "Number the classes from 0 without a gap."
            )
        if expected < 2:
            raise DataError(f"{where}: all images are of one class; a classifier needs two or more.")
    return ImageSet(
        np.ascontiguousarray(images),
        labels.reshape(-1).astype(np.int32),
        class_names or tuple(str(number) for number in range(expected)),
    )
