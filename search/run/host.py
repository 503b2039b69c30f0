"""A run: workers on one study, from opening it to its last settled trial: the slots of this host, or an engine's.

prepare     the data is read by a first child; nothing is written before it is known to be usable
open        the study is made, or found to be the same question over the same data; its queue is filled
work        every slot a thread, or every worker a process that the engine has somewhere; one more thread gives signs of
            life and takes trials back from workers that died, and one keeps the study's note in optuna-dashboard up to
            date
end         all trials settled, or told to stop: running trials go back into the queue with their checkpoints
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue as queues
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial

from optuna.trial import FrozenTrial

from search.base.file_store import StudyFiles
from search.base.home import Home
from search.base.mistakes import InputError
from search.base.provenance import provenance
from search.choosing.comparable import over_all_epochs
from search.choosing.designs import most_trials
from search.choosing.pausing import Pausing
from search.choosing.proposing import StudyOfLessons
from search.choosing.pruning import build_pruner
from search.run.engines.engine import EngineError, Staff
from search.run.engines.local import Threads
from search.run.engines.orders import order_of
from search.run.events import Event
from search.run.following import Follower
from search.run.hooks import Hooks
from search.run.keeping import Keeping, check_files
from search.run.learning import check_learns_from, earlier_trials, learned_from
from search.run.matching import check_added, existing_study, is_done, open_matching
from search.run.mlflow import Mirror
from search.run.preparing import Prepared, prepare
from search.run.request import RunError, RunOutcome, RunRequest, View
from search.run.slot import Assignment, Slot
from search.run.tending import Tending, lost
from search.run.tensorboard import Curves, check_writable
from search.run.thawing import Thawing
from search.space.own import Program
from search.space.pruners import PauseSpec
from search.space.space import SearchSpace
from search.space.stored import check_version
from search.training.child import StartError
from search.training.places import (
    Place,
    chosen_gpus,
    cores_here,
    crowded,
    places_without_gpus,
    plan_places,
    visible_gpus,
)
from studies.queue.queue import Queue, StudyGoneError
from studies.queue.standing import Counts
from studies.queue.undertaker import BEAT_SECONDS, Undertaker
from studies.record.catalog import StudyRecord, all_studies
from studies.show.notes import refresh_notes
from studies.store.cache import BegunTrials, StartedTrials
from studies.words import listed

STOP_SECONDS = 20.0
"""How long the slots may take to give their trials back before the run ends without them."""
ELSEWHERE_STOP_SECONDS = 50.0
"""The same of workers elsewhere, to whom the word must get first."""
COUNT_SECONDS = 1.0
NOTES_SECONDS = 60.0
FEW = 50
"""Where more trials than these run in a study, on all hosts, each host counts them and writes the note as much less
often: else a database of a thousand hosts would be busy with what they show."""
NOTES_PATIENCE_SECONDS = 5.0
"""How long the end of a run waits for the last note; the database may be away."""

log = logging.getLogger(__name__)


def run_search(request: RunRequest, view: View, stopping: threading.Event) -> RunOutcome:
    """Run a study to the end of its budget, or until `stopping` is set.

    Raises:
        InputError: a setting is wrong; nothing was started.
        RunError: no slot can train, or one met a defect of ours.
        StorageError: the database stayed away too long.
    """
    started = time.monotonic()
    request.home.check_writable()
    if request.tensorboard:
        check_writable(request.tensorboard)
    existing = existing_study(request)
    if existing and (patched := check_version(existing, request.version)):
        view.note(patched)
    check_added(request, existing)
    check_files(request, existing)
    earlier = learned_from(request)
    if existing and existing.attributes:
        check_learns_from(existing, earlier)
    if existing and (nothing_left := _nothing_left(request, existing, view, stopping)):
        return nothing_left
    elsewhere = _engine_places(request)
    prepared = prepare(request, _places(request, view), view, stopping)
    if prepared is None:
        raise KeyboardInterrupt  # before there was anything to give back
    try:
        study = open_matching(prepared.request, prepared.ready.data, earlier)
        if elsewhere:
            prepared.child.kill()
            prepared = replace(prepared, places=elsewhere)
        run = _Run(prepared, study, view, Timeout(request.timeout_seconds, started, stopping), stopping)
    except BaseException:
        prepared.child.kill()
        raise
    run.work()
    return RunOutcome(
        # It may have been renamed meanwhile.
        study=next((each for each in all_studies(request.storage) if each.is_same(study)), study),
        counts=run.queue.counts(),
        seconds=time.monotonic() - started,
        interrupted=stopping.is_set(),
        notes=(*prepared.notes, *_elsewhere(run.queue.elsewhere())),
        timed_out=run.timeout.is_over,
        limit=run.queue.stopped_by(),
    )


def _places(request: RunRequest, view: View) -> tuple[Place, ...]:
    """Where the workers of this host are. Of an engine's, whose places come later, the one that reads the data here.

    Raises:
        InputError: they can't be had.
    """
    if request.engine is None:
        gpus = chosen_gpus(visible_gpus(), request.gpus)
        places = plan_places(request.workers, gpus, cores_here(), request.trials_per_gpu)
        if warning := crowded(places, cores_here()):
            view.note(warning)
        return places
    return places_without_gpus(1)


def _engine_places(request: RunRequest) -> tuple[Place, ...]:
    """Where an engine would have its workers; empty without one. Raises InputError if it can't."""
    engine = request.engine
    if engine is None:
        return ()
    places = engine.places(request.workers)
    if request.storage.on_one_host and not engine.is_here():
        raise InputError(
            f"--engine {engine.name}: its workers are on other hosts too, and {request.storage.name} is an SQLite "
            "file, whose locks hold on one host only. Use a Postgres database: --storage postgresql://USER@HOST/DATABASE"
        )
    return places


