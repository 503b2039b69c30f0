"""What becomes of a trial, whatever its training process does. The process is played by a script of messages."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState
from scripted_child import READY, Script, epoch, failed, finished, started

from model.config import Failure
from search.base.home import Home
from search.run.crashes import EarlyCrashes
from search.run.events import Begun, Completed, EpochDone, Event, FailedForGood, Retried
from search.run.request import RunError
from search.run.slot import Assignment, Slot
from search.space.space import SearchSpace
from search.training.child import ChildError, StartError
from search.training.messages import Failed
from search.training.places import Place
from studies.queue.limits import Limits
from studies.queue.queue import Queue
from studies.queue.standing import RETRIES, Counts
from studies.record.catalog import open_study
from studies.record.cost import ledger
from studies.store.cache import StartedTrials
from studies.store.opening import open_storage
from studies.words import failure_of, why

SPACE = SearchSpace.from_dict(
    {
        "study": {"name": "s", "trials": 1},
        "data": {"source": "synthetic", "validation_images": 400},
        "space": {"batch_size": 32, "learning_rate": {"low": 0.001, "high": 0.1, "log": True}, "epochs": 3},
        "pruner": {"name": "none"},
    }
)


@pytest.fixture
def work(tmp_path: Path) -> Assignment:
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    study, _ = open_study(storage, "s", {"space": SPACE.to_dict(), "data": {}})
    queue = Queue(storage, study.study_id)
    queue.fill(1)
    return Assignment(
        home=Home(tmp_path),
        study_name="s",
        study_uid="uid",
        space=SPACE,
        data=SPACE.data,
        fingerprint="f",
        provenance={"versions": {}, "git_commit": None, "host": "h"},
        queue=queue,
        storage=optuna.storages.get_storage(storage),
        pruner=optuna.pruners.NopPruner(),
        tell=lambda _event: None,
        stopping=threading.Event(),
    )


Play = Callable[..., optuna.trial.FrozenTrial]


@pytest.fixture
def script() -> Script:
    return Script([])


@pytest.fixture
def play(work: Assignment, script: Script) -> Play:
    """Runs a slot whose processes play these scripts, and returns what became of the trial."""

    def run(*scripts: list[Any], assignment: Assignment = work) -> optuna.trial.FrozenTrial:
        script.scripts = list(scripts)
        Slot(Place(0, "cpu"), dataclasses.replace(assignment, start=script.start)).run()
        (trial,) = optuna.load_study(study_name="s", storage=assignment.queue.storage).trials
        assert assignment.queue.slots() == []
        return trial

    return run


class PrunesFrom(optuna.pruners.BasePruner):
    """Prunes every trial from an epoch on."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        del study
        return (trial.last_step or 0) >= self._epoch


def test_trial_whose_learning_rate_is_about_to_step_is_not_pruned_yet(
    play: Play, work: Assignment, script: Script
) -> None:
    stepping: dict[str, Any] = {"batch_size": 32, "learning_rate": 0.1, "epochs": 6}
    stepping |= {"schedule": "step", "step_epochs": [4], "step_factor": 0.1}
    space = SearchSpace.from_dict({**SPACE.to_dict(), "space": stepping, "pruner": {"name": "median"}})
    steps = dataclasses.replace(work, space=space, pruner=PrunesFrom(3))
    messages = [READY, started(), *(epoch(number) for number in range(1, 6)), finished()]
    trial = play(messages, assignment=steps)
    assert script.verdicts == {1: True, 2: True, 3: True, 4: True, 5: False}
    assert trial.state == TrialState.PRUNED


def test_epoch_that_spends_the_device_time_is_the_last_and_its_trial_waits(play: Play, work: Assignment) -> None:
    work.queue.begin(Limits(max_device_hours=4 / 3600))
    trial = play([READY, started(), epoch(1, 0.4), epoch(2, 0.6), epoch(3, 0.5), finished()])
    assert (trial.state, trial.intermediate_values) == (TrialState.WAITING, {1: 0.4, 2: 0.6})
    assert work.stopping.is_set()
    assert work.queue.stopped_by() == "max_device_hours 0.00111111 is spent: the trials took 0.00111"


