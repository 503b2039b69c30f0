"""The pictures: that they say what the numbers say. How they look was judged by eye."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from PIL import Image

from model.config import EpochMetrics
from studies.draw import picture, study_figures, study_picture
from studies.draw import retraining_pictures as pictures
from studies.draw.retraining_pictures import EpochRow, Score
from studies.record.published import PAPER_ACCURACY, PAPER_CURVE, PAPER_LOSS, PAPER_SCORE

NAMES = ("cat", "dog", "ship")


def history(epochs: int, validated: bool = True) -> list[EpochRow]:
    return [
        EpochMetrics(
            epoch=epoch,
            loss=2 / epoch,
            accuracy=0.6 - 0.3 / epoch,
            val_loss=1.8 / epoch if validated else None,
            val_accuracy=0.7 - 0.3 / epoch if validated else None,
            learning_rate=0.01,
            seconds=1.0,
        )
        for epoch in range(1, epochs + 1)
    ]


def trial(number: int, state: TrialState, curve: dict[int, float]) -> FrozenTrial:
    value = curve[max(curve)] if state == TrialState.COMPLETE else None
    made = create_trial(state=state, value=value, intermediate_values=curve)
    made.number = number
    made.datetime_start = datetime(2022, 1, 1) + timedelta(minutes=number)
    made.datetime_complete = made.datetime_start + timedelta(minutes=1) if state.is_finished() else None
    return made


@pytest.fixture
def trials() -> list[FrozenTrial]:
    return [
        trial(0, TrialState.COMPLETE, {1: 0.40, 2: 0.55}),
        trial(1, TrialState.PRUNED, {1: 0.20}),
        trial(2, TrialState.COMPLETE, {1: 0.50, 2: 0.72}),
        trial(3, TrialState.FAIL, {1: 0.45, 2: float("nan")}),
        trial(4, TrialState.FAIL, {1: float("nan")}),
        trial(5, TrialState.RUNNING, {1: 0.30}),
        create_trial(state=TrialState.WAITING),
    ]


def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Catches the matplotlib figures that are saved from now on."""
    caught: list[Any] = []
    original = picture.save

    def caught_save(figure: Any, path: Path) -> Path:
        if not caught or caught[-1] is not figure:
            caught.append(figure)
        return original(figure, path)

    monkeypatch.setattr(picture, "save", caught_save)
    return caught


def lines(axes: Any) -> dict[str, list[tuple[float, float]]]:
    """Points of every labelled line."""
    return {
        line.get_label(): [(float(x), float(y)) for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]
        for line in axes.get_lines()
        if not line.get_label().startswith("_")
    }


def test_paper_is_the_one_of_the_seed() -> None:
    assert (PAPER_ACCURACY[1], PAPER_ACCURACY[46], PAPER_ACCURACY[50]) == (0.4199, 0.7081, 0.7028)
    assert max(PAPER_ACCURACY.values()) == PAPER_SCORE
    assert set(range(1, 51)) - set(PAPER_ACCURACY) == {7, 42, 45}
    assert min(PAPER_LOSS.items(), key=lambda item: item[1]) == (16, 0.9108)
    assert PAPER_CURVE == {"val_accuracy": PAPER_ACCURACY, "val_loss": PAPER_LOSS}


def test_training_pictures_show_training_search_paper_and_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caught = drawn(monkeypatch)
    scores = [Score(seed=0, accuracy=0.76, loss=0.7), Score(seed=1, accuracy=0.78, loss=0.9)]
    written = pictures.training_pictures(
        [history(12, validated=False)] * 2,
        tmp_path / "out",
        title="best",
        searched=history(12),
        scores=scores,
        paper=True,
    )
    assert [path.name for path in written] == ["loss.png", "loss.svg", "accuracy.png", "accuracy.svg"]
    loss, accuracy = (lines(figure.axes[0]) for figure in caught)
    assert set(accuracy) == {
        "training, 2 seeds", "validation in the search", "validation in the report, 2022",
        "test: 77.00%, mean of 2 seeds",
    }  # fmt: skip
    assert accuracy["validation in the search"] == [(row.epoch, row.val_accuracy) for row in history(12)]
    assert accuracy["validation in the report, 2022"] == [(e, a) for e, a in PAPER_ACCURACY.items() if e <= 12]
    assert accuracy["test: 77.00%, mean of 2 seeds"] == [(12, 0.76), (12, 0.78)]
    assert loss["training, 2 seeds"] == [(row.epoch, row.loss) for row in history(12)]
    assert loss["test: 0.800, mean of 2 seeds"] == [(12, 0.7), (12, 0.9)]


