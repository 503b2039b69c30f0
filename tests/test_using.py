"""`evaluate`, `predict` and `convert` as people meet them."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from model import network
from model.config import DataError, ModelError
from model.images import read_image
from model.saved import probabilities_of, save_model
from search.base.home import Home
from search.base.mistakes import InputError
from search.retraining import using

NAMES = tuple(f"name{number}" for number in range(10))
PICTURES = {"wide.png": (300, 20), "small.jpg": (3, 5), "exact.bmp": (32, 32), "pale.webp": (64, 64)}


# TensorFlow is at work in this process already.
convert_model, evaluate_model, predict_images = (
    partial(call, start=lambda _home: None)
    for call in (using.convert_model, using.evaluate_model, using.predict_images)
)


@pytest.fixture(scope="module")
def net() -> keras.Model:
    return network.build_alexnet()


@pytest.fixture
def model(net: keras.Model, tmp_path: Path) -> Path:
    save_model(net, tmp_path / "net.keras", NAMES)
    return tmp_path / "net.keras"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    random = np.random.default_rng(0)
    for name, (width, height) in PICTURES.items():
        Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(tmp_path / name)
    return [tmp_path / name for name in PICTURES]


def alexsearch(folder: Path, *arguments: str, code: int = 0) -> tuple[str, str]:
    """The command in a process of its own, in an environment that says nothing."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ALEXSEARCH")}
    done = subprocess.run(
        [sys.executable, "-m", "search.cli.main", *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def test_pictures_of_any_size_get_the_class_that_the_network_gives_them(
    net: keras.Model, model: Path, pictures: list[Path], home: Home
) -> None:
    document = predict_images(model, pictures, home)
    expected = probabilities_of(net, np.stack([read_image(picture) for picture in pictures]))
    for seen, picture, row in zip(document["images"], pictures, expected, strict=True):
        assert seen["image"] == str(picture)
        assert seen["class"] == NAMES[row.argmax()]
        assert seen["probability"] == max(seen["classes"].values()) == pytest.approx(row.max(), abs=1e-6)
        assert list(seen["classes"].values()) == sorted(seen["classes"].values(), reverse=True)
        assert sum(seen["classes"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_predict_prints_a_line_a_picture_and_nothing_else(model: Path, pictures: list[Path], tmp_path: Path) -> None:
    out, err = alexsearch(tmp_path, "predict", str(model), *map(str, pictures[:2]), "--top", "3")
    assert err == ""
    lines = out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{pictures[0]} ")
    assert lines[0].count("name") == 3
    keys = json.loads(alexsearch(tmp_path, "predict", str(model), str(pictures[0]), "--json")[0])
    assert set(keys) == {"model", "images"}
    assert set(keys["images"][0]) == {"image", "class", "probability", "classes"}


def test_every_picture_that_is_none_is_named_before_tensorflow_starts(pictures: list[Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.keras", "w") as archive:
        archive.writestr("config.json", "no model, but that is found out later")
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "cut.png").write_bytes(pictures[0].read_bytes()[:300])
    Image.new("1", (15_000, 15_000)).save(tmp_path / "bomb.png")
    (tmp_path / "folder").mkdir()
    names = ["text.png", "cut.png", "bomb.png", "folder", "nothere.png"]
    out, err = alexsearch(tmp_path, "predict", "net.keras", str(pictures[1]), *names, code=2)
    assert out == ""
    lines = err.removeprefix("alexsearch: ").splitlines()
    assert [line.split(" ")[0] for line in lines] == names
    for line, said in zip(
        lines, ("is not an image", "truncated", "too large", "Is a directory", "No such file"), strict=True
    ):
        assert said in line
    assert not (tmp_path / "runs").exists()


def test_file_that_is_no_model_is_refused_in_one_line(pictures: list[Path], tmp_path: Path) -> None:
    (tmp_path / "net.keras").write_text("no model")
    for command in (["predict", "net.keras", str(pictures[0])], ["convert", "net.keras", "--to", "litert"]):
        out, err = alexsearch(tmp_path, *command, code=2)
        assert out == ""
        assert (
            err == "alexsearch: net.keras is not a whole .keras file. Is it damaged, cut short, or of another kind?\n"
        )


def test_model_is_not_measured_on_data_whose_classes_are_others(model: Path, home: Home, tmp_path: Path) -> None:
    for part in ("train", "test"):
        for number in range(10):
            (tmp_path / "data" / part / f"other{number}").mkdir(parents=True)
            Image.new("RGB", (32, 32)).save(tmp_path / "data" / part / f"other{number}" / "0.png")
    with pytest.raises(InputError, match=r"knows the classes name0, .* but .*data has other0, "):
        evaluate_model(model, str(tmp_path / "data"), home)
    assert evaluate_model(model, "synthetic", home)["images"] == 500, "its classes have no names: they may be ours"


def test_unreadable_test_image_is_an_error_unless_it_is_to_be_passed_over(
    model: Path, home: Home, tmp_path: Path
) -> None:
    for part in ("train", "test"):
        for number in range(10):
            (tmp_path / "data" / part / NAMES[number]).mkdir(parents=True)
            Image.new("RGB", (32, 32)).save(tmp_path / "data" / part / NAMES[number] / "0.png")
    (tmp_path / "data" / "test" / NAMES[3] / "1.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"1\.png.*passed over: --skip-unreadable"):
        evaluate_model(model, str(tmp_path / "data"), home)
    document = evaluate_model(model, str(tmp_path / "data"), home, skip_unreadable=True)
    assert document["images"] == 10
    assert document["notes"][0].startswith("1 passed over: ")


@pytest.mark.parametrize(
    ("kind", "output", "said"),
    [
        ("onnx", "net.tflite", r"must end in \.onnx for --to onnx, e\.g\. .*net\.onnx"),
        ("litert", "net", r"must end in \.tflite"),
        ("saved-model", "full", "is a folder that holds something"),
        ("saved-model", "net.keras", "is a file, but --to saved-model makes a folder"),
        ("onnx", "folder.onnx", "is a folder. Name a file in it"),
        ("onnx", ".", "is a folder. Name a file in it"),
    ],
)
def test_place_that_does_not_fit_the_format_is_refused(
    kind: str, output: str, said: str, model: Path, home: Home, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("the only copy")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(InputError, match=said):
        convert_model(model, kind, tmp_path / output, None, home)
    assert (tmp_path / "full" / "thesis.tex").exists()


def test_missing_packages_are_named_with_the_way_out(model: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.conversion.missing_packages", lambda kind: ("tf2onnx",) if kind == "onnx" else ())
    with pytest.raises(InputError, match=r"--to onnx needs tf2onnx, not installed here.*alexsearch\[export\]"):
        convert_model(model, "onnx", None, None, home)


@pytest.mark.slow
def test_converted_file_lies_beside_the_model_and_says_what_it_was_checked_on(
    model: Path, home: Home, tmp_path: Path
) -> None:
    document = convert_model(model, "litert", None, "synthetic", home)
    assert document["output"] == str(tmp_path / "net.tflite")
    assert (tmp_path / "net.tflite").stat().st_size == document["bytes"]
    assert (document["checked_on"], document["images"]) == ("synthetic", 500)
    assert document["largest_difference"] < 1e-5


@pytest.mark.slow
def test_convert_prints_what_came_of_it_and_none_of_the_converters_chatter(model: Path, tmp_path: Path) -> None:
    out, err = alexsearch(tmp_path, "convert", str(model), "--to", "saved-model", "-o", "served")
    assert err == ""
    assert out.startswith("served: ")
    assert "on 1000 made-up images" in out
    assert (tmp_path / "served" / "saved_model.pb").exists()


def test_full_disk_while_converting_is_one_message_and_nothing_is_left(
    model: Path, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_the_disk(_self: keras.Model, path: Path, **_: Any) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    (tmp_path / "net.tflite").write_bytes(b"what was there before")
    monkeypatch.setattr(keras.Model, "export", fill_the_disk)
    with pytest.raises(InputError, match="--force"):
        convert_model(model, "litert", None, None, home)
    with pytest.raises(OSError, match="No space left"):
        convert_model(model, "litert", None, None, home, force=True)
    assert (tmp_path / "net.tflite").read_bytes() == b"what was there before"
    assert not list(tmp_path.glob(".net*"))


def test_model_that_takes_other_images_is_refused(home: Home, tmp_path: Path, pictures: list[Path]) -> None:
    image = keras.Input((28, 28, 5), dtype="uint8")
    keras.Model(image, keras.layers.Dense(10)(keras.layers.Flatten()(image))).save(tmp_path / "other.keras")
    with pytest.raises(ModelError, match="must take images of shape"):
        predict_images(tmp_path / "other.keras", pictures, home)
