"""What samplers and pruners make of a metric of any scale that is maximised or minimised, and of any parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial
from pydantic import TypeAdapter, ValidationError

from search.choosing.gp import CurveSampler
from search.choosing.proposing import StudyOfLessons, propose
from search.choosing.pruning import build_pruner
from search.space.pruners import MARGIN_SHARE, PrunerSpec, ReachSpec
from search.space.space import SearchSpace

optuna.logging.set_verbosity(optuna.logging.ERROR)

RATE: dict[str, Any] = {"rate": {"low": 1e-4, "high": 1.0, "log": True}}
MIXED: dict[str, Any] = {
    **RATE,
    "bias": {"choices": [True, False]},
    "depth": {"low": 1, "high": 5},
    "width": {"low": 8, "high": 512, "log": True},
    "shift": {"low": -2.0, "high": 2.0, "step": 0.5},
    "kind": {"choices": ["a", "b", "c"]},
    "share": {"choices": [0.1, 0.5]},
    "tail": {"low": -1.0, "high": 1.0, "when": {"kind": "b"}},
}


def space_of(space: dict[str, Any], direction: str, epochs: int | None = None, sampler: str = "gp") -> SearchSpace:
    train = {"command": ["-"], "metric": "error", "direction": direction} | ({"epochs": epochs} if epochs else {})
    startup = {"n_startup_trials": 4} if sampler in ("gp", "tpe") else {}
    return SearchSpace.from_dict(
        {"study": {"name": "s", "trials": 99}, "space": space, "train": train, "sampler": {"name": sampler, **startup}}
    )


def searched(space: SearchSpace, trials: int, metric: Callable[[dict[str, Any], int], float]) -> list[dict[str, Any]]:
    """The values of the trials of a study. A trial whose metric is not a number has diverged."""
    storage = optuna.storages.InMemoryStorage()
    made = optuna.create_study(storage=storage, direction=space.direction)
    study = StudyOfLessons(made.study_name, storage)
    for number in range(trials):
        trial_id = storage.create_new_trial(study._study_id)
        propose(study, trial_id, number, space)
        params = storage.get_trial(trial_id).params
        values = [metric(params, epoch) for epoch in range(1, space.max_epochs + 1)]
        if not all(map(math.isfinite, values)):
            storage.set_trial_user_attr(trial_id, "failure", "diverged")
            storage.set_trial_state_values(trial_id, TrialState.FAIL)
            continue
        if space.max_epochs > 1:
            for epoch, value in enumerate(values, start=1):
                storage.set_trial_intermediate_value(trial_id, epoch, value)
        storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [values[-1]])
    return [trial.params for trial in storage.get_all_trials(study._study_id)]


def off(params: dict[str, Any], epoch: int = 1) -> float:
    """How many powers of ten a rate is from 0.01, and a little more in early epochs."""
    return abs(math.log10(params["rate"] / 0.01)) + 0.5**epoch


@pytest.mark.parametrize("epochs", [None, 4])
def test_gp_proposes_for_a_loss_of_any_scale_what_it_does_for_its_negative(epochs: int | None) -> None:
    """Powers of two change no digit; what lies within 0 to 1 is kept clear of, since a failure is 0 there."""
    proposals = [
        searched(space_of(RATE, direction, epochs), 9, lambda params, epoch, scale=scale: scale * off(params, epoch))  # type: ignore[misc]
        for direction, scale in (("minimize", 1.0), ("maximize", -1.0), ("minimize", 2.0**70), ("minimize", 2.0**-70))
    ]
    assert proposals[0] == proposals[1] == proposals[2] == proposals[3]
    assert min(off(params, 99) for params in proposals[0][4:]) < 0.1


def test_gp_finds_the_least_of_losses_that_explode_and_diverge() -> None:
    def loss(params: dict[str, Any], epoch: int) -> float:
        rate = params["rate"]
        return math.nan if rate > 0.3 else 1e6 * rate if rate > 0.05 else off(params, epoch)

    assert min(off(params, 99) for params in searched(space_of(RATE, "minimize", 4), 14, loss)) < 0.1


def test_gp_learns_from_the_value_alone_where_there_are_no_epochs() -> None:
    params = searched(space_of(MIXED, "minimize"), 16, lambda params, _: 1000 * off(params) + 100 * params["bias"])
    assert sum(off(each, 99) < 0.7 for each in params[4:]) >= 4
    assert sum(not each["bias"] for each in params[4:]) > 4
    assert all(("tail" in each) == (each["kind"] == "b") for each in params)


@pytest.mark.parametrize("called", ["epochs", "rounds"])
def test_gp_knows_which_parameter_the_planned_epochs_are(called: str) -> None:
    """Told of six epochs only, it knows of the shorter trials that they contain: the loss rises from the first on."""
    train = {"command": ["-"], "metric": "error", "direction": "minimize", "epochs": called}
    document = {"study": {"name": "s", "trials": 9}, "space": {**RATE, called: {"low": 1, "high": 8}}, "train": train}
    space = SearchSpace.from_dict({**document, "sampler": {"name": "gp", "n_startup_trials": 4}})
    storage = optuna.storages.InMemoryStorage()
    study = StudyOfLessons(optuna.create_study(storage=storage, direction="minimize").study_name, storage)
    for rate in (1e-4, 1e-3, 0.01, 0.1, 1.0):
        courses = {epoch: 5.0 * epoch for epoch in range(1, 9)}
        params, distributions = {"rate": rate, called: 8}, space.distributions()
        study.add_trial(
            create_trial(params=params, distributions=distributions, intermediate_values=courses, value=40.0)
        )
    trial_id = storage.create_new_trial(study._study_id)
    propose(study, trial_id, 5, space)
    assert storage.get_trial(trial_id).params[called] <= 3
    assert len(CurveSampler(space, 0, 0, 0, 4)._places.point({"rate": 0.1, called: 8}, 8)) == 2


def test_a_failed_trial_is_as_bad_as_the_worst_in_either_direction() -> None:
    for direction, sign in ((StudyDirection.MINIMIZE, -1), (StudyDirection.MAXIMIZE, 1)):
        space = space_of(RATE, direction.name.lower())
        rates: list[dict[str, Any]] = [
            {"params": {"rate": rate}, "distributions": space.distributions()} for rate in (1e-3, 0.01, 0.1, 1.0)
        ]
        seen = [create_trial(**rate, value=value) for rate, value in zip(rates, (70.0, 50.0, 90.0), strict=False)]
        failed = create_trial(**rates[3], state=TrialState.PRUNED)
        goodness = CurveSampler(space, 4, 0, 0, 4)._observations([*seen, failed], direction)[1]
        assert goodness[3] <= goodness[:3].min()
        assert goodness[3] >= sign * 70 - 40


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_samplers_follow_the_direction_and_avoid_what_diverged(sampler: str, direction: str) -> None:
    """The best lies next to what diverges."""
    sign = 1 if direction == "minimize" else -1
    diverging = [
        params["rate"] > 0.03
        for params in searched(
            space_of(RATE, direction, 3, sampler),
            30,
            lambda params, epoch: math.nan if params["rate"] > 0.03 else sign * 100 * (off(params, epoch) - 5),
        )
    ]
    assert sum(diverging[10:]) <= 5


@pytest.mark.parametrize("sampler", ["gp", "tpe", "random", "qmc"])
def test_every_sampler_takes_parameters_of_any_kind_and_name(sampler: str) -> None:
    for params in searched(space_of(MIXED, "minimize", 2, sampler), 8, off):
        assert type(params["bias"]) is bool
        assert ("tail" in params) == (params["kind"] == "b")
        assert params["shift"] in [half / 2 for half in range(-4, 5)]


FAST, SLOW, POOR = [0.3, 0.4, 0.5, 0.6], [0.1, 0.1, 0.4, 0.55], [0.1, 0.12, 0.13, 0.14]
GROWING = [0.1 * epoch for epoch in range(1, 13)]


def pruner_of(spec: dict[str, Any], max_epochs: int, *, accuracy: bool = False) -> optuna.pruners.BasePruner:
    built: PrunerSpec = TypeAdapter(PrunerSpec).validate_python(spec, strict=True)
    return build_pruner(built, max_epochs, accuracy=accuracy)


def pruned_at(
    pruner: optuna.pruners.BasePruner,
    direction: Literal["minimize", "maximize"],
    curves: list[list[float]],
    curve: list[float],
) -> int | None:
    study = optuna.create_study(direction=direction, pruner=pruner)
    for each in curves:
        study.add_trial(create_trial(value=each[-1], intermediate_values=dict(enumerate(each, start=1))))
    trial = study.ask()
    for epoch, value in enumerate(curve[:-1], start=1):
        trial.report(value, epoch)
        if trial.should_prune():
            return epoch
    return None


@pytest.mark.parametrize(
    ("spec", "curves", "epoch"),
    [
        ({"name": "reach"}, [FAST] * 20, 1),
        ({"name": "reach", "margin": 0.0}, [FAST] * 20, 1),
        ({"name": "median"}, [FAST] * 6, 2),
        ({"name": "percentile"}, [FAST, SLOW] * 3, 2),
        ({"name": "patient", "patience": 0, "min_delta": 0.05}, [FAST] * 6, None),
        ({"name": "successive_halving", "reduction_factor": 2}, [FAST] * 3, None),
        ({"name": "hyperband"}, [FAST] * 6, None),
    ],
)
def test_every_pruner_judges_a_loss_as_it_does_its_negative(
    spec: dict[str, Any], curves: list[list[float]], epoch: int | None
) -> None:
    def mirrored(curve: list[float]) -> list[float]:
        return [10 - value for value in curve]

    for curve in (FAST, SLOW, POOR):
        up = pruned_at(pruner_of(spec, 4), "maximize", curves, curve)
        down = pruned_at(pruner_of(spec, 4), "minimize", [mirrored(each) for each in curves], mirrored(curve))
        assert up == down
    if epoch:
        assert pruned_at(pruner_of(spec, 4), "minimize", [mirrored(each) for each in curves], mirrored(POOR)) == epoch
    assert pruned_at(pruner_of(spec, 4), "minimize", [mirrored(each) for each in curves], mirrored(FAST)) is None


@pytest.mark.parametrize("name", ["successive_halving", "hyperband"])
def test_halving_keeps_the_lower_losses(name: str) -> None:
    study = optuna.create_study(direction="minimize", pruner=pruner_of({"name": name, "reduction_factor": 2}, 9))
    pruned = {0: 0, 1: 0}
    for number in range(40):
        trial = study.ask()
        for epoch in range(1, 9):
            trial.report(number % 2 + 100 / epoch, epoch)
            if trial.should_prune():
                pruned[number % 2] += 1
                break
        study.tell(trial, 1.0) if epoch == 8 else study.tell(trial, state=TrialState.PRUNED)
    assert pruned[1] > 2 * pruned[0]


def test_wilcoxon_prunes_what_stays_above_the_lowest() -> None:
    falling = [10 - value for value in GROWING]
    pruner = pruner_of({"name": "wilcoxon", "n_startup_steps": 5}, 12)
    assert pruned_at(pruner, "minimize", [falling], [value + 0.05 for value in falling]) == 5
    assert pruned_at(pruner, "minimize", [falling], [value - 0.05 for value in falling]) is None


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_margin_of_reach_is_a_share_of_the_spread_whatever_the_unit(scale: float) -> None:
    """From 10 to 20 is half of all trials: a margin of a tenth is 1."""
    levels = [10.0] * 20 + [20.0] * 19 + [30.0] * 10
    curves = [[scale * level] * 3 for level in levels]
    for curve, epoch in (([10.9] * 3, None), ([11.1] * 3, 1)):
        found = pruned_at(
            pruner_of({"name": "reach", "margin_share": 0.1}, 3, accuracy=True),
            "minimize",
            curves,
            [scale * value for value in curve],
        )
        assert found == epoch
    wider = pruner_of({"name": "reach", "margin_share": 0.5}, 3, accuracy=True)
    assert pruned_at(wider, "minimize", curves, [scale * 14.9] * 3) is None
    assert pruned_at(wider, "minimize", curves, [scale * 15.1] * 3) == 1
    given = pruner_of({"name": "reach", "margin": 7.0 * scale}, 3, accuracy=True)
    assert pruned_at(given, "minimize", curves, [scale * 16.9] * 3) is None
    assert pruned_at(given, "minimize", curves, [scale * 17.1] * 3) == 1


def test_a_loss_that_exploded_once_is_no_gain_that_others_may_still_make() -> None:
    """An accuracy can't explode: there, what was gained counts in full."""
    sound = [[3.0, 2.0, 1.0]] * 10 + [[3.0, 2.9, 2.8]] * 30
    exploded = [[1e9, 1e9, 25.0]]
    hopeless = [18.0, 18.0, 18.0]
    assert pruned_at(pruner_of({"name": "reach"}, 3), "minimize", sound + exploded, hopeless) == 1
    assert pruned_at(pruner_of({"name": "reach"}, 3, accuracy=True), "minimize", sound + exploded, hopeless) is None


