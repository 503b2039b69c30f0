"""The training process as its slot sees it. What a real one does is in test_trainer and test_run."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import search.training.child
from model.config import EpochMetrics, Failure, TrainConfig
from search.training.child import Child, ChildError, heard
from search.training.messages import (
    Epoch,
    Failed,
    FromTrainer,
    Progress,
    Started,
    Train,
    Verdict,
    from_trainer,
    line,
    to_trainer,
)
from search.training.places import Place


class Talking:
    """Says what it is given, then nothing; a callable among it is called instead."""

    log = Path("a.log")

    def __init__(self, *said: Any) -> None:
        self._said = iter(said)

    def receive(self, _timeout: float) -> FromTrainer | None:
        message = next(self._said, None)
        return message() if callable(message) else message


METRICS = EpochMetrics(
    epoch=1, loss=0.1, accuracy=0.5, val_loss=1.0, val_accuracy=1 / 3, learning_rate=1e-3, seconds=2.0
)
CONFIG = TrainConfig(batch_size=8, learning_rate=0.1, epochs=3, schedule="step", step_epochs=(1, 2), step_factor=0.1)


def said(trial: int) -> Progress:
    return Progress(trial=trial, epoch=1, step=1, steps=2, images_per_second=9.0)


def epoch(trial: int) -> Epoch:
    return Epoch(trial=trial, metrics=METRICS)


@pytest.mark.parametrize(
    "message", [Train(trial=3, config=CONFIG, checkpoints=Path("c")), Verdict(trial=3, epoch=1, go=False)]
)
def test_what_is_said_to_a_process_arrives_as_it_was(message: Train | Verdict) -> None:
    assert to_trainer(line(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        Started(trial=3, config=CONFIG, history=(METRICS,)),
        epoch(3),
        Failed(trial=3, failure=Failure(kind="diverged", text="the loss became nan\nin epoch 1"), retry=False),
    ],
)
def test_what_a_process_says_arrives_as_it_was_bit_for_bit_on_one_line(message: Started | Epoch | Failed) -> None:
    text = line(message)
    assert from_trainer(text) == message
    assert text.count("\n") == 1


def test_number_that_is_none_is_no_epoch() -> None:
    with pytest.raises(ValueError, match="finite"):
        from_trainer(line(epoch(3)).replace("0.1", "NaN"))


def test_messages_are_those_of_the_trial_until_told_to_stop() -> None:
    stopping = threading.Event()
    process: Any = Talking(said(3), said(2), None, epoch(3), stopping.set, said(3))
    assert list(heard(process, 3, stopping)) == [said(3), epoch(3)]


def test_process_that_ended_just_before_the_run_was_told_to_stop_has_not_crashed() -> None:
    class Told(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            self.set()
            return super().wait(0)

    def ends() -> None:
        raise ChildError("training process was killed by signal 15")

    stopped: Any = Talking(said(3), ends)
    assert list(heard(stopped, 3, Told())) == [said(3)]
    crashed: Any = Talking(said(3), ends)
    with pytest.raises(ChildError, match="killed by signal 15"):
        list(heard(crashed, 3, threading.Event()))


def test_silence_ends_a_trial_and_a_sign_of_life_of_any_kind_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr(search.training.child, "HANG_SECONDS", 10)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    process: Any = Talking(said(3), None, said(2), None, epoch(3))
    messages = heard(process, 3, threading.Event())
    assert [next(messages), next(messages)] == [said(3), epoch(3)]
    with pytest.raises(ChildError, match=r"no sign of life for 10 s, see a\.log"):
        next(messages)


def test_process_is_outgrown_when_its_memory_has_grown_unless_it_holds_compiled_programs_of_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search.training.child, "GROWTH_MB", 50)
    child = Child.__new__(Child)
    child.place, child._first_megabytes = Place(0, "cpu"), None
    monkeypatch.setattr(Child, "pid", property(lambda _: os.getpid()))
    assert not child.outgrown()
    memory = np.ones(100 * 2**20, dtype=np.uint8)
    assert child.outgrown()
    child.place = Place(0, "gpu 0: a card", gpu="GPU-0")
    assert not child.outgrown()
    assert memory.any()
