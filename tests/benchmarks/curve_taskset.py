"""How well do searches do on curves that nothing here was tuned on, of a loss, with other parameters? TaskSet's.

    python tests/benchmarks/curve_taskset.py --curves FOLDER
    python tests/benchmarks/curve_taskset.py --curves FOLDER --only gp/random --seeds 3 --budgets 5,10,25

FOLDER has six tasks of TaskSet (Metz et al. 2020) as published with the code of DPL (Kadra et al. 2023,
github.com/machinelearningnuremberg/DPL, data/taskset), which are not part of this repository: a `.csv.xz` a task, with
a line for each of 1,000 configurations, its eight hyperparameters and then the validation loss at 51 points of its
training, the first before any step. An empty field is a loss that was not finite.

A search proposes any point; the nearest configuration that it has not had is trained, and the study holds that one's
values. Several workers search by the simulated clock of curve_table.py, on which each point of a curve takes a second.
Printed, of the means over tasks, seeds and the budgets, each the time of so many whole curves: the rank among all that
were run, and the regret, which is how far the lowest loss of a complete trial is from the lowest of all, in parts of
the way there from the median configuration's; last, how many of the best tenth of all configurations begun were pruned,
and what was saved.
"""

from __future__ import annotations

import argparse
import copy
import csv
import lzma
import math
import multiprocessing
import random
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import rankdata

from search.choosing.asking import asking
from search.choosing.pausing import Pausing, Ranking
from search.choosing.proposing import StudyOfLessons, propose
from search.choosing.pruning import build_pruner
from search.choosing.samplers import build_sampler
from search.space.pruners import HyperbandSpec, MedianSpec, NoPruningSpec, PauseSpec, PrunerSpec, ReachSpec
from search.space.samplers import GpSpec, RandomSpec, SamplerSpec, TpeSpec
from search.space.space import SearchSpace

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.curve_sceptics import Promoting, rungs_of
from benchmarks.curve_table import Course, Curve, Job, Searcher, play, quality

optuna.logging.set_verbosity(optuna.logging.ERROR)
Floats = npt.NDArray[np.float64]

BETAS = ("beta1", "beta2")
LEAST = 5e-6
"""What 1 - beta is taken for where its five digits say 0."""
BUDGETS = (5, 10, 25, 50, 100)
"""In whole curves, of all workers together."""
SCEPTICS = {"best tenth after one point": (10, True), "promoting ASHA": (3, False)}
"""See curve_sceptics.py: of how many the best goes on, and whether to its end."""
CONTENDERS: Mapping[str, tuple[SamplerSpec, PrunerSpec]] = {
    "gp, pause": (GpSpec(), PauseSpec()),
    "gp, reach (the default)": (GpSpec(), ReachSpec()),
    "gp, median": (GpSpec(), MedianSpec()),
    "gp, no pruning": (GpSpec(), NoPruningSpec()),
    "tpe, reach": (TpeSpec(), ReachSpec()),
    "tpe, median": (TpeSpec(), MedianSpec()),
    "tpe, hyperband": (TpeSpec(), HyperbandSpec()),
    "random, no pruning": (RandomSpec(), NoPruningSpec()),
}


