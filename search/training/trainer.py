"""The process that trains: one configuration after another, told and telling in JSON lines over its pipes.

`search.training.child` starts it as `python -m search.training.trainer`, in an environment that says which GPU it
sees. It is the only part of a search that imports TensorFlow. A message is one JSON object a line, with its `kind`.

To it:      open      what to train on: data, holds_out (false: all training images, none for validation), cache,
                      threads, gpu_memory_mb. Once, first.
            train     trial, config, checkpoints, and model: where to save the network, absent where nobody wants it
            verdict   trial, epoch, go: whether to go on after this epoch
From it:    ready     data (its fingerprint and counts) and device
            refused   the data can't be used: download (whether it is only that), message. Then it exits.
            started   trial, config with its precision resolved, history of the epochs a checkpoint had
            progress  trial, epoch, step, steps, images_per_second; every few seconds
            epoch     trial, metrics
            finished  trial
            failed    trial, reason, retry, message

The trainer waits for a verdict no longer than `VERDICT_SECONDS` and goes on without one: a database that stalls the
slot does not stall training, and a late verdict counts after the next epoch. When its standard input closes, its slot
is gone and it ends at once: the last epoch's checkpoint is on the disk already.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from model.config import DataError, DataSpec, DownloadError, EpochMetrics, TrainConfig, TrainError
from model.data import fingerprint, load_training, split
from model.device import configure

VERDICT_SECONDS = 2.0


class Wire:
    """Both pipes: sends at once, receives in a thread that ends the process when the other side is gone."""

    def __init__(self, incoming: IO[str], outgoing: IO[str]) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._received: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self._incoming:
            self._received.put(json.loads(line))
        os._exit(0)

    def send(self, kind: str, **values: Any) -> None:
        try:
            self._outgoing.write(json.dumps({"kind": kind, **values}) + "\n")
            self._outgoing.flush()
        except BrokenPipeError:
            os._exit(0)

    def receive(self, timeout: float | None = None) -> dict[str, Any] | None:
        """The next message; None after `timeout` seconds without one."""
        with contextlib.suppress(queue.Empty):
            return self._received.get(timeout=timeout)
        return None


def main() -> None:
    """Serve one slot until it closes the pipe."""
    # Ctrl-C reaches the whole terminal; the slot decides what becomes of its trial.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever TensorFlow prints goes to the log that is standard error, never between our lines.
    outgoing = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    wire = Wire(sys.stdin, outgoing)
    opening = wire.receive()
    if opening is None or opening["kind"] != "open":
        raise SystemExit(f"search.training.trainer: the first message must be of kind open, but is {opening}")
    try:
        trainer = _Trainer(wire, opening)
    except DataError as error:
        wire.send("refused", download=isinstance(error, DownloadError), message=str(error))
        return
    while (message := wire.receive()) is not None:
        if message["kind"] == "train":
            trainer.train(message)


class _Trainer:
    """The data and network of this process, kept from one trial to the next."""

    def __init__(self, wire: Wire, opening: Mapping[str, Any]) -> None:
        self._wire = wire
        spec = DataSpec.model_validate(opening["data"])
        training = load_training(spec.source, Path(opening["cache"]))
        parts = split(training, spec) if opening["holds_out"] else None
        self._class_names = training.class_names
        train, validation = (parts.train, parts.validation) if parts else (training, None)
        self._device = configure(threads=opening["threads"], gpu_memory_mb=opening["gpu_memory_mb"])
        from model.train import Engine

        self._engine = Engine(train, validation, self._device)
        wire.send(
            "ready",
            data={
                "source": spec.source,
                "fingerprint": fingerprint(training),
                "source_images": len(training.labels),
                "train_images": len(train.labels),
                "validation_images": len(validation.labels) if validation is not None else 0,
                "classes": list(training.class_names),
            },
            device={name: getattr(self._device, name) for name in ("kind", "name", "precision", "threads")},
        )

    def train(self, message: Mapping[str, Any]) -> None:
        trial = message["trial"]
        config = TrainConfig.model_validate(message["config"])
        config = config.model_copy(update={"precision": self._device.resolve(config.precision)})
        ordered = Verdicts(self._wire, trial)

        def on_epoch(metrics: EpochMetrics) -> bool:
            self._wire.send("epoch", trial=trial, metrics=metrics.model_dump())
            return ordered.after(metrics.epoch)

        def on_start(history: tuple[EpochMetrics, ...]) -> None:
            epochs = [metrics.model_dump() for metrics in history]
            self._wire.send("started", trial=trial, config=config.model_dump(), history=epochs)

        try:
            self._engine.train(
                config,
                on_epoch,
                checkpoints=Path(message["checkpoints"]),
                on_progress=lambda progress: self._wire.send(
                    "progress",
                    trial=trial,
                    epoch=progress.epoch,
                    step=progress.step,
                    steps=progress.steps,
                    images_per_second=progress.images_per_second,
                ),
                on_start=on_start,
            )
            if "model" in message:
                from model.saved import save_model

                save_model(self._engine.network, Path(message["model"]), self._class_names)
        except TrainError as error:
            self._wire.send("failed", trial=trial, reason=error.reason, retry=error.retry, message=str(error))
        except DataError as error:
            self._wire.send("failed", trial=trial, reason="data", retry=False, message=str(error))
        except OSError as error:  # a full disk, most likely: the trial can go on once there is room
            self._wire.send("failed", trial=trial, reason="disk", retry=True, message=error.strerror or str(error))
        except Exception as error:  # noqa: BLE001 - a defect of ours: the trial records it, the log has the rest
            traceback.print_exc()
            self._wire.send("failed", trial=trial, reason="error", retry=True, message=f"{error!r}")
        else:
            self._wire.send("finished", trial=trial)


class Verdicts:
    """The slot's answers about one trial."""

    def __init__(self, wire: Wire, trial: int) -> None:
        self._wire = wire
        self._trial = trial

    def after(self, epoch: int) -> bool:
        """Whether to go on after `epoch`. Answers about earlier epochs that come late count as well."""
        while (message := self._wire.receive(VERDICT_SECONDS)) is not None:
            if message["kind"] != "verdict" or message["trial"] != self._trial:
                continue
            if not message["go"]:
                return False
            if message["epoch"] >= epoch:
                return True
        return True


if __name__ == "__main__":
    main()
