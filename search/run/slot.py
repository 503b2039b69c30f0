"""One slot of a host: takes a waiting trial, has it trained by its child process, records it, settles it; again.

A slot is a thread that waits on a pipe and the database. What can happen to a trial, and what becomes of it:

    trained to its last epoch     COMPLETE, with the last epoch's val_accuracy
    its values were tried before  COMPLETE, with the result of that trial (see `search.choosing.proposing`)
    the pruner says so            PRUNED, with its last report
    diverged, out of memory       FAIL for good with the reason: the same configuration would fail again
    child killed, hung, crashed   back into the queue, one crash more; FAIL for good after `queue.RETRIES`,
                                  as where the kernel killed it for want of memory
    the slot is told to stop      back into the queue; its checkpoint stays
    somebody else has it now      nothing: the slot lets go of it

Never imports TensorFlow.
"""

from __future__ import annotations

import math
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from model.config import DataSpec, TrainConfig
from search.base.home import Home
from search.choosing.proposing import GivenValuesError, StudyOfLessons, propose
from search.choosing.pruning import is_spared
from search.space.space import SearchSpace
from search.training.child import Child, ChildError, StartError, messages
from search.training.places import Place
from studies.queue.queue import RETRIES, Queue, Taken
from studies.words import last_crash

IDLE_SECONDS = 1.0
STARTS = 3
"""So many failures of a child in a row to start or to write its checkpoints end its slot: each trial would fail so."""


@dataclass(frozen=True)
class Event:
    """Something that a slot tells its host, for people to read."""

    kind: str
    """taken, resumed, progress, epoch, complete, pruned, failed, retried, returned or note."""
    place: Place
    number: int = -1
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Assignment:
    """What all slots of a run share."""

    home: Home
    study_name: str
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


