"""The commands of `alexsearch` about what was trained: measured, asked, converted, trained again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from search.cli.options import (
    EXIT_FAILED,
    code_option,
    console,
    data_option,
    force_option,
    gpus_option,
    home_option,
    json_option,
    open_database,
    print_json,
    skip_unreadable_option,
    storage_options,
    study_option,
    trials_per_gpu_option,
    workers_option,
)

_model_argument = click.argument("model", type=click.Path(path_type=Path))
_network_option = click.option(
    "--network",
    type=click.Path(path_type=Path),
    metavar="FILE",
    show_default="none",
    help="Python file that defines the model's own layers, where it has any. It is run.",
)


@click.command()
@_model_argument
@data_option("cifar10", help_end=": its test images")
@skip_unreadable_option
@_network_option
@home_option
@json_option
def evaluate(model: Path, data: str, skip_unreadable: bool, network: Path | None, home: Path, as_json: bool) -> None:
    """Measure a trained model on the test images.

    JSON keys: model, data, images, accuracy, loss, classes (name: accuracy), confusion (rows are the true class), notes
    (what was made of the data).

    \b
    alexsearch evaluate runs/quick/retrain/trial-00003/seed-0.keras
    """
    from search.base.home import Home
    from search.retraining.using import evaluate_model
    from search.screen.outcomes import print_evaluation

    document = evaluate_model(model, data, Home(home), skip_unreadable=skip_unreadable, network=network)
    if as_json:
        print_json(document)
    else:
        print_evaluation(console(), document)


@click.command()
@_model_argument
@click.argument("images", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--top", type=click.IntRange(min=1), default=1, metavar="K", show_default=True, help="Show so many classes."
)
@_network_option
@home_option
@json_option
def predict(model: Path, images: tuple[Path, ...], top: int, network: Path | None, home: Path, as_json: bool) -> None:
    """Say what is in pictures: class and probability.

    JPEG, PNG, WebP, BMP, GIF or TIFF of any size; they are turned as EXIF says and squeezed to the size that the model
    takes (32x32 unless its network is your own), as the images of an image folder are.

    JSON keys: model, images (a list of image, class, probability, classes: all of them, the most probable first).

    \b
    alexsearch predict seed-0.keras cat.jpg dog.png
    alexsearch predict seed-0.keras --top 3 cat.jpg
    """
    from search.base.home import Home
    from search.retraining.using import predict_images
    from search.screen.outcomes import print_predictions

    document = predict_images(model, images, Home(home), network=network)
    if as_json:
        print_json(document)
    else:
        print_predictions(console(), document, top)


@click.command()
@_model_argument
@click.option("--to", "kind", type=click.Choice(["onnx", "saved-model", "litert"]), required=True, help="The format.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="PATH",
    show_default="MODEL.onnx, MODEL.tflite or MODEL-saved-model/",
    help="File to write, or folder where it is a SavedModel.",
)
@data_option("made-up images", help_end=": its test images are what the result is checked on")
@_network_option
@home_option
@force_option
@json_option
def convert(
    model: Path,
    kind: str,
    output: Path | None,
    data: str | None,
    network: Path | None,
    home: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Write a trained model as ONNX, SavedModel or LiteRT.

    What was written is read back, run by its own runtime, and kept only where it gives the same classes on 1,000
    images.

    JSON keys: model, format, output, bytes, checked_on, images, classes_seen (how many classes the model saw in them),
    largest_difference (of a probability).

    \b
    alexsearch convert seed-0.keras --to onnx -o net.onnx
    alexsearch convert seed-0.keras --to litert --data cifar10.npz
    """
    from search.base.home import Home
    from search.retraining.using import convert_model
    from search.screen.outcomes import print_conversion

    document = convert_model(model, kind, output, data, Home(home), force=force, network=network)
    if as_json:
        print_json(document)
    else:
        print_conversion(console(), document)


