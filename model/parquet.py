"""Hugging Face's parquet files: a column of encoded pictures, a column of labels. Needs pyarrow, the extra `parquet`.

A part is the files whose names begin with train, validation or test, in the order of their names, as in
`train-00000-of-00001.parquet`; CIFAR-10's, which Hugging Face stores in another order, come out in their author's.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from model.arrays import Array, Labelling, labelling_of
from model.config import DataError
from model.images import (
    IMAGE_SHAPE,
    SKIPPING,
    Gathering,
    ImageSet,
    Shape,
    UnreadableImageError,
    decoded,
    image_set,
    no_test_set,
    resizing,
    tag_of,
)
from model.kept import Arrays, Part, kept, key_of, notes_in
from model.npz import PARTS

_LABELS: Final = ("label", "labels", "fine_label", "target", "class")
_BATCH: Final = 256
_BATCH_IMAGES: Final = 10_000
_CIFAR10_STARTS: Final = (
    (6, 9, 9, 4, 1, 1, 2, 7, 8, 3),
    (1, 6, 6, 8, 8, 3, 4, 6, 0, 6),
    (8, 5, 0, 6, 9, 2, 8, 3, 6, 2),
    (0, 6, 0, 2, 7, 2, 1, 2, 4, 1),
    (1, 8, 5, 1, 5, 7, 4, 3, 8, 2),
)
"""The labels that each of CIFAR-10's five batches of 10,000 images begins with."""


@dataclass(frozen=True)
class Columns:
    """Which columns are what, and what the file says of them."""

    image: str
    label: str
    class_names: tuple[str, ...] | None


def parquet_files(path: Path) -> dict[Part, tuple[Path, ...]]:
    """The parquet files of each part that is there: of a folder, or of a file and those beside it; empty if none."""
    folders = [path] if path.is_dir() else [path.parent]
    if path.is_dir():
        folders += sorted(entry for entry in path.iterdir() if entry.is_dir() and entry.name[0] != ".")[:20]
    for folder in folders:
        files = sorted(file for file in folder.iterdir() if file.suffix == ".parquet" and file.is_file())
        found = {part: tuple(file for file in files if file.name.lower().startswith(PARTS[part])) for part in PARTS}
        there: dict[Part, tuple[Path, ...]] = {part: some for part, some in found.items() if some}
        if there and (path.is_dir() or any(path in some for some in there.values())):
            return there
    return {"train": (path,)} if path.is_file() else {}


def load_parquet(path: Path, part: Part, cache: Path, shape: Shape = IMAGE_SHAPE, *, skip_unreadable: bool) -> ImageSet:
    """The training images, their validation set among them, or the test images.

    Raises:
        DataError: pyarrow is missing, or the files are damaged or something else.
    """
    files = parquet_files(path)
    if "train" not in files:
        raise DataError(f"{path} has no file whose name begins with train, as in train-00000-of-00001.parquet.")
    if part not in files:
        raise no_test_set(str(path))
    columns, labelling = _columns(files["train"][0]), None
    labelling = _labelling(files["train"], columns)
    found = _part(path, files[part], part, cache, columns, labelling, shape, skip_unreadable)
    if part == "test":
        return found
    validation, notes = None, [*labelling.notes, *found.notes]
    if columns.label == "fine_label":
        notes.append("the labels are the fine ones")
    if "validation" in files:
        height, width, channels = found.images.shape[1:]
        own = (height, width, channels)
        validation = _part(path, files["validation"], "validation", cache, columns, labelling, own, skip_unreadable)
    if "test" in files:
        try:
            _labels(files["test"], columns, labelling)
        except DataError as error:
            raise DataError(f"{path}: the test set can't be used: {error}") from error
    return ImageSet(found.images, found.labels, found.class_names, tuple(notes), validation, "test" in files)


def parquet_counts(path: Path) -> tuple[int, bool, int]:
    """How many training images there are, whether it has a validation set, and how many classes. Raises DataError."""
    files = parquet_files(path)
    rows = sum(_open(file).metadata.num_rows for file in files["train"])
    return rows, "validation" in files, len(_labelling(files["train"], _columns(files["train"][0])).class_names)


def _open(file: Path) -> Any:
    try:
        import pyarrow.parquet
        from pyarrow import ArrowException
    except ImportError:
        raise DataError(
            f"{file} is a parquet file, which pyarrow reads: pip install 'alexsearch[parquet]', or pip install pyarrow."
        ) from None
    try:
        return pyarrow.parquet.ParquetFile(file)
    except (OSError, ArrowException) as error:
        raise DataError(f"{file} can't be read as a parquet file ({_first_line(error)}). Is it cut short?") from error


