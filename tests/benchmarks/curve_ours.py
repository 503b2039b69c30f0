"""alexsearch and plain Optuna as searchers of curve_table.py's replay."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from benchmarks.curve_table import Job, Table
from optuna.trial import FrozenTrial, TrialState
from plain_optuna import suggested

from search.choosing.pausing import Pausing, Ranking
from search.choosing.proposing import StudyOfLessons, propose
from search.choosing.pruning import build_pruner, is_spared
from search.space.pruners import PauseSpec, PrunerSpec
from search.space.samplers import SamplerSpec
from search.space.space import SearchSpace

optuna.logging.set_verbosity(optuna.logging.ERROR)


class Ours:
    """What a run of alexsearch does, with the same functions: sampling, taking over of results, fair pruning."""

    def __init__(
        self,
        table: Table,
        seed: int,
        pruner: PrunerSpec | None = None,
        sampler: SamplerSpec | None = None,
        enough: Callable[[float], bool] = lambda gain: False,  # noqa: ARG005
    ) -> None:
        self._enough = enough
        changes: dict[str, Any] = {"study": table.space.study.model_copy(update={"seed": seed})}
        changes |= {"pruner": pruner} if pruner else {}
        changes |= {"sampler": sampler} if sampler else {}
        self._space: SearchSpace = table.space.model_copy(update=changes)
        storage = optuna.storages.InMemoryStorage()
        made = optuna.create_study(storage=storage, direction="maximize")
        self._study = StudyOfLessons(
            made.study_name, storage, pruner=build_pruner(self._space.pruner, self._space.max_epochs)
        )
        self._first = self._space.baseline_params()

    def ask(self) -> Job:
        while True:
            trial_id = self._begun()
            number = self._study._storage.get_trial(trial_id).number
            proposal = propose(self._study, trial_id, number, self._space, enough=self._enough)
            if proposal.twin is None:
                values = proposal.config.model_dump(mode="json", exclude_none=True)
                return Job(values, tag=(trial_id, proposal.config))
            self._study._storage.set_trial_state_values(trial_id, TrialState.COMPLETE, proposal.twin.values)

    def _begun(self) -> int:
        """The id of a new trial; Optuna's own `ask` would take a paused one for one."""
        storage = self._study._storage
        trial_id = storage.create_new_trial(self._study._study_id)
        if self._first:
            storage.set_trial_system_attr(trial_id, "fixed_params", self._first.pop(0))
        return trial_id

    def report(self, job: Job, epoch: int, accuracy: float) -> bool:
        trial_id, config = job.tag
        self._study._storage.set_trial_intermediate_value(trial_id, epoch, accuracy)
        if is_spared(self._space.pruner, config, epoch):
            return True
        return not optuna.Trial(self._study, trial_id).should_prune()

    def done(self, job: Job, accuracies: Sequence[float], *, stopped: bool) -> None:
        storage, (trial_id, _) = self._study._storage, job.tag
        storage.set_trial_intermediate_value(trial_id, len(accuracies), accuracies[-1])
        state = TrialState.PRUNED if stopped else TrialState.COMPLETE
        storage.set_trial_state_values(trial_id, state, [accuracies[-1]])


class OursPausing(Ours):
    """A run with `[pruner] name = "pause"`: every free worker takes what is ranked first, as a slot does."""

    def __init__(self, table: Table, seed: int, sampler: SamplerSpec | None = None, begin: int | None = None) -> None:
        super().__init__(table, seed, PauseSpec(), sampler)
        self._pausing, self._table = Pausing(self._space), table
        self._left = math.inf if begin is None else begin
        self._next: Ranking | None = None
        self._configs: dict[int, Any] = {}
        self.decided: list[float] = []
        """Seconds that each decision took."""

    def ask(self) -> Job | None:  # type: ignore[override]
        ranking, self._next = self._next or self._ranked(None), None
        number = ranking.order[0] if ranking.order else -1
        if number == -1:
            return None
        if number is None:
            self._left -= 1
            job = super().ask()
            self._configs[job.tag[0]] = job.tag[1]
            return job
        trial = self._study.get_trials(deepcopy=False)[number]
        self._study._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
        config = self._configs[trial._trial_id]
        values = config.model_dump(mode="json", exclude_none=True)
        return Job(values, first=(trial.last_step or 0) + 1, tag=(trial._trial_id, config))

    def report(self, job: Job, epoch: int, accuracy: float) -> bool:
        trial_id, config = job.tag
        self._study._storage.set_trial_intermediate_value(trial_id, epoch, accuracy)
        if epoch not in self._pausing.rungs(config.epochs):
            return True
        number = self._study._storage.get_trial(trial_id).number
        ranking = self._ranked(number)
        if ranking.order and ranking.order[0] == number:
            return True
        self._next = ranking
        return False

    def done(self, job: Job, accuracies: Sequence[float], *, stopped: bool) -> None:
        if stopped:
            self._study._storage.set_trial_state_values(job.tag[0], TrialState.WAITING)
        else:
            super().done(job, accuracies, stopped=False)

    def _ranked(self, asking: int | None) -> Ranking:
        began = time.perf_counter()
        trials = self._study.get_trials(deepcopy=False)
        ranking = self._pausing.rank(trials, self._seconds, may_begin=self._left > 0, asking=asking)
        self.decided.append(time.perf_counter() - began)
        return ranking

    def _seconds(self, trial: FrozenTrial) -> float:
        config = self._space.config(trial.params, 0)
        return self._table.curve(config.model_dump(mode="json", exclude_none=True)).seconds


class PlainOptuna:
    """Optuna as its examples use it: everything at its default, or a sampler and pruner of its own."""

    def __init__(
        self,
        table: Table,
        seed: int,
        pruner: optuna.pruners.BasePruner | None = None,
        sampler: optuna.samplers.BaseSampler | None = None,
    ) -> None:
        self._space = table.space
        self._study = optuna.create_study(
            direction="maximize",
            sampler=sampler or optuna.samplers.TPESampler(seed=seed),
            pruner=pruner or optuna.pruners.MedianPruner(),
        )
        for baseline in self._space.baseline_params():
            self._study.enqueue_trial(baseline)

    def ask(self) -> Job:
        trial = self._study.ask()
        config = suggested(self._space, trial)
        return Job(config.model_dump(mode="json", exclude_none=True), tag=trial)

    def report(self, job: Job, epoch: int, accuracy: float) -> bool:
        job.tag.report(accuracy, epoch)
        return not job.tag.should_prune()

    def done(self, job: Job, accuracies: Sequence[float], *, stopped: bool) -> None:
        if stopped:
            self._study.tell(job.tag, state=TrialState.PRUNED)
        else:
            job.tag.report(accuracies[-1], len(accuracies))
            self._study.tell(job.tag, accuracies[-1])


def random_search(table: Table, seed: int) -> PlainOptuna:
    """Every trial by itself and to its end."""
    return PlainOptuna(table, seed, optuna.pruners.NopPruner(), optuna.samplers.RandomSampler(seed))
