"""Finished trials as recipe files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial
from pydantic import ValidationError

from model.config import DataSpec, EpochMetrics, TrainConfig
from search.base.mistakes import InputError
from search.base.overwriting import check_file
from search.base.toml import with_tuples
from search.retraining.recipe import Recipe, is_untouched, make_recipe, write_recipe
from search.space.own import ModelSpec, OwnConfig, OwnEpoch, TrainSpec, own_epoch
from studies.record.catalog import StudyRecord, best_trial, find_study, top_trials, trial_by_number
from studies.store.epochs import epoch_history
from studies.store.storage import Storage


def recipe_of(storage: Storage, study: StudyRecord, trial: FrozenTrial) -> Recipe:
    """The recipe of a complete or pruned trial.

    Raises:
        InputError: the trial was not trained by alexsearch, or what is stored of it is no longer what it wrote.
    """
    stored = trial.user_attrs
    if not study.is_ours or "config" not in stored or trial.value is None:
        way_out = "Name one that it trained with --trial; `alexsearch best` lists the best."
        if not study.is_ours:
            way_out = "Name another study with --study: `alexsearch studies` says which are ours."
        raise InputError(
            f"trial {trial.number} of study {study.shown!r} has no configuration: alexsearch did not train it. "
            f"{way_out}"
        )
    space, rows = study.attributes["space"], epoch_history(storage, trial._trial_id)
    config: TrainConfig | OwnConfig
    history: Sequence[EpochMetrics | OwnEpoch]
    own: dict[str, Any]
    try:
        if "train" in space:
            data, own = None, {"train": TrainSpec.model_validate(with_tuples(space["train"]))}
            config = OwnConfig.model_validate(stored["config"])
            history = [own_epoch(row) for row in rows]
        else:
            data, own = DataSpec.model_validate(space["data"]), {}
            config = TrainConfig.model_validate(stored["config"])
            history = [EpochMetrics.model_validate(row) for row in rows]
            if "model" in space:
                own = {"model": ModelSpec.model_validate(space["model"])}
                own["network_sha256"] = study.attributes["network"]["sha256"]
        kept = {key: stored[key] for key in ("data_fingerprint", "versions", "git_commit", "device")}
    except (ValidationError, KeyError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else f"{error.error_count()} mistakes"
        raise InputError(
            f"trial {trial.number} of study {study.shown!r}: what is stored of it was changed since, so that no recipe "
            f"can be made of it ({what}). Export another with --trial."
        ) from None
    return make_recipe(
        study=study.name,
        study_uid=study.attributes["uid"],
        trial=trial.number,
        value=trial.value,
        config=config,
        data=data,
        history=history,
        own=own,
        **kept,
    )


def find_recipes(storage: Storage, name: str | None, number: int | None = None, top: int = 1) -> list[Recipe]:
    """The recipe of trial `number`; without it, those of the best `top` complete trials, of which there may be fewer.

    Raises:
        StudyError: no such study or trial, or none that is complete yet.
        InputError: a trial was not trained by alexsearch.
    """
    study = find_study(storage, name)
    if number is not None:
        return [recipe_of(storage, study, trial_by_number(storage, study, number))]
    best = best_trial(storage, study)  # says what is missing if there is none
    return [recipe_of(storage, study, trial) for trial in ([best] if top == 1 else top_trials(storage, study, top))]


def write_recipes(recipes: Sequence[Recipe], output: Path, *, several: bool = False, force: bool = False) -> list[Path]:
    """Write a recipe to `output`; or with `several`, each to a file called after it: best-1.toml, best-2.toml ...

    Raises:
        InputError: a file can't be written.
    """
    paths = [output]
    if several:
        if output.is_dir():
            raise InputError(f"-o {output}: is a folder. Name a file in it, e.g. {output / 'best.toml'}.")
        paths = [output.with_name(f"{output.stem}-{place}{output.suffix}") for place in range(1, len(recipes) + 1)]
    for path in paths:  # all or none
        check_file(path, force=force, is_ours=is_untouched)
    for recipe, path in zip(recipes, paths, strict=True):
        write_recipe(recipe, path, force=force)
    return paths
