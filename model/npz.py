"""`.npz` files: which array is what, and how much may be read of it.

Every array is judged by its header first: what it claims to hold must be there, and must fit into the memory, before
any of it is taken. Nothing is unpickled. Of the test set, training looks at labels, headers and whether the numbers can
be pixels: that decides nothing, and who searches for hours must not learn of it in the end.
"""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import psutil

from model.arrays import Array, Labelling, checked_factor, decoded_texts, factor_of, labelling_of, layout_of, to_images
from model.config import DataError
from model.images import IMAGE_SHAPE, ImageSet, Shape, no_test_set
from model.kept import Part

PARTS: Final[dict[Part, tuple[str, ...]]] = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_IMAGES: Final = ("x", "images", "data", "imgs")
_LABELS: Final = ("y", "labels", "targets")
_NAMES: Final = ("class_names", "label_names", "classes")
_MOST_DEFLATED: Final = 1033
"""Deflate makes nothing smaller than by this factor."""
_MAGIC: Final = {
    b"\x89HDF": "an HDF5 file (Keras, h5py)",
    b"\x93NUMPY": "a single array (.npy)",
    b"MATLAB": "a MATLAB file",
    b"PAR1": "a parquet file",
    b"\x80\x02": "a Python pickle, which could run code and is never opened",
    b"\x80\x03": "a Python pickle, which could run code and is never opened",
    b"\x80\x04": "a Python pickle, which could run code and is never opened",
    b"\x80\x05": "a Python pickle, which could run code and is never opened",
}
_WAY_OUT: Final = "Make it with numpy.savez, of x_train, y_train, x_test and y_test."


class Header(NamedTuple):
    """What an array says of itself."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


class Pair(NamedTuple):
    """The names of a part's two arrays."""

    images: str
    labels: str


def load_npz(path: Path, part: Part, shape: Shape = IMAGE_SHAPE) -> ImageSet:
    """The training images of the file, its validation set among them, or its test images.

    Raises:
        DataError: the file is damaged, lacks arrays, or has arrays that can't be understood.
    """
    with _opened(path) as file:
        if part == "test":
            return file.test(shape)
        return file.training(shape)


def npz_counts(path: Path) -> tuple[int, bool, int]:
    """How many training images there are, whether it has a validation set, and how many classes. Raises DataError."""
    with _opened(path) as file:
        pairs = file.pairs()
        classes = len(file.labelling(pairs["train"]).class_names)
        return file.header(pairs["train"].labels).shape[0], "validation" in pairs, classes


@contextmanager
def _opened(path: Path) -> Iterator[_File]:
    # Asked first, because NumPy takes whatever is no zip file for a pickle, and says so.
    if not zipfile.is_zipfile(path):
        with path.open("rb") as raw:
            start = raw.read(8)
        kind = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)
        if kind:
            raise DataError(f"{path} is not a .npz file, but {kind}. {_WAY_OUT}")
        raise DataError(f"{path} is not a .npz file, or is damaged or cut short. {_WAY_OUT}")
    try:
        with zipfile.ZipFile(path) as archive:
            yield _File(path, archive)
    except DataError as error:
        raise DataError(f"{path}: {error}" if str(path) not in str(error) else str(error)) from error
    except NotImplementedError as error:
        raise DataError(
            f"{path} is packed in a way that is not read here ({error}). Save it again with numpy.savez."
        ) from error
    except MemoryError as error:
        raise DataError(f"{path} needs more memory than there is. Save its images as uint8 of 32x32.") from error
    except (
        OSError, ValueError, EOFError, KeyError, RuntimeError, struct.error,
        zipfile.BadZipFile, zlib.error, lzma.LZMAError,
    ) as error:  # fmt: skip
        raise DataError(f"{path} can't be read as a .npz file ({error}). Is it damaged or cut short?") from error


