"""What a training process is told, and what it tells: a JSON object a line over its pipes, of these kinds.

To it:     Open     once, first: what to train on. It answers Ready, or Refused and exits.
           Train    one configuration. It answers Started, then Progress and Epoch, at last Finished or Failed.
           Verdict  whether to go on after an epoch
From it:   Ready, Refused, Started, Progress, Epoch, Finished, Failed

The process waits for a verdict no longer than `search.training.trainer.VERDICT_SECONDS` and goes on without one: a
database that stalls the slot does not stall training, and a late verdict counts after the next epoch. When its standard
input closes, its slot is gone and it ends at once: the last epoch's checkpoint is on the disk already.

No number in a message is NaN or infinite: a training that diverged says so (`Failed`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from model.config import DataSpec, EpochMetrics, Failure, Frozen, TrainConfig

Validation = Literal["held-out", "none", "test"]
"""What is validated on after each epoch: the images that `DataSpec` holds out of the training images; or, with all of
them trained on, nothing or the test images, as the paper of 2022 did."""


class Open(Frozen):
    """What to train on."""

    kind: Literal["open"] = "open"
    data: DataSpec
    validation: Validation = "held-out"
    cache: Path
    """Folder of decoded images."""
    threads: int | None = None
    """Of the CPU; None is all."""
    gpu_memory_mb: int | None = None
    """How much of a GPU that is shared; None is all."""


class Train(Frozen):
    """One training, which goes on from its newest checkpoint."""

    kind: Literal["train"] = "train"
    trial: int
    """Names it in every answer."""
    config: TrainConfig
    checkpoints: Path | None
    """None: it begins anew, and leaves no checkpoint."""
    model: Path | None = None
    """Where to save the network after its last epoch; None if nobody wants it."""


class Verdict(Frozen):
    """Whether to go on after this epoch."""

    kind: Literal["verdict"] = "verdict"
    trial: int
    epoch: int
    go: bool


class DataFound(Frozen):
    """The data as it was found."""

    source: str
    fingerprint: str
    """Of all training images of the source."""
    source_images: int
    train_images: int
    validation_images: int
    classes: tuple[str, ...]

    def told_from(self, stored: Mapping[str, Any]) -> str:
        """How these images differ from those that a study keeps (`DataFound` as it was stored), in words."""
        then, now = stored.get("source_images"), self.source_images
        classes_then, classes_now = len(stored.get("classes", ())), len(self.classes)
        if (then, classes_then) != (now, classes_now) and isinstance(then, int):
            return f"it had {then:,} training images of {classes_then} classes, these are {now:,} of {classes_now}"
        same = "as many images and classes, but " if isinstance(then, int) else ""
        return f"{same}other pixels, labels or class names"


class DeviceFound(Frozen):
    """What is computed on."""

    kind: Literal["cpu", "gpu"]
    name: str
    precision: str
    """What "auto" means there."""
    threads: int | None = None


class Ready(Frozen):
    """The data is read, TensorFlow started."""

    kind: Literal["ready"] = "ready"
    data: DataFound
    device: DeviceFound
    notes: tuple[str, ...] = ()
    """How the data was understood, for people; no part of what is stored."""


class Refused(Frozen):
    """The data can't be used."""

    kind: Literal["refused"] = "refused"
    message: str
    download: bool
    """Whether it is only that it can't be downloaded."""


class Started(Frozen):
    """The training begins."""

    kind: Literal["started"] = "started"
    trial: int
    config: TrainConfig
    """As it is run: the precision is resolved."""
    history: tuple[EpochMetrics, ...]
    """The epochs that a checkpoint had."""


class Progress(Frozen):
    """Where the current epoch is; every few seconds."""

    kind: Literal["progress"] = "progress"
    trial: int
    epoch: int
    step: int
    """Steps of this epoch that are done."""
    steps: int
    images_per_second: float


class Epoch(Frozen):
    """An epoch is done, and its checkpoint on the disk."""

    kind: Literal["epoch"] = "epoch"
    trial: int
    metrics: EpochMetrics


class Finished(Frozen):
    """The training has reached its last epoch, or was told to end before."""

    kind: Literal["finished"] = "finished"
    trial: int


class Failed(Frozen):
    """The training failed."""

    kind: Literal["failed"] = "failed"
    trial: int
    failure: Failure
    retry: bool
    """Whether the same training could succeed."""


ToTrainer = Open | Train | Verdict
OfTraining = Started | Progress | Epoch | Finished | Failed
FromTrainer = Ready | Refused | OfTraining

_to: TypeAdapter[ToTrainer] = TypeAdapter(Annotated[ToTrainer, Field(discriminator="kind")])
_from: TypeAdapter[FromTrainer] = TypeAdapter(Annotated[FromTrainer, Field(discriminator="kind")])


def line(message: ToTrainer | FromTrainer) -> str:
    """`message` as the line that is sent."""
    return message.model_dump_json() + "\n"


def to_trainer(text: str) -> ToTrainer:
    """What a line to a training process says. Raises ValueError if it is no such message."""
    return _to.validate_json(text)


def from_trainer(text: str) -> FromTrainer:
    """What a line from a training process says. Raises ValueError if it is no such message."""
    return _from.validate_json(text)
