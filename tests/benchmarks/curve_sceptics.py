"""What a sceptic would try before anything clever, as searchers of curve_table.py's replay: rungs, and rank alone.

* best tenth after one epoch: each configuration for an epoch, and the best of ten to its end. PASHA (Bohdal et al.
  2023) comes near to it where a problem is easy.
* promoting ASHA (Li et al. 2020): rungs at 1, 3, 9 ... epochs; what is among the best third of a rung goes on to the
  next one, from its checkpoint, and only if there is none a new configuration begins.

New configurations are drawn by chance.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.curve_table import Job, Searcher, Table

from search.space.parameters import Choices, Range, values_of


@dataclass
class _Begun:
    """A configuration, and how it went so far."""

    values: dict[str, Any]
    course: Sequence[float] = ()
    runs: bool = True


@dataclass
class Promoting:
    """Goes on with the best `1 / eta` of a rung, from the highest rung down."""

    draw: Callable[[], dict[str, Any] | None]
    """A new configuration; None if there is no other."""
    rungs: Sequence[int]
    """Epochs after which a trial waits for its promotion."""
    eta: int
    sign: float = 1.0
    """-1 for a loss."""
    _begun: list[_Begun] = field(default_factory=list)

    def ask(self) -> Job | None:
        for rung in reversed(self.rungs):
            there = [each for each in self._begun if len(each.course) >= rung]
            there.sort(key=lambda each: -self._goodness(each.course[rung - 1]))
            for each in there[: len(there) // self.eta]:
                if len(each.course) == rung and not each.runs:
                    each.runs = True
                    later = next((next_ for next_ in self.rungs if next_ > rung), None)
                    return Job(each.values, first=rung + 1, last=later, tag=each)
        values = self.draw()
        if values is None:
            return None
        self._begun.append(_Begun(values))
        return Job(values, last=self.rungs[0], tag=self._begun[-1])

    def report(self, job: Job, epoch: int, accuracy: float) -> bool:
        del job, epoch
        return math.isfinite(accuracy)

    def done(self, job: Job, accuracies: Sequence[float], *, stopped: bool) -> None:
        job.tag.course, job.tag.runs = accuracies, stopped  # one that diverged is not gone on with

    def _goodness(self, value: float) -> float:
        return self.sign * value if math.isfinite(value) else -math.inf


def rungs_of(epochs: int, eta: int) -> list[int]:
    """1, eta, eta squared and so on, below so many epochs."""
    return [*itertools.takewhile(lambda rung: rung < epochs, (eta**power for power in itertools.count()))]


def over_table(table: Table, seed: int, eta: int, *, one: bool) -> Promoting:
    """Over a table of curve_table.py: every trial is planned for the most epochs, which the rungs decide about."""
    chance, first = random.Random(seed), table.space.baseline_config(0)
    given = {name: value for name, value in table.space.parameters().items() if value is not None}
    fixed = {name: value for name, value in given.items() if not isinstance(value, (Choices, Range))}
    searched = {name: parameter for name, parameter in table.searched.items() if name != "epochs"}
    pending = [{name: getattr(first, name) for name in searched}] if first else []

    def draw() -> dict[str, Any]:
        chosen = pending.pop() if pending else {name: _drawn(chance, each) for name, each in searched.items()}
        return {**fixed, **chosen, "epochs": table.space.max_epochs}

    return Promoting(draw, [1] if one else rungs_of(table.space.max_epochs, eta), eta)


def _drawn(chance: random.Random, parameter: Choices | Range) -> Any:
    if isinstance(parameter, Choices):
        return chance.choice(parameter.choices)
    if parameter.step is not None:
        return chance.choice(values_of(parameter, 1000))
    if parameter.log:
        return math.exp(chance.uniform(math.log(parameter.low), math.log(parameter.high)))
    return chance.uniform(parameter.low, parameter.high)


CONTENDERS: Mapping[str, Callable[[Table, int], Searcher]] = {
    "best tenth after one epoch": partial(over_table, eta=10, one=True),
    "promoting ASHA": partial(over_table, eta=3, one=False),
}
