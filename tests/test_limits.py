"""What ends a study before its trials are used up, over both databases."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from fleet import Fleet, judge
from null_worker import Orders
from optuna.trial import TrialState
from study_maker import OWN_DATA, OWN_SPACE, make_study

from search.run.host import Timeout
from search.space.budget import seconds_of
from search.space.space import SearchSpace
from studies.queue.limits import Limits
from studies.queue.queue import Queue
from studies.record.catalog import open_study
from studies.store.storage import Storage

EPOCH = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5, "learning_rate": 0.1, "seconds": 2.0}


@pytest.fixture
def queue(storage: Storage) -> Queue:
    """Of a study with one complete trial of 0.5 that took 6 seconds, and five that wait."""
    return Queue(storage, make_study(storage, 0.5, trials=6).study_id)


def settle(queue: Queue, state: TrialState, value: float | None) -> None:
    slot = queue.join("cpu")
    taken = queue.take(slot)
    assert taken is not None
    assert queue.settle(slot, taken.trial_id, state, value, {})


def test_no_trial_is_taken_after_the_one_that_reached_the_target(queue: Queue) -> None:
    queue.begin(Limits(target=0.6))
    settle(queue, TrialState.COMPLETE, 0.59)
    settle(queue, TrialState.PRUNED, 0.7)
    assert queue.stopped_by() is None
    settle(queue, TrialState.COMPLETE, 0.6)
    assert queue.take(queue.join("cpu")) is None
    assert queue.stop_requested() == "now"
    assert queue.stopped_by() == "target 0.6 is reached: trial 3 has 0.6000"


def test_patience_counts_all_that_settled_since_the_last_gain(queue: Queue) -> None:
    queue.begin(Limits(patience=2))
    settle(queue, TrialState.COMPLETE, 0.5)  # as good as before is no gain
    settle(queue, TrialState.COMPLETE, 0.6)
    settle(queue, TrialState.PRUNED, 0.7)
    assert queue.stopped_by() is None
    settle(queue, TrialState.FAIL, None)
    assert queue.take(queue.join("cpu")) is None
    assert queue.stopped_by() == ("patience 2 is over: of 2 trials settled since, none is better than trial 2's 0.6000")
    queue.begin(Limits(patience=3))
    assert queue.stopped_by() is None
    settle(queue, TrialState.COMPLETE, 0.6)
    assert queue.reached(Limits(patience=3)) == queue.stopped_by()


def test_small_gains_count_once_they_add_up_to_the_least(storage: Storage) -> None:
    queue = Queue(storage, make_study(storage, trials=9).study_id)
    queue.begin(Limits(patience=3, min_gain=0.02))
    for value in (0.28, 0.29, 0.29, 0.3):
        settle(queue, TrialState.COMPLETE, value)
    assert queue.stopped_by() is None
    for value in (0.31, 0.319, 0.30):
        settle(queue, TrialState.COMPLETE, value)
    assert str(queue.stopped_by()).endswith("none is better by 0.02 than trial 3's 0.3000")


def test_patience_follows_the_direction_and_waits_for_a_first_result(storage: Storage) -> None:
    space = SearchSpace.from_dict({**OWN_SPACE, "study": {"name": "own", "trials": 9}})
    study, _ = open_study(storage, "own", {"space": space.to_dict(), "data": OWN_DATA})
    queue = Queue(storage, study.study_id)
    queue.fill(9)
    queue.begin(Limits(patience=2))
    for _ in range(3):
        settle(queue, TrialState.FAIL, None)
    for value in (7.0, 6.0, 6.5):
        settle(queue, TrialState.COMPLETE, value)
    assert queue.stopped_by() is None
    settle(queue, TrialState.COMPLETE, 6.25)
    assert queue.stopped_by() == "patience 2 is over: of 2 trials settled since, none is better than trial 4's 6"


def test_nothing_is_taken_once_too_little_is_expected_and_what_runs_is_finished(queue: Queue) -> None:
    queue.begin(Limits(until_expected_gain=0.002))
    slot, other = queue.join("cpu"), queue.join("cpu")
    taken = queue.take(slot)
    assert taken is not None
    assert not queue.enough(0.002)
    assert queue.enough(0.0013)
    assert queue.enough(0.0001), "another worker that says so later changes nothing"
    assert queue.stop_requested() == "after"
    assert queue.take(other) is None
    assert queue.settle(slot, taken.trial_id, TrialState.COMPLETE, 0.6, {})
    assert queue.stopped_by() == "gp expects no gain above 0.002: 0.0013"
    queue.begin(Limits(until_expected_gain=0.001))
    assert queue.take(other) is not None


def test_study_without_such_a_limit_never_has_enough(queue: Queue) -> None:
    queue.begin(Limits(target=0.9))
    assert not queue.enough(0.0)


def test_epochs_count_against_the_device_time_while_their_trial_runs(queue: Queue) -> None:
    queue.begin(Limits(max_device_hours=10 / 3600))
    slot = queue.join("cpu")
    taken = queue.take(slot)
    assert taken is not None
    queue.record_epoch(slot, taken.trial_id, {**EPOCH, "epoch": 1})
    assert queue.stop_requested() is None
    assert queue.record_epoch(slot, taken.trial_id, {**EPOCH, "epoch": 2})
    assert queue.stop_requested() == "now"


def test_study_that_goes_on_keeps_its_limits(queue: Queue) -> None:
    queue.begin(Limits(target=0.9))
    queue.request_stop(now=True)
    queue.begin()
    assert queue.stop_requested() is None
    settle(queue, TrialState.COMPLETE, 0.95)
    queue.begin()
    assert queue.stop_requested() == "now"
    assert queue.stopped_by() == "target 0.9 is reached: trial 1 has 0.9500"


def test_limits_are_those_of_the_last_run(queue: Queue) -> None:
    queue.begin(Limits(target=0.4))
    assert queue.take(queue.join("cpu")) is None
    queue.begin(Limits(max_device_hours=1.0))
    assert (queue.stop_requested(), queue.stopped_by()) == (None, None)
    assert queue.take(queue.join("cpu")) is not None


def test_what_is_reached_can_be_asked_before_anything_starts(queue: Queue) -> None:
    assert queue.reached(Limits(target=0.6, max_device_hours=1.0)) is None
    assert queue.reached(Limits(max_device_hours=6 / 3600)) is not None
    assert queue.stopped_by() is None


def test_other_studies_of_the_database_spend_their_own_time(storage: Storage, queue: Queue) -> None:
    make_study(storage, 0.9, 0.9, name="other")
    assert queue.reached(Limits(target=0.8, max_device_hours=7 / 3600)) is None


def test_two_workers_that_reach_a_limit_at_once_agree(queue: Queue) -> None:
    queue.begin(Limits(target=0.6))
    held = [(slot, taken.trial_id) for slot in (queue.join("cpu") for _ in range(3)) if (taken := queue.take(slot))]
    with ThreadPoolExecutor() as pool:
        settled = pool.map(lambda pair: queue.settle(pair[0], pair[1], TrialState.COMPLETE, 0.7, {}), held)
        assert list(settled) == [True] * 3
    assert queue.stop_requested() == "now"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    fleet = Fleet(Orders(url=url, home=tmp_path / "home", log=tmp_path / "log", trials=1, epochs=40))
    yield fleet
    fleet.close()


def test_run_that_times_out_gives_its_trial_back_and_the_next_goes_on(fleet: Fleet) -> None:
    fleet.run(epoch_seconds=0.1, timeout_seconds=1.0)
    (trial,) = judge(fleet).trials
    assert trial.state == TrialState.WAITING
    assert len(trial.intermediate_values) < 40
    fleet.orders = replace(fleet.orders, epoch_seconds=0.0)
    fleet.run()
    verdict = judge(fleet)
    assert verdict.states == {"complete": 1}
    assert verdict.problems == []


def test_timeout_that_is_over_before_the_data_is_read_takes_no_trial(fleet: Fleet) -> None:
    fleet.run(timeout_seconds=1e-6)
    assert judge(fleet).trials[0].state == TrialState.WAITING
    assert fleet.seen("take") == []


def test_signal_that_came_first_is_not_taken_for_a_timeout() -> None:
    stopping = threading.Event()
    late = Timeout(1.0, time.monotonic() - 2.0, stopping)
    stopping.set()
    late.look()
    assert not late.is_over


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("30 min", 1800), ("2h", 7200), ("1h 30m", 5400), ("1h30m", 5400), ("1.5d", 129600)],
)
def test_times_are_read_with_their_units(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "2x", "h", "-2h", "0s", "2h later", "1e3s", "inf h", "999999d"])
def test_time_without_a_unit_or_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        seconds_of(text)
