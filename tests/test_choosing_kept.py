"""What is proposed and pruned where an accuracy is maximised: as it was before any other metric could be searched.

But for the gains of trials that ended earlier, which `reach` counts since: verdicts came later by it, none sooner.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState

from search.choosing.proposing import StudyOfLessons, propose
from search.choosing.pruning import build_pruner
from search.space.pruners import ReachSpec
from search.space.space import SearchSpace

SPACE: dict[str, Any] = {
    "batch_size": {"choices": [8, 16, 64]},
    "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
    "epochs": {"low": 2, "high": 12, "step": 2},
    "schedule": {"choices": ["constant", "step"]},
    "step_epochs": {"choices": [1, [1, 2]]},
    "step_factor": {"low": 0.1, "high": 0.5, "log": True},
    "dropout": {"low": 0.0, "high": 0.6},
    "optimizer": {"choices": ["sgd", "adam", "nesterov"]},
    "momentum": {"low": 0.1, "high": 0.9, "step": 0.1},
}


PROPOSED: dict[tuple[int, float], list[float]] = {
    (0, 0.3): [
        0.00023241091455312657,
        0.16948122557277118,
        0.5100080172512722,
        0.6710486751669711,
        0.005321803594657875,
        0.010769407871288045,
        0.011304133959655538,
    ],
    (1, 0.02): [
        0.0031489831378857637,
        0.0001200624011215917,
        0.002425268834455586,
        0.0015364847419786743,
        0.011238097430279906,
        0.08108689078558079,
        0.27928642344863536,
    ],
    (3, 0.0005): [
        0.0001,
        0.2506022183964332,
        0.00024485775339849595,
        0.0003017442115028369,
        0.00034940935646465116,
        0.00047496542918391187,
        0.0004826178057158297,
    ],
}
"""Of a study's seed and the learning rate above which trials diverge: the learning rates from the fifth trial on."""

PRUNED: list[tuple[int, ReachSpec, str]] = [
    (0, ReachSpec(), ".44..6.1..13.422121812222222221.4122132."),
    (1, ReachSpec(margin=0.0, confidence=0.5), ".1121..111111211111111111111111111141121"),
    (1, ReachSpec(), ".44.5...53126721111421554314121151581152"),
    (2, ReachSpec(n_min_trials=3, n_warmup_steps=2, confidence=0.0), "....2.52.2222..222242..222.6422222522242"),
]
"""Of a study's seed and its pruner, what `verdicts` gave."""


def accuracy(params: dict[str, Any], epoch: int, number: int) -> float:
    """Rises with the epochs, is best at a learning rate of 0.01, and differs a little from trial to trial."""
    off = abs(math.log10(params["learning_rate"] / 0.01)) + params["dropout"] * (params["optimizer"] == "adam")
    return round(max(0.05, float(0.7 - 0.2 * off)) * (1 - 0.6**epoch) + 0.001 * (number * 7 % 5), 4)


def history(seed: int, trials: int, failing_above: float) -> list[dict[str, Any]]:
    """The values of each trial of a study: some fail, some are pruned, one runs on, one takes over a result."""
    space = SearchSpace.from_dict(
        {
            "study": {"name": "s", "trials": 99, "seed": seed},
            "space": SPACE,
            "sampler": {"name": "gp", "n_startup_trials": 4},
        }
    )
    storage = optuna.storages.InMemoryStorage()
    study_id = storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], "s")
    study = StudyOfLessons("s", storage)
    for number in range(trials):
        trial_id = storage.create_new_trial(study_id)
        config = propose(study, trial_id, number, space).config
        params = storage.get_trial(trial_id).params
        if params["learning_rate"] > failing_above:
            storage.set_trial_user_attr(trial_id, "failure", "diverged")
            storage.set_trial_state_values(trial_id, TrialState.FAIL)
            continue
        if number == 5:
            storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [0.25])
            continue
        last = max(1, config.epochs // 3) if number % 3 == 1 else config.epochs
        for epoch in range(1, last + 1):
            storage.set_trial_intermediate_value(trial_id, epoch, accuracy(params, epoch, number))
        if number != 6:
            state = TrialState.COMPLETE if last == config.epochs else TrialState.PRUNED
            storage.set_trial_state_values(trial_id, state, [accuracy(params, last, number)])
    return [trial.params for trial in storage.get_all_trials(study_id)]


def verdicts(seed: int, spec: ReachSpec) -> str:
    """Of each of 40 trials of a study, after which epoch it was pruned, or a dot."""
    random = np.random.default_rng(seed)
    study = optuna.create_study(direction="maximize", pruner=build_pruner(spec, 9))
    found = ""
    for _ in range(40):
        planned = int(random.integers(3, 10))
        level, slowness = random.uniform(0.1, 0.8), random.uniform(0.3, 0.9)
        curve = level * (1 - slowness ** np.arange(1, planned + 1)) + random.normal(0, 0.01, planned)
        accuracies = [float(each) for each in curve.clip(0, 1).round(4)]
        study.enqueue_trial({"epochs": planned} if planned < 9 else {})
        trial = study.ask({"epochs": IntDistribution(3, 9)} if planned < 9 else {})
        for epoch, each in enumerate(accuracies, start=1):
            trial.report(each, epoch)
            if epoch < planned and trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                found += str(epoch)
                break
        else:
            study.tell(trial, accuracies[-1])
            found += "."
    return found


@pytest.mark.parametrize("case", PROPOSED)
def test_proposals_for_an_accuracy_are_those_of_before_bit_for_bit(case: tuple[int, float]) -> None:
    rates = [params["learning_rate"] for params in history(case[0], 11, failing_above=case[1])]
    assert rates[4:] == PROPOSED[case]


@pytest.mark.parametrize(("seed", "spec", "pruned"), PRUNED)
def test_verdicts_for_an_accuracy_are_those_of_before(seed: int, spec: ReachSpec, pruned: str) -> None:
    assert verdicts(seed, spec) == pruned