class Task:
    """A table of curves: `configurations` by what is searched, `losses` of shape (configurations, points)."""

    def __init__(self, name: str, configurations: list[dict[str, float]], losses: Floats) -> None:
        self.name, self.configurations, self.losses = name, configurations, losses
        columns = {key: [each[key] for each in configurations] for key in configurations[0]}
        self.distributions: dict[str, FloatDistribution] = {
            key: FloatDistribution(min(column), max(column), log=True) for key, column in columns.items()
        }
        logs = np.log(np.array(list(columns.values())).T)
        self._low, self._width = logs.min(axis=0), np.ptp(logs, axis=0)
        self._places = (logs - self._low) / self._width
        self.ends = np.array([_end(curve) for curve in losses.tolist()])
        """What each configuration comes to."""

    @property
    def points(self) -> int:
        """How many a curve has."""
        return int(self.losses.shape[1])

    @property
    def top_tenth(self) -> float:
        """The loss up to which a configuration is among the best tenth."""
        return float(np.sort(self.ends)[len(self.ends) // 10])

    def curve(self, values: Mapping[str, Any]) -> Curve:
        """That of the configuration with this `index`."""
        return Curve(1.0, tuple(self.losses[values["index"]].tolist()))

    def by_distance(self, params: Mapping[str, float]) -> list[int]:
        """The configurations, the nearest to `params` first."""
        place = (np.log([params[name] for name in self.distributions]) - self._low) / self._width
        return [int(index) for index in np.argsort(((self._places - place) ** 2).sum(axis=1), kind="stable")]


def _end(losses: Sequence[float]) -> float:
    """What a curve comes to; infinite if it diverges anywhere."""
    return quality(losses) if all(map(math.isfinite, losses)) else math.inf


def load(file: Path) -> Task:
    """The task of a `.csv.xz`."""
    with lzma.open(file, "rt", newline="") as opened:
        lines = list(csv.DictReader(opened))
    configurations = []
    for line in lines:
        values = {name: float(text) for name, text in line.items() if not name.isdigit()}
        apart = {f"one_minus_{name}": max(LEAST, round(1 - values.pop(name), 6)) for name in BETAS}
        configurations.append({**values, **apart})
    points = [name for name in lines[0] if name.isdigit() and name != "0"]
    losses = np.array([[float(line[point] or "nan") for point in points] for line in lines])
    return Task(file.name.removesuffix(".csv.xz"), configurations, losses)


class Nearest(BaseSampler):
    """Proposes the nearest to what another sampler does, of the configurations that are left."""

    def __init__(self, task: Task, inner: BaseSampler, left: set[int], taken: list[int]) -> None:
        self._task, self._inner, self._left, self._taken = task, inner, left, taken

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        del study, trial
        return dict(self._task.distributions)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        asked = asking(self._inner, study, copy.deepcopy(trial), search_space)
        index = next(
            each for each in self._task.by_distance({name: asked(name) for name in search_space}) if each in self._left
        )
        self._left.remove(index)
        self._taken.append(index)
        return self._task.configurations[index]

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise NotImplementedError


class Ours:
    """A search of `play` over a task, by the functions that a run of alexsearch has."""

    def __init__(self, task: Task, seed: int, sampler: SamplerSpec, pruner: PrunerSpec) -> None:
        self._task, self._left = task, set(range(len(task.configurations)))
        ranges = {name: {"low": each.low, "high": each.high, "log": True} for name, each in task.distributions.items()}
        self._space = SearchSpace.from_dict(
            {
                "study": {"name": task.name, "trials": len(task.configurations), "seed": seed},
                "space": ranges,
                "sampler": sampler.model_dump(),
                "train": {"command": ["-"], "metric": "loss", "direction": "minimize", "epochs": task.points},
            }
        )
        storage = optuna.storages.InMemoryStorage()
        made = optuna.create_study(storage=storage, direction="minimize")
        built = build_pruner(pruner, task.points, accuracy=False, epochs_of=self._space.epochs_of)
        self._study = StudyOfLessons(made.study_name, storage, pruner=built)

    def ask(self) -> Job | None:
        if not self._left:
            return None
        storage = self._study._storage
        trial_id = storage.create_new_trial(self._study._study_id)
        number, taken = storage.get_trial(trial_id).number, []  # type: ignore[var-annotated]

        def sampler_of(space: SearchSpace, number: int, seed: int, attempt: int) -> Nearest:
            return Nearest(self._task, build_sampler(space, number, seed, attempt), self._left, taken)

        propose(self._study, trial_id, number, self._space, sampler_of)
        return Job({"index": taken[-1]}, tag=trial_id)

    def report(self, job: Job, epoch: int, loss: float) -> bool:
        if not math.isfinite(loss):
            return False
        self._study._storage.set_trial_intermediate_value(job.tag, epoch, loss)
        return not optuna.Trial(self._study, job.tag).should_prune()

    def done(self, job: Job, losses: Sequence[float], *, stopped: bool) -> None:
        storage = self._study._storage
        if not math.isfinite(losses[-1]):
            storage.set_trial_user_attr(job.tag, "failure", "diverged")
            storage.set_trial_state_values(job.tag, TrialState.FAIL)
            return
        storage.set_trial_intermediate_value(job.tag, len(losses), losses[-1])
        storage.set_trial_state_values(job.tag, TrialState.PRUNED if stopped else TrialState.COMPLETE, [losses[-1]])


class OursPausing(Ours):
    """The same with trials that pause, which wait for their turn as a slot has them do."""

    def __init__(self, task: Task, seed: int, sampler: SamplerSpec, pruner: PrunerSpec) -> None:
        super().__init__(task, seed, sampler, pruner)
        self._space = self._space.model_copy(update={"pruner": pruner})
        self._pausing = Pausing(self._space)
        self._next: Ranking | None = None
        self._jobs: dict[int, Job] = {}

    def ask(self) -> Job | None:
        ranking, self._next = self._next or self._ranked(None), None
        number = ranking.order[0] if ranking.order else None
        if number is None:
            job = super().ask()
            if job is not None:
                self._jobs[self._study._storage.get_trial(job.tag).number] = job
            return job
        trial = self._study.get_trials(deepcopy=False)[number]
        self._study._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
        return Job(self._jobs[number].values, first=(trial.last_step or 0) + 1, tag=trial._trial_id)

    def report(self, job: Job, epoch: int, loss: float) -> bool:
        if not math.isfinite(loss):
            return False
        self._study._storage.set_trial_intermediate_value(job.tag, epoch, loss)
        if epoch not in self._pausing.rungs(self._task.points):
            return True
        number = self._study._storage.get_trial(job.tag).number
        ranking = self._ranked(number)
        if number in ranking.order[:1]:
            return True
        self._next = ranking
        return False

    def done(self, job: Job, losses: Sequence[float], *, stopped: bool) -> None:
        if stopped and math.isfinite(losses[-1]):
            self._study._storage.set_trial_state_values(job.tag, TrialState.WAITING)
        else:
            super().done(job, losses, stopped=stopped)

    def _ranked(self, asking: int | None) -> Ranking:
        trials = self._study.get_trials(deepcopy=False)
        return self._pausing.rank(trials, may_begin=bool(self._left), asking=asking)


def searcher(task: Task, seed: int, name: str) -> Searcher:
    """The contender of this name."""
    if name in SCEPTICS:
        left = list(range(len(task.configurations)))
        random.Random(seed).shuffle(left)
        eta, one = SCEPTICS[name]
        rungs = [1] if one else rungs_of(task.points, eta)
        return Promoting(lambda: {"index": left.pop()} if left else None, rungs, eta, sign=-1.0)
    sampler, pruner = CONTENDERS[name]
    kind = OursPausing if isinstance(pruner, PauseSpec) else Ours
    return kind(task, seed, sampler, pruner)


def lowest(course: Course, moment: float) -> float:
    """The lowest loss of the complete trials by then; infinite if there is none."""
    ends = [trial.quality for trial in course.ended if trial.at <= moment and not trial.stopped]
    return min((end for end in ends if math.isfinite(end)), default=math.inf)


def lost(task: Task, course: Course) -> tuple[int, int]:
    """Of the best tenth of all configurations, how many were not trained to their ends, and how many tried."""
    good: dict[tuple[Any, ...], bool] = {}
    for trial in course.ended:
        if trial.full_quality <= task.top_tenth:
            good[trial.configuration] = good.get(trial.configuration, True) and trial.stopped
    return sum(good.values()), len(good)


class Search(NamedTuple):
    """How one went: a task, a seed and a contender."""

    regrets: list[float]
    """At each budget, in parts of the way from the lowest loss to the median configuration's; at most 1."""
    lost: int
    tried: int
    saved: float
    processor: float
    """Seconds that it took, of which next to all went into thinking."""


def search(task: Task, seed: int, name: str, workers: int, budgets: Sequence[int]) -> Search:
    """One of them."""
    warnings.filterwarnings("ignore")
    began = time.process_time()
    whole = task.points / workers  # what one curve takes, by all of them
    course = play(task, searcher(task, seed, name), workers, max(budgets) * whole)  # type: ignore[arg-type]
    best, middle = float(task.ends.min()), float(np.median(task.ends))
    regrets = [min(1.0, (lowest(course, budget * whole) - best) / (middle - best)) for budget in budgets]
    return Search(regrets, *lost(task, course), course.saved, time.process_time() - began)


def race(
    tasks: Sequence[Task],
    contenders: Sequence[str],
    seeds: int,
    workers: int,
    budgets: Sequence[int],
    processes: int = 1,
) -> list[str]:
    """A line for each contender."""
    rounds = [(task, seed) for seed in range(seeds) for task in tasks]
    # Forked ones would have the threads' locks of this one; a process a search keeps none of another's memory.
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawning, max_tasks_per_child=1) as pool:
        of = {
            pool.submit(search, task, seed, name, workers, budgets): (task.name, seed, name)
            for task, seed in rounds
            for name in contenders
        }
        try:
            for count, future in enumerate(as_completed(of), 1):
                task_name, seed, name = of[future]
                shown = ", ".join(f"{regret:.4f}" for regret in future.result().regrets)
                print(f"{count} of {len(of)}: {task_name}, seed {seed}, {name}: {shown}", file=sys.stderr, flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # hours may be left to do, for nothing
            raise
    of_each = {name: [future.result() for future, made in of.items() if made[2] == name] for name in contenders}
    regrets = np.array([[each.regrets for each in of_each[name]] for name in contenders])
    ranks = rankdata(regrets, axis=0)
    out = [f"{'':28}{'rank':>6}" + "".join(f"{f'at {budget}':>9}" for budget in budgets)]
    out[0] += f"{'regret':>9}{'at the end':>12}{'lost':>8}{'saved':>7}{'CPU s':>7}"
    for name, rank, regret in zip(contenders, ranks, regrets, strict=True):
        found = of_each[name]
        out.append(
            f"{name:28}{rank.mean():6.2f}"
            + "".join(f"{each:9.2f}" for each in rank.mean(axis=0))
            + f"{regret.mean():9.4f}{regret[:, -1].mean():12.4f}"
            f"{sum(each.lost for each in found) / max(1, sum(each.tried for each in found)):8.1%}"
            f"{np.mean([each.saved for each in found]):7.0%}{sum(each.processor for each in found):7.0f}"
        )
    return out


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--only", default="", metavar="A/B", help="only contenders whose name contains A or B")
    parser.add_argument("--seeds", type=int, default=10, help="of each contender on each task, from 0")
    parser.add_argument("--workers", type=int, default=4, help="of each search")
    parser.add_argument("--processes", type=int, default=1, help="so many searches at a time")
    parser.add_argument(
        "--budgets", type=_numbers, default=BUDGETS, metavar="N,N", help="whole curves there is time for"
    )
    arguments = parser.parse_args()
    files = sorted(arguments.curves.glob("*.csv.xz"))
    if not files:
        parser.error(f"{arguments.curves} has no *.csv.xz. --help says where the curves are published.")
    words = [word for word in arguments.only.split("/") if word]
    contenders = [name for name in (*CONTENDERS, *SCEPTICS) if not words or any(word in name for word in words)]
    tasks = [load(file) for file in files]
    lines = race(tasks, contenders, arguments.seeds, arguments.workers, arguments.budgets, arguments.processes)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
