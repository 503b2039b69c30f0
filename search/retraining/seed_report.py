"""The report's one training, done again: its settings, its 50 epochs, its figures, beside the values it published.

    OUT/metrics.json             every epoch, the best and the last, the report's values; written anew after each epoch
    OUT/loss.png                 the report's figure 10: training and validation loss over the epochs
    OUT/accuracy.png             its figure 11: training and validation accuracy
    OUT/score.png                its figure 12: the final score; each of the three as .svg as well
    OUT/net.keras                the network after the last epoch
    OUT/checkpoints/             where it goes on when it is run again, with more epochs too

The report validated on the test images after every epoch and gave the best epoch's accuracy as its score. So does this,
and only this: it is what makes the numbers comparable, and what makes them too good. `retrain` opens the test set once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from model.config import DataSpec, DivergedError, EpochMetrics, Failure, TrainConfig
from model.files import read_regular, write_text
from search.base.mistakes import MAX_FILE_BYTES, InputError
from search.base.overwriting import check_folder
from search.retraining.jobs import Client, Means, Workshop
from search.retraining.view import SILENT, Happening, Job, Trained, View
from search.space.files import load_space
from search.space.own import OwnEpoch
from search.training.messages import DataFound, DeviceFound, Epoch, Ready, Started
from studies.record.published import CIFAR10_SHAPE, PAPER_ACCURACY, PAPER_LOSS, PAPER_SCORE


def paper_config(epochs: int | None, seed: int) -> TrainConfig:
    """The report's settings: the baseline of the preset `seed`. `epochs` are its 50 unless given."""
    config = load_space("seed").baseline_config(seed)
    assert isinstance(config, TrainConfig)  # noqa: S101 - the preset has one, of the AlexNet
    return config if epochs is None else TrainConfig(**{**config.model_dump(), "epochs": epochs})


def reproduce_paper(
    *, epochs: int | None, seed: int, out: Path, means: Means, force: bool = False, view: View = SILENT
) -> dict[str, Any]:
    """Train the report's configuration as it did and draw its figures; `alexsearch seed-report --help` has the keys.

    Raises:
        InputError: `out` holds another such training, one with more epochs or, without `force`, something else.
        DataError: the data can't be used.
        model.config.TrainError: the training failed.
        OSError: `out` can't be written.
    """
    config = paper_config(epochs, seed)
    means.home.check_writable()
    check_folder(out, "metrics.json", force=force, beside="checkpoints")
    _check_continues(out, config, None)
    data = DataSpec(source=means.source or "cifar10")
    reproduction = _Reproduction(data.source, out, config, view)
    shop = Workshop(
        means=replace(means, workers=1),
        data=data,
        validation="test",
        log=lambda _place: means.home.tensorflow_log,
        view=view,
    )
    shop.train([Job("seed-report", config, out / "checkpoints", out / "net.keras")], reproduction)
    _draw(reproduction.history, seed, out, is_cifar10=reproduction.is_cifar10)
    return reproduction.document()


class _Reproduction(Client):
    """Tells and writes the epochs as they come."""

    found: DataFound
    device: DeviceFound

    def __init__(self, source: str, out: Path, config: TrainConfig, view: View) -> None:
        self._source, self._out, self._config, self._view = source, out, config, view
        self.history: list[EpochMetrics] = []

    @property
    def is_cifar10(self) -> bool:
        return (self.found.train_images, len(self.found.classes)) == CIFAR10_SHAPE

    def opened(self, ready: Ready) -> None:
        assert isinstance(ready.data, DataFound)  # noqa: S101 - it is the AlexNet's
        self.found, self.device = ready.data, ready.device
        _check_continues(self._out, self._config, ready.data.fingerprint)

    def told(self, job: Job, happening: Happening) -> None:
        del job
        match happening:
            case Started(history=history, config=TrainConfig(precision=precision)):
                if not self.history:  # else it goes on where its process crashed
                    self._introduce(precision)
                for metrics in history[len(self.history) :]:
                    self._add(metrics)
            case Epoch(metrics=metrics) if metrics.epoch > len(self.history):
                self._add(metrics)
            case Trained(failure=Failure(text=text)):
                raise DivergedError(text)

    def _introduce(self, precision: str) -> None:
        data, device = self.found, self.device
        self._view.note(
            f"the report's settings on {data.train_images:,} images of {self._source}, validated on its "
            f"{data.validation_images:,} test images as the report did, on {device.name}, {precision}"
        )
        self._view.note(f"{'epoch':>5}  accuracy  report    loss  report  seconds")

    def _add(self, metrics: EpochMetrics | OwnEpoch) -> None:
        assert isinstance(metrics, EpochMetrics)  # noqa: S101 - for the type checker
        self.history.append(metrics)
        self._view.note(_row(metrics, is_cifar10=self.is_cifar10))
        write_text(self._out / "metrics.json", json.dumps(self.document(), indent=1) + "\n")

    def document(self) -> dict[str, Any]:
        """What metrics.json holds."""
        best, data = max(self.history, key=lambda metrics: metrics.val_accuracy or 0.0), self.found
        return {
            "validated_on": f"the {data.validation_images:,} test images of {self._source}, every epoch, as the report "
            "did",
            "best_epoch": best.epoch,
            "best_accuracy": best.val_accuracy,
            "last_accuracy": self.history[-1].val_accuracy,
            "report_score": PAPER_SCORE if self.is_cifar10 else None,
            "config": self._config.model_dump(exclude_none=True),
            "data_fingerprint": data.fingerprint,
            "history": [metrics.model_dump() for metrics in self.history],
        }


def _check_continues(out: Path, config: TrainConfig, data: str | None) -> None:
    """Raises InputError if `out` holds what would be lost: another seed's, other data's or a longer training."""
    try:
        found = json.loads(read_regular(out / "metrics.json", MAX_FILE_BYTES))
        there, seed, trained_on = len(found["history"]), found["config"]["seed"], found["data_fingerprint"]
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{out}: its metrics.json can't be read. Name another folder with --out.") from None
    if seed != config.seed or (data is not None and trained_on != data):
        raise InputError(f"{out}: holds the training of another seed or data. Name another folder with --out.")
    if there > config.epochs:
        raise InputError(f"{out}: holds {there} epochs, more than {config.epochs}. Name another folder with --out.")


def _row(metrics: EpochMetrics, *, is_cifar10: bool) -> str:
    published = (curve.get(metrics.epoch) if is_cifar10 else None for curve in (PAPER_ACCURACY, PAPER_LOSS))
    accuracy, loss = (f"{value:.4f}" if value is not None else "" for value in published)
    return (
        f"{metrics.epoch:5}    {metrics.val_accuracy:.4f}  {accuracy:>6}  {metrics.val_loss:.4f}  {loss:>6}"
        f"  {metrics.seconds:7.1f}"
    )


def _draw(history: Sequence[EpochMetrics], seed: int, out: Path, *, is_cifar10: bool) -> None:
    from studies.draw.retraining_pictures import Score, score_picture, training_pictures

    title = "the report's settings, validated on the test images as it did"
    training_pictures([history], out, title=title, paper=is_cifar10)
    best = max(history, key=lambda metrics: metrics.val_accuracy or 0.0)
    score = Score(seed, best.val_accuracy or 0.0, best.val_loss or 0.0)
    score_picture(
        [score],
        out,
        title=f"the report's settings, best of {len(history)} epochs on the test images",
        paper=is_cifar10,
    )
