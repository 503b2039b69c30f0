"""Files that somebody made to exhaust whoever reads them: a few lines, soon, and no memory to speak of."""

from __future__ import annotations

import io
import json
import os
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from model.config import ModelError
from model.saved import _check_weights, load_model, read_class_names
from search.base.mistakes import DEEPEST, InputError, read_json, read_toml
from search.cli.main import main
from search.retraining.using import convert_model, evaluate_model, predict_images

MOST_MEMORY = 2_000_000  # KiB: what this whole process, TensorFlow and all, has ever had

SPACE = '[study]\nname = "s"\ntrials = 1\n[space]\nbatch_size = 32\nlearning_rate = 0.1\nepochs = 1\n'

TEXTS: dict[str, str] = {
    "nested 400 deep.toml": "a = " + "[" * 400 + "]" * 400,
    "nested 100000 deep.toml": "a = " + "[" * 100_000 + "]" * 100_000,
    "tables 400 deep.toml": "a = " + "{b = " * 400 + "1" + "}" * 400,
    "a key of 400 parts.toml": ".".join("a" * 400) + " = 1",
    "a key of 500000 parts.toml": ".".join("a" * 500_000) + " = 1",
    "a quoted key of 500000 parts.toml": ".".join(['"="'] * 500_000) + " = 1",
    "a table of 500000 parts.toml": "[" + ".".join("a" * 500_000) + "]",
    "200000 keys.toml": SPACE + "\n".join(f"k{number} = 1" for number in range(200_000)),
    "a key of a million letters.toml": SPACE + "k" * 1_000_000 + " = 1",
    "a text of a million letters.toml": SPACE.replace('"s"', f'"{"x" * 1_000_000}"'),
    "a number of 5000 digits.toml": SPACE.replace("trials = 1", f"trials = {'9' * 5000}"),
    "5 MB.toml": "#" * 5_000_000,
    "nothing but zeros.toml": "\0" * 100_000,
    "nested 400 deep.json": '{"a":' * 400 + "1" + "}" * 400,
    "nested 100000 deep.json": "[" * 100_000,
    "40000 unknown keys.json": json.dumps({"format_version": 1, **{f"k{number}": 1 for number in range(40_000)}}),
    "200000 unknown keys.json": json.dumps({"format_version": 1, **{f"k{number}": 1 for number in range(200_000)}}),
    "a key 40000 times.json": "{" + ",".join('"a": 1' for _ in range(40_000)) + "}",
    "300000 epochs that are none.json": json.dumps({"format_version": 1, "curve": {"epochs": [7] * 300_000}}),
    "a number of 5000 digits.json": '{"format_version": ' + "9" * 5000 + "}",
}


def assert_told(*command: str) -> None:
    before = _peak_kilobytes()  # of this process, which other tests may have made large
    result = CliRunner().invoke(main, list(command))
    assert result.exit_code in (1, 2), result.output[:1000]
    assert isinstance(result.exception, SystemExit), result.exc_info
    lines = result.stderr.strip().splitlines()
    assert 1 <= len(lines) <= 3, result.stderr[:2000]
    assert max(map(len, lines)) <= 2_100
    assert _peak_kilobytes() - before < MOST_MEMORY


