"""Where images come from: what ships with scikit-learn, CIFAR-10 by its name, and whatever a path leads to.

Each source gives its training images, its own validation set among them if it has one, or its test images; and never
opens an image of the other part. Nothing that a user names is unpickled (see `model.unpickling` for CIFAR's files).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from model import cifar, folders, npz, parquet
from model.arrays import CIFAR10_CLASSES
from model.config import DataError, DownloadError
from model.images import IMAGE_SHAPE, ImageSet, Shape, brought_set, image_set
from model.kept import Arrays, Part, kept, notes_in

CIFAR10_URL: Final = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CIFAR10_SHA256: Final = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
"""Of the archive, as Keras 3 has it."""
DIGITS_TEST: Final = 297
SYNTHETIC_IMAGES: Final = {"train": 2000, "test": 500}
_NUMBERS: Final = tuple(str(number) for number in range(10))
_KERAS_ARCHIVE: Final = "cifar-10-batches-py-target_archive"


def cifar10(part: Part, cache: Path, shape: Shape) -> ImageSet:
    """CIFAR-10: 50,000 training and 10,000 test images, from Keras' folder of data sets, where Keras downloads it to.

    Both parts are decoded together; each is then kept in a file of its own, so that later only the one asked for is
    opened, and without starting TensorFlow. What somebody else put into Keras' folder is read, and never removed.
    """

    def decode() -> dict[Part, Arrays]:
        there = _in_keras_folder()
        return _downloaded() if there is None else _brought(there)

    arrays = kept(cache, "cifar10", part, "keras.datasets.cifar10", decode)
    return brought_set(image_set(arrays["x"], arrays["y"], CIFAR10_CLASSES, "cifar10", notes_in(arrays)), shape)


def _keras_datasets() -> Path:
    return Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "datasets"


def _in_keras_folder() -> Path | None:
    """CIFAR-10 in Keras' folder, unpacked or as an archive; None if it has to be downloaded."""
    folder = _keras_datasets()
    places = (
        folder / "cifar-10-batches-py-target",
        folder / "cifar-10-batches-py",
        folder / _KERAS_ARCHIVE,
        folder / "cifar-10-batches-py.tar.gz",
        folder / "cifar-10-python.tar.gz",
    )
    for place in places:
        if place.is_dir() and (found := cifar.cifar_folder(place)):
            return found
        if place.is_file():
            return place
    return None


def _brought(there: Path) -> dict[Part, Arrays]:
    """Both parts of what lies in Keras' folder. Raises DataError that says what does not match."""
    notes = [f"CIFAR-10 was read from {there}"]
    strange = ""
    if there.is_file():
        with there.open("rb") as archive:
            digest = hashlib.file_digest(archive, "sha256").hexdigest()
        if digest != CIFAR10_SHA256:
            strange = f"its SHA-256 is {digest}, and the original's is {CIFAR10_SHA256}"
            notes.append(strange)
    try:
        decoded = cifar.decode_cifar(there, ("train", "test"))
        _check_is_cifar10(decoded, there)
    except DataError as error:
        reason = f"{error} {strange[0].upper()}{strange[1:]}." if strange else str(error)
        raise DataError(
            f"{reason} It was left as it is: replace it with {CIFAR10_URL}, or remove it to have it downloaded."
        ) from error
    return {name: {"x": arrays["x"], "y": arrays["y"], "notes": np.array(notes)} for name, arrays in decoded.items()}


def _check_is_cifar10(decoded: dict[Part, Arrays], there: Path) -> None:
    found = {name: (len(arrays["y"]), tuple(arrays["class_names"])) for name, arrays in decoded.items()}
    if found != {"train": (50_000, CIFAR10_CLASSES), "test": (10_000, CIFAR10_CLASSES)}:
        counts = " and ".join(f"{count:,}" for count, _ in found.values())
        raise DataError(f"{there} has {counts} images, but CIFAR-10 has 50,000 and 10,000 of its ten classes.")


