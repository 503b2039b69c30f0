"""A training process that is played: it speaks as `search.training.trainer` does, and "trains" what the test says.

    played = Played()                                 # what all children of a test share
    Workshop(..., start=played.start)

The network it saves is a real one of Keras, but small: the tests measure it on synthetic images.
"""

from __future__ import annotations

import queue as queues
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from model.config import DataSpec, EpochMetrics, Failure, FailureKind
from search.space.own_files import Own
from search.training.child import ChildError, RefusedError
from search.training.messages import (
    DataFound,
    DeviceFound,
    Epoch,
    Failed,
    Finished,
    FromTrainer,
    Progress,
    Ready,
    Refused,
    Started,
    ToTrainer,
    Train,
    Validation,
    Verdict,
)
from search.training.places import Place

FINGERPRINT = "sha256:null"
Trouble = Callable[[Mapping[str, Any], int], Failed | str | None]
"""Of a configuration and an attempt from 1: how it fails, "crash", or None if all goes well."""


@dataclass
class Played:
    """What the children of a test were told, and what they are to answer."""

    accuracy: Callable[[Mapping[str, Any]], float] = lambda config: 0.5 + config["seed"] % 100 / 1000
    trouble: Trouble = lambda _config, _attempt: None
    save: Callable[[Path, int], object] = lambda path, _seed: path.write_bytes(b"a network")
    fingerprint: str = FINGERPRINT
    device: Literal["cpu", "gpu"] = "cpu"
    refuses: str = ""
    trained: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    """Place and configuration of every training that was begun."""
    openings: list[Validation] = field(default_factory=list)
    """Of each child, what it validates on."""
    asked: list[Train] = field(default_factory=list)
    verdicts: dict[int, bool] = field(default_factory=dict)
    """By epoch, whether to go on. Nobody heeds it here: a real process may be an epoch late."""
    places: list[Place] = field(default_factory=list)
    """Of each child, where it is."""
    killed: int = 0
    gate: Callable[[], object] = lambda: None
    """Called within every training."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(
        self,
        place: Place,
        data: DataSpec,
        cache: Path,
        log: Path,
        validation: Validation = "held-out",
        own: Own | None = None,
    ) -> NullChild:
        del cache, own
        with self.lock:
            self.openings.append(validation)
            self.places.append(place)
        return NullChild(self, place, data, log, validation)


class NullChild:
    """Stands in for `search.training.child.Child`."""

    def __init__(self, played: Played, place: Place, data: DataSpec, log: Path, validation: Validation) -> None:
        self.place, self.log = place, log
        self._played, self._data, self._validation = played, data, validation
        self._messages: queues.Queue[FromTrainer | None] = queues.Queue()

    def wait_ready(self, _stopping: threading.Event) -> Ready:
        if self._played.refuses:
            raise RefusedError(Refused(message=self._played.refuses, download=False))
        return Ready(
            data=DataFound(
                source=self._data.source,
                fingerprint=self._played.fingerprint,
                source_images=2000,
                train_images=1600,
                validation_images=400,
                classes=("a", "b"),
            ),
            device=DeviceFound(
                kind=self._played.device, name=f"null {self.place.index}", precision="float32", threads=1
            ),
        )

    def send(self, message: ToTrainer) -> None:
        if isinstance(message, Verdict):
            self._played.verdicts[message.epoch] = message.go
        if not isinstance(message, Train):
            return
        played, config, trial = self._played, message.config.model_dump(), message.trial
        with played.lock:
            played.trained.append((self.place.name, config))
            played.asked.append(message)
            attempt = sum(config == earlier for _, earlier in played.trained)
        played.gate()
        resolved = {"precision": "float32"} if getattr(message.config, "precision", "") == "auto" else {}
        began = message.config.model_copy(update=resolved)
        self._messages.put(Started(trial=trial, config=began, history=()))
        self._messages.put(Progress(trial=trial, epoch=1, step=1, steps=2, images_per_second=100.0))
        trouble = played.trouble(config, attempt)
        if isinstance(trouble, str):
            self._messages.put(None)
            return
        if trouble:
            self._messages.put(trouble.model_copy(update={"trial": trial}))
            return
        for epoch in range(1, message.config.epochs + 1):
            metrics: dict[str, Any] = {"epoch": epoch, "loss": 1 / epoch, "accuracy": 0.6, "learning_rate": 0.1}
            if self._validation != "none":
                metrics |= {"val_loss": 1.0, "val_accuracy": played.accuracy(config)}
            self._messages.put(Epoch(trial=trial, metrics=EpochMetrics(**metrics, seconds=2.0)))
        if message.model is not None:
            played.save(message.model, message.config.seed)
        self._messages.put(Finished(trial=trial))

    def receive(self, timeout: float) -> FromTrainer | None:
        try:
            message = self._messages.get(timeout=timeout)
        except queues.Empty:
            return None
        if message is None:
            raise ChildError("training process was killed by signal 9, see the log")
        return message

    def outgrown(self) -> bool:
        return False

    def kill(self) -> None:
        with self._played.lock:
            self._played.killed += 1


def fails(kind: FailureKind, text: str, *, retry: bool = False) -> Failed:
    """How a played training fails."""
    return Failed(trial=0, failure=Failure(kind=kind, text=text), retry=retry)
