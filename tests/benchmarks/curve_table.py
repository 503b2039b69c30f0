"""Learning curves that were really trained, and a clock that plays a search over them.

`curves/NAME.csv` has one line for each run: its hyperparameters, the seconds its epochs took, and its validation
accuracy after each of them. `curves/NAME.toml` is the search that trained them, `curves/NAME-space.toml` what a replay
searches: the same values, but any learning rate (the nearest one trained counts, by its logarithm) and fewer epochs
too, since the first epochs of a run do not depend on how many follow.

`play` has any searcher search such a table with several workers at once. Nothing is trained and nobody waits: a heap of
the moments at which an epoch ends says whose turn it is.
"""

from __future__ import annotations

import csv
import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean, median
from typing import Any, Protocol

from search.space.files import load_space
from search.space.parameters import Choices, Range, Value, values_of
from search.space.space import SearchSpace

FOLDER = Path(__file__).parent / "curves"
START_SECONDS = 0.2
"""What a trial costs besides its epochs: the second trial of a process, as speed.py measures it on a CPU."""
LAST = 3
"""Of so many last accuracies the mean is what a configuration comes to."""
POLL_SECONDS = 1.0
"""How long a worker for whom there is nothing to do waits before it asks again."""
NOT_A_HYPERPARAMETER = ("seconds",)


@dataclass(frozen=True)
class Curve:
    """One configuration's training."""

    seconds: float
    """Of an epoch, validation included: the median over all runs of this batch size and augmentation."""
    accuracies: tuple[float, ...]
    """Validation accuracy after each epoch."""

    @property
    def quality(self) -> float:
        """What it comes to: see `quality`."""
        return quality(self.accuracies)


def quality(accuracies: Sequence[float]) -> float:
    """The mean of the last `LAST` accuracies.

    Each configuration was trained once, and one accuracy on 2,000 images is off by a point as often as not: the highest
    of some hundred single ones is luck, which no search can be asked to find again.
    """
    return fmean(accuracies[-LAST:])


@dataclass(frozen=True)
class Run:
    """One line of the file."""

    values: Mapping[str, str]
    seconds: float
    accuracies: tuple[float, ...]


