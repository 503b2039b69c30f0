"""What workers elsewhere do is told as slots of this process would tell it."""

from __future__ import annotations

from typing import Any

import pytest
from optuna.trial import TrialState

from search.run.events import Begun, Completed, EpochDone, FailedForGood, Happening, Pruned, Retried, Returned
from search.run.following import Follower
from search.training.messages import Progress
from studies.queue.queue import Queue
from studies.queue.standing import RETRIES
from studies.record.catalog import open_study
from studies.store.cache import StartedTrials
from studies.store.opening import open_storage

CONFIG = {"params": {"lr": 0.1}, "epochs": 3, "seed": 1}


class Scene:
    """A study, a worker elsewhere that does what it is told to, and a run that follows."""

    def __init__(self, url: str, trials: int = 3) -> None:
        self.storage = open_storage(url)
        study, _ = open_study(self.storage, "s", {"space": {}, "data": {}})
        self.queue = Queue(self.storage, study.study_id)
        self.queue.fill(trials)
        self.follower = Follower(self.queue, StartedTrials(self.storage), own=True)
        self.slot = self.queue.join("gpu 0: here")

    def take(self, slot: str | None = None, **more: Any) -> int:
        taken = self.queue.take(slot or self.slot)
        assert taken
        self.queue.describe(slot or self.slot, taken.trial_id, {"config": CONFIG, **more})
        return taken.trial_id

    def epoch(self, trial_id: int, epoch: int) -> None:
        self.queue.record_epoch(self.slot, trial_id, {"epoch": epoch, "seconds": 1.0, "score": 0.5}, 0.0, "score")

    def look(self) -> list[tuple[int, Happening]]:
        return [(event.number, event.what) for event in self.follower.look()]

    def kinds(self) -> list[tuple[int, type]]:
        return [(number, type(what)) for number, what in self.look()]


@pytest.fixture
def scene(tmp_path: Any) -> Scene:
    return Scene(f"sqlite:///{tmp_path / 'study.db'}")


def test_trial_is_told_from_its_begin_to_its_end_and_nothing_twice(scene: Scene) -> None:
    assert scene.look() == []
    trial = scene.take()
    assert scene.kinds() == [(0, Begun)]
    scene.epoch(trial, 1)
    scene.epoch(trial, 2)
    assert scene.kinds() == [(0, EpochDone), (0, EpochDone)]
    assert scene.look() == []
    scene.epoch(trial, 3)
    scene.queue.settle(scene.slot, trial, TrialState.COMPLETE, 0.5, {"seconds": 3.0})
    (_, last), (_, end) = scene.look()
    assert isinstance(last, EpochDone)
    assert last.metrics.epoch == 3
    assert end == Completed(0.5, 3.0)
    assert scene.look() == []


def test_trial_that_came_and_went_between_two_looks_is_told_whole(scene: Scene) -> None:
    trial = scene.take()
    scene.epoch(trial, 1)
    scene.queue.settle(scene.slot, trial, TrialState.PRUNED, 0.5, {"seconds": 1.0, "reason": "pruned after epoch 1"})
    (_, first), (_, second), (_, third) = scene.look()
    assert [type(first), type(second)] == [Begun, EpochDone]
    assert third == Pruned("pruned after epoch 1", 1.0)


def test_trial_that_was_settled_before_is_not_told(scene: Scene) -> None:
    trial = scene.take()
    scene.queue.settle(scene.slot, trial, TrialState.COMPLETE, 0.5, {})
    assert list(Follower(scene.queue, StartedTrials(scene.storage), own=True).look()) == []


@pytest.mark.parametrize(("crashed", "kind"), [(True, Retried), (False, Returned)])
def test_trial_that_waits_again_is_told_with_what_it_had_come_to(scene: Scene, crashed: bool, kind: type) -> None:
    trial = scene.take()
    scene.look()
    scene.epoch(trial, 1)
    scene.queue.give_back(scene.slot, trial, crashed=crashed)
    assert scene.kinds() == [(0, EpochDone), (0, kind)]


def test_trial_that_was_taken_again_between_two_looks_is_told_so(scene: Scene) -> None:
    trial = scene.take()
    scene.epoch(trial, 1)
    scene.look()
    scene.queue.give_back(scene.slot, trial, crashed=True)
    assert scene.take() == trial
    scene.epoch(trial, 1)
    scene.epoch(trial, 2)
    (_, retried), (_, begun), (_, epoch) = scene.look()
    assert isinstance(retried, Retried)
    assert retried.crashes == 1
    assert isinstance(begun, Begun)
    assert isinstance(epoch, EpochDone)
    assert epoch.metrics.epoch == 2


def test_failure_is_told_in_words(scene: Scene) -> None:
    trial = scene.take()
    for _ in range(RETRIES + 1):
        scene.queue.give_back(scene.slot, trial, crashed=True, reason="it fell over")
        scene.queue.take(scene.slot)
    (_, _), (_, failed) = scene.look()
    assert isinstance(failed, FailedForGood)
    assert "it fell over" in failed.reason


def test_trial_that_took_over_the_result_of_another_did_not_begin(scene: Scene) -> None:
    taken = scene.queue.take(scene.slot)
    assert taken
    told = {"config": CONFIG, "same_as": 7, "epochs_run": 0, "seconds": 0.0}
    scene.queue.settle(scene.slot, taken.trial_id, TrialState.COMPLETE, 0.5, told)
    assert scene.look() == [(0, Completed(0.5, 0.0, same_as=7))]


def test_workers_have_a_row_each_and_a_new_one_that_of_one_that_left(scene: Scene) -> None:
    other = scene.queue.join("gpu 1: there")
    scene.take()
    second = scene.take(other)
    places = {event.number: event.place for event in scene.follower.look()}
    assert {place.index for place in places.values()} == {0, 1}
    assert places[1].device.endswith(" gpu 1: there")
    scene.queue.settle(other, second, TrialState.COMPLETE, 0.5, {})
    scene.queue.leave(other)
    list(scene.follower.look())
    scene.take(scene.queue.join("gpu 2: elsewhere"))
    (begun,) = scene.follower.look()
    assert (begun.number, begun.place.index) == (2, places[1].index)


def test_pace_of_a_worker_is_shown(scene: Scene) -> None:
    trial = scene.take()
    scene.look()
    scene.queue.record_epoch(scene.slot, trial, {"epoch": 1, "seconds": 1.0, "score": 0.5}, 250.0, "score")
    _, (_, progress) = scene.look()
    assert isinstance(progress, Progress)
    assert (progress.epoch, progress.images_per_second) == (2, 250.0)
