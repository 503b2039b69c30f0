"""A worker that dies at any step of a trial's way loses nothing and blocks nobody."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fleet import Fleet, Verdict, judge
from null_worker import DYING_POINTS, Orders
from optuna.trial import TrialState

from studies.words import failure_of


@pytest.fixture
def fleet(database_url: str, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(Orders(url=database_url, home=tmp_path / "home", log=tmp_path / "log", trials=2, epochs=3))
    yield fleet
    fleet.close()


def dies(fleet: Fleet, point: str, visit: int = 1) -> None:
    crash_after = 1 if point.startswith("give_back") else None
    worker = fleet.start(die_at=point, die_on_visit=visit, crash_after=crash_after)
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL, fleet.evidence()[-3:]


def whole(fleet: Fleet) -> Verdict:
    verdict = judge(fleet)
    assert verdict.problems == []
    assert verdict.errors == []
    assert verdict.states == {"complete": fleet.orders.trials}
    return verdict


# Between two transactions both databases stand alike; inside one they may not.
MIDDLES = [point for point in DYING_POINTS if point.endswith(":middle")]
CASES = [*(("sqlite", point) for point in DYING_POINTS), *(("postgres", point) for point in MIDDLES)]


@pytest.mark.slow
@pytest.mark.parametrize(("database_url", "point"), CASES, indirect=["database_url"])
def test_worker_that_dies_at_any_step_loses_nothing(fleet: Fleet, point: str) -> None:
    if point.startswith("reap"):
        dies(fleet, "record_epoch:after")  # leaves a slot to be reaped
    dies(fleet, point)
    fleet.run()
    verdict = whole(fleet)
    assert verdict.attempts <= 1 + point.startswith("give_back")


@pytest.mark.slow
@pytest.mark.parametrize("point", ["record_epoch:middle", "settle:middle"])
def test_worker_that_dies_is_noticed_by_one_that_is_at_work(fleet: Fleet, point: str) -> None:
    fleet.orders = replace(fleet.orders, epoch_seconds=0.2, trials=3)
    dying = fleet.start(die_at=point)
    fleet.wait(lambda: fleet.seen("take"))
    fleet.run(grace_seconds=6)
    assert dying.exitcode == -signal.SIGKILL
    assert whole(fleet).attempts == 1


@pytest.mark.slow
def test_trial_whose_worker_dies_every_time_fails_for_good_and_the_study_ends(fleet: Fleet) -> None:
    for _ in range(4):
        dies(fleet, "describe:after")
    fleet.run()
    verdict = judge(fleet)
    assert verdict.problems == []
    first, second = verdict.trials
    assert (first.state, second.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert failure_of(first.user_attrs) == "the worker died; the last of 4 crashes"
