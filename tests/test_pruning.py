"""Pruners from a space file, and the traps that their defaults are there for."""

from __future__ import annotations

import warnings
from typing import Any

import optuna
import pytest
from optuna import pruners
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import TrialState
from pydantic import TypeAdapter, ValidationError

from model.config import TrainConfig
from search.choosing.pruning import build_pruner, is_spared
from search.choosing.reach import ReachPruner
from search.space.pruners import (
    HyperbandSpec,
    MedianSpec,
    NoPruningSpec,
    PatientSpec,
    PrunerSpec,
    ReachSpec,
    WilcoxonSpec,
)

optuna.logging.set_verbosity(optuna.logging.WARNING)


def spec_of(**values: Any) -> PrunerSpec:
    spec: PrunerSpec = TypeAdapter(PrunerSpec).validate_python(values, strict=True)
    return spec


def study_with(spec: PrunerSpec, curves: list[list[float]], max_epochs: int = 10) -> optuna.Study:
    """A study whose complete trials had these accuracies, epoch by epoch."""
    study = optuna.create_study(direction="maximize", pruner=build_pruner(spec, max_epochs))
    for curve in curves:
        study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.COMPLETE,
                value=curve[-1],
                params={"epochs": len(curve)},
                distributions={"epochs": IntDistribution(1, 100)},
                intermediate_values=dict(enumerate(curve, start=1)),
            )
        )
    return study


def pruned_at(study: optuna.Study, curve: list[float], planned: int | None = None) -> int | None:
    """The epoch at which a trial with these accuracies is stopped, or None; it is to have `planned` epochs."""
    trial = study.ask()
    if planned:
        trial.suggest_int("epochs", planned, planned)
    for epoch, accuracy in enumerate(curve, start=1):
        trial.report(accuracy, epoch)
        if trial.should_prune():
            return epoch
    return None


SHORT = [[0.30, 0.40, 0.45]] * 5
LONGER = [0.30, 0.40, 0.45, 0.52, 0.60]
EQUAL_BUT_FOR_NOISE = [0.30, 0.40, 0.45, 0.519, 0.601]


def test_one_longer_trial_does_not_prune_its_equal() -> None:
    """With Optuna's own n_min_trials = 1 it does, at the first epoch only the two of them reached."""
    careless = study_with(MedianSpec(n_min_trials=1), [*SHORT, LONGER])
    assert pruned_at(careless, EQUAL_BUT_FOR_NOISE) == 4
    assert pruned_at(study_with(MedianSpec(), [*SHORT, LONGER]), EQUAL_BUT_FOR_NOISE) is None


def test_median_prunes_the_hopeless_after_the_warm_up() -> None:
    study = study_with(MedianSpec(), [LONGER] * 5)
    assert pruned_at(study, [0.10, 0.10, 0.10, 0.10, 0.10]) == 2
    assert pruned_at(study, LONGER) is None


def test_nobody_is_pruned_before_the_startup_trials_are_complete() -> None:
    assert pruned_at(study_with(MedianSpec(), [LONGER] * 4), [0.1] * 5) is None


def test_percentile_prunes_all_but_the_best_quarter() -> None:
    curves = [[level, level, level] for level in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)]
    study = study_with(spec_of(name="percentile", percentile=25.0), curves)
    assert pruned_at(study, [0.55] * 3) == 2
    assert pruned_at(study, [0.75] * 3) is None


def test_patient_waits_while_the_trial_improves() -> None:
    study = study_with(PatientSpec(patience=1), [LONGER] * 5)
    assert pruned_at(study, [0.10, 0.11, 0.12, 0.13, 0.14]) is None
    assert pruned_at(study, [0.10, 0.09, 0.09, 0.09, 0.09]) == 3


def test_none_prunes_nothing() -> None:
    assert pruned_at(study_with(NoPruningSpec(), [LONGER] * 9), [0.0] * 5) is None


