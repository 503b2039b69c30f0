from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from model import network
from model.config import ModelError
from model.data import ImageSet, load_test
from model.evaluate import evaluate
from model.saved import load_model, read_class_names, save_model

NAMES = ("cat", "dog", *"cdefghi", "schräg")


@pytest.fixture(scope="module")
def net() -> keras.Model:
    return network.build_alexnet()


def brightness_classifier(classes: int) -> keras.Model:
    """Gives class k the probability that grows as the red of the first pixel is near k."""
    image = keras.Input((32, 32, 3), dtype="uint8")
    x = keras.layers.Rescaling(1.0)(image)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(classes, activation="softmax", name="out")(x)
    model = keras.Model(image, x)
    kernel = np.zeros((3072, classes), np.float32)
    kernel[0] = 2.0 * np.arange(classes)
    model.get_layer("out").set_weights([kernel, -(np.arange(classes, dtype=np.float32) ** 2)])
    return model


def images_of(values: list[int], labels: list[int], names: tuple[str, ...]) -> ImageSet:
    images = np.zeros((len(values), 32, 32, 3), np.uint8)
    images[:, 0, 0, 0] = values
    return ImageSet(images, np.array(labels, np.int32), names)


def test_scores_are_those_counted_by_hand() -> None:
    images = images_of([0, 0, 1, 2, 2, 1], [0, 0, 1, 1, 2, 2], ("a", "b", "c"))
    result = evaluate(brightness_classifier(3), images)
    assert result.count == 6
    assert result.accuracy == pytest.approx(4 / 6)
    assert result.class_accuracy == pytest.approx((1.0, 0.5, 0.5))
    assert result.confusion == ((2, 0, 0), (0, 1, 1), (0, 1, 1))
    logits = np.array([[2 * v * k - k**2 for k in range(3)] for v in (0, 0, 1, 2, 2, 1)])
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert result.loss == pytest.approx(-log_probabilities[np.arange(6), images.labels].mean(), rel=1e-5)
    json.dumps(result.confusion)  # plain integers, not NumPy's


def test_class_without_images_has_no_accuracy_of_its_own() -> None:
    result = evaluate(brightness_classifier(3), images_of([0, 2], [0, 2], ("a", "b", "c")))
    assert result.class_accuracy == (1.0, None, 1.0)
    assert len(result.confusion) == 3


def test_every_image_counts_when_the_last_batch_is_short(net: keras.Model) -> None:
    images = load_test("synthetic", Path())
    few = ImageSet(
        np.concatenate([images.images, images.images[:3]]),
        np.append(images.labels, images.labels[:3]),
        images.class_names,
    )
    result = evaluate(net, few)
    assert result.count == 503
    assert np.sum(result.confusion) == 503


def test_network_of_another_number_of_classes_is_refused(net: keras.Model) -> None:
    with pytest.raises(ModelError, match=r"\(N, 2\), but gives \(None, 10\)"):
        evaluate(net, images_of([0, 1], [0, 1], ("a", "b")))


def test_saved_network_comes_back_and_scores_the_same(net: keras.Model, tmp_path: Path) -> None:
    images = load_test("synthetic", Path())
    save_model(net, tmp_path / "new" / "net.keras", images.class_names)
    assert evaluate(load_model(tmp_path / "new" / "net.keras", classes=10), images) == evaluate(net, images)


def test_failed_save_leaves_the_model_that_was_there(
    net: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.keras"
    save_model(net, path, NAMES)
    before = path.read_bytes()

    def fill_the_disk(target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(net, "save", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        save_model(net, path, NAMES)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_file_says_what_its_classes_are_called(net: keras.Model, tmp_path: Path) -> None:
    save_model(net, tmp_path / "net.keras", NAMES)
    assert read_class_names(tmp_path / "net.keras", 10) == NAMES
    with zipfile.ZipFile(tmp_path / "net.keras") as archive:
        assert len(archive.namelist()) == 3, "with more, Keras unpacks all of it to the disk at every load"
        assert archive.testzip() is None


@pytest.mark.parametrize(
    "comment",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"class_names": 7}',
        b'{"class_names": ["a", "b"]}',
        b'{"class_names": ["a", "a", "b"]}',
        b'{"class_names": ["a", "b", 3]}',
        b'{"class_names": ["a", "b", "\\u001b[31m"]}',
    ],
)
def test_file_without_usable_names_has_numbers(comment: bytes, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.keras", "w") as archive:
        archive.comment = comment
    assert read_class_names(tmp_path / "net.keras", 3) == ("0", "1", "2")


def test_names_too_long_for_the_file_are_left_out_and_the_network_is_whole(net: keras.Model, tmp_path: Path) -> None:
    save_model(net, tmp_path / "net.keras", ["x" * 10_000] * 10)
    assert read_class_names(tmp_path / "net.keras", 10)[9] == "9"
    load_model(tmp_path / "net.keras", classes=10)


def test_network_that_gives_no_numbers_is_refused() -> None:
    net = brightness_classifier(3)
    net.get_layer("out").set_weights([np.full((3072, 3), np.nan, np.float32), np.zeros(3, np.float32)])
    with pytest.raises(ModelError, match="no finite probabilities"):
        evaluate(net, images_of([1], [1], ("a", "b", "c")))


def missing(path: Path) -> None:
    path.unlink(missing_ok=True)


def text(path: Path) -> None:
    path.write_text("not a model")


def foreign_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")


def cut_short(path: Path) -> None:
    network.build_alexnet().save(path)
    path.write_bytes(path.read_bytes()[:-5000])


def damaged_inside(path: Path) -> None:
    network.build_alexnet().save(path)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 20_000] = bytes(20_000)
    path.write_bytes(whole)


def with_lambda(path: Path) -> None:
    image = keras.Input((32, 32, 3), dtype="uint8")
    x = keras.layers.Rescaling(1.0)(image)
    x = keras.layers.Lambda(lambda x: x * 2, output_shape=(32, 32, 3))(x)
    x = keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(x))
    keras.Model(image, x).save(path)


def with_foreign_class(path: Path) -> None:
    brightness_classifier(10).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][1]["class_name"] = "system"
    config["config"]["layers"][1]["module"] = "os"
    members["config.json"] = json.dumps(config).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    path.write_bytes(buffer.getvalue())


def other_images(path: Path) -> None:
    image = keras.Input((28, 28, 5), dtype="uint8")
    keras.Model(image, keras.layers.Dense(10)(keras.layers.Flatten()(keras.layers.Rescaling(1.0)(image)))).save(path)


def other_classes(path: Path) -> None:
    brightness_classifier(3).save(path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (missing, "there is no such file"),
        (text, "not a whole .keras file"),
        (foreign_zip, "can't be loaded"),
        (cut_short, "not a whole .keras file"),
        (damaged_inside, "can't be loaded"),
        (with_lambda, "can't be loaded.*Lambda"),
        (with_foreign_class, "can't be loaded"),
        (other_images, r"must take images of shape \(N, 32, 32, 3\), .*, but takes \(None, 28, 28, 5\)"),
        (other_classes, r"\(N, 10\), but gives \(None, 3\)"),
    ],
)
def test_unusable_model_file_gets_one_clear_message(make: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    make(path)
    with pytest.raises(ModelError, match=message) as caught:
        load_model(path, classes=10)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
