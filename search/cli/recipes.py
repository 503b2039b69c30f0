"""The commands about a study's best: written as a recipe, trained again, compared."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from search.cli.options import (
    EXIT_INTERRUPTED,
    Command,
    code_option,
    console,
    data_option,
    fail,
    force_option,
    gpus_option,
    open_database,
    print_json,
    storage_options,
    study_option,
    trials_per_gpu_option,
    typed_options,
    workers_option,
)

if TYPE_CHECKING:
    from studies.store.storage import Storage


@click.command()
@study_option
@storage_options
@click.option("--trial", type=click.IntRange(min=0), metavar="N", show_default="the best", help="Number of the trial.")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    metavar="K",
    show_default="only the best",
    help="The best K trials, a file each: best-1.toml is the best.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write, .toml or .json; - prints it."
)
@force_option
@click.option("--json", "as_json", is_flag=True, help="With -o -: print JSON.")
def export(
    study: str | None,
    home: Path,
    storage: str | None,
    trial: int | None,
    top: int | None,
    output: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Write a trial's configuration as a recipe.

    A recipe is a TOML or JSON file to read, edit and keep; `retrain` needs nothing else. A file is replaced if it
    is a recipe that nobody has edited; any other only with --force.

    \b
    alexsearch export -o best.toml
    alexsearch export --study quick --trial 3 -o third.toml
    alexsearch export --top 3 -o best.json
    alexsearch export -o - --json | jq .config
    """
    from search.retraining.recipe import recipe_toml
    from search.retraining.recipes import find_recipes, write_recipes
    from studies.record.metric import Metric

    to_stdout = str(output) == "-"
    if trial is not None and top is not None:
        raise click.UsageError("--trial names one trial and --top the best ones: give one of the two.")
    if to_stdout and top and not as_json:
        raise click.UsageError("--top makes several recipes: name a file with -o, or print them as JSON with --json.")
    if as_json and not to_stdout:
        raise click.UsageError("--json goes with -o -. To write JSON, name a file that ends in .json.")
    opened = open_database(home, storage, read_only=True)
    recipes = find_recipes(opened, study, trial, top or 1)
    if to_stdout:
        if as_json:
            documents = [recipe.document() for recipe in recipes]
            print_json(documents if top else documents[0])
        else:
            sys.stdout.write(recipe_toml(recipes[0]))
        return
    paths = write_recipes(recipes, output, several=top is not None, force=force)
    for recipe, path in zip(recipes, paths, strict=True):
        value = f"{recipe.metric} {Metric(recipe.metric).shown(recipe.value)}"
        click.echo(f"trial {recipe.trial} of study {recipe.study}, {value}: {path}")
    if top and len(paths) < top:
        click.echo(f"study {recipes[0].study} has no more complete trials: {len(paths)} files instead of {top}")
    click.echo(f"next: alexsearch retrain {shlex.quote(str(paths[0]))}{typed_options(home, opened)}")


def _seeds_option(default: int, help_text: str) -> Callable[[Command], Command]:
    return click.option(
        "--seeds", type=click.IntRange(1, 100), default=default, metavar="N", show_default=True, help=help_text
    )


def _out_option(default: str) -> Callable[[Command], Command]:
    path = click.Path(path_type=Path)
    return click.option("--out", type=path, metavar="DIR", show_default=default, help="Folder to write to.")


_epochs_option = click.option(
    "--epochs",
    type=click.IntRange(1, 100_000),
    metavar="N",
    show_default="as searched",
    help="Stretch schedule and warm-up to so many.",
)


