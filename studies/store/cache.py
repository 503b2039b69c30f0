"""The trials of a study as sampler, pruner and pages need them, kept in memory and brought up to date at every look."""

from __future__ import annotations

import datetime
import math
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import sqlalchemy as sa
from optuna.storages._cached_storage import _CachedStorage, _StudyInfo
from optuna.trial import TrialState

from studies.store.storage import Storage
from studies.store.tables import TRIALS

LARGEST_ID = 2**31 - 1
STATES = {state.name: state for state in TrialState}
MANY = 500
"""More trials than these are read all at once instead of by their ids: a statement has only so many parameters."""
FEW = 32
"""So many running trials are read anew at each look. Each one more has all wait `PAUSE_SECONDS` longer for that, so
that what a look reads does not grow with the hosts that look."""
PAUSE_SECONDS = 0.02


class _Seen(NamedTuple):
    """What a trial was at the last look."""

    number: int
    state: TrialState
    started: datetime.datetime | str | None
    """As the database has it"""

    def other_than(self, before: _Seen) -> bool:
        """Whether it is another trial than `before`: SQLite gives the id of a deleted one to a new one."""
        return self.number != before.number or (before.started is not None and self.started != before.started)


class StartedTrials(_CachedStorage):
    """Optuna's cache without the trials that wait in the queue, of which a sampler has nothing to learn.

    Optuna's own reads every trial after the last finished one anew at each look: with 10,000 trials in the queue that
    was 0.65 s, twice for each trial and once for each report. Here it is one list of ids, and only the trials that
    run or have finished since. What was given back or deleted is forgotten. May be shared by the threads of a process.

    Of more than `FEW` that run, what they told lately may be missing (`get_trial` always has it), their end never.
    """

    _backend: Storage
    _kept = tuple(state for state in TrialState if state != TrialState.WAITING)
    """Trials in these states are in it."""

    def __init__(
        self,
        backend: Storage,
        begun_as: Mapping[str, int] = MappingProxyType({}),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`begun_as`: names that go on meaning these studies' ids, whatever the studies are called by now."""
        super().__init__(backend)
        self._begun_as = begun_as
        self._clock = clock
        self._seen: dict[int, dict[int, _Seen]] = {}
        self._read_at: dict[int, float] = {}
        """Of running trials that have their values"""

    def get_study_id_from_name(self, study_name: str) -> int:
        known = self._begun_as.get(study_name)
        return super().get_study_id_from_name(study_name) if known is None else known

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        with self._lock:
            study = self._studies.setdefault(study_id, _StudyInfo())
            now, before = self._look(study_id), self._seen.get(study_id, {})
            changed = {trial_id for trial_id, seen in now.items() if seen != before.get(trial_id)}
            for trial_id in (before.keys() - now.keys()) | (before.keys() & changed):
                seen = before[trial_id]
                if (trial_id not in now or now[trial_id].other_than(seen)) and seen.number in study.trials:
                    del study.trials[seen.number]
                    del self._trial_id_to_study_id_and_number[trial_id]
                    del self._study_id_and_number_to_trial_id[study_id, seen.number]
            running = [trial_id for trial_id, seen in now.items() if seen.state is TrialState.RUNNING]
            moment, pause = self._clock(), PAUSE_SECONDS * max(0, len(running) - FEW)
            changed |= {each for each in running if not pause or moment - self._read_at.get(each, -math.inf) >= pause}
            if len(changed) > MANY:
                trials = self._backend._get_trials(study_id, self._kept, set(), -1)
            elif changed:
                trials = self._backend._get_trials(study_id, None, changed, LARGEST_ID)
            else:
                trials = []
            # Between the two questions a trial may have gone back into the queue.
            self._add_trials_to_cache(study_id, [trial for trial in trials if trial.state in self._kept])
            self._seen[study_id] = now
            self._read_at |= {trial._trial_id: moment for trial in trials if trial.params}
            if len(self._read_at) > 2 * len(now):
                self._read_at = {each: at for each, at in self._read_at.items() if each in now}

    def _in_it(self) -> sa.ColumnElement[bool]:
        return TRIALS.c.state.in_(self._kept)

    def _look(self, study_id: int) -> dict[int, _Seen]:
        trial = TRIALS.c
        # As texts, where they are kept so: they are only compared, and most of a look was to make something of them.
        state, started_at = sa.type_coerce(trial.state, sa.String), sa.type_coerce(trial.datetime_start, sa.String)
        query = sa.select(trial.trial_id, trial.number, state, started_at)
        query = query.where(trial.study_id == study_id, self._in_it())
        rows = self._backend.read(lambda session: session.execute(query).all())
        return {each: _Seen(number, STATES[name], started) for each, number, name, started in rows if name in STATES}


class BegunTrials(StartedTrials):
    """The same with the trials that wait but have run before: they may have paused, and are not read again until taken.

    One that was given back before its first epoch is among them.
    """

    _kept = tuple(TrialState)

    def _in_it(self) -> sa.ColumnElement[bool]:
        return (TRIALS.c.state != TrialState.WAITING) | TRIALS.c.datetime_start.is_not(None)


class AllTrials(StartedTrials):
    """The same with the trials that wait, for pages that show them; one that went on waiting is not read again."""

    _kept = tuple(TrialState)