class Table:
    """The curves of one space."""

    def __init__(self, name: str, space: SearchSpace, runs: Sequence[Run]) -> None:
        self.name = name
        self.space = space
        self.runs = runs
        self._names = [key for key in runs[0].values if key != "learning_rate"]
        self._by_key: dict[tuple[str, ...], dict[float, Run]] = {}
        costs: dict[tuple[str, str], list[float]] = {}
        for run in runs:
            self._by_key.setdefault(self._key(run.values), {})[float(run.values["learning_rate"])] = run
            costs.setdefault(_costly(run.values), []).append(run.seconds)
        self._seconds = {key: median(seconds) for key, seconds in costs.items()}

    def curve(self, values: Mapping[str, Any]) -> Curve:
        """How a configuration trains, whose `values` have the names and values of TrainConfig."""
        named = {name: str(value) for name, value in values.items()}
        rates = self._by_key[self._key(named)]
        run = rates[min(rates, key=lambda rate: abs(math.log(rate / float(values["learning_rate"]))))]
        return Curve(self._seconds[_costly(named)], run.accuracies[: int(values["epochs"])])

    @cached_property
    def qualities(self) -> list[float]:
        """What every configuration comes to, from low to high."""
        epochs = values_of(self.searched["epochs"], 1000)
        return sorted(self.curve({**run.values, "epochs": count}).quality for run in self.runs for count in epochs)

    @property
    def best(self) -> float:
        """The highest quality there is."""
        return self.qualities[-1]

    @property
    def top_tenth(self) -> float:
        """The quality from which on a configuration is among the best tenth."""
        return self.qualities[min(math.ceil(0.9 * len(self.qualities)), len(self.qualities) - 1)]

    @property
    def longest(self) -> float:
        """The seconds of the longest configuration."""
        return START_SECONDS + self.space.max_epochs * max(self._seconds.values())

    @cached_property
    def searched(self) -> dict[str, Choices | Range]:
        """The hyperparameters that are searched."""
        return {name: p for name, p in self.space.parameters().items() if isinstance(p, (Choices, Range))}

    def _key(self, values: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(values[name] for name in self._names)


def _costly(values: Mapping[str, str]) -> tuple[str, str]:
    return values["batch_size"], values.get("augmentation", "none")


def load_table(name: str, folder: Path = FOLDER) -> Table:
    """The table of `folder`/`name`.csv and `name`-space.toml.

    Raises:
        FileNotFoundError: there is none.
    """
    with (folder / f"{name}.csv").open(newline="") as file:
        lines = list(csv.DictReader(file, restkey="more"))
    runs = []
    for line in lines:
        accuracies = [float(line[key]) for key in line if key.isdigit()]
        values = {key: text for key, text in line.items() if not key.isdigit() and key not in NOT_A_HYPERPARAMETER}
        runs.append(Run(values, float(line["seconds"]), tuple(accuracies)))
    return Table(name, load_space(str(folder / f"{name}-space.toml")), runs)


@dataclass
class Job:
    """What a searcher asks a worker to train."""

    values: dict[str, Value]
    """The hyperparameters, named as in TrainConfig."""
    first: int = 1
    """The epoch it starts with: later than 1 where it goes on from a checkpoint."""
    last: int | None = None
    """The epoch after which it ends, where that is not the last planned one."""
    tag: Any = None
    """Whatever the searcher needs to know it by."""


class Searcher(Protocol):
    """A tool under test. All of it happens in the order of the simulated clock."""

    def ask(self) -> Job | None:
        """What a free worker is to train; None where it has to wait for the others."""

    def report(self, job: Job, epoch: int, accuracy: float) -> bool:
        """Told after each epoch but the last; says whether to go on."""

    def done(self, job: Job, accuracies: Sequence[float], *, stopped: bool) -> None:
        """The job has ended, on its own or `stopped`; `accuracies` are those of all its epochs, from 1."""


@dataclass(frozen=True)
class Ended:
    """A job that has ended."""

    at: float
    """Simulated seconds since the search began."""
    quality: float
    """What it came to, at its planned end or before."""
    full_quality: float
    """What its configuration comes to at its planned end."""
    configuration: tuple[Any, ...]
    stopped: bool
    """Whether it ended before that."""
    seconds: float
    full_seconds: float


@dataclass
class Course:
    """How a search went."""

    ended: list[Ended] = field(default_factory=list)

    def seconds_to(self, target: float) -> float:
        """Until a trial ended with this quality or a higher one; infinite if none did."""
        return min((trial.at for trial in self.ended if trial.quality >= target), default=math.inf)

    def best_at(self, seconds: float) -> float:
        """The highest quality of the trials that ended by then; 0 before the first."""
        return max((trial.quality for trial in self.ended if trial.at <= seconds), default=0.0)

    def pruned_of(self, least: float) -> tuple[int, int]:
        """Of the configurations tried that come to `least` or more, how many were always stopped, and how many tried.

        A configuration that went on later, from its checkpoint or anew, was not lost.
        """
        good: dict[tuple[Any, ...], bool] = {}
        for trial in self.ended:
            if trial.full_quality >= least:
                good[trial.configuration] = good.get(trial.configuration, True) and trial.stopped
        return sum(good.values()), len(good)

    @property
    def saved(self) -> float:
        """The share of the time that all the trials would have taken to their ends."""
        full = sum(trial.full_seconds for trial in self.ended)
        return 1 - sum(trial.seconds for trial in self.ended) / full if full else 0.0


def play(table: Table, searcher: Searcher, workers: int, horizon: float, target: float | None = None) -> Course:
    """The course of `searcher` over `table` for `horizon` simulated seconds, or until a trial ends with `target`."""
    course = Course()
    turns: list[tuple[float, int, int, Job | None, int]] = []  # time, order, worker, its job, the epoch that ends
    order = 0

    def turn(at: float, worker: int, job: Job | None = None, epoch: int = 0) -> None:
        nonlocal order
        order += 1
        heapq.heappush(turns, (at, order, worker, job, epoch))

    for worker in range(workers):
        turn(0.0, worker)
    while turns:
        now, _, worker, job, epoch = heapq.heappop(turns)
        if now > horizon:
            break
        if job is None:
            job = searcher.ask()
            if job is None:
                turn(now + POLL_SECONDS, worker)
            else:
                turn(now + START_SECONDS + table.curve(job.values).seconds, worker, job, job.first)
            continue
        curve = table.curve(job.values)
        last = min(job.last or len(curve.accuracies), len(curve.accuracies))
        if epoch < last and searcher.report(job, epoch, curve.accuracies[epoch - 1]):
            turn(now + curve.seconds, worker, job, epoch + 1)
            continue
        course.ended.append(
            Ended(
                at=now,
                quality=quality(curve.accuracies[:epoch]),
                full_quality=curve.quality,
                configuration=(curve.accuracies, tuple(sorted((k, str(v)) for k, v in job.values.items()))),
                stopped=epoch < len(curve.accuracies),
                seconds=START_SECONDS + (epoch - job.first + 1) * curve.seconds,
                full_seconds=START_SECONDS + (len(curve.accuracies) - job.first + 1) * curve.seconds,
            )
        )
        searcher.done(job, curve.accuracies[:epoch], stopped=epoch < last)
        if target is not None and course.ended[-1].quality >= target:
            break
        turn(now, worker)
    return course
