from __future__ import annotations

from optuna.trial import TrialState
from sqlalchemy import orm
from study_maker import make_foreign, make_study

from studies.queue.queue import Queue
from studies.record.cost import Ledger, TrialCost, ledger
from studies.store.attributes import TRIAL_USER
from studies.store.storage import Storage


def test_pruned_trial_saved_the_epochs_it_had_left_at_its_own_pace(storage: Storage) -> None:
    study = make_study(storage, 0.5, TrialState.PRUNED, TrialState.FAIL)
    account = ledger(storage, study.study_id)
    assert account.by_trial == {0: TrialCost(6.0, 0.0), 1: TrialCost(2.0, 4.0), 2: TrialCost(2.0, 0.0)}
    assert (account.device_seconds, account.saved_seconds) == (10.0, 4.0)


def test_epochs_of_a_running_trial_and_of_one_given_back_are_in_the_account(storage: Storage) -> None:
    study = make_study(storage, 0.5)
    queue = Queue(storage, study.study_id)
    slot = queue.join("cpu")
    taken = queue.take(slot)
    assert taken is not None
    metrics = {"loss": 1.0, "accuracy": 0.1, "val_loss": 1.0, "val_accuracy": 0.1, "learning_rate": 0.1, "seconds": 3.5}
    queue.record_epoch(slot, taken.trial_id, {**metrics, "epoch": 1})
    assert ledger(storage, study.study_id).by_trial[1] == TrialCost(3.5, 0.0)
    queue.leave(slot)
    assert ledger(storage, study.study_id).device_seconds == 9.5


def test_another_programs_study_has_no_cost(storage: Storage) -> None:
    make_foreign(storage, "other", (1.0,), directions=["minimize"])
    study_id = storage.get_study_id_from_name("other")
    assert ledger(storage, study_id) == Ledger({})


def test_another_programs_config_is_no_plan(storage: Storage) -> None:
    study = make_study(storage, TrialState.PRUNED, TrialState.PRUNED)
    trials = storage.get_all_trials(study.study_id)[:2]
    with orm.Session(storage.engine) as session, session.begin():
        for trial, config in zip(trials, ("a/file.yaml", {"epochs": "many"}), strict=True):
            TRIAL_USER.write(session, trial._trial_id, {"config": config})
    account = ledger(storage, study.study_id)
    assert (account.device_seconds, account.saved_seconds) == (4.0, 0.0)
