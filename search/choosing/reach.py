"""The pruner of our own: it ends a trial once the best is out of its reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search.choosing.comparable import OverAll, over_no_epochs

Courses = Sequence[tuple[FrozenTrial, Mapping[int, float]]]

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
        trials = study.get_trials(deepcopy=False, states=_COUNTED)
        return self.is_out_of_reach(trial, courses(trials, sign), sign)

    def is_out_of_reach(self, trial: FrozenTrial, known: Courses, sign: float) -> bool:
        """The same by the `courses` of trials, of which `trial` may be one; `sign` is -1.0 for a metric to minimise."""
        epoch, planned = trial.last_step, self._epochs_of(trial.params)
        if epoch is None or epoch < self._n_warmup_steps or epoch >= planned:
            return False
        found = [(other, course) for other, course in known if other.number != trial.number]
        others = [course for _, course in found]
        mine = _course(trial, sign)
        compared = [course for other, course in found if self._compares(trial, other)]
        long = [course for course in compared if max(course) >= planned and min(course) <= epoch]
        if len(long) < self._n_min_trials or not mine:
            return False
        so_far = _highest(mine, epoch)
        if not self._bounded and so_far >= median(_highest(course, epoch) for course in long):
            return False
        ends = [course[max(course)] for course in others]
        spread = max(ends) - median(ends)
        least = -math.inf if self._bounded or not spread else max(ends) - DEEP * spread
        seen = [course for course in compared if min(course) <= epoch]
        gains = [max(least, _highest(course, planned)) - max(least, _highest(course, epoch)) for course in seen]
        possible: float = max(gains) * (1 - self._confidence) ** (-1 / len(long))
        margin = self._margin_share * spread if self._margin is None else self._margin
        return max(least, so_far) + possible < max(ends) - margin

    def _compares(self, trial: FrozenTrial, other: FrozenTrial) -> bool:
        schedule = self._over_all(trial.params)
        if schedule != self._over_all(other.params):
            return False
        return not schedule or self._epochs_of(trial.params) == self._epochs_of(other.params)


def courses(trials: Iterable[FrozenTrial], sign: float) -> Courses:
    """Each trial that reported a number, and its course: the larger, the better."""
    return [(trial, course) for trial in trials if (course := _course(trial, sign))]


def _course(trial: FrozenTrial, sign: float) -> dict[int, float]:
    """What it reported after which epoch, as far as that is a number: the larger, the better."""
    return {step: sign * value for step, value in trial.intermediate_values.items() if math.isfinite(value)}


def _highest(course: Mapping[int, float], epoch: int) -> float:
    """The highest value up to this epoch."""
    return max(value for step, value in course.items() if step <= epoch)
