"""The replay over TaskSet's curves, on a small task that is made up."""

from __future__ import annotations

import lzma
import math
import random
from pathlib import Path

import pytest
from benchmarks import curve_taskset
from benchmarks.curve_table import play
from benchmarks.curve_taskset import Task

NAMES = ("learning_rate", "beta1", "beta2", "epsilon", "l1", "l2", "linear_decay", "exponential_decay")


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """Forty configurations of six points: the better, the nearer the learning rate is to 0.01; one diverges."""
    chance, lines = random.Random(0), [",".join([*NAMES, *map(str, range(7))])]
    for index in range(40):
        rate = 10 ** chance.uniform(-4, 0)
        others = [round(chance.uniform(0.01, 0.9), 5) for _ in NAMES[1:]]
        losses = [1 / point + abs(math.log10(rate) + 2) for point in range(1, 8)]
        shown = [f"{loss:.5f}" if index or point < 5 else "" for point, loss in enumerate(losses)]
        lines.append(",".join(map(str, [rate, *others, *shown])))
    file = tmp_path / "made-up.csv.xz"
    with lzma.open(file, "wt") as opened:
        opened.write("\n".join(lines) + "\n")
    return curve_taskset.load(file)


def test_loaded_are_all_points_but_the_first(task: Task) -> None:
    assert (task.name, len(task.configurations), task.points) == ("made-up", 40, 6)
    assert math.isinf(task.ends[0])
    assert math.isfinite(task.ends[1:].max())
    assert task.top_tenth == sorted(task.ends)[4]


@pytest.mark.slow
def test_race_gives_a_line_for_each_contender_and_a_column_for_each_budget(task: Task) -> None:
    names = ["random, no pruning", "best tenth after one point", "gp, pause"]
    head, *lines = curve_taskset.race([task], names, seeds=1, workers=2, budgets=(3, 12))
    assert "at 3 " in head
    assert "at 12" in head
    ranks = {name: list(map(float, line[28:].split()[:3])) for name, line in zip(names, lines, strict=True)}
    assert sum(rank[0] for rank in ranks.values()) == pytest.approx(6, abs=0.02)
    # Of twelve whole curves' time, ten curves of one point and the best of them to its end take a seventh.
    assert ranks["best tenth after one point"][2] <= ranks["random, no pruning"][2]


def test_lowest_counts_complete_trials_alone_and_those_that_ended_by_then(task: Task) -> None:
    searcher = curve_taskset.searcher(task, 0, "best tenth after one point")
    course = play(task, searcher, 2, 40.0)  # type: ignore[arg-type]
    complete = [trial for trial in course.ended if not trial.stopped]
    assert complete
    assert len(complete) < len(course.ended)
    first = min(trial.at for trial in complete)
    assert math.isinf(curve_taskset.lowest(course, first - 1))
    assert curve_taskset.lowest(course, 40.0) == min(trial.quality for trial in complete)


@pytest.mark.parametrize("name", ["random, no pruning", "gp, pause", "best tenth after one point"])
def test_search_that_has_begun_all_there_is_waits_for_their_ends(task: Task, name: str) -> None:
    searcher = curve_taskset.searcher(task, 0, name)
    course = play(task, searcher, 2, 10 * 40 * 6.0)  # type: ignore[arg-type]
    assert searcher.ask() is None
    assert len({trial.configuration for trial in course.ended}) == 40
