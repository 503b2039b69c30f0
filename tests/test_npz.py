"""What `.npz` files may hold: however they store the same images, they are the same; what no rule fits is refused."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from model.config import DataError, DataSpec
from model.data import counted, fingerprint, load_test, load_training, split
from model.images import read_image

Arrays = dict[str, npt.NDArray[Any]]
Change = Callable[[Arrays], Arrays]


def arrays(side: int = 32) -> Arrays:
    random = np.random.default_rng(0)
    content: Arrays = {}
    for part, count in (("train", 20), ("test", 6)):
        content[f"x_{part}"] = random.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
        content[f"y_{part}"] = np.arange(count) % 3
    content["x_train"][0] = 255  # so that fractions go up to 1
    content["x_test"] //= 2  # and the test images alone do not
    return content


def written(path: Path, content: Arrays) -> str:
    np.savez(path / "data.npz", **content, allow_pickle=True)
    return str(path / "data.npz")


def images(change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> Change:
    return lambda content: {name: change(array) if name[0] == "x" else array for name, array in content.items()}


def labels(change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> Change:
    return lambda content: {name: change(array) if name[0] == "y" else array for name, array in content.items()}


def called(**names: str) -> Change:
    return lambda content: {names.get(name, name): array for name, array in content.items()}


SAME = [
    (images(lambda x: x / np.float32(255)), "x_train: images were floats from 0 to 1: multiplied by 255"),
    (images(lambda x: (x / 255).astype(np.float16)), "floats from 0 to 1"),
    (images(lambda x: x.astype(np.float64)), "x_train: images were floats from 0 to 255: rounded"),
    (images(lambda x: x.astype(np.int64)), "x_train: images were int64, 0 to 255"),
    (images(lambda x: x.astype(">u2")), "images were >u2, 0 to 255"),
    (images(lambda x: x.transpose(0, 3, 1, 2)), "x_train: channels came first"),
    (images(lambda x: x.transpose(0, 3, 1, 2).reshape(len(x), 3072)), "x_train: rows of 3072 were taken for CIFAR's"),
    (labels(lambda y: y[:, None]), ""),
    (labels(lambda y: y.astype(np.uint8)), ""),
    (labels(lambda y: np.eye(3)[y]), "y_train: labels were one-hot"),
    (labels(lambda y: np.eye(3, dtype=bool)[y]), "one-hot"),
    (labels(lambda y: y.astype(np.float32)), "y_train: labels were floats that are whole"),
    (labels(lambda y: y.astype(str)), "y_train: classes are 0, 1, 2"),
    (labels(lambda y: y.astype("S")), "y_train: classes are 0, 1, 2"),
    (called(x_train="X_train", x_test="X_test", y_train="Y_train"), ""),
    (called(x_train="train_images", y_train="train_labels", x_test="test_images", y_test="test_labels"), ""),
    (called(x_train="images", y_train="labels"), ""),
]


@pytest.mark.parametrize(("change", "said"), SAME)
def test_however_an_npz_stores_the_same_images_they_are_the_same_data(
    change: Change, said: str, tmp_path: Path
) -> None:
    plain = written(tmp_path, arrays())
    assert load_training(plain, tmp_path).notes == ()
    expected = [fingerprint(load(plain, tmp_path)) for load in (load_training, load_test)]
    other = written(tmp_path, change(arrays()))
    assert [fingerprint(load(other, tmp_path)) for load in (load_training, load_test)] == expected
    assert any(said in note for note in (*load_training(other, tmp_path).notes, ""))


def test_labels_from_1_on_keep_their_numbers_as_names(tmp_path: Path) -> None:
    path = written(tmp_path, labels(lambda y: y + 1)(arrays()))
    training = load_training(path, tmp_path)
    assert training.labels[:4].tolist() == [0, 1, 2, 0]
    assert training.class_names == ("1", "2", "3")
    assert "y_train: labels counted from 1" in training.notes
    assert load_test(path, tmp_path).labels[:4].tolist() == [0, 1, 2, 0]


def test_texts_are_classes_in_the_order_of_their_names_or_in_that_of_class_names(tmp_path: Path) -> None:
    texts = labels(lambda y: np.array(["dog", "ant", "cat"])[y])(arrays())
    training = load_training(written(tmp_path, texts), tmp_path)
    assert training.class_names == ("ant", "cat", "dog")
    assert training.labels[:3].tolist() == [2, 0, 1]
    texts["class_names"] = np.array(["dog", "ant", "cat"])
    assert load_training(written(tmp_path, texts), tmp_path).labels[:3].tolist() == [0, 1, 2]
    texts["class_names"] = np.array(["dog", "ant", "emu"])
    with pytest.raises(DataError, match="class_names are dog, ant, emu, but y_train has ant, cat, dog"):
        load_training(written(tmp_path, texts), tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x[..., 0], "images are grey"),
        (lambda x: x[..., :1], "images have one channel"),
        (lambda x: x[..., :1].transpose(0, 3, 1, 2), "images have one channel"),
        (lambda x: x[..., 0].reshape(len(x), -1), "rows of 784 were taken for grey images of 28x28"),
    ],
)
def test_grey_images_of_another_size_are_what_predict_would_make_of_them(
    change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]], said: str, tmp_path: Path
) -> None:
    content = arrays(side=28)
    training = load_training(written(tmp_path, images(change)(content)), tmp_path)
    Image.fromarray(content["x_train"][3, ..., 0]).save(tmp_path / "one.png")
    assert np.array_equal(training.images[3], read_image(tmp_path / "one.png"))
    assert any(said in note for note in training.notes)
    assert "x_train: images were resized from 28x28 to 32x32 (bilinear, antialiased)" in training.notes


def test_large_images_are_shrunk_with_antialiasing_as_files_are(tmp_path: Path) -> None:
    content = arrays(side=224)
    training = load_training(written(tmp_path, content), tmp_path)
    Image.fromarray(content["x_train"][3]).save(tmp_path / "one.png")
    assert np.array_equal(training.images[3], read_image(tmp_path / "one.png"))
    assert training.images[3].std() < 15, "noise of all pixels is averaged, not picked from"


REFUSED = [
    (images(lambda x: x / 127.5 - 1), "x_train goes from -1 to 1, but .*save .x . 1. / 2"),
    (images(lambda x: x / 50.0 - 2), "x_train goes from -2 to 3.1, but .*undo it: save x . std . mean"),
    (images(lambda x: x.astype(np.int16) - 128), "x_train goes from -128 to 127, but .*undo it"),
    (images(lambda x: x.astype(np.uint16) * 257), "x_train goes from 0 to 65535, but .*save x / 65535"),
    (images(lambda x: np.where(x == 255, np.nan, x / 255)), "x_train has values that are not numbers"),
    (images(lambda x: x.astype(complex)), "x_train is complex128, but images must be numbers"),
    (images(lambda x: x.astype(str)), "x_train is text, but images must be numbers"),
    (images(lambda x: np.concatenate([x, x[..., :1]], -1)), r"shape \(20, 32, 32, 4\): 4 channels.*x\[..., :3\]"),
    (images(lambda x: x[:, :3]), r"shape \(20, 3, 32, 3\), which may be channels last or channels first"),
    (images(lambda x: np.moveaxis(x, 0, -1)), "the images do not come first.*moveaxis"),
    (images(lambda x: np.repeat(x[..., :1], 2, -1)), r"shape \(20, 32, 32, 2\): no axis has the 3 or 1 channels"),
    (images(lambda x: x.reshape(len(x), -1)[:, :3000]), r"x_train has shape \(20, 3000\), but images must have one of"),
    (images(lambda x: x.reshape(-1)), "Reshape it"),
    (images(lambda x: x[:, :0]), "its images have no pixels"),
    (labels(lambda y: y + 0.5), "y_train has fractions.*a label is a whole number"),
    (labels(lambda y: np.where(y == 2, np.nan, y)), "y_train has labels that are not numbers"),
    (labels(lambda y: np.eye(3)[y] * 0.5 + 0.1), "its row 0 is not one-hot.*argmax"),
    (labels(lambda y: np.eye(3, dtype=int)[y] | np.eye(3, dtype=int)[0]), "its row 1 is not one-hot"),
    (labels(lambda y: np.stack([[y, y]])), r"y_train has shape \(1, 2, 20\), but labels must have"),
    (labels(lambda y: y.astype("datetime64[s]")), "labels must be integers or texts"),
    (lambda content: {**content, "X_train": content["x_train"]}, "has both x_train and X_train. Leave out all but one"),
    (lambda content: {"a": content["x_train"]}, "has no x_train and y_train. .* found: a"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_what_no_rule_fits_is_refused_with_a_message_of_its_own(change: Change, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, change(arrays()))
    with pytest.raises(DataError, match=message) as caught:
        load_training(path, tmp_path)
    assert str(caught.value).startswith(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("x_test", lambda x: x.astype(complex), "x_test is complex128"),
        ("x_test", lambda x: x[..., :2], "no axis has the 3 or 1 channels"),
        ("x_test", lambda x: np.array(list(x), dtype=object), "x_test holds Python objects"),
        ("x_test", lambda x: x / 127.5 - 1, "x_test goes from -1 to .*, but pixels must go from 0 to 255"),
        ("x_test", lambda x: x.astype(np.int16) * 3, "x_test goes from 0 to 381, but pixels must go from 0 to 255"),
        ("x_test", lambda x: np.full(x.shape, np.nan), "x_test has values that are not numbers"),
        ("y_test", lambda y: y + 0.5, "y_test has fractions"),
        ("y_test", lambda y: y.astype(str), "y_test is text, but the training labels are numbers"),
        ("y_test", lambda y: np.eye(4)[y], "y_test has 4 columns, but there are 3 classes"),
        ("y_test", lambda y: y[:2], "x_test has 6 images, but y_test has 2 labels"),
    ],
)
def test_test_set_that_cannot_be_used_is_told_before_a_search(
    name: str, change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]], message: str, tmp_path: Path
) -> None:
    content = arrays()
    content[name] = change(content[name])
    with pytest.raises(DataError, match=f"data.npz: the test set can't be used: .*{message}"):
        load_training(written(tmp_path, content), tmp_path)


def test_fractions_are_told_by_the_training_images_alone(tmp_path: Path) -> None:
    """Dark test images, of 0 or 1 of 255, would else be taken for fractions."""
    content = images(lambda x: x.astype(float))(arrays())
    content["x_test"] = np.minimum(content["x_test"], 1)
    assert load_test(written(tmp_path, content), tmp_path).images.max() == 1
    content["x_train"] /= 255
    content["x_test"] *= 200
    for load in (load_test, load_training):
        with pytest.raises(DataError, match="x_test goes up to 200, but the training images go from 0 to 1"):
            load(written(tmp_path, content), tmp_path)


# Validation sets and missing test sets


def with_validation(content: Arrays) -> Arrays:
    return {**content, "x_val": content["x_train"][:7] // 2, "y_val": content["y_train"][:7]}


def test_validation_set_that_is_brought_along_is_used_and_nothing_is_held_out(tmp_path: Path) -> None:
    content = with_validation(arrays())
    path = written(tmp_path, content)
    training = load_training(path, tmp_path)
    parts = split(training, DataSpec(source=path, validation_images=5000))
    assert np.array_equal(parts.train.images, content["x_train"])
    assert np.array_equal(parts.validation.images, content["x_val"])
    assert "its own 7 validation images are used, and nothing is held out" in training.notes
    some = split(training, DataSpec(source=path, train_images=9)).train
    assert np.bincount(some.labels).tolist() == [3, 3, 3]
    with pytest.raises(DataError, match="21 training images are more than the 20"):
        split(training, DataSpec(source=path, train_images=21))
    assert counted(path) == (20, True, 3)


def test_fingerprint_covers_the_validation_set(tmp_path: Path) -> None:
    content = with_validation(arrays())
    prints = [fingerprint(load_training(written(tmp_path, content), tmp_path))]
    content["x_val"][3, 5, 5, 1] ^= 1
    prints.append(fingerprint(load_training(written(tmp_path, content), tmp_path)))
    content["y_val"] = content["y_val"][::-1]
    prints.append(fingerprint(load_training(written(tmp_path, content), tmp_path)))
    prints.append(fingerprint(load_training(written(tmp_path, arrays()), tmp_path)))
    assert len(set(prints)) == 4


def test_file_without_a_test_set_trains_and_says_what_it_cannot_do(tmp_path: Path) -> None:
    content = arrays()
    path = written(tmp_path, {name: content[name] for name in ("x_train", "y_train")})
    training = load_training(path, tmp_path)
    assert (len(training), training.has_test) == (20, False)
    assert any("no test set" in note for note in training.notes)
    with pytest.raises(DataError, match=r"has no test set: .*Add one .x_test and y_test.*retrain --validate"):
        load_test(path, tmp_path)


# What is no .npz, or claims too much


def header(shape: tuple[int, ...], dtype: str = "|u1") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_header_that_claims_more_than_the_file_holds_is_refused_before_memory_is_taken(
    compression: int, tmp_path: Path
) -> None:
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name in ("x_train", "x_test"):
            archive.writestr(f"{name}.npy", header((2**31 // 3072, 32, 32, 3)) + bytes(500_000))
        for name in ("y_train", "y_test"):
            archive.writestr(f"{name}.npy", header((2**31,), "<i8") + bytes(500))
    with pytest.raises(DataError, match="y_train claims 17,179,869,184 bytes, but the file has room for"):
        load_training(str(path), tmp_path)
    assert counted(str(path)) is None


def test_size_that_the_archive_itself_makes_up_is_held_against_what_deflate_can_do(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_train.npy", header((3, 32, 32, 3)) + bytes(3 * 3072))
        archive.writestr("y_train.npy", header((2**31,)) + bytes(1000))
    raw = path.read_bytes()
    made_up = raw.replace(struct.pack("<I", 1000 + 128), struct.pack("<I", 2**31 + 128))
    assert made_up != raw
    path.write_bytes(made_up)
    with pytest.raises(DataError, match=r"y_train claims 2,147,483,648 bytes, but the file has room for \d\d?,"):
        load_training(str(path), tmp_path)


def rewritten(path: str, compression: int) -> bytearray:
    """The file again, packed otherwise."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return bytearray(packed.getvalue())


