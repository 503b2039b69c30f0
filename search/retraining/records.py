"""Trainings that leave a file each when they are finished: the same call later goes on where it was.

    records = RecordingWorkshop(...).train_kept(jobs)

FOLDER/STEM.json      its `Record`: written last, so a job that has one is done
FOLDER/STEM.keras     its network, if it is to be kept
FOLDER/checkpoints/STEM/   while it is being trained
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from model.config import DataError, EpochMetrics, Frozen, TrainConfig
from model.files import make_folder, read_regular, write_text
from search.base.home import forget_below
from search.base.mistakes import MAX_FILE_BYTES, InputError
from search.base.overwriting import check_folder
from search.base.toml import as_shown, with_tuples
from search.retraining.jobs import Client, JobError, Workshop
from search.retraining.view import Happening, Job, Trained
from search.space.own import OwnConfig, OwnEpoch, Program
from search.training.messages import Ready
from studies.words import failure_in_words

Split = Literal["test", "validation"]
"""Test: trained on all training images. Validation: on the search's split of them."""


class Record(Frozen):
    """A job that is done: what was trained on what, and how it went."""

    config: TrainConfig | OwnConfig
    data: str
    """Fingerprint of the source's training images, or of the file of a training of one's own."""
    split: Split
    device: str
    history: tuple[EpochMetrics | OwnEpoch, ...]
    failure: str | None = None
    """Why it did not get to its last epoch: it diverged, and would again."""


@contextlib.contextmanager
def claimed(folder: Path, *, force: bool = False) -> Iterator[None]:
    """Hold `folder` against another process that would train into it.

    Raises:
        InputError: one does; or, without `force`, it holds something that no such training left.
    """
    check_folder(folder, ".lock", "recipe.toml", "trial-*/recipe.toml", force=force)
    try:
        make_folder(folder)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"{as_shown(folder)}: another alexsearch is training into it. Wait for it, or name another folder with "
            "--out."
        ) from None
    except OSError as error:
        raise InputError(
            f"{as_shown(folder)}: can't be written ({error.strerror}). Name another folder with --out."
        ) from None
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True)
class KeptJob:
    """A job that leaves its record and its network in a folder."""

    name: str
    """As people read it."""
    config: TrainConfig | OwnConfig
    folder: Path
    stem: str
    keeps_model: bool = True

    @property
    def record(self) -> Path:
        return self.folder / f"{self.stem}.json"

    @property
    def model(self) -> Path:
        return self.folder / f"{self.stem}.keras"

    @property
    def saved(self) -> Path:
        """Where what a training of one's own saved last is kept."""
        return self.folder / self.stem

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints" / self.stem

    @property
    def job(self) -> Job:
        return Job(self.name, self.config, self.checkpoints, self.model if self.keeps_model else None)


@dataclass(frozen=True, kw_only=True)
class RecordingWorkshop(Workshop):
    """Trains what is not recorded yet on these images, and records it."""

    split: Split
    fingerprint: str
    """Of the source's training images: a process that finds others is refused."""

    def done(self, kept: KeptJob) -> Record | None:
        """The record of a job that is done; None if it is to be trained.

        Raises:
            InputError: the file holds something else: another configuration, other images, the other split.
        """
        try:
            stored = json.loads(read_regular(kept.record, MAX_FILE_BYTES))
            record = Record.model_validate(with_tuples(stored))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError):  # ValidationError is a ValueError
            raise InputError(
                f"{as_shown(kept.record)}: can't be read as what a finished training left. Delete it to have it "
                "trained again, or name another folder with --out."
            ) from None
        differs = ""
        if record.split != self.split:
            differs = "all training images" if record.split == "test" else "the search's split"
        elif record.data != self.fingerprint:
            differs = "other images"
        elif record.config != kept.config:
            differs = "another configuration"
        if differs:
            raise InputError(f"{as_shown(kept.folder)}: holds trainings on {differs}. Name another folder with --out.")
        if isinstance(self.own, Program) or not kept.keeps_model or record.failure is not None:
            return record
        return record if kept.model.is_file() else None

    def train_kept(self, jobs: Sequence[KeptJob]) -> list[Record]:
        """Train those jobs that are not done; the records of all, in their order.

        Raises what `done` and `Workshop.train` do.
        """
        missing = {kept.job: kept for kept in jobs if self.done(kept) is None}
        self.train(list(missing), _Recorder(self, missing))
        return [self._finished(kept) for kept in jobs]

    def _finished(self, kept: KeptJob) -> Record:
        record = self.done(kept)
        if record is None:
            raise JobError(f"{kept.name}: {as_shown(kept.record)} is gone. Run the same command again.")
        return record


@dataclass(frozen=True)
class _Recorder(Client):
    shop: RecordingWorkshop
    kept: Mapping[Job, KeptJob]

    def opened(self, ready: Ready) -> None:
        if ready.data.fingerprint != self.shop.fingerprint:
            raise DataError(f"{self.shop.data.source} changed while it was being read. Run the same command again.")

    def told(self, job: Job, happening: Happening) -> None:
        if isinstance(happening, Trained):
            self._record(self.kept[job], happening)
        self.shop.view.tell(job, happening)

    def _record(self, kept: KeptJob, trained: Trained) -> None:
        failure = trained.failure
        record = Record(
            config=kept.config,
            data=self.shop.fingerprint,
            split=self.shop.split,
            device=trained.device,
            history=trained.history,
            failure=failure_in_words(failure.kind, failure.text) if failure else None,
        )
        try:
            write_text(kept.record, record.model_dump_json(indent=1, exclude_none=True) + "\n")
        except OSError as error:
            raise OSError(
                error.errno,
                f"{as_shown(kept.record)}: can't be written ({error.strerror}). What was trained before is kept: make "
                "room and run the same command again.",
            ) from error
        if isinstance(self.shop.own, Program) and kept.keeps_model:
            _keep_last_save(kept)
        forget_below(kept.folder, kept.checkpoints)
        with contextlib.suppress(OSError):  # others are at work, or it never was
            kept.checkpoints.parent.rmdir()


def _keep_last_save(kept: KeptJob) -> None:
    """Move what the training saved last out of its checkpoints; nothing if it saved nothing."""
    saves = sorted(kept.checkpoints.glob("save-*/files"))
    if saves and not kept.saved.exists():
        saves[-1].rename(kept.saved)