def test_successive_halving_stops_the_worse_at_the_first_rung() -> None:
    study = study_with(spec_of(name="successive_halving", min_resource=2), [])
    assert pruned_at(study, [0.5, 0.6, 0.7]) is None
    assert pruned_at(study, [0.1, 0.1, 0.1]) == 2


def test_wilcoxon_prunes_what_stays_below_the_best() -> None:
    best = [0.1 * epoch for epoch in range(1, 10)]
    study = study_with(WilcoxonSpec(n_startup_steps=5), [best])
    assert pruned_at(study, [value - 0.05 for value in best]) == 5
    assert pruned_at(study, [*(value + 0.01 for value in best), 0.99]) is None


FAST = [0.3, 0.4, 0.5, 0.6]
SLOW = [0.1, 0.1, 0.4, 0.55]


def test_reach_prunes_what_can_not_come_near_the_best_any_more() -> None:
    """From epoch 2 on FAST gained 0.2, which with confidence 0.5 stands for 0.4."""
    spec = ReachSpec(margin=0.0, confidence=0.5)
    assert pruned_at(study_with(spec, [FAST]), [0.1, 0.1, 0.4], planned=4) == 2
    assert pruned_at(study_with(spec, [FAST]), [0.1, 0.21, 0.4], planned=4) is None


def test_reach_has_learnt_from_a_slow_starter_what_is_possible() -> None:
    study = study_with(ReachSpec(confidence=0.0), [FAST, SLOW])
    assert pruned_at(study, [0.1, 0.1, 0.4], planned=4) is None
    assert pruned_at(study, [0.1, 0.1, 0.2], planned=4) == 3
    assert pruned_at(study_with(ReachSpec(confidence=0.0), [FAST]), [0.1, 0.1, 0.4], planned=4) == 1


def test_reach_does_not_take_it_from_a_first_trial_at_chance_that_nothing_can_be_gained() -> None:
    """Shorter ones rose meanwhile; else all that could show more would be pruned, and the study never learn of it."""
    at_chance, short, flat = [0.1] * 4, [0.25, 0.35, 0.45], [0.45] * 3
    assert pruned_at(study_with(ReachSpec(), [at_chance, short]), [0.25, 0.3, 0.41], planned=4) is None
    assert pruned_at(study_with(ReachSpec(), [at_chance, flat]), [0.25, 0.3, 0.41], planned=4) == 1


def test_reach_trusts_the_largest_gain_the_more_the_more_trials_it_was_seen_in() -> None:
    """By default, that of one trial stands for twenty times as much, that of five for 1.8 times, of twenty for 1.16."""
    for trials in (5, 20):
        possible = 0.1 * 0.05 ** (-1 / trials)
        study = study_with(ReachSpec(margin=0.0), [[0.5, 0.6]] * trials)
        assert pruned_at(study, [0.6 - possible + 0.001], planned=2) is None
        assert pruned_at(study, [0.6 - possible - 0.001], planned=2) == 1
    assert pruned_at(study_with(ReachSpec(), [FAST]), [0.0] * 3, planned=4) is None


def test_reach_judges_sooner_who_has_fewer_epochs_left() -> None:
    study = study_with(ReachSpec(margin=0.0), [FAST] * 20)
    assert pruned_at(study, [0.3, 0.4], planned=2) == 1
    assert pruned_at(study, [0.3, 0.4, 0.5], planned=4) is None


def test_reach_waits_until_a_trial_was_trained_as_long_as_this_one_is_to_be() -> None:
    """How much is gained in epochs that nobody trained yet is not known."""
    study = study_with(ReachSpec(), [FAST] * 9)
    assert pruned_at(study, [0.0] * 9, planned=9) is None
    assert pruned_at(study_with(ReachSpec(n_min_trials=10), [FAST] * 9), [0.0] * 3, planned=4) is None
    assert pruned_at(study_with(ReachSpec(n_warmup_steps=3), [FAST] * 9), [0.0] * 3, planned=4) == 3