@click.command()
@study_option
@storage_options
@click.option("--trial", type=click.IntRange(min=0), metavar="N", required=True, help="Number of the trial.")
@gpus_option
@data_option("the study's")
@code_option("this folder")
@json_option
def replay(
    study: str | None,
    home: Path,
    storage: str | None,
    trial: int,
    gpus: str,
    data: str | None,
    code: Path | None,
    as_json: bool,
) -> None:
    """Train one trial again and compare it epoch by epoch.

    On the same CPU, in float32, every bit must agree; where a device, a version or something else differs, which is
    said, all must stay within a tolerance, which is said as well. Exit code 0: reproduced; 1: not.

    JSON keys: study, trial, reproduced, verdict (bit-equal, within tolerance or different), demanded (one of the first
    two), first_unequal_epoch, largest_difference, tolerance, differences (a list of what, recorded, here), device,
    precision, threads, epochs (a list of epoch, recorded, again, apart, equal, within).

    \b
    alexsearch replay --trial 3
    alexsearch replay --study wide --trial 0 --data cifar10.npz
    """
    from search.base.home import Home
    from search.retraining.jobs import Means
    from search.retraining.replay import replay_trial
    from search.screen.outcomes import print_replayed, shown

    opened = open_database(home, storage, read_only=True)
    means = Means(Home(home), data, gpus=gpus, folders=(code or Path(),))
    output = console(quiet=as_json)
    document = shown(output, lambda view: replay_trial(opened, study, trial, means, view), print_replayed)
    if as_json:
        print_json(document)
    sys.exit(0 if document["reproduced"] else EXIT_FAILED)


@click.command()
@click.argument("count", metavar="N", type=click.IntRange(min=1))
@study_option
@storage_options
@workers_option
@gpus_option
@trials_per_gpu_option
@data_option("the study's")
@code_option("this folder")
@json_option
def audit(
    count: int,
    study: str | None,
    home: Path,
    storage: str | None,
    workers: int | None,
    gpus: str,
    trials_per_gpu: int | None,
    data: str | None,
    code: Path | None,
    as_json: bool,
) -> None:
    """Train N pruned trials to their end: was pruning right?

    They are chosen at random, trained from what is stored with them, and held against the complete trials. They stay
    pruned: sampler, pruner and the best trial learn nothing of it. N counts those that were audited before, so that an
    interrupted audit goes on with the same command.

    JSON keys: study, metric, direction, pruned (how many are), audited (a list of number, pruned_after, planned,
    value_when_pruned, value, among_best_tenth, better_than_best), best, best_tenth (the worst value of the best tenth
    of the complete trials), wrong (how many would be in it), wrong_interval (Wilson's, 95%), better (than the best),
    better_interval.

    \b
    alexsearch audit 10
    alexsearch audit 10 --study wide --data cifar10.npz
    """
    from search.base.home import Home
    from search.retraining.audit import audit_study
    from search.retraining.jobs import Means
    from search.screen.outcomes import print_audit, shown

    opened = open_database(home, storage)
    means = Means(Home(home), data, workers, gpus, trials_per_gpu, folders=(code or Path(),))
    output = console(quiet=as_json)
    document = shown(output, lambda view: audit_study(opened, study, count, means, view), print_audit)
    if as_json:
        print_json(document)


@click.command()
@click.option("--epochs", type=click.IntRange(1, 100_000), metavar="N", show_default="the report's 50", help="Epochs.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, metavar="N", show_default=True, help="Seed.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    show_default="HOME/seed-report",
    help="Folder to write to.",
)
@gpus_option
@data_option("cifar10")
@home_option
@force_option
@json_option
def seed_report(
    epochs: int | None, seed: int, out: Path | None, gpus: str, data: str, home: Path, force: bool, as_json: bool
) -> None:
    """Train the report's one configuration, draw its figures.

    As the report did, this validates on the test images after every epoch, and its score is the best epoch's. Nothing
    else here does so. Figures 10 to 12 are drawn beside the values that the report published. Interrupted, or with more
    epochs, it goes on where it was.

    JSON keys: validated_on, best_epoch, best_accuracy, last_accuracy, report_score, config, data_fingerprint, history.

    \b
    alexsearch seed-report
    alexsearch seed-report --epochs 3 --data cifar10.npz
    """
    from search.base.home import Home
    from search.retraining.jobs import Means
    from search.retraining.seed_report import reproduce_paper
    from search.screen.outcomes import print_seed_report, shown

    means = Means(Home(home), data, gpus=gpus)
    folder = out or means.home.seed_report
    document = shown(
        console(quiet=as_json),
        lambda view: reproduce_paper(epochs=epochs, seed=seed, out=folder, means=means, force=force, view=view),
        lambda output, found: print_seed_report(output, found, str(folder)),
    )
    if as_json:
        print_json(document)


USE: Final = (evaluate, predict, convert, replay, audit, seed_report)