def _nothing_left(request: RunRequest, study: StudyRecord, view: View, stopping: threading.Event) -> RunOutcome | None:
    """What a run comes to whose study is at its end already; None if there is something to do."""
    queue = Queue(request.storage, study.study_id)
    queue.reap(Undertaker(queue).look())  # a finished study too may have the slot of a worker that was killed
    limit = None if request.joins else queue.reached(request.limits)
    if limit or (not request.add and is_done(request, study)):
        if keeping := _keeping(request, study):
            keeping.close(stopping)
            _show_remarks(keeping.remarks, view)
        return RunOutcome(study, queue.counts(), 0.0, interrupted=False, limit=limit)
    return None


def _keeping(request: RunRequest, study: StudyRecord) -> Keeping | None:
    if not study.files:
        return None
    files = StudyFiles.of(study.files, study.attributes["uid"])
    return Keeping(files, request.home, request.storage, study)


def _show_remarks(remarks: queues.Queue[str] | queues.SimpleQueue[str], view: View) -> None:
    with contextlib.suppress(queues.Empty):
        while True:
            view.note(remarks.get_nowait())


def _elsewhere(numbers: list[int]) -> list[str]:
    """What is said of running trials that no worker of ours has."""
    if not numbers:
        return []
    some = [str(number) for number in numbers[:10]]
    trials = listed([*some, f"{len(numbers) - 10:,} more"] if len(numbers) > 10 else some)
    trial, was, are, results = (
        ("trial", "was", "is", "its result") if len(numbers) == 1 else ("trials", "were", "are", "their results")
    )
    return [
        f"{trial} {trials} of this study {was} taken by another program (Optuna's study.ask) and {are} running there: "
        f"not waited for. That program tells {results}, or you do in the dashboard (--allow-edits)."
    ]


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


