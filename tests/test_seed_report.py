"""The report's one training: its settings, its figures, and nothing lost that was there."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from null_child import Played, fails

from model.config import TrainError
from model.data import load_test, load_training
from model.saved import load_model, read_class_names
from search.base.home import Home
from search.base.mistakes import InputError
from search.base.terminal import Output
from search.retraining.jobs import Means
from search.retraining.seed_report import paper_config, reproduce_paper
from search.screen.outcomes import print_seed_report
from search.screen.progress import Bars
from search.training.child import Start
from search.training.starting import start_process

FIGURES = {f"{name}.{kind}" for name in ("loss", "accuracy", "score") for kind in ("png", "svg")}


def nothing(*_: object) -> None:
    """What a played training saves."""


@pytest.fixture
def few(tmp_path: Path) -> str:
    """A file of 200 training images and 50 test images."""
    train, test = (load("synthetic", Path()) for load in (load_training, load_test))
    parts = {f"{kind}_train": getattr(train, name)[:200] for kind, name in (("x", "images"), ("y", "labels"))}
    parts |= {f"{kind}_test": getattr(test, name)[:50] for kind, name in (("x", "images"), ("y", "labels"))}
    np.savez(tmp_path / "few.npz", **parts)
    return str(tmp_path / "few.npz")


def train(
    tmp_path: Path, epochs: int, source: str, start: Start = start_process, seed: int = 3
) -> tuple[dict[str, Any], str]:
    output, out, means = Output(), tmp_path / "seed-report", Means(Home(tmp_path), source, start=start)
    output.file = printed = io.StringIO()
    document = reproduce_paper(epochs=epochs, seed=seed, out=out, means=means, view=Bars(output))
    print_seed_report(output, document, str(out))
    return document, printed.getvalue()


def test_settings_are_the_reports() -> None:
    config = paper_config(None, 0)
    assert (config.batch_size, config.learning_rate, config.epochs, config.schedule) == (32, 0.001, 50, "constant")
    assert paper_config(3, 1).epochs == 3


@pytest.mark.slow
def test_it_draws_its_figures_and_goes_on_with_more_epochs(tmp_path: Path, few: str) -> None:
    out = tmp_path / "seed-report"
    first, printed = train(tmp_path, 1, few)
    assert "validated on its 50 test images as the report did" in printed
    assert FIGURES | {"metrics.json", "net.keras", "checkpoints"} == {path.name for path in out.iterdir()}
    assert read_class_names(out / "net.keras", 10) == tuple("0123456789")
    load_model(out / "net.keras", classes=10)
    second, printed = train(tmp_path, 2, few)
    assert second["history"][0] == first["history"][0]
    assert json.loads((out / "metrics.json").read_text()) == second
    accuracies = [epoch["val_accuracy"] for epoch in second["history"]]
    assert second["best_accuracy"] == max(accuracies)
    assert second["last_accuracy"] == accuracies[-1]
    assert second["report_score"] is None, "the report says nothing of these images"
    assert "0.7081" not in printed


def test_longer_or_other_training_is_not_overwritten(tmp_path: Path) -> None:
    played = Played(save=nothing)
    train(tmp_path, 2, "synthetic", played.start)
    assert played.openings == ["test"]
    before = (tmp_path / "seed-report" / "metrics.json").read_bytes()
    for said, epochs, seed, other in (
        ("holds 2 epochs, more than 1", 1, 3, "sha256:null"),
        ("another seed or data", 3, 4, "sha256:null"),
        ("another seed or data", 3, 3, "sha256:other"),
    ):
        played.fingerprint = other
        with pytest.raises(InputError, match=f"{said}.*--out"):
            train(tmp_path, epochs, "synthetic", played.start, seed)
    assert len(played.trained) == 1
    assert (tmp_path / "seed-report" / "metrics.json").read_bytes() == before
    (tmp_path / "seed-report" / "metrics.json").write_text("[]")
    with pytest.raises(InputError, match=r"its metrics\.json can't be read"):
        train(tmp_path, 3, "synthetic", played.start)


def test_crash_is_told_and_no_epoch_printed_twice_and_divergence_is_an_error(tmp_path: Path) -> None:
    played = Played(save=nothing, trouble=lambda _config, attempt: "crash" if attempt == 1 else None)
    document, printed = train(tmp_path, 2, "synthetic", played.start)
    assert "seed-report goes on from its last epoch: training process was killed by signal 9" in printed
    assert [line.split()[0] for line in printed.splitlines() if line.startswith("    ")] == ["1", "2"]
    assert len(document["history"]) == 2
    played.trouble = lambda *_: fails("diverged", "The loss became nan.")
    with pytest.raises(TrainError, match=r"The loss became nan\."):
        train(tmp_path, 3, "synthetic", played.start)
