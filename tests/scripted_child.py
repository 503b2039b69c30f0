"""A training process that plays a script of messages.

    script = Script([READY, started(), epoch(1), ...], [...])     # of the slot's first process, its second ...
    Assignment(..., start=script.start)

An error in a script is raised, a function called, None is a silence.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.config import DataSpec, EpochMetrics, Failure, FailureKind, TrainConfig
from search.space.own_files import Own
from search.training.messages import (
    DataFound,
    DeviceFound,
    Epoch,
    Failed,
    Finished,
    FromTrainer,
    Ready,
    Started,
    ToTrainer,
    Validation,
    Verdict,
)
from search.training.places import Place

READY = Ready(
    data=DataFound(
        source="synthetic",
        fingerprint="f",
        source_images=2000,
        train_images=1600,
        validation_images=400,
        classes=("a", "b"),
    ),
    device=DeviceFound(kind="cpu", name="pretend", precision="float32"),
)
CONFIG = TrainConfig(batch_size=32, learning_rate=0.01, epochs=3, precision="float32")

Line = FromTrainer | Exception | Callable[[], object] | None


def epoch(number: int, val_accuracy: float = 0.5, *, trial: int = 0) -> Epoch:
    fixed = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "learning_rate": 0.01, "seconds": 2.0}
    return Epoch(trial=trial, metrics=EpochMetrics(epoch=number, val_accuracy=val_accuracy, **fixed))


def started(*history: Epoch, trial: int = 0) -> Started:
    return Started(trial=trial, config=CONFIG, history=tuple(message.metrics for message in history))


def finished(*, trial: int = 0) -> Finished:
    return Finished(trial=trial)


def failed(kind: FailureKind, text: str, *, retry: bool = False) -> Failed:
    return Failed(trial=0, failure=Failure(kind=kind, text=text), retry=retry)


@dataclass
class Script:
    """What the processes of a slot play, one after another, and what they were told."""

    scripts: list[list[Any]]
    outgrown: bool = False
    sent: list[ToTrainer] = field(default_factory=list)

    def start(
        self,
        place: Place,
        data: DataSpec,
        cache: Path,
        log: Path,
        validation: Validation = "held-out",
        own: Own | None = None,
    ) -> ScriptedChild:
        del data, cache, log, validation, own
        return ScriptedChild(self, place, self.scripts.pop(0))

    @property
    def verdicts(self) -> dict[int, bool]:
        """By epoch, whether to go on."""
        return {message.epoch: message.go for message in self.sent if isinstance(message, Verdict)}


class ScriptedChild:
    """Stands in for `search.training.child.Child`."""

    def __init__(self, script: Script, place: Place, lines: list[Any]) -> None:
        self.place, self.log = place, Path("a.log")
        self._script, self._lines = script, iter(lines)

    def wait_ready(self, _stopping: threading.Event) -> Ready | None:
        first = next(self._lines)
        if isinstance(first, Exception):
            raise first
        return first  # type: ignore[no-any-return]

    def send(self, message: ToTrainer) -> None:
        self._script.sent.append(message)

    def receive(self, _timeout: float) -> FromTrainer | None:
        message: Line = next(self._lines, None)
        if isinstance(message, Exception):
            raise message
        if callable(message):
            message()
            return None
        return message

    def outgrown(self) -> bool:
        return self._script.outgrown

    def kill(self) -> None:
        pass
