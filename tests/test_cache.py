"""What sampler and pruner see of a study: every trial that started, as the database has it now."""

from __future__ import annotations

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState

import studies.store.cache
from studies.queue.queue import Queue
from studies.store.cache import AllTrials, StartedTrials
from studies.store.opening import open_storage


@pytest.fixture
def queue(database_url: str) -> Queue:
    study = optuna.create_study(study_name="s", storage=open_storage(database_url), direction="maximize")
    return Queue(open_storage(database_url), study._study_id)


@pytest.fixture
def seen(queue: Queue) -> optuna.Study:
    database_url = queue.storage.safe_url
    return optuna.load_study(study_name="s", storage=StartedTrials(open_storage(database_url)))


def take(queue: Queue) -> tuple[str, int]:
    slot = queue.join("cpu")
    taken = queue.take(slot)
    assert taken is not None
    return slot, taken.trial_id


def states(study: optuna.Study) -> dict[int, TrialState]:
    return {trial.number: trial.state for trial in study.get_trials(deepcopy=False)}


@pytest.mark.parametrize("many", [0, 500])
def test_trials_are_seen_from_their_start_to_their_end(
    queue: Queue, seen: optuna.Study, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies.store.cache, "MANY", many)  # 0: all at once
    queue.fill(5)
    assert states(seen) == {}
    held = [take(queue) for _ in range(3)]
    assert states(seen) == dict.fromkeys(range(3), TrialState.RUNNING)
    queue.settle(*held[2], TrialState.COMPLETE, 0.7, {})
    queue.settle(*held[1], TrialState.PRUNED, 0.2, {})
    assert states(seen) == {0: TrialState.RUNNING, 1: TrialState.PRUNED, 2: TrialState.COMPLETE}
    take(queue)
    assert states(seen)[3] == TrialState.RUNNING
    assert seen.best_value == 0.7


def test_trial_that_went_back_and_is_run_by_another_is_seen_anew(queue: Queue, seen: optuna.Study) -> None:
    queue.fill(2)
    first, second = take(queue), take(queue)
    queue.settle(*second, TrialState.COMPLETE, 0.5, {})
    assert states(seen)[0] == TrialState.RUNNING
    queue.give_back(*first, crashed=True)
    assert states(seen) == {1: TrialState.COMPLETE}
    again = take(queue)
    queue.settle(*again, TrialState.COMPLETE, 0.6, {})
    assert seen.get_trials(deepcopy=False)[0].value == 0.6


def test_deleted_trial_is_forgotten(queue: Queue, seen: optuna.Study) -> None:
    queue.fill(2)
    for value in (0.1, 0.2):
        queue.settle(*take(queue), TrialState.COMPLETE, value, {})
    assert len(states(seen)) == 2
    with queue.storage.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM trial_values WHERE trial_id = 1"))
        connection.execute(sa.text("DELETE FROM trials WHERE trial_id = 1"))
    assert states(seen) == {1: TrialState.COMPLETE}


def test_trial_in_hand_can_be_given_its_values(queue: Queue, seen: optuna.Study) -> None:
    queue.fill(3)
    _, trial_id = take(queue)
    seen.get_trials(deepcopy=False)
    optuna.Trial(seen, trial_id).suggest_float("x", 0, 1)
    assert "x" in seen.get_trials(deepcopy=False)[0].params


@pytest.mark.parametrize("many", [0, 500])
def test_pages_see_waiting_trials_and_every_change_of_state(
    queue: Queue, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies.store.cache, "MANY", many)
    storage = AllTrials(open_storage(queue.storage.safe_url))
    study = optuna.load_study(study_name="s", storage=storage)
    queue.fill(4)
    assert states(study) == dict.fromkeys(range(4), TrialState.WAITING)
    first, second = take(queue), take(queue)
    queue.describe(*second, {"host": "here"})
    assert states(study) == {
        0: TrialState.RUNNING, 1: TrialState.RUNNING, 2: TrialState.WAITING, 3: TrialState.WAITING
    }  # fmt: skip
    queue.settle(*first, TrialState.COMPLETE, 0.5, {"reason": "done"})
    queue.give_back(*second, crashed=False)
    seen = study.get_trials(deepcopy=False)
    assert [trial.state for trial in seen[:2]] == [TrialState.COMPLETE, TrialState.WAITING]
    assert seen[0].user_attrs == {"reason": "done"}
    assert seen[1].user_attrs == {"host": "here"}


def test_trials_that_go_on_waiting_are_not_read_again(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = open_storage(queue.storage.safe_url)
    study = optuna.load_study(study_name="s", storage=AllTrials(backend))
    queue.fill(5)
    take(queue)
    assert len(states(study)) == 5
    read: list[int] = []
    original = backend._get_trials
    monkeypatch.setattr(backend, "_get_trials", lambda *asked: [read.append(t.number) or t for t in original(*asked)])  # type: ignore[func-returns-value]
    assert len(states(study)) == 5
    assert read == [0]


def test_of_many_that_run_reports_are_read_now_and_then_and_ends_at_once(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies.store.cache, "FEW", 1)
    monkeypatch.setattr(studies.store.cache, "PAUSE_SECONDS", 10.0)
    now = [0.0]
    cached = StartedTrials(open_storage(queue.storage.safe_url), clock=lambda: now[0])
    study = optuna.load_study(study_name="s", storage=cached)
    queue.fill(3)
    held = [take(queue) for _ in range(3)]

    def reports() -> list[dict[int, float]]:
        return [trial.intermediate_values for trial in study.get_trials(deepcopy=False)]

    def report(epoch: int) -> None:
        for one in held:
            queue.storage.set_trial_intermediate_value(one[1], epoch, 0.5)

    report(1)
    assert reports() == [{1: 0.5}] * 3
    report(2)
    assert reports() == [{1: 0.5, 2: 0.5}] * 3  # a trial that has no values yet may be about to get them
    for _, trial_id in held:
        queue.storage.set_trial_param(trial_id, "x", 0.5, optuna.distributions.FloatDistribution(0, 1))
    reports()
    report(3)
    assert reports() == [{1: 0.5, 2: 0.5}] * 3
    assert cached.get_trial(held[0][1]).intermediate_values == {1: 0.5, 2: 0.5, 3: 0.5}
    queue.settle(*held[0], TrialState.COMPLETE, 0.5, {})
    assert [len(each) for each in reports()] == [3, 2, 2]
    now[0] = 10.0
    assert [len(each) for each in reports()] == [3, 3, 3]


def test_new_trial_with_the_id_of_a_deleted_one_is_not_taken_for_it(queue: Queue, seen: optuna.Study) -> None:
    queue.fill(2)
    for value in (0.1, 0.2):
        queue.settle(*take(queue), TrialState.COMPLETE, value, {})
    assert [trial.value for trial in seen.get_trials(deepcopy=False)] == [0.1, 0.2]
    with queue.storage.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM trial_values"))
        connection.execute(sa.text("DELETE FROM trial_heartbeats"))
        connection.execute(sa.text("DELETE FROM trials"))
    queue.fill(2)
    for value in (0.3, 0.4):
        queue.settle(*take(queue), TrialState.COMPLETE, value, {})
    assert [trial.value for trial in seen.get_trials(deepcopy=False)] == [0.3, 0.4]
