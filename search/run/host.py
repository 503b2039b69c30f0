"""A run: the slots of this host at work on one study, from opening it to its last settled trial.

prepare     the data is read by a first child; nothing is written before it is known to be usable
open        the study is made, or found to be the same question over the same data; its queue is filled
work        every slot a thread; one more gives signs of life and takes trials back from workers that died, and one
            keeps the study's note in optuna-dashboard up to date
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
from functools import partial

from optuna.trial import FrozenTrial

from model.device import available_cores
from search.base.home import Home
from search.base.provenance import provenance
from search.choosing.comparable import over_all_epochs
from search.choosing.designs import most_trials
from search.choosing.pausing import Pausing
from search.choosing.proposing import StudyOfLessons
from search.choosing.pruning import build_pruner
from search.run.events import Event
from search.run.hooks import Hooks
from search.run.learning import check_learns_from, earlier_trials, learned_from
from search.run.matching import check_added, existing_study, is_done, open_matching
from search.run.mlflow import Mirror
from search.run.preparing import Prepared, prepare
from search.run.request import RunError, RunOutcome, RunRequest, View
from search.run.slot import Assignment, Slot
from search.run.tensorboard import Curves, check_writable
from search.run.thawing import Thawing
from search.space.pruners import PauseSpec
from search.space.space import SearchSpace
from search.space.stored import check_version
from search.training.child import StartError
from search.training.places import chosen_gpus, crowded, plan_places, visible_gpus
from studies.queue.queue import Queue, StudyGoneError
from studies.queue.undertaker import BEAT_SECONDS, Undertaker
from studies.record.catalog import StudyRecord, all_studies
from studies.show.notes import refresh_notes
from studies.store.cache import BegunTrials, StartedTrials
from studies.words import listed

STOP_SECONDS = 20.0
"""How long the slots may take to give their trials back before the run ends without them."""
COUNT_SECONDS = 1.0
NOTES_SECONDS = 60.0
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
    earlier = learned_from(request)
    if existing and existing.attributes:
        check_learns_from(existing, earlier)
    if existing and (nothing_left := _nothing_left(request, existing)):
        return nothing_left
    gpus = chosen_gpus(visible_gpus(), request.gpus)
    places = plan_places(request.workers, gpus, available_cores(), request.trials_per_gpu)
    if warning := crowded(places, available_cores()):
        view.note(warning)
    prepared = prepare(request, places, view, stopping)
    if prepared is None:
        raise KeyboardInterrupt  # before there was anything to give back
    try:
        study = open_matching(prepared.request, prepared.ready.data, earlier)
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


def _nothing_left(request: RunRequest, study: StudyRecord) -> RunOutcome | None:
    """What a run comes to whose study is at its end already; None if there is something to do."""
    queue = Queue(request.storage, study.study_id)
    queue.reap(Undertaker(queue).look())  # a finished study too may have the slot of a worker that was killed
    limit = None if request.joins else queue.reached(request.limits)
    if limit or (not request.add and is_done(request, study)):
        return RunOutcome(study, queue.counts(), 0.0, interrupted=False, limit=limit)
    return None


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
    """The threads of a run, and what they share."""

    def __init__(
        self, prepared: Prepared, study: StudyRecord, view: View, timeout: Timeout, stopping: threading.Event
    ) -> None:
        request, space = prepared.request, prepared.request.space
        self.timeout = timeout
        self.queue = Queue(request.storage, study.study_id, study.attributes["uid"])
        self._request, self._study, self._view, self._stopping = request, study, view, stopping
        self._events: queues.Queue[Event] = queues.Queue()
        self._trials = StartedTrials(request.storage, {study.folder: study.study_id})
        self._failures: list[BaseException] = []
        self._ended = threading.Event()
        self._hooks = Hooks(space.hooks, request.storage, study) if space.hooks else None
        self._mirror: Mirror | None = None
        if request.mlflow:
            self._mirror = Mirror(request.mlflow, request.storage, study, self._begun)
        self._curves: Curves | None = None
        if request.tensorboard:
            self._curves = Curves(Home(request.tensorboard).study(study.folder), space.searched())
            self._curves.catch_up(request.storage, study)
        if not request.joins:
            self._fill()
        pauses = isinstance(space.pruner, PauseSpec) and space.max_epochs > 1
        seen = BegunTrials(request.storage, {study.folder: study.study_id}) if pauses else self._trials
        work = Assignment(
            home=request.home,
            study_name=study.folder,
            study_uid=study.attributes["uid"],
            space=space,
            data=space.data,
            own=request.own,
            fingerprint=prepared.ready.data.fingerprint,
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
            stopping=stopping,
            start=request.start,
            earlier=earlier_trials(request.storage, study, space, view),
            thawing=self._thawing(space, seen) if pauses else None,
        )
        self.queue.reap(Undertaker(self.queue).look())
        view.opened(study, prepared.places, self.queue.counts())
        self._slots = [Slot(place, work, prepared.child if place.index == 0 else None) for place in prepared.places]
        self._slots[0].accept(prepared.ready)

    def _thawing(self, space: SearchSpace, seen: StartedTrials) -> Thawing:
        home, folder, uid = self._request.home, self._study.folder, self._study.attributes["uid"]
        return Thawing(Pausing(space), self.queue, StudyOfLessons(folder, seen), partial(home.checkpoints, folder, uid))

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
        slots = [self._thread(slot.place.name, slot.run) for slot in self._slots]
        beating, noting = self._thread("signs-of-life", self._keep_alive), self._thread("notes", self._keep_notes)
        log.info("study %s: %d slots begin", self._study.name, len(slots))
        self.timeout.look()  # starting TensorFlow and reading the data count
        for thread in (*slots, beating, noting):
            thread.start()
        try:
            self._watch(slots)
        finally:
            self._ended.set()
            noting.join(NOTES_PATIENCE_SECONDS)
        if self._failures:
            raise self._as_run_error(self._failures[0])
        if not self._stopping.is_set():
            self._view.counted(self.queue.counts())
        self._end_told()
        if self._curves:
            self._curves.close()
        log.info("study %s: the run ends", self._study.name)

    def _watch(self, slots: list[threading.Thread]) -> None:
        counted = 0.0
        stopped_at: float | None = None
        while any(thread.is_alive() for thread in slots) or not self._events.empty():
            self._show()
            self.timeout.look()
            now = time.monotonic()
            if self._stopping.is_set():
                stopped_at = stopped_at or now
                if now - stopped_at > STOP_SECONDS:  # the database is away: its trials are found dead by the next run
                    log.warning("the slots could not give their trials back within %.0f s", STOP_SECONDS)
                    return
            elif now - counted > COUNT_SECONDS and not self._failures:
                counted = now
                self._view.counted(self.queue.counts())

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
        for teller in (self._hooks, self._mirror):
            with contextlib.suppress(queues.Empty):
                while teller:
                    self._view.note(teller.remarks.get_nowait())

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
            self.queue.beat([slot.slot_id for slot in self._slots])
            self.queue.reap(undertaker.look())
            if self.queue.stop_requested() == "now":
                self._stopping.set()

    def _keep_notes(self) -> None:
        """Refresh the note now and then and at the end. It costs no trial anything, and none its life."""
        over = False
        while not over:
            over = self._ended.wait(NOTES_SECONDS)
            with contextlib.suppress(Exception):
                trials = self._trials.get_all_trials(self._study.study_id, deepcopy=False)
                refresh_notes(self._request.storage, self._study, trials)

    def _as_run_error(self, error: BaseException) -> BaseException:
        if isinstance(error, StartError):
            return RunError(f"{error}. `alexsearch doctor` says what is wrong; the study is whole, run it again after.")
        if isinstance(error, StudyGoneError):
            return RunError(
                f"study {self._study.shown!r} was deleted while this run worked on it, so the run ends. `alexsearch "
                "studies` lists those that there are; `alexsearch run` begins one anew."
            )
        return error
