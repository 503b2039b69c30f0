from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import logging
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.checkpoint import FORMAT, State, load, save
from model.config import EpochMetrics, TrainConfig
from model.files import written_aside

CONFIG = TrainConfig(batch_size=32, learning_rate=0.01, epochs=5, precision="float32")
DATA = "sha256:" + "0" * 64


def state(epochs: int, config: TrainConfig = CONFIG) -> State:
    random = np.random.default_rng(epochs)
    history = tuple(
        EpochMetrics(epoch=epoch, loss=1 / epoch, accuracy=0.1, learning_rate=0.01, seconds=0.3)
        for epoch in range(1, epochs + 1)
    )
    weights = {"conv1/kernel": random.random((3, 2), dtype=np.float32), "a/b": random.random(4, dtype=np.float32)}
    return State(config, DATA, history, weights)


def assert_same(found: State | None, expected: State) -> None:
    assert found is not None
    assert (found.config, found.data, found.history) == (expected.config, expected.data, expected.history)
    assert found.weights.keys() == expected.weights.keys()
    for name, value in expected.weights.items():
        np.testing.assert_array_equal(found.weights[name], value)


def test_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    save(tmp_path / "new" / "folder", state(1))
    assert_same(load(tmp_path / "new" / "folder", CONFIG, DATA), state(1))


def test_what_the_optimizer_keeps_comes_back_apart_from_the_weights(tmp_path: Path) -> None:
    kept = {"momentum/conv1/kernel": np.full((3, 2), 0.5, np.float32)}
    save(tmp_path, dataclasses.replace(state(1), accumulators=kept))
    found = load(tmp_path, CONFIG, DATA)
    assert_same(found, state(1))
    assert found is not None
    np.testing.assert_array_equal(found.accumulators["momentum/conv1/kernel"], kept["momentum/conv1/kernel"])


def test_checkpoint_from_before_there_were_other_optimizers_goes_on(tmp_path: Path) -> None:
    path = save(tmp_path, state(2))
    line, _, payload = path.read_bytes().partition(b"\n")
    header = json.loads(line)
    kept = ("batch_size", "learning_rate", "epochs", "schedule", "step_epochs", "step_factor", "seed", "precision")
    header |= {"format": 1, "config": {key: header["config"][key] for key in kept}}
    path.write_bytes(json.dumps(header).encode() + b"\n" + payload)
    found = load(tmp_path, CONFIG, DATA)
    assert_same(found, state(2))
    assert found is not None
    assert found.accumulators == {}


def test_empty_or_absent_folder_means_a_new_training(tmp_path: Path) -> None:
    assert load(tmp_path, CONFIG, DATA) is None
    assert load(tmp_path / "absent", CONFIG, DATA) is None


def test_two_newest_are_kept_and_nothing_else(tmp_path: Path) -> None:
    for epochs in range(1, 13):
        save(tmp_path, state(epochs))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-000011.checkpoint", "epoch-000012.checkpoint"]
    assert_same(load(tmp_path, CONFIG.model_copy(update={"epochs": 12}), DATA), state(12))


def test_a_training_started_anew_drops_what_lies_beyond_it(tmp_path: Path) -> None:
    other = CONFIG.model_copy(update={"seed": 9})
    for epochs in (4, 5):
        save(tmp_path, state(epochs, other))
    save(tmp_path, state(1))
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-000001.checkpoint"]
    assert_same(load(tmp_path, CONFIG, DATA), state(1))


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.999])
def test_truncated_file_falls_back_to_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, part: float
) -> None:
    save(tmp_path, state(1))
    newest = save(tmp_path, state(2))
    whole = newest.read_bytes()
    newest.write_bytes(whole[: int(len(whole) * part)])
    with caplog.at_level(logging.WARNING):
        assert_same(load(tmp_path, CONFIG, DATA), state(1))
    assert str(newest) in caplog.text


def test_any_single_flipped_byte_is_noticed(tmp_path: Path) -> None:
    save(tmp_path, state(1))
    newest = save(tmp_path, state(2))
    whole = newest.read_bytes()
    header = whole.index(b"\n")
    # In the header a flip may still be a valid one (a digit of a loss); the payload has a checksum.
    for position in range(header + 1, len(whole), 7):
        newest.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert_same(load(tmp_path, CONFIG, DATA), state(1))


def test_all_damaged_means_a_new_training(tmp_path: Path) -> None:
    for epochs in (1, 2):
        save(tmp_path, state(epochs)).write_bytes(b"\x00 not a checkpoint")
    assert load(tmp_path, CONFIG, DATA) is None


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"learning_rate": 0.02}, {"batch_size": 64}, {"precision": "bfloat16"}, {"epochs": 1}]
)
def test_checkpoint_of_another_training_is_not_continued(tmp_path: Path, change: dict[str, Any]) -> None:
    save(tmp_path, state(2))
    assert load(tmp_path, CONFIG.model_copy(update=change), DATA) is None


def test_checkpoint_of_other_images_is_not_continued(tmp_path: Path) -> None:
    save(tmp_path, state(2))
    assert load(tmp_path, CONFIG, "sha256:" + "1" * 64) is None


def test_more_epochs_than_were_planned_continue_the_same_training(tmp_path: Path) -> None:
    save(tmp_path, state(2))
    assert_same(load(tmp_path, CONFIG.model_copy(update={"epochs": 50}), DATA), state(2))


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_with_a_schedule_over_all_epochs_other_ones_are_another_training(tmp_path: Path, schedule: str) -> None:
    config = CONFIG.model_copy(update={"schedule": schedule})
    save(tmp_path, state(2, config))
    assert_same(load(tmp_path, config, DATA), state(2, config))
    assert load(tmp_path, config.model_copy(update={"epochs": 50}), DATA) is None


