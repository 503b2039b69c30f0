"""CIFAR-10 and CIFAR-100 as their author publishes them: an archive or its folder, in Python's or in a binary format.

Nothing is unpacked to the disk: members are found by their names, however the archive spells their paths, and read into
memory up to a size that only a made-up file exceeds.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from model.arrays import CIFAR10_CLASSES, CIFAR_ROW
from model.config import DataError
from model.images import IMAGE_SHAPE, ImageSet, Shape, brought_set, image_set, no_test_set
from model.kept import Arrays, Part, kept, key_of
from model.unpickling import array_of, read_pickle, texts_of

_MOST_MEMBERS: Final = 1000
_MOST_BYTES: Final = 2**28
"""Of a member: CIFAR-100's training images, the largest, have 155 MB; a batch of CIFAR-10 has 31."""


@dataclass(frozen=True)
class Edition:
    """One of the four forms that CIFAR comes in."""

    name: str
    train: tuple[str, ...]
    test: str
    names: str
    """The file of the class names."""
    names_key: str
    label: str | int
    """Key of the labels, or which of the bytes before an image has its label."""
    row: int = 0
    """Bytes of an image with its labels; 0 if the format is Python's."""

    @property
    def binary(self) -> bool:
        return self.row > 0


_BATCHES: Final = tuple(f"data_batch_{number}" for number in range(1, 6))
EDITIONS: Final = (
    Edition("CIFAR-10", _BATCHES, "test_batch", "batches.meta", "label_names", "labels"),
    Edition(
        "CIFAR-10, binary", tuple(f"{name}.bin" for name in _BATCHES), "test_batch.bin", "batches.meta.txt", "", 0,
        CIFAR_ROW + 1,
    ),
    Edition("CIFAR-100", ("train",), "test", "meta", "fine_label_names", "fine_labels"),
    Edition("CIFAR-100, binary", ("train.bin",), "test.bin", "fine_label_names.txt", "", 1, CIFAR_ROW + 2),
)  # fmt: skip

_NAMES: Final = frozenset(name for each in EDITIONS for name in (*each.train, each.test, each.names))


@dataclass(frozen=True)
class _Files:
    """The files of an archive or folder, by their names without folders."""

    path: Path
    sizes: Mapping[str, int]
    read: Callable[[Sequence[str]], dict[str, bytes]]
    """Some of them, all at once."""


def edition_of(names: set[str]) -> Edition | None:
    """Which edition files of these names are; None if they are none."""
    for edition in EDITIONS:
        # "train" and "test" alone may be anything: CIFAR-100's names come with them.
        if set(edition.train) & names and (len(edition.train) > 1 or edition.names in names):
            return edition
    return None


def cifar_folder(path: Path) -> Path | None:
    """The folder with CIFAR's files, `path` or the only one in it that has them; None if there is none."""
    inside = sorted(entry for entry in path.iterdir() if entry.is_dir() and entry.name[0] != ".")
    found = [folder for folder in (path, *inside[:20]) if edition_of(_files_in(folder))]
    return found[0] if found and (found[0] == path or len(found) == 1) else None


def _files_in(folder: Path) -> set[str]:
    return {name for name in _NAMES if (folder / name).is_file()}


def load_cifar(path: Path, part: Part, cache: Path, shape: Shape = IMAGE_SHAPE) -> ImageSet:
    """The training or test images of an archive or a folder.

    Raises:
        DataError: it is not all there, damaged, or something else.
    """
    if path.is_dir():
        stamps = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(path.iterdir())]
    else:
        stamps = [(path.name, path.stat().st_size, path.stat().st_mtime_ns)]
    arrays = kept(cache, key_of("cifar", path), part, repr(stamps), lambda: decode_cifar(path, (part,)))
    if not arrays["x"].size:
        raise no_test_set(str(path))
    names = tuple(str(name) for name in arrays["class_names"])
    notes = [str(note) for note in arrays["notes"]]
    found = image_set(arrays["x"], arrays["y"], names, str(path), notes)
    return brought_set(replace(found, has_test=bool(arrays["has_test"])), shape)


def decode_cifar(path: Path, parts: tuple[Part, ...]) -> dict[Part, Arrays]:
    """x, y, class_names, notes and has_test of each part; of a test set that is not there, empty x and y.

    Raises:
        DataError: see `load_cifar`.
    """
    try:
        if path.is_dir():
            sizes = {name: (path / name).stat().st_size for name in _files_in(path)}
            files = _Files(path, sizes, lambda names: {name: (path / name).read_bytes() for name in names})
            return _decode(files, parts)
        with (
            _Bounded(path) if _is_gzip(path) else path.open("rb") as raw,
            tarfile.open(fileobj=raw, mode="r:") as archive,
        ):
            members = _members(archive, path)
            sizes = {name: member.size for name, member in members.items()}
            return _decode(_Files(path, sizes, lambda names: _contents(archive, members, names)), parts)
    except PermissionError as error:
        raise DataError(f"{error.filename or path} can't be read ({error.strerror}). Make it readable.") from error
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DataError(
            f"{path} can't be read as a tar archive ({error}). Is it damaged or cut short? Compare its size with the "
            "one at its source."
        ) from error


def is_tar(path: Path) -> bool:
    """Whether a file is a tar archive, packed by gzip or not; one that is cut short is."""
    if _is_gzip(path):
        return True
    with path.open("rb") as raw:
        raw.seek(257)
        return raw.read(5) == b"ustar"


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as raw:
        return raw.read(2) == b"\x1f\x8b"


