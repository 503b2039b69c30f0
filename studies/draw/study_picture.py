"""Pictures by matplotlib: a whole study, one trial's curves for its page.

What moves under the mouse is in `studies.draw.study_figures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from studies.draw.picture import (
    BLUE,
    GREEN,
    INK,
    LOOKS,
    SKY,
    as_bytes,
    in_our_style,
    new_picture,
    percent,
    whole_epochs,
)
from studies.record.curves import best_of, best_steps, points_of, settled_in_order, value_of
from studies.record.published import PAPER_LEVEL, PAPER_NAME, PAPER_SCORE, paper_points
from studies.words import STATE_WORDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from optuna.trial import FrozenTrial

SIZES = {"o": 4, "X": 6, ">": 4, "s": 4}


@in_our_style
def study_picture(
    trials: Sequence[FrozenTrial], *, title: str, baseline: float | None = None, paper: bool = False
) -> Figure:
    """A study in one picture: every trial's learning curve by state, and the best value as the budget was spent.

    Values are accuracies, larger is better. `baseline` is the value of the configuration that was tried first;
    `paper` draws what the paper had on CIFAR-10.
    Raises ValueError when no trial has reported yet.
    """
    from matplotlib.collections import LineCollection

    curves = [(trial, points_of(trial)) for trial in trials if points_of(trial)]
    if not curves:
        raise ValueError("no trial has reported an epoch yet, so there is nothing to draw")
    best = best_of(trials)
    figure, (left, right) = new_picture(11, 4.4, columns=2)
    for state, (color, marker) in LOOKS.items():
        lines = [points for trial, points in curves if trial.state.name == state and trial is not best]
        if lines:
            left.add_collection(LineCollection(lines, colors=color, linewidths=1.1, alpha=0.55))
            ends = [points[-1] for points in lines]
            left.plot(*zip(*ends, strict=True), color=color, marker=marker, markeredgewidth=0, linestyle="none",
                      markersize=SIZES[marker], label=f"{STATE_WORDS[state]} ({len(lines)})")  # fmt: skip
    if best is not None and points_of(best):
        left.plot(
            *zip(*points_of(best), strict=True),
            color=GREEN,
            linewidth=2.6,
            label=f"best: trial {best.number}",
            zorder=4,
        )
    if paper:
        last = max(points[-1][0] for _, points in curves)
        shown = zip(*paper_points("val_accuracy", last), strict=True)
        left.plot(*shown, color=INK, linewidth=1.6, linestyle=":", label=PAPER_NAME, zorder=5)
    left.autoscale()
    left.set(title="Learning curves of all trials", xlabel="epoch", ylabel="validation accuracy")
    _draw_progress(right, trials, baseline, paper)
    for axes in (left, right):
        percent(axes)
        whole_epochs(axes)
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, fontsize=9, frameon=False, columnspacing=1.2
        )
    figure.suptitle(title, fontsize=13, fontweight="bold", color=INK)
    return figure


def _draw_progress(axes: Axes, trials: Sequence[FrozenTrial], baseline: float | None, paper: bool) -> None:
    settled = settled_in_order(trials)
    for state, (color, marker) in LOOKS.items():
        dots = [
            (place, value)
            for place, trial in enumerate(settled, 1)
            if trial.state.name == state and (value := value_of(trial)) is not None
        ]
        if dots:
            named = STATE_WORDS[state] + ("" if state == "COMPLETE" else ", last epoch")
            axes.plot(*zip(*dots, strict=True), color=color, marker=marker, markeredgewidth=0, linestyle="none",
                      markersize=SIZES[marker], alpha=0.8, label=named)  # fmt: skip
    if steps := best_steps(trials):
        axes.step(*zip(*steps, strict=True), where="post", color=GREEN, linewidth=2.6,
                  label=f"best so far: {steps[-1][1]:.2%}")  # fmt: skip
    if baseline is not None:
        axes.axhline(baseline, color=SKY, linewidth=1.6, linestyle="--", label=f"baseline: {baseline:.2%}")
    if paper:
        axes.axhline(PAPER_SCORE, color=INK, linewidth=1.6, linestyle=":", label=PAPER_LEVEL)
    axes.set(title="Best as the budget is spent", xlabel="settled trials", ylabel="validation accuracy")


@in_our_style
def trial_picture(number: int, history: Sequence[Mapping[str, Any]], *, outcome: str, paper: bool = False) -> bytes:
    """One trial's accuracy and loss over the epochs, training against validation, as a PNG of 1280 x 576.

    `history` are its epochs as `studies.store.epochs.epoch_history` gives them; `outcome` ends the title.
    Raises ValueError without an epoch.
    """
    if not history:
        raise ValueError(f"trial {number} has no epoch to draw")
    epochs = [row["epoch"] for row in history]
    figure, columns = new_picture(8, 3.6, columns=2)
    for axes, (name, label) in zip(columns, (("accuracy", "accuracy"), ("loss", "loss (nats)")), strict=True):
        for key, color, called in ((name, BLUE, "training"), (f"val_{name}", GREEN, "validation")):
            axes.plot(epochs, [row[key] for row in history], color=color, marker=".", linewidth=1.8, label=called)
        if paper:
            shown = zip(*paper_points(f"val_{name}", epochs[-1], least=3), strict=True)
            axes.plot(*shown, color=INK, linewidth=1.4, linestyle=":", label=PAPER_NAME)
        axes.set(xlabel="epoch", ylabel=label)
        whole_epochs(axes)
    percent(columns[0])
    columns[0].legend(fontsize=9, frameon=False)
    figure.suptitle(f"trial {number}: {outcome}", fontsize=12, fontweight="bold", color=INK)
    return as_bytes(figure, "png")
