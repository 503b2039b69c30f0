"""Who goes on: what slots ask of the policy, and what becomes of a trial that pauses. The policy is played."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from scripted_child import READY, Script, epoch, finished, started

from search.base.home import Home
from search.choosing.pausing import Pausing, Ranking
from search.choosing.proposing import StudyOfLessons
from search.run.events import Completed, Event, Paused, Resumed
from search.run.slot import Assignment, Slot
from search.run.thawing import NOT_THE_BEST, Thawing
from search.space.space import SearchSpace
from search.training.places import Place
from studies.queue.pausing import PAUSES
from studies.queue.queue import Queue
from studies.record.catalog import open_study
from studies.store.attributes import TRIAL_USER
from studies.store.cache import BegunTrials
from studies.store.opening import open_storage

SPACE = SearchSpace.from_dict(
    {
        "study": {"name": "s", "trials": 2},
        "data": {"source": "synthetic", "validation_images": 400},
        "space": {"batch_size": 32, "learning_rate": {"low": 0.001, "high": 0.1, "log": True}, "epochs": 3},
        "pruner": {"name": "pause"},
    }
)


class Told(Pausing):
    """Ranks as the test says, and writes down what it was asked."""

    def __init__(self, rank: Callable[[int | None, bool], Sequence[int | None]]) -> None:
        super().__init__(SPACE)
        self._told = rank
        self.asked: list[tuple[int | None, bool]] = []
        self.paces: list[float] = []

    def rank(
        self,
        study_trials: Sequence[FrozenTrial],
        seconds_per_epoch: Callable[[FrozenTrial], float] | None = None,
        *,
        may_begin: bool,
        asking: int | None = None,
    ) -> Ranking:
        self.asked.append((asking, may_begin))
        self.paces += [seconds_per_epoch(trial) for trial in study_trials] if seconds_per_epoch else []
        return Ranking(tuple(self._told(asking, may_begin)), {1: "out of reach"})


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    study, _ = open_study(storage, "s", {"space": SPACE.to_dict(), "data": {}})
    queue = Queue(storage, study.study_id)
    queue.fill(2)
    return queue


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def work(tmp_path: Path, queue: Queue, told: list[Event]) -> Assignment:
    return Assignment(
        home=Home(tmp_path),
        study_name="s",
        study_uid="uid",
        space=SPACE,
        data=SPACE.data,
        fingerprint="f",
        provenance={"versions": {}, "git_commit": None, "host": "h"},
        queue=queue,
        storage=BegunTrials(queue.storage),
        pruner=optuna.pruners.NopPruner(),
        tell=told.append,
        stopping=threading.Event(),
    )


def thawing(
    work: Assignment, policy: Pausing, *, follow: bool = False, clock: Callable[[], float] = lambda: 0.0
) -> Thawing:
    study = StudyOfLessons("s", work.storage)
    checkpoints = partial(work.home.checkpoints, "s", "uid")
    return Thawing(policy, work.queue, study, checkpoints, follow=follow, clock=clock)


def keep(work: Assignment, number: int) -> Callable[[], None]:
    """Leaves a checkpoint of the trial, as a training process does."""

    def write() -> None:
        folder = work.home.checkpoints("s", "uid", number)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "epoch").touch()

    return write


def run(work: Assignment, policy: Pausing, *lines: Any) -> list[FrozenTrial]:
    script = Script([[READY, *lines]])
    ready = dataclasses.replace(work, start=script.start, thawing=thawing(work, policy))
    Slot(Place(0, "cpu"), ready).run()
    return optuna.load_study(study_name="s", storage=work.queue.storage).trials


def test_trial_pauses_for_one_that_is_worth_more_and_goes_on_when_it_is_its_turn(
    work: Assignment, told: list[Event]
) -> None:
    policy = Told(lambda asking, may_begin: [None] if may_begin else [asking] if asking is not None else [0])
    first = [started(), keep(work, 0), epoch(1, 0.4), finished()]
    second = [started(trial=1), keep(work, 1), epoch(1, trial=1), epoch(2, trial=1), epoch(3, 0.5, trial=1)]
    rest = [started(epoch(1, 0.4)), epoch(2), epoch(3, 0.6), finished()]
    trials = run(work, policy, *first, *second, finished(trial=1), *rest)
    assert [(trial.state, trial.value) for trial in trials] == [(TrialState.COMPLETE, 0.6), (TrialState.COMPLETE, 0.5)]
    happened = [(event.number, type(event.what)) for event in told]
    assert happened.index((0, Paused)) < happened.index((1, Completed)) < happened.index((0, Resumed))
    (pause,) = trials[0].user_attrs[PAUSES]
    assert (pause["epoch"], "thawed" in pause) == (1, True)
    assert not work.home.checkpoints("s", "uid", 0).exists(), "what is complete needs none"


def test_trial_that_is_worth_most_goes_on_without_a_pause(work: Assignment) -> None:
    policy = Told(lambda asking, _: [asking, None] if asking is not None else [None])
    whole = [started(), keep(work, 0), epoch(1), epoch(2), epoch(3), finished()]
    other = [started(trial=1), epoch(1, trial=1), epoch(2, trial=1), epoch(3, trial=1), finished(trial=1)]
    trials = run(work, policy, *whole, *other)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    assert PAUSES not in trials[0].user_attrs
    assert policy.paces[-1] == 2.0, "seconds of an epoch"


def test_training_does_not_wait_for_what_is_thought_longer_than_a_tenth_of_an_epoch(work: Assignment) -> None:
    seconds = itertools.count()  # to think takes a second
    policy = Told(lambda asking, may_begin: [None] if may_begin else [asking] if asking is not None else [0])
    first = [started(), keep(work, 0), epoch(1), epoch(2), finished()]
    second = [started(trial=1), *(epoch(number, trial=1) for number in (1, 2, 3)), finished(trial=1)]
    rest = [started(epoch(1), epoch(2)), epoch(3), finished()]
    script = Script([[READY, *first, *second, *rest]])
    who = thawing(work, policy, clock=lambda: float(next(seconds)))
    assert not who.thinks_long(2.0), "nothing is known yet"
    who.wishes()
    assert who.thinks_long(2.0)
    assert not who.thinks_long(20.0)
    Slot(Place(0, "cpu"), dataclasses.replace(work, start=script.start, thawing=who)).run()
    (pause,) = optuna.load_study(study_name="s", storage=work.queue.storage).trials[0].user_attrs[PAUSES]
    assert pause["epoch"] == 2, "it was told after its next epoch"


def test_trial_without_a_checkpoint_does_not_pause(work: Assignment) -> None:
    policy = Told(lambda _asking, may_begin: [None] if may_begin else [])
    whole = [[started(trial=n), *(epoch(e, trial=n) for e in (1, 2, 3)), finished(trial=n)] for n in (0, 1)]
    trials = run(work, policy, *whole[0], *whole[1])
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    assert all(asking is None for asking, _ in policy.asked)


def test_what_is_not_worth_going_on_with_is_settled_at_the_end_and_keeps_its_checkpoint(work: Assignment) -> None:
    policy = Told(lambda asking, may_begin: [None] if may_begin and asking != 1 else [])
    lines = [[started(trial=n), keep(work, n), epoch(1, 0.3 + n / 10, trial=n), finished(trial=n)] for n in (0, 1)]
    trials = run(work, policy, *lines[0], *lines[1])
    assert [(trial.state, trial.value) for trial in trials] == [(TrialState.PRUNED, 0.3), (TrialState.PRUNED, 0.4)]
    assert [trial.user_attrs["reason"] for trial in trials] == [NOT_THE_BEST, "out of reach"]
    assert work.home.checkpoints("s", "uid", 1).is_dir()


def test_trial_that_somebody_asked_for_neither_pauses_nor_is_pruned(work: Assignment) -> None:
    policy = Told(lambda asking, may_begin: [None] if may_begin and asking != 1 else [])
    lines = [[started(trial=n), keep(work, n), epoch(1, trial=n), finished(trial=n)] for n in (0, 1)]
    run(work, policy, *lines[0], *lines[1])
    assert work.queue.thaw([1]) == [1]
    trials = run(
        work, policy, started(epoch(1, trial=1), trial=1), epoch(2, trial=1), epoch(3, 0.7, trial=1), finished(trial=1)
    )
    assert [(trial.state, trial.value) for trial in trials] == [(TrialState.PRUNED, 0.5), (TrialState.COMPLETE, 0.7)]


def pause_elsewhere(queue: Queue, machine: str) -> int:
    """The id of trial 0, which paused on another host."""
    slot = queue.join("cpu")
    taken = queue.take(slot, wishes=[None])
    assert taken is not None
    metrics = {**epoch(1).metrics.named(), "seconds": 1.0}
    assert queue.record_epoch(slot, taken.trial_id, metrics)
    assert queue.pause(slot, taken.trial_id, 1, {})
    queue.leave(slot)
    entry = {"epoch": 1, "paused": "then", "machine": machine}
    queue.storage.transaction(lambda session: TRIAL_USER.write(session, taken.trial_id, {PAUSES: [entry]}))
    return taken.trial_id


def test_trial_whose_checkpoint_lies_on_another_host_is_left_to_it_while_it_lives(
    work: Assignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause_elsewhere(work.queue, "another")
    who = thawing(work, Told(lambda _asking, _may_begin: [0, None]))
    assert who.wishes() == [0, None], "nobody works there: it begins anew here"
    monkeypatch.setattr("studies.queue.queue.machine", lambda: "another")
    slot = work.queue.join("cpu")
    assert who.wishes() == [None]
    assert thawing(work, Told(lambda _asking, _may_begin: [0, None]), follow=True).wishes() == [0, None]
    assert who.settle_rest() == []
    keep(work, 0)()
    assert who.wishes() == [0, None], "the hosts share a home"
    work.queue.leave(slot)


def test_the_same_question_is_not_thought_about_twice(work: Assignment) -> None:
    policy = Told(lambda _asking, _may_begin: [None])
    who = thawing(work, policy)
    assert [who.wishes() for _ in range(3)] == [[None]] * 3
    assert policy.asked == [(None, True)]
