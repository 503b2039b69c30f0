"""Where images come from. Each source gives its training or its test images, and never opens the other part.

Nothing here unpickles a file that a user names. What is slow to decode is kept in a cache folder, written aside and
renamed under a lock: of several processes that start at once one decodes, and none reads half a file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from filelock import FileLock
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from model.config import DataError, DownloadError
from model.files import written_aside
from model.images import IMAGE_SHAPE, ImageSet, checked, read_image

Part = Literal["train", "test"]
Arrays = dict[str, npt.NDArray[np.generic]]

CIFAR10_CLASSES: Final = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
CIFAR10_URL: Final = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png"})
DIGITS_TEST: Final = 297
SYNTHETIC_IMAGES: Final = {"train": 2000, "test": 500}
_UNREADABLE: Final = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)


def cifar10(part: Part, cache: Path) -> ImageSet:
    """CIFAR-10 through Keras: 50,000 training and 10,000 test images.

    Keras decodes both parts together; each is then kept in a file of its own, so that later only the one asked for is
    opened, and without starting TensorFlow.
    """

    def decode() -> dict[Part, Arrays]:
        import keras

        try:
            with contextlib.redirect_stdout(sys.stderr):  # its progress bar would garble what a command prints
                train, test = keras.datasets.cifar10.load_data()
        except Exception as error:  # Keras wraps whatever the network did in a plain Exception
            archive = (
                Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
                / "datasets"
                / "cifar-10-batches-py-target_archive"
            )
            raise DownloadError(
                f"CIFAR-10 can't be downloaded ({str(error).strip() or type(error).__name__}). Bring it by hand: save "
                f"{CIFAR10_URL} as {archive}; or give the images with --data FILE.npz (x_train, y_train, x_test, "
                "y_test) or --data FOLDER (train/<class>/, test/<class>/); or try --data digits, which needs none."
            ) from error
        return {"train": {"x": train[0], "y": train[1]}, "test": {"x": test[0], "y": test[1]}}

    arrays = _cached(cache, "cifar10", part, "keras.datasets.cifar10", decode)
    return checked(arrays["x"], arrays["y"], class_names=CIFAR10_CLASSES, classes=10, where="cifar10")


def npz(path: Path, part: Part) -> ImageSet:
    """A `.npz` file with x_train, y_train, x_test and y_test (images uint8 (N, 32, 32, 3), labels from 0).

    It may have class_names as well, a text for each label. Without them the classes are called by their numbers, those
    of CIFAR-10 by their names: it is told by its 5,000 training images of each of 10 classes.
    """
    members = (f"x_{part}", f"y_{part}")
    # Asked first, because NumPy takes whatever is no zip file for a pickle, and says so.
    if not zipfile.is_zipfile(path):
        raise DataError(
            f"{path} is not a .npz file, or is damaged or cut short. "
            "Make it with numpy.savez, of x_train, y_train, x_test and y_test."
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in ("x_train", "y_train", "x_test", "y_test") if name not in archive.files]
            if missing:
                raise DataError(
                    f"{path} has no {', '.join(missing)}. It must hold x_train, y_train, x_test and y_test; "
                    f"found: {', '.join(archive.files) or 'nothing'}."
                )
            images, labels, training_labels = (_array_in(archive, name, path) for name in (*members, "y_train"))
            classes = _classes_in(training_labels) if part == "test" else None
            class_names = _class_names_in(archive, path) or (CIFAR10_CLASSES if _as_cifar10(training_labels) else None)
    except _UNREADABLE as error:
        raise DataError(f"{path} can't be read as a .npz file ({error}). Is it damaged or cut short?") from error
    return checked(images, labels, classes=classes, class_names=class_names, where=str(path), names=members)


def _array_in(archive: Mapping[str, npt.NDArray[np.generic]], name: str, path: Path) -> npt.NDArray[np.generic]:
    array = archive[name]
    if not isinstance(array, np.ndarray):  # NumPy hands out what is no array as it is
        raise DataError(f"{path}: {name} is no NumPy array. Make the file with numpy.savez.")
    return array


def _classes_in(labels: npt.NDArray[np.generic]) -> int | None:
    """How many classes the training labels go up to; None if they are no numbers, which `load_training` tells."""
    if labels.dtype.kind not in "iuf" or not np.isfinite(labels).all():
        return None
    return int(np.max(labels, initial=0)) + 1


def _class_names_in(archive: Mapping[str, npt.NDArray[np.generic]], path: Path) -> tuple[str, ...] | None:
    if "class_names" not in archive:
        return None
    names = archive["class_names"]
    if names.dtype.kind != "U" or names.ndim != 1 or len(set(names.tolist())) != len(names):
        raise DataError(
            f"{path}: class_names must be different texts, one for each label, but is {names.dtype} of shape "
            f"{names.shape}. Make it with numpy.array([...]), or leave it out."
        )
    return tuple(names.tolist())


def _as_cifar10(labels: npt.NDArray[np.generic]) -> bool:
    if labels.size != 50_000 or not np.issubdtype(labels.dtype, np.integer):
        return False
    values, counts = np.unique(labels, return_counts=True)
    return bool(np.array_equal(values, np.arange(10)) and np.all(counts == 5000))


def digits(part: Part, _cache: Path) -> ImageSet:
    """scikit-learn's 1,797 handwritten digits, 8x8 and grey, enlarged to 32x32; 297, stratified, are the test."""
    small, labels = load_digits(return_X_y=True)
    chosen = train_test_split(np.arange(len(labels)), test_size=DIGITS_TEST, stratify=labels, random_state=0)
    indices = np.sort(chosen[0 if part == "train" else 1])
    grey = np.rint(small[indices].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    size = IMAGE_SHAPE[:2]
    large = np.stack([np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)) for image in grey])
    return checked(np.repeat(large[..., None], 3, axis=-1), labels[indices], classes=10, where="digits")


