"""KerasTuner's oracles as searchers of curve_table.py's replay.

Called as `Tuner.search` calls them: `create_trial` for an idle tuner, one `update_trial` with the best epoch of those
trained, `end_trial`. Two things differ from a real run. KerasTuner goes on from the weights of the best epoch, the
replay from those of the last: there are no other curves. And the first trial is made the baseline, as for the other
tools: KerasTuner has no such option (not even its defaults come first), but takes over what a trial comes back with.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.curve_table import Job, Searcher, Table

from search.space.parameters import WHOLE, Choices, Range

OBJECTIVE = "val_accuracy"
ENDLESS = 1_000_000
"""Trials, or iterations of Hyperband: the replay's horizon ends the search, not these."""
SEEDS_APART = 100_000
"""Each value sampled takes the next seed: searches with seeds in a row would try each other's configurations."""


class KerasTuner:
    """An oracle, with as many tuners as there are workers."""

    def __init__(self, table: Table, seed: int, name: str, **options: Any) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import keras_tuner

        hyperband = name == "HyperbandOracle"
        given = {key: value for key, value in table.space.parameters().items() if value is not None}
        self._fixed = {key: value for key, value in given.items() if not isinstance(value, (Choices, Range))}
        searched = dict(table.searched)
        if hyperband:  # decides about epochs itself
            self._fixed["epochs"] = table.space.max_epochs
            searched.pop("epochs", None)
        self._baseline = {k: v for k, v in next(iter(table.space.baseline_params()), {}).items() if k in searched}
        self._oracle = getattr(keras_tuner.oracles, name)(
            keras_tuner.Objective(OBJECTIVE, "max"),
            seed=1 + seed * SEEDS_APART,  # 0 means a random one
            hyperparameters=_hyperparameters(keras_tuner.HyperParameters(), searched),
            **options,
        )
        self._oracle.verbose = 0
        self._folder = TemporaryDirectory(prefix="kerastuner-")
        self._oracle._set_project_dir(self._folder.name, name)

    def ask(self) -> Job | None:
        idle = next(tuner for number in count() if (tuner := f"tuner{number}") not in self._oracle.ongoing_trials)
        with warnings.catch_warnings(action="ignore"):  # the Gaussian process' length scale at its bound
            trial = self._oracle.create_trial(idle)
        if trial.status != "RUNNING":
            return None
        values = trial.hyperparameters.values
        if self._baseline:
            values.update(self._baseline)
            self._baseline = {}
        own = {key: value for key, value in values.items() if not key.startswith("tuner/")}
        return Job(self._fixed | own, values.get("tuner/initial_epoch", 0) + 1, values.get("tuner/epochs"), trial)

    def report(self, job: Job, epoch: int, accuracy: float) -> bool:  # noqa: ARG002 - KerasTuner isn't told of epochs
        return True

    def done(self, job: Job, accuracies: Sequence[float], *, stopped: bool) -> None:  # noqa: ARG002 - never stopped
        trained = accuracies[job.first - 1 :]
        best = max(range(len(trained)), key=trained.__getitem__)
        self._oracle.update_trial(job.tag.trial_id, {OBJECTIVE: trained[best]}, step=best)
        job.tag.status = "COMPLETED"
        self._oracle.end_trial(job.tag)


def _hyperparameters(made: Any, searched: Mapping[str, Choices | Range]) -> Any:
    for name, parameter in searched.items():
        if isinstance(parameter, Choices):
            made.Choice(name, list(parameter.choices))
        else:
            kind = made.Int if name in WHOLE else made.Float
            sampling = "log" if parameter.log else "linear"
            kind(name, parameter.low, parameter.high, step=parameter.step, sampling=sampling)
    return made


def hyperband(table: Table, seed: int) -> KerasTuner:
    """Hyperband over the space without epochs, at its defaults."""
    epochs = table.space.max_epochs
    return KerasTuner(table, seed, "HyperbandOracle", max_epochs=epochs, hyperband_iterations=ENDLESS)


def bayesian(table: Table, seed: int) -> KerasTuner:
    """A Gaussian process over the whole space, at its defaults."""
    return KerasTuner(table, seed, "BayesianOptimizationOracle", max_trials=ENDLESS)


CONTENDERS: Mapping[str, Callable[[Table, int], Searcher]] = {
    "KerasTuner Hyperband": hyperband,
    "KerasTuner BayesianOptimization": bayesian,
}
