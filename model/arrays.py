"""What arrays of images and labels may look like, and what is understood by them.

What training arrays mean is settled by them alone; validation and test arrays are then read by the same rules. All that
can be told from a shape and a dtype is told from them, so that a test set is checked without an image being opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from model.config import DataError
from model.images import IMAGE_SHAPE, Shape, as_picture, brought, resizing, resolved

Array = npt.NDArray[np.generic]

CIFAR10_CLASSES: Final = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
CIFAR_ROW: Final = 3072
_CHUNK_BYTES: Final = 2**26


@dataclass(frozen=True)
class Layout:
    """How the pixels of an array of images lie."""

    kind: Literal["channels last", "channels first", "grey"]
    height: int
    width: int
    note: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image, as the array has it."""
        return self.height, self.width, 1 if self.kind == "grey" else 3

    def channels_last(self, images: Array) -> Array:
        """(N, height, width, channels)"""
        if self.kind == "channels first":
            return images.reshape(-1, 3, self.height, self.width).transpose(0, 2, 3, 1)
        return images.reshape(-1, *self.shape)


def layout_of(shape: tuple[int, ...], dtype: np.dtype[np.generic], name: str) -> Layout:
    """What an array of images is, by its header. Raises DataError if it is no array of images."""
    if dtype.kind not in "iufb":
        raise DataError(f"{name} is {_called(dtype)}, but images must be numbers. Save them as uint8, 0 to 255.")
    if 0 in shape[1:]:
        raise DataError(f"{name} has shape {shape}: its images have no pixels. Save them as (N, height, width, 3).")
    match shape:
        case (_, _, _):
            return Layout("grey", shape[1], shape[2], f"{name}: images are grey, repeated for red, green and blue")
        case (_, pixels) if pixels == CIFAR_ROW:
            note = f"{name}: rows of 3072 were taken for CIFAR's: 1024 red values, then green, then blue, each 32x32"
            return Layout("channels first", 32, 32, note)
        case (_, pixels) if pixels >= 16 and isqrt(pixels) ** 2 == pixels:
            side = isqrt(pixels)
            note = f"{name}: rows of {pixels} were taken for grey images of {side}x{side}"
            return Layout("grey", side, side, note)
        case (_, _, _, _):
            return _of_four(shape, name)
    raise DataError(
        f"{name} has shape {shape}, but images must have one of (N, height, width, 3), (N, 3, height, width), "
        "(N, height, width), (N, 3072), or (N, side * side). Reshape it, e.g. x.reshape(-1, 28, 28)."
    )


def _of_four(shape: tuple[int, ...], name: str) -> Layout:
    _, second, third, fourth = shape
    last, first = fourth in {1, 3}, second in {1, 3}
    if last and first:
        raise DataError(
            f"{name} has shape {shape}, which may be channels last or channels first. Save it as (N, height, width, 3) "
            "with a height above 3."
        )
    if last and fourth == 3:
        return Layout("channels last", second, third)
    if last or (first and second == 1):
        height, width = (second, third) if last else (third, fourth)
        return Layout("grey", height, width, f"{name}: images have one channel, repeated for red, green and blue")
    if first:
        return Layout("channels first", third, fourth, f"{name}: channels came first, and were put last")
    if fourth == 4:
        raise DataError(
            f"{name} has shape {shape}: 4 channels, but 3 or 1 are expected. Without transparency: x = x[..., :3]."
        )
    if shape[:3] == IMAGE_SHAPE or third in {1, 3}:
        raise DataError(
            f"{name} has shape {shape}, in which the images do not come first. x = numpy.moveaxis(x, -1, 0) puts the "
            "last axis there."
        )
    raise DataError(
        f"{name} has shape {shape}: no axis has the 3 or 1 channels of an image. Save it as (N, height, width, 3)."
    )


def factor_of(images: Array, name: str) -> int:
    """What an array's numbers are multiplied by to go from 0 to 255: 255 for fractions, else 1.

    Raises:
        DataError: negative, above 255, or no numbers.
    """
    if images.dtype == np.uint8 or not images.size:
        return 1
    if images.dtype.kind == "b":
        return 255
    lowest, highest = images.min(), images.max()
    if images.dtype.kind == "f" and not (np.isfinite(lowest) and np.isfinite(highest)):
        raise DataError(
            f"{name} has values that are not numbers (NaN or infinite). Find them with numpy.isfinite, and mend them "
            "where the file is made."
        )
    span = f"{name} goes from {lowest:g} to {highest:g}, but pixels must go from 0 to 255, or from 0 to 1."
    if lowest < 0 and lowest >= -1 and highest <= 1:
        raise DataError(f"{span} If -1 stands for black, save (x + 1) / 2.")
    if lowest < 0:
        raise DataError(f"{span} If they were standardised, undo it: save x * std + mean.")
    if highest > 255:
        raise DataError(f"{span} If they have 16 bits, save x / 65535.")
    return 255 if images.dtype.kind == "f" and highest <= 1 else 1


