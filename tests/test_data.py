from __future__ import annotations

import io
import os
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from model.arrays import CIFAR10_CLASSES
from model.config import DataError, DataSpec, DownloadError
from model.data import ImageSet, fingerprint, load_test, load_training, split
from model.images import decoded as decode
from model.images import read_image

Arrays = dict[str, npt.NDArray[Any]]


def arrays(train: int = 20, test: int = 6, classes: int = 3) -> Arrays:
    random = np.random.default_rng(0)
    return {
        "x_train": random.integers(0, 256, (train, 32, 32, 3), dtype=np.uint8),
        "y_train": np.arange(train) % classes,
        "x_test": random.integers(0, 256, (test, 32, 32, 3), dtype=np.uint8),
        "y_test": np.arange(test) % classes,
    }


@pytest.fixture(autouse=True)
def keras_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty one: whatever lies in the real one is no part of a test."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


def write_npz(path: Path, content: Arrays) -> str:
    np.savez(path, **content, allow_pickle=True)  # what a user's file may hold; reading it is what must not unpickle
    return str(path)


def write_folder(path: Path, classes: tuple[str, ...] = ("cat", "dog"), size: tuple[int, int] = (32, 32)) -> Path:
    for part, count in (("train", 3), ("test", 2)):
        for number, name in enumerate(classes):
            (path / part / name).mkdir(parents=True)
            for image in range(count):
                colour = (10 * number, 20 * image, 100)
                Image.new("RGB", size, colour).save(path / part / name / f"{image}.png")
    return path


# Named sources


@pytest.mark.parametrize(("source", "train", "test"), [("digits", 1500, 297), ("synthetic", 2000, 500)])
def test_bundled_source_is_the_same_every_time_and_has_all_classes(
    source: str, train: int, test: int, tmp_path: Path
) -> None:
    training, held_back = load_training(source, tmp_path), load_test(source, tmp_path)
    assert (len(training), len(held_back)) == (train, test)
    for images in (training, held_back):
        assert images.images.shape[1:] == (32, 32, 3)
        assert images.images.dtype == np.uint8
        assert images.labels.dtype == np.int32
        assert len(images.class_names) == 10
        assert np.bincount(images.labels, minlength=10).min() > len(images) / 12
    assert fingerprint(training) == fingerprint(load_training(source, tmp_path))
    assert fingerprint(training) != fingerprint(held_back)


def test_digits_are_scikit_learns_enlarged(tmp_path: Path) -> None:
    training = load_training("digits", tmp_path)
    assert training.images.max() == 255
    assert np.array_equal(training.images[..., 0], training.images[..., 2])
    test_images = {image.tobytes() for image in load_test("digits", tmp_path).images}
    assert not test_images & {image.tobytes() for image in training.images}, "no digit is in both parts"


def fake_cifar10() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    content = arrays(train=20, test=10, classes=10)
    return (content["x_train"], content["y_train"][:, None]), (content["x_test"], content["y_test"][:, None])


def test_cifar10_is_decoded_once_and_its_parts_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def load_data() -> Any:
        calls.append(1)
        return fake_cifar10()

    monkeypatch.setattr(keras.datasets.cifar10, "load_data", load_data)
    cache = tmp_path / "cache"
    first, again = load_training("cifar10", cache), load_training("cifar10", cache)
    (cache / "cifar10-test.npz").rename(cache / "aside")  # a search does without it
    assert fingerprint(load_training("cifar10", cache)) == fingerprint(first) == fingerprint(again)
    assert len(calls) == 1
    assert first.class_names[3] == "cat"
    assert first.labels.shape == (20,)
    (cache / "aside").rename(cache / "cifar10-test.npz")
    assert len(load_test("cifar10", cache)) == 10
    assert len(calls) == 1


def test_damaged_cache_is_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", fake_cifar10)
    first = load_training("cifar10", tmp_path)
    kept = tmp_path / "cifar10-train.npz"
    for damaged in (kept.read_bytes()[:1000], b"", b"\x80\x04not an array"):
        kept.write_bytes(damaged)
        assert fingerprint(load_training("cifar10", tmp_path)) == fingerprint(first)


