"""One slot of a host: takes a waiting trial, has it trained by its child process, records it, settles it; again.

A slot is a thread that waits on a pipe and the database. What can happen to a trial, and what becomes of it:

    trained to its last epoch     COMPLETE, with the last epoch's metric (val_accuracy, unless the study has its own)
    its training ends by itself   COMPLETE, likewise: training of one's own may stop early
    its values were tried before  COMPLETE, with the result of that trial (see `search.choosing.proposing`)
    the pruner says so            PRUNED, with its last report
    another is worth more         back into the queue until it is its turn again (see `search.run.thawing`)
    diverged, out of memory       FAIL for good with the reason: the same configuration would fail again
    child killed, hung, crashed   back into the queue, one crash more; FAIL for good after `queue.RETRIES`,
                                  as where the kernel killed it for want of memory
    two fail alike, see           both back into the queue, uncounted, and the run ends: what surrounds it is at fault,
    `search.run.crashes`          no trial
    the slot is told to stop      back into the queue; its checkpoint stays
    somebody else has it now      nothing: the slot lets go of it

Never imports TensorFlow.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from model.config import DataSpec, EpochMetrics, Failure, NetworkSpec, TrainConfig
from search.base.home import Home
from search.base.mistakes import InputError
from search.choosing.proposing import GivenValuesError, StudyOfLessons, propose
from search.choosing.pruning import is_spared
from search.run.crashes import Crash, EarlyCrashes, told_alike
from search.run.events import (
    Begun,
    Completed,
    EpochDone,
    Event,
    FailedForGood,
    Happening,
    Noted,
    Paused,
    Pruned,
    Resumed,
    Retried,
    Returned,
)
from search.run.keeping import Keeping
from search.run.request import RunError
from search.run.thawing import Thawing
from search.space.own import OwnConfig, OwnEpoch, Program
from search.space.space import SearchSpace
from search.training.child import ChildError, Process, RefusedError, Start, StartError, heard
from search.training.messages import (
    Epoch,
    Failed,
    Finished,
    ProgramFound,
    Progress,
    Ready,
    Said,
    Started,
    Train,
    Verdict,
)
from search.training.places import Place
from search.training.starting import start_process
from studies.queue.queue import Queue, Taken
from studies.queue.standing import RETRIES
from studies.record.metric import Metric
from studies.words import failure_in_words

IDLE_SECONDS = 1.0
STARTS = 3
"""So many failures of a child in a row to start or to write its checkpoints end its slot: each trial would fail so."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Assignment:
    """What all slots of a run share."""

    home: Home
    study_name: str
    """The one it was begun with: of its folder, and of the pruner's brackets"""
    study_uid: str
    space: SearchSpace
    data: DataSpec
    fingerprint: str
    provenance: Mapping[str, Any]
    """Versions, git commit and host: stored with each trial."""
    queue: Queue
    storage: optuna.storages.BaseStorage
    pruner: optuna.pruners.BasePruner
    tell: Callable[[Event], None]
    stopping: threading.Event
    own: Program | NetworkSpec | None = None
    """What is trained, if it is not the AlexNet."""
    files: Keeping | None = None
    """What has checkpoints follow the trials, if the study keeps its files where other hosts find them."""
    start: Start = start_process
    crashes: EarlyCrashes = field(default_factory=EarlyCrashes)
    earlier: Sequence[FrozenTrial] = ()
    """Trials of other studies that the sampler learns from."""
    thawing: Thawing | None = None
    """Says who goes on, if trials pause."""