class _Run:
    """The workers of a run, and what they share."""

    def __init__(
        self, prepared: Prepared, study: StudyRecord, view: View, timeout: Timeout, stopping: threading.Event
    ) -> None:
        request, space = prepared.request, prepared.request.space
        self.timeout = timeout
        self.queue = Queue(request.storage, study.study_id, study.attributes["uid"])
        self._request, self._study, self._view, self._stopping = request, study, view, stopping
        self._places = prepared.places
        self._events: queues.Queue[Event] = queues.Queue()
        self._trials = StartedTrials(request.storage, {study.folder: study.study_id})
        self._failures: list[BaseException] = []
        self._ended = threading.Event()
        self._crowd = 1.0
        self._hooks = Hooks(space.hooks, request.storage, study) if space.hooks else None
        self._mirror: Mirror | None = None
        if request.mlflow:
            self._mirror = Mirror(request.mlflow, request.storage, study, self._begun)
        self._curves: Curves | None = None
        if request.tensorboard:
            self._curves = Curves(Home(request.tensorboard).study(study.folder), space.searched())
            self._curves.catch_up(request.storage, study)
        self._files = _keeping(request, study)
        if not request.joins:
            self._fill()
        self._slots: list[Slot] = []
        self._follower: Follower | None = None
        if request.engine is not None:
            self._follower = Follower(self.queue, self._trials, own=space.trains_own)
        work = None if self._follower else self._assignment(prepared.ready.data.fingerprint)
        self.queue.reap(Undertaker(self.queue).look())
        view.opened(study, prepared.places, self.queue.counts())
        if work:
            children = [prepared.child, *[None] * (len(prepared.places) - 1)]
            self._slots = [Slot(place, work, child) for place, child in zip(prepared.places, children, strict=True)]
            self._slots[0].accept(prepared.ready)

    def _assignment(self, fingerprint: str) -> Assignment:
        """What the slots of this host share."""
        request, space, study = self._request, self._request.space, self._study
        pauses = isinstance(space.pruner, PauseSpec) and space.max_epochs > 1
        seen = BegunTrials(request.storage, {study.folder: study.study_id}) if pauses else self._trials
        return Assignment(
            home=request.home,
            study_name=study.folder,
            study_uid=study.attributes["uid"],
            space=space,
            data=space.data,
            own=request.own,
            fingerprint=fingerprint,
            provenance=provenance(),
            queue=self.queue,
            storage=seen,
            pruner=build_pruner(
                space.pruner,
                space.max_epochs,
                accuracy=not space.trains_own,
                epochs_of=space.epochs_of,
                over_all=over_all_epochs(space),
            ),
            tell=self._events.put,
            stopping=self._stopping,
            files=self._files,
            start=request.start,
            earlier=earlier_trials(request.storage, study, space, self._view),
            thawing=self._thawing(space, seen) if pauses else None,
        )

    def _thawing(self, space: SearchSpace, seen: StartedTrials) -> Thawing:
        home, folder, uid = self._request.home, self._study.folder, self._study.attributes["uid"]
        checkpoints, follow = partial(home.checkpoints, folder, uid), self._study.files is not None
        return Thawing(Pausing(space), self.queue, StudyOfLessons(folder, seen), checkpoints, follow=follow)

    def _fill(self) -> None:
        """Let trials be taken, and put in those that the total lacks."""
        space = self._request.space
        self.queue.begin(self._request.limits)
        total = space.study.trials
        if self._request.add:
            total = (self.queue.counts().budget or total) + self._request.add
        most = most_trials(space)
        if most is not None and most < total:
            self._view.note(f"the grid has {most} combinations, baseline included: {most} trials instead of {total}")
        self.queue.fill(min(total, most or total), space.baseline_params())

    def work(self) -> None:
        """Let the slots work and show what they do, until they end."""
        beating, noting = self._thread("signs-of-life", self._keep_alive), self._thread("notes", self._keep_notes)
        log.info("study %s: %d workers begin", self._study.name, len(self._places))
        self.timeout.look()  # starting TensorFlow and reading the data count
        for thread in (beating, noting):
            thread.start()
        try:
            with closing(Tending(self._staff(), self._view.note, restarts=self._follower is not None)) as workers:
                workers.begin(len(self._places))
                self._watch(workers)
        except EngineError as error:
            self._failures.append(error)
        finally:
            self._ended.set()
            if self._files:
                self._files.close(self._stopping)
                self._show_remarks()
            noting.join(NOTES_PATIENCE_SECONDS)
        if self._failures:
            raise self._as_run_error(self._failures[0])
        if not self._stopping.is_set():
            self._view.counted(self.queue.counts())
        self._end_told()
        if self._curves:
            self._curves.close()
        log.info("study %s: the run ends", self._study.name)

    def _staff(self) -> Staff:
        """What the workers are started by. Raises EngineError."""
        engine, request, study = self._request.engine, self._request, self._study
        if engine is None:
            return Threads([slot.run for slot in self._slots], self._stopping)
        order = order_of(
            study.name,
            request.storage,
            request.home,
            study.folder,
            code=request.code if request.own else None,
            source=None if isinstance(request.own, Program) else request.space.data.source,
            resources=engine.resources,
            files=study.files is not None,
        )
        return engine.open(order)

    def _watch(self, workers: Tending) -> None:
        counted = 0.0
        stopped_at: float | None = None
        patience = ELSEWHERE_STOP_SECONDS if self._follower else STOP_SECONDS
        while workers.working or not self._events.empty():
            self._show()
            workers.look()
            if workers.error and not self._failures:  # raised again at the end
                self._failures.append(workers.error)
                self._stopping.set()
            self.timeout.look()
            now = time.monotonic()
            if self._stopping.is_set():
                workers.stop()
                stopped_at = stopped_at or now
                if now - stopped_at > patience:  # the database is away: its trials are found dead by the next run
                    log.warning("the workers could not give their trials back within %.0f s", patience)
                    return
            elif now - counted > COUNT_SECONDS * self._crowd and not self._failures:
                counted = now
                counts = self.queue.counts()
                if self._follower is None:  # who follows workers elsewhere is the only one of his kind
                    self._crowd = max(1.0, counts.running / FEW)
                self._view.counted(counts)
                self._follow()
                if self._follower and self._is_over(counts):
                    workers.over()
        self._follow()
        if workers.failed and not self._stopping.is_set() and not self._is_over(self.queue.counts()):
            self._failures.append(lost(workers.failed))

    def _follow(self) -> None:
        """Have what workers elsewhere did told, as slots of this host tell it."""
        for event in self._follower.look() if self._follower else ():
            self._tell(event)

    def _is_over(self, counts: Counts) -> bool:
        """Whether no worker will find anything to do."""
        if counts.settled == counts.budget or self.queue.elsewhere():
            return True
        return not counts.running and self.queue.stop_requested() is not None

    def _show(self) -> None:
        with contextlib.suppress(queues.Empty):
            self._tell(self._events.get(timeout=0.2))
            while True:
                self._tell(self._events.get_nowait())
        self._show_remarks()

    def _tell(self, event: Event) -> None:
        self._view.event(event)
        if self._hooks:
            self._hooks.event(event)
        if self._curves and not self._curves.trouble:
            self._curves.event(event)
            if self._curves.trouble:
                self._view.note(self._curves.trouble)

    def _show_remarks(self) -> None:
        for teller in (self._hooks, self._mirror, self._files):
            if teller:
                _show_remarks(teller.remarks, self._view)

    def _begun(self) -> list[FrozenTrial]:
        """The study's trials but for those that wait."""
        return self._trials.get_all_trials(self._study.study_id, deepcopy=False)

    def _end_told(self) -> None:
        """Tell that the study is at its end, if it is, and deliver what waits to hooks and MLflow."""
        if self._hooks:
            counts, limit = self.queue.counts(), self.queue.stopped_by()
            if limit or counts.settled == counts.budget:
                self._hooks.done(counts, limit)
            self._hooks.close()
        if self._mirror:
            self._mirror.close()
        self._show_remarks()

    def _thread(self, name: str, call: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - raised again by the main thread
                log.warning("%s ends: %r", name, error)
                self._failures.append(error)
                self._stopping.set()

        return threading.Thread(target=guarded, name=name, daemon=True)

    def _keep_alive(self) -> None:
        undertaker = Undertaker(self.queue)
        while not self._ended.wait(BEAT_SECONDS):
            if self._slots:
                self.queue.beat([slot.slot_id for slot in self._slots])
            self.queue.reap(undertaker.look())
            if self.queue.stop_requested() == "now":
                self._stopping.set()

    def _keep_notes(self) -> None:
        """Refresh the note now and then and at the end. It costs no trial anything, and none its life."""
        over = False
        while not over:
            over = self._ended.wait(NOTES_SECONDS * self._crowd)
            with contextlib.suppress(Exception):
                trials = self._trials.get_all_trials(self._study.study_id, deepcopy=False)
                refresh_notes(self._request.storage, self._study, trials)

    def _as_run_error(self, error: BaseException) -> BaseException:
        if isinstance(error, StartError):
            return RunError(f"{error}. `alexsearch doctor` says what is wrong; the study is whole, run it again after.")
        if isinstance(error, EngineError):
            return RunError(f"{error}. The study is whole: mend this, and run it again.")
        if isinstance(error, StudyGoneError):
            return RunError(
                f"study {self._study.shown!r} was deleted while this run worked on it, so the run ends. `alexsearch "
                "studies` lists those that there are; `alexsearch run` begins one anew."
            )
        return error