def test_reach_spares_those_that_end_within_its_margin() -> None:
    slower = [0.25, 0.35, 0.45]
    assert pruned_at(study_with(ReachSpec(margin=0.05), [FAST] * 100), slower, planned=4) is None
    assert pruned_at(study_with(ReachSpec(margin=0.0), [FAST] * 100), slower, planned=4) == 1


def test_reach_does_not_judge_by_one_bad_epoch() -> None:
    study = study_with(ReachSpec(margin=0.0), [FAST] * 3)
    assert pruned_at(study, [0.3, 0.48, 0.1], planned=4) is None


def test_reach_counts_what_still_runs_and_not_what_failed() -> None:
    study = study_with(ReachSpec(confidence=0.0), [[0.1, 0.2]])
    running = study.ask()
    running.report(0.9, 1)
    assert pruned_at(study, [0.1], planned=2) == 1
    study.tell(running, state=TrialState.FAIL)
    assert pruned_at(study, [0.1], planned=2) is None


@pytest.mark.parametrize(
    ("schedule", "planned", "pruned"),
    [("cosine", 4, 2), ("cosine", 3, None), ("linear", 4, None), ("constant", 4, None)],
)
def test_reach_counts_gains_of_as_many_epochs_under_a_schedule_that_depends_on_them(
    schedule: str, planned: int, pruned: int | None
) -> None:
    """FAST, of 4 epochs, tells nothing about those that planned 3, nor about those of another schedule."""
    distributions: dict[str, Any] = {
        "epochs": IntDistribution(1, 100),
        "schedule": CategoricalDistribution(["constant", "cosine", "linear"]),
    }
    pruner = ReachPruner(
        lambda params: params["epochs"],
        0.0,
        confidence=0.0,
        over_all=lambda params: params["schedule"].replace("constant", ""),
    )
    study = optuna.create_study(direction="maximize", pruner=pruner)
    study.add_trial(
        optuna.trial.create_trial(
            value=0.6,
            params={"epochs": 4, "schedule": "cosine"},
            distributions=distributions,
            intermediate_values=dict(enumerate(FAST, start=1)),
        )
    )
    study.enqueue_trial({"epochs": planned, "schedule": schedule})
    trial = study.ask(distributions)
    found = None
    for epoch, accuracy in enumerate([0.31, 0.31, 0.31], start=1):
        trial.report(accuracy, epoch)
        found = found or (epoch if trial.should_prune() else None)
    assert found == pruned


