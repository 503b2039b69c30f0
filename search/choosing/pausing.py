"""Which trial a free worker goes on with: one that was paused, or a new configuration.

A trial is paused where `reach` would prune it: once the best is out of its reach, by what others gained from there on
(`search.choosing.reach`). It is judged anew whenever somebody is free, and comes first as soon as the best is within
its reach again, because a trial with a slow start showed meanwhile what can be gained. The trials that the study begins
with are all paused after a few epochs, and the best of them goes on first.

A paused trial is a waiting one of Optuna's that has reports.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from search.choosing.comparable import over_all_epochs
from search.choosing.gp import CurveSampler
from search.choosing.reach import ReachPruner, courses
from search.space.pruners import ReachSpec
from search.space.samplers import GpSpec
from search.space.space import SearchSpace

Seconds = Callable[[FrozenTrial], float]

BREADTH, FIRST_RUNG = 2, 2
"""So many times as many trials as the sampler's quasi-random ones are paused after so many epochs, at the start."""


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
        self._sign = -1.0 if space.direction == "minimize" else 1.0
        sampler = space.sampler if isinstance(space.sampler, GpSpec) else GpSpec()
        self._n_startup, self._over_all = sampler.n_startup_trials, over_all_epochs(space)
        accuracy = not space.trains_own
        spec = ReachSpec().for_metric(accuracy=accuracy)
        self._reach = ReachPruner(
            space.epochs_of, spec.margin, spec.margin_share or 0.0, accuracy, over_all=self._over_all
        )

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

        `seconds_per_epoch` tells what an epoch of a trial takes that has reports; of trials that are as good so far the
        one comes first that ends sooner. The running trial that is `asking` whether to go on is ranked like a paused
        one: it goes on if it is the first.
        """
        paused = [t for t in study_trials if is_paused(t) or t.number == asking]
        begun = [t for t in study_trials if t.params]
        paused.sort(key=lambda t: (-self._goodness(t), self._left(t, seconds_per_epoch), t.number))
        until = {t.number: self._next(t) for t in paused}
        out = self._out_of_reach(paused, begun)
        within: list[int | None] = [t.number for t in paused if t.number not in out]
        if not may_begin:
            best = max(map(self._goodness, begun), default=0.0)
            order = _first(asking, within) if asking in within else within
            return Ranking(tuple(order), until, {t.number: self._reason(t, best) for t in paused if t.number in out})
        starting = len(begun) < BREADTH * self._n_startup
        if asking is not None and asking in within and not (starting and until[asking] > FIRST_RUNG):
            within = _first(asking, within)
            starting = False
        order = [None, *within] if starting else [*within, None]
        return Ranking((*order, *(t.number for t in paused if t.number in out)), until)

    def _out_of_reach(self, paused: Sequence[FrozenTrial], begun: Sequence[FrozenTrial]) -> set[int]:
        """The numbers of those for which the best is out of reach; `paused` are sorted, the best first.

        Of trials that differ in nothing else that counts, a better one is not out of reach where a worse one is not.
        """
        known = courses(begun, self._sign)
        alike: dict[tuple[Any, ...], list[FrozenTrial]] = {}
        for trial in paused:
            key = trial.last_step, self._space.epochs_of(trial.params), self._over_all(trial.params)
            alike.setdefault(key, []).append(trial)
        out: set[int] = set()
        for group in alike.values():
            first = bisect_left(group, True, key=lambda t: self._reach.is_out_of_reach(t, known, self._sign))
            out |= {t.number for t in group[first:]}
        return out

    def _goodness(self, trial: FrozenTrial) -> float:
        return max((self._sign * v for v in trial.intermediate_values.values() if math.isfinite(v)), default=-math.inf)

    def _left(self, trial: FrozenTrial, seconds: Seconds | None) -> float:
        left = self._space.epochs_of(trial.params) - (trial.last_step or 0)
        return left * (seconds(trial) if seconds and trial.intermediate_values else 1.0)

    def _next(self, trial: FrozenTrial) -> int:
        planned = self._space.epochs_of(trial.params)
        return next((rung for rung in self.rungs(planned) if rung > (trial.last_step or 0)), planned)

    def _reason(self, trial: FrozenTrial, best: float) -> str:
        return (
            f"{self._sign * self._goodness(trial):.4g} is the best of its {trial.last_step} epochs, and no trial "
            f"gained as much from there on as it would need; the best trial has {self._sign * best:.4g}"
        )


def _first(number: int | None, order: list[int | None]) -> list[int | None]:
    return [number, *(each for each in order if each != number)]


class PausingSampler(CurveSampler):
    """Proposes with the paused trials in view, the same as `CurveSampler` but for two things.

    It plans each for the most epochs, where its schedule does not depend on them: paused after fewer, it tells as much
    as a shorter one would. And what chance may add to a single result promises no gain: near copies of the best would
    else be tried again and again.
    """

    _also = (TrialState.WAITING,)

    def _most_epochs(self) -> dict[str, Any]:
        """The number of epochs, where neither a schedule nor a constraint says something about it."""
        fixed = self._places.timed > 1 or self._places.space.constraints is not None
        return {} if fixed else self._places.most_epochs
