"""What workers in other processes do, read from the database as the events that slots of this process would tell.

So a run whose workers are elsewhere has the same lines, the same table, the same hooks and the same files for
TensorBoard. What went by between two looks is told in its order, an epoch at a time; how often a trial was run again is
known, but why only its worker's log knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from pydantic import ValidationError

from model.config import EpochMetrics, Failure, TrainConfig
from search.run.events import (
    Begun,
    Completed,
    EpochDone,
    Event,
    FailedForGood,
    Happening,
    Paused,
    Pruned,
    Resumed,
    Retried,
    Returned,
)
from search.space.own import OwnConfig, OwnEpoch, own_epoch
from search.training.messages import Progress
from search.training.places import Place
from studies.queue.pausing import PAUSES
from studies.queue.queue import Queue
from studies.queue.standing import ATTEMPTS, SlotStatus
from studies.store.cache import StartedTrials
from studies.store.epochs import epoch_history
from studies.words import failure_of

WHY = Failure(kind="crashed", text="its worker died, or its training process did: the worker's log tells")


@dataclass
class _Followed:
    """A trial that runs, as far as it was told of."""

    trial_id: int
    place: Place
    planned: int
    attempts: int
    pauses: int
    epoch: int = 0


class Follower:
    """Follows one study from where it stands when this is made. One thread uses it."""

    def __init__(self, queue: Queue, trials: StartedTrials, *, own: bool) -> None:
        """`own`: whether it is training of the user's own, with metrics of its own."""
        self._queue, self._trials, self._own = queue, trials, own
        self._running: dict[int, _Followed] = {}
        self._places: dict[str, Place] = {}
        self._told: dict[int, int] = {}
        """The last epoch that was told of each trial: one that is run again may train some of them again."""
        self._settled = {trial.number for trial in self._now() if trial.state.is_finished()}

    def _now(self) -> list[FrozenTrial]:
        trials = self._trials.get_all_trials(self._queue.study_id, deepcopy=False)
        return [trial for trial in trials if trial.state != TrialState.WAITING]

    def look(self) -> Iterator[Event]:
        """What has happened since the last look."""
        slots = self._queue.slots()
        self._places = {slot.slot_id: place for slot, place in self._placed(slots)}
        holding = {slot.trial: slot for slot in slots if slot.trial is not None}
        trials = self._now()
        for number in self._running.keys() - {trial.number for trial in trials}:
            followed = self._running.pop(number)
            yield from self._epochs(number, followed, None)
            yield Event(followed.place, number, self._gone(followed))
        for trial in trials:
            if trial.number not in self._settled:
                yield from self._trial(trial, holding.get(trial.number))

    def _placed(self, slots: list[SlotStatus]) -> Iterator[tuple[SlotStatus, Place]]:
        """Each slot's place on the screen: the one it had, else the first that is free."""
        taken = {self._places[slot.slot_id].index for slot in slots if slot.slot_id in self._places}
        free = (index for index in range(len(slots) + len(taken)) if index not in taken)
        for slot in slots:
            known = self._places.get(slot.slot_id)
            yield slot, known or Place(next(free), f"{slot.host} {slot.device}")

    def _trial(self, trial: FrozenTrial, slot: SlotStatus | None) -> Iterator[Event]:
        number, followed = trial.number, self._running.get(trial.number)
        attempts = trial.system_attrs.get(ATTEMPTS, 0)
        if followed and trial.state == TrialState.RUNNING and attempts != followed.attempts:
            yield Event(self._running.pop(number).place, number, Retried(WHY, attempts))
            followed = None
        config = self._config(trial.user_attrs)
        if followed is None:
            if trial.state == TrialState.RUNNING and (config is None or slot is None):
                return  # its values are being chosen, or its slot has just lost it
            place = self._places[slot.slot_id] if slot else _unknown(trial, len(self._places))
            planned, told = config.epochs if config else 0, self._told.get(number, 0)
            followed = _Followed(trial._trial_id, place, planned, attempts, _pauses(trial), told)
            self._running[number] = followed
            if config and "same_as" not in trial.user_attrs:
                yield from self._begun(trial, followed, config)
        if "same_as" not in trial.user_attrs and max(trial.intermediate_values, default=0) > followed.epoch:
            yield from self._epochs(number, followed, slot)
        if trial.state.is_finished():
            self._settled.add(number)
            self._told.pop(number, None)
            del self._running[number]
            yield Event(followed.place, number, _settled(trial))

    def _begun(self, trial: FrozenTrial, followed: _Followed, config: TrainConfig | OwnConfig) -> Iterator[Event]:
        yield Event(followed.place, trial.number, Begun(config))
        if resumed := trial.user_attrs.get("resumed_after"):
            followed.epoch = max(followed.epoch, resumed)
            yield Event(followed.place, trial.number, Resumed(resumed))

    def _epochs(self, number: int, followed: _Followed, slot: SlotStatus | None) -> Iterator[Event]:
        for row in epoch_history(self._queue.storage, followed.trial_id):
            if row["epoch"] > followed.epoch and (metrics := self._metrics(row)):
                followed.epoch = self._told[number] = metrics.epoch
                yield Event(followed.place, number, EpochDone(metrics, followed.planned))
        if slot and slot.images_per_second and followed.epoch < followed.planned:
            now = Progress(
                trial=number,
                epoch=followed.epoch + 1,
                step=0,
                steps=1,
                images_per_second=slot.images_per_second,
            )
            yield Event(followed.place, number, now)

    def _gone(self, followed: _Followed) -> Happening:
        """What became of a trial that neither runs nor is settled: it waits, or somebody has deleted it."""
        try:
            trial = self._queue.storage.get_trial(followed.trial_id)
        except KeyError:
            return Returned()
        if _pauses(trial) > followed.pauses:
            return Paused(followed.epoch, followed.planned)
        attempts = trial.system_attrs.get(ATTEMPTS, 0)
        return Retried(WHY, attempts) if attempts > followed.attempts else Returned()

    def _config(self, stored: Mapping[str, Any]) -> TrainConfig | OwnConfig | None:
        kind = OwnConfig if self._own else TrainConfig
        try:
            return kind.model_validate(stored["config"])
        except (KeyError, ValidationError):
            return None

    def _metrics(self, row: Mapping[str, Any]) -> EpochMetrics | OwnEpoch | None:
        try:
            return own_epoch(row) if self._own else EpochMetrics.model_validate(row)
        except ValidationError:  # another program has written something else
            return None


def _pauses(trial: FrozenTrial) -> int:
    return len(trial.user_attrs.get(PAUSES, ()))


def _unknown(trial: FrozenTrial, index: int) -> Place:
    """The place of a trial that came and went between two looks."""
    return Place(index, f"{trial.user_attrs.get('host', '')} {trial.user_attrs.get('device', '')}".strip())


def _settled(trial: FrozenTrial) -> Completed | Pruned | FailedForGood:
    stored = trial.user_attrs
    seconds = stored.get("seconds", 0.0)
    if trial.state == TrialState.COMPLETE:
        return Completed(trial.value or 0.0, seconds, stored.get("same_as"))
    if trial.state == TrialState.PRUNED:
        return Pruned(str(stored.get("reason", "pruned")), seconds)
    return FailedForGood(failure_of(stored), seconds)
