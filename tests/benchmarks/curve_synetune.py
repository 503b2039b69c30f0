"""Syne Tune's schedulers as searchers of curve_table.py's replay."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
from benchmarks.curve_table import Job, Searcher, Table

from search.space.parameters import Choices, Range, values_of

METRIC, TIME = "val_accuracy", "epoch"


class SyneTune:
    """A scheduler, called in the order in which Syne Tune's `Tuner` calls it.

    Every trial is planned for the space's largest number of epochs: the schedulers with several fidelities decide
    themselves how long one trains. None of Syne Tune 0.16's pauses a trial by its accuracy, so none resumes one.
    """

    def __init__(self, table: Table, seed: int, baseline: str, **options: Any) -> None:
        with warnings.catch_warnings():  # of optional packages and of syntax that Python no longer likes
            warnings.simplefilter("ignore")
            from syne_tune.backend.trial_status import Trial
            from syne_tune.optimizer import baselines
            from syne_tune.optimizer.scheduler import SchedulerDecision
        logging.getLogger("syne_tune").setLevel(logging.CRITICAL)
        logging.getLogger().setLevel(logging.CRITICAL)  # BORE logs to the root logger
        np.random.seed(seed)  # the global generator draws random configurations, BORE's candidates and brackets
        searched = {name: parameter for name, parameter in table.searched.items() if name != "epochs"}
        first = table.space.baseline_config(0)
        self._scheduler = getattr(baselines, baseline)(
            {name: _domain(parameter) for name, parameter in searched.items()},
            metric=METRIC,
            do_minimize=False,
            random_seed=seed,
            points_to_evaluate=[{name: getattr(first, name) for name in searched}] if first else None,
            **options,
        )
        given = {name: value for name, value in table.space.parameters().items() if value is not None}
        self._fixed: dict[str, Any] = {k: v for k, v in given.items() if not isinstance(v, (Choices, Range))}
        self._fixed["epochs"] = table.space.max_epochs
        self._trial, self._continue = Trial, SchedulerDecision.CONTINUE
        self._started = 0

    def ask(self) -> Job | None:
        with warnings.catch_warnings():  # statsmodels divides by zero where BOHB's good trials share one value
            warnings.simplefilter("ignore")
            suggestion = self._scheduler.suggest()
        if suggestion is None:
            return None
        trial = self._trial(self._started, suggestion.config, datetime.now(UTC))
        self._started += 1
        self._scheduler.on_trial_add(trial)
        return Job({**self._fixed, **suggestion.config}, tag=trial)

    def report(self, job: Job, epoch: int, accuracy: float) -> bool:
        goes_on: bool = self._scheduler.on_trial_result(job.tag, {METRIC: accuracy, TIME: epoch}) == self._continue
        if not goes_on:
            self._scheduler.on_trial_remove(job.tag)
        return goes_on

    def done(self, job: Job, accuracies: Sequence[float], *, stopped: bool) -> None:
        # The last result comes before the news that the trial is complete; ASHA's answer to it is already to stop.
        if not stopped and self.report(job, len(accuracies), accuracies[-1]):
            self._scheduler.on_trial_complete(job.tag, {METRIC: accuracies[-1], TIME: len(accuracies)})


def _domain(parameter: Choices | Range) -> Any:
    from syne_tune.config_space import choice, loguniform, ordinal, uniform

    if isinstance(parameter, Choices):
        return choice(list(parameter.choices))
    if parameter.step is not None:
        return ordinal(list(values_of(parameter, 1000)))
    return (loguniform if parameter.log else uniform)(parameter.low, parameter.high)


def several_fidelities(table: Table, seed: int, baseline: str) -> SyneTune:
    """A scheduler that is told the largest number of epochs and stops trials before it."""
    return SyneTune(table, seed, baseline, time_attr=TIME, max_t=table.space.max_epochs)


CONTENDERS: Mapping[str, Callable[[Table, int], Searcher]] = {
    "Syne Tune ASHA": partial(several_fidelities, baseline="ASHA"),
    "Syne Tune BOHB": partial(several_fidelities, baseline="BOHB"),
    "Syne Tune BORE": partial(SyneTune, baseline="BORE"),
}
