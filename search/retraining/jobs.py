"""Trains a list of configurations on the places of this host, as many at a time as there are places.

    trained = Workshop(...).train(jobs)

The same training processes as a search's (`training.child.Child`), without a queue in a database: what is finished is
a file, and what is not goes on from its last checkpoint. Of one job:

    STEM.json      its `Record`: written last, so a job that has one is done
    STEM.keras     its network, where it is to be kept
    checkpoints/STEM/   while it is being trained
"""

from __future__ import annotations

import contextlib
import json
import queue as queues
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from model.config import DataError, DataSpec, DiskError, EpochMetrics, Frozen, OutOfMemoryError, TrainConfig, TrainError
from model.device import available_cores
from model.files import written_aside
from search.base.mistakes import InputError
from search.base.toml import as_shown, with_tuples
from search.training.child import Child, ChildError, Process, RefusedError, Start, heard
from search.training.messages import Epoch, Failed, Finished, Progress, Started, Train, Validation, Verdict
from search.training.places import Gpu, Place, places_without_gpus, plan_places, unusable
from studies.queue.queue import RETRIES
from studies.words import failure_in_words


class Record(Frozen):
    """A job that is done: what was trained on what, and how it went."""

    config: TrainConfig
    data: str
    """Fingerprint of the source's training images."""
    split: Literal["test", "validation"]
    """Test: trained on all training images. Validation: on the search's split of them."""
    device: str
    history: tuple[EpochMetrics, ...]
    failure: str | None = None
    """Why it did not get to its last epoch: it diverged, and would again."""


@dataclass(frozen=True)
class Job:
    """One training."""

    name: str
    """As people read it."""
    config: TrainConfig
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
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints" / self.stem


@dataclass(frozen=True)
class Step:
    """Something that happened to a job, for people to see."""

    job: Job
    kind: Literal["started", "progress", "epoch", "finished", "failed", "note"]
    epoch: int = 0
    share: float = 0.0
    """Of the job's epochs, 0 to 1."""
    images_per_second: float = 0.0
    metrics: EpochMetrics | None = None
    """Of the last epoch."""
    seconds: float = 0.0
    """That the finished job took, its epochs before an interruption included."""
    text: str = ""


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold `folder` against another process that would train into it. Raises InputError where one does."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
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
class Workshop:
    """Where jobs are trained, and on what."""

    data: DataSpec
    fingerprint: str
    """Of the source's training images: a child that finds others is refused."""
    split: Literal["test", "validation"]
    cache: Path
    log: Callable[[Place], Path]
    gpus: tuple[Gpu, ...]
    workers: int | None
    trials_per_gpu: int | None
    tell: Callable[[Step], None]
    note: Callable[[str], None]
    start: Start = Child

    def done(self, job: Job) -> Record | None:
        """The record of a job that is done; None where it is to be trained.

        Raises:
            InputError: the file holds something else: another configuration, other images, the other split.
        """
        try:
            stored = json.loads(job.record.read_text(encoding="utf-8"))
            record = Record.model_validate(with_tuples(stored))
        except FileNotFoundError:
            return None
        except (OSError, ValueError):  # ValidationError is one
            raise InputError(
                f"{as_shown(job.record)}: can't be read as what a finished training left. Delete it to have it trained "
                "again, or name another folder with --out."
            ) from None
        differs = ""
        if record.split != self.split:
            differs = "all training images" if record.split == "test" else "the search's split"
        elif record.data != self.fingerprint:
            differs = "other images"
        elif record.config != job.config:
            differs = "another configuration"
        if differs:
            raise InputError(f"{as_shown(job.folder)}: holds trainings on {differs}. Name another folder with --out.")
        return None if job.keeps_model and record.failure is None and not job.model.is_file() else record

    def train(self, jobs: Sequence[Job]) -> list[Record]:
        """Train those jobs that are not done; the records of all, in their order.

        A process that crashes is started again and goes on from the last epoch, at most
        `studies.queue.queue.RETRIES` times a job. Ctrl-C ends all of them; the same call later goes on.

        Raises:
            InputError: see `done`; or more workers than there is room for.
            DataError: a child can't use the data.
            TrainError: the disk is full, the device's memory too small, or a process crashed again and again.
        """
        waiting = [job for job in jobs if self.done(job) is None]
        if waiting:
            self._train(waiting)
        return [self._finished(job) for job in jobs]

    def _finished(self, job: Job) -> Record:
        record = self.done(job)
        if record is None:
            raise JobError(f"{job.name}: {as_shown(job.record)} is gone. Run the same command again.")
        return record

    def _train(self, jobs: Sequence[Job]) -> None:
        cores = available_cores()
        room = self.workers or len(plan_places(None, self.gpus, cores, self.trials_per_gpu))
        places = plan_places(min(room, len(jobs)), self.gpus, cores, self.trials_per_gpu)
        try:
            _Crew(self, jobs).work(places)
        except _GpuUnusable as problem:
            self.note(unusable(str(problem)))
            _Crew(self, jobs).work(places_without_gpus(min(self.workers or 1, len(jobs))))


class JobError(TrainError):
    """A training process failed again and again. What is finished stays; the same command goes on."""


class _GpuUnusable(Exception):  # noqa: N818 - a finding, not an error of ours
    """TensorFlow sees no GPU where the driver has one."""