def test_paper_is_left_out_unless_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caught = drawn(monkeypatch)
    pictures.training_pictures([history(1)], tmp_path, title="digits")
    pictures.score_picture([Score(0, 0.97, 0.1)], tmp_path, title="digits")
    assert len(caught) == 3
    assert set(lines(caught[0].axes[0])) == {"training", "validation"}
    assert not any("report" in label for figure in caught for label in lines(figure.axes[0]))


def test_score_picture_says_mean_and_spread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caught = drawn(monkeypatch)
    scores = [Score(seed, accuracy, 0.7) for seed, accuracy in enumerate((0.75, 0.76, 0.77))]
    assert [path.name for path in pictures.score_picture(scores, tmp_path, title="best", paper=True)] == [
        "score.png",
        "score.svg",
    ]
    (axes,) = caught[0].axes
    assert axes.get_title() == "best\ntest accuracy 76.00% ± 1.00% (3 seeds)"
    assert lines(axes)["report, 2022: 70.81%"][0][0] == PAPER_SCORE
    assert [label.get_text() for label in axes.get_yticklabels()] == ["seed 0", "seed 1", "seed 2"]


def test_classes_are_drawn_best_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caught = drawn(monkeypatch)
    pictures.class_accuracy_picture([[0.5, 0.7, 0.9], [0.6, 0.7, 0.9]], NAMES, tmp_path, title="best")
    (axes,) = caught[0].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ship", "dog", "cat"]
    assert [text.get_text() for text in axes.texts] == ["90.0%", "70.0%", "55.0%"]
    assert "71.67%" in axes.get_title()


def test_confusion_is_in_percent_of_the_true_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caught = drawn(monkeypatch)
    matrix = np.array([[150, 49, 1], [0, 10, 0], [0, 0, 0]])
    pictures.confusion_picture(matrix, NAMES, tmp_path, title="best")
    (axes,) = caught[0].axes
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {(0, 0): "75", (1, 0): "24", (2, 0): "<1", (1, 1): "100"}  # (predicted, true)
    assert "210 images" in axes.get_title()


def test_what_does_not_fit_is_refused(tmp_path: Path, trials: list[FrozenTrial]) -> None:
    with pytest.raises(ValueError, match="no epoch"):
        pictures.training_pictures([[]], tmp_path, title="")
    with pytest.raises(ValueError, match="no score"):
        pictures.score_picture([], tmp_path, title="")
    with pytest.raises(ValueError, match="3 values"):
        pictures.class_accuracy_picture([[0.5, 0.5]], NAMES, tmp_path, title="")
    with pytest.raises(ValueError, match=r"\(2, 2\).*3 class names"):
        pictures.confusion_picture(np.eye(2, dtype=int), NAMES, tmp_path, title="")
    with pytest.raises(ValueError, match="no trial has reported"):
        study_picture.study_picture(trials[-1:], title="")
    with pytest.raises(ValueError, match=r"study\.pdf: .*\.png or \.svg"):
        picture.save(study_picture.study_picture(trials, title=""), tmp_path / "study.pdf")
    assert list(tmp_path.iterdir()) == []


def test_picture_of_a_study_shows_states_best_baseline_and_paper(trials: list[FrozenTrial]) -> None:
    figure = study_picture.study_picture(trials, title="quick", baseline=0.55, paper=True)
    curves, progress = (lines(axes) for axes in figure.axes)
    assert curves["best: trial 2"] == [(1, 0.50), (2, 0.72)]
    assert curves["pruned (1)"] == [(1, 0.20)]
    assert curves["failed (1)"] == [(1, 0.45)]  # a NaN is no point; the trial of NaNs alone has no curve
    assert curves["complete (1)"] == [(2, 0.55)]
    assert curves["running (1)"] == [(1, 0.30)]
    assert progress["best so far: 72.00%"] == [(1, 0.55), (3, 0.72), (5, 0.72)]
    assert progress["complete"] == [(1, 0.55), (3, 0.72)]
    assert progress["pruned, last epoch"] == [(2, 0.20)]
    assert "baseline: 55.00%" in progress
    assert "report, 2022: 70.81%" in progress


