"""Trains a list of configurations on the places of this host, as many at a time as there are places.

    Workshop(means, data, ...).train(jobs, client)

The same training processes as a search's (`search.training.child`), without a queue in a database: whoever has the jobs
trained, the client, hears what they come to.
"""

from __future__ import annotations

import queue as queues
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from model.config import (
    DataError,
    DataSpec,
    DiskError,
    EpochMetrics,
    OutOfMemoryError,
    TrainError,
)
from model.device import available_cores
from search.base.home import Home
from search.retraining.using import Starting, start_tensorflow
from search.retraining.view import Happening, Job, Trained, View
from search.space.own import OwnEpoch, Program
from search.space.own_files import Own
from search.training.child import ChildError, Process, RefusedError, Start, StartError, heard
from search.training.messages import Epoch, Failed, Finished, Progress, Ready, Said, Started, Train, Validation, Verdict
from search.training.places import Gpu, Place, chosen_gpus, plan_places, unusable, visible_gpus
from search.training.starting import start_process
from studies.queue.standing import RETRIES
from studies.store.storage import Storage


@dataclass(frozen=True)
class Means:
    """What trainings beside the queue have to work with."""

    home: Home
    source: str | None = None
    """Where the images are on this machine; None if they are where the search had them."""
    workers: int | None = None
    """Trainings at a time; None is one for each place that `gpus` and `trials_per_gpu` give."""
    gpus: str = "all"
    """ "all", "none", or indices as in "0,2"."""
    trials_per_gpu: int | None = 1
    """None chooses by the GPU's memory."""
    storage: Storage | None = None
    """Where the study is, to write its score down; None if there is no database."""
    start: Start = start_process
    """Starts the training processes."""
    tensorflow: Starting = start_tensorflow
    """Starts TensorFlow in this process, to measure what was trained."""
    visible: Callable[[], tuple[Gpu, ...]] = visible_gpus
    """The GPUs of this host."""
    cores: int = field(default_factory=available_cores)
    folders: tuple[Path, ...] = (Path(),)
    """Where a network's or a training's own file is looked for."""

    def places(self, jobs: int) -> tuple[Place, ...]:
        """Where so many jobs are trained. Raises InputError if there are no such GPUs, or too many workers."""
        gpus = chosen_gpus(self.visible(), self.gpus)
        room = self.workers or len(plan_places(None, gpus, self.cores, self.trials_per_gpu))
        return plan_places(min(room, jobs), gpus, self.cores, self.trials_per_gpu)

    def places_without_gpus(self, jobs: int) -> tuple[Place, ...]:
        """The same if the GPUs turned out to be of no use."""
        return plan_places(min(self.workers or 1, jobs, self.cores), (), self.cores)


class Client:
    """Whoever has jobs trained. A workshop's threads call it, one at a time; what it raises ends all training."""

    def opened(self, ready: Ready) -> None:
        """A training process has read the data."""

    def told(self, job: Job, happening: Happening) -> None:
        """Something happened to a job. One that crashed starts again: epochs after its checkpoint are told twice."""

    def goes_on(self, job: Job, epoch: int) -> bool:
        """Whether to go on after this epoch. A "no" that takes seconds is heeded an epoch later."""
        del job, epoch
        return True


class JobError(TrainError):
    """A training process can't start, or failed again and again. What is finished stays; the same command goes on."""