@dataclass
class _Crew:
    """The threads of one `Workshop.train`: each has a child and takes one job after another."""

    shop: Workshop
    jobs: Sequence[Job]
    stopping: threading.Event = field(default_factory=threading.Event)
    errors: list[BaseException] = field(default_factory=list)

    def work(self, places: Sequence[Place]) -> None:
        """Train all jobs; raises what the first thread to fail raised."""
        waiting: queues.Queue[Job] = queues.Queue()
        for job in self.jobs:
            waiting.put(job)
        threads = [threading.Thread(target=self._serve, args=(place, waiting), daemon=True) for place in places]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)  # with a timeout, so that Ctrl-C is heard
        finally:
            self.stopping.set()
            for thread in threads:
                thread.join(10)
        if self.errors:
            raise self.errors[0]

    def _serve(self, place: Place, waiting: queues.Queue[Job]) -> None:
        bench = _Bench(self.shop, place, self.stopping)
        try:
            while not self.stopping.is_set():
                bench.train(waiting.get_nowait())
        except queues.Empty:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by the main thread
            self.errors.append(error)
            self.stopping.set()
        finally:
            bench.clear()


@dataclass
class _Bench:
    """One place, its child, and the job in hand."""

    shop: Workshop
    place: Place
    stopping: threading.Event
    child: Process | None = None
    device: str = ""

    def clear(self) -> None:
        if self.child:
            self.child.kill()
        self.child = None

    def train(self, job: Job) -> None:
        """Train one job to its end, over crashes of its process."""
        for attempt in range(RETRIES + 1):
            try:
                self._attempt(job)
            except ChildError as error:
                self.clear()
                if attempt == RETRIES:
                    raise JobError(f"{job.name}: {error}; that was attempt {attempt + 1}") from None
                self.shop.tell(Step(job, "note", text=f"{job.name} goes on from its last epoch: {error}"))
            else:
                return

    def _attempt(self, job: Job) -> None:
        child = self.child or self._start()
        if child is None:
            return
        child.send(
            Train(
                trial=0,
                config=job.config,
                checkpoints=job.checkpoints,
                model=job.model if job.keeps_model else None,
            )
        )
        history: list[EpochMetrics] = []
        self.shop.tell(Step(job, "started"))
        for message in heard(child, 0, self.stopping):
            match message:
                case Started():
                    history = list(message.history)
                case Progress(epoch=epoch):
                    share = (epoch - 1 + message.step / message.steps) / job.config.epochs
                    self.shop.tell(Step(job, "progress", epoch, share, message.images_per_second))
                case Epoch(metrics=metrics):
                    history.append(metrics)
                    child.send(Verdict(trial=0, epoch=metrics.epoch, go=True))
                    share = metrics.epoch / job.config.epochs
                    self.shop.tell(Step(job, "epoch", metrics.epoch, share, metrics=metrics))
                case Finished():
                    self._finish(job, history, None)
                    return
                case Failed():
                    self._failed(job, history, message)
                    return

    def _start(self) -> Process | None:
        """A child that has read the data; None where all is being stopped."""
        shop = self.shop
        validation: Validation = "held-out" if shop.split == "validation" else "none"
        self.child = shop.start(self.place, shop.data, shop.cache, shop.log(self.place), validation)
        try:
            ready = self.child.wait_ready(self.stopping)
        except RefusedError as refusal:
            raise DataError(str(refusal)) from None
        if ready is None:
            return None
        if ready.data.fingerprint != shop.fingerprint:
            raise DataError(f"{shop.data.source} changed while it was being read. Run the same command again.")
        if self.place.on_gpu and ready.device.kind == "cpu":
            raise _GpuUnusable(self.place.device)
        self.device = ready.device.name
        return self.child

    def _failed(self, job: Job, history: list[EpochMetrics], message: Failed) -> None:
        failure = message.failure
        match failure.kind:
            case "disk":
                raise DiskError(
                    f"{job.name}: {failure.text.rstrip('.')}. What was trained so far is kept in "
                    f"{as_shown(job.folder)}: run the same command again."
                )
            case "data":
                raise DataError(failure.text)
            case "out-of-memory":
                raise OutOfMemoryError(f"{job.name}: {failure.text}")
        if message.retry:
            raise ChildError(f"{failure.text}, see {self.child.log if self.child else ''}")
        self._finish(job, history, failure_in_words(failure.kind, failure.text))

    def _finish(self, job: Job, history: list[EpochMetrics], failure: str | None) -> None:
        shop = self.shop
        record = Record(
            config=job.config,
            data=shop.fingerprint,
            split=shop.split,
            device=self.device,
            history=tuple(history),
            failure=failure,
        )
        try:
            with written_aside(job.record) as temporary:
                temporary.write_text(record.model_dump_json(indent=1, exclude_none=True) + "\n", encoding="utf-8")
        except OSError as error:
            raise OSError(
                error.errno,
                f"{as_shown(job.record)}: can't be written ({error.strerror}). What was trained before is kept: make "
                "room and run the same command again.",
            ) from error
        shutil.rmtree(job.checkpoints, ignore_errors=True)
        with contextlib.suppress(OSError):  # others are at work, or it never was
            job.checkpoints.parent.rmdir()
        self.shop.tell(
            Step(
                job,
                "failed" if failure else "finished",
                epoch=len(history),
                share=1.0,
                metrics=history[-1] if history else None,
                seconds=sum(metrics.seconds for metrics in history),
                text=failure or "",
            )
        )
