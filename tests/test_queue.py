"""The queue's contract, over both databases."""

from __future__ import annotations

import multiprocessing
import random
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import optuna
import psutil
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState

import studies.queue.process
from studies.queue.limits import Limits
from studies.queue.queue import Queue
from studies.queue.standing import GRACE_SECONDS, RETRIES
from studies.queue.undertaker import Undertaker
from studies.record.cost import ledger
from studies.store.opening import open_storage
from studies.store.schema import EPOCHS, SLOTS
from studies.store.tables import REPORTS, TRIALS


@pytest.fixture
def study(database_url: str) -> optuna.Study:
    return optuna.create_study(study_name="s", storage=open_storage(database_url), direction="maximize")


@pytest.fixture
def queue(study: optuna.Study, database_url: str) -> Queue:
    return Queue(open_storage(database_url), study._study_id)


def metrics(epoch: int, val_accuracy: float) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "loss": 1.0,
        "accuracy": 0.5,
        "val_loss": 1.1,
        "val_accuracy": val_accuracy,
        "learning_rate": 0.01,
        "seconds": 2.0,
    }


def test_fill_reaches_the_total_once_and_a_larger_one_adds(queue: Queue) -> None:
    assert queue.fill(5) == 5
    assert queue.fill(5) == 0
    assert queue.fill(3) == 0
    assert queue.fill(7) == 2
    assert queue.counts().budget == 7


def test_baselines_are_the_first_trials_and_their_values_are_what_optuna_suggests(
    queue: Queue, study: optuna.Study
) -> None:
    queue.fill(3, [{"x": 0.25}, {"x": 0.5}])
    for number, value in enumerate((0.25, 0.5)):
        taken = queue.take(queue.join("cpu"))
        assert taken is not None
        assert taken.number == number
        study.get_trials()
        assert optuna.Trial(study, taken.trial_id).suggest_float("x", 0, 1) == value
    assert queue.fill(1, [{"x": 0.75}]) == 0


def test_trials_are_taken_in_order_until_none_waits(queue: Queue) -> None:
    queue.fill(2)
    first, second, third = (queue.join("cpu") for _ in range(3))
    numbers = [taken.number for slot in (first, second) if (taken := queue.take(slot))]
    assert numbers == [0, 1]
    assert queue.take(third) is None


def test_taking_again_returns_the_trial_that_the_slot_already_holds(queue: Queue) -> None:
    queue.fill(2)
    slot = queue.join("cpu")
    assert queue.take(slot) == queue.take(slot)
    assert queue.counts().running == 1


def test_epoch_is_recorded_as_metrics_and_as_optunas_report(queue: Queue, study: optuna.Study) -> None:
    queue.fill(1)
    slot = queue.join("cpu")
    taken = queue.take(slot)
    assert taken is not None
    assert queue.record_epoch(slot, taken.trial_id, metrics(1, 0.3))
    assert queue.record_epoch(slot, taken.trial_id, metrics(2, 0.4))
    assert queue.record_epoch(slot, taken.trial_id, metrics(2, 0.4))  # repeated: its answer was lost on the way
    assert study.trials[0].intermediate_values == {1: 0.3, 2: 0.4}
    with queue.storage.engine.connect() as connection:
        assert connection.execute(sa.select(EPOCHS.c.epoch, EPOCHS.c.val_accuracy)).all() == [(1, 0.3), (2, 0.4)]


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED])
def test_settled_trial_keeps_value_attributes_and_reports(queue: Queue, study: optuna.Study, state: TrialState) -> None:
    queue.fill(1)
    slot = queue.join("cpu")
    taken = queue.take(slot)
    assert taken is not None
    queue.record_epoch(slot, taken.trial_id, metrics(1, 0.3))
    assert queue.settle(slot, taken.trial_id, state, 0.3, {"seconds": 2.0, "config": {"epochs": 1}})
    trial = study.trials[0]
    assert (trial.state, trial.value) == (state, 0.3)
    assert trial.user_attrs == {"seconds": 2.0, "config": {"epochs": 1}}
    assert trial.intermediate_values == {1: 0.3}
    assert trial.duration is not None
    assert queue.take(slot) is None