class _GpuUnusable(Exception):  # noqa: N818 - a finding, not an error of ours
    """The driver has a GPU that TensorFlow does not see."""


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Where jobs are trained, and on what."""

    means: Means
    data: DataSpec
    validation: Validation
    log: Callable[[Place], Path]
    view: View
    threads: int | None = None
    """Of the CPU, for each process; None is its share of the cores."""
    own: Own | None = None
    """What is trained, if it is not the AlexNet."""
    final: bool = False
    """Whether training of one's own is to train on everything and report the test's score."""

    def train(self, jobs: Sequence[Job], client: Client) -> None:
        """Train all jobs.

        A process that crashes is started again and goes on from the last checkpoint, at most
        `studies.queue.queue.RETRIES` times a job. Ctrl-C ends all of them.

        Raises:
            InputError: there are no such GPUs, or more workers than there is room for.
            DataError: a process can't use the data.
            TrainError: the disk is full, the device's memory too small, or a process crashed again and again.
        """
        if not jobs:
            return
        try:
            self._train(jobs, client, self.means.places(len(jobs)))
        except _GpuUnusable as problem:
            self.view.note(unusable(str(problem)), "yellow")
            self._train(jobs, client, self.means.places_without_gpus(len(jobs)))

    def _train(self, jobs: Sequence[Job], client: Client, places: Sequence[Place]) -> None:
        if self.threads:
            places = [replace(place, threads=self.threads) for place in places]
        _Crew(self, client).work(jobs, places)


@dataclass
class _Crew:
    """The threads of one `Workshop.train`: each has a process and takes one job after another."""

    shop: Workshop
    client: Client
    calling: threading.Lock = field(default_factory=threading.Lock)
    """Held while the client is called."""
    stopping: threading.Event = field(default_factory=threading.Event)
    errors: list[BaseException] = field(default_factory=list)

    def work(self, jobs: Sequence[Job], places: Sequence[Place]) -> None:
        """Train all jobs; raises what the first thread to fail raised."""
        waiting: queues.Queue[Job] = queues.Queue()
        for job in jobs:
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
        bench = _Bench(self, place)
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
    """One place, its process, and the job in hand."""

    crew: _Crew
    place: Place
    process: Process | None = None
    device: str = ""

    def clear(self) -> None:
        if self.process:
            self.process.kill()
        self.process = None

    def train(self, job: Job) -> None:
        """Train one job to its end, over crashes of its process."""
        for attempt in range(RETRIES + 1):
            try:
                self._attempt(job)
            except ChildError as error:
                self.clear()
                if attempt == RETRIES:
                    raise JobError(f"{job.name}: {error}; that was attempt {attempt + 1}") from None
                how = "goes on from its last epoch" if job.checkpoints else "begins again"
                self.crew.shop.view.note(f"{job.name} {how}: {error}", "yellow")
            else:
                return

    def _attempt(self, job: Job) -> None:
        process = self.process or self._start()
        if process is None:
            return
        shop = self.crew.shop
        is_program = isinstance(shop.own, Program)
        model = None if is_program else job.model
        process.send(Train(trial=0, config=job.config, checkpoints=job.checkpoints, model=model, final=shop.final))
        limit = shop.own.epoch_seconds if isinstance(shop.own, Program) else None
        history: list[EpochMetrics | OwnEpoch] = []
        for message in heard(process, 0, self.crew.stopping, limit):
            match message:
                case Started():
                    history = list(message.history)
                    self._tell(job, message)
                case Progress():
                    self._tell(job, message)
                case Epoch(metrics=metrics):
                    history.append(metrics)
                    self._tell(job, message)
                    goes_on = self.crew.client.goes_on(job, metrics.epoch)
                    process.send(Verdict(trial=0, epoch=metrics.epoch, go=goes_on))
                case Said(text=text):
                    shop.view.note(f"{job.name}: {text}")
                case Finished() if not history:
                    raise JobError(f"{job.name}: it ended without having reported anything")
                case Finished():
                    self._tell(job, Trained(self.device, tuple(history)))
                    if process.outgrown():
                        self.clear()
                    return
                case Failed():
                    self._check(job, message)
                    self._tell(job, Trained(self.device, tuple(history), message.failure))
                    return

    def _tell(self, job: Job, happening: Happening) -> None:
        with self.crew.calling:
            self.crew.client.told(job, happening)

    def _start(self) -> Process | None:
        """A process that has read the data; None if all is being stopped."""
        shop = self.crew.shop
        self.process = shop.means.start(
            self.place, shop.data, shop.means.home.data, shop.log(self.place), shop.validation, shop.own
        )
        try:
            ready = self.process.wait_ready(self.crew.stopping)
        except RefusedError as refusal:
            raise DataError(str(refusal)) from None
        except StartError as error:
            raise JobError(f"{error}. `alexsearch doctor` says what is wrong.") from None
        if ready is None:
            return None
        if self.place.on_gpu and ready.device.kind == "cpu" and not isinstance(shop.own, Program):
            raise _GpuUnusable(self.place.device)
        self.device = ready.device.name
        with self.crew.calling:
            self.crew.client.opened(ready)
        return self.process

    def _check(self, job: Job, message: Failed) -> None:
        """Raise what is no fault of the configuration's."""
        failure = message.failure
        match failure.kind:
            case "disk":
                raise DiskError(
                    f"{job.name}: {failure.text.rstrip('.')}. What was trained so far is kept: make room and run the "
                    "same command again."
                )
            case "data":
                raise DataError(failure.text)
            case "out-of-memory":
                raise OutOfMemoryError(f"{job.name}: {failure.text}")
        if message.retry:
            raise ChildError(f"{failure.text}, see {self.process.log if self.process else ''}")