def checked_factor(images: Array, name: str, factor: int | None) -> int:
    """What `images` are multiplied by where the training images are multiplied by `factor`; None if they do not say.

    Raises:
        DataError: its numbers can't be pixels, or not where the training images are what they are.
    """
    own = factor_of(images, name)
    if factor == 255 and images.dtype.kind == "f" and own == 1 and images.size:
        raise DataError(f"{name} goes up to {images.max():g}, but the training images go from 0 to 1. Save both alike.")
    return own if factor is None or (images.dtype.kind != "f" and factor == 255) else factor


def to_images(
    images: Array, name: str, factor: int, shape: Shape = IMAGE_SHAPE
) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
    """uint8 (N, *shape) of an array of images, and how it was understood.

    `factor` is that of the training images: theirs alone says whether fractions are meant.
    """
    layout = layout_of(images.shape, images.dtype, name)
    wanted = resolved(shape, layout.shape)
    if images.dtype == np.uint8 and images.shape[1:] == wanted:
        return np.ascontiguousarray(images).astype(np.uint8, copy=False), ()
    factor = checked_factor(images, name, factor)
    done = np.empty((len(images), *wanted), np.uint8)
    step = max(1, _CHUNK_BYTES // (8 * max(1, images[:1].size)))
    for start in range(0, len(images), step):
        some = images[start : start + step]
        if some.dtype != np.uint8:
            some = np.rint(some.astype(np.float64) * factor).astype(np.uint8)
        pixels = layout.channels_last(some)
        if wanted == (*layout.shape[:2], 3):
            pixels = np.broadcast_to(pixels, (len(pixels), *wanted))
        elif wanted != layout.shape:
            pixels = np.stack([brought(as_picture(one.astype(np.uint8, copy=False)), wanted) for one in pixels])
        done[start : start + len(pixels)] = pixels
    repeated = ", repeated for red, green and blue"
    note = layout.note if wanted[2] == 3 else layout.note.removesuffix(repeated)
    notes = [note] if note else []
    if images.dtype.kind == "f":
        meant = "0 to 1: multiplied by 255" if factor == 255 else "0 to 255: rounded"
        notes.append(f"{name}: images were floats from {meant}")
    elif images.dtype != np.uint8:
        notes.append(f"{name}: images were {images.dtype}, {'false or true' if factor == 255 else '0 to 255'}")
    notes += [f"{name}: {note}" for note in resizing([(layout.width, layout.height)], shape)]
    return done, tuple(notes)


@dataclass(frozen=True)
class Labelling:
    """What labels mean, as the training labels say it."""

    class_names: tuple[str, ...]
    first: int = 0
    """The label of the first class."""
    texts: bool = False
    notes: tuple[str, ...] = ()

    def numbers(self, labels: Array, name: str) -> npt.NDArray[np.int32]:
        """Labels as indices of classes, (N,). Raises DataError for those that no training image has."""
        plain, _ = _plain(labels, name, len(self.class_names))
        if (plain.dtype.kind == "U") != self.texts:
            expected = "texts" if self.texts else "numbers"
            raise DataError(
                f"{name} is {_called(labels.dtype)}, but the training labels are {expected}. Save both alike."
            )
        if self.texts:
            known = {text: number for number, text in enumerate(self.class_names)}
            strange = sorted(set(plain.tolist()) - known.keys())
            if strange:
                raise DataError(
                    f"{name} has {_listed(strange)}, which no training image is. Classes: {_listed(self.class_names)}. "
                    "Remove these images, or add such training images."
                )
            return np.array([known[text] for text in plain.tolist()], np.int32)
        lowest, highest = (int(plain.min()), int(plain.max())) if plain.size else (self.first, self.first)
        last = self.first + len(self.class_names) - 1
        if lowest < self.first or highest > last:
            raise DataError(
                f"{name} must lie from {self.first} to {last}, as the training labels do, but go from {lowest} to "
                f"{highest}. Remove these images, or add such training images."
            )
        return (plain.astype(np.int64) - self.first).astype(np.int32)


def labelling_of(labels: Array, name: str, class_names: tuple[str, ...] | None) -> Labelling:
    """What the training labels mean; `class_names` is what the file calls the classes, if it does.

    Raises:
        DataError: they are no labels, or have a gap, or are all the same.
    """
    plain, notes = _plain(labels, name, None)
    if not plain.size:
        raise DataError(f"{name} has no labels. Add images.")
    if plain.dtype.kind == "U":
        names = tuple(sorted(set(plain.tolist())))
        if class_names is not None and set(class_names) != set(names):
            raise DataError(
                f"class_names are {_listed(class_names)}, but {name} has {_listed(names)}. Save both alike."
            )
        labelling = Labelling(class_names or names, texts=True, notes=(*notes, f"{name}: classes are {_listed(names)}"))
    else:
        labelling = _numbered(plain, name, class_names, notes)
    if len(labelling.class_names) < 2:
        raise DataError(f"{name}: all images are of one class; a classifier needs two or more.")
    return labelling


def _numbered(labels: Array, name: str, class_names: tuple[str, ...] | None, notes: tuple[str, ...]) -> Labelling:
    # The highest comes from outside: with one stray label of 2**31 counts alone would fill the memory.
    present = [int(label) for label in np.unique(labels)]
    if present[0] < 0:
        raise DataError(f"{name} has the label {present[0]}, but labels count from 0 or 1. Number the classes anew.")
    first = 1 if present[0] == 1 and len(class_names or present) == len(present) else 0
    if present != list(range(first, first + len(present))):
        absent = next(number for number, label in enumerate([*present, -1], first) if number != label)
        raise DataError(
            f"{name} go up to {present[-1]}, but no image has label {absent}. Number the classes from 0 without a gap: "
            "y = numpy.unique(y, return_inverse=True)[1]."
        )
    if class_names is not None and len(class_names) != len(present):
        raise DataError(
            f"there are {len(class_names)} class names, but {name} has {len(present)} classes. Give a name for each."
        )
    if first:
        notes = (*notes, f"{name}: labels counted from 1")
    if class_names is None:
        class_names = CIFAR10_CLASSES if _as_cifar10(labels) else tuple(str(number) for number in present)
    return Labelling(class_names, first, notes=notes)


def _plain(labels: Array, name: str, classes: int | None) -> tuple[Array, tuple[str, ...]]:
    """Labels as (N,) whole numbers or texts, and how they were understood."""
    if labels.ndim == 2 and labels.shape[1] > 1 and labels.dtype.kind in "iufb":
        return _from_one_hot(labels, name, classes)
    if labels.shape not in {(labels.size,), (labels.size, 1)}:
        raise DataError(
            f"{name} has shape {labels.shape}, but labels must have (N,), (N, 1), or (N, classes) if they are one-hot. "
            "Reshape it: y.reshape(-1)."
        )
    flat = labels.reshape(-1)
    if flat.dtype.kind in "iu":
        return flat, ()
    if flat.dtype.kind == "b":
        return flat.astype(np.int64), (f"{name}: false is class 0, true is class 1",)
    if flat.dtype.kind == "U":
        return flat, ()
    if flat.dtype.kind == "S":
        return decoded_texts(flat), ()
    if flat.dtype.kind != "f":
        raise DataError(f"{name} is {_called(labels.dtype)}, but labels must be integers or texts. Save them so.")
    if not np.isfinite(flat).all():
        raise DataError(f"{name} has labels that are not numbers (NaN or infinite). Remove these images.")
    if not (flat == np.rint(flat)).all() or np.abs(flat).max(initial=0) > 2**53:
        raise DataError(f"{name} has fractions, e.g. {flat[flat != np.rint(flat)][:1]}, but a label is a whole number.")
    return flat.astype(np.int64), (f"{name}: labels were floats that are whole",)


def decoded_texts(texts: Array) -> Array:
    """Texts that were stored as bytes."""
    return np.array([bytes(text).decode("utf-8", "replace") for text in texts.tolist()])


def _from_one_hot(labels: Array, name: str, classes: int | None) -> tuple[Array, tuple[str, ...]]:
    if classes is not None and labels.shape[1] != classes:
        raise DataError(f"{name} has {labels.shape[1]} columns, but there are {classes} classes. Save both alike.")
    right = ((labels == 0) | (labels == 1)).all(axis=1) & ((labels == 1).sum(axis=1) == 1)
    if not right.all():
        row = int(right.argmin())
        raise DataError(
            f"{name} has shape {labels.shape}, but its row {row} is not one-hot: a single 1 among zeros. For the most "
            "probable class save y.argmax(axis=1)."
        )
    return labels.argmax(axis=1), (f"{name}: labels were one-hot",)


def _as_cifar10(labels: Array) -> bool:
    if labels.size != 50_000:
        return False
    counts = np.unique(labels, return_counts=True)[1]
    return len(counts) == 10 and bool(np.all(counts == 5000))


def _called(dtype: np.dtype[np.generic]) -> str:
    return "text" if dtype.kind in "US" else str(dtype)


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