def test_trial_given_back_waits_again_with_its_number_and_reports(queue: Queue, study: optuna.Study) -> None:
    queue.fill(1)
    slot = queue.join("cpu")
    taken = queue.take(slot)
    assert taken is not None
    queue.record_epoch(slot, taken.trial_id, metrics(1, 0.3))
    assert queue.give_back(slot, taken.trial_id, crashed=False)
    assert queue.counts().waiting == 1
    assert study.trials[0].intermediate_values == {1: 0.3}
    assert queue.take(slot) == taken
    assert queue.counts().retried == 0


def test_crashing_trial_is_retried_and_then_fails_for_good_counted_once(queue: Queue, study: optuna.Study) -> None:
    queue.fill(1)
    slot = queue.join("cpu")
    for attempt in range(RETRIES + 1):
        taken = queue.take(slot)
        assert taken is not None
        assert taken.attempt == attempt
        assert queue.give_back(slot, taken.trial_id, crashed=True, reason="killed by signal 9")
    assert queue.take(slot) is None
    counts = queue.counts()
    assert (counts.failed, counts.settled, counts.budget, counts.retried) == (1, 1, 1, RETRIES)
    assert "killed by signal 9" in study.trials[0].user_attrs["reason"]


def crash(queue: Queue, slot: str, times: int) -> None:
    for _ in range(times):
        taken = queue.take(slot)
        assert taken is not None
        queue.give_back(slot, taken.trial_id, crashed=True, reason="killed")


def test_failed_trial_is_put_back_with_its_epochs_and_none_of_its_failure(queue: Queue, study: optuna.Study) -> None:
    queue.fill(3)
    slot = queue.join("cpu")
    taken = queue.take(slot)
    assert taken is not None
    queue.record_epoch(slot, taken.trial_id, metrics(1, 0.4))
    ended = {"failure": "diverged", "reason": "nan", "seconds": 2.0, "epochs_run": 1, "config": {"epochs": 3}}
    queue.settle(slot, taken.trial_id, TrialState.FAIL, None, ended)
    crash(queue, slot, RETRIES + 1)  # trial 1
    assert (queue.counts().failed, queue.counts().retried) == (2, RETRIES)
    queue.retry([1])
    queue.retry([1])  # as after a lost answer
    assert (queue.counts().failed, queue.counts().waiting, queue.counts().retried) == (1, 2, 0)
    queue.retry([0, 1, 2])
    assert queue.counts().waiting == 3
    first, second, _ = study.trials
    assert (first.intermediate_values, first.user_attrs) == ({1: 0.4}, {"config": {"epochs": 3}})
    assert (first.datetime_complete, second.user_attrs) == (None, {})
    crash(queue, slot, 1)
    again = queue.take(slot)
    assert again is not None
    assert (again.number, again.attempt) == (0, 1)


def test_retry_leaves_trials_in_other_states_alone(queue: Queue, study: optuna.Study) -> None:
    queue.fill(3)
    slot, other = queue.join("cpu"), queue.join("cpu")
    taken = queue.take(slot)
    assert taken is not None
    queue.settle(slot, taken.trial_id, TrialState.COMPLETE, 0.5, {"epochs_run": 1})
    running = queue.take(other)
    queue.retry([0, 1, 2])
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "RUNNING", "WAITING"]
    assert queue.take(other) == running


@pytest.mark.parametrize("before", [0, RETRIES])
def test_crash_that_is_no_fault_of_the_trial_is_not_counted(queue: Queue, before: int) -> None:
    queue.fill(1)
    slot = queue.join("cpu")
    crash(queue, slot, before)
    taken = queue.take(slot)
    assert taken is not None
    queue.give_back(slot, taken.trial_id, crashed=True)
    assert queue.counts().failed == (before == RETRIES)
    queue.uncount(taken.trial_id, taken.attempt)
    queue.uncount(taken.trial_id, taken.attempt)
    assert queue.take(slot) == taken


