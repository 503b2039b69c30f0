"""What a training process is told, and what it tells: a JSON object a line over its pipes, of these kinds.

To it:     Open     once, first: what to train on. It answers Ready, or Refused and exits.
           Train    one configuration. It answers Started, then Progress and Epoch, at last Finished or Failed.
           Verdict  whether to go on after an epoch
From it:   Ready, Refused, Started, Progress, Epoch, Finished, Failed

The process waits for a verdict no longer than `search.training.trainer.VERDICT_SECONDS` and goes on without one: a
database that stalls the slot does not stall training, and a late verdict counts after the next epoch. When its standard
input closes, its slot is gone and it ends at once: the last epoch's checkpoint is on the disk already.

No number in a message is NaN or infinite: a training that diverged says so (`Failed`).

Training of one's own (`search.space.own`) is spoken to in the same way, in the dialect that docs/training-process.md
describes: what opens it is `OpenOwn`, and it says Begun for Started and Reported for Epoch, which need less to be said.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from model.config import DataSpec, EpochMetrics, Failure, Frozen, NetworkSpec, PositiveInt, TrainConfig
from search.space.own import OwnConfig, OwnEpoch

Validation = Literal["held-out", "none", "test"]
"""What is validated on after each epoch: the images that `DataSpec` holds out of the training images; or, with all of
them trained on, nothing or the test images, as the paper of 2022 did."""


class Open(Frozen):
    """What to train on."""

    kind: Literal["open"] = "open"
    data: DataSpec
    validation: Validation = "held-out"
    network: NetworkSpec | None = None
    """None is the AlexNet."""
    cache: Path
    """Folder of decoded images."""
    threads: int | None = None
    """Of the CPU; None is all."""
    gpu_memory_mb: int | None = None
    """How much of a GPU that is shared; None is all."""


class OpenOwn(Frozen):
    """What training of one's own is to do. A program that is a `command` needs none of it but may read it."""

    kind: Literal["open"] = "open"
    file: str
    function: str | None
    sha256: str
    params: tuple[str, ...]
    """The parameters that trials can have."""
    metric: str
    has_epochs: bool
    device: str
    """ "cpu" or "cuda:0": of the GPUs of this host it sees its own alone."""
    threads: int | None = None
    """Of the CPU; None is all."""


class Train(Frozen):
    """One training, which goes on from its newest checkpoint."""

    kind: Literal["train"] = "train"
    trial: int
    """Names it in every answer."""
    config: TrainConfig | OwnConfig
    checkpoints: Path | None
    """None: it begins anew, and leaves no checkpoint."""
    model: Path | None = None
    """Where to save the network after its last epoch; None if nobody wants it."""
    final: bool = False
    """Of one's own: train on everything, then report the test's score."""


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


class ProgramFound(Frozen):
    """A training of one's own as it was found. What it trains on is its own matter."""

    source: str
    """As the space names it."""
    fingerprint: str
    """Of its file."""
    versions: dict[str, str]
    """Of its interpreter and packages."""

    def told_from(self, stored: Mapping[str, Any]) -> str:
        """How it differs from the one that a study keeps (`ProgramFound` as it was stored), in words."""
        return (
            f"{self.source} has changed since (its SHA-256 was {str(stored.get('fingerprint'))[:12]}..., is now "
            f"{self.fingerprint[:12]}...)"
        )


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
    data: DataFound | ProgramFound
    device: DeviceFound
    notes: tuple[str, ...] = ()
    """How the data was understood, for people; no part of what is stored."""


class OwnReady(Frozen):
    """Training of one's own can begin: `Ready` is made of it."""

    kind: Literal["ready"] = "ready"
    device: str = "cpu"
    """What it is trained on, for people."""
    versions: Annotated[dict[str, str], Field(default_factory=dict)]
    """Of its interpreter and packages: stored with each trial."""
    notes: tuple[str, ...] = ()


class Refused(Frozen):
    """The data, or the program, can't be used."""

    kind: Literal["refused"] = "refused"
    message: str
    download: bool = False
    """Whether it is only that it can't be downloaded."""


class Started(Frozen):
    """The training begins."""

    kind: Literal["started"] = "started"
    trial: int
    config: TrainConfig | OwnConfig
    """As it is run: the precision is resolved."""
    history: tuple[EpochMetrics | OwnEpoch, ...]
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
    metrics: EpochMetrics | OwnEpoch


class Begun(Frozen):
    """Training of one's own begins: `Started` is made of it."""

    kind: Literal["begun"] = "begun"
    trial: int
    reports: tuple[OwnEpoch, ...] = ()
    """Of the epochs that its last save had."""


class Reported(Frozen):
    """An epoch of it is done: `Epoch` is made of it."""

    kind: Literal["report"] = "report"
    trial: int
    epoch: PositiveInt = 1
    values: dict[str, float]
    seconds: float | None = None
    """None: the time since the report before is measured here."""
    saved: bool = True
    """Whether a crash from here on would go on after this epoch."""


class Said(Frozen):
    """A line that training of one's own wants to be read."""

    kind: Literal["log"] = "log"
    trial: int
    text: str


class Finished(Frozen):
    """The training has reached its last epoch, was told to end before, or ended by itself."""

    kind: Literal["finished"] = "finished"
    trial: int
    reusable: bool = True
    """Whether the process can train another one: user code may have left threads behind."""


class Failed(Frozen):
    """The training failed."""

    kind: Literal["failed"] = "failed"
    trial: int
    failure: Failure
    retry: bool
    """Whether the same training could succeed."""
    reusable: bool = True
    """As in `Finished`."""


ToTrainer = Open | OpenOwn | Train | Verdict
OfTraining = Started | Progress | Epoch | Said | Finished | Failed
FromTrainer = Ready | Refused | OfTraining
FromOwn = OwnReady | Refused | Begun | Reported | Said | Finished | Failed

_to: TypeAdapter[Open | Train | Verdict] = TypeAdapter(Annotated[Open | Train | Verdict, Field(discriminator="kind")])
_from: TypeAdapter[FromTrainer] = TypeAdapter(Annotated[FromTrainer, Field(discriminator="kind")])
_from_own: TypeAdapter[FromOwn] = TypeAdapter(Annotated[FromOwn, Field(discriminator="kind")])


def line(message: ToTrainer | FromTrainer) -> str:
    """`message` as the line that is sent."""
    return message.model_dump_json() + "\n"


def to_trainer(text: str) -> ToTrainer:
    """What a line to a training process says. Raises ValueError if it is no such message."""
    return _to.validate_json(text)


def from_trainer(text: str) -> FromTrainer:
    """What a line from a training process says. Raises ValueError if it is no such message."""
    return _from.validate_json(text)


def from_own(text: str) -> FromOwn:
    """What a line from training of one's own says. Raises ValueError if it is no such message."""
    return _from_own.validate_json(text)