def test_failed_download_says_how_to_bring_the_data_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_network() -> Any:
        print("Downloading data")
        raise Exception("URL fetch failure on https://example.org: None -- Name or service not known")  # noqa: TRY002

    monkeypatch.setattr(keras.datasets.cifar10, "load_data", no_network)
    with pytest.raises(DownloadError) as caught:
        load_training("cifar10", tmp_path)
    for needed in ("Name or service not known", "cifar-10-batches-py-target_archive", "--data", "digits", ".npz"):
        assert needed in str(caught.value)
    assert not list(tmp_path.glob("*.npz")), "nothing is kept of a failed download"
    assert capsys.readouterr().out == "", "standard output belongs to the command"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("cifar", "Did you mean 'cifar10'"),
        ("Digits", "Did you mean 'digits'"),
        ("no/such/file.npz", "'no/such/file.npz' is neither"),
        ("", "neither cifar10, digits, synthetic nor a path that exists"),
        ("~nobody-of-this-name/x.npz", "'~nobody-of-this-name/x.npz': Could not determine home"),
        ("x" * 300, "x can't be read .File name too long"),
    ],
)
def test_unknown_source_is_named_with_what_there_is(source: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        load_training(source, tmp_path)


# .npz files


@pytest.mark.parametrize("column", [False, True])
def test_npz_gives_its_two_parts(tmp_path: Path, column: bool) -> None:
    content = arrays()
    if column:
        content = {name: value[:, None] if name.startswith("y") else value for name, value in content.items()}
    path = write_npz(tmp_path / "data.npz", content)
    for load, part in ((load_training, "train"), (load_test, "test")):
        images = load(path, tmp_path)
        np.testing.assert_array_equal(images.images, content[f"x_{part}"])
        np.testing.assert_array_equal(images.labels, content[f"y_{part}"].reshape(-1))
        assert images.class_names == ("0", "1", "2")


def test_training_never_reads_the_test_images(tmp_path: Path) -> None:
    """A file whose test images are damaged trains just as well."""
    path = write_npz(tmp_path / "data.npz", arrays())
    with zipfile.ZipFile(path) as archive, archive.open("x_test.npy") as member:
        place = member._orig_compress_start + 10_000  # type: ignore[attr-defined]
    damaged = bytearray(Path(path).read_bytes())
    damaged[place] ^= 1
    Path(path).write_bytes(damaged)
    assert len(load_training(path, tmp_path)) == 20
    with pytest.raises(DataError, match="can't be read"):
        load_test(path, tmp_path)


def without(name: str) -> Callable[[Arrays], None]:
    def spoil(content: Arrays) -> None:
        del content[name]

    return spoil


def setting(name: str, change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> Callable[[Arrays], None]:
    return lambda content: content.update({name: change(content[name])})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without("y_train"), "has no y_train, which x_train needs"),
        (without("x_test"), "has no x_test, which y_test needs"),
        (setting("x_train", lambda x: x[:0]), "has 0 images, but y_train has 20 labels"),
        (setting("x_train", lambda x: x[:-1]), "has 19 images, but y_train has 20 labels"),
        (setting("y_train", lambda y: y - 1), "has the label -1, but labels count from 0 or 1"),
        (setting("y_train", lambda y: np.where(y == 2, 2**40, y)), "no image has label 2"),
        (setting("y_train", lambda y: y + 2), "go up to 4, but no image has label 0"),
        (setting("y_train", lambda y: y * 0), "one class"),
        (lambda content: content.update(x_train=content["x_train"][:0], y_train=content["y_train"][:0]), "no labels"),
        (setting("x_train", lambda x: np.array([x], dtype=object)), "x_train holds Python objects"),
    ],
)
def test_unusable_npz_gets_one_clear_message(spoil: Callable[[Arrays], None], message: str, tmp_path: Path) -> None:
    content = arrays()
    spoil(content)
    path = write_npz(tmp_path / "data.npz", content)
    with pytest.raises(DataError, match=message) as caught:
        load_training(path, tmp_path)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (setting("y_test", lambda y: y + 1), "y_test must lie from 0 to 2, as .*, but go from 1 to 3"),
        (setting("x_test", lambda x: x[:-1]), "x_test has 5 images, but y_test has 6 labels"),
    ],
)
def test_test_images_must_match_the_training_classes(
    spoil: Callable[[Arrays], None], message: str, tmp_path: Path
) -> None:
    content = arrays()
    spoil(content)
    path = write_npz(tmp_path / "data.npz", content)
    for load in (load_training, load_test):  # told at the start too: labels and headers are enough
        with pytest.raises(DataError, match=message):
            load(path, tmp_path)