@pytest.mark.parametrize("bounded", [True, False])
def test_reach_takes_values_as_far_apart_as_floats_go_without_a_warning(bounded: bool) -> None:
    pruner = ReachPruner(lambda _: 4, None, bounded=bounded, confidence=0.5)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for values in ([-1.7e308, 1.7e308], [1.7e308, -1.7e308], [-1.7e308, -1.7e308]):
        reports = {1: values[0], 4: values[1]}
        study.add_trial(optuna.trial.create_trial(value=values[1], intermediate_values=reports))
    trial = study.ask()
    trial.report(-1.7e308, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not trial.should_prune()


@pytest.mark.parametrize("name", ["median", "percentile", "patient", "successive_halving", "hyperband", "wilcoxon"])
def test_trial_that_is_to_be_shorter_is_not_pruned_for_it(name: str) -> None:
    """It follows the curve of those that went on to twice its epochs and three times its accuracy."""
    long = [0.1 * epoch for epoch in range(1, 10)]
    study = study_with(spec_of(name=name), [long] * 6)
    assert pruned_at(study, long[:4]) is None


def config_of(**values: Any) -> TrainConfig:
    return TrainConfig(**{"batch_size": 8, "learning_rate": 0.1, "epochs": 12, **values})


@pytest.mark.parametrize(
    ("values", "grace", "spared"),
    [
        ({}, 2, []),
        ({"schedule": "step", "step_epochs": [6], "step_factor": 0.1}, 2, [5, 6]),
        ({"schedule": "step", "step_epochs": [6, 10], "step_factor": 0.1}, 3, [4, 5, 6, 9, 10]),
        ({"schedule": "step", "step_epochs": [6], "step_factor": 0.1}, 0, []),
        ({"schedule": "step", "step_epochs": [12, 20], "step_factor": 0.1}, 2, []),
        ({"schedule": "step", "step_epochs": 4, "step_factor": 0.1}, 2, [3, 4, 7, 8]),
        ({"schedule": "step", "step_epochs": 1, "step_factor": 0.1}, 2, []),
        ({"warmup_epochs": 2}, 2, [1, 2]),
        ({"schedule": "cosine"}, 2, [11, 12]),
        ({"schedule": "linear", "warmup_epochs": 1}, 3, [1, 10, 11, 12]),
        ({"schedule": "cosine"}, 20, [7, 8, 9, 10, 11, 12]),
    ],
)
def test_no_trial_is_judged_when_a_step_is_near_or_while_it_warms_up(
    values: dict[str, Any], grace: int, spared: list[int]
) -> None:
    spec, config = MedianSpec(step_grace=grace), config_of(**values)
    assert [epoch for epoch in range(1, 13) if is_spared(spec, config, epoch)] == spared
    assert not any(is_spared(NoPruningSpec(), config, epoch) for epoch in range(1, 13))


def test_hyperband_places_its_rungs_by_the_longest_trial_of_the_space() -> None:
    """Left to itself, Optuna takes the first complete trial's epochs: one bracket here, where 50 epochs have four."""
    for max_epochs, brackets in ((2, 1), (50, 4)):
        pruner = build_pruner(HyperbandSpec(), max_epochs)
        study = optuna.create_study(direction="maximize", pruner=pruner)
        assert pruned_at(study, [0.5, 0.5]) is None
        assert isinstance(pruner, pruners.HyperbandPruner)
        assert pruner._n_brackets == brackets


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"name": "reach"}, ReachPruner),
        ({"name": "median"}, pruners.MedianPruner),
        ({"name": "percentile"}, pruners.PercentilePruner),
        ({"name": "patient"}, pruners.PatientPruner),
        ({"name": "successive_halving", "bootstrap_count": 3}, pruners.SuccessiveHalvingPruner),
        ({"name": "hyperband", "bootstrap_count": 3}, pruners.HyperbandPruner),
        ({"name": "wilcoxon"}, pruners.WilcoxonPruner),
        ({"name": "none"}, pruners.NopPruner),
    ],
)
@pytest.mark.filterwarnings("error")
def test_every_name_builds_its_pruner_without_a_warning(values: dict[str, Any], kind: type[pruners.BasePruner]) -> None:
    assert type(build_pruner(spec_of(**values), max_epochs=3)) is kind


@pytest.mark.parametrize(
    "values",
    [
        {"name": "reach", "margin": -0.1},
        {"name": "reach", "n_min_trials": 0},
        {"name": "reach", "confidence": 1.0},
        {"name": "median", "n_startup_trials": -1},
        {"name": "median", "n_warmup_steps": 1.5},
        {"name": "median", "interval_steps": 0},
        {"name": "median", "n_min_trials": 0},
        {"name": "median", "percentile": 50.0},
        {"name": "percentile", "percentile": 101.0},
        {"name": "percentile", "percentile": float("nan")},
        {"name": "patient", "patience": -1},
        {"name": "patient", "min_delta": -0.1},
        {"name": "successive_halving", "min_resource": "auto"},
        {"name": "successive_halving", "reduction_factor": 1},
        {"name": "hyperband", "max_resource": 9},
        {"name": "hyperband", "bootstrap_count": -1},
        {"name": "wilcoxon", "p_threshold": 1.5},
        {"name": "median", "step_grace": -1},
        {"name": "none", "patience": 1},
    ],
)
def test_an_option_that_optuna_would_refuse_or_misread_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        spec_of(**values)