def test_reach_spares_who_is_no_worse_than_half_where_most_stay_on_a_plateau() -> None:
    """The one that left it at once is far ahead of who will leave it later; of accuracies only the gains seen count."""
    curves = [[0.7, 0.7, 0.7, 0.7]] * 20 + [[0.4, 0.3, 0.3, 0.3]]
    late = [0.69, 0.69, 0.69, 0.3]
    assert pruned_at(pruner_of({"name": "reach"}, 4), "minimize", curves, late) is None
    assert pruned_at(pruner_of({"name": "reach"}, 4), "minimize", curves, [0.71, 0.71, 0.71, 0.3]) == 1
    assert pruned_at(pruner_of({"name": "reach"}, 4, accuracy=True), "minimize", curves, late) == 1


@pytest.mark.parametrize("name", ["reach", "median", "patient", "hyperband", "successive_halving", "wilcoxon"])
def test_a_trial_without_epochs_is_never_pruned(name: str) -> None:
    pruner = pruner_of({"name": name}, 1)
    study = optuna.create_study(direction="minimize", pruner=pruner)
    for value in range(30):
        study.add_trial(create_trial(value=float(value), intermediate_values={1: float(value)}))
    trial = study.ask()
    assert not trial.should_prune()
    trial.report(1e9, 1)
    assert not trial.should_prune()


def test_reach_has_one_margin_and_keeps_what_it_was_given() -> None:
    with pytest.raises(ValidationError, match="margin and margin_share are one too many"):
        ReachSpec(margin=0.1, margin_share=0.1)
    assert ReachSpec().for_metric(accuracy=True) == ReachSpec() == ReachSpec(margin=0.05)
    other = ReachSpec().for_metric(accuracy=False)
    assert (other.margin, other.margin_share) == (None, MARGIN_SHARE)
    assert ReachSpec.model_validate(other.model_dump(exclude_none=True)).for_metric(accuracy=False) == other
    assert ReachSpec(margin=0.05).for_metric(accuracy=False).margin == 0.05
    assert ReachSpec(margin=12.5).for_metric(accuracy=False).margin == 12.5
