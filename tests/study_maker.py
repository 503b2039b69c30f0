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