def _downloaded() -> dict[Part, Arrays]:
    from model.our_keras import keras

    try:
        with contextlib.redirect_stdout(sys.stderr):  # its progress bar would garble what a command prints
            train, test = keras.datasets.cifar10.load_data()
    except Exception as error:  # Keras wraps whatever the network did in a plain Exception
        raise DownloadError(
            f"CIFAR-10 can't be downloaded ({str(error).strip() or type(error).__name__}). Bring it by hand: save "
            f"{CIFAR10_URL} as {_keras_datasets() / _KERAS_ARCHIVE}, or name it with --data cifar-10-python.tar.gz; "
            "or give the images with --data FILE.npz (x_train, y_train, x_test, y_test) or --data FOLDER "
            "(train/<class>/, test/<class>/); or try --data digits, which needs none."
        ) from error
    return {"train": {"x": train[0], "y": train[1]}, "test": {"x": test[0], "y": test[1]}}


def digits(part: Part, _cache: Path, shape: Shape) -> ImageSet:
    """scikit-learn's 1,797 handwritten digits, 8x8 and grey; 297, stratified, are the test."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    small, labels = load_digits(return_X_y=True)
    chosen = train_test_split(np.arange(len(labels)), test_size=DIGITS_TEST, stratify=labels, random_state=0)
    indices = np.sort(chosen[0 if part == "train" else 1])
    grey = np.rint(small[indices].reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    found = brought_set(image_set(grey, labels[indices], _NUMBERS, "digits", shape=grey.shape[1:]), shape)
    return replace(found, notes=())


def synthetic(part: Part, _cache: Path, shape: Shape) -> ImageSet:
    """A stand-in for tests: ten smooth random patterns, each image one of them, dimmed and under noise."""
    count = SYNTHETIC_IMAGES[part]
    coarse = np.random.Generator(np.random.Philox(0)).random((10, 4, 4, 3))
    patterns = np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)
    random = np.random.Generator(np.random.Philox({"train": 1, "test": 2}[part]))
    labels = random.permutation(np.arange(count) % 10)
    strength = random.uniform(0.3, 1.0, (count, 1, 1, 1))
    pixels = 128 + 80 * strength * (patterns[labels] - 0.5) + 32 * random.standard_normal((count, *IMAGE_SHAPE))
    found = image_set(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), labels, _NUMBERS, "synthetic")
    return replace(brought_set(found, shape), notes=())


NAMED: Final[dict[str, Callable[[Part, Path, Shape], ImageSet]]] = {
    "cifar10": cifar10,
    "digits": digits,
    "synthetic": synthetic,
}


class Counts(NamedTuple):
    """What of a source is known before an image is opened."""

    training: int
    """Training images."""
    own_validation: bool
    """Whether it has a validation set, so that nothing is held out of them."""
    classes: int


def from_path(path: Path, part: Part, cache: Path, shape: Shape, *, skip_unreadable: bool) -> ImageSet | None:
    """The images that a path leads to; None if nothing is there.

    Raises:
        DataError: it is something else, or can't be read.
        OSError: the same, for the file system's reasons.
    """
    if not (path.is_dir() or path.is_file()):
        return None
    if found := _as_cifar(path):
        return cifar.load_cifar(found, part, cache, shape)
    if _is_parquet(path):
        return parquet.load_parquet(path, part, cache, shape, skip_unreadable=skip_unreadable)
    if path.is_dir():
        return folders.load_folder(path, part, cache, shape, skip_unreadable=skip_unreadable)
    return npz.load_npz(path, part, shape)


def counts_at(path: Path) -> Counts | None:
    """What a path's source holds, no image being opened; None where that can't be told, or need not be (CIFAR).

    Raises:
        DataError: as `from_path`.
        OSError: as `from_path`.
    """
    if not (path.is_dir() or path.is_file()) or _as_cifar(path):
        return None
    if _is_parquet(path):
        return Counts(*parquet.parquet_counts(path))
    return Counts(*(folders.folder_counts if path.is_dir() else npz.npz_counts)(path))


def _as_cifar(path: Path) -> Path | None:
    """The archive or the folder of CIFAR's files that a path leads to; None if it is something else."""
    if path.is_dir():
        return cifar.cifar_folder(path)
    return path if cifar.is_tar(path) else None


def _is_parquet(path: Path) -> bool:
    if path.is_dir():
        return bool(parquet.parquet_files(path))
    with path.open("rb") as raw:
        return raw.read(4) == b"PAR1"