def test_lzma_is_read_and_damage_in_it_is_told_in_one_line(tmp_path: Path) -> None:
    path = written(tmp_path, arrays())
    packed = rewritten(path, zipfile.ZIP_LZMA)
    Path(path).write_bytes(packed)
    assert len(load_training(path, tmp_path)) == 20
    packed[40:60] = bytes(20)
    Path(path).write_bytes(packed)
    with pytest.raises(DataError, match=r"can't be read as a .npz file .*damaged or cut short"):
        load_training(path, tmp_path)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (6, 1, "is encrypted. Save it again without a password"),
        (8, 97, "is packed in a way that is not read here"),
    ],
)
def test_encrypted_and_odd_zips_are_told_in_one_line(place: int, value: int, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, arrays())
    raw = bytearray(Path(path).read_bytes())
    for magic, offset in ((b"PK\x03\x04", place), (b"PK\x01\x02", place + 2)):
        start = -1
        while (start := raw.find(magic, start + 1)) >= 0:
            raw[start + offset] = value
    Path(path).write_bytes(raw)
    with pytest.raises(DataError, match=message) as caught:
        load_training(path, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89HDF\r\n\x1a\n", "but an HDF5 file"),
        (b"\x80\x04\x95abc", "but a Python pickle, which could run code"),
        (b"MATLAB 5.0 MAT-file", "but a MATLAB file"),
        (b"hello", "is not a .npz file, or is damaged"),
    ],
)
def test_other_files_are_called_what_they_are(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_training(str(tmp_path / "data.npz"), tmp_path)


def test_zip_of_pictures_is_to_be_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("train/cat/1.png", b"")
    with pytest.raises(DataError, match=r"none of its files is an array .*unpack it and name the folder"):
        load_training(str(tmp_path / "data.zip"), tmp_path)
