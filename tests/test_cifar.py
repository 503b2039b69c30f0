"""CIFAR as it is published: whatever its container, the same images are the same study, and no file runs code."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import importlib.util
import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cifar_files import (
    FINE,
    NAMES,
    TEST,
    TRAIN,
    binary100_files,
    binary_files,
    part,
    python100_files,
    python_files,
    write_files,
    write_npz,
    write_parquet,
    write_tar,
)

from model import cifar, sources
from model.config import DataError
from model.data import fingerprint, load_test, load_training
from model.unpickling import array_of, read_pickle

needs_pyarrow = pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is None, reason="pyarrow, the extra `parquet`, is not installed"
)

CONTAINERS: dict[str, Callable[[Path], Path]] = {
    "parquet": lambda path: write_parquet(path / "plain_text"),
    "cifar-10-python.tar.gz": lambda path: write_tar(path / "a.tar.gz", "cifar-10-batches-py", python_files()),
    "cifar-10-batches-py": lambda path: write_files(path / "cifar-10-batches-py", python_files()),
    "the folder above it": lambda path: write_files(path / "up" / "cifar-10-batches-py", python_files()).parent,
    "pickled anew": lambda path: write_files(path / "new", python_files(protocol=5)),
    "cifar-10-binary.tar.gz": lambda path: write_tar(path / "a.tar.gz", "cifar-10-batches-bin", binary_files()),
    "cifar-10-batches-bin": lambda path: write_files(path / "cifar-10-batches-bin", binary_files()),
}


@pytest.mark.parametrize("container", [pytest.param("parquet", marks=needs_pyarrow), *list(CONTAINERS)[1:]])
def test_same_images_are_the_same_data_whatever_their_container(container: str, tmp_path: Path) -> None:
    plain = str(write_npz(tmp_path / "data.npz"))
    other = str(CONTAINERS[container](tmp_path))
    for load, of in ((load_training, TRAIN), (load_test, TEST)):
        found = load(other, tmp_path / "cache")
        assert fingerprint(found) == fingerprint(load(plain, tmp_path))
        np.testing.assert_array_equal(found.images, of.images)
        np.testing.assert_array_equal(found.labels, of.labels)
        assert found.class_names == NAMES


@pytest.mark.parametrize("binary", [False, True])
def test_cifar100_has_its_fine_labels(binary: bool, tmp_path: Path) -> None:
    train, test = part(60, 20), part(40, 20, seed=1)
    files = (binary100_files if binary else python100_files)(train, test)
    path = str(write_tar(tmp_path / "cifar-100.tar.gz", "cifar-100", files))
    training = load_training(path, tmp_path / "cache")
    np.testing.assert_array_equal(training.labels, train.labels)
    np.testing.assert_array_equal(load_test(path, tmp_path / "cache").images, test.images)
    assert training.class_names == FINE
    assert "the labels are the 100 fine ones" in training.notes


def test_archive_is_decoded_once_until_it_changes_and_the_test_images_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tar(tmp_path / "a.tar.gz", "c", python_files())
    decoded: list[Any] = []
    decode = cifar.decode_cifar

    def counting(path: Path, parts: tuple[Any, ...]) -> Any:
        decoded.append(parts)
        return decode(path, parts)

    monkeypatch.setattr(cifar, "decode_cifar", counting)
    for _ in range(2):
        load_training(str(path), tmp_path / "cache")
    assert decoded == [("train",)]
    load_test(str(path), tmp_path / "cache")
    assert decoded == [("train",), ("test",)]
    os.utime(path, ns=(1, 1))
    load_training(str(path), tmp_path / "cache")
    assert len(decoded) == 3


def test_archive_without_a_test_batch_trains(tmp_path: Path) -> None:
    path = str(write_tar(tmp_path / "a.tar.gz", "c", python_files(test=None)))
    assert not load_training(path, tmp_path / "cache").has_test
    with pytest.raises(DataError, match="has no test set"):
        load_test(path, tmp_path / "cache")


def test_paths_in_an_archive_lead_nowhere(tmp_path: Path) -> None:
    files = {f"../../{name}": content for name, content in python_files().items()}
    deep = tmp_path / "in" / "deep"
    deep.mkdir(parents=True)
    path = write_tar(deep / "a.tar.gz", "/etc", files)
    before = set(tmp_path.rglob("*"))
    assert len(load_training(str(path), tmp_path / "cache")) == 50
    new = {found.relative_to(tmp_path).parts[0] for found in set(tmp_path.rglob("*")) - before}
    assert new == {"cache"}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda files: files.pop("data_batch_3"), "lacks data_batch_3 of CIFAR-10. Bring the whole archive"),
        (lambda files: files.update(data_batch_2=files["batches.meta"]), "data_batch_2 has no data and no labels"),
        (
            lambda files: files.update(data_batch_2=files["data_batch_2"][:999]),
            "data_batch_2 can't be read as a pickle",
        ),
        (lambda files: files.update(data_batch_2=pickle.dumps([1])), "holds list, but a dictionary is expected"),
        (
            lambda files: files.update(data_batch_2=pickle.dumps({b"data": np.zeros((2, 9)), b"labels": [0, 1]}, 2)),
            r"data is float64 \(2, 9\), but uint8 \(N, 3072\) is expected",
        ),
        (
            lambda files: files.update(
                data_batch_2=pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0]}, 2)
            ),
            "there are 2 images and 1 labels",
        ),
        (
            lambda files: files.update(
                data_batch_2=pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [77]}, 2)
            ),
            "labels must lie from 0 to 9, but go from 0 to 77",
        ),
    ],
)
def test_unusable_batches_get_one_clear_message(
    spoil: Callable[[dict[str, bytes]], object], message: str, tmp_path: Path
) -> None:
    files = python_files()
    spoil(files)
    path = str(write_tar(tmp_path / "a.tar.gz", "c", files))
    with pytest.raises(DataError, match=message) as caught:
        load_training(path, tmp_path / "cache")
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


def test_binary_batch_that_is_cut_short_is_told(tmp_path: Path) -> None:
    files = binary_files()
    files["data_batch_5.bin"] = files["data_batch_5.bin"][:-1]
    with pytest.raises(DataError, match=r"data_batch_5.bin has 30,729 bytes, but CIFAR-10, binary has 3073 for each"):
        load_training(str(write_files(tmp_path / "bin", files)), tmp_path / "cache")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_archive_that_is_cut_short_is_called_damaged(share: float, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar.gz", "c", python_files())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DataError, match=r"can't be read as a tar archive .* Is it damaged or cut short"):
        load_training(str(path), tmp_path / "cache")


def test_archive_of_other_things_is_told_what_it_holds(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "pictures.tar.gz", "train/cat", {"1.png": b"", "2.png": b""})
    with pytest.raises(DataError, match=r"not an archive of CIFAR-10 or CIFAR-100; it holds 1.png, 2.png.*unpack it"):
        load_training(str(path), tmp_path / "cache")


def test_sizes_that_only_a_made_up_archive_has_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    big = tarfile.TarInfo("c/data_batch_1")
    big.size = 2**32
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(big.tobuf() + bytes(10_000)))
    with pytest.raises(DataError, match="'c/data_batch_1' is file 1, of 4,294,967,296 bytes"):
        load_training(str(path), tmp_path / "cache")
    big.type = tarfile.GNUTYPE_LONGNAME  # whose content tarfile reads whole
    path.write_bytes(gzip.compress(big.tobuf() + bytes(10_000)))
    with pytest.raises(DataError, match="a header claims 4294967296 bytes"):
        load_training(str(path), tmp_path / "cache")


# Pickles


class Runs:
    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


HOSTILE = [
    pickle.dumps({b"data": Runs(os.system, "touch ran")}, 2),
    pickle.dumps({b"data": Runs(eval, "open('ran', 'w')")}, 4),
    pickle.dumps({b"data": Runs(exec, "open('ran', 'w')")}, 0),
    pickle.dumps({b"data": Runs(getattr, np.ndarray, "tofile")}, 2),
    pickle.dumps({b"data": Runs(np.ndarray, (2**40,))}, 2),
    pickle.dumps({b"data": Runs(codecs.encode, "ran", "rot13")}, 2),
    pickle.dumps({b"data": Runs(io.open, "ran", "w")}, 2),
    b"cos\nsystem\n(S'touch ran'\ntR.",
    b"(S'touch ran'\nios\nsystem\n.",  # INST
    b"(cos\nsystem\nS'touch ran'\no.",  # OBJ
    b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x09touch ran\x85R.",  # STACK_GLOBAL
    b"\x80\x02cnumpy\ndtype\n}X\x08\x00\x00\x00__code__X\x01\x00\x00\x00xsb.",  # a state for a name
    b"\x80\x02cnumpy\ndtype\n)\x81.",  # NEWOBJ
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct.__globals__\n.",
    b"\x80\x04\x8c\x05numpy\x8c\x0endarray.__new__\x93.",
    b"\x80\x02\x82\x01.",  # EXT1
    b"Pid\n.",  # a persistent id
    pickle.dumps({b"data": Runs(bytes, 2**40)}, 2),
    b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0f.",  # bytes of any length
    b"\x80\x02}r\xff\xff\xff\x7f.",  # a memo that would fill the memory
]


@pytest.mark.parametrize("data", HOSTILE)
def test_no_pickle_runs_code_or_takes_memory(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        found = read_pickle(data, "file")
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017 - reading it is as well, where it is no array
    else:
        for value in found.values():
            with pytest.raises(DataError, match="is not an array of numbers"):
                array_of(value, "file")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["os system", "builtins eval", "numpy load", "numpy.core.multiarray fromfile"])
def test_name_that_is_no_part_of_an_array_is_refused_by_name(name: str) -> None:
    module, function = name.split()
    with pytest.raises(DataError, match=f"it names {module}.{function}, .* Nothing in it was run"):
        read_pickle(f"c{module}\n{function}\n.".encode(), "file")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.uint8).reshape(3, 4),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(5, dtype=">i4"),
        np.empty((0, 3072), np.uint8),
    ],
)
def test_arrays_come_back_as_numpy_wrote_them(array: Any, protocol: int) -> None:
    found = array_of(read_pickle(pickle.dumps({"a": array}, protocol), "file")["a"], "file")
    np.testing.assert_array_equal(found, array)
    assert found.dtype.kind == array.dtype.kind


def test_array_of_objects_is_no_array_of_numbers() -> None:
    data = pickle.dumps({"a": np.array([{}, []], dtype=object)}, 2)
    with pytest.raises(DataError, match="file is not an array of numbers"):
        array_of(read_pickle(data, "file")["a"], "file")


# Keras' folder


@pytest.fixture
def keras_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(sources, "_downloaded", lambda: pytest.fail("nothing is to be downloaded"))
    folder = tmp_path / "keras" / "datasets"
    folder.mkdir(parents=True)
    return folder


def cifar10_files() -> dict[str, bytes]:
    """As many images as CIFAR-10 has, all black."""

    def black(count: int) -> Any:
        return type(TRAIN)(np.zeros((count, 32, 32, 3), np.uint8), np.arange(count) % 10)

    return python_files(black(50_000), black(10_000))


@pytest.mark.parametrize("place", ["cifar-10-batches-py-target_archive", "cifar-10-python.tar.gz", "folder"])
@pytest.mark.slow
def test_what_lies_in_keras_folder_is_read_without_keras(place: str, keras_datasets: Path, tmp_path: Path) -> None:
    files = cifar10_files()
    if place == "folder":
        there = write_files(keras_datasets / "cifar-10-batches-py", files)
    else:
        there = write_tar(keras_datasets / place, "cifar-10-batches-py", files)
    training = load_training("cifar10", tmp_path / "cache")
    assert (len(training), len(load_test("cifar10", tmp_path / "cache"))) == (50_000, 10_000)
    assert f"CIFAR-10 was read from {there}" in training.notes
    assert any("its SHA-256 is" in note for note in training.notes) == (place != "folder")


@pytest.mark.parametrize("damaged", [False, True])
def test_archive_in_keras_folder_that_does_not_match_is_told_and_left_alone(
    damaged: bool, keras_datasets: Path, tmp_path: Path
) -> None:
    path = write_tar(keras_datasets / "cifar-10-batches-py-target_archive", "cifar-10-batches-py", python_files())
    if damaged:
        path.write_bytes(path.read_bytes()[:5000])
    before = path.read_bytes()
    found = "damaged or cut short" if damaged else "has 50 and 20 images, but CIFAR-10 has 50,000 and 10,000"
    with pytest.raises(DataError, match=found) as caught:
        load_training("cifar10", tmp_path / "cache")
    assert f"Its SHA-256 is {hashlib.sha256(before).hexdigest()}, and the original's is 6d958be0" in str(caught.value)
    assert "It was left as it is" in str(caught.value)
    assert path.read_bytes() == before


# Hugging Face's parquet


@needs_pyarrow
def test_single_parquet_file_brings_the_one_beside_it(tmp_path: Path) -> None:
    folder = write_parquet(tmp_path / "data")
    path = folder / "train-00000-of-00001.parquet"
    training = load_training(str(path), tmp_path / "cache")
    assert training.has_test
    assert len(load_test(str(path), tmp_path / "cache")) == 20
    (folder / "test-00000-of-00001.parquet").unlink()
    assert not load_training(str(path), tmp_path / "cache").has_test


@needs_pyarrow
@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"img": [1] * 50}, "one of pictures .* are expected"),
        ({"img": [{"bytes": b"no image", "path": None}] * 50}, "50 images can't be used: .*row 0 is not an image"),
        ({"label": [11] * 50}, "must lie from 0 to 9"),
    ],
)
def test_unusable_parquet_gets_one_clear_message(columns: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "data", **columns)
    with pytest.raises(DataError, match=message):
        load_training(str(path), tmp_path / "cache")


@needs_pyarrow
def test_parquet_that_is_cut_short_is_told(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "data") / "train-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="can't be read as a parquet file"):
        load_training(str(path), tmp_path / "cache")


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is not None, reason="pyarrow is installed")
def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(b"PAR1 and so on")
    with pytest.raises(DataError, match=r"pip install 'alexsearch\[parquet\]'"):
        load_training(str(tmp_path / "train.parquet"), tmp_path / "cache")


def test_cifar10_in_hugging_faces_order_is_put_into_its_authors() -> None:
    from model.parquet import _CIFAR10_STARTS, _author_order

    labels = np.zeros((5, 10_000), np.int32)
    labels[:, :10] = _CIFAR10_STARTS
    stored = [3, 2, 1, 4, 0]
    order = _author_order(labels[stored].reshape(-1))
    assert order is not None
    np.testing.assert_array_equal(labels[stored].reshape(-1)[order], labels.reshape(-1))
    assert _author_order(labels.reshape(-1)) is None
    assert _author_order(labels[0]) is None