def test_another_trial_than_the_last_is_taken_if_there_is_one(queue: Queue) -> None:
    queue.fill(3)
    slots = [queue.join("cpu") for _ in range(3)]
    taken = [queue.take(slot, after=1) for slot in slots]
    assert [one.number for one in taken if one] == [2, 0, 1]


def test_reports_beyond_the_checkpoint_are_forgotten(queue: Queue, study: optuna.Study) -> None:
    queue.fill(1)
    slot = queue.join("cpu")
    taken = queue.take(slot)
    assert taken is not None
    for epoch in (1, 2, 3):
        queue.record_epoch(slot, taken.trial_id, metrics(epoch, epoch / 10))
    assert queue.resume_at(slot, taken.trial_id, 1)
    assert study.trials[0].intermediate_values == {1: 0.1}


def test_late_result_of_a_slot_taken_for_dead_is_discarded(queue: Queue, study: optuna.Study) -> None:
    queue.fill(1)
    frozen, other = queue.join("cpu"), queue.join("cpu")
    taken = queue.take(frozen)
    assert taken is not None
    queue.reap([frozen])
    again = queue.take(other)
    assert again is not None
    assert (again.trial_id, again.attempt) == (taken.trial_id, 1)
    assert not queue.record_epoch(frozen, taken.trial_id, metrics(1, 0.9))
    assert not queue.settle(frozen, taken.trial_id, TrialState.COMPLETE, 0.9, {})
    assert not queue.give_back(frozen, taken.trial_id, crashed=True)
    with pytest.raises(LookupError):
        queue.take(frozen)
    assert queue.settle(other, taken.trial_id, TrialState.COMPLETE, 0.5, {})
    assert study.best_value == 0.5


def test_settling_again_after_a_lost_answer_finds_it_done(queue: Queue, study: optuna.Study) -> None:
    queue.fill(1)
    slot = queue.join("cpu")
    taken = queue.take(slot)
    assert taken is not None
    for _ in range(2):
        assert queue.settle(slot, taken.trial_id, TrialState.COMPLETE, 0.5, {"seconds": 1.0})
    assert not queue.settle(slot, taken.trial_id, TrialState.COMPLETE, 0.6, {})  # what somebody else told of it
    assert not queue.settle(queue.join("cpu"), taken.trial_id, TrialState.PRUNED, 0.5, {})
    assert study.trials[0].value == 0.5


@pytest.mark.parametrize("meddle", ["delete", "tell"])
def test_taking_again_passes_over_a_trial_that_was_deleted_or_told_meanwhile(
    queue: Queue, study: optuna.Study, meddle: str
) -> None:
    queue.fill(2)
    slot = queue.join("cpu")
    queue.take(slot)
    if meddle == "tell":
        study.tell(0, 0.1)
    else:
        with queue.storage.engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM trials WHERE number = 0"))
    taken = queue.take(slot)
    assert taken is not None
    assert taken.number == 1
    assert meddle == "delete" or study.trials[0].state == TrialState.COMPLETE


def test_new_trial_with_the_id_of_a_deleted_one_can_be_taken(queue: Queue) -> None:
    queue.fill(1)
    stale, slot = queue.join("cpu"), queue.join("cpu")
    assert queue.take(stale) is not None
    with queue.storage.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM trials"))
    queue.fill(1)
    taken = queue.take(slot)
    assert taken is not None
    assert not queue.record_epoch(stale, taken.trial_id, metrics(1, 0.9)) or queue.storage.engine.name != "sqlite"
    assert queue.record_epoch(slot, taken.trial_id, metrics(1, 0.5))


@pytest.mark.parametrize("meddle", ["delete", "tell", "rename"])
def test_meddling_from_the_dashboard_stops_no_worker(queue: Queue, study: optuna.Study, meddle: str) -> None:
    queue.fill(2)
    slot = queue.join("cpu")
    taken = queue.take(slot)
    assert taken is not None
    if meddle == "tell":
        study.tell(0, 0.1)
    else:
        with sa.create_engine(queue.storage.safe_url).begin() as connection:
            if meddle == "delete":
                connection.execute(sa.text("DELETE FROM trials WHERE number = 0"))
            else:
                connection.execute(sa.text("UPDATE studies SET study_name = 'renamed'"))
    held = queue.settle(slot, taken.trial_id, TrialState.COMPLETE, 0.9, {})
    assert held == (meddle == "rename")
    following = queue.take(slot)
    assert following is not None
    assert following.number == 1


