"""Which trial a free worker goes on with: one that was paused, or a new configuration.

A trial is paused at each of its rungs unless nothing promises more than going on with it, and is gone on with as soon
as nothing promises more than it does ("freeze-thaw": Swersky, Snoek and Adams 2014). What a trial promises is the
expected improvement, at its own last epoch, on what the best that has begun is to come to, for each second until then,
by a Gaussian process over the courses of all trials (`search.choosing.curve_model`); a new configuration is judged by
the same process.

A paused trial is a waiting one of Optuna's that has reports.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from search.base.seeds import sampler_seed
from search.choosing.curve_model import CurveModel, Points, fit
from search.choosing.gp import CurveSampler, _expected_improvement, _floor, _worst
from search.choosing.places import Places
from search.space.samplers import GpSpec
from search.space.space import SearchSpace

Floats = npt.NDArray[np.float64]
Seconds = Callable[[FrozenTrial], float]

CANDIDATES, NEIGHBOURS, BEST = 120, 20, 4
"""New configurations that are looked at: all over the space, and around each of so many of the best trials."""
MOST_POINTS = 300
"""So many observations are learnt from at most."""
EVERY = 5
"""One decision in so many goes by rank alone ..."""
FRACTION = 3
"""... and promotes a trial that is among the best so many-th of a rung."""
BY_CHANCE = 3
"""One new configuration in so many is of the sequence that the study begins with, whatever is expected of it."""
MARGIN = 0.3
"""How far below the best a trial may be expected to end, as a share of how far that is above the median of all that was
observed: what is not far from the best is trained to its end."""
SURE = 3.0
"""A trial is without hope if it would stay below that even so many standard deviations above what is expected of it."""


def is_paused(trial: FrozenTrial) -> bool:
    """Whether it waits with what it has learnt so far."""
    return trial.state == TrialState.WAITING and bool(trial.intermediate_values)


@dataclass(frozen=True)
class Ranking:
    """What is worth training, as far as a study has come."""

    order: tuple[int | None, ...]
    """What a free worker should take, best first: the number of a paused trial, or None for a new configuration."""
    until: Mapping[int, int]
    """Of each paused trial, and of the running one that asks: the epoch after which it is judged next."""
    hopeless: Mapping[int, str] = field(default_factory=dict)
    """Paused trials that can no longer be the best, each with the reason in words; only once nothing new may begin."""


class Pausing:
    """The policy of `[pruner] name = "pause"` over the trials of one space."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._places = Places(space)
        self._n_startup = space.sampler.n_startup_trials if isinstance(space.sampler, GpSpec) else 1

    def rungs(self, planned: int) -> tuple[int, ...]:
        """The epochs after which a trial of so many planned ones is judged: 1, 2, 3, 5, 8, 13 and so on."""
        found, ahead = [], (1, 2)
        while ahead[0] < planned:
            found.append(ahead[0])
            ahead = ahead[1], sum(ahead)
        return tuple(found)

    def rank(
        self,
        study_trials: Sequence[FrozenTrial],
        seconds_per_epoch: Seconds | None = None,
        *,
        may_begin: bool,
        asking: int | None = None,
    ) -> Ranking:
        """What to train next, of the trials as a `StudyOfLessons` gives them, all states; the same for the same trials.

        `seconds_per_epoch` tells what an epoch of a trial takes that has reports; without it all take as long. The
        running trial that is `asking` whether to go on is ranked like a paused one: it goes on if it is the first.
        """
        paused = [t for t in study_trials if is_paused(t) or t.number == asking]
        until = {t.number: self._next(t) for t in paused}
        if not paused:
            return Ranking((None,) if may_begin else (), until)
        reports = sum(len(t.intermediate_values) for t in study_trials)
        rng = np.random.default_rng(sampler_seed(self._space.study.seed, reports, 1))
        outlook = Outlook(self._places, study_trials, rng, asking)
        scores = outlook.scores(paused, seconds_per_epoch)
        order: list[int | None] = [t.number for t in sorted(paused, key=lambda t: (-scores[t.number], t.number))]
        hopeless = {} if may_begin else outlook.hopeless(paused)
        order = [number for number in order if number not in hopeless]
        if may_begin:
            begun = sum(bool(t.params) or bool(t.intermediate_values) for t in study_trials)
            new = math.inf if begun < self._n_startup else outlook.score_of_new(seconds_per_epoch)
            ahead = sum(scores[number] >= new for number in order if number is not None)
            order.insert(ahead, None)
        if rng.random() < 1 / EVERY and order and order[0] is not None:
            risen = self._promoted(study_trials, [n for n in order if n is not None], outlook.sign)
            if risen is not None:
                order.remove(risen)
                order.insert(0, risen)
        return Ranking(tuple(order), until, hopeless)

    def _next(self, trial: FrozenTrial) -> int:
        planned = self._space.epochs_of(trial.params)
        return next((rung for rung in self.rungs(planned) if rung > (trial.last_step or 0)), planned)

    def _promoted(self, trials: Iterable[FrozenTrial], paused: Sequence[int], sign: float) -> int | None:
        """Of the `paused` one that is among the best 1 / `FRACTION` of all at the highest rung where one is."""
        trials = list(trials)
        left = {t.number: t for t in trials if t.number in paused}
        for rung in reversed(self.rungs(self._space.max_epochs)):
            there = [t for t in trials if rung in t.intermediate_values]
            there.sort(key=lambda t: (-_goodness(t.intermediate_values[rung], sign), t.number))
            for trial in there[: len(there) // FRACTION]:
                if trial.number in left and trial.last_step == rung:
                    return trial.number
        return None


class Outlook:
    """What is expected of the trials of a study, and of new ones."""

    def __init__(
        self, places: Places, trials: Sequence[FrozenTrial], rng: np.random.Generator, asking: int | None = None
    ) -> None:
        self._places, self._space, self._rng = places, places.space, rng
        self.sign = -1.0 if self._space.direction == "minimize" else 1.0
        self._ages = math.log(max(2, self._space.max_epochs))
        self._trials = [t for t in trials if t.params]
        self._seen = [t for t in self._trials if t.intermediate_values or t.state in _ENDED]
        points, values = self._observations()
        self._values = values
        self._model: CurveModel = fit(points, values, rng)
        ends = self._points((t, self._space.epochs_of(t.params)) for t in self._seen)
        self.best = float(self._model.predict(ends)[0].max())
        """What the best of all is expected to come to, so far as it has been begun."""
        running = [t for t in self._trials if t.state == TrialState.RUNNING and t.number != asking]
        self._believing = self._model.believing(self._points((t, self._space.epochs_of(t.params)) for t in running))

    def scores(self, paused: Sequence[FrozenTrial], seconds: Seconds | None) -> dict[int, float]:
        """The expected improvement of each paused trial a second, by its number."""
        ends = [(t, self._space.epochs_of(t.params)) for t in paused]
        gains = _expected_improvement(*self._believing.predict(self._points(ends)), self.best)
        left = [max(1, end - (t.last_step or 0)) * (seconds(t) if seconds else 1.0) for t, end in ends]
        return {t.number: float(gain / cost) for (t, _), gain, cost in zip(ends, gains, left, strict=True)}

    def score_of_new(self, seconds: Seconds | None) -> float:
        """The same of the best of some new configurations."""
        usual = median(seconds(t) for t in self._trials if t.intermediate_values) if seconds else 1.0
        return self.new()[1] / usual

    def new(self, among: int = 0) -> tuple[dict[str, Any], float]:
        """The new configuration of the largest expected improvement an epoch, or the `among`-th after it, and that."""
        draws = self._places.drawn(self._rng, {}, CANDIDATES)
        means, _ = self._model.predict(self._points((t, self._space.epochs_of(t.params)) for t in self._seen))
        for index in np.argsort(-means, kind="stable")[:BEST]:
            draws += self._places.drawn(self._rng, self._seen[index].params, NEIGHBOURS)
        draws[1:] = [self._places.longest(params) for params in draws[1:]]
        if not self._space.study.repeats:
            tried = [t.params for t in self._trials]
            draws = [params for params in draws if params not in tried] or draws
        if not draws:
            return {}, 0.0
        epochs = np.array([self._space.epochs_of(params) for params in draws])
        places = np.array([self._places.point(params, end) for params, end in zip(draws, epochs.tolist(), strict=True)])
        points = self._at(places, epochs, np.full(len(draws), -1))
        gains = _expected_improvement(*self._believing.predict(points), self.best) / epochs
        chosen = int(np.argsort(-gains, kind="stable")[min(among, len(gains) - 1)])
        return draws[chosen], float(gains[chosen])

    def hopeless(self, paused: Sequence[FrozenTrial]) -> dict[int, str]:
        """Those that would have to end far above what is expected of them to be the best, and why."""
        ends = [(t, self._space.epochs_of(t.params)) for t in paused]
        means, deviations = self._model.predict(self._points(ends))
        margin = MARGIN * (self.best - float(np.median(self._values)))
        reasons = {}
        for (t, end), mean, deviation in zip(ends, means, deviations, strict=True):
            if mean + SURE * deviation < self.best - margin:
                reasons[t.number] = (
                    f"{self.sign * mean:.4g} is expected after epoch {end}, at best "
                    f"{self.sign * (mean + SURE * deviation):.4g}; the best trial has {self.sign * self.best:.4g}"
                )
        return reasons

    def _points(self, ends: Iterable[tuple[FrozenTrial, int]]) -> Points:
        ends = list(ends)
        places = [self._places.point(t.params, epoch) for t, epoch in ends]
        width = len(self._places.point(self._seen[0].params, 1))
        epochs = np.array([max(1, epoch) for _, epoch in ends])
        return self._at(
            np.array(places).reshape(len(ends), width), epochs, np.array([t.number for t, _ in ends], dtype=np.int64)
        )

    def _at(self, places: Floats, epochs: Any, owners: Any) -> Points:
        last = max(2, self._space.max_epochs)
        rises = (1 - (1 + epochs) ** -0.5) / (1 - (1 + last) ** -0.5)
        return Points(places, np.log(epochs) / self._ages, owners, rises, self._places.timed)

    def _observations(self) -> tuple[Points, Floats]:
        """What was seen, the larger the better: of each trial after the last epoch and after halves of it."""
        found: list[tuple[int, FrozenTrial, int, float]] = []
        for trial in self._seen:
            found += [(level, trial, *each) for level, each in enumerate(self._observed(trial))]
        found.sort(key=lambda each: each[0])  # what is latest of each trial first
        if len(self._seen) > MOST_POINTS:
            latest, half = found[: len(self._seen)], MOST_POINTS // 2
            best = sorted(latest, key=lambda each: (-_goodness(each[3], self.sign), each[1].number))[:half]
            found = [*best, *(each for each in latest[-MOST_POINTS:] if each not in best)]
        found = found[:MOST_POINTS]
        goodness = np.array([self.sign * value for *_, value in found])
        finite = goodness[np.isfinite(goodness)]
        values = np.where(np.isfinite(goodness), goodness, _worst(finite) if len(finite) else 0.0)
        return self._points((trial, epoch) for _, trial, epoch, _ in found), np.maximum(values, _floor(values))

    def _observed(self, trial: FrozenTrial) -> list[tuple[int, float]]:
        """Epochs and what was reported after them, the latest first; not a number if it failed for what it was."""
        planned, reported = self._space.epochs_of(trial.params), trial.intermediate_values
        course = [(epoch, reported[epoch]) for epoch in sorted(reported, reverse=True) if epoch <= planned]
        if trial.state == TrialState.COMPLETE or not reported:
            course = [(planned, math.nan if trial.value is None else trial.value), *course]
        taken: list[tuple[int, float]] = []
        for epoch, value in course:
            if not taken or epoch <= taken[-1][0] / 1.5:
                taken.append((epoch, value))
        return taken


class PausingSampler(CurveSampler):
    """Proposes the new configuration that `Pausing` compared the paused trials with, or one as good.

    It plans each for the most epochs, where its schedule does not depend on them: paused after fewer, it tells as much
    as a shorter one would.
    """

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The point of the largest expected improvement an epoch; none while there is little to go by."""
        del search_space
        trials = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number and t.params]
        seen = [t for t in trials if t.intermediate_values or t.state in _ENDED]
        if len(trials) < self._n_startup_trials or len(seen) < 2 or trial.number % BY_CHANCE == 0:
            return self._most_epochs()
        outlook = Outlook(self._places, trials, self._rng)
        params, _ = outlook.new(self._attempt)
        return params

    def _most_epochs(self) -> dict[str, Any]:
        """The number of epochs, where neither a schedule nor a constraint says something about it."""
        fixed = self._places.timed > 1 or self._places.space.constraints is not None
        return {} if fixed else self._places.most_epochs


_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


def _goodness(value: float, sign: float) -> float:
    return sign * value if math.isfinite(value) else -math.inf
