"""The commands of `alexsearch` about what was trained: measured, asked, converted."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from search.options import console, data_option, home_option, json_option, print_json

_model_argument = click.argument("model", type=click.Path(path_type=Path))


@click.command()
@_model_argument
@data_option("cifar10", help_end=": its test images")
@home_option
@json_option
def evaluate(model: Path, data: str, home: Path, as_json: bool) -> None:
    """Measure a trained model on the test images.

    JSON keys: model, data, images, accuracy, loss, classes (name: accuracy), confusion (rows are the true class).

    \b
    alexsearch evaluate runs/quick/retrain/trial-00003/seed-0.keras
    """
    from search.home import Home
    from search.using import evaluate_model, print_evaluation

    document = evaluate_model(model, data, Home(home))
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
@home_option
@json_option
def predict(model: Path, images: tuple[Path, ...], top: int, home: Path, as_json: bool) -> None:
    """Say what is in pictures: class and probability.

    JPEG, PNG, WebP, BMP or GIF of any size; they are squeezed to 32x32, as the images of an image folder are.

    JSON keys: model, images (a list of image, class, probability, classes: all of them, the most probable first).

    \b
    alexsearch predict seed-0.keras cat.jpg dog.png
    alexsearch predict seed-0.keras --top 3 cat.jpg
    """
    from search.home import Home
    from search.using import predict_images, print_predictions

    document = predict_images(model, images, Home(home))
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
@home_option
@json_option
def convert(model: Path, kind: str, output: Path | None, data: str | None, home: Path, as_json: bool) -> None:
    """Write a trained model as ONNX, SavedModel or LiteRT.

    What was written is read back, run by its own runtime, and kept only where it gives the same classes on 1,000
    images.

    JSON keys: model, format, output, bytes, checked_on, images, classes_seen (how many classes the model saw in them),
    largest_difference (of a probability).

    \b
    alexsearch convert seed-0.keras --to onnx -o net.onnx
    alexsearch convert seed-0.keras --to litert --data cifar10.npz
    """
    from search.home import Home
    from search.using import convert_model, print_conversion

    document = convert_model(model, kind, output, data, Home(home))
    if as_json:
        print_json(document)
    else:
        print_conversion(console(), document)


USE: Final = (evaluate, predict, convert)
