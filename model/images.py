"""Images in memory: one from a file, and labelled sets of them."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from model.config import DataError

IMAGE_SHAPE: Final = (32, 32, 3)
READ_FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
"""Whatever a file is called, nothing else is decoded: for some formats Pillow starts other programs."""
IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})

SKIPPING: Final = "--skip-unreadable, or skip_unreadable = true in [data]"
"""How pictures that can't be read are passed over."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images and what is on them. The arrays are read-only."""

    images: npt.NDArray[np.uint8]
    """(N, 32, 32, 3), RGB"""
    labels: npt.NDArray[np.int32]
    """(N,): an index into `class_names` each"""
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """How the source was understood, a sentence each, for people. Not part of the data."""
    validation: ImageSet | None = None
    """Of training images: the validation set that their source brings along. Then nothing is held out of them."""
    has_test: bool = True
    """Of training images: whether their source has a test set."""

    def __post_init__(self) -> None:
        self.images.setflags(write=False)
        self.labels.setflags(write=False)

    def __len__(self) -> int:
        return len(self.labels)


class UnreadableImageError(DataError):
    """A picture that can't be decoded; `found` is the message without the way out."""

    def __init__(self, found: str) -> None:
        super().__init__(f"{found}. Replace or remove it.")
        self.found = found


def image_set(
    images: npt.NDArray[np.generic],
    labels: npt.NDArray[np.generic],
    class_names: tuple[str, ...],
    where: str,
    notes: Iterable[str] = (),
) -> ImageSet:
    """An ImageSet of what `where` decodes to: uint8 (N, 32, 32, 3), and labels of shape (N,) or (N, 1), from 0.

    Raises:
        DataError: the arrays are something else.
    """
    if images.dtype != np.uint8 or images.shape[1:] != IMAGE_SHAPE or len(images) != labels.size or not len(images):
        raise DataError(
            f"{where}: expected images as uint8 (N, 32, 32, 3) and a label for each, but found {images.dtype} "
            f"{images.shape} and {labels.size} labels."
        )
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= len(class_names):
        raise DataError(
            f"{where}: labels must lie from 0 to {len(class_names) - 1}, but go from {lowest} to {highest}."
        )
    return ImageSet(
        np.ascontiguousarray(images),
        labels.reshape(-1).astype(np.int32),
        class_names,
        tuple(str(note) for note in notes),
    )


def no_test_set(source: str) -> DataError:
    """What is said where a test set is asked for and there is none."""
    return DataError(
        f"{source} has no test set: nothing can be measured on it. Add one (x_test and y_test, or test/<class>/), or "
        "measure on validation images: alexsearch retrain --validate."
    )


def resized(rgb: Image.Image) -> Image.Image:
    """The picture at the network's size, squeezed if it is no square: bilinear, and antialiased where it shrinks.

    Pillow widens the filter by the factor that it shrinks by, so every pixel of a large picture counts.
    """
    return rgb if rgb.size == IMAGE_SHAPE[:2] else rgb.resize(IMAGE_SHAPE[:2], Image.Resampling.BILINEAR)


def resizing(sizes: Iterable[tuple[int, int]]) -> tuple[str, ...]:
    """A note on what was resized; `sizes` are (width, height) as they were found."""
    found = sorted({size for size in sizes if size != IMAGE_SHAPE[:2]})
    if not found:
        return ()
    shown = ", ".join(f"{width}x{height}" for width, height in found[:3])
    more = f" and {len(found) - 3} more sizes" if len(found) > 3 else ""
    return (f"images were resized from {shown}{more} to 32x32 (bilinear, antialiased)",)


def _eight_bits(image: Image.Image) -> Image.Image:
    """The same picture with at most 8 bits a channel; Pillow's own conversion of 16 bits cuts off at 255."""
    if image.mode == "F":
        raise ValueError("its pixels are floats: save it with 8 or 16 bits a channel")
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.clip(np.asarray(image, dtype=np.int64), 0, 65535) >> 8).astype(np.uint8))


def read_image(file: Path) -> npt.NDArray[np.uint8]:
    """A picture of any size as the networks take it: see `decoded`."""
    return decoded(file, str(file))[0]


def decoded(file: Path | IO[bytes], name: str) -> tuple[npt.NDArray[np.uint8], tuple[int, int]]:
    """A picture of any size as the networks take it, uint8 (32, 32, 3), RGB; and the (width, height) that it had.

    Turned as its EXIF says, the first frame if there are several, then `resized`.

    Raises:
        UnreadableImageError: it is no image of `READ_FORMATS`, damaged, or would take hundreds of megabytes unpacked.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=READ_FORMATS) as image:
                image.load()
                upright: Image.Image = image
                with contextlib.suppress(Exception):  # an EXIF block that is damaged turns nothing
                    upright = ImageOps.exif_transpose(image)
                rgb = _eight_bits(upright).convert("RGB")
        return np.asarray(resized(rgb), dtype=np.uint8), rgb.size
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UnreadableImageError(f"{name} is too large to be decoded ({error})") from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError(f"{name} is not an image in JPEG, PNG, WebP, BMP, GIF or TIFF") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableImageError(f"{name} can't be read as an image ({reason})") from error
