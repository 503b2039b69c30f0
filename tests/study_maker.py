"""Studies as a run leaves them, made without training: what the tests of the command line look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import optuna
from optuna.trial import TrialState

from search.space.space import SearchSpace
from studies.queue.queue import Queue
from studies.record.catalog import StudyRecord, open_study
from studies.store.storage import Storage

SPACE = {
    "study": {"name": "small", "trials": 4},
    "data": {"source": "synthetic", "validation_images": 400},
    "space": {"batch_size": 32, "learning_rate": {"low": 0.001, "high": 0.1, "log": True}, "epochs": 3},
}
DATA = {"source": "synthetic", "fingerprint": "f" * 16, "train_images": 1600, "validation_images": 400}
EPOCHS = 3

Direction = Literal["minimize", "maximize"]
Outcome = float | TrialState | None


def make_study(
    storage: Storage, *outcomes: Outcome, name: str = "small", trials: int = 4, fingerprint: str = "f" * 16
) -> StudyRecord:
    """A study of ours of which the first trials ended so.

    A number is a complete trial's value, PRUNED and FAIL are what they say, and None a trial that waits.
    """
    data = {**DATA, "fingerprint": fingerprint}
    study, _ = open_study(storage, name, {"space": SearchSpace.from_dict(SPACE).to_dict(), "data": data})
    queue = Queue(storage, study.study_id)
    queue.fill(trials)
    slot = queue.join("cpu")
    for outcome in outcomes:
        taken = queue.take(slot)
        assert taken is not None
        if outcome is None:
            queue.give_back(slot, taken.trial_id, crashed=False)
            break
        rate = 0.01 * (taken.number + 1)
        distribution = optuna.distributions.FloatDistribution(0.001, 0.1, log=True)
        storage.set_trial_param(taken.trial_id, "learning_rate", rate, distribution)
        config: dict[str, Any] = {"batch_size": 32, "learning_rate": rate, "epochs": EPOCHS, "schedule": "constant"}
        config |= {"seed": taken.number, "precision": "float32"}
        stored = {"config": config, "data_fingerprint": fingerprint, "device": "cpu", "git_commit": None}
        queue.describe(slot, taken.trial_id, {**stored, "versions": {"python": "3.11"}, "host": "here"})
        value = outcome if isinstance(outcome, float) else 0.2
        epochs_run = EPOCHS if isinstance(outcome, float) else 1
        for epoch in range(1, epochs_run + 1):
            metrics = {"loss": 1.0, "accuracy": value, "val_loss": 1.0, "val_accuracy": value, "seconds": 2.0}
            queue.record_epoch(slot, taken.trial_id, {**metrics, "epoch": epoch, "learning_rate": rate})
        state = TrialState.COMPLETE if isinstance(outcome, float) else outcome
        attributes: dict[str, Any] = {"epochs_run": epochs_run, "seconds": 2.0 * epochs_run}
        if state is TrialState.FAIL:
            attributes |= {"failure": "diverged", "reason": "the loss became NaN"}
        queue.settle(slot, taken.trial_id, state, None if state is TrialState.FAIL else value, attributes)
    queue.leave(slot)
    return study


def make_foreign(storage: Storage, name: str, *values: tuple[float, ...], directions: Sequence[Direction]) -> None:
    """A study of another Optuna program; `values` are those of its complete trials."""
    study = optuna.create_study(study_name=name, storage=storage, directions=directions)
    for each in values:
        study.add_trial(optuna.trial.create_trial(values=each, state=TrialState.COMPLETE))


OWN_SPACE = {
    "study": {"name": "own", "trials": 7},
    "train": {
        "function": "train.py:fit",
        "metric": "rmse",
        "direction": "minimize",
        "epochs": "rounds",
    },
    "space": {
        "lr": {"low": 1e-5, "high": 0.1, "log": True},
        "layers": {"low": 1, "high": 4},
        "use_bn": {"choices": [True, False]},
        "optimizer": {"choices": ["sgd", "adam"]},
        "momentum": {"low": 0.0, "high": 0.99, "when": {"optimizer": ["sgd"]}},
        "clip": {"value": 5, "when": {"optimizer": ["sgd"]}},
        "rounds": EPOCHS,
    },
}
OWN_DATA = {"source": "train.py:fit", "fingerprint": "a" * 64, "versions": {"python": "3.12", "torch": "2.13"}}
OWN_VALUES: tuple[float | TrialState, ...] = (0.75, 0.250125, TrialState.PRUNED, TrialState.FAIL, 12.5)
"""Of `make_own_study`: its best is trial 1, the smallest; trial 5 runs, trial 6 waits."""


def make_own_study(storage: Storage, name: str = "own") -> StudyRecord:
    """A study of a training of one's own that minimises "rmse": three trials complete, one pruned, failed, running."""
    space = SearchSpace.from_dict({**OWN_SPACE, "study": {"name": name, "trials": 7}})
    study, _ = open_study(storage, name, {"space": space.to_dict(), "data": OWN_DATA})
    queue = Queue(storage, study.study_id)
    queue.fill(7)
    slot = queue.join("cpu")
    for outcome in (*OWN_VALUES, TrialState.RUNNING):
        taken = queue.take(slot)
        assert taken is not None
        number = taken.number
        chosen: dict[str, Any] = {"lr": 0.01 * (number + 1), "layers": 1 + number % 4, "use_bn": number % 2 == 0}
        chosen |= {"optimizer": "adam" if number % 2 else "sgd"} | ({} if number % 2 else {"momentum": 0.5})
        for parameter, distribution in space.distributions().items():
            if parameter in chosen:
                value = distribution.to_internal_repr(chosen[parameter])
                storage.set_trial_param(taken.trial_id, parameter, value, distribution)
        params = {**chosen, **({} if number % 2 else {"clip": 5}), "rounds": EPOCHS}
        stored: dict[str, Any] = {
            "config": {"params": params, "epochs": EPOCHS, "seed": number},
            "device": "cpu",
            "host": "here",
        }
        stored |= {"data_fingerprint": OWN_DATA["fingerprint"], "git_commit": None}
        queue.describe(slot, taken.trial_id, {**stored, "versions": OWN_DATA["versions"]})
        last = outcome if isinstance(outcome, float) else 3.0
        run = EPOCHS if isinstance(outcome, float) else 1
        for epoch in range(1, run + 1):
            metrics = {"rmse": last * (run - epoch + 1), "loss": 0.5, "val_loss": 0.625, "epoch": epoch, "seconds": 2.0}
            queue.record_epoch(slot, taken.trial_id, metrics, optimised="rmse")
        if outcome is TrialState.RUNNING:
            break
        state = TrialState.COMPLETE if isinstance(outcome, float) else outcome
        attributes: dict[str, Any] = {"epochs_run": run, "seconds": 2.0 * run}
        if state is TrialState.FAIL:
            attributes |= {"failure": "diverged", "reason": "the rmse became NaN"}
        queue.settle(slot, taken.trial_id, state, None if state is TrialState.FAIL else last, attributes)
    return study