def _columns(file: Path) -> Columns:
    schema = _open(file).schema_arrow
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        features = {}
    images = [field.name for field in schema if str(field.type).startswith("struct<bytes: binary")]
    labels = [name for name in _LABELS if name in schema.names]
    if len(images) != 1 or not labels:
        raise DataError(
            f"{file} has the columns {', '.join(schema.names[:10])}, but one of pictures (bytes and path, as Hugging "
            f"Face stores them) and one of labels ({', '.join(_LABELS)}) are expected."
        )
    feature = features.get(labels[0]) if isinstance(features, dict) else None
    names = feature.get("names") if isinstance(feature, dict) else None
    known = isinstance(names, list) and all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    return Columns(images[0], labels[0], tuple(names) if known and names else None)


def _labelling(files: Sequence[Path], columns: Columns) -> Labelling:
    if columns.class_names:
        return Labelling(columns.class_names)
    return labelling_of(_raw_labels(files, columns), f"column {columns.label}", None)


def _raw_labels(files: Sequence[Path], columns: Columns) -> Array:
    pieces = []
    for file in files:
        with _readable(file):
            pieces.append(_open(file).read([columns.label]).column(0).to_numpy())
    labels: Array = np.concatenate(pieces)
    return labels.astype(str) if labels.dtype.kind == "O" else labels


def _labels(files: Sequence[Path], columns: Columns, labelling: Labelling) -> npt.NDArray[np.int32]:
    return labelling.numbers(_raw_labels(files, columns), f"column {columns.label} of {files[0].name}")


class _readable:  # noqa: N801 - reads as a statement
    """Turns pyarrow's errors into ours."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        from pyarrow import ArrowException

        if isinstance(error, (OSError, ArrowException)):
            raise DataError(f"{self._file} can't be read ({_first_line(error)}). Is it damaged?") from error


def _part(
    path: Path,
    files: Sequence[Path],
    part: Part,
    cache: Path,
    columns: Columns,
    labelling: Labelling,
    shape: Shape,
    skip_unreadable: bool,
) -> ImageSet:
    stamp = repr([(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files] + [skip_unreadable])

    def decode() -> dict[Part, Arrays]:
        labels = _labels(files, columns, labelling)
        gathering, kept_rows, unreadable = Gathering(len(labels), shape, str(path)), [], []
        for row, (content, where) in enumerate(_pictures(files, columns)):
            try:
                gathering.add(*decoded(io.BytesIO(content), where, shape))
            except UnreadableImageError as error:
                unreadable.append(error.found)
                continue
            kept_rows.append(row)
        if not kept_rows or (unreadable and not skip_unreadable):
            raise DataError(
                f"{len(unreadable)} images can't be used: {'; '.join(unreadable[:20])}. Mend the file, or have them "
                f"passed over: {SKIPPING}."
            )
        order, notes = _author_order(labels[kept_rows]), list(resizing(gathering.sizes, shape))
        if order is not None:
            notes.append("this is CIFAR-10: its images were put into their author's order")
        if unreadable:
            notes.append(f"{len(unreadable)} passed over: {'; '.join(unreadable[:20])}")
        order = np.arange(len(kept_rows)) if order is None else order
        return {
            part: {
                "x": gathering.images()[order],
                "y": labels[kept_rows][order],
                "notes": np.array(notes, dtype=str),
            }
        }

    arrays = kept(cache, key_of("parquet", path) + tag_of(shape), part, stamp, decode)
    return image_set(arrays["x"], arrays["y"], labelling.class_names, str(path), notes_in(arrays), shape)


def _pictures(files: Sequence[Path], columns: Columns) -> Any:
    """The bytes of each picture, and what to call it."""
    for file in files:
        row = 0
        with _readable(file):
            for batch in _open(file).iter_batches(_BATCH, columns=[columns.image]):
                for picture in batch.column(0).to_pylist():
                    yield (picture or {}).get("bytes") or b"", f"{file}, row {row}"
                    row += 1


def _author_order(labels: npt.NDArray[np.int32]) -> npt.NDArray[np.int64] | None:
    """Which rows make CIFAR-10's training images as its author ordered them; None if they are other images."""
    if len(labels) != _BATCH_IMAGES * len(_CIFAR10_STARTS):
        return None
    starts = [tuple(labels[start : start + 10].tolist()) for start in range(0, len(labels), _BATCH_IMAGES)]
    if set(starts) != set(_CIFAR10_STARTS) or starts == list(_CIFAR10_STARTS):
        return None
    blocks = np.arange(len(labels)).reshape(len(_CIFAR10_STARTS), _BATCH_IMAGES)
    return np.concatenate([blocks[starts.index(start)] for start in _CIFAR10_STARTS])


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
