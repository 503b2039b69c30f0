"""Who goes on, in a study whose trials pause: what its slots ask of `search.choosing.pausing`, and what they do by it.

A slot that is free asks what is worth taking (`wishes`), and one whose trial is at a rung whether something else is
worth more (`instead_of`). At the end of the study the slot that finds nothing worth taking settles what is left
(`settle_rest`).

A trial goes on where its checkpoint lies. On another host it begins anew, which costs its epochs once more, so it does
only when nobody works on the study there any more; unless checkpoints follow their trials.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from optuna import Study
from optuna.trial import FrozenTrial

from search.choosing.pausing import Pausing, Ranking, is_paused
from studies.queue.pausing import PAUSES, pauses
from studies.queue.process import machine
from studies.queue.queue import Queue
from studies.store.shapes import is_amount, is_whole

NOT_THE_BEST = "paused, and not among those that may be the best"

MOST_OF_AN_EPOCH = 0.1
"""Training waits at a rung for what is thought if that takes a smaller part of an epoch; else it goes on at once, and
may be told to pause after its next epoch."""

log = logging.getLogger(__name__)


class Thawing:
    """The same for all slots of a run, which take turns to ask."""

    def __init__(
        self,
        policy: Pausing,
        queue: Queue,
        study: Study,
        checkpoints: Callable[[int], Path],
        *,
        follow: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`study` shows the trials that have begun, also the paused; `checkpoints` is a trial's folder.

        `follow` says whether checkpoints follow their trials to other hosts (`search.run.keeping`).
        """
        self._follow, self._clock = follow, clock
        self._policy, self._queue, self._study, self._checkpoints = policy, queue, study, checkpoints
        self._paces: dict[int, float] = {}
        self._thought_seconds = 0.0
        self._lock = threading.Lock()
        self._answered: tuple[object, Ranking] | None = None  # idle slots ask every second

    def is_rung(self, epoch: int, planned: int) -> bool:
        """Whether a trial of so many epochs is judged after this one."""
        return epoch in self._policy.rungs(planned)

    def noted(self, number: int, seconds: float) -> None:
        """Take note of what an epoch of a running trial took."""
        self._paces[number] = seconds

    def thinks_long(self, epoch_seconds: float) -> bool:
        """Whether to think about what is next takes so long that training, with such epochs, should not wait for it."""
        return self._thought_seconds > MOST_OF_AN_EPOCH * epoch_seconds

    def wishes(self) -> list[int | None]:
        """What a free slot of this host should take, best first; None stands for a trial that has not begun."""
        trials = self._begun()
        ranking = self._rank(trials)
        away = self._away(trials)
        return [number for number in ranking.order if number not in away]

    def instead_of(self, number: int) -> list[int | None] | None:
        """What the slot should take in place of this running trial; None if nothing is worth more than to go on.

        A trial without a checkpoint goes on: it could not do so later.
        """
        folder = self._checkpoints(number)
        if not folder.is_dir() or not any(folder.iterdir()):
            return None
        trials = self._begun()
        away = self._away(trials)
        order = [each for each in self._rank(trials, asking=number).order if each not in away]
        return None if number in order[:1] else order

    def settle_rest(self) -> list[int]:
        """Settle the paused trials that are not worth going on with, if no slot trains; those that were settled."""
        if any(slot.trial is not None for slot in self._queue.slots()):
            return []  # what it comes to may change what is worth going on with
        trials = self._begun()
        ranking = self._rank(trials)
        left = [trial.number for trial in trials if is_paused(trial) and trial.number not in ranking.order]
        return self._queue.settle_paused({number: ranking.hopeless.get(number, NOT_THE_BEST) for number in left})

    def _rank(self, trials: list[FrozenTrial], asking: int | None = None) -> Ranking:
        may_begin = self._queue.unbegun() and self._queue.stop_requested() is None
        question = (asking, may_begin, tuple((trial.number, trial.state, trial.last_step) for trial in trials))
        with self._lock:
            if self._answered is None or self._answered[0] != question:
                pace = self._pace_of(trials)
                began = self._clock()
                self._answered = question, self._policy.rank(trials, pace, may_begin=may_begin, asking=asking)
                self._thought_seconds = self._clock() - began
            return self._answered[1]

    def _begun(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _pace_of(self, trials: list[FrozenTrial]) -> Callable[[FrozenTrial], float] | None:
        """What an epoch of a trial takes, in seconds; of one that nobody here has seen train, what it usually does."""
        paces = {trial.number: _pace(trial) or self._paces.get(trial.number, 0.0) for trial in trials}
        known = [pace for pace in paces.values() if pace]
        if not known:
            return None
        usual = median(known)
        return lambda trial: paces.get(trial.number) or usual

    def _away(self, trials: list[FrozenTrial]) -> set[int]:
        """The paused trials whose checkpoint lies on another host where the study is worked on."""
        others = set() if self._follow else self._queue.machines() - {machine()}
        return {trial.number for trial in trials if is_paused(trial) and self._lies_at(trial) in others}

    def _lies_at(self, trial: FrozenTrial) -> str | None:
        """Where it paused last; None if its checkpoint is here: hosts may share a home."""
        told = pauses(trial.user_attrs.get(PAUSES))
        return None if not told or self._checkpoints(trial.number).is_dir() else str(told[-1].get("machine"))


def _pace(trial: FrozenTrial) -> float:
    """As its attributes have it; 0 if they don't."""
    seconds, epochs = (trial.user_attrs.get(name) for name in ("seconds", "epochs_run"))
    return seconds / epochs if is_amount(seconds) and is_whole(epochs) and epochs else 0.0
