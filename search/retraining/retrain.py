"""From a recipe to a verified score: train it on all training images, then, and only then, open the test set.

    OUT/recipe.toml            a copy of the recipe
    OUT/seed-0.keras ...       a network a seed: raw images in, probabilities out; loads in plain Keras
    OUT/seed-0.json ...        what it was trained on, and its learning curve
    OUT/...                    what `search.retraining.results` makes of them

What is there already is not made again, so an interrupted retraining goes on where it was. On all training images seed
0 is the recipe's own, and the others count up from it. With `validate` the search's split is kept: the networks are
measured on its validation images, with seeds that no trial of the search had, and the test set stays closed.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

from model.config import ModelError, TrainConfig, TrainError
from search.base.artifacts import keep_retrained
from search.base.configs import short
from search.base.home import Home
from search.base.mistakes import InputError
from search.base.seeds import fresh_seed
from search.base.terminal import Output, quiet_tensorflow
from search.base.toml import as_shown
from search.retraining.jobs import Job, Record, Workshop, claimed
from search.retraining.recipe import Recipe, read_recipe, write_recipe
from search.retraining.results import Images, Network, metrics_document, summed_up, write_results
from search.screen.progress import Bars
from search.training.child import Child, Start
from search.training.places import chosen_gpus, visible_gpus
from studies.record.catalog import all_studies
from studies.record.retrained import Retrained, record
from studies.show.notes import refresh_notes
from studies.store.errors import StorageError
from studies.store.storage import Storage

Split = Literal["test", "validation"]


@dataclass(frozen=True)
class Means:
    """What a retraining has to work with."""

    home: Home
    source: str | None = None
    """Where the images are on this machine; None is where the search had them."""
    workers: int | None = None
    """Trainings at a time; None is one a place that `gpus` and `trials_per_gpu` give."""
    gpus: str = "all"
    """ "all", "none", or indices as in "0,2"."""
    trials_per_gpu: int | None = 1
    """None chooses by the GPU's memory."""
    storage: Storage | None = None
    """Where the study is, to write its score down; None where there is none."""
    start: Start = Child
    """Starts the training processes."""


def retrain_recipe(
    recipe: Recipe, *, seeds: int, out: Path | None, means: Means, console: Output, validate: bool = False
) -> Outcome:
    """Retrain a recipe and say plainly what its score came to.

    Raises:
        InputError: `out` holds another retraining, or a setting is wrong.
        DataError: the data can't be used.
        model.config.TrainError: a training failed.
        OSError: the disk is full; what was there before is whole.
    """
    means.home.check_writable()
    split: Split = "validation" if validate else "test"
    out = out or (means.home.reproduce if validate else means.home.retrain)(recipe.study, recipe.trial)
    with claimed(out), Bars(console) as bars:
        shop, images = open_workshop(recipe, split, means, bars)
        jobs = seed_jobs(recipe, seeds, out, fresh_from=0 if validate else None)
        bars.note(f"training trial {recipe.trial} of study {recipe.study} again: {short(recipe.config.model_dump())}")
        bars.note(f"{images.train:,} training images of {images.source}, {seeds} seed{'s' * (seeds > 1)}")
        outcome = retrain(recipe, jobs, shop, images, means.home)
    print_outcome(console, outcome, out)
    console.print(write_back(means.storage, recipe, outcome, means.home, out), soft_wrap=True)
    console.print(f"next: alexsearch evaluate {shlex.quote(as_shown(out / 'best.keras'))}", soft_wrap=True)
    return outcome


@dataclass(frozen=True)
class Outcome:
    """What a retraining came to."""

    retrained: Retrained
    document: Mapping[str, Any]
    """What metrics.json holds."""
    same_images: bool
    """Whether the images were those of the search."""


def open_workshop(recipe: Recipe, split: Split, means: Means, bars: Bars) -> tuple[Workshop, Images]:
    """Look at the training images, and at where to train on them. The test images stay closed.

    Raises:
        DataError: the data can't be used.
        InputError: there are no such GPUs.
    """
    from model.data import fingerprint, load_training
    from model.data import split as split_of

    gpus = chosen_gpus(visible_gpus(), means.gpus)
    data = recipe.data.model_copy(update={"source": means.source or recipe.data.source})
    training = load_training(data.source, means.home.data)
    available = len(training)
    searched = len(split_of(training, data).train) if split == "validation" else data.train_images
    images = Images(
        source=data.source,
        fingerprint=fingerprint(training),
        train=available if split == "test" else searched or available,
        searched=searched or available - data.validation_images,
        available=available,
        classes=training.class_names,
    )
    shop = Workshop(
        data=data,
        fingerprint=images.fingerprint,
        split=split,
        cache=means.home.data,
        log=lambda place: means.home.log(recipe.study, f"retrain-{place.name}"),
        gpus=gpus,
        workers=means.workers,
        trials_per_gpu=means.trials_per_gpu,
        tell=bars.tell,
        note=lambda text: bars.note(text, "yellow"),
        start=means.start,
    )
    return shop, images


