"""A run: the slots of this host at work on one study, from opening it to its last settled trial.

prepare     the data is read by a first child; nothing is written before it is known to be usable
open        the study is made, or found to be the same question over the same data; its queue is filled
work        every slot a thread; one more gives signs of life and takes trials back from workers that died
end         all trials settled, or told to stop: running trials go back into the queue with their checkpoints
"""

from __future__ import annotations

import math
import queue as queues
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from optuna.study import StudyDirection

from model.config import BUNDLED_IMAGES
from model.device import available_cores
from search.base.home import Home
from search.base.mistakes import InputError
from search.base.provenance import provenance
from search.choosing.designs import most_trials
from search.choosing.pruning import build_pruner
from search.run.noting import kept_up_to_date
from search.run.slot import Assignment, Event, Slot
from search.space.budget import MOST_TRIALS
from search.space.parameters import largest
from search.space.space import SearchSpace, differences
from search.training.child import Child, Refused, StartError
from search.training.places import Place, chosen_gpus, places_without_gpus, plan_places, unusable, visible_gpus
from studies.queue.limits import Limits
from studies.queue.queue import Counts, Queue
from studies.queue.undertaker import BEAT_SECONDS, Undertaker
from studies.record.catalog import StudyRecord, all_studies, open_study
from studies.show.notes import refresh_notes
from studies.store.cache import StartedTrials
from studies.store.storage import Storage

STOP_SECONDS = 20.0
"""How long the slots may take to give their trials back before the run ends without them."""
COUNT_SECONDS = 1.0


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


@dataclass(frozen=True)
class RunOutcome:
    """What a run came to."""

    study: StudyRecord
    counts: Counts
    seconds: float
    interrupted: bool
    notes: tuple[str, ...] = field(default=())
    """To be said again at the end."""
    timed_out: bool = False
    """Its timeout ended it: the next run goes on."""
    limit: str | None = None
    """The limit of the study that is reached, in words: the next run only goes on with a higher one."""


def run_search(request: RunRequest, view: View, stopping: threading.Event) -> RunOutcome:
    """Run a study to the end of its budget, or until `stopping` is set.

    Raises:
        InputError: a setting is wrong; nothing was started.
        RunError: no slot can train, or one met a defect of ours.
        StorageError: the database stayed away too long.
    """
    started = time.monotonic()
    request.home.check_writable()
    existing = _existing(request)
    _check_added(request, existing)
    if existing:
        queue = Queue(request.storage, existing.study_id)
        queue.reap(Undertaker(queue).look())  # a finished study too may have the slot of a worker that was killed
        if not request.joins and (limit := queue.reached(_limits(request.space))):
            return RunOutcome(existing, queue.counts(), 0.0, interrupted=False, limit=limit)
        if not request.add and _is_done(request, existing):
            return RunOutcome(existing, queue.counts(), 0.0, interrupted=False)
    gpus = chosen_gpus(visible_gpus(), request.gpus)
    places = plan_places(request.workers, gpus, available_cores(), request.trials_per_gpu)
    prepared = _prepare(request, places, view, stopping)
    if prepared is None:
        raise KeyboardInterrupt  # before there was anything to give back
    try:
        study = _open(prepared)
        queue = Queue(request.storage, study.study_id)
        if not request.joins:
            queue.begin(_limits(prepared.space))
            total = prepared.space.study.trials
            if request.add:
                total = (queue.counts().budget or total) + request.add
            most = most_trials(prepared.space)
            if most is not None and most < total:
                view.note(f"the grid has {most} combinations, baseline included: {most} trials instead of {total}")
            queue.fill(min(total, most or total), prepared.space.baseline_params())
        events: queues.Queue[Event] = queues.Queue()
        work = Assignment(
            home=request.home,
            study_name=study.name,
            study_uid=study.attributes["uid"],
            space=prepared.space,
            data=prepared.space.data,
            fingerprint=prepared.ready["data"]["fingerprint"],
            provenance=provenance(),
            queue=queue,
            storage=StartedTrials(request.storage),
            pruner=build_pruner(prepared.space.pruner, prepared.space.max_epochs),
            tell=events.put,
            stopping=stopping,
        )
        queue.reap(Undertaker(queue).look())
        view.opened(study, prepared.places, queue.counts())
        slots = [Slot(place, work, prepared.child if place.index == 0 else None) for place in prepared.places]
        slots[0].accept(prepared.ready)
    except BaseException:
        prepared.child.kill()
        raise
    timeout = Timeout(request.timeout_seconds, started, stopping)

    def refresh() -> None:
        refresh_notes(request.storage, study, work.storage.get_all_trials(study.study_id, deepcopy=False))

    with kept_up_to_date(refresh):
        _work(slots, work, events, view, timeout)
    return RunOutcome(
        study=study,
        counts=queue.counts(),
        seconds=time.monotonic() - started,
        interrupted=stopping.is_set(),
        notes=prepared.notes,
        timed_out=timeout.is_over,
        limit=queue.stopped_by(),
    )


