"""The process that trains: one configuration after another, told and telling in JSON lines over its pipes.

`search.training.child` starts it as `python -P -m search.training.trainer`, in an environment that says which GPU
it sees. It is the only part of a search that imports TensorFlow. What is said is in `search.training.messages`.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import traceback
from typing import IO, TYPE_CHECKING

from model.config import DataError, DownloadError, EpochMetrics, Failure, TrainConfig, TrainError
from model.data import ImageSet, fingerprint, load_test, load_training, shape_of, split
from model.device import configure
from search.training.messages import (
    DataFound,
    DeviceFound,
    Epoch,
    Failed,
    Finished,
    FromTrainer,
    Open,
    Progress,
    Ready,
    Refused,
    Started,
    ToTrainer,
    Train,
    Verdict,
    line,
    to_trainer,
)

if TYPE_CHECKING:
    from model.own_engine import OwnEngine
    from model.train import Engine

VERDICT_SECONDS = 2.0


class Wire:
    """Both pipes: sends at once, receives in a thread that ends the process when the other side is gone."""

    def __init__(self, incoming: IO[str], outgoing: IO[str]) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._received: queue.Queue[ToTrainer] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for text in self._incoming:
            self._received.put(to_trainer(text))
        os._exit(0)

    def send(self, message: FromTrainer) -> None:
        try:
            self._outgoing.write(line(message))
            self._outgoing.flush()
        except BrokenPipeError:
            os._exit(0)

    def receive(self, timeout: float | None = None) -> ToTrainer | None:
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
    if not isinstance(opening, Open):
        raise SystemExit(f"search.training.trainer: the first message must be of kind open, but is {opening}")
    try:
        trainer = _Trainer(wire, opening)
    except DataError as error:
        wire.send(Refused(download=isinstance(error, DownloadError), message=str(error)))
        return
    while (message := wire.receive()) is not None:
        if isinstance(message, Train):
            trainer.train(message)


class _Trainer:
    """The data and network of this process, kept from one training to the next."""

    def __init__(self, wire: Wire, opening: Open) -> None:
        self._wire = wire
        spec = opening.data
        shape = shape_of(spec, own=opening.network is not None)
        training = load_training(spec.source, opening.cache, spec.skip_unreadable, shape)
        self._class_names = training.class_names
        train, validation = training, None
        if opening.validation == "held-out":
            parts = split(training, spec)
            train, validation = parts.train, parts.validation
        elif opening.validation == "test":
            height, width, channels = training.images.shape[1:]
            validation = load_test(spec.source, opening.cache, spec.skip_unreadable, (height, width, channels))
        self._device = configure(threads=opening.threads, gpu_memory_mb=opening.gpu_memory_mb)
        self._engine = self._opened(opening, train, validation)
        wire.send(
            Ready(
                data=DataFound(
                    source=spec.source,
                    fingerprint=fingerprint(training),
                    source_images=len(training.labels),
                    train_images=len(train.labels),
                    validation_images=len(validation.labels) if validation is not None else 0,
                    classes=training.class_names,
                ),
                device=DeviceFound(
                    kind=self._device.kind,
                    name=self._device.name,
                    precision=self._device.precision,
                    threads=self._device.threads,
                ),
                notes=training.notes,
            )
        )

    def _opened(self, opening: Open, train: ImageSet, validation: ImageSet | None) -> Engine | OwnEngine:
        if opening.network is None:
            from model.train import Engine

            return Engine(train, validation, self._device)
        from model.own_engine import OwnEngine

        return OwnEngine(train, validation, self._device, opening.network)

    def train(self, message: Train) -> None:
        """Train one configuration and say what came of it: nothing that goes wrong ends this process but a crash."""
        try:
            self._train(message)
        except TrainError as error:
            self._failed(message, error.failure, retry=error.retry)
        except DataError as error:
            self._failed(message, Failure(kind="data", text=str(error)), retry=False)
        except OSError as error:  # a full disk, most likely: the trial can go on once there is room
            self._failed(message, Failure(kind="disk", text=error.strerror or str(error)), retry=True)
        except Exception as error:  # noqa: BLE001 - a defect of ours: the trial records it, the log has the rest
            traceback.print_exc()
            self._failed(message, Failure(kind="error", text=f"{error!r}"), retry=True)
        else:
            self._wire.send(Finished(trial=message.trial))

    def _train(self, message: Train) -> None:
        trial = message.trial
        if not isinstance(message.config, TrainConfig):
            raise TypeError("training of one's own came to the process that trains networks")
        config = message.config.model_copy(update={"precision": self._device.resolve(message.config.precision)})
        verdicts = Verdicts(self._wire, trial)

        def on_epoch(metrics: EpochMetrics) -> bool:
            self._wire.send(Epoch(trial=trial, metrics=metrics))
            return verdicts.after(metrics.epoch)

        self._engine.train(
            config,
            on_epoch,
            checkpoints=message.checkpoints,
            on_progress=lambda now: self._wire.send(
                Progress(
                    trial=trial,
                    epoch=now.epoch,
                    step=now.step,
                    steps=now.steps,
                    images_per_second=now.images_per_second,
                )
            ),
            on_start=lambda history: self._wire.send(Started(trial=trial, config=config, history=history)),
        )
        if message.model is not None:
            from model.saved import save_model

            save_model(self._engine.network, message.model, self._class_names)

    def _failed(self, message: Train, failure: Failure, *, retry: bool) -> None:
        self._wire.send(Failed(trial=message.trial, failure=failure, retry=retry))


class Verdicts:
    """The slot's answers about one trial."""

    def __init__(self, wire: Wire, trial: int) -> None:
        self._wire = wire
        self._trial = trial

    def after(self, epoch: int) -> bool:
        """Whether to go on after `epoch`. Answers about earlier epochs that come late count as well."""
        while (message := self._wire.receive(VERDICT_SECONDS)) is not None:
            if not isinstance(message, Verdict) or message.trial != self._trial:
                continue
            if not message.go:
                return False
            if message.epoch >= epoch:
                return True
        return True


if __name__ == "__main__":
    main()