def test_leaving_slot_gives_its_trial_back(queue: Queue) -> None:
    queue.fill(1)
    slot = queue.join("cpu")
    queue.take(slot)
    queue.leave(slot)
    assert queue.counts().waiting == 1
    assert queue.slots() == []


def test_slots_tell_what_they_do(queue: Queue) -> None:
    queue.fill(1)
    slot = queue.join("gpu 0: pretend")
    taken = queue.take(slot)
    assert taken is not None
    queue.record_epoch(slot, taken.trial_id, metrics(3, 0.3), images_per_second=800.0)
    (status,) = queue.slots()
    assert (status.device, status.trial, status.epoch, status.images_per_second) == ("gpu 0: pretend", 0, 3, 800.0)
    assert 0 <= status.age_seconds < GRACE_SECONDS
    assert not status.stale


def test_process_gone_from_this_machine_is_dead_at_once(queue: Queue, database_url: str) -> None:
    queue.fill(1)
    context = multiprocessing.get_context("spawn")
    worker = context.Process(target=_take_one_and_vanish, args=(database_url,))
    worker.start()
    worker.join(60)
    assert queue.counts().running == 1
    dead = Undertaker(queue).look()
    assert len(dead) == 1
    queue.reap(dead)
    assert queue.counts().waiting == 1


def _take_one_and_vanish(url: str) -> None:
    storage = open_storage(url)
    queue = Queue(storage, storage.get_study_id_from_name("s"))
    queue.take(queue.join("cpu"))


