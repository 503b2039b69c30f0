"""From a recipe to a verified score: train it on all training images, then, and only then, open the test set.

    OUT/recipe.toml            a copy of the recipe
    OUT/seed-0.keras ...       a network a seed: raw images in, probabilities out; loads in plain Keras
    OUT/seed-0.json ...        what it was trained on, and its learning curve
    OUT/...                    what `search.retraining.results` makes of them

What is there already is not made again, so an interrupted retraining goes on where it was. On all training images seed
0 is the recipe's own, and the others count up from it. With `validate` the search's split is kept: the networks are
measured on its validation images, with seeds that no trial of the search had, and the test set stays closed.

Over other `epochs` than the recipe's, its schedule and warm-up are stretched to them (`model.schedule.stretched`): what
was searched short is trained long. What that came to is kept apart, in a folder and an entry of the study's of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from model.config import ModelError, NetworkSpec, TrainError
from model.schedule import stretched
from search.base.artifacts import keep_retrained
from search.base.configs import short
from search.base.home import Home
from search.base.mistakes import InputError
from search.base.seeds import fresh_seed
from search.base.toml import as_shown
from search.retraining.jobs import Means
from search.retraining.own import (
    changed_since,
    measured_by_reports,
    metric_of,
    open_own_workshop,
    own_document,
    own_of_recipe,
    write_own_results,
)
from search.retraining.recipe import OwnRecipe, Recipe, read_recipe, write_recipe
from search.retraining.records import KeptJob, Record, RecordingWorkshop, Split, claimed
from search.retraining.results import Images, Network, metrics_document, stretching, summed_up, write_results
from search.retraining.view import SILENT, View
from studies.record.catalog import study_by_uid
from studies.record.retrained import Retrained, record
from studies.show.notes import refresh_notes
from studies.store.errors import StorageError
from studies.store.storage import Storage


def retrain_recipe(
    recipe: Recipe,
    *,
    seeds: int,
    out: Path | None,
    means: Means,
    validate: bool = False,
    epochs: int | None = None,
    force: bool = False,
    view: View = SILENT,
) -> Outcome:
    """Retrain a recipe, and keep its score with its study if the database has it. `epochs` are its own unless given.

    Raises:
        InputError: `out` holds another retraining or, without `force`, something else; or a setting is wrong.
        DataError: the data can't be used.
        model.config.TrainError: a training failed.
        OSError: the disk is full; what was there before is whole.
    """
    means.home.check_writable()
    split: Split = "validation" if validate else "test"
    epochs = None if epochs == recipe.config.epochs else epochs
    check_stretches(recipe, epochs)
    kept = (means.home.reproduce if validate else means.home.retrain)(_folder(recipe, means), recipe.trial)
    out = out or apart(kept, epochs)
    with claimed(out, force=force):
        shop, images = open_workshop(recipe, split, means, view)
        for found in images.notes:
            view.note(found)
        jobs = seed_jobs(recipe, seeds, out, fresh_from=0 if validate else None, epochs=epochs)
        config = jobs[0].config.model_dump()
        view.note(f"training trial {recipe.trial} of study {recipe.study} again: {short(config)}")
        if epochs:
            view.note(f"stretched {stretching(recipe, epochs)}")
        what = f"{images.train:,} training images of {images.source}" if images.train else images.source
        view.note(f"{what}, {seeds} seed{'s' * (seeds > 1)}")
        outcome = retrain(recipe, jobs, shop, images)
    return written_back(recipe, outcome, means)


def _folder(recipe: Recipe, means: Means) -> str:
    """The name that the recipe's study was begun with, and its folder is called by, whatever it is called by now."""
    study = None
    if means.storage and recipe.study_uid:
        with contextlib.suppress(StorageError):  # what it comes to says that the database is away
            study = study_by_uid(means.storage, recipe.study_uid)
    return study.folder if study else recipe.study


@dataclass(frozen=True)
class Outcome:
    """What a retraining came to."""

    retrained: Retrained
    document: Mapping[str, Any]
    """What metrics.json holds."""
    folder: Path
    """Where its models, metrics, figures and page are."""
    same_images: bool
    """Whether the images were those of the search."""
    written: str = ""
    """In words, whether its score was written to the recipe's study."""


