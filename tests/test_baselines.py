"""Several `[[baseline]]`s: all are tried first, in the order of the file; the first is the baseline of the study."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from search.base.mistakes import InputError
from search.choosing.designs import grid, most_trials
from search.screen.reporting import space_toml
from search.space.fitting import over
from search.space.space import SearchSpace, differences

SPACE: dict[str, Any] = {
    "batch_size": {"choices": [16, 32, 64]},
    "learning_rate": {"low": 1e-4, "high": 0.1, "log": True},
    "epochs": {"choices": [5, 10]},
}
FIRST = {"batch_size": 16, "learning_rate": 0.01, "epochs": 5}
SECOND = {"batch_size": 64, "learning_rate": 0.001, "epochs": 10}


def space_of(baseline: Any, **tables: Any) -> SearchSpace:
    document = {"study": {"name": "s", "trials": 30}, "space": SPACE, "baseline": baseline, **tables}
    return SearchSpace.from_dict(document, "my.toml")


def mistakes(baseline: Any, **tables: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        space_of(baseline, **tables)
    return list(caught.value.mistakes)


def test_one_table_is_stored_as_it_always_was_and_a_list_of_one_is_the_same() -> None:
    assert space_of(FIRST).to_dict()["baseline"] == FIRST
    assert space_of([FIRST]) == space_of(FIRST)
    assert space_of([FIRST]).digest() == space_of(FIRST).digest()


def test_several_are_kept_in_their_order_and_read_back() -> None:
    space = space_of([SECOND, FIRST])
    assert space.baseline_params() == [SECOND, FIRST]
    assert SearchSpace.from_dict(space.to_dict()) == space
    config = space.baseline_config(seed=0)
    assert config is not None
    assert config.model_dump()["batch_size"] == 64
    assert tomllib.loads(space_toml(space.to_dict()))["baseline"] == [SECOND, FIRST]


def test_another_order_is_another_question() -> None:
    lines = differences(space_of([FIRST, SECOND]), space_of([SECOND, FIRST]))
    assert [line.split(":")[0] for line in lines] == ["[baseline] 1", "[baseline] 2"]
    assert differences(space_of(FIRST), space_of([FIRST, SECOND]))


def test_grid_counts_them_all_and_makes_none_of_them_again() -> None:
    second = {**SECOND, "learning_rate": 0.1}  # the end of the range: a point of the grid
    space = space_of([FIRST, second], sampler={"name": "grid"})
    whole = space_of([FIRST], sampler={"name": "grid"})
    assert most_trials(space) == len(grid(whole)) + 1 == len(grid(space)) + 2
    assert second not in grid(space)


def test_mistake_is_told_with_the_number_of_its_baseline() -> None:
    assert mistakes([FIRST, {**SECOND, "batch_size": 128}])[0].startswith(
        "my.toml [baseline, item 2.batch_size]: must be a choice of [space], but is 128."
    )
    (line,) = mistakes([FIRST, {**SECOND, "batch_sze": 64}])
    assert line.startswith("my.toml [baseline, item 2]: unknown key batch_sze. Did you mean batch_size?")
    (line,) = mistakes({**SECOND, "batch_sze": 64})
    assert line.startswith("my.toml [baseline]: unknown key batch_sze. Did you mean batch_size?")
    assert mistakes([FIRST, SECOND, FIRST]) == [
        "my.toml [baseline, item 3]: is the same as item 1. Leave one of them out."
    ]
    (line,) = mistakes([FIRST, SECOND], constraints={"keep": ["batch_size < 64"]})
    assert line.startswith(
        'my.toml [baseline, item 2]: is left out by [constraints], "batch_size < 64": batch_size is 64.'
    )


def test_batches_of_all_are_fitted_to_small_data() -> None:
    space = over(space_of([FIRST, SECOND]), "digits", train_images=40, validation_images=20, fit_batches=True)
    assert [each["batch_size"] for each in space.baseline_params()] == [16, 32]
