"""The trials of a study as sampler, pruner and pages need them, kept in memory and brought up to date at every look."""

from __future__ import annotations

import sqlalchemy as sa
from optuna.storages._cached_storage import _CachedStorage, _StudyInfo
from optuna.storages._rdb import models
from optuna.trial import TrialState

from studies.storage import Storage

LARGEST_ID = 2**31 - 1
MANY = 500
"""More trials than these are read all at once instead of by their ids: a statement has only so many parameters."""


class StartedTrials(_CachedStorage):
    """Optuna's cache without the trials that wait in the queue, of which a sampler has nothing to learn.

    Optuna's own reads every trial after the last finished one anew at each look: with 10,000 trials in the queue that
    was 0.65 s, twice for each trial and once for each report. Here it is one list of ids, and only the trials that
    run or have finished since. What was given back or deleted is forgotten. May be shared by the threads of a process.
    """

    _backend: Storage
    _kept = tuple(state for state in TrialState if state != TrialState.WAITING)
    """Trials in these states are in it."""

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        with self._lock:
            study = self._studies.setdefault(study_id, _StudyInfo())
            states = self._states(study_id)
            known = {trial._trial_id: trial for trial in study.trials.values()}
            for trial_id in known.keys() - states.keys():
                number = study.trials.pop(known[trial_id].number).number
                del self._trial_id_to_study_id_and_number[trial_id]
                del self._study_id_and_number_to_trial_id[study_id, number]
            changed = {
                trial_id
                for trial_id, state in states.items()
                if trial_id not in known or known[trial_id].state != state or state == TrialState.RUNNING
            }
            if len(changed) > MANY:
                trials = self._backend._get_trials(study_id, self._kept, set(), -1)
            elif changed:
                trials = self._backend._get_trials(study_id, None, changed, LARGEST_ID)
            else:
                return
            # Between the two questions a trial may have gone back into the queue.
            self._add_trials_to_cache(study_id, [trial for trial in trials if trial.state in self._kept])

    def _states(self, study_id: int) -> dict[int, TrialState]:
        trial = models.TrialModel
        query = sa.select(trial.trial_id, trial.state).where(trial.study_id == study_id, trial.state.in_(self._kept))
        rows = self._backend.read(lambda session: session.execute(query).all())
        return {trial_id: state for trial_id, state in rows}  # noqa: C416 - a row is a tuple to Python only


class AllTrials(StartedTrials):
    """The same with the trials that wait, for pages that show them; one that went on waiting is not read again."""

    _kept = tuple(TrialState)
