"""Pictures of a retraining, PNG and SVG: its curves, score and classes, beside the paper's, which it has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Protocol

from studies.draw.picture import (
    BLUE,
    GREEN,
    INK,
    RED,
    SKY,
    in_our_style,
    legend_below,
    new_picture,
    percent,
    save_both,
    whole_epochs,
)
from studies.record.published import PAPER_LEVEL, PAPER_NAME, PAPER_SCORE, paper_points

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from matplotlib.axes import Axes


class EpochRow(Protocol):
    """One epoch of a training: its number from 1, losses in nats, accuracies from 0 to 1."""

    @property
    def epoch(self) -> int: ...
    @property
    def loss(self) -> float: ...
    @property
    def accuracy(self) -> float: ...
    @property
    def val_loss(self) -> float | None: ...
    @property
    def val_accuracy(self) -> float | None: ...


@dataclass(frozen=True)
class Score:
    """What one retrained network came to on the test set."""

    seed: int
    accuracy: float
    loss: float


@in_our_style
def training_pictures(
    histories: Sequence[Sequence[EpochRow]],
    out: Path,
    *,
    title: str,
    searched: Sequence[EpochRow] | None = None,
    scores: Sequence[Score] = (),
    paper: bool = False,
) -> list[Path]:
    """Loss and accuracy over the epochs, as the paper's figures 10 and 11. Writes `loss.*` and `accuracy.*` to `out`.

    `histories` holds one history for each seed. `searched` is the history of the trial the configuration comes from:
    its validation curve is what the search saw. `scores` are the networks' results on the test set. `paper` draws the
    paper's curve, which says something about CIFAR-10 only. Returns the paths of the two PNGs and two SVGs.
    Raises ValueError without an epoch.
    """
    if not any(histories):
        raise ValueError("there is no epoch to draw")
    written: list[Path] = []
    for name, label, attribute in (("loss", "cross-entropy loss (nats)", "loss"), ("accuracy", "accuracy", "accuracy")):
        figure, axes = new_picture(7.2, 4.3)
        _draw_training(axes, attribute, histories, searched)
        last = max(row.epoch for history in histories for row in history)
        if paper:
            _draw_paper(axes, f"val_{attribute}", last)
        if scores:
            _draw_test(axes, last, [getattr(score, attribute) for score in scores], is_share=attribute == "accuracy")
        axes.set(title=title, xlabel="epoch", ylabel=label)
        if attribute == "accuracy":
            percent(axes)
        whole_epochs(axes)
        legend_below(figure)
        written += save_both(figure, out / name)
    return written


def _draw_training(
    axes: Axes, attribute: str, histories: Sequence[Sequence[EpochRow]], searched: Sequence[EpochRow] | None
) -> None:
    seeds = f", {len(histories)} seeds" if len(histories) > 1 else ""
    alpha = 1.0 if len(histories) == 1 else 0.6
    for number, history in enumerate(histories):
        for name, color, label in ((attribute, BLUE, "training"), (f"val_{attribute}", GREEN, "validation")):
            style = {"color": color, "linewidth": 1.6, "alpha": alpha}
            _line(axes, history, name, style, f"{label}{seeds}" if number == 0 else None)
    if searched:
        style = {"color": GREEN, "linewidth": 1.6, "linestyle": (0, (5, 2))}
        _line(axes, searched, f"val_{attribute}", style, "validation in the search")


def _draw_paper(axes: Axes, attribute: str, last_epoch: int) -> None:
    shown = zip(*paper_points(attribute, last_epoch, least=10), strict=True)
    # Of the losses only six are known: show where they are.
    style: dict[str, Any] = {
        "color": INK,
        "linewidth": 1.5,
        "linestyle": ":",
        "marker": "." if attribute == "val_loss" else None,
    }
    axes.plot(*shown, label=f"validation in the {PAPER_NAME}", **style)


def _draw_test(axes: Axes, last_epoch: int, values: Sequence[float], *, is_share: bool) -> None:
    mean = f"{fmean(values):.2%}" if is_share else f"{fmean(values):.3f}"
    label = f"test: {mean}" + (f", mean of {len(values)} seeds" if len(values) > 1 else "")
    style: dict[str, Any] = {
        "color": RED,
        "marker": "D",
        "markersize": 6,
        "markeredgecolor": "white",
        "linestyle": "none",
    }
    axes.plot([last_epoch] * len(values), values, label=label, zorder=5, clip_on=False, **style)


@in_our_style
def score_picture(
    scores: Sequence[Score], out: Path, *, title: str, paper: bool = False, measured: str = "test"
) -> list[Path]:
    """The accuracy score, as the paper's figure 12: each seed, their mean and spread. Writes `score.png` and `.svg`.

    The spread is the sample standard deviation over the seeds; `measured` is what the images are called. Raises
    ValueError without a score.
    """
    if not scores:
        raise ValueError("there is no score to draw")
    values = [score.accuracy for score in scores]
    mean = fmean(values)
    figure, axes = new_picture(7.2, 2.4 + 0.32 * len(scores))
    rows = range(len(scores))
    axes.hlines(rows, min(*values, PAPER_SCORE) if paper else min(values), values, color=SKY, linewidth=1.2, zorder=1)
    axes.plot(values, rows, color=BLUE, marker="o", markersize=8, linestyle="none", zorder=3, label="one seed")
    if len(scores) > 1:
        spread = stdev(values)
        axes.axvspan(mean - spread, mean + spread, color=SKY, alpha=0.25, linewidth=0, label="mean ± std. deviation")
        headline = f"{measured} accuracy {mean:.2%} ± {spread:.2%} ({len(scores)} seeds)"
    else:
        headline = f"{measured} accuracy {mean:.2%} (one seed)"
    axes.axvline(mean, color=BLUE, linewidth=1.6, label=f"mean: {mean:.2%}")
    if paper:
        axes.axvline(PAPER_SCORE, color=INK, linewidth=1.6, linestyle=":", label=PAPER_LEVEL)
    axes.set(title=f"{title}\n{headline}", xlabel=f"accuracy on the {measured} images", ylim=(len(scores) - 0.4, -0.6))
    axes.set_yticks(list(rows), [f"seed {score.seed}" for score in scores])
    axes.margins(x=0.12)
    axes.grid(visible=False, axis="y")
    percent(axes, "x", decimals=1)
    legend_below(figure)
    return save_both(figure, out / "score")


@in_our_style
def class_accuracy_picture(
    accuracies: Sequence[Sequence[float]], class_names: Sequence[str], out: Path, *, title: str, measured: str = "test"
) -> list[Path]:
    """Accuracy of each class, the best on top. `accuracies[seed][class]`. Writes `class_accuracy.png` and `.svg`.

    Raises ValueError when a row has not one value for each class.
    """
    if not accuracies or any(len(row) != len(class_names) for row in accuracies):
        raise ValueError(f"accuracies must be rows of {len(class_names)} values, one for each class name")
    means = [fmean(column) for column in zip(*accuracies, strict=True)]
    order = sorted(range(len(class_names)), key=means.__getitem__, reverse=True)
    figure, axes = new_picture(7.2, 1.2 + 0.3 * len(class_names))
    rows = range(len(order))
    axes.barh(rows, [means[index] for index in order], color=SKY, height=0.7, zorder=2)
    if len(accuracies) > 1:
        for row in accuracies:
            axes.plot(
                [row[index] for index in order], rows, color=BLUE, marker="o", markersize=4, linestyle="none", zorder=3
            )
    for place, index in enumerate(order):
        axes.text(0.012, place, f"{means[index]:.1%}", va="center", ha="left", fontsize=9, color=INK, zorder=4)
    overall = fmean(means)
    axes.axvline(overall, color=INK, linewidth=1.2, linestyle="--", zorder=4)
    seeds = f", {len(accuracies)} seeds as points" if len(accuracies) > 1 else ""
    axes.set(
        title=f"{title}\nmean of the classes {overall:.2%} (dashed){seeds}",
        xlabel=f"accuracy on the class's {measured} images",
    )
    axes.set(xlim=(0, 1), ylim=(len(order) - 0.4, -0.6))
    axes.set_yticks(list(rows), [class_names[index] for index in order])
    axes.grid(visible=False, axis="y")
    percent(axes, "x")
    return save_both(figure, out / "class_accuracy")


@in_our_style
def confusion_picture(
    matrix: npt.NDArray[np.integer[Any]], class_names: Sequence[str], out: Path, *, title: str
) -> list[Path]:
    """The confusion matrix: `matrix[true, predicted]` counts images, shape (classes, classes). Writes `confusion.*`.

    Cells show percent of the true class; zeros are left blank. Raises ValueError when the shape does not fit the names.
    """
    import numpy as np

    size = len(class_names)
    if matrix.shape != (size, size):
        raise ValueError(f"the confusion matrix has shape {matrix.shape}, but there are {size} class names")
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    figure, axes = new_picture(2.2 + 0.52 * size, 1.8 + 0.46 * size)
    # Square root: otherwise the diagonal takes all the colour, and the confusions, which one came to see, look alike.
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row in range(size):
        for column in range(size):
            if matrix[row, column]:
                color = "white" if np.sqrt(shares[row, column]) > 0.6 else INK
                weight = "bold" if row == column else "normal"
                text = f"{100 * shares[row, column]:.0f}" if shares[row, column] >= 0.01 else "<1"
                axes.text(column, row, text, ha="center", va="center", fontsize=9, color=color, weight=weight)
    axes.set(
        title=f"{title}\npercent of each true class, {int(matrix.sum()):,} images", xlabel="predicted", ylabel="true"
    )
    axes.set_xticks(range(size), class_names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size), class_names)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    return save_both(figure, out / "confusion")


def _line(axes: Axes, rows: Sequence[EpochRow], attribute: str, style: dict[str, Any], label: str | None) -> None:
    points = [(row.epoch, getattr(row, attribute)) for row in rows if getattr(row, attribute) is not None]
    if points:
        marker = "o" if len(points) == 1 else None  # a line of one point can't be seen
        axes.plot(*zip(*points, strict=True), label=label, marker=marker, **style)
