"""From a recipe to a verified score: train it on all training images, then, and only then, open the test set.

    OUT/recipe.toml            a copy of the recipe
    OUT/seed-0.keras ...       a network a seed: raw images in, probabilities out; loads in plain Keras
    OUT/seed-0.json ...        its learning curve
    OUT/metrics.json           test accuracy of each seed, their mean and spread, by class, the confusion matrix
    OUT/loss.png, accuracy.png, score.png, class_accuracy.png, confusion.png, and each as .svg

What is there already is not made again, so an interrupted retraining goes on where it was. Seed 0 is the recipe's own;
the others count up from it.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from model.config import EpochMetrics, TrainConfig
from model.files import written_aside
from search.home import Home
from search.live import short
from search.mistakes import InputError
from search.recipe import Recipe, read_recipe, write_recipe
from search.terminal import quiet_tensorflow
from studies.published import REPORT_SCORE
from studies.words import duration

if TYPE_CHECKING:
    from model.evaluate import Evaluation
    from model.images import ImageSet
    from model.train import Engine

PROGRESS_SECONDS = 15.0
CIFAR10_SHAPE = (50_000, 10)
"""Training images and classes of CIFAR-10: whatever file it comes from, only it is compared with the report."""


@dataclass(frozen=True)
class Retrained:
    """One network of a retraining."""

    seed: int
    model: Path
    history: tuple[EpochMetrics, ...]


def retrain_recipe(
    path: Path, *, seeds: int, out: Path | None, source: str | None, home: Home, console: Console
) -> Mapping[str, Any]:
    """Retrain a recipe and return what is written to metrics.json.

    Raises:
        InputError: the recipe is wrong, or `out` holds another recipe's retraining.
        DataError: the data can't be used.
        model.config.TrainError: a training failed.
    """
    recipe = read_recipe(path)
    home.check_writable()
    out = out or home.retrain(recipe.study, recipe.trial)
    _claim(out, recipe)
    if recipe.edited:
        console.print(Text("the recipe was edited since its export: its searched score is another one's", "yellow"))
    quiet_tensorflow(home.tensorflow_log)
    from model.data import fingerprint, load_test, load_training
    from model.device import configure
    from model.evaluate import evaluate
    from model.saved import load_model

    source = source or recipe.data.source
    console.print(f"retraining trial {recipe.trial} of study {recipe.study}: {short(recipe.config.model_dump())}")
    training = load_training(source, home.data)
    if fingerprint(training) != recipe.data_fingerprint:
        console.print(Text(f"{source} is not the data of the search: other pixels or labels", "yellow"))
    device = configure()
    console.print(f"{len(training.labels)} training images, {seeds} seed{'s' * (seeds > 1)}, on {device.name}")
    networks = _train_all(recipe, seeds, training, device, out, console)

    test = load_test(source, home.data)
    evaluations = [evaluate(load_model(network.model), test) for network in networks]
    is_cifar10 = (len(training.labels), len(training.class_names)) == CIFAR10_SHAPE
    document = _metrics(recipe, networks, evaluations, is_cifar10=is_cifar10)
    _write_json(out / "metrics.json", document)
    _draw(recipe, networks, evaluations, out, is_cifar10=is_cifar10)
    _report(console, document, out)
    return document


def _claim(out: Path, recipe: Recipe) -> None:
    """Take `out` for this recipe. Raises InputError where it is another's or can't be written."""
    copy = out / "recipe.toml"
    if copy.exists():
        if read_recipe(copy).model_copy(update={"created": recipe.created}) != recipe:
            raise InputError(f"{out}: holds the retraining of another recipe. Name another folder with --out.")
        return
    try:
        write_recipe(recipe, copy)
    except OSError as error:
        raise InputError(f"{out}: can't be written ({error.strerror}). Name another folder with --out.") from None


def _train_all(
    recipe: Recipe, seeds: int, training: ImageSet, device: Any, out: Path, console: Console
) -> list[Retrained]:
    engine: Engine | None = None
    networks = []
    for index in range(seeds):
        seed = (recipe.config.seed + index) % 2**32
        config = TrainConfig(**{**recipe.config.model_dump(), "seed": seed, "precision": "auto"})
        model, curve = out / f"seed-{index}.keras", out / f"seed-{index}.json"
        if not (model.exists() and curve.exists()):
            if engine is None:
                from model.train import Engine

                engine = Engine(training, None, device)
            history = _train_one(engine, config, out / "checkpoints" / f"seed-{index}", f"seed {index}", console)
            from model.saved import save_model

            save_model(engine.network, model, training.class_names)
            _write_json(curve, {"seed": seed, "history": [metrics.model_dump() for metrics in history]})
            shutil.rmtree(out / "checkpoints" / f"seed-{index}", ignore_errors=True)
        stored = json.loads(curve.read_text(encoding="utf-8"))
        networks.append(Retrained(seed, model, tuple(EpochMetrics.model_validate(e) for e in stored["history"])))
    shutil.rmtree(out / "checkpoints", ignore_errors=True)
    return networks


def _train_one(
    engine: Engine, config: TrainConfig, checkpoints: Path, name: str, console: Console
) -> tuple[EpochMetrics, ...]:
    """Train one network, with its progress on a line that is rewritten on a terminal and rare in a pipe."""
    started = shown = time.monotonic()
    rate = 0.0

    def say(text: str, *, now: bool) -> None:
        nonlocal shown
        if console.is_terminal:
            console.print(text.ljust(console.width - 1), end="\r")
        elif now and (time.monotonic() - shown > PROGRESS_SECONDS):
            shown = time.monotonic()
            console.print(text)

    def on_progress(progress: Any) -> None:
        nonlocal rate
        rate = progress.images_per_second
        share = progress.step / progress.steps
        say(f"{name}: epoch {progress.epoch}/{config.epochs} {share:4.0%}, {rate:.0f} images/s", now=False)

    def on_epoch(metrics: EpochMetrics) -> bool:
        text = f"{name}: epoch {metrics.epoch}/{config.epochs} loss {metrics.loss:.4f} accuracy {metrics.accuracy:.4f}"
        say(text, now=True)
        return True

    result = engine.train(config, on_epoch, checkpoints=checkpoints, on_progress=on_progress)
    last = result.history[-1]
    took = duration(time.monotonic() - started)
    line = f"{name}: {config.epochs} epochs in {took}, training loss {last.loss:.4f}, accuracy {last.accuracy:.4f}"
    console.print(line.ljust(console.width - 1) if console.is_terminal else line)
    return result.history


def _metrics(
    recipe: Recipe, networks: Sequence[Retrained], evaluations: Sequence[Evaluation], *, is_cifar10: bool
) -> dict[str, Any]:
    accuracies = [evaluation.accuracy for evaluation in evaluations]
    names = evaluations[0].class_names
    mean = fmean(accuracies)
    return {
        "study": recipe.study,
        "trial": recipe.trial,
        "searched": recipe.value,
        "test_accuracy": mean,
        "test_accuracy_spread": stdev(accuracies) if len(accuracies) > 1 else None,
        "report": REPORT_SCORE if is_cifar10 else None,
        "gain": mean - REPORT_SCORE if is_cifar10 else None,
        "best_seed": max(range(len(accuracies)), key=accuracies.__getitem__),
        "seeds": [
            {
                "seed": network.seed,
                "model": network.model.name,
                "test_accuracy": evaluation.accuracy,
                "test_loss": evaluation.loss,
                "class_accuracy": dict(zip(names, evaluation.class_accuracy, strict=True)),
                "confusion": evaluation.confusion,
                "seconds": sum(metrics.seconds for metrics in network.history),
                "history": [metrics.model_dump(exclude_none=True) for metrics in network.history],
            }
            for network, evaluation in zip(networks, evaluations, strict=True)
        ],
        "test_images": evaluations[0].count,
        "config": recipe.config.model_dump(exclude_none=True),
    }


def _draw(
    recipe: Recipe, networks: Sequence[Retrained], evaluations: Sequence[Evaluation], out: Path, *, is_cifar10: bool
) -> None:
    import numpy as np

    from studies.figures import Score, class_accuracy_figure, confusion_figure, score_figure, training_figures

    scores = [Score(n.seed, e.accuracy, e.loss) for n, e in zip(networks, evaluations, strict=True)]
    title = f"study {recipe.study}, trial {recipe.trial}, retrained"
    names = evaluations[0].class_names
    training_figures(
        [network.history for network in networks],
        out,
        title=title,
        searched=recipe.history,
        scores=scores,
        report=is_cifar10,
    )
    score_figure(scores, out, title=title, report=is_cifar10)
    by_class = [[accuracy or 0.0 for accuracy in evaluation.class_accuracy] for evaluation in evaluations]
    class_accuracy_figure(by_class, names, out, title=title)
    confusion = np.sum([evaluation.confusion for evaluation in evaluations], axis=0)
    confusion_figure(confusion, names, out, title=title)


def _report(console: Console, document: Mapping[str, Any], out: Path) -> None:
    """Say plainly what the search's score came to on images that nobody chose by."""
    spread, count = document["test_accuracy_spread"], len(document["seeds"])
    shown = f"{document['test_accuracy']:.4f}" + (
        f" +- {spread:.4f} (standard deviation, {count} seeds)" if spread else ""
    )
    console.print()
    console.print(f"searched  {document['searched']:.4f} validation accuracy")
    console.print(f"retrained {shown} on {document['test_images']} test images{'' if count > 1 else ' (1 seed)'}")
    if document["report"] is not None:
        console.print(f"report    {document['report']:.4f}, gain {document['gain']:+.4f}")
    best = document["seeds"][document["best_seed"]]
    for name, accuracy in best["class_accuracy"].items():
        console.print(f"  {name:12} {accuracy:.4f}" if accuracy is not None else f"  {name:12} no test image")
    console.print(f"models, metrics.json and figures are in {out}", soft_wrap=True)
    console.print(f"next: alexsearch evaluate {out / best['model']}", soft_wrap=True)


def _write_json(path: Path, document: Any) -> None:
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    with written_aside(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