def test_last_epoch_of_a_trial_that_spends_the_device_time_completes_it(play: Play, work: Assignment) -> None:
    work.queue.begin(Limits(max_device_hours=6 / 3600))
    trial = play([READY, started(), epoch(1, 0.4), epoch(2, 0.6), epoch(3, 0.5), finished()])
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.5)


def test_trial_with_the_values_of_a_complete_one_takes_over_its_result(play: Play, work: Assignment) -> None:
    choices = {"batch_size": {"choices": [32]}, "learning_rate": 0.1, "epochs": 3}
    small = dataclasses.replace(work, space=SearchSpace.from_dict({**SPACE.to_dict(), "space": choices}))
    first = play([READY, started(), epoch(1, 0.4), epoch(2, 0.6), epoch(3, 0.5), finished()], assignment=small)
    work.queue.fill(2)
    told: list[Event] = []
    idle = Script([[READY]])
    Slot(Place(0, "cpu"), dataclasses.replace(small, tell=told.append, start=idle.start)).run()
    _, second = optuna.load_study(study_name="s", storage=work.queue.storage).trials
    assert (second.state, second.value, second.params) == (TrialState.COMPLETE, 0.5, first.params)
    assert (second.user_attrs["same_as"], second.user_attrs["config"]) == (0, first.user_attrs["config"])
    assert idle.sent == []
    assert ledger(work.queue.storage, work.queue.study_id).by_trial.keys() == {0}
    assert [event.what for event in told] == [Completed(0.5, 0.0, same_as=0)]


def test_trial_trained_to_its_end_is_complete_with_its_last_value(play: Play) -> None:
    trial = play([READY, started(), epoch(1, 0.4), epoch(2, 0.6), epoch(3, 0.5), finished()])
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.5)
    assert trial.intermediate_values == {1: 0.4, 2: 0.6, 3: 0.5}
    kept = ("config", "data_fingerprint", "versions", "git_commit", "host", "device", "seconds", "epochs_run")
    assert set(kept) <= set(trial.user_attrs)
    assert (trial.user_attrs["seconds"], trial.user_attrs["epochs_run"]) == (6.0, 3)


def test_every_epoch_is_answered_go_on(play: Play, script: Script) -> None:
    play([READY, started(), epoch(1), epoch(2), epoch(3), finished()])
    assert script.verdicts == {1: True, 2: True, 3: True}


class PruneAtTwo(optuna.pruners.BasePruner):
    def prune(self, _study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return trial.last_step == 2


def test_pruned_trial_keeps_its_last_report_and_says_why(play: Play, work: Assignment, script: Script) -> None:
    prunes = dataclasses.replace(work, pruner=PruneAtTwo())
    trial = play([READY, started(), epoch(1, 0.4), epoch(2, 0.3), finished()], assignment=prunes)
    assert (trial.state, trial.value) == (TrialState.PRUNED, 0.3)
    assert "pruned after epoch 2 of 3" in trial.user_attrs["reason"]
    assert script.verdicts == {1: True, 2: False}


def test_diverged_trial_fails_for_good_with_the_reason_and_is_not_retried(play: Play, work: Assignment) -> None:
    trial = play([READY, started(), epoch(1), failed("diverged", "the loss became nan")])
    assert trial.state == TrialState.FAIL
    assert (trial.user_attrs["failure"], trial.user_attrs["reason"]) == ("diverged", "the loss became nan")
    assert trial.user_attrs["seconds"] == 2.0
    assert work.queue.counts().retried == 0


def test_killed_process_is_replaced_and_the_trial_goes_on(play: Play, work: Assignment) -> None:
    trial = play(
        [READY, started(), epoch(1, 0.4), ChildError("was killed by signal 9")],
        [READY, started(epoch(1, 0.4)), epoch(2, 0.5), epoch(3, 0.6), finished()],
    )
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.6)
    assert trial.intermediate_values == {1: 0.4, 2: 0.5, 3: 0.6}
    assert work.queue.counts().retried == 1