@contextmanager
def _going_on_later() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        fail("interrupted. Run the same command again: it goes on where it was.", EXIT_INTERRUPTED)


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@_seeds_option(1, "How many networks to train.")
@click.option(
    "--validate",
    is_flag=True,
    help="Keep the search's split and leave the test set closed: does the search's score reproduce?",
)
@_epochs_option
@_out_option("HOME/STUDY/retrain/trial-N, or reproduce/trial-N with --validate")
@workers_option
@gpus_option
@trials_per_gpu_option
@data_option("the recipe's")
@code_option("the recipe's folder, then this one")
@storage_options
@force_option
def retrain(
    recipe: Path,
    seeds: int,
    validate: bool,
    epochs: int | None,
    out: Path | None,
    workers: int | None,
    gpus: str,
    trials_per_gpu: int | None,
    data: str | None,
    code: Path | None,
    home: Path,
    storage: str | None,
    force: bool,
) -> None:
    """Train a recipe on all training images, then open the test set.

    Writes a .keras model per seed, metrics as JSON and CSV, the curves, the score, accuracy by class, the confusion
    matrix, and one page with all of it. Interrupted, it goes on where it was. The score is written to the recipe's
    study, where the database has it.

    Of a training of your own it sets trial.final, which means: train on everything, and report the test's score. What
    each seed saved is kept.

    With --epochs, a recipe of a short search is trained long: the epochs of its steps and of its warm-up are scaled
    alike, cosine and linear reach over all. Its folder ends in -N-epochs, and its score is kept apart.

    \b
    alexsearch retrain best.toml
    alexsearch retrain best.toml --seeds 5 --out verified
    alexsearch retrain best.toml --seeds 5 --validate
    alexsearch retrain best.toml --epochs 100
    """
    from search.base.home import Home
    from search.retraining.jobs import Means
    from search.retraining.recipe import read_recipe
    from search.retraining.retrain import retrain_recipe
    from search.screen.outcomes import print_retrained, shown

    found = read_recipe(recipe)
    means = Means(
        Home(home),
        data,
        workers,
        gpus,
        trials_per_gpu,
        _database_if_there(home, storage),
        folders=(code,) if code else (recipe.parent, Path()),
    )
    asked = partial(
        retrain_recipe, found, seeds=seeds, out=out, means=means, validate=validate, epochs=epochs, force=force
    )
    with _going_on_later():
        shown(console(), lambda view: asked(view=view), partial(print_retrained, where=typed_options(home)))


def _database_if_there(home: Path, storage: str | None) -> Storage | None:
    """The database to write a score to; None if none was named and none is in the home."""
    from studies.store.errors import StorageError

    try:
        return open_database(home, storage)
    except StorageError:
        if storage:
            raise
        return None


@click.command()
@study_option
@storage_options
@click.option(
    "--top", type=click.IntRange(1, 100), default=5, metavar="K", show_default=True, help="How many trials to compare."
)
@_seeds_option(3, "Fresh seeds of each, and of the picked one on all images.")
@_epochs_option
@_out_option("HOME/STUDY/verify/...")
@workers_option
@gpus_option
@trials_per_gpu_option
@data_option("the study's")
@code_option("this folder")
@force_option
def verify(
    study: str | None,
    home: Path,
    storage: str | None,
    top: int,
    seeds: int,
    epochs: int | None,
    out: Path | None,
    workers: int | None,
    gpus: str,
    trials_per_gpu: int | None,
    data: str | None,
    code: Path | None,
    force: bool,
) -> None:
    """Compare the best trials on fresh seeds, and retrain the best.

    The best of many scores is too good. So the best trials are trained again on the search's split, with other seeds;
    the best mean is picked, and Welch's t-test says whether it can be told from the second. Only the picked one is
    trained on all training images and meets the test set, once. Interrupted, it goes on where it was.

    With --epochs, all are compared and retrained with their schedules stretched to so many, as `retrain` has it.

    \b
    alexsearch verify --study quick
    alexsearch verify --study quick --top 3 --seeds 5
    """
    from search.base.home import Home
    from search.retraining.jobs import Means
    from search.retraining.verify import verify_study
    from search.screen.outcomes import print_verified, shown

    opened = open_database(home, storage)
    means = Means(Home(home), data, workers, gpus, trials_per_gpu, opened, folders=(code or Path(),))
    asked = partial(verify_study, opened, study, top=top, seeds=seeds, out=out, means=means, epochs=epochs, force=force)
    with _going_on_later():
        shown(console(), lambda view: asked(view=view), partial(print_verified, where=typed_options(home)))


RECIPES = (export, retrain, verify)