@dataclass(frozen=True)
class _File:
    path: Path
    archive: zipfile.ZipFile

    def names(self) -> list[str]:
        return [name.removesuffix(".npy") for name in self.archive.namelist()]

    def pairs(self) -> dict[Part, Pair]:
        """The arrays of each part that is there. Raises DataError if one lacks its other half, or train is missing."""
        names = self.names()
        if names and not any(name.endswith(".npy") for name in self.archive.namelist()):
            raise DataError(
                f"{self.path} is a zip archive, but none of its files is an array (.npy). If it holds images, unpack "
                "it and name the folder."
            )
        found: dict[Part, Pair] = {}
        for part in PARTS:
            images, labels = self._one(part, _IMAGES), self._one(part, _LABELS)
            if images and labels:
                found[part] = Pair(images, labels)
            elif images or labels:
                short = PARTS[part][0]
                absent, there = (f"y_{short}", images) if images else (f"x_{short}", labels)
                raise DataError(f"{self.path} has no {absent}, which {there} needs. Add it, or leave both out.")
        if "train" not in found:
            raise DataError(
                f"{self.path} has no x_train and y_train. It must hold them, and x_test and y_test for a test set; "
                f"found: {', '.join(names) or 'nothing'}."
            )
        return found

    def _one(self, part: Part, wanted: tuple[str, ...]) -> str | None:
        spelt = {f"{word}_{end}" for word in wanted for end in PARTS[part]}
        spelt |= {f"{end}_{word}" for word in wanted for end in PARTS[part]}
        found = [name for name in self.names() if name.lower() in spelt]
        if part == "train" and not found:
            found = [name for name in self.names() if name.lower() in wanted]
        if len(found) > 1:
            raise DataError(f"{self.path} has both {' and '.join(found)}. Leave out all but one.")
        return found[0] if found else None

    def training(self, shape: Shape) -> ImageSet:
        pairs = self.pairs()
        labelling = self.labelling(pairs["train"])
        training, factor = self._set(pairs["train"], labelling, shape)
        notes, validation = [*labelling.notes, *training.notes], None
        if "validation" in pairs:
            height, width, channels = training.images.shape[1:]
            validation, _ = self._set(pairs["validation"], labelling, (height, width, channels), factor)
            notes += [note for note in validation.notes if note not in notes]
        if "test" in pairs:
            is_float = self.header(pairs["train"].images).dtype.kind == "f"
            labels = self._usable_test_labels(pairs["test"], labelling, factor if is_float else None)
            absent = [name for number, name in enumerate(labelling.class_names) if number not in labels]
            if absent:
                notes.append(f"the test set has no image of {', '.join(absent[:10])}")
        return ImageSet(
            training.images, training.labels, labelling.class_names, tuple(notes), validation, "test" in pairs
        )

    def test(self, shape: Shape) -> ImageSet:
        pairs = self.pairs()
        if "test" not in pairs:
            raise no_test_set(str(self.path))
        factor = None
        if self.header(pairs["test"].images).dtype.kind == "f":  # then the training images say what fractions mean
            images = self.header(pairs["train"].images)
            if images.dtype.kind == "f":
                factor = factor_of(self.array(pairs["train"].images), pairs["train"].images)
        return self._set(pairs["test"], self.labelling(pairs["train"]), shape, factor)[0]

    def labelling(self, pair: Pair) -> Labelling:
        """What the labels mean, the training labels of `pair` being read for it."""
        names = next((name for name in self.names() if name.lower() in _NAMES), None)
        return labelling_of(self.array(pair.labels), pair.labels, None if names is None else self._class_names(names))

    def _class_names(self, name: str) -> tuple[str, ...]:
        header = self.header(name)
        names = self.array(name)
        if names.dtype.kind == "S":
            names = decoded_texts(names.reshape(-1)).reshape(names.shape)
        if names.dtype.kind != "U" or names.ndim != 1 or len(set(names.tolist())) != len(names):
            raise DataError(
                f"{name} must be different texts, one for each label, but is {header.dtype} of shape "
                f"{header.shape}. Make it with numpy.array([...]), or leave it out."
            )
        return tuple(names.tolist())

    def _set(self, pair: Pair, labelling: Labelling, shape: Shape, factor: int | None = None) -> tuple[ImageSet, int]:
        labels = self._fitting_labels(pair, labelling)
        images = self.array(pair.images)
        factor = factor_of(images, pair.images) if factor is None else factor
        pixels, notes = to_images(images, pair.images, factor, shape)
        return ImageSet(pixels, labels, labelling.class_names, notes), factor

    def _usable_test_labels(self, pair: Pair, labelling: Labelling, factor: int | None) -> set[int]:
        """Those of the test set; `factor` is that of training images that are fractions, or may be.

        Raises:
            DataError: it can't be used.
        """
        try:
            labels = set(self._fitting_labels(pair, labelling).tolist())
            if self.header(pair.images).dtype != np.uint8:  # of which all can be pixels
                checked_factor(self.array(pair.images), pair.images, factor)
        except DataError as error:
            raise DataError(f"the test set can't be used: {error}") from error
        return labels

    def _fitting_labels(self, pair: Pair, labelling: Labelling) -> npt.NDArray[np.int32]:
        """The labels of a part, the header of its images being all that is looked at of those."""
        shape, dtype = self.header(pair.images)
        labels = labelling.numbers(self.array(pair.labels), pair.labels)
        layout_of(shape, dtype, pair.images)
        if shape[0] != len(labels):
            raise DataError(
                f"{pair.images} has {shape[0]} images, but {pair.labels} has {len(labels)} labels. Save both of the "
                "same images."
            )
        if not len(labels):
            raise DataError(f"{pair.images} has no images. Add some, or leave out {pair.images} and {pair.labels}.")
        return labels

    def header(self, name: str) -> Header:
        """An array's header, checked against what the file holds."""
        info = self._info(name)
        if info.flag_bits & 1:
            raise DataError(f"{self.path} is encrypted. Save it again without a password, with numpy.savez.")
        with self.archive.open(info) as member:
            try:
                version = np.lib.format.read_magic(member)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(member)
                end = member.tell()
            except ValueError as error:
                raise DataError(f"{name} is not a NumPy array. Make the file with numpy.savez.") from error
        if dtype.hasobject:
            raise DataError(
                f"{name} holds Python objects, which can't be read without running code. Save it as "
                f"numbers or texts: numpy.array({name}.tolist())."
            )
        self._check_size(name, info, prod(shape) * dtype.itemsize, end)
        return Header(shape, dtype)

    def _check_size(self, name: str, info: zipfile.ZipInfo, claimed: int, start: int) -> None:
        held = info.file_size - start
        if info.compress_type == zipfile.ZIP_DEFLATED:
            held = min(held, info.compress_size * _MOST_DEFLATED)
        if claimed > held:
            raise DataError(
                f"{name} claims {claimed:,} bytes, but the file has room for {held:,} at most. Is it "
                "damaged or cut short?"
            )
        available = psutil.virtual_memory().available
        if claimed > available:
            raise DataError(
                f"{name} takes {claimed / 1e9:.1f} GB of memory, but {available / 1e9:.1f} GB are free. "
                "Save its images as uint8 of 32x32."
            )

    def _info(self, name: str) -> zipfile.ZipInfo:
        return self.archive.getinfo(f"{name}.npy" if f"{name}.npy" in self.archive.namelist() else name)

    def array(self, name: str) -> Array:
        """An array as it is stored."""
        self.header(name)
        with self.archive.open(self._info(name)) as member:
            array: Array = np.lib.format.read_array(member, allow_pickle=False)
            return array
