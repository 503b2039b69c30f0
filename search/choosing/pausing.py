"""Which trial a free worker goes on with: one that was paused, or a new configuration.

Of an accuracy, a trial is paused where `reach` would prune it: once the best is out of its reach, by what others gained
from there on (`search.choosing.reach`). It is judged anew whenever somebody is free, and comes first as soon as the
best is within its reach again, because a trial with a slow start showed meanwhile what can be gained. The trials that
the study begins with are all paused after a few epochs, and the best of them goes on first.

Any other metric has no scale of which that could be said, and often no bound, so there ranks decide: a trial is judged
after 1, 10, 100 epochs, and goes on while it is among the best tenth of those that came so far, or the best of them.
That is successive halving (Jamieson and Talwalkar 2016) without brackets, as ASHA promotes (Li et al. 2020), except
that the best of a rung need not wait for nine others.

Once nothing new may begin, `reach` alone says who may still be the best, whatever the metric.

A paused trial is a waiting one of Optuna's that has reports.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from search.choosing.comparable import over_all_epochs
from search.choosing.gp import CurveSampler
from search.choosing.reach import ReachPruner
from search.space.pruners import ReachSpec
from search.space.samplers import GpSpec
from search.space.space import SearchSpace

Seconds = Callable[[FrozenTrial], float]
Trials = Sequence[FrozenTrial]

BREADTH, FIRST_LOOK = 2, 2
"""So many times as many trials as the sampler's quasi-random ones are paused after so many epochs, at the start."""
SHARE = 10
"""Of a metric that is no accuracy: one of so many goes on, to so many times as many epochs."""


def is_paused(trial: FrozenTrial) -> bool:
    """Whether it waits with what it has learnt so far."""
    return trial.state == TrialState.WAITING and bool(trial.intermediate_values)


@dataclass(frozen=True)
class Ranking:
    """What is worth training, as far as a study has come."""

    order: tuple[int | None, ...]
    """What a free worker should take, best first: the number of a paused trial, or None for a new configuration."""
    hopeless: Mapping[int, str] = field(default_factory=dict)
    """Paused trials that can no longer be the best, each with the reason in words; only once nothing new may begin."""


