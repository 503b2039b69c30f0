"""Images in memory: one from a file, and labelled sets of them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from model.config import DataError

IMAGE_SHAPE: Final = (32, 32, 3)
READ_FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
"""Whatever a file is called, nothing else is decoded: for some formats Pillow starts other programs."""


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
    if class_names is not None and len(class_names) != expected:
        raise DataError(f"{where}: there are {len(class_names)} class names, but {y} has {expected} classes.")
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


def _eight_bits(image: Image.Image) -> Image.Image:
    """The same picture with at most 8 bits a channel; Pillow's own conversion of 16 bits cuts off at 255."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.clip(np.asarray(image, dtype=np.int64), 0, 65535) >> 8).astype(np.uint8))


def read_image(file: Path) -> npt.NDArray[np.uint8]:
    """A picture of any size as the networks take it: uint8 (32, 32, 3), RGB, resized bilinearly with antialiasing.

    Raises:
        DataError: it is no image of `READ_FORMATS`, damaged, or would take hundreds of megabytes unpacked.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=READ_FORMATS) as image:
                rgb = _eight_bits(image).convert("RGB")
        if rgb.size != IMAGE_SHAPE[:2]:
            rgb = rgb.resize(IMAGE_SHAPE[:2], Image.Resampling.BILINEAR)
        return np.asarray(rgb, dtype=np.uint8)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(f"{file} is too large to be decoded ({error}). Make it smaller or remove it.") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{file} is no image in JPEG, PNG, WebP, BMP or GIF. Replace or remove it.") from error
    except (OSError, SyntaxError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{file} can't be read as an image ({reason}). Replace or remove it.") from error
