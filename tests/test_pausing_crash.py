"""Trials that pause under workers that die, are killed, stop and go on: the budget stays exact and nothing is lost."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fleet import Fleet, Verdict, judge
from null_worker import PAUSING_POINTS, Orders

from studies.queue.pausing import PAUSES, pauses
from studies.queue.standing import ATTEMPTS


@pytest.fixture
def fleet(database_url: str, tmp_path: Path) -> Iterator[Fleet]:
    orders = Orders(url=database_url, home=tmp_path / "home", log=tmp_path / "log", trials=8, epochs=4, pruner="pause")
    fleet = Fleet(orders)
    yield fleet
    fleet.close()


def whole(fleet: Fleet) -> Verdict:
    verdict = judge(fleet)
    assert verdict.problems == []
    assert verdict.errors == []
    assert verdict.states.keys() <= {"complete", "pruned"}
    best = max(trial.value for trial in verdict.trials if trial.state.name == "COMPLETE" and trial.value is not None)
    for trial in verdict.trials:
        if trial.state.name == "PRUNED":
            # One whose worker was killed between two rungs waits with its reports as a paused one does.
            assert pauses(trial.user_attrs.get(PAUSES)) or trial.system_attrs.get(ATTEMPTS)
            assert trial.user_attrs["reason"]
    assert best > 0.3
    return verdict


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_workers_pause_trials_go_on_with_them_and_settle_the_rest(fleet: Fleet) -> None:
    fleet.orders = replace(fleet.orders, pauses_best_three=False, sampler="gp")  # as in earnest
    workers = [fleet.start(epoch_seconds=0.01) for _ in range(2)]
    for worker in workers:
        worker.join(120)
    whole(fleet)
    assert fleet.seen("pause")
    thawed = {line["id"] for line in fleet.seen("pause")} & {line["id"] for line in fleet.seen("settle")}
    assert thawed, "at least the best of those that paused went on to its end"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("database_url", "point"),
    [
        *(("sqlite", point) for point in PAUSING_POINTS),
        ("postgres", "pause:middle"),
        ("postgres", "settle_paused:middle"),
    ],
    indirect=["database_url"],
)
def test_worker_that_dies_while_it_pauses_or_settles_loses_nothing(fleet: Fleet, point: str) -> None:
    worker = fleet.start(die_at=point)
    worker.join(120)
    assert worker.exitcode == -signal.SIGKILL
    fleet.run()
    whole(fleet)


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)
def test_workers_killed_at_random_leave_an_exact_budget_of_trials_that_pause(fleet: Fleet) -> None:
    fleet.orders = replace(fleet.orders, trials=16, epoch_seconds=0.05)
    fleet.kill_at_random(5, 3, random.Random(0), (0.3, 0.8))
    for worker in fleet.workers:
        worker.join(120)
    fleet.run()
    whole(fleet)


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_run_that_is_told_to_stop_leaves_paused_trials_for_the_next(fleet: Fleet) -> None:
    worker = fleet.start(epoch_seconds=0.05)
    fleet.wait(lambda: fleet.seen("pause"))
    assert worker.pid
    os.kill(worker.pid, signal.SIGTERM)
    worker.join(60)
    verdict = judge(fleet, to_the_end=False)
    assert verdict.problems == []
    assert any(pauses(trial.user_attrs.get(PAUSES)) for trial in verdict.trials)
    fleet.run()
    whole(fleet)
