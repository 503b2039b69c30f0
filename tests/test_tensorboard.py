"""Event files for TensorBoard: TensorFlow's own reader finds in them what was trained."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from null_child import Played, fails
from optuna.trial import TrialState
from study_maker import SPACE, make_study
from test_hooks import Listening

from search.base.event_file import EventFile, crc32c
from search.base.home import Home
from search.base.mistakes import InputError
from search.run.host import run_search
from search.run.request import RunRequest
from search.run.tensorboard import Curves
from search.space.space import SearchSpace
from studies.store.opening import open_storage
from studies.store.storage import Storage

READ = """
import json, sys
from tensorflow.core.util import event_pb2
import tensorflow as tf
events = [event_pb2.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(sys.argv[1:])]
def told(event):
    values = event.summary.value
    plugins = {value.tag: value.metadata.plugin_data.plugin_name for value in values}
    scalars = {value.tag: value.simple_value for value in values if not plugins[value.tag]}
    return {"version": event.file_version, "step": event.step, "at": event.wall_time, "scalars": scalars,
            "plugins": {tag: name for tag, name in plugins.items() if name}}
print(json.dumps([told(event) for event in events]))
"""


def records(file: Path) -> Iterator[bytes]:
    """Each record of an event file, its checksums set aside."""
    left = file.read_bytes()
    while left:
        (length,) = struct.unpack("<Q", left[:8])
        yield left[12 : 12 + length]
        left = left[16 + length :]


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("**/events.out.tfevents.*"))


def run(tmp_path: Path, played: Played, **changes: Any) -> Listening:
    view, space = Listening(), SearchSpace.from_dict(SPACE)
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    request = RunRequest(
        space, Home(tmp_path / "home"), storage, workers=1, start=played.start, tensorboard=tmp_path / "tb", **changes
    )
    run_search(request, view, threading.Event())
    return view


def test_checksum_is_that_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA


def test_each_trial_has_a_run_with_its_curves_its_values_and_its_end(tmp_path: Path) -> None:
    played = Played()
    played.trouble = lambda *_: fails("diverged", "the loss became nan") if len(played.trained) == 2 else None
    run(tmp_path, played)
    found = files(tmp_path / "tb")
    assert [file.parent.name for file in found] == [f"trial-{number:05d}" for number in range(4)]
    complete, failed = (list(records(found[number])) for number in (0, 1))
    assert len(complete) == 1 + 1 + 3 + 1
    assert len(failed) == 1 + 1 + 1
    assert b"learning_rate" in complete[1]
    assert b"batch_size" not in complete[1]  # which is fixed
    assert all(b"val_accuracy" in record for record in complete[2:5])
    assert complete[-1].count(b"\x08\x01\x11") == 1  # status: success
    assert failed[-1].count(b"\x08\x02\x11") == 1


def test_trials_that_were_settled_before_are_written_once_the_run_begins(storage: Storage, tmp_path: Path) -> None:
    study = make_study(storage, 0.4, TrialState.PRUNED, TrialState.FAIL)
    for _ in range(2):
        curves = Curves(tmp_path, ["learning_rate"])
        curves.catch_up(storage, study)
        curves.close()
    assert [len(list(records(file))) for file in files(tmp_path)] == [6, 4, 4]


def test_folder_that_can_not_be_written_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "tb").write_text("a file")
    with pytest.raises(InputError, match=r"--tensorboard .*can.t be written"):
        run(tmp_path, Played())
    assert not (tmp_path / "home").exists() or list((tmp_path / "home").iterdir()) == []


def test_disk_that_fills_is_told_once_and_the_search_goes_on(tmp_path: Path) -> None:
    played = Played()

    def in_the_way() -> None:
        for number in range(1, 4):  # the folder of trial 0, which runs, may be made at this very moment
            with_file = tmp_path / "tb" / "small" / f"trial-{number:05d}"
            if not with_file.exists():
                with_file.parent.mkdir(exist_ok=True)
                with_file.write_text("in the way")

    played.gate = in_the_way
    view = run(tmp_path, played)
    assert len([note for note in view.notes if "nothing more is written for TensorBoard" in note]) == 1
    assert len(played.trained) == 4


@pytest.mark.slow
def test_tensorflow_reads_every_record(tmp_path: Path) -> None:
    file = EventFile(tmp_path)
    file.begin({"rate": 0.1, "kind": "adam", "on": True, "text": "é\ud800"}, "trial-00000", 1000.0)
    file.scalars(3, {"loss": 0.5, "val_accuracy": 1e300}, 1001.5)
    file.scalars(2**40, {"x" * 300: -1.0}, 1002.0)
    file.end(well=True, at=1003.0)
    file.close()
    done = subprocess.run(
        [sys.executable, "-c", READ, *map(str, files(tmp_path))], capture_output=True, text=True, check=True
    )
    version, begun, first, second, end = json.loads(done.stdout.splitlines()[-1])
    assert version["version"] == "brain.Event:2"
    assert begun["plugins"] == {"_hparams_/session_start_info": "hparams"}
    assert (first["step"], first["at"], first["scalars"]) == (3, 1001.5, {"loss": 0.5, "val_accuracy": float("inf")})
    assert (second["step"], second["scalars"]) == (2**40, {"x" * 300: -1.0})
    assert end["plugins"] == {"_hparams_/session_end_info": "hparams"}
