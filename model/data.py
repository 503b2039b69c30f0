"""Which images there are to train, validate and test on.

A source is `cifar10`, `digits`, `synthetic`, or a path: of CIFAR as it is published, of a `.npz` file, of Hugging
Face's parquet, or of an image folder (docs/data.md says what each may be). Training and test images are opened by
different functions, so that a search that calls only `load_training` can't have looked at the test set.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model import sources
from model.config import DataError, DataSpec
from model.images import IMAGE_SHAPE, ImageSet, Shape, no_test_set
from model.kept import Part

__all__ = [
    "ImageSet",
    "Split",
    "check_has_test",
    "counted",
    "fingerprint",
    "load_test",
    "load_training",
    "shape_of",
    "split",
]

_NAMED = sources.NAMED


@dataclass(frozen=True, eq=False)
class Split:
    """Training images in two: what is trained on, and what is held out to choose by."""

    train: ImageSet
    validation: ImageSet


def shape_of(spec: DataSpec, *, own: bool) -> Shape:
    """What the images are brought to: for the AlexNet, or with `own` for a network of one's own."""
    return (spec.image_size, spec.image_size, None) if own else IMAGE_SHAPE


def load_training(
    source: str, cache: Path, skip_unreadable: bool | None = None, shape: Shape = IMAGE_SHAPE
) -> ImageSet:
    """The training images of a source, those to be held out among them, and its own validation set if it has one.

    `cache` is a folder for what is decoded once. The images are brought to `shape`; the validation set, where that
    leaves anything open, to what the training images have. Of the test set, labels, headers and the range of its
    numbers are looked at, so that one that can't be used is told before a search; nothing is decided by it.

    Raises:
        DownloadError: the images would have to be downloaded and can't be.
        DataError: the source does not exist, holds something else, or has a test set that can't be used.
    """
    training = _load(source, "train", cache, skip_unreadable, shape)
    notes = list(training.notes)
    if training.validation is not None:
        notes.append(f"its own {len(training.validation):,} validation images are used, and nothing is held out")
    if not training.has_test:
        notes.append("it has no test set: a search needs none, `retrain` does unless it is told --validate")
    return replace(training, notes=tuple(notes))


def load_test(source: str, cache: Path, skip_unreadable: bool | None = None, shape: Shape = IMAGE_SHAPE) -> ImageSet:
    """The test images of a source. Raises what `load_training` raises, and DataError if there is no test set.

    `shape` is best that of the training images, or of what the network takes: nothing of it is then left open.
    """
    return _load(source, "test", cache, skip_unreadable, shape)


def check_has_test(training: ImageSet, source: str) -> None:
    """Raises DataError if the source of these training images has no test set, none of which is opened."""
    if not training.has_test:
        raise no_test_set(source)


def counted(source: str) -> sources.Counts | None:
    """How many training images a path's source holds, no image being opened; None where that can't be told."""
    try:
        return None if source in _NAMED or not source else sources.counts_at(Path(source).expanduser())
    except (DataError, RuntimeError, OSError):
        return None  # whoever opens it says what is wrong


def _load(source: str, part: Part, cache: Path, skip_unreadable: bool | None, shape: Shape) -> ImageSet:
    if source in _NAMED:
        return _NAMED[source](part, cache, shape)
    try:
        path = Path(source).expanduser()
        if source and (found := sources.from_path(path, part, cache, shape, skip_unreadable=bool(skip_unreadable))):
            return found
    except RuntimeError as error:  # of expanduser
        raise DataError(f"Data source {source!r}: {error} Write the path in full.") from error
    except OSError as error:
        raise DataError(f"{error.filename or source} can't be read ({error.strerror}). Repair or remove it.") from error
    close = difflib.get_close_matches(source.lower(), _NAMED, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    raise DataError(
        f"Data source {source!r} is neither {', '.join(_NAMED)} nor a path that exists. {hint}"
        "Give one of these names, an archive of CIFAR, a .npz or .parquet file, or a folder with train/<class>/ and "
        "test/<class>/."
    )


def split(training: ImageSet, spec: DataSpec) -> Split:
    """Hold `spec.validation_images` out of the training images, stratified by class, and keep `spec.train_images`.

    The same images, numbers and `split_seed` give the same split. Where the source brings a validation set of its own,
    that is used, all of it, and nothing is held out.

    Raises:
        DataError: there are too few images, of all classes or of one.
    """
    if training.validation is not None:
        return Split(_some(training, spec), training.validation)
    available, classes = len(training), len(training.class_names)
    wanted = spec.validation_images + (spec.train_images or 1)
    if wanted > available:
        asked = f"{spec.train_images} training and {spec.validation_images} validation images are more than"
        if not spec.train_images:
            asked = f"{spec.validation_images} validation images leave none to train on of"
        found = "".join(f" ({note})" for note in training.notes if "passed over" in note)
        raise DataError(
            f"{asked} the {available} that {spec.source} has{found}. "
            "Lower train_images or validation_images (run --train-images, --validation-images)."
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


def _some(training: ImageSet, spec: DataSpec) -> ImageSet:
    """`spec.train_images` of all training images, stratified by class."""
    wanted, classes = spec.train_images, len(training.class_names)
    if wanted is None or wanted == len(training):
        return training
    if wanted > len(training):
        raise DataError(
            f"{wanted} training images are more than the {len(training)} that {spec.source} has. Lower train_images."
        )
    if wanted < classes:
        raise DataError(f"train_images = {wanted} is fewer than one for each of the {classes} classes. Raise it.")
    return _subset(training, _stratified(np.arange(len(training)), training.labels, wanted, spec.split_seed)[1])


def fingerprint(training: ImageSet) -> str:
    """`sha256:` and 64 hex digits over the images' shape, pixels, labels and class names.

    A validation set that the source brings along is covered too.
    """
    digest = hashlib.sha256(json.dumps([training.images.shape, training.class_names]).encode())
    for images in (training, training.validation):
        if images is not None:
            digest.update(np.ascontiguousarray(images.images).data)
            digest.update(images.labels.astype("<i4").data)
    return f"sha256:{digest.hexdigest()}"


def _stratified(
    indices: npt.NDArray[np.int64], labels: npt.NDArray[np.int32], size: int, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """`indices` without and with `size` of them drawn, each in rising order."""
    from sklearn.model_selection import train_test_split  # a second to import, which whoever only counts must not wait

    left_over = len(indices) - size
    # scikit-learn refuses to stratify when a class has one image, or either side fewer images than there are classes.
    present, counts = np.unique(labels[indices], return_counts=True)
    by_class = labels[indices] if left_over >= len(present) and counts.min() > 1 else None
    others, drawn = train_test_split(indices, test_size=size, stratify=by_class, random_state=seed)
    return np.sort(others), np.sort(drawn)


def _subset(images: ImageSet, indices: npt.NDArray[np.int64]) -> ImageSet:
    return ImageSet(images.images[indices], images.labels[indices], images.class_names)