def test_epoch_that_was_saved_but_never_reported_is_reported_after_the_crash(play: Play) -> None:
    trial = play(
        [READY, started(), epoch(1, 0.4), ChildError("was killed by signal 9")],
        [READY, started(epoch(1, 0.4), epoch(2, 0.5)), epoch(3, 0.6), finished()],
    )
    assert trial.intermediate_values == {1: 0.4, 2: 0.5, 3: 0.6}
    assert trial.user_attrs["seconds"] == 6.0


def test_trial_whose_checkpoint_is_lost_starts_anew_without_its_old_reports(play: Play) -> None:
    trial = play(
        [READY, started(), epoch(1, 0.4), epoch(2, 0.9), ChildError("was killed by signal 9")],
        [READY, started(), epoch(1, 0.3), ChildError("was killed by signal 9")],
        [READY, started(epoch(1, 0.3)), epoch(2, 0.35), epoch(3, 0.6), finished()],
    )
    assert trial.intermediate_values == {1: 0.3, 2: 0.35, 3: 0.6}


def test_process_that_always_crashes_fails_the_trial_for_good(play: Play, work: Assignment) -> None:
    told: list[Event] = []
    heard = dataclasses.replace(work, tell=told.append)
    trial = play(*[[READY, started(), ChildError("was killed by signal 11")]] * (RETRIES + 1), assignment=heard)
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["failure"] == "crashed"
    ended = [event.what for event in told if isinstance(event.what, (Retried, FailedForGood))]
    assert [type(what) for what in ended] == [Retried] * RETRIES + [FailedForGood]
    assert ended[-1] == FailedForGood("was killed by signal 11; the last of 4 crashes")
    assert failure_of(trial.user_attrs) == "was killed by signal 11; the last of 4 crashes"
    assert "It was repeated each time" in why(trial)
    assert work.queue.counts().retried == RETRIES


def crashes(work: Assignment, *texts: str) -> None:
    """A slot whose processes crash so, one after another, before any epoch."""
    run_of(work, *([ChildError(text)] for text in texts))


def run_of(work: Assignment, *ends: list[Any]) -> None:
    """A slot whose processes end so, one after another, before any epoch."""
    script = Script([[READY, *[started(trial=n) for n in range(9)], *end] for end in ends])
    Slot(Place(0, "cpu"), dataclasses.replace(work, start=script.start)).run()


def test_two_trials_that_crash_alike_before_any_epoch_stop_the_run_and_are_not_blamed(
    work: Assignment, tmp_path: Path
) -> None:
    work.queue.fill(4)
    log = tmp_path / "s" / "logs" / "slot-0.log"
    log.parent.mkdir(parents=True)
    log.write_text("TensorFlow greets\nValueError: no such floatx\n")
    alike = ["training process ended with code 1, see a.log", "training process ended with code 1, see b.log"]
    with pytest.raises(RunError, match=r"trials 0 and 1 .* failed alike .*code 1.*\n.*\n  ValueError: no such floatx"):
        crashes(work, *alike)
    counts = work.queue.counts()
    assert (counts.waiting, counts.failed, counts.retried) == (4, 0, 0)
    assert work.queue.slots() == []


def test_two_trials_that_meet_the_same_error_before_any_epoch_stop_the_run(work: Assignment) -> None:
    work.queue.fill(2)
    shapes = ("TypeError('no [32, 10] in float16')", "TypeError('no [64, 10] in float16')")
    errors = [Failure(kind="error", text=text) for text in shapes]
    with pytest.raises(RunError, match=r"failed alike before their first epoch \(TypeError"):
        run_of(work, *([Failed(trial=n, failure=error, retry=True)] for n, error in enumerate(errors)))
    assert (work.queue.counts().waiting, work.queue.counts().retried) == (2, 0)


@pytest.mark.slow
def test_crashes_of_different_kinds_or_after_an_epoch_are_the_trials_own(work: Assignment) -> None:
    work.queue.fill(2)
    kinds = ["code 1", "signal 11", "code 1", "signal 11", "code 1", "signal 11", "code 1", "signal 11"]
    crashes(work, *kinds)
    assert work.queue.counts().failed == 2
    after = dataclasses.replace(work, crashes=EarlyCrashes())
    after.crashes.epoch_done()
    after.queue.fill(4)
    crashes(after, *["code 1"] * 8)
    assert work.queue.counts().failed == 4