class Slot:
    """One place of this host at work on a study. `run` is its thread."""

    def __init__(self, place: Place, work: Assignment, child: Process | None = None) -> None:
        self.place = place
        self.slot_id = work.queue.join(place.device)
        self._work = work
        self._child = child
        self._device: Mapping[str, Any] = {"device": place.device, "threads": None}
        self._study = StudyOfLessons(work.study_name, work.storage, pruner=work.pruner)
        self._failed_starts = 0
        self._wishes: list[int | None] | None = None

    def run(self) -> None:
        """Work until every trial of the study is settled or another program's, or until told to stop."""
        work = self._work
        try:
            while not work.stopping.is_set():
                wishes, self._wishes = self._wishes, None
                if wishes is None and work.thawing:
                    wishes = work.thawing.wishes()
                try:
                    taken = work.queue.take(self.slot_id, after=work.crashes.last_number, wishes=wishes)
                except LookupError:  # taken for dead, by somebody who watched while this machine slept
                    log.warning("%s was taken for dead, and joins anew", self.place.name)
                    self.slot_id = work.queue.join(self.place.device)
                    continue
                if taken is not None:
                    self._run_trial(taken)
                    if self._child and self._child.outgrown():
                        self._drop_child()
                elif self._is_over(more=bool(wishes)):
                    break
                else:  # a trial that another slot runs may yet come back, or has come back since we asked
                    work.stopping.wait(IDLE_SECONDS)
        finally:
            if self._child:
                self._child.kill()
            work.queue.leave(self.slot_id)

    def _is_over(self, *, more: bool) -> bool:
        """Whether no trial is left for us: all are settled or another program's, or the study is to stop.

        `more` says whether something was wished for that others were sooner to take.
        """
        work = self._work
        if work.thawing and not more and work.queue.stop_requested() != "now":
            work.thawing.settle_rest()
        counts = work.queue.counts()
        return counts.settled == counts.budget or bool(work.queue.stop_requested() or work.queue.elsewhere())

    def _run_trial(self, taken: Taken) -> None:
        work = self._work
        config: TrainConfig | OwnConfig | None = None
        try:
            child = self._ready_child()
            if child is None:
                work.queue.give_back(self.slot_id, taken.trial_id, crashed=False)
                return
            config = self._configure(taken)
            if config is None:
                return
            self._train(child, taken, config)
        except StartError as error:
            self._drop_child()
            work.queue.give_back(self.slot_id, taken.trial_id, crashed=False)
            self._failed_starts += 1
            if self._failed_starts >= STARTS:
                raise
            self._tell(taken, Noted(f"put back: {error}"))
        except ChildError as error:
            self._drop_child()
            self._crashed(taken, error.failure, config)

    def _ready_child(self) -> Process | None:
        """The slot's child, started if there is none; None if the slot was told to stop meanwhile."""
        if self._child is None:
            work = self._work
            log_file = work.home.log(work.study_name, self.place.name)
            self._child = work.start(self.place, work.data, work.home.data, log_file, own=work.own)
            try:
                ready = self._child.wait_ready(work.stopping)
            except RefusedError as refused:  # it was not at the run's start
                raise RunError(
                    f"{refused}. It was not so when this run began, which ends now. The study is whole: mend this, and "
                    "run it again."
                ) from None
            if ready is None:
                return None
            self.accept(ready)
        return self._child

    def accept(self, ready: Ready) -> None:
        """Take note of what the child said of its data and device. Raises StartError if it has other data."""
        if ready.data.fingerprint != self._work.fingerprint:
            what = "program" if isinstance(ready.data, ProgramFound) else "data"
            raise StartError(f"the {what} is no longer what the study began with: its files changed during the run")
        self._device = {"device": ready.device.name, "threads": ready.device.threads}
        if isinstance(ready.data, ProgramFound):
            ours = {"alexsearch": self._work.provenance["versions"]["alexsearch"]}
            self._device |= {"versions": {**ours, **ready.data.versions}}  # of its interpreter, not of ours

    def _configure(self, taken: Taken) -> TrainConfig | OwnConfig | None:
        """The trial's values; None if there is nothing to train: it is settled, or not ours any more."""
        try:
            queue = self._work.queue
            work = self._work
            proposal = propose(
                self._study, taken.trial_id, taken.number, work.space, enough=queue.enough, earlier=work.earlier
            )
        except (KeyError, optuna.exceptions.UpdateFinishedTrialError):  # deleted or told from outside
            self._lost(taken)
            return None
        except GivenValuesError as error:
            self._fail(taken, Failure(kind="values", text=str(error)), {})
            return None
        if proposal.ends:
            queue.give_back(self.slot_id, taken.trial_id, crashed=False, reason="too little is expected of it")
            self._tell(taken, Returned())
            return None
        if proposal.remark:
            self._tell(taken, Noted(proposal.remark))
        if proposal.twin is None:
            return proposal.config
        self._take_over(taken, proposal.twin)
        return None

    def _take_over(self, taken: Taken, twin: FrozenTrial) -> None:
        """Settle a trial by the result of one with the same values, whose configuration and seed it then has."""
        kept = ("config", "data_fingerprint", "device", "versions", "git_commit", "host")
        attributes = {key: twin.user_attrs[key] for key in kept if key in twin.user_attrs}
        attributes |= {"same_as": twin.number, "epochs_run": 0, "seconds": 0.0}
        value = twin.value or 0.0
        if self._work.queue.settle(self.slot_id, taken.trial_id, TrialState.COMPLETE, value, attributes):
            self._tell(taken, Completed(value, 0.0, same_as=twin.number))
        else:
            self._lost(taken)

    def _train(self, child: Process, taken: Taken, config: TrainConfig | OwnConfig) -> None:
        work = self._work
        try:
            checkpoints = work.home.checkpoints(work.study_name, work.study_uid, taken.number)
        except InputError as error:
            raise StartError(str(error)) from None
        training = _Training(config, checkpoints)
        begun = work.files and "config" in work.storage.get_trial(taken.trial_id).user_attrs
        if work.files and begun and (told := work.files.fetch(taken.number, checkpoints)):
            self._tell(taken, Noted(told))
        self._tell(taken, Begun(config))
        child.send(Train(trial=taken.number, config=config, checkpoints=training.checkpoints))
        limit = work.own.epoch_seconds if isinstance(work.own, Program) else None
        for message in heard(child, taken.number, work.stopping, limit):
            held = True
            match message:
                case Started():
                    held = self._started(taken, training, message)
                case Progress():
                    training.images_per_second = message.images_per_second
                    self._tell(taken, message)
                case Epoch():
                    held = self._epoch(child, taken, training, message.metrics)
                case Said(text=text):
                    self._tell(taken, Noted(text))
                case Finished() if not training.history:
                    text = "it ended without having reported anything"
                    self._fail(taken, Failure(kind="error", text=text), training.cost())
                    return
                case Finished():
                    self._settle(taken, training)
                    return
                case Failed():
                    self._failed(taken, message, training)
                    return
            if not held:
                self._drop_child()  # it may be in the middle of an epoch for nobody
                self._lost(taken)
                return
        self._drop_child()
        work.queue.give_back(self.slot_id, taken.trial_id, crashed=False)
        self._tell(taken, Returned())

    def _started(self, taken: Taken, training: _Training, message: Started) -> bool:
        """Store what it takes to run the trial again, and bring the reports in line with the checkpoint."""
        work = self._work
        attributes = {
            "config": message.config.model_dump(exclude_none=True),
            "data_fingerprint": work.fingerprint,
            "slot": self.place.name,
            **work.provenance,
            **self._device,
        }
        history = message.history
        if history:  # the epochs before may have been another device's
            attributes["resumed_after"] = history[-1].epoch
        held = work.queue.describe(self.slot_id, taken.trial_id, attributes)
        # Training of one's own may report every fifth epoch, say.
        held = held and work.queue.resume_at(self.slot_id, taken.trial_id, history[-1].epoch if history else 0)
        for metrics in history:
            # The last of them may have been written to disk and never reported: the crash came in between.
            held = held and self._record(taken, metrics)
        training.history.extend(history)
        if held and history:
            self._tell(taken, Resumed(history[-1].epoch))
        return held

    def _epoch(self, child: Process, taken: Taken, training: _Training, metrics: EpochMetrics | OwnEpoch) -> bool:
        """Record an epoch, judge it, and answer whether the slot still holds the trial."""
        work, config = self._work, training.config
        training.history.append(metrics)
        if work.thawing:
            work.thawing.noted(taken.number, metrics.seconds)
        if not self._record(taken, metrics, training.images_per_second):
            return False
        self._failed_starts = 0
        work.crashes.epoch_done()
        last = metrics.epoch >= config.epochs
        try:
            spared = last or taken.to_its_end or is_spared(work.space.pruner, config, metrics.epoch)
            if not spared and not training.paused and work.thawing:
                training.paused = self._is_to_pause(child, taken, metrics, config.epochs)
            prune = not spared and optuna.Trial(self._study, taken.trial_id).should_prune()
        except KeyError:  # deleted a moment ago
            return False
        training.pruned = training.pruned or prune
        go = not (prune or training.paused)
        child.send(Verdict(trial=taken.number, epoch=metrics.epoch, go=go))
        self._tell(taken, EpochDone(metrics, config.epochs))
        if work.files and not (last or prune):
            work.files.epoch_done(taken.number, training.checkpoints, metrics.epoch)
        # This very epoch may have reached a limit of the study's.
        if not last and go and work.queue.stop_requested() == "now":
            work.stopping.set()
        return True

    def _is_to_pause(self, child: Process, taken: Taken, metrics: EpochMetrics | OwnEpoch, planned: int) -> bool:
        """Whether something else is worth more than this trial, which then is what the slot takes next."""
        thawing = self._work.thawing
        if thawing is None or not thawing.is_rung(metrics.epoch, planned):
            return False
        if thawing.thinks_long(metrics.seconds):
            child.send(
                Verdict(trial=taken.number, epoch=metrics.epoch, go=True)
            )  # what comes later counts all the same
        self._wishes = thawing.instead_of(taken.number)
        return self._wishes is not None

    def _record(self, taken: Taken, metrics: EpochMetrics | OwnEpoch, images_per_second: float = 0.0) -> bool:
        work = self._work
        return work.queue.record_epoch(
            self.slot_id, taken.trial_id, metrics.named(), images_per_second, work.space.metric
        )

    def _settle(self, taken: Taken, training: _Training) -> None:
        """Its training has ended: COMPLETE, or PRUNED if it was told to end before its last epoch."""
        last, planned, cost = training.history[-1], training.config.epochs, training.cost()
        metric = self._work.space.metric
        value = last.named()[metric] or 0.0
        if training.paused and not training.pruned and last.epoch < planned:
            self._pause(taken, last.epoch, planned, cost)
            return
        state, attributes = TrialState.COMPLETE, cost
        happened: Happening = Completed(value, cost["seconds"])
        if training.pruned and last.epoch < planned:
            reason = f"pruned after epoch {last.epoch} of {planned} at {Metric(metric).shown(value)}"
            state, attributes = TrialState.PRUNED, cost | {"reason": reason}
            happened = Pruned(reason, cost["seconds"])
        if self._work.queue.settle(self.slot_id, taken.trial_id, state, value, attributes):
            self._tell(taken, happened)
            self._forget(taken, training)
        else:
            self._lost(taken)

    def _pause(self, taken: Taken, epoch: int, planned: int, cost: Mapping[str, Any]) -> None:
        """Its checkpoint stays for whoever goes on with it."""
        if self._work.queue.pause(self.slot_id, taken.trial_id, epoch, cost):
            self._tell(taken, Paused(epoch, planned))
        else:
            self._lost(taken)

    def _failed(self, taken: Taken, message: Failed, training: _Training) -> None:
        if message.failure.kind == "disk":
            # No trial's fault: as crashes, a full disk would within seconds fail every trial of the queue for good.
            where = f"can't be written below {self._work.home.folder}"
            raise StartError(f"what it trains {where} ({message.failure.text})")
        if message.retry:
            self._drop_child()
            self._crashed(taken, message.failure, training.config)
            return
        if message.failure.kind == "error":
            self._blame_none(Crash(taken, training.config, message.failure, final=True))
        if self._fail(taken, message.failure, training.cost()):
            self._forget(taken, training)
        if message.failure.kind == "out-of-memory":
            self._drop_child()  # its memory is surely free only when the process is gone

    def _forget(self, taken: Taken, training: _Training) -> None:
        """Remove the checkpoints of a settled trial."""
        self._work.home.forget(training.checkpoints)
        if self._work.files:
            self._work.files.settled(taken.number, training.checkpoints)

    def _fail(self, taken: Taken, failure: Failure, cost: Mapping[str, Any]) -> bool:
        """Settle the trial as failed for good; False where it is not ours any more."""
        attributes = {"failure": failure.kind, "reason": failure.text, **cost}
        if not self._work.queue.settle(self.slot_id, taken.trial_id, TrialState.FAIL, None, attributes):
            self._lost(taken)
            return False
        self._tell(taken, FailedForGood(failure_in_words(failure.kind, failure.text), cost.get("seconds", 0.0)))
        return True

    def _crashed(self, taken: Taken, failure: Failure, config: TrainConfig | OwnConfig | None) -> None:
        if config:
            self._blame_none(Crash(taken, config, failure))
        crashes = taken.attempt + 1
        if not self._work.queue.give_back(
            self.slot_id, taken.trial_id, crashed=True, failure=failure.kind, reason=failure.text
        ):
            self._lost(taken)
        elif crashes > RETRIES:
            self._tell(taken, FailedForGood(failure_in_words(failure.kind, failure.text, crashes)))
        else:
            self._tell(taken, Retried(failure, crashes))

    def _blame_none(self, crash: Crash) -> None:
        """Raise RunError, both trials back in the queue, if another one failed alike before any epoch was done."""
        work = self._work
        if before := work.crashes.alike_before(crash):
            work.queue.give_back(self.slot_id, crash.taken.trial_id, crashed=False, reason=crash.failure.text)
            if before.final:
                work.queue.retry([before.taken.number])
            else:
                work.queue.uncount(before.taken.trial_id, before.taken.attempt)
            raise RunError(told_alike(before, crash, work.home.log(work.study_name, self.place.name)))

    def _lost(self, taken: Taken) -> None:
        self._work.queue.give_back(self.slot_id, taken.trial_id, crashed=False)
        self._tell(taken, Noted("no longer ours: somebody deleted it or told its result, or another worker has it"))

    def _drop_child(self) -> None:
        if self._child:
            self._child.kill()
        self._child = None

    def _tell(self, taken: Taken, what: Happening) -> None:
        if not isinstance(what, (Progress, EpochDone)):
            log.info("%s: trial %d: %s", self.place.name, taken.number, what)
        self._work.tell(Event(self.place, taken.number, what))


@dataclass
class _Training:
    """What is known of the trial in hand."""

    config: TrainConfig | OwnConfig
    checkpoints: Path
    history: list[EpochMetrics | OwnEpoch] = field(default_factory=list)
    images_per_second: float = 0.0
    pruned: bool = False
    """It was told to end."""
    paused: bool = False
    """Likewise, for now."""

    def cost(self) -> dict[str, Any]:
        """The attributes that say what the trial took: all its epochs, those before a restart included."""
        return {
            "epochs_run": len(self.history),
            "seconds": round(sum(metrics.seconds for metrics in self.history), 3),
            "images_per_second": round(self.images_per_second, 1),
        }