def test_clock_that_is_set_makes_no_live_process_dead(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.join("cpu")
    before = psutil.boot_time()  # the kernel reckons it back from the clock
    for module in (psutil, psutil._psplatform):
        monkeypatch.setattr(module, "boot_time", lambda: before + 3600)
    assert Undertaker(queue).look() == []
    assert not queue.slots()[0].stale


def test_live_process_that_this_user_may_not_see_is_not_dead(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on machines whose /proc hides what others run (hidepid)."""
    queue.join("cpu")

    def hidden(_pid: int) -> float:
        raise FileNotFoundError

    monkeypatch.setattr(studies.queue.process, "process_started", hidden)
    assert Undertaker(queue).look() == []
    with subprocess.Popen(["sleep", "0"]) as gone:
        gone.wait()
    with queue.storage.engine.begin() as connection:
        connection.execute(sa.update(SLOTS).values(pid=gone.pid))
    assert len(Undertaker(queue).look()) == 1


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def elsewhere(queue: Queue) -> str:
    """A slot on another machine."""
    slot = queue.join("cpu")
    with queue.storage.engine.begin() as connection:
        connection.execute(sa.update(SLOTS).where(SLOTS.c.slot_id == slot).values(machine="another"))
    return slot


def _watch(undertaker: Undertaker, clock: Clock, seconds: float, each: Callable[[], None] = lambda: None) -> list[str]:
    until = clock.now + seconds
    dead = undertaker.look()
    while clock.now < until and not dead:
        clock.now += 5
        each()
        dead = undertaker.look()
    return dead


def test_slot_elsewhere_is_dead_after_the_grace_without_a_beat(queue: Queue, elsewhere: str) -> None:
    clock = Clock()
    assert _watch(Undertaker(queue, clock=clock), clock, GRACE_SECONDS - 5) == []
    undertaker = Undertaker(queue, clock=clock)
    assert _watch(undertaker, clock, GRACE_SECONDS + 10) == [elsewhere]


def test_slot_elsewhere_that_beats_is_alive(queue: Queue, elsewhere: str) -> None:
    clock = Clock()
    assert _watch(Undertaker(queue, clock=clock), clock, 300, lambda: queue.beat([elsewhere])) == []


def test_outage_or_a_frozen_observer_makes_nobody_dead(queue: Queue, elsewhere: str) -> None:
    clock = Clock()
    undertaker = Undertaker(queue, clock=clock)
    assert _watch(undertaker, clock, 30) == []
    clock.now += 10 * GRACE_SECONDS  # nothing was seen meanwhile: the slot may have been beating, or unable to
    assert undertaker.look() == []
    assert _watch(undertaker, clock, GRACE_SECONDS + 10) == [elsewhere]


def test_of_many_slots_those_elsewhere_are_looked_at_less_often_and_found_dead_all_the_same(
    queue: Queue, elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studies.queue.undertaker.FEW", 1)
    clock = Clock()
    others = [queue.join("cpu") for _ in range(9)]
    with queue.storage.engine.begin() as connection:
        connection.execute(sa.update(SLOTS).where(SLOTS.c.slot_id.in_(others)).values(machine="a third"))
    read = []

    def is_dead_here(row: sa.Row[Any]) -> bool:
        read.append(row.slot_id)
        return False

    monkeypatch.setattr("studies.queue.undertaker.is_dead_here", is_dead_here)
    undertaker = Undertaker(queue, clock=clock)
    begun = clock.now
    assert _watch(undertaker, clock, 300, lambda: queue.beat(others)) == [elsewhere]
    assert GRACE_SECONDS < clock.now - begun <= 2 * GRACE_SECONDS
    assert len(read) == 30  # three looks in all that time
    assert _watch(undertaker, clock, 10 * GRACE_SECONDS, lambda: queue.beat([*others, elsewhere])) == []


def _work(url: str, seed: int) -> None:
    """A worker with null training that gives back, crashes and dies at random."""
    chance = random.Random(seed)
    storage = open_storage(url)
    queue = Queue(storage, storage.get_study_id_from_name("s"))
    slot = queue.join("cpu")
    undertaker = Undertaker(queue)
    while True:
        queue.reap(undertaker.look())
        taken = queue.take(slot)
        if taken is None:
            if queue.counts().running == 0:
                return queue.leave(slot)
            time.sleep(0.02)
            continue
        for epoch in (1, 2):
            if chance.random() < 0.02:
                raise SystemExit(9)  # dies with the trial in hand
            queue.record_epoch(slot, taken.trial_id, metrics(epoch, chance.random()))
        if chance.random() < 0.1:
            queue.give_back(slot, taken.trial_id, crashed=False)
        else:
            state = TrialState.PRUNED if chance.random() < 0.3 else TrialState.COMPLETE
            queue.settle(slot, taken.trial_id, state, chance.random(), {"by": slot})


def test_budget_is_exact_whatever_dies(queue: Queue, study: optuna.Study, database_url: str) -> None:
    queue.fill(40)
    context = multiprocessing.get_context("spawn")
    seed = 0
    workers: list[Any] = []
    while queue.counts().settled < 40:
        workers = [worker for worker in workers if worker.is_alive()]
        while len(workers) < 3:
            seed += 1
            assert seed < 60
            worker = context.Process(target=_work, args=(database_url, seed))
            worker.start()
            workers.append(worker)
        workers[0].join(0.2)
    for worker in workers:
        worker.join(60)
    trials = study.get_trials()
    assert len(trials) == 40
    assert all(trial.state.is_finished() for trial in trials)
    assert [trial.number for trial in trials] == list(range(40))
    assert all(set(trial.intermediate_values) == {1, 2} for trial in trials if trial.state != TrialState.FAIL)
    assert queue.counts().running == 0


def test_log_says_which_trial_went_back_and_why_and_who_was_taken_for_dead(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "studies.queue")
    queue.fill(1)
    slot = queue.join("gpu 0")
    queue.leave(queue.join("idle"))
    for attempt in range(RETRIES + 1):
        taken = queue.take(slot)
        assert taken is not None
        if attempt == 0:
            queue.give_back(slot, taken.trial_id, crashed=True, failure="error", reason="two\nlines")
        elif attempt == 1:
            queue.give_back(slot, taken.trial_id, crashed=False)
        else:
            queue.reap([slot])
            slot = queue.join("gpu 0")
    queue.reap([slot])
    told = [record.getMessage() for record in caplog.records]
    assert told[:2] == [
        "trial 0 went back into the queue, crash 1: error: two lines",
        "trial 0 went back into the queue, its slot lets go of it",
    ]
    assert all("is taken for dead (gpu 0, host " in line for line in told[2:])
    assert told[2].endswith("trial 0 went back into the queue, crash 2: the worker died")
    assert told[-1].endswith("; it held no trial")


def test_study_that_is_to_stop_gives_out_no_trial_until_it_goes_on(queue: Queue) -> None:
    queue.fill(2)
    slot = queue.join("cpu")
    assert queue.stop_requested() is None
    queue.request_stop(now=False)
    assert queue.stop_requested() == "after"
    assert queue.take(slot) is None
    queue.request_stop(now=True)
    assert queue.stop_requested() == "now"
    queue.begin(Limits())
    assert queue.stop_requested() is None
    assert queue.take(slot) is not None


def test_new_trial_with_the_id_of_a_deleted_one_has_none_of_its_epochs(queue: Queue) -> None:
    queue.fill(2)
    slot = queue.join("cpu")
    taken = queue.take(slot)
    assert taken is not None
    assert queue.record_epoch(slot, taken.trial_id, metrics(1, 0.5))
    optuna.delete_study(study_name="s", storage=queue.storage)
    again = optuna.create_study(study_name="again", storage=queue.storage, direction="maximize")
    anew = Queue(queue.storage, again._study_id)
    anew.fill(1)
    assert ledger(queue.storage, again._study_id).device_seconds == 0
    (trial,) = again.trials
    with queue.storage.engine.begin() as connection:  # as if another program had enqueued the trial
        connection.execute(sa.insert(EPOCHS).values(trial_id=trial._trial_id, **metrics(7, 0.9)))
    taken = anew.take(anew.join("cpu"))
    assert taken is not None
    assert ledger(queue.storage, again._study_id).device_seconds == 0


def test_filling_up_after_a_trial_was_deleted_takes_no_number_twice_and_no_epoch_away(queue: Queue) -> None:
    queue.fill(3)
    slot = queue.join("cpu")
    for _ in range(3):
        taken = queue.take(slot)
        assert taken is not None
        queue.record_epoch(slot, taken.trial_id, metrics(1, 0.5))
        queue.settle(slot, taken.trial_id, TrialState.FAIL, None, {})
    deleted = queue.storage.get_trial_id_from_study_id_trial_number(queue.study_id, 1)
    with queue.storage.engine.begin() as connection:
        for table in (REPORTS, TRIALS):
            connection.execute(sa.delete(table).where(table.c.trial_id == deleted))
    assert queue.fill(4) == 2
    assert sorted(trial.number for trial in queue.storage.get_all_trials(queue.study_id)) == [0, 2, 3, 4]
    assert ledger(queue.storage, queue.study_id).by_trial.keys() == {0, 2}


def test_trial_given_back_keeps_its_epochs_when_it_is_taken_again(queue: Queue) -> None:
    queue.fill(1)
    slot = queue.join("cpu")
    taken = queue.take(slot)
    assert taken is not None
    queue.record_epoch(slot, taken.trial_id, metrics(1, 0.5))
    queue.give_back(slot, taken.trial_id, crashed=False)
    assert queue.take(slot) is not None
    assert ledger(queue.storage, queue.study_id).device_seconds == 2.0


def test_two_may_ask_for_a_stop_while_a_limit_asks_for_one(queue: Queue) -> None:
    queue.fill(1)

    def ask(index: int) -> None:
        for _ in range(25):
            queue.request_stop(now=bool(index % 2))
            queue.begin(Limits(max_device_hours=1e-9))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(ask, range(4)))
    queue.request_stop(now=True)
    assert queue.stop_requested() == "now"