def test_member_that_is_no_array_is_named(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "data.npz", arrays())
    with zipfile.ZipFile(path) as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(path, "w") as spoilt:
        for name, content in members.items():
            spoilt.writestr(name, b"" if name == "y_train.npy" else content)
    with pytest.raises(DataError, match="y_train is not a NumPy array"):
        load_training(path, tmp_path)


def test_test_part_may_lack_a_class(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "data.npz", arrays(test=2))
    assert load_test(path, tmp_path).class_names == ("0", "1", "2")
    assert "the test set has no image of 2" in load_training(path, tmp_path).notes


def test_npz_may_say_what_its_classes_are_called(tmp_path: Path) -> None:
    content = arrays() | {"class_names": np.array(["ant", "bee", "cat"])}
    path = write_npz(tmp_path / "data.npz", content)
    for load in (load_training, load_test):
        assert load(path, tmp_path).class_names == ("ant", "bee", "cat")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (np.array(["ant", "bee"]), "there are 2 class names, but y_train has 3 classes"),
        (np.array(["ant", "bee", "bee"]), "class_names must be different texts"),
        (np.array([1, 2, 3]), "class_names must be different texts"),
        (np.array([["ant", "bee", "cat"]]), "class_names must be different texts"),
        (np.array(["ant", "bee", "cat"], dtype=object), "class_names holds Python objects"),
    ],
)
def test_unusable_class_names_get_one_clear_message(names: npt.NDArray[Any], message: str, tmp_path: Path) -> None:
    path = write_npz(tmp_path / "data.npz", arrays() | {"class_names": names})
    with pytest.raises(DataError, match=message):
        load_training(path, tmp_path)


def test_classes_of_cifar10_are_called_by_their_names_whatever_its_pixels_are(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    labels = np.arange(50_000) % 10
    np.savez_compressed(
        path,
        x_train=np.zeros((50_000, 32, 32, 3), np.uint8),
        y_train=labels[:, None],
        x_test=np.zeros((20, 32, 32, 3), np.uint8),
        y_test=labels[:20],
    )
    assert load_test(str(path), tmp_path).class_names == CIFAR10_CLASSES
    assert load_training(str(path), tmp_path).class_names == CIFAR10_CLASSES


@pytest.mark.parametrize("part", [0.0, 0.02, 0.5, 0.99])
def test_truncated_npz_is_called_damaged(tmp_path: Path, part: float) -> None:
    path = tmp_path / "data.npz"
    write_npz(path, arrays())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(DataError, match="damaged or cut short"):
        load_training(str(path), tmp_path)


def test_npz_with_a_flipped_byte_is_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    write_npz(path, arrays())
    whole = bytearray(path.read_bytes())
    whole[20_000] ^= 1
    path.write_bytes(whole)
    with pytest.raises(DataError, match="damaged or cut short"):
        load_training(str(path), tmp_path)


def test_single_array_and_text_are_no_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "notes.txt").write_text("hello")
    for name in ("one.npy", "notes.txt"):
        with pytest.raises(DataError, match=f"{name} is not a \\.npz file"):
            load_training(str(tmp_path / name), tmp_path)


# Image folders


def test_folder_gives_its_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "data", ("dog", "ant", "cat"))
    (path / "train" / "ant" / "Thumbs.db").write_bytes(b"no image")
    (path / "train" / ".hidden").mkdir()
    training = load_training(str(path), tmp_path / "cache")
    assert training.class_names == ("ant", "cat", "dog")
    assert training.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert training.images[3, 0, 0].tolist() == [20, 0, 100]  # cat was written third: 10 * 2, first image
    assert len(load_test(str(path), tmp_path / "cache")) == 6


def test_images_of_any_size_and_mode_are_brought_to_32x32_rgb(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "data", size=(100, 60))
    Image.new("L", (50, 50), 77).save(path / "train" / "cat" / "grey.JPG")
    Image.new("RGBA", (32, 32), (1, 2, 3, 255)).save(path / "train" / "cat" / "alpha.png")
    training = load_training(str(path), tmp_path / "cache")
    assert training.images.shape == (8, 32, 32, 3)
    by_name = sorted(["0.png", "1.png", "2.png", "alpha.png", "grey.JPG"])
    assert training.images[by_name.index("alpha.png"), 5, 5].tolist() == [1, 2, 3]
    assert np.abs(training.images[by_name.index("grey.JPG")].astype(int) - 77).max() <= 1


