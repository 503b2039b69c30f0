"""Ray Tune's ASHA scheduler with its OptunaSearch as a searcher of curve_table.py's replay.

Both are called as Ray's TuneController and SearchGenerator call them, with neither a cluster nor actors. A trial is
suggested when a worker is free, as with `max_concurrent_trials` set to the number of workers; without that setting, Ray
suggests each trial while the one before it starts, knowing less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import optuna
from benchmarks.curve_table import Job, Searcher, Table

from search.space.parameters import WHOLE, Choices, Range

METRIC = "val_accuracy"

optuna.logging.set_verbosity(optuna.logging.ERROR)


class RayTune:
    """AsyncHyperBandScheduler and OptunaSearch at their defaults, which stop trials and never resume them."""

    def __init__(self, table: Table, seed: int, *, all_epochs: bool) -> None:
        from ray.tune.schedulers import AsyncHyperBandScheduler
        from ray.tune.search.optuna import OptunaSearch

        config: dict[str, Any] = {
            name: _domain(name, parameter) if isinstance(parameter, (Choices, Range)) else parameter
            for name, parameter in table.space.parameters().items()
            if parameter is not None
        }
        searched = set(table.searched)
        if all_epochs:
            config["epochs"] = table.space.max_epochs
            searched.discard("epochs")
        self._fixed = {name: value for name, value in config.items() if name not in searched}
        baseline = {
            name: value for name, value in next(iter(table.space.baseline_params()), {}).items() if name in searched
        }
        self._search = OptunaSearch(points_to_evaluate=[baseline] if baseline else None, seed=seed)
        self._search.set_search_properties(METRIC, "max", config)
        self._scheduler = AsyncHyperBandScheduler(metric=METRIC, mode="max", max_t=table.space.max_epochs)
        self._suggested = 0

    def ask(self) -> Job:
        self._suggested += 1
        trial = SimpleNamespace(trial_id=f"{self._suggested:05}")  # all of a Trial that the scheduler looks at
        values = self._search.suggest(trial.trial_id)
        self._scheduler.on_trial_add(None, trial)
        return Job(self._fixed | values, tag=trial)

    def report(self, job: Job, epoch: int, accuracy: float) -> bool:
        result = _result(epoch, accuracy)
        if self._scheduler.on_trial_result(None, job.tag, result) == self._scheduler.STOP:
            return False  # Ray doesn't give the search this result, only the completion that follows
        self._search.on_trial_result(job.tag.trial_id, result)
        return True

    def done(self, job: Job, accuracies: Sequence[float], *, stopped: bool) -> None:
        epoch, accuracy = len(accuracies), accuracies[-1]
        if not stopped:  # a function that returns has reported its last epoch like all others
            self.report(job, epoch, accuracy)
        self._scheduler.on_trial_complete(None, job.tag, _result(epoch, accuracy))
        self._search.on_trial_complete(job.tag.trial_id, result=_result(epoch, accuracy))


def _result(epoch: int, accuracy: float) -> dict[str, Any]:
    return {"training_iteration": epoch, METRIC: accuracy}


def _domain(name: str, parameter: Choices | Range) -> Any:
    from ray import tune

    if isinstance(parameter, Choices):
        return tune.choice(list(parameter.choices))
    low, high = parameter.low, parameter.high
    if name in WHOLE:  # Ray leaves out the upper bound, except where it quantizes
        first, last, step = int(low), int(high), int(parameter.step or 1)
        return tune.lograndint(first, last + 1) if parameter.log else tune.qrandint(first, last, step)
    if parameter.step is not None:
        return tune.quniform(low, high, parameter.step)
    return tune.loguniform(low, high) if parameter.log else tune.uniform(low, high)


def asha(table: Table, seed: int) -> RayTune:
    """The whole space, epochs included."""
    return RayTune(table, seed, all_epochs=False)


def asha_all_epochs(table: Table, seed: int) -> RayTune:
    """Every trial plans the most epochs there are; ASHA alone decides how many it gets."""
    return RayTune(table, seed, all_epochs=True)


CONTENDERS: Mapping[str, Callable[[Table, int], Searcher]] = {
    "Ray Tune ASHA + OptunaSearch": asha,
    "Ray Tune ASHA + OptunaSearch, all epochs": asha_all_epochs,
}