def test_trials_of_the_same_values_that_crash_alike_are_at_fault(work: Assignment) -> None:
    fixed = SearchSpace.from_dict({**SPACE.to_dict(), "space": {"batch_size": 32, "learning_rate": 0.1, "epochs": 3}})
    work.queue.fill(2)
    crashes(dataclasses.replace(work, space=fixed), *["code 1"] * 8)
    assert work.queue.counts().failed == 2


def test_trial_put_back_while_a_slot_works_is_trained_by_it(work: Assignment) -> None:
    """The cache of its sampler had it as failed, and so as settled."""

    def tell(event: Event) -> None:
        if isinstance(event.what, FailedForGood):
            work.queue.retry([0])

    script = Script(
        [[READY, started(), failed("diverged", "nan"), started(), epoch(1), epoch(2), epoch(3), finished()]]
    )
    cached = StartedTrials(work.queue.storage)
    Slot(Place(0, "cpu"), dataclasses.replace(work, tell=tell, start=script.start, storage=cached)).run()
    (trial,) = optuna.load_study(study_name="s", storage=work.queue.storage).trials
    assert (trial.state, "failure" in trial.user_attrs) == (TrialState.COMPLETE, False)


def test_silent_process_is_taken_for_hung_and_killed(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(0, 10**9, 100))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(moments)))
    trial = play(
        [READY, started(), *[None] * 20],
        [READY, started(), epoch(1), epoch(2), epoch(3), finished()],
    )
    assert trial.state == TrialState.COMPLETE


def test_process_that_can_not_start_costs_no_trial_anything(play: Play, work: Assignment) -> None:
    with pytest.raises(StartError):
        play(*[[StartError("no module named tensorflow")]] * 3)
    counts = work.queue.counts()
    assert (counts.waiting, counts.failed, counts.retried) == (1, 0, 0)


def test_full_disk_fails_no_trial_and_stops_the_slot(play: Play, work: Assignment) -> None:
    full = failed("disk", "No space left on device", retry=True)
    with pytest.raises(StartError, match=r"can't be written.*No space left"):
        play(*[[READY, started(), full]] * 3)
    counts = work.queue.counts()
    assert (counts.waiting, counts.failed, counts.retried) == (1, 0, 0)


def test_disk_that_fills_up_now_and_then_stops_nothing(play: Play, work: Assignment) -> None:
    full = failed("disk", "No space left on device", retry=True)
    script = [READY, started(), epoch(1), full]
    assert play(*[script] * 4, [READY, started(epoch(1)), epoch(2), epoch(3), finished()]).value == 0.5
    assert work.queue.counts().retried == 0


