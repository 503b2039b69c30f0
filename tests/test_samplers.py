"""What `[sampler]` can name, and what those that go by a plan propose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import optuna
import pytest
from fleet import Fleet, judge
from null_worker import Orders
from plain_optuna import suggested
from scipy.stats import qmc

from search.base.mistakes import InputError
from search.base.seeds import scrambling
from search.choosing.designs import grid, most_trials
from search.choosing.samplers import build_sampler
from search.space.pruners import MedianSpec, PatientSpec, PercentileSpec, PrunerSpec
from search.space.samplers import SamplerSpec
from search.space.space import SearchSpace

SMALL: dict[str, Any] = {
    "batch_size": {"choices": [8, 16]},
    "learning_rate": {"low": 0.01, "high": 1.0, "log": True},
    "epochs": {"low": 2, "high": 4},
    "schedule": {"choices": ["constant", "step"]},
    "step_epochs": {"choices": [1, [1, 2]]},
    "step_factor": 0.5,
}


def space_of(sampler: dict[str, Any], space: dict[str, Any] = SMALL, **more: Any) -> SearchSpace:
    study = {"name": "s", "trials": 9, "seed": 4}
    return SearchSpace.from_dict({"study": study, "space": space, "sampler": sampler, **more}, "s.toml")


def proposed(space: SearchSpace, number: int) -> dict[str, Any]:
    trial = optuna.create_study(sampler=build_sampler(space, number, 0)).ask()
    suggested(space, trial)
    return trial.params


def test_grid_has_every_combination_once_with_steps_only_where_they_belong() -> None:
    space = space_of({"name": "grid", "points": 3})
    points = [proposed(space, number) for number in range(54)]
    assert most_trials(space) == len(points) == 2 * 3 * 3 * (1 + 2)
    assert len({tuple(sorted(point.items())) for point in points}) == 54
    assert {round(point["learning_rate"], 9) for point in points} == {0.01, 0.1, 1.0}
    assert {point["epochs"] for point in points} == {2, 3, 4}
    assert Counter(point.get("step_epochs") for point in points) == {None: 18, "1": 18, "1,2": 18}
    assert proposed(space, 54) == points[0]


def test_baseline_that_lies_on_the_grid_is_not_tried_twice() -> None:
    baseline = {"batch_size": 8, "learning_rate": 0.01, "epochs": 2, "schedule": "constant"}
    space = space_of({"name": "grid", "points": 3}, baseline=baseline)
    assert most_trials(space) == 54
    assert space.baseline_params()[0] not in [proposed(space, number) for number in range(1, 54)]


def test_grid_gives_all_values_of_a_step_and_as_many_of_a_range_as_it_is_told() -> None:
    base = {"batch_size": 8, "epochs": 3}
    stepped = space_of({"name": "grid"}, {**base, "learning_rate": {"low": 0.1, "high": 0.7, "step": 0.1}})
    assert sorted(point["learning_rate"] for point in grid(stepped)) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    wide = space_of({"name": "grid"}, {"batch_size": {"low": 1, "high": 101}, "learning_rate": 0.1, "epochs": 3})
    assert sorted(point["batch_size"] for point in grid(wide)) == [1, 26, 51, 76, 101]
    log = {"batch_size": {"low": 1, "high": 3, "log": True}, "learning_rate": 0.1, "epochs": 3}
    assert sorted(point["batch_size"] for point in grid(space_of({"name": "grid"}, log))) == [1, 2, 3]


def test_grid_without_end_is_refused() -> None:
    wide = {"low": 0.001, "high": 0.9}
    space = {**SMALL, "learning_rate": wide, "dropout": wide, "label_smoothing": wide, "step_factor": wide}
    with pytest.raises(InputError, match=r"s.toml \[sampler\]: the grid has more than 100,000 combinations"):
        space_of({"name": "grid", "points": 50}, space)
    fine = {**SMALL, "learning_rate": {"low": 0.1, "high": 0.5, "step": 1e-9}}
    with pytest.raises(InputError, match="the grid has more than 100,000 combinations"):
        space_of({"name": "grid"}, fine)


@pytest.mark.parametrize("sequence", ["sobol", "halton"])
def test_quasi_random_points_fill_the_space_more_evenly_than_chance(sequence: str) -> None:
    """Of 16 points one lies in each sixteenth of Sobol's range; Halton's of base 2, up to its scrambling, likewise."""
    space = space_of({"name": "qmc", "sequence": sequence}, {**SMALL, "learning_rate": {"low": 0.1, "high": 0.9}})
    points = [proposed(space, number) for number in range(16)]
    rates = sorted(point["learning_rate"] for point in points)
    gaps = [later - earlier for earlier, later in zip([0.1, *rates], [*rates, 0.9], strict=True)]
    assert max(gaps) < 0.8 * 2.2 / 16
    assert 5 <= Counter(point["batch_size"] for point in points)[8] <= 11
    assert any("step_epochs" in point for point in points)
    assert points[3] == proposed(space, 3)


@pytest.mark.parametrize("attempt", [0, 1])
def test_halton_goes_at_once_to_the_point_that_its_sequence_comes_to(attempt: int) -> None:
    space = space_of(
        {"name": "qmc", "sequence": "halton"},
        {"batch_size": 8, "learning_rate": {"low": 0.0001, "high": 1.0001}, "epochs": 3},
    )
    points = qmc.Halton(1, scramble=True, rng=scrambling(4)).fast_forward(attempt * 2**20).random(4)[:, 0]
    for number, point in enumerate(points):
        trial = optuna.create_study(sampler=build_sampler(space, number, 0, attempt)).ask()
        assert suggested(space, trial).learning_rate == pytest.approx(0.0001 + point)


@pytest.mark.parametrize("name", ["cmaes", "CMA-ES", "CmaEsSampler"])
def test_sampler_that_unpickles_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(InputError, match=r"s.toml \[sampler\]: name \"\S+\" is refused: .* unpickles"):
        space_of({"name": name})


@pytest.mark.parametrize(
    ("sampler", "said"),
    [
        (
            {"name": "tpee"},
            'name "tpee" is unknown. Did you mean tpe? Use one of "gp", "tpe", "random", "qmc", "grid".',
        ),
        ({"name": "tpe", "n_startup_trials": -1}, "n_startup_trials must be >= 0, but is -1."),
        ({"name": "random", "seed": 1}, "unknown key seed."),
        ({"name": "qmc", "sequence": "niederreiter"}, 'sequence must be "sobol" or "halton"'),
        ({"name": "grid", "points": 1}, "points must be >= 2, but is 1."),
        ({}, "name is missing."),
    ],
)
def test_wrong_sampler_is_told_with_the_way_out(sampler: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        space_of(sampler)
    assert said in str(caught.value)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    fleet = Fleet(Orders(url=url, home=tmp_path / "home", log=tmp_path / "log", trials=14, epochs=1))
    yield fleet
    fleet.close()


@pytest.mark.slow
def test_budget_beyond_the_grid_is_the_grid_and_running_again_adds_nothing(fleet: Fleet) -> None:
    fleet.orders = replace(fleet.orders, sampler="grid", slots=3)
    fleet.run()
    fleet.run()
    trials = judge(fleet).trials
    assert len(trials) == 10
    assert len({tuple(sorted(trial.params.items())) for trial in trials}) == 10


def test_runs_of_one_worker_repeat_exactly(fleet: Fleet, tmp_path: Path) -> None:
    fleet.run()
    again = Fleet(replace(fleet.orders, url=f"sqlite:///{tmp_path / 'other.db'}", log=tmp_path / "other"))
    again.run()
    first, second = ([trial.params for trial in judge(each).trials] for each in (fleet, again))
    again.close()
    assert first == second
    assert len(first) == 14


def test_document_names_every_sampler_and_pruner_with_its_keys_and_defaults() -> None:
    rows = {}
    for line in (Path(__file__).parents[1] / "docs" / "samplers-and-pruners.md").read_text().splitlines():
        if line.startswith("| `"):
            rows[line.split("`")[1]] = line
    kinds = [*get_args(get_args(SamplerSpec)[0]), *get_args(get_args(PrunerSpec)[0])]
    assert rows.keys() == {kind.model_fields["name"].default for kind in kinds}
    comparing = MedianSpec.model_fields
    for kind in kinds:
        name = kind.model_fields["name"].default
        for key, field in kind.model_fields.items():
            told = "median" if key in comparing and issubclass(kind, (PercentileSpec, PatientSpec)) else name
            if key not in ("name", "step_grace"):
                shown = f'"{field.default}"' if isinstance(field.default, str) else str(field.default)
                assert f"`{key} = {shown}`" in rows[told], (name, key)
