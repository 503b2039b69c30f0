"""A training process that is played: it speaks as `search.training.trainer` does, and "trains" what the test says.

    played = Played(tmp_path)                         # what all children of a test share
    monkeypatch.setattr(search.retraining.jobs, "Child", played.child)

The network it saves is a real one of Keras, but small: the tests measure it on synthetic images.
"""

from __future__ import annotations

import queue as queues
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search.training.child import ChildError, Refused
from search.training.places import Place

FINGERPRINT = "sha256:null"
Trouble = Callable[[Mapping[str, Any], int], Mapping[str, Any] | str | None]
"""Of a configuration and an attempt from 1: a `failed` message, "crash", or None where all goes well."""


@dataclass
class Played:
    """What the children of a test were told, and what they are to answer."""

    accuracy: Callable[[Mapping[str, Any]], float] = lambda config: 0.5 + config["seed"] % 100 / 1000
    trouble: Trouble = lambda _config, _attempt: None
    save: Callable[[Path, int], object] = lambda path, _seed: path.write_bytes(b"a network")
    fingerprint: str = FINGERPRINT
    device: str = "cpu"
    refuses: str = ""
    trained: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    """Place and configuration of every training that was begun."""
    openings: list[bool] = field(default_factory=list)
    """Of each child, whether it holds validation images out."""
    places: list[Place] = field(default_factory=list)
    """Of each child, where it is."""
    killed: int = 0
    gate: Callable[[], object] = lambda: None
    """Called within every training."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def child(self, place: Place, data: Any, cache: Path, log: Path, *, holds_out: bool = True) -> NullChild:
        del data, cache
        with self.lock:
            self.openings.append(holds_out)
            self.places.append(place)
        return NullChild(self, place, log, holds_out)


class NullChild:
    """Stands in for `search.training.child.Child`."""

    def __init__(self, played: Played, place: Place, log: Path, holds_out: bool) -> None:
        self.log = log
        self._played = played
        self._place = place
        self._holds_out = holds_out
        self._messages: queues.Queue[Mapping[str, Any] | None] = queues.Queue()

    def wait_ready(self, _stopping: threading.Event) -> Mapping[str, Any]:
        if self._played.refuses:
            raise Refused(self._played.refuses, download=False)
        device = {"kind": self._played.device, "name": f"null {self._place.index}", "precision": "float32"}
        return {"kind": "ready", "data": {"fingerprint": self._played.fingerprint}, "device": device}

    def send(self, kind: str, **values: Any) -> None:
        if kind != "train":
            return
        played, config = self._played, values["config"]
        with played.lock:
            played.trained.append((self._place.name, config))
            attempt = sum(config == earlier for _, earlier in played.trained)
        played.gate()
        self._say("started", history=[])
        self._say("progress", epoch=1, step=1, steps=2, images_per_second=100.0)
        trouble = played.trouble(config, attempt)
        if isinstance(trouble, str):
            self._messages.put(None)
            return
        if trouble:
            self._say("failed", **trouble)
            return
        for epoch in range(1, config["epochs"] + 1):
            metrics: dict[str, Any] = {"epoch": epoch, "loss": 1 / epoch, "accuracy": 0.6, "learning_rate": 0.1}
            if self._holds_out:
                metrics |= {"val_loss": 1.0, "val_accuracy": played.accuracy(config)}
            self._say("epoch", metrics={**metrics, "seconds": 2.0})
        if "model" in values:
            played.save(Path(values["model"]), config["seed"])
        self._say("finished")

    def receive(self, timeout: float) -> Mapping[str, Any] | None:
        try:
            message = self._messages.get(timeout=timeout)
        except queues.Empty:
            return None
        if message is None:
            raise ChildError("training process was killed by signal 9, see the log")
        return message

    def kill(self) -> None:
        with self._played.lock:
            self._played.killed += 1

    def _say(self, kind: str, **values: Any) -> None:
        self._messages.put({"kind": kind, "trial": 0, **values})
