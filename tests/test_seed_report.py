"""The report's one training: its settings, its figures, and nothing lost that was there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model.config import TrainConfig
from model.data import load_test, load_training
from model.device import Device
from model.images import ImageSet
from model.saved import load_model, read_class_names
from search.base.home import Home
from search.base.mistakes import InputError
from search.base.terminal import Output
from search.retraining import seed_report
from search.retraining.seed_report import report_config, reproduce_report
from search.screen.outcomes import print_seed_report
from search.screen.progress import Bars

FIGURES = {f"{name}.{kind}" for name in ("loss", "accuracy", "score") for kind in ("png", "svg")}


def first(count: int, load: Callable[[str, Path], ImageSet]) -> Callable[[str, Path], ImageSet]:
    def load_few(source: str, cache: Path) -> ImageSet:
        every = load(source, cache)
        return ImageSet(every.images[:count], every.labels[:count], every.class_names)

    return load_few


@pytest.fixture(autouse=True)
def small_and_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few images in large batches; and TensorFlow, at work already, keeps its threads."""
    monkeypatch.setattr("model.data.load_training", first(200, load_training))
    monkeypatch.setattr("model.data.load_test", first(50, load_test))
    monkeypatch.setattr(seed_report, "quiet_tensorflow", lambda _log: None)
    monkeypatch.setattr("model.device.configure", lambda: Device("cpu", "a CPU", "float32", False, 2))
    larger = TrainConfig(**{**report_config(None, 3).model_dump(), "batch_size": 100})
    monkeypatch.setattr(
        seed_report,
        "report_config",
        lambda epochs, seed: larger.model_copy(update={"epochs": epochs or 2, "seed": seed}),
    )


def train(tmp_path: Path, epochs: int, **changes: Any) -> tuple[dict[str, Any], str]:
    output, out = Output(), tmp_path / "seed-report"
    asked = {"seed": 3, "out": out, "source": "synthetic", "home": Home(tmp_path), **changes}
    with output.capture() as printed:
        document = reproduce_report(epochs=epochs, view=Bars(output), **asked)
        print_seed_report(output, document, str(out))
    return document, printed.get()


def test_settings_are_the_reports() -> None:
    config = report_config(None, 0)
    assert (config.batch_size, config.learning_rate, config.epochs, config.schedule) == (32, 0.001, 50, "constant")
    assert report_config(3, 1).epochs == 3


def test_it_draws_its_figures_and_goes_on_with_more_epochs(tmp_path: Path) -> None:
    out = tmp_path / "seed-report"
    first, printed = train(tmp_path, 1)
    assert "validated on its 50 test images as the report did" in printed
    assert FIGURES | {"metrics.json", "net.keras", "checkpoints"} == {path.name for path in out.iterdir()}
    assert read_class_names(out / "net.keras", 10) == tuple("0123456789")
    load_model(out / "net.keras", classes=10)
    second, printed = train(tmp_path, 2)
    assert second["history"][0] == first["history"][0]
    assert json.loads((out / "metrics.json").read_text()) == second
    accuracies = [epoch["val_accuracy"] for epoch in second["history"]]
    assert second["best_accuracy"] == max(accuracies)
    assert second["last_accuracy"] == accuracies[-1]
    assert second["report_score"] is None, "the report says nothing of these images"
    assert "0.7081" not in printed


def test_longer_or_other_training_is_not_overwritten(tmp_path: Path) -> None:
    train(tmp_path, 2)
    before = (tmp_path / "seed-report" / "metrics.json").read_bytes()
    for said, changes in (
        ("holds 2 epochs, more than 1", {"epochs": 1}),
        ("another seed or data", {"epochs": 3, "seed": 4}),
        ("another seed or data", {"epochs": 3, "source": "digits"}),
    ):
        with pytest.raises(InputError, match=f"{said}.*--out"):
            train(tmp_path, **changes)
    assert (tmp_path / "seed-report" / "metrics.json").read_bytes() == before
    (tmp_path / "seed-report" / "metrics.json").write_text("[]")
    with pytest.raises(InputError, match=r"its metrics\.json can't be read"):
        train(tmp_path, 3)