def test_grey_image_of_16_bits_keeps_its_shades(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    assert np.array_equal(read_image(tmp_path / "ramp.png"), np.repeat((ramp >> 8)[..., None], 3, axis=2))


def test_folder_is_decoded_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_folder(tmp_path / "data")
    decoded: list[Path] = []

    def counting(file: Path, *arguments: Any) -> Any:
        decoded.append(file)
        return decode(file, *arguments)

    monkeypatch.setattr("model.folders.decoded", counting)
    first = load_training(str(path), tmp_path / "cache")
    assert fingerprint(load_training(str(path), tmp_path / "cache")) == fingerprint(first)
    assert len(decoded) == 6
    Image.new("RGB", (32, 32), (255, 0, 0)).save(path / "train" / "dog" / "new.png")
    assert len(load_training(str(path), tmp_path / "cache")) == 7
    assert len(decoded) == 13
    changed = path / "train" / "cat" / "0.png"
    size = changed.stat()
    os.utime(changed, ns=(size.st_atime_ns, size.st_mtime_ns + 1))
    load_training(str(path), tmp_path / "cache")
    assert len(decoded) == 20


def test_of_many_readers_at_once_one_decodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_folder(tmp_path / "data")
    decoded: list[Path] = []

    def counting(file: Path, *arguments: Any) -> Any:
        decoded.append(file)
        return decode(file, *arguments)

    monkeypatch.setattr("model.folders.decoded", counting)
    found: list[ImageSet] = []
    readers = [
        threading.Thread(target=lambda: found.append(load_training(str(path), tmp_path / "cache"))) for _ in range(8)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert len({fingerprint(images) for images in found}) == 1
    assert len(found) == 8
    assert len(decoded) == 6


def drop_images(path: Path) -> None:
    for file in (path / "train" / "dog").iterdir():
        file.unlink()


def cut_image(path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(buffer, "png")
    (path / "train" / "cat" / "1.png").write_bytes(buffer.getvalue()[:2000])


def postscript(path: Path) -> None:
    """Pillow would start Ghostscript on it."""
    (path / "train" / "cat" / "2.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")


def bomb(path: Path) -> None:
    """One colour, 100 million pixels: 12 kB that unpack to 300 MB in RGB."""
    Image.new("1", (9999, 9999)).save(path / "train" / "cat" / "2.png")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: (path / "test" / "emu").mkdir(), "train has no folder for emu, which .*test has"),
        (drop_images, "dog has no images .*.png"),
        (cut_image, r"train/cat/1.png can't be read as an image"),
        (lambda path: (path / "train" / "cat" / "2.png").write_bytes(b""), r"cat/2.png is not an image in JPEG, PNG"),
        (lambda path: (path / "train" / "cat" / "2.png").write_text("hi"), r"cat/2.png is not an image in JPEG, PNG"),
        (postscript, r"cat/2.png is not an image in JPEG, PNG"),
        (bomb, r"cat/2.png is too large to be decoded \(Image size \(99980001 pixels\)"),
        (lambda path: (path / "train").rename(path / "other"), "has no folder train/, but test"),
    ],
)
def test_unusable_folder_gets_one_clear_message(spoil: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    path = write_folder(tmp_path / "data")
    spoil(path)
    with pytest.raises(DataError, match=message):
        load_training(str(path), tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.npz")), "never half a cache"


def test_empty_folder_and_single_class_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no folder train/"):
        load_training(str(tmp_path), tmp_path / "cache")
    with pytest.raises(DataError, match="1 class folders; a classifier needs two"):
        load_training(str(write_folder(tmp_path / "data", ("cat",))), tmp_path / "cache")


def test_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(DataError, match=r"can't be kept in .*cache"):
        load_training(str(write_folder(tmp_path / "data")), tmp_path / "cache")


def test_link_to_nowhere_is_named(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "data")
    (path / "train" / "cat" / "gone.png").symlink_to(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"cat/gone\.png can't be read as an image .No such file"):
        load_training(str(path), tmp_path / "cache")


# The split


def spec(**changes: Any) -> DataSpec:
    return DataSpec(**{"source": "synthetic", "validation_images": 500, **changes})


@pytest.fixture(scope="module")
def training() -> ImageSet:
    return load_training("synthetic", Path())


def as_set(images: ImageSet) -> set[bytes]:
    return {image.tobytes() for image in images.images}


def test_split_is_stratified_disjoint_and_whole(training: ImageSet) -> None:
    parts = split(training, spec())
    assert (len(parts.train), len(parts.validation)) == (1500, 500)
    assert np.bincount(parts.validation.labels).tolist() == [50] * 10
    assert np.bincount(parts.train.labels).tolist() == [150] * 10
    assert not as_set(parts.train) & as_set(parts.validation)
    assert as_set(parts.train) | as_set(parts.validation) == as_set(training)


def test_split_seed_decides_the_split(training: ImageSet) -> None:
    first, again, other = (split(training, spec(split_seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.validation.images, again.validation.images)
    assert np.array_equal(first.train.images, again.train.images)
    assert as_set(first.validation) != as_set(other.validation)


@pytest.mark.parametrize("count", [10, 300, 1495, 1499, 1500])
def test_train_images_takes_a_part_of_what_validation_leaves(training: ImageSet, count: int) -> None:
    parts = split(training, spec(train_images=count))
    assert len(parts.train) == count
    assert as_set(parts.validation) == as_set(split(training, spec()).validation), "the same for any train_images"
    assert not as_set(parts.train) & as_set(parts.validation)
    assert len(np.unique(parts.train.labels)) == 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": 1501}, "1501 training and 500 validation images are more than the 2000"),
        ({"validation_images": 2000}, "2000 validation images leave none to train on of the 2000 that"),
        ({"validation_images": 1995}, "leaves 5 of 2000 images"),
        ({"validation_images": 9}, "validation_images = 9 is fewer than one for each of the 10 classes"),
        ({"train_images": 9}, "train_images = 9 is fewer than one for each"),
    ],
)
def test_impossible_split_gets_one_clear_message(training: ImageSet, changes: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        split(training, spec(**changes))


def test_class_with_a_single_image_is_named(training: ImageSet) -> None:
    keep = np.append(np.flatnonzero(training.labels != 4), np.flatnonzero(training.labels == 4)[:1])
    few = ImageSet(training.images[keep], training.labels[keep], training.class_names)
    with pytest.raises(DataError, match=r"Class '4' .* has 1 training image"):
        split(few, spec())


def test_class_too_rare_for_the_split_is_named_and_one_left_with_one_image_is_not_refused(training: ImageSet) -> None:
    common, rare = (np.flatnonzero(training.labels == number) for number in (0, 1))
    keep = np.append(common[:100], rare[:2])
    few = ImageSet(training.images[keep], training.labels[keep], ("common", "rare"))
    with pytest.raises(DataError, match=r"Class 'rare' .* has 2 images, so few that the split leaves none to train on"):
        split(few, spec(validation_images=80))
    parts = split(few, spec(validation_images=40, train_images=61))
    assert np.bincount(parts.train.labels).tolist() == [60, 1]


def test_fingerprint_covers_pixels_labels_and_class_names(training: ImageSet) -> None:
    pixels, labels = training.images.copy(), training.labels.copy()
    pixels[1999, 31, 31, 2] ^= 1
    labels[[0, 1]] = labels[[1, 0]]
    changed = [
        ImageSet(pixels, training.labels, training.class_names),
        ImageSet(training.images, labels, training.class_names),
        ImageSet(training.images, training.labels, (*training.class_names[:9], "nine")),
        ImageSet(training.images[::-1], training.labels, training.class_names),
        ImageSet(training.images[:1999], training.labels[:1999], training.class_names),
    ]
    prints = [fingerprint(images) for images in (training, *changed)]
    assert len(set(prints)) == 6
    assert all(len(each) == 7 + 64 and each.startswith("sha256:") for each in prints)


def test_images_in_memory_are_read_only(training: ImageSet) -> None:
    with pytest.raises(ValueError, match="read-only"):
        training.images[0] = 0


@pytest.mark.skipif(
    not os.environ.get("ALEXSEARCH_TEST_CIFAR10"), reason="ALEXSEARCH_TEST_CIFAR10 names no .npz of CIFAR-10"
)
def test_real_cifar10_splits_into_45000_and_5000(tmp_path: Path) -> None:
    training = load_training(os.environ["ALEXSEARCH_TEST_CIFAR10"], tmp_path)
    parts = split(training, DataSpec())
    assert np.bincount(parts.train.labels).tolist() == [4500] * 10
    assert np.bincount(parts.validation.labels).tolist() == [500] * 10
