"""The pruner of our own: it ends a trial once the best is out of its reach."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.pruners import BasePruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search.choosing.comparable import OverAll, over_no_epochs

Floats = npt.NDArray[np.float64]

_COUNTED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
DEEP = 10.0
"""See `bounded`."""


class ReachPruner(BasePruner):
    """Prunes a trial that would not come near the best, though it gained from here on more than any trial before.

    What follows is said of a metric that is maximised; one that is minimised is judged by its negative.

    At epoch e a trial that plans E epochs has its highest value so far, a. Every other gained something between e and
    E: the rise of its own highest value. With m the largest of those gains, and n the number of trials that were
    trained for E epochs or more, the trial is pruned where

        a + m (1 - confidence) ** (-1 / n) < best - margin.

    A trial that ended before E counts with what it had gained by then, since its gain up to E would not have been
    smaller: else a study whose first long trial learnt nothing would take it that long ones gain nothing, and prune all
    that could show otherwise. m alone is what was seen, not what is possible. Were gains spread evenly up to some t,
    the largest of n would be at most m with probability (m / t) ** n, so t lies below the bound used here with the
    given confidence. So the first trials are judged with caution, later ones by what the study has shown, and a trial
    with few epochs left sooner than one with many. Of accuracies nothing else is compared: neither a trial's rank,
    which gets worse for everybody once a sampler has found the good values, nor what trials of another length came to.

    Under a schedule that depends on the planned epochs, gains are those of trials with the same schedule and as many
    planned epochs, and no other's: what a longer one gained meanwhile is not what this one can.

    Args:
        epochs_of: the planned epochs of a trial with these Optuna params.
        margin: how far below the best a trial may be expected to end, in the metric's own unit; None for a share of the
            spread seen, which is how far the best lies above the median of what the trials came to last.
        margin_share: that share.
        bounded: whether a metric has a worst value that is not far from the others, as accuracies have their 0. If not,
            what is further below the best than `DEEP` times the spread counts as that: else a single loss of 1e6 would
            be a gain that any trial may still make. Nor is then pruned who so far is no worse than half of the n: where
            nearly all stay on a plateau, whoever left it early sets a mark that the good ones reach later.
        confidence: from 0 (the largest gain seen is the largest possible) to below 1.
        n_warmup_steps: no trial is pruned before this epoch.
        n_min_trials: no trial is pruned before so many others, n, were trained as long as it is to be.
        over_all: which schedules depend on the planned epochs (`search.choosing.comparable`).
    """

    def __init__(
        self,
        epochs_of: Callable[[Mapping[str, Any]], int],
        margin: float | None = None,
        margin_share: float = 0.1,
        bounded: bool = True,
        confidence: float = 0.95,
        n_warmup_steps: int = 1,
        n_min_trials: int = 1,
        over_all: OverAll = over_no_epochs,
    ) -> None:
        self._epochs_of = epochs_of
        self._margin = margin
        self._margin_share = margin_share
        self._bounded = bounded
        self._confidence = confidence
        self._n_warmup_steps = n_warmup_steps
        self._n_min_trials = n_min_trials
        self._over_all = over_all

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the best is out of reach for `trial`."""
        sign = -1.0 if study.direction == StudyDirection.MINIMIZE else 1.0
        return self.is_out_of_reach(trial, self.courses(study.get_trials(deepcopy=False, states=_COUNTED), sign))

    def courses(self, trials: Iterable[FrozenTrial], sign: float) -> Courses:
        """What is known of these trials; `sign` is -1.0 for a metric to minimise."""
        return Courses(trials, sign, self._kind)

    @np.errstate(over="ignore")  # losses of 1e308 are far apart
    def is_out_of_reach(self, trial: FrozenTrial, known: Courses) -> bool:
        """The same by what is known of trials, of which `trial` may be one."""
        epoch, planned = trial.last_step, self._epochs_of(trial.params)
        mine = _course(trial, known.sign)
        if epoch is None or epoch < self._n_warmup_steps or epoch >= planned or not mine:
            return False
        others = known.numbers != trial.number
        seen = others & (known.first <= epoch) & known.are_of(self._kind(trial))
        long = seen & (known.last >= planned)
        count = np.count_nonzero(long)
        if not count or count < self._n_min_trials:
            return False
        so_far = max(mine.values())
        at, then = known.highest(epoch), known.highest(planned)
        if not self._bounded and so_far >= np.median(at[long]):
            return False
        ends = known.ends[others]
        best = ends.max()
        spread = best - np.median(ends)
        least = -math.inf if self._bounded or not spread else best - DEEP * spread
        gains = np.maximum(least, then[seen]) - np.maximum(least, at[seen])
        possible = gains.max() * (1 - self._confidence) ** (-1 / count)
        margin = self._margin_share * spread if self._margin is None else self._margin
        return bool(max(least, so_far) + possible < best - margin)

    def _kind(self, trial: FrozenTrial) -> Hashable:
        """The same for trials that may be compared: the schedule and its epochs, where it depends on them."""
        schedule = self._over_all(trial.params)
        return schedule and (schedule, self._epochs_of(trial.params))


class Courses:
    """What trials came to after which epoch, of those that reported a number. The larger, the better.

    All arrays have one element a trial.
    """

    def __init__(self, trials: Iterable[FrozenTrial], sign: float, kind: Callable[[FrozenTrial], Hashable]) -> None:
        """`sign` is -1.0 for a metric to minimise; trials of one `kind` may be compared at the same epoch."""
        self.sign = sign
        found = [(trial, sorted(course.items())) for trial in trials if (course := _course(trial, sign))]
        self.numbers = np.array([trial.number for trial, _ in found], dtype=int)
        self.first = np.array([course[0][0] for _, course in found], dtype=int)
        self.last = np.array([course[-1][0] for _, course in found], dtype=int)
        self.ends = np.array([course[-1][1] for _, course in found])
        self._steps = [[step for step, _ in course] for _, course in found]
        self._tops = [[-math.inf, *itertools.accumulate((value for _, value in course), max)] for _, course in found]
        self._kinds: dict[Hashable, int] = {}
        self._of = np.array([self._kinds.setdefault(kind(trial), len(self._kinds)) for trial, _ in found], dtype=int)
        self._highest: dict[int, Floats] = {}

    def are_of(self, kind: Hashable) -> npt.NDArray[np.bool_]:
        of: npt.NDArray[np.bool_] = self._of == self._kinds.get(kind, -1)
        return of

    def highest(self, epoch: int) -> Floats:
        """The highest of each trial up to this epoch, minus infinity before its first."""
        if epoch not in self._highest:
            until = (bisect_right(steps, epoch) for steps in self._steps)
            self._highest[epoch] = np.array([tops[index] for tops, index in zip(self._tops, until, strict=True)])
        return self._highest[epoch]


def _course(trial: FrozenTrial, sign: float) -> dict[int, float]:
    """What it reported after which epoch, as far as that is a number: the larger, the better."""
    return {step: sign * value for step, value in trial.intermediate_values.items() if math.isfinite(value)}