class _Bounded(gzip.GzipFile):
    """Never hands out more at once than the largest member has: tar's own headers may claim any size."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0 or size > _MOST_BYTES:
            raise tarfile.ReadError(f"a header claims {size} bytes")
        return super().read(size)


def _members(archive: tarfile.TarFile, path: Path) -> dict[str, tarfile.TarInfo]:
    members: dict[str, tarfile.TarInfo] = {}
    for number, member in enumerate(archive):
        if number >= _MOST_MEMBERS or member.size > _MOST_BYTES:
            raise DataError(
                f"{path} holds more than CIFAR has: {member.name!r} is file {number + 1}, of {member.size:,} bytes. "
                "If it holds images, unpack it and name the folder."
            )
        if member.isreg():
            members[member.name.rpartition("/")[2]] = member
    return members


def _contents(
    archive: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], names: Sequence[str]
) -> dict[str, bytes]:
    """Members in the order in which they lie: to go back, gzip would begin anew."""
    contents = {}
    for name in sorted(names, key=lambda name: members[name].offset_data):
        file = archive.extractfile(members[name])
        contents[name] = file.read(members[name].size) if file else b""
    return contents


def _decode(files: _Files, parts: tuple[Part, ...]) -> dict[Part, Arrays]:
    path, edition = files.path, edition_of(set(files.sizes))
    if edition is None:
        shown = ", ".join(sorted(files.sizes)[:5]) or "nothing"
        raise DataError(
            f"{path} is not an archive of CIFAR-10 or CIFAR-100; it holds {shown}. If it holds images, unpack it and "
            "name the folder."
        )
    if missing := [name for name in edition.train if name not in files.sizes]:
        raise DataError(f"{path} lacks {', '.join(missing)} of {edition.name}. Bring the whole archive.")
    has_test = edition.test in files.sizes
    wanted = {part: edition.train if part == "train" else (edition.test,) * has_test for part in parts}
    names = {name for of_part in wanted.values() for name in of_part} | ({edition.names} & files.sizes.keys())
    for name in sorted(names):
        if files.sizes[name] > _MOST_BYTES // len(edition.train):
            raise DataError(f"{path}: {name} has {files.sizes[name]:,} bytes, more than CIFAR's. Is it another file?")
    contents = files.read(sorted(names))
    class_names, notes = _class_names(contents, edition, path)
    decoded: dict[Part, Arrays] = {}
    for part in parts:
        pieces = [_piece(contents.pop(name), edition, f"{path}: {name}") for name in wanted[part]]
        decoded[part] = {
            "x": np.concatenate([x for x, _ in pieces]) if pieces else np.empty((0, 32, 32, 3), np.uint8),
            "y": np.concatenate([y for _, y in pieces]) if pieces else np.empty(0, np.int64),
            "class_names": np.array(class_names),
            "notes": np.array(notes, dtype=str),
            "has_test": np.array(has_test),
        }
    return decoded


def _piece(data: bytes, edition: Edition, where: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images (N, 32, 32, 3) and labels of one file."""
    if edition.binary:
        if not data or len(data) % edition.row:
            raise DataError(
                f"{where} has {len(data):,} bytes, but {edition.name} has {edition.row} for each image. Is it cut "
                "short, or of another format?"
            )
        rows = np.frombuffer(data, np.uint8).reshape(-1, edition.row)
        pixels, labels = rows[:, -CIFAR_ROW:], rows[:, int(edition.label)].astype(np.int64)
    else:
        content = read_pickle(data, where)
        if missing := {"data", str(edition.label)} - content.keys():
            raise DataError(f"{where} has no {' and no '.join(sorted(missing))}. Is it another file under this name?")
        found = array_of(content["data"], f"{where}: data")
        if found.dtype != np.uint8 or found.ndim != 2 or found.shape[1] != CIFAR_ROW:
            raise DataError(f"{where}: data is {found.dtype} {found.shape}, but uint8 (N, {CIFAR_ROW}) is expected.")
        pixels, labels = found.astype(np.uint8), _labels(content[str(edition.label)], f"{where}: {edition.label}")
        if len(labels) != len(pixels):
            raise DataError(f"{where}: there are {len(pixels)} images and {len(labels)} labels. Is it another file?")
    return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels


def _labels(value: Any, where: str) -> npt.NDArray[np.int64]:
    labels = array_of(value, where)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(f"{where} are {labels.dtype} {labels.shape}, but whole numbers (N,) are expected.")
    return labels.astype(np.int64)


def _class_names(contents: Mapping[str, bytes], edition: Edition, path: Path) -> tuple[tuple[str, ...], list[str]]:
    fine = ["the labels are the 100 fine ones"] if edition.name.startswith("CIFAR-100") else []
    if edition.names not in contents:  # only CIFAR-10's can be missed
        return CIFAR10_CLASSES, [f"{path} has no {edition.names}: its classes are called as CIFAR-10's are"]
    data, where = contents[edition.names], f"{path}: {edition.names}"
    if edition.binary:
        names = tuple(line.strip() for line in data.decode("utf-8", "replace").splitlines() if line.strip())
    else:
        names = texts_of(read_pickle(data, where).get(edition.names_key), f"{where}: {edition.names_key}")
    if len(names) < 2 or len(set(names)) != len(names):
        raise DataError(f"{where} has {len(names)} names, some perhaps twice, but a name for each class is expected.")
    return names, fine