def seed_jobs(recipe: Recipe, seeds: int, out: Path, *, fresh_from: int | None, keeps_models: bool = True) -> list[Job]:
    """A training for each seed, in `out`, which is taken for this recipe.

    The seeds count up from the recipe's own; or, from `fresh_from` on, are those that no trial of the search had.

    Raises:
        InputError: `out` holds the retraining of another recipe, or can't be written.
    """
    _keep_recipe(out, recipe)
    own, places = recipe.config.seed, range(seeds)
    if fresh_from is None:
        wanted = [(own + place) % 2**32 for place in places]
    else:
        wanted = [fresh_seed(own, fresh_from + place) for place in places]
    return [
        Job(
            f"trial {recipe.trial}, seed {seed}",
            TrainConfig(**{**recipe.config.model_dump(), "seed": seed}),
            out,
            f"seed-{index}",
            keeps_models,
        )
        for index, seed in enumerate(wanted)
    ]


def _keep_recipe(out: Path, recipe: Recipe) -> None:
    copy = out / "recipe.toml"
    if copy.exists():
        if read_recipe(copy).model_copy(update={"created": recipe.created}) != recipe:
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
    jobs: Sequence[Job],
    shop: Workshop,
    images: Images,
    home: Home,
    comparison: Mapping[str, Any] | None = None,
) -> Outcome:
    """Train what is not trained yet, then measure all networks, on the test images if so, and write the results.

    Raises what `retrain_recipe` does.
    """
    records = shop.train(jobs)
    for job, trained in zip(jobs, records, strict=True):
        if trained.failure:
            raise TrainError(f"{job.name} {trained.failure} What was trained so far is kept in {as_shown(job.folder)}.")
    networks = _measured(jobs, records, shop, home)
    out = jobs[0].folder
    retrained = summed_up(recipe, shop.split, networks, images, out)
    document = metrics_document(recipe, retrained, networks, images, comparison)
    write_results(document, out)
    return Outcome(retrained, document, images.fingerprint == recipe.data_fingerprint)


def _measured(jobs: Sequence[Job], records: Sequence[Record], shop: Workshop, home: Home) -> list[Network]:
    """All networks, classifying the images they are measured on: here the test set is opened, and nowhere before."""
    quiet_tensorflow(home.tensorflow_log)
    from model.data import load_test, load_training
    from model.data import split as split_of
    from model.device import configure
    from model.evaluate import evaluate
    from model.saved import load_model

    configure()
    if shop.split == "test":
        images = load_test(shop.data.source, shop.cache)
    else:
        images = split_of(load_training(shop.data.source, shop.cache), shop.data).validation
    networks = []
    for job, trained in zip(jobs, records, strict=True):
        try:
            evaluation = evaluate(load_model(job.model), images)
        except ModelError as error:
            raise InputError(f"{error} Delete it, and run the same command again to have it trained anew.") from None
        # The search's own measure where its score is put to the test: in the precision that it was trained in.
        accuracy = trained.history[-1].val_accuracy if shop.split == "validation" else None
        accuracy = evaluation.accuracy if accuracy is None else accuracy
        networks.append(Network(job.config.seed, job.model, trained, accuracy, evaluation))
    return networks


def print_outcome(console: Console, outcome: Outcome, out: Path) -> None:
    """Say plainly what the search's score came to on images that nobody chose by."""
    document, retrained = outcome.document, outcome.retrained
    console.print()
    console.print(retrained.in_words(), soft_wrap=True)
    if retrained.interval:
        low, high = retrained.interval
        console.print(f"the mean lies between {low:.4f} and {high:.4f} (95%, Student's t)")
    else:
        console.print("one seed has no spread and no interval: use --seeds 3 or more to have them")
    console.print(
        f"measured on {document['measured_images']:,} {retrained.split} images of {document['data']['source']}"
    )
    if document["reproduces"]:
        console.print(f"does it reproduce? {document['reproduces']['text']}", soft_wrap=True)
    for told in document["told"]:
        console.print(Text(told, style="yellow"), soft_wrap=True)
    best = document["seeds"][document["best_seed"]]
    console.print(f"by class, seed {best['seed']}:" if len(document["seeds"]) > 1 else "by class:")
    for name, accuracy in best["class_accuracy"].items():
        console.print(
            f"  {name:12} {accuracy:.4f}" if accuracy is not None else f"  {name:12} no image", soft_wrap=True
        )
    console.print(f"page, models, metrics and figures: {as_shown(out / 'index.html')}", soft_wrap=True)


def write_back(storage: Storage | None, recipe: Recipe, outcome: Outcome, home: Home, folder: Path) -> str:
    """Keep the score with the study that the recipe is of, where it is in the database, and say whether it was."""
    problem = ""
    if storage is None:
        problem = "there is no database here"
    elif recipe.study_uid is None:
        problem = "the recipe does not say which it is of. One that is exported now does"
    elif recipe.edited:
        problem = "the recipe was edited, so the score is not its trial's"
    elif not outcome.same_images:
        problem = "the images are not those of the search"
    if problem or storage is None:
        return f"not written to a study: {problem}"
    try:
        study = next((each for each in all_studies(storage) if each.attributes.get("uid") == recipe.study_uid), None)
        if study is None:
            return f"not written to a study: {recipe.study} is not in {storage.name}"
        record(storage, study, outcome.retrained)
        refresh_notes(storage, study)
    except StorageError as error:
        return f"not written to a study: {error}"
    written = f"written to study {study.shown} in {storage.name}"
    try:
        keep_retrained(storage, study, home.artifacts, outcome.retrained, folder)
    except (OSError, StorageError) as error:
        return f"{written}, but the page and the model can't be kept beside it: {error}"
    return written