def test_slot_does_not_leave_a_trial_that_came_back_while_it_looked(
    play: Play, work: Assignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = work.queue.join("elsewhere")
    work.queue.take(other)
    counts = work.queue.counts

    def comes_back_first() -> Counts:
        work.queue.leave(other)
        return counts()

    monkeypatch.setattr(work.queue, "counts", comes_back_first)
    trial = play([READY, started(), epoch(1), epoch(2), epoch(3), finished()])
    assert trial.state == TrialState.COMPLETE


def test_trial_deleted_just_before_its_verdict_stops_no_slot(
    play: Play, work: Assignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.queue.fill(2)
    record = work.queue.record_epoch

    def record_and_delete(slot_id: str, trial_id: int, *rest: Any) -> bool:
        held = record(slot_id, trial_id, *rest)
        if trial_id == 1:
            with work.queue.storage.engine.begin() as connection:
                connection.execute(sa.text("DELETE FROM trials WHERE trial_id = 1"))
        return held

    monkeypatch.setattr(work.queue, "record_epoch", record_and_delete)
    second = [READY, started(trial=1), *(epoch(number, trial=1) for number in (1, 2, 3)), finished(trial=1)]
    assert play([READY, started(), epoch(1)], second).number == 1


def test_trial_enqueued_with_values_that_can_not_be_trained_fails_with_the_reason(play: Play, work: Assignment) -> None:
    optuna.load_study(study_name="s", storage=work.queue.storage).enqueue_trial({"learning_rate": -1.0})
    with work.queue.storage.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM trials WHERE trial_id = 1"))
    trial = play([READY])
    assert (trial.state, trial.number) == (TrialState.FAIL, 1)
    assert trial.user_attrs["failure"] == "values"
    assert trial.user_attrs["reason"].startswith("learning_rate = -1.0 can't be trained with: `-1.0` is invalid")


def test_told_to_stop_the_trial_goes_back_into_the_queue(play: Play, work: Assignment) -> None:
    trial = play([READY, started(), epoch(1, 0.4), work.stopping.set])
    assert trial.state == TrialState.WAITING
    assert trial.intermediate_values == {1: 0.4}
    assert work.queue.counts().retried == 0


@pytest.mark.parametrize("when", ["epoch", "finished"])
def test_trial_told_from_the_dashboard_is_let_go(play: Play, work: Assignment, when: str) -> None:
    def meddle() -> None:
        optuna.load_study(study_name="s", storage=work.queue.storage).tell(0, 0.123)

    rest = [epoch(2), epoch(3), finished()] if when == "epoch" else [finished()]
    trial = play([READY, started(), epoch(1), *([] if when == "epoch" else [epoch(2), epoch(3)]), meddle, *rest])
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.123)


def test_slot_taken_for_dead_joins_anew_and_its_late_result_is_discarded(play: Play, work: Assignment) -> None:
    def presume_dead() -> None:
        work.queue.reap([slot.slot_id for slot in work.queue.slots()])

    trial = play(
        [READY, started(), epoch(1, 0.9), presume_dead, epoch(2, 0.9), epoch(3, 0.9), finished()],
        [READY, started(epoch(1, 0.9)), epoch(2, 0.5), epoch(3, 0.6), finished()],
    )
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.6)


def test_what_happens_is_told(play: Play, work: Assignment) -> None:
    told: list[Event] = []
    heard = dataclasses.replace(work, tell=told.append)
    play([READY, started(), epoch(1), epoch(2), epoch(3), finished()], assignment=heard)
    assert [type(event.what) for event in told] == [Begun, EpochDone, EpochDone, EpochDone, Completed]


@pytest.mark.parametrize("outgrown", [False, True])
def test_process_trains_one_trial_after_another_until_it_is_outgrown(outgrown: bool, work: Assignment) -> None:
    work.queue.fill(2)
    trials = [[started(trial=n), *(epoch(e, e / 10, trial=n) for e in (1, 2, 3)), finished(trial=n)] for n in (0, 1)]
    scripts = [[READY, *trials[0]], [READY, *trials[1]]] if outgrown else [[READY, *trials[0], *trials[1]]]
    script = Script(scripts, outgrown=outgrown)
    Slot(Place(0, "cpu"), dataclasses.replace(work, start=script.start)).run()
    assert work.queue.counts().complete == 2
    assert not script.scripts


def test_trial_whose_checkpoints_would_go_through_a_link_waits_and_the_slot_ends(
    play: Play, work: Assignment, tmp_path: Path
) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "checkpoints").symlink_to(tmp_path / "theirs")
    with pytest.raises(StartError, match="is a link"):
        play([READY, started()], [READY, started()], [READY, started()])
    assert work.queue.counts().waiting == 1
    assert list((tmp_path / "theirs").iterdir()) == []


def test_trial_of_which_too_little_is_expected_goes_back_without_values_and_the_slot_ends(
    work: Assignment, script: Script
) -> None:
    study = optuna.load_study(study_name="s", storage=work.queue.storage)
    for place in range(1, 8):
        params = {"learning_rate": 0.01 * place}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=SPACE.distributions(), value=0.5))
    work.queue.begin(Limits(until_expected_gain=10.0))
    script.scripts = [[READY]]
    Slot(Place(0, "cpu"), dataclasses.replace(work, start=script.start)).run()
    first = study.trials[0]
    assert (first.state, first.params) == (TrialState.WAITING, {})
    assert str(work.queue.stopped_by()).startswith("gp expects no gain above 10: ")
    assert work.queue.slots() == []
