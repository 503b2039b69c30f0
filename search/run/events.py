"""What a slot tells its host, for people to read."""

from __future__ import annotations

from dataclasses import dataclass

from model.config import EpochMetrics, Failure, TrainConfig
from search.base.configs import short
from search.space.own import OwnConfig, OwnEpoch
from search.training.messages import Progress
from search.training.places import Place


@dataclass(frozen=True)
class Begun:
    """The slot has a trial, and trains it."""

    config: TrainConfig | OwnConfig

    def __str__(self) -> str:
        return f"begun: {short(self.config.model_dump())}, seed {self.config.seed}"


@dataclass(frozen=True)
class Resumed:
    """The trial goes on after this epoch, from its checkpoint."""

    epoch: int


@dataclass(frozen=True)
class EpochDone:
    """An epoch is recorded."""

    metrics: EpochMetrics | OwnEpoch
    epochs: int
    """Planned."""


@dataclass(frozen=True)
class Completed:
    """The trial is complete."""

    value: float
    seconds: float
    same_as: int | None = None
    """The trial whose result it took over, for it had the same values."""


@dataclass(frozen=True)
class Pruned:
    """The trial was pruned."""

    reason: str
    """In words: after which epoch, and at what value."""
    seconds: float


@dataclass(frozen=True)
class Paused:
    """The trial pauses after this epoch: something else is worth more for now."""

    epoch: int
    epochs: int
    """Planned."""


@dataclass(frozen=True)
class FailedForGood:
    """The trial failed, and is not run again."""

    reason: str
    seconds: float = 0.0


@dataclass(frozen=True)
class Retried:
    """The trial's process crashed, and the trial will be run again."""

    failure: Failure
    crashes: int
    """So far."""


@dataclass(frozen=True)
class Returned:
    """The trial went back into the queue, since the slot was told to stop."""


@dataclass(frozen=True)
class Noted:
    """Something else that people should know of the trial."""

    text: str


Happening = (
    Begun | Resumed | Progress | EpochDone | Completed | Pruned | Paused | FailedForGood | Retried | Returned | Noted
)


@dataclass(frozen=True)
class Event:
    """Something that happened to a trial."""

    place: Place
    number: int
    what: Happening