def test_study_without_a_complete_trial_is_drawn_all_the_same(tmp_path: Path, trials: list[FrozenTrial]) -> None:
    unfinished = [each for each in trials if each.state != TrialState.COMPLETE]
    picture.save(study_picture.study_picture(unfinished, title="quick"), tmp_path / "study.svg")
    assert ET.parse(tmp_path / "study.svg").getroot().tag.endswith("svg")  # noqa: S314 (our own file)
    assert len(study_figures.learning_curves(unfinished).data) == 3


def test_plotly_curves_have_a_trace_for_each_state_and_gaps_between_trials(trials: list[FrozenTrial]) -> None:
    figure = study_figures.learning_curves([*trials, trial(7, TrialState.PRUNED, {1: 0.1, 2: 0.15})], paper=True)
    traces = {trace["name"]: trace for trace in json.loads(figure.to_json())["data"]}
    assert list(traces) == [
        "pruned (2)", "running (1)", "complete (1)", "failed (1)", "best: trial 2", "report, 2022",
    ]  # fmt: skip
    assert traces["pruned (2)"]["x"] == [1, None, 1, 2, None]
    assert traces["pruned (2)"]["y"] == [0.2, None, 0.1, 0.15, None]
    assert traces["pruned (2)"]["customdata"] == [1, None, 7, 7, None]
    assert len({trace["line"]["color"] for trace in traces.values()}) == len(traces)


def test_pictures_have_their_sizes_and_the_same_data_gives_the_same_bytes(
    tmp_path: Path, trials: list[FrozenTrial]
) -> None:
    for name in ("a", "b"):
        figure = study_picture.study_picture(trials, title="quick")
        for kind in ("png", "svg"):
            assert picture.save(figure, tmp_path / f"{name}.{kind}") == tmp_path / f"{name}.{kind}"
    assert Image.open(tmp_path / "a.png").size == (1760, 704)
    for kind in ("png", "svg"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.svg", "b.png", "b.svg"]


def test_picture_is_the_same_whatever_a_matplotlibrc_says(tmp_path: Path, trials: list[FrozenTrial]) -> None:
    (tmp_path / "matplotlibrc").write_text(
        "font.size: 30\nlines.linewidth: 9\naxes.facecolor: black\naxes.linewidth: 5\nsavefig.transparent: True\n"
    )

    def drawn() -> bytes:
        return picture.as_bytes(study_picture.study_picture(trials, title="quick"), "png")

    ours = drawn()
    with mpl.rc_context():
        mpl.rc_file(tmp_path / "matplotlibrc")
        theirs = drawn()
        assert mpl.rcParams["font.size"] == 30
    assert theirs == ours


def test_picture_that_can_not_be_written_leaves_the_old_one(
    tmp_path: Path, trials: list[FrozenTrial], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "study.png"
    path.write_bytes(b"old")

    def full(self: Path, content: bytes) -> None:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError("No space left on device")

    figure = study_picture.study_picture(trials, title="quick")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space"):
            picture.save(figure, path)
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("study.png", b"old")]


def test_any_rows_with_the_fields_will_do(tmp_path: Path) -> None:
    row = SimpleNamespace(epoch=1, loss=1.0, accuracy=0.5, val_loss=None, val_accuracy=None)
    assert len(pictures.training_pictures([[row]], tmp_path, title="")) == 4


def test_modules_load_neither_matplotlib_nor_plotly() -> None:
    code = (
        "import sys, studies.draw.retraining_pictures, studies.draw.study_figures, studies.draw.study_picture;"
        "print({'matplotlib', 'plotly', 'numpy', 'optuna', 'tensorflow'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_drawing_never_loads_pyplot() -> None:
    code = (
        "import sys, pathlib, tempfile; from studies.draw.retraining_pictures import Score, score_picture;"
        "score_picture([Score(0, .7, .9)], pathlib.Path(tempfile.mkdtemp()), title='');"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_svg_names_no_font_of_this_machine(tmp_path: Path) -> None:
    pictures.score_picture([Score(0, 0.7, 0.9)], tmp_path, title="best")
    assert not re.search(r"font-family|<text", (tmp_path / "score.svg").read_text())