def apart(folder: Path, epochs: int | None) -> Path:
    """Where a retraining that is stretched to so many epochs lies if `folder` is that of one that is not."""
    return folder if epochs is None else folder.with_name(f"{folder.name}-{epochs}-epochs")


def check_stretches(recipe: Recipe, epochs: int | None) -> None:
    """Raises InputError if other epochs are asked of training whose schedule is not known here."""
    if epochs is not None and isinstance(recipe, OwnRecipe):
        raise InputError(
            "--epochs stretches the schedules that alexsearch trains by: those of training of one's own are its "
            "own matter. Leave it out, or edit the recipe."
        )


def open_workshop(recipe: Recipe, split: Split, means: Means, view: View) -> tuple[RecordingWorkshop, Images]:
    """Look at the training images, and at where to train on them. The test images stay closed.

    Raises:
        DataError: the data can't be used.
        InputError: there are no such GPUs.
    """
    if isinstance(recipe, OwnRecipe):
        return open_own_workshop(recipe, split, means, view)
    from model.data import check_has_test, fingerprint, load_training, shape_of
    from model.data import split as split_of

    means.places(1)  # a wrong --gpus is told before the images are read
    own = own_of_recipe(recipe, means)
    changed = changed_since(recipe, own)
    data = recipe.data.model_copy(update={"source": means.source or recipe.data.source})
    shape = shape_of(data, own=own is not None)
    training = load_training(data.source, means.home.data, data.skip_unreadable, shape)
    if split == "test":
        check_has_test(training, data.source)
    available, held_out = len(training), 0 if training.validation is not None else data.validation_images
    searched = len(split_of(training, data).train) if split == "validation" else data.train_images
    images = Images(
        source=data.source,
        fingerprint=fingerprint(training),
        train=available if split == "test" else searched or available,
        searched=searched or available - held_out,
        available=available,
        classes=training.class_names,
        shape=training.images.shape[1:],
        has_test=training.has_test,
        notes=(*((changed,) if changed else ()), *training.notes),
        network_changed=bool(changed),
        is_alexnet=own is None,
    )
    shop = RecordingWorkshop(
        means=means,
        data=data,
        validation="none" if split == "test" else "held-out",
        log=lambda place: means.home.log(recipe.study, f"retrain-{place.name}"),
        view=view,
        own=own,
        split=split,
        fingerprint=images.fingerprint,
    )
    return shop, images


def seed_jobs(
    recipe: Recipe,
    seeds: int,
    out: Path,
    *,
    fresh_from: int | None,
    keeps_models: bool = True,
    epochs: int | None = None,
) -> list[KeptJob]:
    """A training for each seed, in `out`, which is taken for this recipe; stretched to `epochs` unless that is None.

    The seeds count up from the recipe's own; or, from `fresh_from` on, are those that no trial of the search had.

    Raises:
        InputError: `out` holds the retraining of another recipe, or can't be written.
    """
    _keep_recipe(out, recipe)
    config = recipe.config if epochs is None else stretched(recipe.config, epochs)
    own, places = config.seed, range(seeds)
    if fresh_from is None:
        wanted = [(own + place) % 2**32 for place in places]
    else:
        wanted = [fresh_seed(own, fresh_from + place) for place in places]
    return [
        KeptJob(
            f"trial {recipe.trial}, seed {seed}",
            type(config)(**{**config.model_dump(), "seed": seed}),
            out,
            f"seed-{index}",
            keeps_models,
        )
        for index, seed in enumerate(wanted)
    ]


def _keep_recipe(out: Path, recipe: Recipe) -> None:
    copy = out / "recipe.toml"
    if copy.exists():
        kept, same = read_recipe(copy), {"created": recipe.created}
        if recipe.study_uid and kept.study_uid == recipe.study_uid:
            same["study"] = recipe.study  # which may have been renamed
        if kept.model_copy(update=same) != recipe:
            raise InputError(
                f"{as_shown(out)}: holds the retraining of another recipe. Name another folder with --out."
            )
        return
    try:
        write_recipe(recipe, copy)
    except OSError as error:
        raise InputError(
            f"{as_shown(out)}: can't be written ({error.strerror}). Name another folder with --out."
        ) from None