def rewritten(path: Path, payload: bytes | None = None, **changes: Any) -> None:
    """The file with another payload under a right checksum, or with changes to its header."""
    line, _, old = path.read_bytes().partition(b"\n")
    payload = old if payload is None else payload
    header = {**json.loads(line), "sha256": hashlib.sha256(payload).hexdigest(), **changes}
    path.write_bytes(json.dumps(header).encode() + b"\n" + payload)


def test_pickled_objects_are_refused_even_under_a_right_checksum(tmp_path: Path) -> None:
    path = save(tmp_path, state(1))
    buffer = io.BytesIO()
    np.savez(buffer, weights=np.array([{"any": "object"}], dtype=object), allow_pickle=True)
    rewritten(path, buffer.getvalue())
    assert load(tmp_path, CONFIG, DATA) is None


def test_format_of_a_later_version_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rewritten(save(tmp_path, state(1)), format=FORMAT + 1, something_new=True)
    with caplog.at_level(logging.WARNING):
        assert load(tmp_path, CONFIG, DATA) is None
    assert "later version" in caplog.text


def test_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    path.write_text("old")

    def fail() -> None:
        with written_aside(path) as temporary:
            temporary.write_text("half of the n")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_temporary_file_left_by_a_killed_process_is_never_taken_for_a_checkpoint(tmp_path: Path) -> None:
    save(tmp_path, state(1))
    (tmp_path / ".epoch-000002.12345.checkpoint").write_bytes(b"half")
    assert_same(load(tmp_path, CONFIG, DATA), state(1))
    save(tmp_path, state(2))
    assert not list(tmp_path.glob(".*")), "what a killed process left is swept by the next save"


LIKE = {"conv1/kernel": (3, 2), "a/b": (4,)}


def packed(arrays: dict[str, Any], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in arrays.items():
            array = io.BytesIO()
            np.save(array, content) if isinstance(content, np.ndarray) else array.write(content)
            archive.writestr(f"{name}.npy", array.getvalue())
    return buffer.getvalue()


def claiming(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    """An array that says that it is of this shape, and holds one number."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + b"\0" * 4


def encrypted() -> bytes:
    """As zip tools do it: the bit that says so, in both of a member's headers."""
    whole = bytearray(packed({"conv1/kernel": np.zeros((3, 2), np.float32), "a/b": np.zeros(4, np.float32)}))
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = whole.find(magic)
        while start >= 0:
            whole[start + place] |= 1
            start = whole.find(magic, start + 1)
    return bytes(whole)


KERNEL, BIAS = np.zeros((3, 2), np.float32), np.zeros(4, np.float32)
PAYLOADS: dict[str, bytes] = {
    "no archive": b"nothing of the kind",
    "empty": b"",
    "encrypted": encrypted(),
    "packed by LZMA": packed({"conv1/kernel": KERNEL, "a/b": BIAS}, zipfile.ZIP_LZMA),
    "packed by deflate": packed({"conv1/kernel": KERNEL, "a/b": BIAS}, zipfile.ZIP_DEFLATED),
    "another shape": packed({"conv1/kernel": np.zeros((2, 3), np.float32), "a/b": BIAS}),
    "a name is missing": packed({"conv1/kernel": KERNEL}),
    "a name too many": packed({"conv1/kernel": KERNEL, "a/b": BIAS, "c": BIAS}),
    "texts": packed({"conv1/kernel": np.full((3, 2), "x"), "a/b": BIAS}),
    "objects": packed({"conv1/kernel": claiming((3, 2), "|O"), "a/b": BIAS}),
    "terabytes": packed({"conv1/kernel": claiming((10**6, 10**6)), "a/b": BIAS}),
    "a header of brackets": packed({"conv1/kernel": b"\x93NUMPY\x01\x00\x00\x08" + b"(" * 2048, "a/b": BIAS}),
    "an array of version 9": packed({"conv1/kernel": b"\x93NUMPY\x09\x00\x00\x08", "a/b": BIAS}),
}


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_whatever_is_wrong_with_a_checkpoint_the_one_before_is_taken(tmp_path: Path, payload: bytes) -> None:
    save(tmp_path, state(1))
    path = save(tmp_path, state(2))
    header = json.loads(path.read_bytes().partition(b"\n")[0])
    header["sha256"] = hashlib.sha256(payload).hexdigest()
    path.write_bytes(json.dumps(header).encode() + b"\n" + payload)
    assert_same(load(tmp_path, CONFIG, DATA, like=LIKE), state(1))


@pytest.mark.parametrize("line", [b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b"7", b"null", b"1" * 5000, b""])
def test_whatever_a_checkpoint_says_of_itself_the_one_before_is_taken(tmp_path: Path, line: bytes) -> None:
    save(tmp_path, state(1))
    save(tmp_path, state(2)).write_bytes(line + b"\n")
    assert_same(load(tmp_path, CONFIG, DATA, like=LIKE), state(1))


def test_what_is_no_file_or_too_large_is_passed_over(tmp_path: Path) -> None:
    save(tmp_path, state(1))
    os.mkfifo(tmp_path / "epoch-000003.checkpoint")
    (tmp_path / "epoch-000004.checkpoint").mkdir()
    with (tmp_path / "epoch-000005.checkpoint").open("wb") as file:
        file.truncate(10**12)  # of which the disk holds nothing
    assert_same(load(tmp_path, CONFIG, DATA, like=LIKE), state(1))
