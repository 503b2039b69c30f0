"""Trials that pause, in the queue over both databases: its contract holds for them too."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from optuna.trial import TrialState

from studies.queue.limits import Limits
from studies.queue.pausing import NEXT, PAUSES
from studies.queue.queue import Queue, StudyGoneError
from studies.queue.standing import Counts
from studies.record.catalog import open_study
from studies.store.attributes import STUDY_SYSTEM, STUDY_USER
from studies.store.cache import BegunTrials, StartedTrials
from studies.store.storage import Storage

EPOCH = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "learning_rate": 0.1, "seconds": 2.0}


@pytest.fixture
def queue(storage: Storage) -> Queue:
    """Of a study with four trials that wait."""
    made, _ = open_study(storage, "s", {"space": {}, "data": {}})
    queue = Queue(storage, made.study_id)
    queue.fill(4)
    return queue


def paused(queue: Queue, *accuracies: float, wishes: list[int | None] | None = None) -> int:
    """The number of a trial that was taken, trained for so many epochs, and paused."""
    slot = queue.join("cpu")
    taken = queue.take(slot, wishes=wishes or [None])
    assert taken is not None
    for epoch, accuracy in enumerate(accuracies, 1):
        assert queue.record_epoch(slot, taken.trial_id, {**EPOCH, "epoch": epoch, "val_accuracy": accuracy})
    assert queue.pause(slot, taken.trial_id, len(accuracies), {"epochs_run": len(accuracies), "seconds": 2.0})
    queue.leave(slot)
    return taken.number


def trials(queue: Queue) -> list[optuna.trial.FrozenTrial]:
    return queue.storage.get_all_trials(queue.study_id)


def test_paused_trial_waits_with_its_epochs_and_the_budget_stays(queue: Queue) -> None:
    number = paused(queue, 0.3, 0.4)
    trial = trials(queue)[number]
    assert (trial.state, trial.intermediate_values) == (TrialState.WAITING, {1: 0.3, 2: 0.4})
    (told,) = trial.user_attrs[PAUSES]
    assert told["epoch"] == 2
    assert "thawed" not in told
    counts = queue.counts()
    assert counts == Counts(waiting=4, running=0, complete=0, pruned=0, failed=0, retried=0, paused=1)
    assert counts.budget == 4


def test_what_is_wished_for_is_taken_and_the_next_wish_where_another_was_sooner(queue: Queue) -> None:
    first, second = paused(queue, 0.3), paused(queue, 0.4)
    slots = [queue.join("cpu") for _ in range(3)]
    taken = [queue.take(slot, wishes=[second, None, first]) for slot in slots]
    assert [each and each.number for each in taken] == [second, 2, 3]
    assert "thawed" in trials(queue)[second].user_attrs[PAUSES][0]
    for slot in slots:
        queue.leave(slot)
    assert queue.counts().waiting == 4


def test_nothing_that_is_not_wished_for_is_taken(queue: Queue) -> None:
    number = paused(queue, 0.3)
    slot = queue.join("cpu")
    assert queue.take(slot, wishes=[]) is None
    taken = queue.take(slot, wishes=[99, None])
    assert taken is not None
    assert taken.number != number
    shown = queue.storage.read(lambda session: STUDY_SYSTEM.read(session, queue.study_id, NEXT))
    assert shown == [99, None]


def test_one_paused_trial_is_gone_on_with_once_however_many_want_it(queue: Queue) -> None:
    number = paused(queue, 0.3)
    slots = [queue.join("cpu") for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda slot: queue.take(slot, wishes=[number]), slots))
    assert [each.number for each in taken if each] == [number]


def test_pausing_twice_is_pausing_once_and_another_slots_trial_can_not_be_paused(queue: Queue) -> None:
    slot, other = queue.join("cpu"), queue.join("cpu")
    taken = queue.take(slot, wishes=[None])
    assert taken is not None
    assert not queue.pause(other, taken.trial_id, 1, {})
    assert queue.pause(slot, taken.trial_id, 1, {})
    assert queue.pause(slot, taken.trial_id, 1, {}), "the answer to the first was lost"
    assert len(trials(queue)[taken.number].user_attrs[PAUSES]) == 1


def test_slot_that_died_gives_back_what_it_had_thawed_one_crash_more(queue: Queue) -> None:
    number = paused(queue, 0.3)
    slot = queue.join("cpu")
    assert queue.take(slot, wishes=[number])
    queue.reap([slot])
    assert queue.counts().paused == 1
    taken = queue.take(queue.join("cpu"), wishes=[number])
    assert taken is not None
    assert taken.attempt == 1


def test_rest_is_settled_as_pruned_with_its_reason_and_last_report(queue: Queue) -> None:
    worse, better = paused(queue, 0.3, 0.2), paused(queue, 0.4)
    slot = queue.join("cpu")
    assert queue.take(slot, wishes=[better])
    assert queue.settle_paused({worse: "out of reach", better: "it runs again"}) == [worse]
    trial = trials(queue)[worse]
    assert (trial.state, trial.value, trial.user_attrs["reason"]) == (TrialState.PRUNED, 0.2, "out of reach")
    assert queue.settle_paused({worse: "again"}) == []
    assert queue.counts().settled == 1


def test_settled_trial_that_somebody_asks_for_is_trained_to_its_end_before_all_others(queue: Queue) -> None:
    number = paused(queue, 0.3, 0.2)
    queue.settle_paused({number: "out of reach"})
    assert queue.thaw([number, 3]) == [number], "the other has not begun"
    assert trials(queue)[number].state == TrialState.WAITING
    assert "reason" not in trials(queue)[number].user_attrs
    assert queue.settle_paused({number: "out of reach"}) == []
    slot = queue.join("cpu")
    taken = queue.take(slot, wishes=[None])
    assert taken is not None
    assert (taken.number, taken.to_its_end) == (number, True)
    assert queue.settle(slot, taken.trial_id, TrialState.COMPLETE, 0.5, {})
    assert queue.thaw([number]) == [], "a complete one stays"


def test_study_of_which_no_more_is_expected_begins_nothing_but_goes_on_with_what_paused(queue: Queue) -> None:
    number = paused(queue, 0.3)
    queue.begin(Limits(until_expected_gain=0.01))
    assert queue.enough(0.001)
    slot = queue.join("cpu")
    assert queue.take(slot, wishes=[None]) is None
    taken = queue.take(slot, wishes=[None, number])
    assert taken is not None
    assert taken.number == number


def test_patience_counts_those_that_paused(queue: Queue) -> None:
    queue.begin(Limits(patience=2))
    slot = queue.join("cpu")
    taken = queue.take(slot, wishes=[None])
    assert taken is not None
    assert queue.settle(slot, taken.trial_id, TrialState.COMPLETE, 0.5, {})
    paused(queue, 0.3)
    assert queue.stopped_by() is None
    paused(queue, 0.4)
    assert str(queue.stopped_by()).startswith(
        "patience 2 is over: of 2 trials settled since, none is better than trial 0"
    )


def test_study_that_is_told_to_stop_goes_on_with_nothing(queue: Queue) -> None:
    number = paused(queue, 0.3)
    for now in (False, True):
        queue.request_stop(now=now)
        assert queue.take(queue.join("cpu"), wishes=[None, number]) is None


def test_nothing_is_settled_in_another_study_of_the_same_id(queue: Queue) -> None:
    number = paused(queue, 0.3)
    uid = queue.storage.read(lambda session: STUDY_USER.read(session, queue.study_id, "uid"))
    assert Queue(queue.storage, queue.study_id, uid).settle_paused({}) == []
    with pytest.raises(StudyGoneError):
        Queue(queue.storage, queue.study_id, "another").settle_paused({number: "out of reach"})
    assert queue.counts().paused == 1


def test_study_knows_whether_a_trial_is_left_that_has_not_begun(queue: Queue) -> None:
    for left in (True, True, True, True):
        assert queue.unbegun() == left
        paused(queue, 0.3)
    assert not queue.unbegun()


def test_paused_trials_are_seen_where_they_count_and_nowhere_else(queue: Queue) -> None:
    number = paused(queue, 0.3)
    begun, started = BegunTrials(queue.storage), StartedTrials(queue.storage)
    assert [trial.number for trial in begun.get_all_trials(queue.study_id)] == [number]
    assert started.get_all_trials(queue.study_id) == []
    slot = queue.join("cpu")
    taken = queue.take(slot, wishes=[number])
    assert taken is not None
    assert [trial.state for trial in begun.get_all_trials(queue.study_id)] == [TrialState.RUNNING]
    assert queue.record_epoch(slot, taken.trial_id, {**EPOCH, "epoch": 2, "val_accuracy": 0.4})
    assert queue.pause(slot, taken.trial_id, 2, {})
    (seen,) = begun.get_all_trials(queue.study_id)
    assert (seen.state, seen.intermediate_values) == (TrialState.WAITING, {1: 0.3, 2: 0.4})


def test_trial_that_somebody_enqueued_comes_before_what_is_wished_for(queue: Queue) -> None:
    number = paused(queue, 0.3)
    given = queue.enqueue({"x": 1})
    taken = [queue.take(queue.join("cpu"), wishes=[number, None]) for _ in range(2)]
    assert [each and each.number for each in taken] == [given, number]