class Slot:
    """One place of this host at work on a study. `run` is its thread."""

    def __init__(self, place: Place, work: Assignment, child: Child | None = None) -> None:
        self.place = place
        self.slot_id = work.queue.join(place.device)
        self._work = work
        self._child = child
        self._device: Mapping[str, Any] = {"name": place.device}
        self._study = StudyOfLessons(work.study_name, work.storage, pruner=work.pruner)
        self._failed_starts = 0

    def run(self) -> None:
        """Work until every trial of the study is settled, or until told to stop."""
        work = self._work
        try:
            while not work.stopping.is_set():
                try:
                    taken = work.queue.take(self.slot_id)
                except LookupError:  # taken for dead, by somebody who watched while this machine slept
                    self.slot_id = work.queue.join(self.place.device)
                    continue
                if taken is not None:
                    self._run_trial(taken)
                    if self._child and self._child.outgrown():
                        self._drop_child()
                elif (counts := work.queue.counts()).settled == counts.budget or work.queue.stop_requested():
                    break
                else:  # a trial that another slot runs may yet come back, or has come back since we asked
                    work.stopping.wait(IDLE_SECONDS)
        finally:
            if self._child:
                self._child.kill()
            work.queue.leave(self.slot_id)

    def _run_trial(self, taken: Taken) -> None:
        work = self._work
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
            self._tell("note", taken, text=f"put back: {error}")
        except ChildError as error:
            self._drop_child()
            self._crashed(taken, str(error))

    def _ready_child(self) -> Child | None:
        """The slot's child, started where there is none; None where the slot was told to stop meanwhile."""
        if self._child is None:
            work = self._work
            log = work.home.log(work.study_name, self.place.name)
            self._child = Child(self.place, work.data, work.home.data, log)
            ready = self._child.wait_ready(work.stopping)
            if ready is None:
                return None
            self.accept(ready)
        return self._child

    def accept(self, ready: Mapping[str, Any]) -> None:
        """Take note of what the child said of its data and device. Raises StartError where it has other data."""
        if ready["data"]["fingerprint"] != self._work.fingerprint:
            raise StartError("the data is no longer what the study began with: its files changed during the run")
        self._device = ready["device"]

    def _configure(self, taken: Taken) -> TrainConfig | None:
        """The trial's values; None where there is nothing to train: it is settled, or not ours any more."""
        try:
            proposal = propose(self._study, taken.trial_id, taken.number, self._work.space)
        except (KeyError, optuna.exceptions.UpdateFinishedTrialError):  # deleted or told from outside
            self._lost(taken)
            return None
        except GivenValuesError as error:
            attributes = {"reason": f"values: {error}"}
            if self._work.queue.settle(self.slot_id, taken.trial_id, TrialState.FAIL, None, attributes):
                self._tell("failed", taken, **attributes)
            return None
        if proposal.twin is None:
            return proposal.config
        self._take_over(taken, proposal.twin)
        return None

    def _take_over(self, taken: Taken, twin: FrozenTrial) -> None:
        """Settle a trial by the result of one with the same values, whose configuration and seed it then has."""
        kept = ("config", "data_fingerprint", "device", "versions", "git_commit", "host")
        attributes = {key: twin.user_attrs[key] for key in kept if key in twin.user_attrs}
        attributes |= {"same_as": twin.number, "epochs_run": 0, "seconds": 0.0}
        if self._work.queue.settle(self.slot_id, taken.trial_id, TrialState.COMPLETE, twin.value, attributes):
            self._tell("complete", taken, value=twin.value, **attributes)
        else:
            self._lost(taken)

    def _train(self, child: Child, taken: Taken, config: TrainConfig) -> None:
        work = self._work
        checkpoints = work.home.checkpoints(work.study_name, work.study_uid, taken.number)
        self._tell("taken", taken, config=config.model_dump(exclude_none=True))
        child.send("train", trial=taken.number, config=config.model_dump(), checkpoints=str(checkpoints))
        progress = _Progress(config)
        for message in messages(child, taken.number, work.stopping):
            match message["kind"]:
                case "started":
                    held = self._started(taken, progress, message)
                case "progress":
                    progress.images_per_second = message["images_per_second"]
                    self._tell(
                        "progress", taken, **{k: message[k] for k in ("epoch", "step", "steps", "images_per_second")}
                    )
                    held = True
                case "epoch" if not all(map(math.isfinite, message["metrics"].values())):
                    self._drop_child()
                    text = f"epoch {message['metrics']['epoch']} has a loss or accuracy that is no finite number"
                    self._failed(taken, {"reason": "diverged", "retry": False, "message": text}, progress, checkpoints)
                    return
                case "epoch":
                    held = self._epoch(child, taken, progress, message["metrics"])
                case "finished":
                    self._settle(taken, progress, checkpoints)
                    return
                case "failed":
                    self._failed(taken, message, progress, checkpoints)
                    return
            if not held:
                self._drop_child()  # it may be in the middle of an epoch for nobody
                self._lost(taken)
                return
        self._drop_child()
        work.queue.give_back(self.slot_id, taken.trial_id, crashed=False)
        self._tell("returned", taken)

    def _started(self, taken: Taken, progress: _Progress, message: Mapping[str, Any]) -> bool:
        """Store what it takes to run the trial again, and bring the reports in line with the checkpoint."""
        work = self._work
        config = {key: value for key, value in message["config"].items() if value is not None}
        attributes = {
            "config": config,
            "data_fingerprint": work.fingerprint,
            "device": self._device["name"],
            "slot": self.place.name,
            "threads": self._device.get("threads"),
            **work.provenance,
        }
        history = message["history"]
        if history:  # the epochs before may have been another device's
            attributes["resumed_after"] = len(history)
        held = work.queue.describe(self.slot_id, taken.trial_id, attributes)
        held = held and work.queue.resume_at(self.slot_id, taken.trial_id, len(history))
        for metrics in history:
            # The last of them may have been written to disk and never reported: the crash came in between.
            held = held and work.queue.record_epoch(self.slot_id, taken.trial_id, metrics)
        progress.history.extend(history)
        if held and history:
            self._tell("resumed", taken, epoch=len(history))
        return held

    def _epoch(self, child: Child, taken: Taken, progress: _Progress, metrics: Mapping[str, Any]) -> bool:
        progress.history.append(metrics)
        if not self._work.queue.record_epoch(self.slot_id, taken.trial_id, metrics, progress.images_per_second):
            return False
        self._failed_starts = 0
        last = metrics["epoch"] >= progress.config.epochs
        try:
            spared = last or is_spared(self._work.space.pruner, progress.config, metrics["epoch"])
            prune = not spared and optuna.Trial(self._study, taken.trial_id).should_prune()
        except KeyError:  # deleted a moment ago
            return False
        child.send("verdict", trial=taken.number, epoch=metrics["epoch"], go=not prune)
        self._tell("epoch", taken, epoch=metrics["epoch"], epochs=progress.config.epochs, **_scores(metrics))
        # This very epoch may have reached a limit of the study's.
        if not (last or prune) and self._work.queue.stop_requested() == "now":
            self._work.stopping.set()
        return True

    def _settle(self, taken: Taken, progress: _Progress, checkpoints: Path) -> None:
        last = progress.history[-1]
        value = last["val_accuracy"]
        pruned = last["epoch"] < progress.config.epochs
        attributes = progress.cost()
        if pruned:
            attributes["reason"] = f"pruned after epoch {last['epoch']} of {progress.config.epochs} at {value:.4f}"
        state = TrialState.PRUNED if pruned else TrialState.COMPLETE
        if self._work.queue.settle(self.slot_id, taken.trial_id, state, value, attributes):
            self._tell("pruned" if pruned else "complete", taken, value=value, **attributes)
            _remove(checkpoints)
        else:
            self._lost(taken)

    def _failed(self, taken: Taken, message: Mapping[str, Any], progress: _Progress, checkpoints: Path) -> None:
        work = self._work
        if message["reason"] == "disk":
            # No trial's fault: as crashes, a full disk would within seconds fail every trial of the queue for good.
            raise StartError(f"what it trains can't be written below {work.home.folder} ({message['message']})")
        if message["retry"]:
            self._drop_child()
            self._crashed(taken, f"{message['reason']}: {message['message']}")
            return
        attributes = {"reason": f"{message['reason']}: {message['message']}", **progress.cost()}
        if work.queue.settle(self.slot_id, taken.trial_id, TrialState.FAIL, None, attributes):
            self._tell("failed", taken, **attributes)
            _remove(checkpoints)
        else:
            self._lost(taken)
        if message["reason"] == "out-of-memory":
            self._drop_child()  # its memory is surely free only when the process is gone

    def _crashed(self, taken: Taken, reason: str) -> None:
        crashes = taken.attempt + 1
        if not self._work.queue.give_back(self.slot_id, taken.trial_id, crashed=True, reason=reason):
            self._lost(taken)
        elif crashes > RETRIES:
            self._tell("failed", taken, reason=last_crash(reason, crashes))
        else:
            self._tell("retried", taken, reason=reason, attempt=crashes)

    def _lost(self, taken: Taken) -> None:
        self._work.queue.give_back(self.slot_id, taken.trial_id, crashed=False)
        self._tell("note", taken, text="no longer ours: deleted, told from outside or given to another worker")

    def _drop_child(self) -> None:
        if self._child:
            self._child.kill()
        self._child = None

    def _tell(self, kind: str, taken: Taken, **values: Any) -> None:
        self._work.tell(Event(kind, self.place, taken.number, values))


@dataclass
class _Progress:
    """What is known of the trial in hand."""

    config: TrainConfig
    history: list[Mapping[str, Any]] = field(default_factory=list)
    images_per_second: float = 0.0

    def cost(self) -> dict[str, Any]:
        """The attributes that say what the trial took: all its epochs, those before a restart included."""
        return {
            "epochs_run": len(self.history),
            "seconds": round(sum(metrics["seconds"] for metrics in self.history), 3),
            "images_per_second": round(self.images_per_second, 1),
        }


def _scores(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: metrics[name] for name in ("val_accuracy", "val_loss", "seconds")}


def _remove(checkpoints: Path) -> None:
    """A settled trial needs no checkpoint any more. What can't be removed does no harm."""
    shutil.rmtree(checkpoints, ignore_errors=True)