def _peak_kilobytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.timeout(30)  # a tenth of it on a machine with nothing else to do
@pytest.mark.parametrize("name", TEXTS)
def test_text_that_exhausts_is_told_in_a_few_lines(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text(TEXTS[name])
    assert_told("retrain", str(file), "--home", str(tmp_path / "home"))
    if file.suffix == ".toml":
        assert_told("run", str(file), "--home", str(tmp_path / "home"))


@pytest.mark.timeout(30)
def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    for name in ("pipe.toml", "pipe.json", "pipe.keras"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    for name in ("pipe.toml", "pipe.json", "zero.toml"):
        assert_told("retrain", str(tmp_path / name), "--home", str(tmp_path / "home"))
    for name in ("pipe.toml", "zero.toml"):
        assert_told("run", str(tmp_path / name), "--home", str(tmp_path / "home"))
    assert_told("evaluate", str(tmp_path / "pipe.keras"), "--home", str(tmp_path / "home"))


def test_usual_files_are_read_as_ever(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('"a.b.c" = "' + "." * 500 + '"\nc = [[1, 2], [3.5]]\nd.e.f = 1\n')
    assert read_toml(tmp_path / "a.toml") == {"a.b.c": "." * 500, "c": ((1, 2), (3.5,)), "d": {"e": {"f": 1}}}
    (tmp_path / "a.json").write_text('{"a": {"b": [1, {"c": null}]}}')
    assert read_json(tmp_path / "a.json") == {"a": {"b": (1, {"c": None})}}
    (tmp_path / "twice.json").write_text('{"a": {"b": 1, "c": 2, "b": 3}}')
    with pytest.raises(InputError, match="key b is there twice"):
        read_json(tmp_path / "twice.json")
    (tmp_path / "deep.json").write_text('{"a":' * DEEPEST + "1" + "}" * DEEPEST)
    with pytest.raises(InputError, match="nested too deeply"):
        read_json(tmp_path / "deep.json")


def archive(members: dict[str, bytes], comment: bytes = b"", compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
        opened.comment = comment
    return buffer.getvalue()


def changed(whole: bytes, central: int, local: int, value: bytes) -> bytes:
    """An archive in whose members' headers something else stands."""
    content = bytearray(whole)
    for magic, place in ((b"PK\x01\x02", central), (b"PK\x03\x04", local)):
        start = content.find(magic)
        while start >= 0:
            content[start + place : start + place + len(value)] = value
            start = content.find(magic, start + 1)
    return bytes(content)


MEMBERS = {"metadata.json": b"{}", "config.json": b"{}", "model.weights.h5": b"\x89HDF\r\n\x1a\n"}
DEEP_JSON = b'{"a":' * 50_000 + b"1" + b"}" * 50_000
ARCHIVES: dict[str, bytes] = {
    "brackets in its comment": archive(MEMBERS, b"[" * 60_000),
    "encrypted": changed(archive(MEMBERS), 8, 6, b"\x01"),
    "claims terabytes": changed(archive(MEMBERS), 24, 22, struct.pack("<I", 0xFFFFFFF0)),
    "packed by LZMA": archive(MEMBERS, compression=zipfile.ZIP_LZMA),
    "packed in an unknown way": changed(archive(MEMBERS), 10, 8, b"\x63"),
    "a description of 20 MB": archive({"config.json": b" " * 20_000_000}, compression=zipfile.ZIP_DEFLATED),
    "3 GB of zeros": archive({"model.weights.h5": b"\0" * 1000, "a": b""})[:-22],
    "5000 members": archive({f"{number}": b"" for number in range(5000)}),
    "a deep description": archive({**MEMBERS, "config.json": DEEP_JSON}),
    "no member": archive({}),
    "cut": archive(MEMBERS)[:-30],
    "a directory of nonsense": archive(MEMBERS)[:-22] + b"PK\x05\x06" + b"\xff" * 18,
    "text": b"not a model",
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("content", ARCHIVES.values(), ids=ARCHIVES)
def test_model_that_exhausts_is_told_in_a_few_lines(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.keras").write_bytes(content)
    with pytest.raises(ModelError) as told:
        load_model(tmp_path / "net.keras")
    assert len(str(told.value).splitlines()) == 1
    assert len(str(told.value)) < 1000


def test_comment_of_brackets_names_no_class(tmp_path: Path) -> None:
    (tmp_path / "net.keras").write_bytes(ARCHIVES["brackets in its comment"])
    assert read_class_names(tmp_path / "net.keras", 2) == ("0", "1")


def claiming(file: Any) -> None:
    file.create_dataset("w", shape=(10**6, 10**6), dtype="f4", chunks=(1000, 1000))


def elsewhere(file: Any) -> None:
    file.create_dataset("w", shape=(100,), dtype="u1", external=[("/etc/passwd", 0, 100)])


@pytest.mark.parametrize(("fill", "told"), [(claiming, "claim more than"), (elsewhere, "in another file")])
def test_weights_that_claim_what_is_not_there_are_refused(
    tmp_path: Path, fill: Callable[[Any], None], told: str
) -> None:
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        fill(file)
    (tmp_path / "net.keras").write_bytes(archive({**MEMBERS, "model.weights.h5": buffer.getvalue()}))
    with pytest.raises(ModelError, match=told):
        _check_weights(tmp_path / "net.keras")


# ---- descriptions that look honest


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model: two layers of 7 and 9 units, enlarging before them, a model in it, something random."""
    from model.our_keras import keras
    from model.saved import save_model

    image = keras.Input((32, 32, 3), dtype="uint8")
    x = keras.layers.UpSampling2D(2)(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Dropout(0.1)(x))
    x = keras.Sequential([keras.Input((3,)), keras.layers.Dense(7), keras.layers.Dense(9)])(x)
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.RepeatVector(2)(keras.layers.BatchNormalization()(x)))
    path = tmp_path_factory.mktemp("honest") / "net.keras"
    save_model(keras.Model(image, keras.layers.Dense(10, activation="softmax")(x)), path, list("abcdefghij"))
    return path


def described(honest: Path, path: Path, **changed: str) -> Path:
    """The same file with parts of its description replaced."""
    with zipfile.ZipFile(honest) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    text = members["config.json"].decode()
    for old, new in changed.items():
        assert old in text
        text = text.replace(old, new)
    path.write_bytes(archive({**members, "config.json": text.encode()}))
    return path


def nested(levels: int) -> str:
    layer = '{"module": "keras.layers", "class_name": "Dense", "config": {"units": 10}, "registered_name": null}'
    for _ in range(levels):
        layer = (
            '{"module": "keras", "class_name": "Sequential", "registered_name": null, "config": {"name": "s", '
            f'"trainable": true, "layers": [{layer}]}}}}'
        )
    return layer


MILLION, BILLION = 10**6, 10**9
HUGE = {
    "10^6 times 10^6 numbers": {
        **{'"units": 7': f'"units": {MILLION}', "[null, 7]": f"[null, {MILLION}]"},
        **{'"units": 9': f'"units": {MILLION}', "[null, 9]": f"[null, {MILLION}]"},
    },
    "7 x 10^9 numbers in one layer": {'"units": 7': f'"units": {BILLION}', "[null, 7]": f"[null, {BILLION}]"},
    "an image of 10^10 pixels": {'"size": [2, 2]': '"size": [3000, 3000]', "64, 64, 3]": "96000, 96000, 3]"},
    "a row 10^9 times": {'"n": 2': f'"n": {BILLION}', "[null, 2, 9]": f"[null, {BILLION}, 9]"},
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", HUGE)
def test_model_that_describes_enormous_layers_is_refused_before_they_are_made(
    tmp_path: Path, honest: Path, name: str
) -> None:
    path = described(honest, tmp_path / "net.keras", **HUGE[name])
    before = _peak_kilobytes()
    with pytest.raises(ModelError, match=r"describes layers of|gives .* numbers for an image") as told:
        load_model(path)
    assert len(str(told.value).splitlines()) == 1
    assert _peak_kilobytes() - before < MOST_MEMORY


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", [nested(1_000), nested(100), "[" + ",".join([nested(0)] * 5_000) + "]"])
def test_model_that_describes_a_thousand_layers_is_refused(tmp_path: Path, honest: Path, text: str) -> None:
    path = tmp_path / "net.keras"
    with zipfile.ZipFile(honest) as opened:
        path.write_bytes(archive({**{n: opened.read(n) for n in opened.namelist()}, "config.json": text.encode()}))
    with pytest.raises(ModelError, match="far more layers"):
        load_model(path)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("command", ["evaluate", "predict", "convert --to onnx", "convert --to saved-model"])
def test_commands_refuse_an_enormous_model_in_a_line(
    tmp_path: Path, honest: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for function in (evaluate_model, predict_images, convert_model):  # TensorFlow is at work in this process already
        monkeypatch.setattr(function, "__defaults__", (lambda _home: None,))
    path = described(honest, tmp_path / "net.keras", **HUGE["10^6 times 10^6 numbers"])
    name, *more = command.split()
    given = ["--data", "synthetic"] if name == "evaluate" else []
    if name == "predict":
        Image.new("RGB", (32, 32)).save(tmp_path / "picture.png")
        given = [str(tmp_path / "picture.png")]
    assert_told(name, str(path), *given, *more, "--home", str(tmp_path / "home"))


def test_honest_model_is_loaded_and_nothing_is_left_of_the_look_at_it(tmp_path: Path, honest: Path) -> None:
    from model.our_keras import keras

    with pytest.raises(ModelError):
        load_model(described(honest, tmp_path / "net.keras", **HUGE["10^6 times 10^6 numbers"]))
    model = load_model(honest, classes=10)
    assert keras.ops.shape(model(np.zeros((2, 32, 32, 3), np.uint8))) == (2, 10)
