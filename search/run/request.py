"""What a run is asked, what it shows on its way, and what it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from search.base.home import Home
from search.base.provenance import alexsearch_version
from search.run.engines.engine import Engine
from search.run.events import Event
from search.run.mlflow import Server
from search.space.own_files import Own
from search.space.space import SearchSpace
from search.training.child import Start
from search.training.places import Place
from search.training.starting import start_process
from studies.queue.limits import Limits
from studies.queue.standing import Counts
from studies.record.catalog import StudyRecord
from studies.store.storage import Storage


class RunError(Exception):
    """The run could not go on. The study is whole: running the same command again continues it."""


class View(Protocol):
    """What shows a run to people."""

    def note(self, text: str) -> None:
        """A line to be read."""

    def opened(self, study: StudyRecord, places: Sequence[Place], counts: Counts) -> None:
        """The study is open and its slots start."""

    def event(self, event: Event) -> None:
        """A slot did something."""

    def counted(self, counts: Counts) -> None:
        """How the study stands, about every second."""


@dataclass(frozen=True)
class RunRequest:
    """What `alexsearch run` was asked."""

    space: SearchSpace
    home: Home
    storage: Storage
    add: int = 0
    """Raise the study's total by so many, beyond what it has."""
    workers: int | None = None
    """Trials at a time on this host; None is one a place that `gpus` and `trials_per_gpu` give."""
    gpus: str = "all"
    """ "all", "none", or indices as in "0,2"."""
    trials_per_gpu: int | None = 1
    """None chooses by the GPU's memory."""
    joins: bool = False
    """Work on what the study's queue holds and add nothing to it: a worker."""
    timeout_seconds: float | None = None
    """How long the run may take, counted from its start."""
    digits_without_download: bool = False
    """Where CIFAR-10 can't be downloaded, go on with scikit-learn's digits in a study of their own."""
    notes: tuple[str, ...] = ()
    """What was made of the request, to be said at its start."""
    learns_from: tuple[str, ...] = ()
    """Names of earlier studies that a new study learns from."""
    own: Own | None = None
    """What is trained, as it was found on this host (`own_of`), if it is not the AlexNet."""
    tensorboard: Path | None = None
    """Folder in which TensorBoard finds the study; None if nobody wants it."""
    mlflow: Server | None = None
    """MLflow's tracking server that is kept up to date with the study; None if nobody wants it."""
    version: str = field(default_factory=alexsearch_version)
    """Of this alexsearch."""
    files: str | None = None
    """Where the study's checkpoints, artifacts and logs follow it; None is what the study has, or nowhere."""
    start: Start = start_process
    """Starts the training processes."""
    engine: Engine | None = None
    """What has the workers somewhere else; None has them here, as threads of this process."""
    code: Path | None = None
    """Folder in which the file of `own` was looked for."""

    @property
    def limits(self) -> Limits:
        """What ends the study, next to the number of its trials."""
        study = self.space.study
        return Limits(
            max_device_hours=study.max_device_hours,
            target=study.target,
            patience=study.patience,
            min_gain=study.min_gain or 0.0,
            until_expected_gain=study.until_expected_gain,
        )


@dataclass(frozen=True)
class RunOutcome:
    """What a run came to."""

    study: StudyRecord
    counts: Counts
    seconds: float
    interrupted: bool
    notes: tuple[str, ...] = ()
    """To be said again at the end."""
    timed_out: bool = False
    """Its timeout ended it: the next run goes on."""
    limit: str | None = None
    """The limit of the study that is reached, in words: the next run only goes on with a higher one."""