def _limits(space: SearchSpace) -> Limits:
    return Limits(space.study.max_device_hours, space.study.target)


@dataclass(frozen=True)
class _Prepared:
    """A child that has read the data, and what follows from it."""

    request: RunRequest
    space: SearchSpace
    places: tuple[Place, ...]
    child: Child
    ready: Mapping[str, Any]
    notes: tuple[str, ...]


def _existing(request: RunRequest) -> StudyRecord | None:
    """The study as it is, once it is known to ask the same question.

    Raises:
        InputError: it asks another one.
    """
    name = request.space.study.name
    study = next((study for study in all_studies(request.storage) if study.name == name), None)
    if study is None:
        return None
    if not study.is_ours:
        if _is_blank(request.storage, study):
            return None
        raise InputError(f"study {name!r} was not made by alexsearch. Choose another name with --study.")
    before = SearchSpace.from_dict(study.attributes["space"])
    changed = differences(before, request.space)
    way_out = "Take the space back to what it was"
    was, now = before.data.source, request.space.data.source
    if was != now and not {was, now}.isdisjoint(BUNDLED_IMAGES):  # else both may be paths to the same images
        changed.insert(0, f"[data] source: was {was}, is now {now}")
        way_out = f"Go on with it by --data {was}"
    if changed:
        raise InputError(
            [f"study {name!r} was started with another space:"]
            + [f"  {line}" for line in changed]
            + [f"{way_out}, or start another study with --study NAME."]
        )
    return study


def _check_added(request: RunRequest, existing: StudyRecord | None) -> None:
    if not request.add:
        return
    total = Queue(request.storage, existing.study_id).counts().budget if existing else request.space.study.trials
    if total + request.add > MOST_TRIALS:
        raise InputError(
            f"--add {request.add}: the study has {total:,} trials, and may have {MOST_TRIALS:,}. Add fewer, or start "
            "another study with --study NAME."
        )


def _is_blank(storage: Storage, study: StudyRecord) -> bool:
    """Whether another worker is just making the study, or died while it did: `open_study` makes it whole."""
    if study.attributes or storage.get_n_trials(study.study_id):
        return False
    return storage.get_study_directions(study.study_id) == [StudyDirection.MAXIMIZE]


def _is_done(request: RunRequest, study: StudyRecord) -> bool:
    """Whether nothing is left to train. Other data is not "done": it is refused, once its fingerprint is known."""
    counts = Queue(request.storage, study.study_id).counts()
    if counts.waiting or counts.running or request.space.data.source != study.attributes["space"]["data"]["source"]:
        return False
    total = request.space.study.trials
    return request.joins or counts.budget >= min(total, most_trials(request.space) or total)


def _prepare(request: RunRequest, places: tuple[Place, ...], view: View, stopping: threading.Event) -> _Prepared | None:
    """Start the first child and have it read the data; None where `stopping` was set meanwhile."""
    space, notes = request.space, []
    view.note(f"starting TensorFlow on {places[0].device}, reading {space.data.source}")
    child = Child(places[0], space.data, request.home.data, request.home.log(space.study.name, places[0].name))
    try:
        ready = child.wait_ready(stopping)
        if ready is not None and places[0].on_gpu and ready["device"]["kind"] == "cpu":
            child.kill()
            notes.append(unusable(places[0].device))
            return _prepare_again(request, places_without_gpus(request.workers), view, stopping, notes)
    except Refused as refusal:
        child.kill()
        if not (refusal.download and request.digits_without_download):
            raise InputError(str(refusal)) from None
        notes.append(
            "CIFAR-10 could not be downloaded: these are scikit-learn's handwritten digits instead, in a study of "
            "their own. With the real images, run again with --data FILE.npz or an image folder."
        )
        space = space.over("digits").with_overrides(name=f"{space.study.name}-digits")
        changed = RunRequest(space, request.home, request.storage, request.add, request.workers)
        _existing(changed)
        return _prepare_again(changed, places, view, stopping, notes)
    except StartError as error:
        child.kill()
        raise RunError(f"{error}. `alexsearch doctor` says what is wrong.") from None
    except BaseException:
        child.kill()
        raise
    if ready is None:
        child.kill()
        return None
    return _Prepared(request, space, places, child, ready, tuple(notes))


