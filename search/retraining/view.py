"""A training beside the queue: what is asked, what is heard of it, and who shows that to people.

What trainings came to is returned, and `search.screen` prints it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from model.config import EpochMetrics, Failure, TrainConfig
from search.retraining.recipe import Recipe
from search.space.own import OwnConfig, OwnEpoch
from search.training.messages import Epoch, Progress, Started
from studies.record.retrained import Retrained, Verified


@dataclass(frozen=True)
class Job:
    """One training."""

    name: str
    """As people read it."""
    config: TrainConfig | OwnConfig
    checkpoints: Path | None = None
    """Where it goes on when it was interrupted; None if it begins anew."""
    model: Path | None = None
    """Where its network is saved; None if nobody wants it. Of one's own: where what it saved last is kept."""


@dataclass(frozen=True)
class Trained:
    """What a job came to."""

    device: str
    history: tuple[EpochMetrics | OwnEpoch, ...]
    """All its epochs, those before an interruption included."""
    failure: Failure | None = None
    """Why it did not get to its last epoch: it diverged, and would again."""


Happening = Started | Progress | Epoch | Trained
"""What is heard of a job."""


@dataclass(frozen=True)
class Candidate:
    """One of the study's best trials, trained again."""

    recipe: Recipe
    retrained: Retrained | None
    """None if a fresh seed diverged: such a configuration is not picked."""
    failure: str = ""


class View(Protocol):
    """What shows trainings to people. Several threads call it."""

    def note(self, text: str, style: str = "", /) -> None:
        """A line to be read; `style` is rich's, as in "yellow"."""

    def tell(self, job: Job, happening: Happening, /) -> None:
        """Something happened to a training."""

    def compared(self, candidates: Sequence[Candidate], verified: Verified, /) -> None:
        """A study's best trials were compared on fresh seeds: the best first."""


class Silent:
    """Shows nothing: for a program that wants only what comes of it."""

    def note(self, _text: str, _style: str = "") -> None: ...

    def tell(self, _job: Job, _happening: Happening) -> None: ...

    def compared(self, _candidates: Sequence[Candidate], _verified: Verified) -> None: ...


SILENT: Final = Silent()
