"""Images in memory: one from a file, and labelled sets of them."""

from __future__ import annotations

import contextlib
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final

import numpy as np
import numpy.typing as npt
import psutil
from PIL import Image, ImageOps, UnidentifiedImageError

from model.config import DataError

IMAGE_SHAPE: Final = (32, 32, 3)
"""Of what the AlexNet takes: height, width, channels."""
Shape = tuple[int | None, int | None, int | None]
"""What images are brought to: height, width, channels (1 or 3). None is what the source itself has."""
READ_FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
"""Whatever a file is called, nothing else is decoded: for some formats Pillow starts other programs."""
IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})

_GREY: Final = frozenset({"1", "L", "LA", "La"})
"""Pillow's modes of pictures without colour"""
SKIPPING: Final = "--skip-unreadable, or skip_unreadable = true in [data]"
"""How pictures that can't be read are passed over."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images and what is on them. The arrays are read-only."""

    images: npt.NDArray[np.uint8]
    """(N, height, width, channels), RGB or grey; of the AlexNet (N, 32, 32, 3)"""
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
    shape: Shape = IMAGE_SHAPE,
) -> ImageSet:
    """An ImageSet of what `where` decodes to: uint8 (N, *shape), and labels of shape (N,) or (N, 1), from 0.

    Raises:
        DataError: the arrays are something else.
    """
    fits = images.ndim == 4 and images.shape[1:] == resolved(shape, images.shape[1:]) and images.shape[3] in (1, 3)
    if images.dtype != np.uint8 or not fits or len(images) != labels.size or not len(images):
        expected = ", ".join(str(size or "any") for size in shape)
        raise DataError(
            f"{where}: expected images as uint8 (N, {expected}) and a label for each, but found {images.dtype} "
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


def resolved(shape: Shape, own: Sequence[int]) -> tuple[int, int, int]:
    """`shape` with the source's own height, width and channels where it says None."""
    height, width, channels = (asked or found for asked, found in zip(shape, own, strict=True))
    return height, width, channels


def tag_of(shape: Shape) -> str:
    """What sets decoded images of this shape apart from those of 32x32x3 when they are kept; of those, nothing."""
    return "" if shape == IMAGE_SHAPE else "-" + "x".join(str(size or "own") for size in shape)


def brought(picture: Image.Image, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """The picture as uint8 (*shape), squeezed if that is not its own form: bilinear, antialiased where it shrinks.

    Pillow widens the filter by the factor that it shrinks by, so every pixel of a large picture counts.
    """
    height, width, channels = shape
    converted = picture.convert("L" if channels == 1 else "RGB")
    if converted.size != (width, height):
        converted = converted.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(converted, dtype=np.uint8).reshape(shape)


def as_picture(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    """Pixels (height, width, 1 or 3) as a picture."""
    return Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels))


def brought_set(images: ImageSet, shape: Shape) -> ImageSet:
    """The set with its images at this shape, and a note if they were resized."""
    own = images.images.shape[1:]
    wanted = resolved(shape, own)
    if wanted == own:
        return images
    pixels = np.stack([brought(as_picture(each), wanted) for each in images.images])
    return replace(images, images=pixels, notes=(*images.notes, *resizing([(own[1], own[0])], shape)))


class Gathering:
    """Pictures as they are decoded one after the other; of their own size, all must have the same."""

    def __init__(self, count: int, shape: Shape, where: str) -> None:
        """`count` is how many there may be, `where` what messages call their source."""
        self._count, self._shape, self._where = count, shape, where
        self._images: list[npt.NDArray[np.uint8]] = []
        self.sizes: Counter[tuple[int, int]] = Counter()
        """How many there were of each (width, height) before they were brought to the shape."""

    def add(self, image: npt.NDArray[np.uint8], size: tuple[int, int]) -> None:
        """One that was decoded, and the (width, height) that it had. Raises DataError where memory can't hold all."""
        if not self._images and not self.sizes:
            self._check_memory(image.nbytes * self._count, image.shape)
        self.sizes[size] += 1
        if self._images and image.shape[:2] != self._images[0].shape[:2]:
            self._images = []  # nobody will see them
        if self._images or self.sizes.total() == 1:
            self._images.append(image)

    def _check_memory(self, claimed: int, shape: tuple[int, ...]) -> None:
        available = psutil.virtual_memory().available
        if claimed > available:
            raise DataError(
                f"{self._where}: {self._count:,} images of {shape[1]}x{shape[0]} take {claimed / 1e9:.1f} GB of "
                f"memory, but {available / 1e9:.1f} GB are free. Bring them to a smaller size: image_size = 64 in "
                "[data]."
            )

    def images(self) -> npt.NDArray[np.uint8]:
        """uint8 (N, height, width, channels): in colour if any is. Raises DataError where they are of several sizes."""
        if len(self._images) < self.sizes.total():
            found = self.sizes.most_common()
            shown = ", ".join(f"{count:,} of {width}x{height}" for (width, height), count in found[:4])
            more = f" and {len(found) - 4} more sizes" if len(found) > 4 else ""
            raise DataError(
                f"{self._where}: the images are not all of one size: {shown}{more}. Bring them to one: image_size = "
                f"{min(*found[0][0], 1024)} in [data]."
            )
        if len({image.shape[2] for image in self._images}) > 1:
            self._images = [np.broadcast_to(image, (*image.shape[:2], 3)) for image in self._images]
        return np.stack(self._images)


def resizing(sizes: Iterable[tuple[int, int]], shape: Shape = IMAGE_SHAPE) -> tuple[str, ...]:
    """A note on what was resized; `sizes` are (width, height) as they were found."""
    height, width, _ = shape
    if height is None or width is None:
        return ()
    found = sorted({size for size in sizes if size != (width, height)})
    if not found:
        return ()
    shown = ", ".join(f"{width}x{height}" for width, height in found[:3])
    more = f" and {len(found) - 3} more sizes" if len(found) > 3 else ""
    return (f"images were resized from {shown}{more} to {width}x{height} (bilinear, antialiased)",)


def _eight_bits(image: Image.Image) -> Image.Image:
    """The same picture with at most 8 bits a channel; Pillow's own conversion of 16 bits cuts off at 255."""
    if image.mode == "F":
        raise ValueError("its pixels are floats: save it with 8 or 16 bits a channel")
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.clip(np.asarray(image, dtype=np.int64), 0, 65535) >> 8).astype(np.uint8))


def read_image(file: Path, shape: Shape = IMAGE_SHAPE) -> npt.NDArray[np.uint8]:
    """A picture of any size as the networks take it: see `decoded`."""
    return decoded(file, str(file), shape)[0]


def decoded(
    file: Path | IO[bytes], name: str, shape: Shape = IMAGE_SHAPE
) -> tuple[npt.NDArray[np.uint8], tuple[int, int]]:
    """A picture of any size as the networks take it, uint8 (*shape); and the (width, height) that it had.

    Turned as its EXIF says, the first frame if there are several, then `brought` to the shape.

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
                picture = _eight_bits(upright)
                width, height = picture.size
                wanted = resolved(shape, (height, width, 1 if picture.mode in _GREY else 3))
                return brought(picture, wanted), picture.size
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UnreadableImageError(f"{name} is too large to be decoded ({error})") from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError(f"{name} is not an image in JPEG, PNG, WebP, BMP, GIF or TIFF") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableImageError(f"{name} can't be read as an image ({reason})") from error