def _prepare_again(
    request: RunRequest, places: tuple[Place, ...], view: View, stopping: threading.Event, notes: list[str]
) -> _Prepared | None:
    for note in notes:
        view.note(note)
    again = _prepare(request, places, view, stopping)
    if again is None:
        return None
    return _Prepared(again.request, again.space, again.places, again.child, again.ready, (*notes, *again.notes))


def _open(prepared: _Prepared) -> StudyRecord:
    """Make the study, or find it with the same space and data.

    Raises:
        InputError: it has other ones.
    """
    space, data = prepared.space, prepared.ready["data"]
    largest_batch = int(largest(space.space.batch_size))
    if largest_batch > data["train_images"]:
        raise InputError(
            f"[space.batch_size]: {largest_batch} is more than the {data['train_images']} training images. "
            "Use smaller batches or more train_images."
        )
    attributes = {"space": space.to_dict(), "data": data}
    study, made = open_study(prepared.request.storage, space.study.name, attributes)
    if not made:
        stored = study.attributes["data"]["fingerprint"]
        if stored != data["fingerprint"]:
            raise InputError(
                f"study {study.name!r} was started on other data: its fingerprint is {stored}, but that of "
                f"{space.data.source} is {data['fingerprint']}. Bring its data back, or start another study with "
                "--study NAME."
            )
        _existing(prepared.request)
    return study


class Timeout:
    """Ends a run when its time is over: running trials go back into the queue, as they do after Ctrl-C."""

    def __init__(self, seconds: float | None, started: float, stopping: threading.Event) -> None:
        self.is_over = False
        self._end = math.inf if seconds is None else started + seconds
        self._stopping = stopping

    def look(self) -> None:
        if time.monotonic() >= self._end and not self._stopping.is_set():
            self.is_over = True
            self._stopping.set()


def _work(slots: list[Slot], work: Assignment, events: queues.Queue[Event], view: View, timeout: Timeout) -> None:
    """Let the slots work and show what they do, until they end."""
    failures: list[BaseException] = []
    ended = threading.Event()

    def guarded(call: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - raised again by the main thread
                failures.append(error)
                work.stopping.set()

        return run

    def keep_alive() -> None:
        undertaker = Undertaker(work.queue)
        while not ended.wait(BEAT_SECONDS):
            work.queue.beat([slot.slot_id for slot in slots])
            work.queue.reap(undertaker.look())
            if work.queue.stop_requested() == "now":
                work.stopping.set()

    threads = [threading.Thread(target=guarded(slot.run), name=slot.place.name, daemon=True) for slot in slots]
    beating = threading.Thread(target=guarded(keep_alive), name="signs-of-life", daemon=True)
    timeout.look()  # starting TensorFlow and reading the data count
    for thread in (*threads, beating):
        thread.start()
    counted = 0.0
    stopped_at: float | None = None
    while any(thread.is_alive() for thread in threads) or not events.empty():
        _show(events, view)
        timeout.look()
        now = time.monotonic()
        if work.stopping.is_set():
            stopped_at = stopped_at or now
            if now - stopped_at > STOP_SECONDS:  # the database is away: its trials are found dead by the next run
                break
        elif now - counted > COUNT_SECONDS and not failures:
            counted = now
            view.counted(work.queue.counts())
    ended.set()
    if not failures and not work.stopping.is_set():
        view.counted(work.queue.counts())
    if failures:
        raise _as_run_error(failures[0])


def _show(events: queues.Queue[Event], view: View) -> None:
    try:
        view.event(events.get(timeout=0.2))
        while True:
            view.event(events.get_nowait())
    except queues.Empty:
        pass


def _as_run_error(error: BaseException) -> BaseException:
    if isinstance(error, StartError):
        return RunError(f"{error}. `alexsearch doctor` says what is wrong; the study is whole, run it again after.")
    return error