def synthetic(part: Part, _cache: Path) -> ImageSet:
    """A stand-in for tests: ten smooth random patterns, each image one of them, dimmed and under noise."""
    count = SYNTHETIC_IMAGES[part]
    coarse = np.random.Generator(np.random.Philox(0)).random((10, 4, 4, 3))
    patterns = np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)
    random = np.random.Generator(np.random.Philox({"train": 1, "test": 2}[part]))
    labels = random.permutation(np.arange(count) % 10)
    strength = random.uniform(0.3, 1.0, (count, 1, 1, 1))
    pixels = 128 + 80 * strength * (patterns[labels] - 0.5) + 32 * random.standard_normal((count, *IMAGE_SHAPE))
    return checked(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), labels, classes=10, where="synthetic")


def folder(path: Path, part: Part, cache: Path) -> ImageSet:
    """An image folder: `train/<class>/*.jpg|jpeg|png` and `test/<class>/*`, classes in the order of their names.

    Images of any size are brought to 32x32, in RGB. They are decoded again when a file came, went or changed.
    """
    classes = _class_names(path)
    files = [(file, number) for number, name in enumerate(classes) for file in _image_files(path / part / name)]
    listed = [(str(file.relative_to(path)), file.stat().st_size, file.stat().st_mtime_ns) for file, _ in files]
    stamp = hashlib.sha256(json.dumps([classes, listed]).encode()).hexdigest()

    def decode() -> dict[Part, Arrays]:
        images = np.stack([read_image(file) for file, _ in files])
        return {part: {"x": images, "y": np.array([number for _, number in files])}}

    key = f"folder-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    arrays = _cached(cache, key, part, stamp, decode)
    return checked(arrays["x"], arrays["y"], classes=len(classes), class_names=classes, where=str(path))


def _class_names(path: Path) -> tuple[str, ...]:
    found: dict[str, set[str]] = {}
    for part in ("train", "test"):
        if not (path / part).is_dir():
            raise DataError(f"{path} has no folder {part}/. An image folder holds train/<class>/ and test/<class>/.")
        found[part] = {entry.name for entry in (path / part).iterdir() if entry.is_dir() and entry.name[0] != "."}
    for part, other in (("train", "test"), ("test", "train")):
        if missing := sorted(found[other] - found[part]):
            raise DataError(
                f"{path / part} has no folder for {', '.join(missing)}, which {path / other} has. "
                "Every class needs a folder in both."
            )
    if len(found["train"]) < 2:
        raise DataError(f"{path / 'train'} has {len(found['train'])} class folders; a classifier needs two or more.")
    return tuple(sorted(found["train"]))


def _image_files(path: Path) -> list[Path]:
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.name[0] != ".")
    if not files:
        raise DataError(f"{path} has no .jpg, .jpeg or .png images. Add some, or remove the class from train and test.")
    return files


def _cached(cache: Path, key: str, part: Part, stamp: str, decode: Callable[[], dict[Part, Arrays]]) -> Arrays:
    """The arrays of a part, from the cache where it holds them with this stamp, else decoded and kept there."""
    path = cache / f"{key}-{part}.npz"
    if (found := _read_cache(path, stamp)) is not None:
        return found
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f"{key}.lock"):
            if (found := _read_cache(path, stamp)) is not None:  # another process decoded it while this one waited
                return found
            decoded = decode()
            for name, arrays in decoded.items():
                with written_aside(cache / f"{key}-{name}.npz") as temporary:
                    np.savez(temporary, stamp=np.array(stamp), **arrays, allow_pickle=False)
    except OSError as error:
        raise DataError(
            f"Decoded images can't be kept in {cache} ({error}). Make it writable, free space, or use another home."
        ) from error
    return decoded[part]


def _read_cache(path: Path, stamp: str) -> Arrays | None:
    try:
        with np.load(path, allow_pickle=False) as archive:
            if str(archive["stamp"]) != stamp:
                return None
            return {name: archive[name] for name in ("x", "y")}
    except _UNREADABLE:
        return None  # absent, or damaged by something else than us: decode again
