"""A finished trial as a recipe file."""

from __future__ import annotations

import sys
from pathlib import Path

from optuna.trial import FrozenTrial

from model.config import DataSpec, EpochMetrics, TrainConfig
from search.mistakes import InputError
from search.recipe import Recipe, make_recipe, recipe_toml, write_recipe
from studies.catalog import StudyRecord, best_trial, epoch_history, find_study, trial_by_number
from studies.storage import Storage


def recipe_of(storage: Storage, study: StudyRecord, trial: FrozenTrial) -> Recipe:
    """The recipe of a complete or pruned trial.

    Raises:
        InputError: the trial was not trained by alexsearch.
    """
    stored = trial.user_attrs
    if not study.is_ours or "config" not in stored or trial.value is None:
        raise InputError(
            f"trial {trial.number} of study {study.shown!r} has no configuration: alexsearch did not train it. "
            "Export one that `alexsearch run` has trained."
        )
    return make_recipe(
        study=study.name,
        trial=trial.number,
        value=trial.value,
        config=TrainConfig.model_validate(stored["config"]),
        data=DataSpec.model_validate(study.attributes["space"]["data"]),
        data_fingerprint=stored["data_fingerprint"],
        versions=stored["versions"],
        git_commit=stored["git_commit"],
        device=stored["device"],
        history=[EpochMetrics.model_validate(epoch) for epoch in epoch_history(storage, trial._trial_id)],
    )


def export_recipe(storage: Storage, name: str | None, number: int | None, output: Path) -> Recipe:
    """Write the recipe of a trial, the best by default, to `output`; "-" is standard output.

    Raises:
        StudyError: no such study or trial, or none that is complete yet.
        InputError: `output` can't be written.
    """
    study = find_study(storage, name)
    trial = best_trial(storage, study) if number is None else trial_by_number(storage, study, number)
    recipe = recipe_of(storage, study, trial)
    if str(output) == "-":
        sys.stdout.write(recipe_toml(recipe))
    else:
        write_recipe(recipe, output)
    return recipe