def retrain(
    recipe: Recipe,
    jobs: Sequence[KeptJob],
    shop: RecordingWorkshop,
    images: Images,
    comparison: Mapping[str, Any] | None = None,
) -> Outcome:
    """Train what is not trained yet, then measure all networks, on the test images if so, and write the results.

    Raises what `retrain_recipe` does.
    """
    records = shop.train_kept(jobs)
    for job, trained in zip(jobs, records, strict=True):
        if trained.failure:
            raise TrainError(f"{job.name} {trained.failure} What was trained so far is kept in {as_shown(job.folder)}.")
    out = jobs[0].folder
    if isinstance(recipe, OwnRecipe):
        measured = measured_by_reports(recipe, jobs, records, shop.split)
        retrained = summed_up(recipe, shop.split, measured, images, out, metric_of(recipe))
        document = own_document(recipe, retrained, measured, images, comparison)
        write_own_results(document, out)
    else:
        networks = _measured(jobs, records, shop, images.shape)
        retrained = summed_up(recipe, shop.split, networks, images, out)
        document = metrics_document(recipe, retrained, networks, images, comparison)
        write_results(document, out)
    same = images.fingerprint == recipe.data_fingerprint and not images.network_changed
    return Outcome(retrained, document, out, same)


def _measured(
    jobs: Sequence[KeptJob], records: Sequence[Record], shop: RecordingWorkshop, shape: tuple[int, int, int]
) -> list[Network]:
    """All networks, classifying the images they are measured on: here the test set is opened, and nowhere before.

    `shape` is that of the training images.
    """
    shop.means.tensorflow(shop.means.home)
    from model.data import load_test, load_training, shape_of
    from model.data import split as split_of
    from model.evaluate import evaluate
    from model.own_network import defined_by
    from model.saved import load_model

    network, spec = shop.own if isinstance(shop.own, NetworkSpec) else None, shop.data
    if shop.split == "test":
        images = load_test(spec.source, shop.means.home.data, spec.skip_unreadable, shape)
    else:
        wanted = shape_of(spec, own=network is not None)
        training = load_training(spec.source, shop.means.home.data, spec.skip_unreadable, wanted)
        images = split_of(training, spec).validation
    defined = defined_by(Path(network.file)) if network else None
    networks = []
    for job, trained in zip(jobs, records, strict=True):
        try:
            evaluation = evaluate(load_model(job.model, defined=defined), images)
        except ModelError as error:
            raise InputError(f"{error} Delete it, and run the same command again to have it trained anew.") from None
        # If the search's score is put to the test, by its own measure: in the precision that it was trained in.
        accuracy = trained.history[-1].named()["val_accuracy"] if shop.split == "validation" else None
        accuracy = evaluation.accuracy if accuracy is None else accuracy
        networks.append(Network(job.config.seed, job.model, trained, accuracy, evaluation))
    return networks


def written_back(recipe: Recipe, outcome: Outcome, means: Means) -> Outcome:
    """Keep the score with the study that the recipe is of, if the database has it; the outcome says whether."""
    return replace(outcome, written=_write_back(recipe, outcome, means.storage, means.home))


def _write_back(recipe: Recipe, outcome: Outcome, storage: Storage | None, home: Home) -> str:
    problem = ""
    if storage is None:
        problem = "there is no database here"
    elif recipe.study_uid is None:
        problem = "the recipe does not say which it is of. One that is exported now does"
    elif recipe.edited:
        problem = "the recipe was edited, so the score is not its trial's"
    elif outcome.document.get("network_changed") or (isinstance(recipe, OwnRecipe) and not outcome.same_images):
        problem = "its file has changed since"
    elif not outcome.same_images:
        problem = "the images are not those of the search"
    if problem or storage is None:
        return f"not written to a study: {problem}"
    try:
        study = study_by_uid(storage, recipe.study_uid or "")
        if study is None:
            return f"not written to a study: {recipe.study} is not in {storage.name}"
        record(storage, study, outcome.retrained)
        refresh_notes(storage, study)
    except StorageError as error:
        return f"not written to a study: {error}"
    written = f"written to study {study.shown} in {storage.name}"
    if outcome.retrained.stretched:
        return f"{written}, apart from what its trials came to as they were searched"
    try:
        keep_retrained(storage, study, home.artifacts, outcome.retrained, outcome.folder)
    except (OSError, StorageError) as error:
        return f"{written}, but the page and the model can't be kept beside it: {error}"
    return written
