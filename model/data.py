"""Which images there are to train, validate and test on.

A source is `cifar10`, `digits`, `synthetic`, the path of a `.npz` file, or the path of an image folder
(`model.sources` says what each is). Training and test images are opened by different functions, so that a search
that calls only `load_training` can't have looked at the test set.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import train_test_split

from model import sources
from model.config import DataError, DataSpec
from model.images import ImageSet

__all__ = ["ImageSet", "Split", "fingerprint", "load_test", "load_training", "split"]

_NAMED: dict[str, Callable[[sources.Part, Path], ImageSet]] = {
    "cifar10": sources.cifar10,
    "digits": sources.digits,
    "synthetic": sources.synthetic,
}


@dataclass(frozen=True, eq=False)
class Split:
    """Training images in two: what is trained on, and what is held out to choose by."""

    train: ImageSet
    validation: ImageSet


def load_training(source: str, cache: Path) -> ImageSet:
    """The training images of a source, validation images among them. `cache` is a folder for what is decoded once.

    Raises:
        DownloadError: the images would have to be downloaded and can't be.
        DataError: the source does not exist, or holds something else.
    """
    return _load(source, "train", cache)


def load_test(source: str, cache: Path) -> ImageSet:
    """The test images of a source. Raises what `load_training` raises."""
    return _load(source, "test", cache)


def _load(source: str, part: sources.Part, cache: Path) -> ImageSet:
    if source in _NAMED:
        return _NAMED[source](part, cache)
    try:
        path = Path(source).expanduser()
        if source and path.is_dir():
            return sources.folder(path, part, cache)
        if path.is_file():
            return sources.npz(path, part)
    except RuntimeError as error:  # of expanduser
        raise DataError(f"Data source {source!r}: {error} Write the path in full.") from error
    except OSError as error:
        raise DataError(f"{error.filename or source} can't be read ({error.strerror}). Repair or remove it.") from error
    close = difflib.get_close_matches(source.lower(), _NAMED, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    raise DataError(
        f"Data source {source!r} is neither {', '.join(_NAMED)} nor a path that exists. {hint}"
        "Give one of these names, a .npz file, or a folder with train/<class>/ and test/<class>/."
    )


def split(training: ImageSet, spec: DataSpec) -> Split:
    """Hold `spec.validation_images` out of the training images, stratified by class, and keep `spec.train_images`.

    The same images, numbers and `split_seed` give the same split.

    Raises:
        DataError: there are too few images, of all classes or of one.
    """
    available, classes = len(training), len(training.class_names)
    wanted = spec.validation_images + (spec.train_images or 1)
    if wanted > available:
        asked = f"{spec.train_images} training and " if spec.train_images else "any training and "
        raise DataError(
            f"{asked}{spec.validation_images} validation images are more than the {available} that {spec.source} has. "
            "Lower train_images or validation_images."
        )
    counts = np.bincount(training.labels, minlength=classes)
    if counts.min() < 2:
        rare = int(counts.argmin())
        raise DataError(
            f"Class {training.class_names[rare]!r} of {spec.source} has {counts[rare]} training image, but a "
            "stratified split needs 2 or more of each class. Add images or leave the class out."
        )
    for name, number in (("validation_images", spec.validation_images), ("train_images", spec.train_images)):
        if number is not None and number < classes:
            raise DataError(f"{name} = {number} is fewer than one for each of the {classes} classes. Raise it.")
    if available - spec.validation_images < classes:
        raise DataError(
            f"validation_images = {spec.validation_images} leaves {available - spec.validation_images} of {available} "
            f"images to train on, fewer than one for each of the {classes} classes. Lower it."
        )
    rest, held_out = _stratified(np.arange(available), training.labels, spec.validation_images, spec.split_seed)
    if spec.train_images is not None and spec.train_images < len(rest):
        _, rest = _stratified(rest, training.labels, spec.train_images, spec.split_seed)
    left = np.bincount(training.labels[rest], minlength=classes)
    if not left.all():
        rare = int(left.argmin())
        raise DataError(
            f"Class {training.class_names[rare]!r} of {spec.source} has {counts[rare]} images, so few that the split "
            "leaves none to train on. Add images, hold out fewer, or leave the class out."
        )
    return Split(_subset(training, rest), _subset(training, held_out))


def fingerprint(training: ImageSet) -> str:
    """`sha256:` and 64 hex digits over the images' shape, pixels, labels and class names."""
    digest = hashlib.sha256(json.dumps([training.images.shape, training.class_names]).encode())
    digest.update(np.ascontiguousarray(training.images).data)
    digest.update(training.labels.astype("<i4").data)
    return f"sha256:{digest.hexdigest()}"


def _stratified(
    indices: npt.NDArray[np.int64], labels: npt.NDArray[np.int32], size: int, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """`indices` without and with `size` of them drawn, each in rising order."""
    left_over = len(indices) - size
    # scikit-learn refuses to stratify when a class has one image, or either side fewer images than there are classes.
    present, counts = np.unique(labels[indices], return_counts=True)
    by_class = labels[indices] if left_over >= len(present) and counts.min() > 1 else None
    others, drawn = train_test_split(indices, test_size=size, stratify=by_class, random_state=seed)
    return np.sort(others), np.sort(drawn)


def _subset(images: ImageSet, indices: npt.NDArray[np.int64]) -> ImageSet:
    return ImageSet(images.images[indices], images.labels[indices], images.class_names)
