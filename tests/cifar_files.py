"""Small CIFAR files as its author and Hugging Face publish them, and what is in them."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FINE = tuple(f"fine {number}" for number in range(20))


class Part(NamedTuple):
    images: npt.NDArray[np.uint8]
    """(N, 32, 32, 3)"""
    labels: npt.NDArray[np.int64]


def part(count: int, classes: int = 10, seed: int = 0) -> Part:
    random = np.random.default_rng(seed)
    return Part(random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), random.permutation(count) % classes)


TRAIN, TEST = part(50), part(20, seed=1)


def rows(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(N, 3072), red first."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2).reshape(len(images), -1))


def _batches(train: Part) -> list[Part]:
    return [
        Part(images, labels)
        for images, labels in zip(np.split(train.images, 5), np.split(train.labels, 5), strict=True)
    ]


def python_files(train: Part = TRAIN, test: Part | None = TEST, protocol: int = 2) -> dict[str, bytes]:
    """cifar-10-batches-py: file name to content, in the order of the original archive."""

    def batch(of: Part) -> bytes:
        content = {
            b"batch_label": b"training batch 1 of 5",
            b"labels": [int(label) for label in of.labels],
            b"data": rows(of.images),
            b"filenames": [f"{number}.png".encode() for number in range(len(of.labels))],
        }
        return pickle.dumps(content, protocol)

    batches = {f"data_batch_{number}": batch(of) for number, of in enumerate(_batches(train), 1)}
    meta = {b"num_cases_per_batch": 10, b"label_names": [name.encode() for name in NAMES], b"num_vis": 3072}
    files = {"data_batch_4": batches["data_batch_4"], "readme.html": b"<html>", **batches}
    files["batches.meta"] = pickle.dumps(meta, protocol)
    return files if test is None else {**files, "test_batch": batch(test)}


def binary_files(train: Part = TRAIN, test: Part = TEST) -> dict[str, bytes]:
    """cifar-10-batches-bin."""

    def batch(of: Part) -> bytes:
        return np.concatenate([of.labels.astype(np.uint8)[:, None], rows(of.images)], axis=1).tobytes()

    files = {f"data_batch_{number}.bin": batch(of) for number, of in enumerate(_batches(train), 1)}
    return {**files, "test_batch.bin": batch(test), "batches.meta.txt": ("\n".join(NAMES) + "\n\n").encode()}


def python100_files(train: Part, test: Part) -> dict[str, bytes]:
    """cifar-100-python, with 20 fine classes."""

    def whole(of: Part) -> bytes:
        fine = [int(label) for label in of.labels]
        content = {b"fine_labels": fine, b"coarse_labels": [0] * len(fine), b"data": rows(of.images)}
        return pickle.dumps(content, 2)

    meta = {b"fine_label_names": [name.encode() for name in FINE], b"coarse_label_names": [b"all"]}
    return {"train": whole(train), "test": whole(test), "meta": pickle.dumps(meta, 2), "file.txt~": b""}


def binary100_files(train: Part, test: Part) -> dict[str, bytes]:
    """cifar-100-binary."""

    def whole(of: Part) -> bytes:
        labels = np.stack([np.zeros(len(of.labels)), of.labels], axis=1).astype(np.uint8)
        return np.concatenate([labels, rows(of.images)], axis=1).tobytes()

    return {"train.bin": whole(train), "test.bin": whole(test), "fine_label_names.txt": "\n".join(FINE).encode()}


def write_tar(path: Path, folder: str, files: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def write_npz(path: Path) -> Path:
    np.savez(
        path,
        x_train=TRAIN.images,
        y_train=TRAIN.labels,
        x_test=TEST.images,
        y_test=TEST.labels,
        class_names=np.array(NAMES),
    )
    return path


def write_parquet(folder: Path, train: Part = TRAIN, test: Part | None = TEST, **columns: Any) -> Path:
    """A folder as Hugging Face has it; needs pyarrow. `columns` replace those of the training file."""
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq

    features = {"img": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": list(NAMES)}}
    for name, of in (("train", train), ("test", test)):
        if of is None:
            continue
        pictures = []
        for image in of.images:
            packed = io.BytesIO()
            Image.fromarray(image).save(packed, "png")
            pictures.append({"bytes": packed.getvalue(), "path": None})
        content = {"img": pictures, "label": [int(label) for label in of.labels]}
        content |= columns if name == "train" else {}
        table = pa.table(content).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / f"{name}-00000-of-00001.parquet")
    return folder
