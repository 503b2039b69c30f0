"""A trained network in other formats: the same classes from a runtime of its own, or no file at all."""

from __future__ import annotations

import errno
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from model import conversion as export
from model import network
from model.config import ExportError
from model.saved import probabilities_of

NAMES = ("airplane", "automobile", *"cdefghij")


@pytest.fixture(scope="module")
def images() -> export.Images:
    return export.made_up_images(60)


@pytest.fixture(scope="module")
def net(images: export.Images) -> keras.Model:
    """The network, untrained, but sure of several classes, as training makes it."""
    built = network.build_alexnet()
    network.assign_weights(built, network.initial_weights(built, 1))
    output = built.get_layer("probabilities")
    hidden = keras.Model(built.input, output.input).predict_on_batch(images)
    kernel = 100 * output.get_weights()[0]
    output.set_weights([kernel, -(hidden @ kernel).mean(axis=0)])
    return built


@pytest.fixture(scope="module")
def written(net: keras.Model, images: export.Images, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The network in every format."""
    pytest.importorskip("tf2onnx", reason="the extra `export` is not installed")
    folder = tmp_path_factory.mktemp("written")
    paths = {kind: folder / f"net{fields.suffix}" for kind, fields in export.FORMATS.items()}
    for kind, path in paths.items():
        agreement = export.export(net, NAMES, path, kind, images)
        assert agreement.images == 60
        assert agreement.classes > 3
        assert agreement.largest_difference < 1e-5
    assert sorted(folder.iterdir()) == sorted(paths.values()), "nothing is left beside them"
    return paths


def test_made_up_images_are_the_same_every_time_and_all_different(images: export.Images) -> None:
    assert images.shape == (60, 32, 32, 3)
    np.testing.assert_array_equal(images, export.made_up_images(60))
    assert len({image.tobytes() for image in images}) == 60


@pytest.mark.slow
@pytest.mark.parametrize("kind", export.FORMATS)
def test_mean_over_the_mirror_image_is_part_of_what_is_written(
    net: keras.Model, images: export.Images, tmp_path: Path, kind: str
) -> None:
    if missing := export.missing_packages(kind):
        pytest.skip(f"not installed: {missing}")
    path = tmp_path / f"net{export.FORMATS[kind].suffix}"
    both = network.with_mirror_image(net)
    assert export.export(both, NAMES, path, kind, images).largest_difference < 1e-5
    mean = (probabilities_of(net, images) + probabilities_of(net, images[:, :, ::-1])) / 2
    np.testing.assert_allclose(export._RUNNERS[kind](path)(images), mean, atol=1e-5)


@pytest.mark.slow
def test_onnx_takes_any_number_of_raw_images(net: keras.Model, images: export.Images, written: dict[str, Path]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(written["onnx"])
    (taken,) = session.get_inputs()
    assert taken.type == "tensor(uint8)"
    for count in (1, 7):
        (probabilities,) = session.run(None, {taken.name: images[:count]})
        np.testing.assert_allclose(probabilities, probabilities_of(net, images[:count]), atol=1e-5)
    assert json.loads(session.get_modelmeta().custom_metadata_map["class_names"]) == list(NAMES)


@pytest.mark.slow
def test_saved_model_is_served_as_tensorflow_does_it(
    net: keras.Model, images: export.Images, written: dict[str, Path]
) -> None:
    layer = keras.layers.TFSMLayer(written["saved-model"], call_endpoint="serving_default")
    np.testing.assert_allclose(next(iter(layer(images[:3]).values())), probabilities_of(net, images[:3]), atol=1e-5)
    assert (written["saved-model"] / "assets.extra" / "class_names.txt").read_text().splitlines() == list(NAMES)


def test_litert_needs_no_operation_of_tensorflow(
    net: keras.Model, images: export.Images, written: dict[str, Path]
) -> None:
    import tensorflow as tf

    plain = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = tf.lite.Interpreter(str(written["litert"]), experimental_op_resolver_type=plain)
    run = interpreter.get_signature_runner()
    (probabilities,) = run(image=images[:3]).values()
    np.testing.assert_allclose(probabilities, probabilities_of(net, images[:3]), atol=1e-5)
    with zipfile.ZipFile(written["litert"]) as archive:
        assert archive.read("labels.txt").decode().splitlines() == list(NAMES)


def swapped(writer: Callable[..., None]) -> Callable[..., None]:
    """A converter with a defect: two classes change places."""

    def write(model: keras.Model, *rest: Any) -> None:
        order = [1, 0, *range(2, 10)]
        kernel, bias = model.get_layer("probabilities").get_weights()
        wrong = keras.models.clone_model(model)
        wrong.set_weights(model.get_weights())
        wrong.get_layer("probabilities").set_weights([kernel[:, order], bias[order]])
        writer(wrong, *rest)

    return write


def test_file_that_gives_other_classes_is_not_kept(
    net: keras.Model, images: export.Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.tflite").write_bytes(b"what was there before")
    monkeypatch.setitem(export._WRITERS, "litert", swapped(export._WRITERS["litert"]))
    with pytest.raises(ExportError, match=r"net\.tflite is not the same model: another class for \d+ of 60 images"):
        export.export(net, NAMES, tmp_path / "net.tflite", "litert", images)
    assert (tmp_path / "net.tflite").read_bytes() == b"what was there before"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("kind", list(export.FORMATS))
def test_writer_that_fails_halfway_leaves_what_was_there(
    net: keras.Model, images: export.Images, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_model: keras.Model, _names: tuple[str, ...], path: Path) -> None:
        target = path / "half" if kind == "saved-model" else path
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(b"half")
        raise ValueError("no such operation\nand a page of text")

    monkeypatch.setitem(export._WRITERS, kind, fail)
    path = tmp_path / f"net{export.FORMATS[kind].suffix}"
    with pytest.raises(ExportError, match=rf"can't be written as {kind}: no such operation$"):
        export.export(net, NAMES, path, kind, images)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("{{node SaveV2}} x; No space left on device")],
)
def test_full_disk_is_told_in_a_few_words_whoever_met_it(
    error: Exception, net: keras.Model, images: export.Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setitem(export._WRITERS, "saved-model", fail)
    with pytest.raises(OSError, match="No space left on device") as caught:
        export.export(net, NAMES, tmp_path / "net", "saved-model", images)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "net"))


def test_probabilities_that_are_no_numbers_never_agree() -> None:
    expected = np.array([[0.9, 0.1]], np.float32)
    with pytest.raises(ExportError, match="not the same model"):
        export.compared(expected, np.full((1, 2), np.nan, np.float32), "net")
    with pytest.raises(ExportError, match=r"of shape \(1, 3\)"):
        export.compared(expected, np.ones((1, 3), np.float32), "net")


def test_two_classes_that_are_equally_probable_count_as_the_same() -> None:
    expected, got = np.array([[0.5, 0.49999, 0.0]], np.float32), np.array([[0.49999, 0.5, 0.0]], np.float32)
    assert export.compared(expected, got, "net").images == 1
    with pytest.raises(ExportError, match="another class for 1 of 1"):
        export.compared(np.array([[0.6, 0.4, 0.0]], np.float32), got, "net")
