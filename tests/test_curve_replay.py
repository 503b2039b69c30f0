"""The replay of `tests/benchmarks`: its clock and its figures, and what the recorded curves say of our pruner."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path

import pytest
from benchmarks import curve_replay
from benchmarks.curve_collect import write
from benchmarks.curve_ours import Ours
from benchmarks.curve_table import START_SECONDS, Course, Job, Run, Table, load_table, play
from optuna.trial import TrialState, create_trial

from search.space.pruners import ReachSpec
from search.space.samplers import RandomSpec
from search.space.space import SearchSpace

SPACE = SearchSpace.from_dict(
    {
        "study": {"name": "s", "trials": 9},
        "space": {
            "batch_size": {"choices": [8, 16]},
            "learning_rate": {"low": 0.001, "high": 1.0, "log": True},
            "epochs": {"low": 2, "high": 4, "step": 2},
        },
    }
)
GOOD, BAD = (0.1, 0.3, 0.5, 0.7), (0.1, 0.1, 0.2, 0.2)


def table_of() -> Table:
    runs = [
        Run({"batch_size": batch, "learning_rate": rate}, seconds, curve)
        for batch, seconds in (("8", 2.0), ("16", 1.0))
        for rate, curve in (("0.01", BAD), ("0.1", GOOD))
    ]
    return Table("made up", SPACE, runs)


def values_of(batch: int, rate: float, epochs: int = 4) -> dict[str, int | float | str | tuple[int, ...]]:
    return {"batch_size": batch, "learning_rate": rate, "epochs": epochs}


class Scripted:
    """Asks for these jobs in turn, and stops those tagged with an epoch there."""

    def __init__(self, *jobs: Job | None, forever: bool = False) -> None:
        self._jobs: Iterator[Job | None] = cycle(jobs) if forever else iter(jobs)
        self.told: list[tuple[int | None, int, float]] = []
        self.ended: list[tuple[int, bool]] = []

    def ask(self) -> Job | None:
        return next(self._jobs, None)

    def report(self, job: Job, epoch: int, accuracy: float) -> bool:
        self.told.append((job.tag, epoch, accuracy))
        return bool(job.tag != epoch)

    def done(self, job: Job, accuracies: Sequence[float], *, stopped: bool) -> None:
        del job
        self.ended.append((len(accuracies), stopped))


def test_any_learning_rate_counts_as_the_nearest_one_trained() -> None:
    table = table_of()
    assert table.curve(values_of(8, 0.03)).accuracies == BAD
    assert table.curve(values_of(8, 0.04)).accuracies == GOOD
    assert table.curve(values_of(16, 1.0, 2)).accuracies == GOOD[:2]
    assert table.curve(values_of(16, 1.0, 2)).seconds == 1.0
    assert table.best == pytest.approx(0.5)
    assert len(table.qualities) == 8


def test_workers_take_the_time_of_their_epochs_and_the_report_of_the_last_is_not_asked_about() -> None:
    searcher = Scripted(Job(values_of(8, 0.1)), Job(values_of(16, 0.1)))
    course = play(table_of(), searcher, workers=2, horizon=60)
    assert [trial.at for trial in course.ended] == [START_SECONDS + 4, START_SECONDS + 8]
    assert [epoch for _, epoch, _ in searcher.told] == [1, 1, 2, 3, 2, 3]
    assert searcher.ended == [(4, False)] * 2
    assert course.saved == 0.0


def test_what_is_stopped_has_saved_its_other_epochs_and_may_go_on_from_there() -> None:
    jobs = Job(values_of(16, 0.1), tag=2), Job(values_of(16, 0.1), first=3)
    searcher = Scripted(*jobs)
    course = play(table_of(), searcher, workers=1, horizon=60)
    first, second = course.ended
    assert (first.at, second.at) == (START_SECONDS + 2, 2 * START_SECONDS + 4)
    assert (first.stopped, second.stopped) == (True, False)
    assert searcher.ended == [(2, True), (4, False)]
    assert course.saved == pytest.approx(2 / (6 + 2 * START_SECONDS))
    assert course.pruned_of(0.5) == (0, 1)  # it was not lost


def test_best_configurations_that_were_stopped_and_never_went_on_are_counted() -> None:
    jobs = Job(values_of(16, 0.1), tag=2), Job(values_of(8, 0.1)), Job(values_of(8, 0.01), tag=1)
    course = play(table_of(), Scripted(*jobs), workers=1, horizon=60)
    assert course.pruned_of(0.5) == (1, 2)
    assert course.seconds_to(0.5) == course.ended[1].at
    assert course.best_at(course.ended[0].at) == pytest.approx(0.2)
    assert course.best_at(0.0) == 0.0
    assert math.isinf(Course().seconds_to(0.5))


def test_a_worker_without_work_asks_again_and_the_horizon_ends_it() -> None:
    course = play(table_of(), Scripted(None, Job(values_of(16, 0.1)), forever=True), workers=3, horizon=10)
    assert course.ended
    assert max(trial.at for trial in course.ended) <= 10


def test_a_target_ends_it() -> None:
    course = play(table_of(), Scripted(Job(values_of(16, 0.1)), forever=True), workers=1, horizon=1e6, target=0.5)
    assert len(course.ended) == 1


@pytest.mark.parametrize(
    ("name", "runs", "epochs"), [("seed", 64, 24), ("wide", 64, 20), ("brief", 56, 9), ("long", 40, 32)]
)
def test_recorded_curves_are_whole(name: str, runs: int, epochs: int) -> None:
    table = load_table(name)
    assert len(table.runs) == len({tuple(run.values.items()) for run in table.runs}) == runs
    assert table.space.max_epochs == epochs
    assert all(len(run.accuracies) == epochs for run in table.runs)
    assert all(0 <= accuracy <= 1 for run in table.runs for accuracy in run.accuracies)
    assert all(0.5 < run.seconds < 10 for run in table.runs)
    assert 0.4 < table.best < 0.65


@pytest.mark.slow
def test_our_pruner_hardly_ever_loses_one_of_the_best_tenth_and_saves_time() -> None:
    """Of all the trials at random of forty searches over each of the two spaces."""
    pruned = tried = 0
    for name, least in (("seed", 0.3), ("wide", 0.1)):
        table, saved = load_table(name), 0.0
        for seed in range(40):
            course = play(table, Ours(table, seed, ReachSpec(), RandomSpec()), 4, 6 * table.longest)
            lost, begun = course.pruned_of(table.top_tenth)
            pruned, tried, saved = pruned + lost, tried + begun, saved + course.saved / 40
        assert saved > least
    assert tried > 300
    assert pruned <= 0.02 * tried


def test_race_gives_each_tool_its_figures() -> None:
    result = curve_replay.race(table_of(), {"a": Ours}, seeds=2, workers=2, trials=4)
    assert result["a"]["reached"] == 2
    assert result["a"]["seconds"][0] <= result["a"]["seconds"][2]
    assert result["a"]["points_below_best"] == 0.0
    text = "\n".join(curve_replay.lines(table_of(), result, 2, 2))
    assert "4 runs, 8 configurations, the best 0.5000" in text
    assert "2/2" in text


def test_collected_are_the_complete_trials_of_a_study(tmp_path: Path) -> None:
    def trial(state: TrialState, *accuracies: float) -> object:
        attributes = {"config": {"batch_size": 8, "epochs": 2}, "seconds": 3.0, "epochs_run": 2}
        return create_trial(
            state=state,
            value=accuracies[-1],
            intermediate_values=dict(enumerate(accuracies, start=1)),
            user_attrs=attributes,
        )

    trials = [trial(TrialState.COMPLETE, 0.12345, 0.5), trial(TrialState.PRUNED, 0.1)]
    assert write(trials, ["batch_size"], tmp_path / "t.csv") == (1, 2)  # type: ignore[arg-type]
    with (tmp_path / "t.csv").open() as file:
        assert list(csv.reader(file)) == [["batch_size", "seconds", "1", "2"], ["8", "1.5", "0.1235", "0.5"]]