class Pausing:
    """The policy of `[pruner] name = "pause"` over the trials of one space."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._sign = -1.0 if space.direction == "minimize" else 1.0
        self._reach = _ByReach(space, self._sign)
        self._judge: _ByReach | _ByRank = _ByRank(space, self._sign) if space.trains_own else self._reach

    def rungs(self, planned: int) -> tuple[int, ...]:
        """The epochs after which a trial of so many planned ones is judged, as the module says."""
        return self._judge.rungs(planned)

    def rank(
        self,
        study_trials: Trials,
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
        paused.sort(key=lambda t: (-_goodness(t, self._sign), self._left(t, seconds_per_epoch), t.number))
        judge = self._judge if may_begin else self._reach
        worth: list[int | None] = [*judge.worth(paused, begun)]
        going = set(worth)
        rest = [t for t in paused if t.number not in going]
        if not may_begin:
            best = max((_goodness(t, self._sign) for t in begun), default=0.0)
            order = _first(asking, worth) if asking in going else worth
            return Ranking(tuple(order), {t.number: self._reason(t, best) for t in rest})
        starting = len(begun) < judge.at_the_start
        looked = any(t.number == asking and (t.last_step or 0) >= judge.first_look for t in paused)
        if asking is not None and asking in going and not (starting and looked):
            worth = _first(asking, worth)
            starting = False
        order = [None, *worth] if starting else [*worth, None]
        return Ranking((*order, *(t.number for t in rest)))

    def _left(self, trial: FrozenTrial, seconds: Seconds | None) -> float:
        left = self._space.epochs_of(trial.params) - (trial.last_step or 0)
        return left * (seconds(trial) if seconds and trial.intermediate_values else 1.0)

    def _reason(self, trial: FrozenTrial, best: float) -> str:
        return (
            f"{self._sign * _goodness(trial, self._sign):.4g} is the best of its {trial.last_step} epochs, and no "
            f"trial gained as much from there on as it would need; the best trial has {self._sign * best:.4g}"
        )


class _ByReach:
    """Those go on that are within reach of the best."""

    first_look = FIRST_LOOK

    def __init__(self, space: SearchSpace, sign: float) -> None:
        self._space, self._sign, self._over_all = space, sign, over_all_epochs(space)
        sampler = space.sampler if isinstance(space.sampler, GpSpec) else GpSpec()
        self.at_the_start = BREADTH * sampler.n_startup_trials
        accuracy = not space.trains_own
        spec = ReachSpec().for_metric(accuracy=accuracy)
        self._reach = ReachPruner(
            space.epochs_of, spec.margin, spec.margin_share or 0.0, accuracy, over_all=self._over_all
        )

    def rungs(self, planned: int) -> tuple[int, ...]:
        """1, 2, 3, 5, 8, 13 and so on."""
        found, ahead = [], (1, 2)
        while ahead[0] < planned:
            found.append(ahead[0])
            ahead = ahead[1], sum(ahead)
        return tuple(found)

    def worth(self, paused: Trials, begun: Trials) -> list[int]:
        """The numbers of those that are to go on, of `paused`, which are sorted, the best first.

        Of trials that differ in nothing else that counts, a better one is not out of reach where a worse one is not.
        """
        known = self._reach.courses(begun, self._sign)
        alike: dict[tuple[Any, ...], list[FrozenTrial]] = {}
        for trial in paused:
            key = trial.last_step, self._space.epochs_of(trial.params), self._over_all(trial.params)
            alike.setdefault(key, []).append(trial)
        out: set[int] = set()
        for group in alike.values():
            first = bisect_left(group, True, key=lambda t: self._reach.is_out_of_reach(t, known))
            out |= {t.number for t in group[first:]}
        return [t.number for t in paused if t.number not in out]


class _ByRank:
    """Those go on that are among the best tenth of a rung, or its best."""

    at_the_start, first_look = SHARE, 1

    def __init__(self, space: SearchSpace, sign: float) -> None:
        self._space, self._sign, self._over_all = space, sign, over_all_epochs(space)

    def rungs(self, planned: int) -> tuple[int, ...]:
        """1, 10, 100 and so on."""
        return tuple(itertools.takewhile(lambda rung: rung < planned, (SHARE**power for power in itertools.count())))

    def worth(self, paused: Trials, begun: Trials) -> list[int]:
        """The numbers of those that are to go on, from the highest rung down, the best of each first."""
        rungs = self.rungs(self._space.max_epochs)
        # One that training did not wait for, or that a run gave back when it was stopped, may be beyond its rung.
        at = {t.number: max((rung for rung in rungs if rung <= (t.last_step or 0)), default=0) for t in paused}
        found: list[int] = []
        for rung in reversed(rungs):
            there: dict[Any, list[tuple[float, int]]] = {}
            for trial in begun:
                if (trial.last_step or 0) >= rung:
                    there.setdefault(self._like(trial), []).append((-_goodness(trial, self._sign, rung), trial.number))
            for alike in there.values():
                best = sorted(alike)[: max(1, len(alike) // SHARE)]
                found += [number for _, number in best if at.get(number) == rung]
        return found

    def _like(self, trial: FrozenTrial) -> Any:
        """The same for trials that may be compared at the same epoch."""
        schedule = self._over_all(trial.params)
        return schedule and (schedule, self._space.epochs_of(trial.params))


def _goodness(trial: FrozenTrial, sign: float, until: float = math.inf) -> float:
    """The best up to this epoch: the larger, the better."""
    reported = trial.intermediate_values.items()
    return max((sign * value for at, value in reported if at <= until and math.isfinite(value)), default=-math.inf)


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
