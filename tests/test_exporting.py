"""A finished trial as a recipe file, over both databases."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.trial import TrialState
from study_maker import DATA, make_foreign, make_study

from search.base.mistakes import InputError
from search.retraining.recipe import Recipe, read_recipe
from search.retraining.recipes import find_recipes, write_recipes
from studies.record.catalog import StudyError
from studies.store.storage import Storage


def export_recipe(storage: Storage, name: str | None, number: int | None, output: Path) -> Recipe:
    (recipe,) = find_recipes(storage, name, number)
    assert write_recipes([recipe], output) == [output]
    return recipe


def test_best_trial_is_exported_with_all_that_a_retraining_needs(storage: Storage, tmp_path: Path) -> None:
    make_study(storage, 0.4, 0.6)
    written = export_recipe(storage, None, None, tmp_path / "best.toml")
    recipe = read_recipe(tmp_path / "best.toml")
    assert recipe == written
    assert (recipe.study, recipe.trial, recipe.value, recipe.edited) == ("small", 1, 0.6, False)
    assert (recipe.config.batch_size, recipe.config.learning_rate) == (32, 0.02)
    assert (recipe.data.source, recipe.data_fingerprint) == ("synthetic", DATA["fingerprint"])
    assert [epoch.epoch for epoch in recipe.history] == [1, 2, 3]


def test_pruned_trial_can_be_exported_by_its_number(storage: Storage, tmp_path: Path) -> None:
    make_study(storage, 0.4, TrialState.PRUNED)
    recipe = export_recipe(storage, "small", 1, tmp_path / "second.toml")
    assert (recipe.trial, len(recipe.history)) == (1, 1)


def test_best_few_are_a_file_each_and_named_by_rank(storage: Storage, tmp_path: Path) -> None:
    study = make_study(storage, 0.4, 0.6, TrialState.PRUNED, 0.5)
    recipes = find_recipes(storage, None, top=2)
    paths = write_recipes(recipes, tmp_path / "best.json", several=True)
    assert [path.name for path in paths] == ["best-1.json", "best-2.json"]
    assert [read_recipe(path).value for path in paths] == [0.6, 0.5]
    assert {recipe.study_uid for recipe in recipes} == {study.attributes["uid"]}


def test_there_may_be_fewer_trials_than_asked_for(storage: Storage) -> None:
    make_study(storage, 0.4, TrialState.PRUNED)
    assert [recipe.trial for recipe in find_recipes(storage, None, top=5)] == [0]


@pytest.mark.parametrize("number", [None, 0, 2, 9])
def test_trial_without_a_value_writes_nothing(storage: Storage, tmp_path: Path, number: int | None) -> None:
    make_study(storage, TrialState.FAIL, TrialState.PRUNED)
    with pytest.raises(StudyError):
        export_recipe(storage, None, number, tmp_path / "best.toml")
    assert not (tmp_path / "best.toml").exists()


def test_another_programs_trial_is_no_recipe(storage: Storage, tmp_path: Path) -> None:
    make_foreign(storage, "theirs", (1.0,), directions=["maximize"])
    make_foreign(storage, "two", (1.0, 2.0), directions=["maximize", "minimize"])
    with pytest.raises(InputError, match="alexsearch did not train it"):
        export_recipe(storage, "theirs", None, tmp_path / "best.toml")
    with pytest.raises(InputError, match="alexsearch did not train it"):
        export_recipe(storage, "two", 0, tmp_path / "best.toml")


def test_place_that_cannot_be_written_is_named_and_the_study_stays(storage: Storage, tmp_path: Path) -> None:
    make_study(storage, 0.4)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"file/best\.toml: can't be written"):
        export_recipe(storage, None, None, tmp_path / "file" / "best.toml")
    assert export_recipe(storage, None, None, tmp_path / "best.toml").trial == 0
