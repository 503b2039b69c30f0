"""Pictures by matplotlib: a whole study, one trial's curves for its page.

What moves under the mouse is in `studies.draw.study_figures`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from studies.draw.figure_style import Scale
from studies.draw.picture import (
    BLUE,
    DRAWN_WORDS,
    GREEN,
    INK,
    LOOKS,
    SKY,
    as_bytes,
    in_our_style,
    new_picture,
    percent,
    plain,
    whole_epochs,
)
from studies.record.curves import best_of, best_steps, points_of, settled_in_order, value_of
from studies.record.metric import ACCURACY, Metric
from studies.record.panels import IMAGE_PANELS, Panel
from studies.record.published import PAPER_LEVEL, PAPER_NAME, PAPER_SCORE, paper_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from optuna.trial import FrozenTrial

SIZES = {"o": 4, "d": 5, "X": 6, ">": 4, "s": 4}


@in_our_style
def study_picture(
    trials: Sequence[FrozenTrial],
    metric: Metric = ACCURACY,
    *,
    title: str,
    baseline: float | None = None,
    paper: bool = False,
) -> Figure:
    """A study in one picture: every trial's learning curve by state, and the best value as the budget was spent.

    `baseline` is the value of the configuration that was tried first;
    `paper` draws what the paper had on CIFAR-10.
    Raises ValueError when no trial has reported yet.
    """
    from matplotlib.collections import LineCollection

    curves = [(trial, points_of(trial)) for trial in trials if points_of(trial)]
    if not curves:
        raise ValueError("no trial has reported an epoch yet, so there is nothing to draw")
    best, scale = best_of(trials, smallest=metric.smaller_is_better), Scale.of(metric, trials)
    figure, (left, right) = new_picture(11, 4.4, columns=2)
    for state, (color, marker) in LOOKS.items():
        lines = [points for trial, points in curves if trial.state.name == state and trial is not best]
        if lines:
            left.add_collection(LineCollection(lines, colors=color, linewidths=1.1, alpha=0.55))
            ends = [points[-1] for points in lines]
            left.plot(*zip(*ends, strict=True), color=color, marker=marker, markeredgewidth=0, linestyle="none",
                      markersize=SIZES[marker], label=f"{DRAWN_WORDS[state]} ({len(lines)})")  # fmt: skip
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
    left.set(title="Learning curves of all trials", xlabel="epoch", ylabel=plain(metric.title))
    _draw_progress(right, trials, scale, baseline, paper)
    for axes in (left, right):
        if scale.percent:
            percent(axes)
        whole_epochs(axes)
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, fontsize=9, frameon=False, columnspacing=1.2
        )
    figure.suptitle(title, fontsize=13, fontweight="bold", color=INK)
    return figure


def _draw_progress(
    axes: Axes, trials: Sequence[FrozenTrial], scale: Scale, baseline: float | None, paper: bool
) -> None:
    settled = settled_in_order(trials)
    for state, (color, marker) in LOOKS.items():
        dots = [
            (place, value)
            for place, trial in enumerate(settled, 1)
            if trial.state.name == state and (value := value_of(trial)) is not None
        ]
        if dots:
            named = DRAWN_WORDS[state] + ("" if state == "COMPLETE" else ", last epoch")
            axes.plot(*zip(*dots, strict=True), color=color, marker=marker, markeredgewidth=0, linestyle="none",
                      markersize=SIZES[marker], alpha=0.8, label=named)  # fmt: skip
    if steps := best_steps(trials, smallest=scale.metric.smaller_is_better):
        axes.step(*zip(*steps, strict=True), where="post", color=GREEN, linewidth=2.6,
                  label=f"best so far: {scale.said(steps[-1][1])}")  # fmt: skip
    if baseline is not None:
        axes.axhline(baseline, color=SKY, linewidth=1.6, linestyle="--", label=f"baseline: {scale.said(baseline)}")
    if paper:
        axes.axhline(PAPER_SCORE, color=INK, linewidth=1.6, linestyle=":", label=PAPER_LEVEL)
    axes.set(title="Best as the budget is spent", xlabel="settled trials", ylabel=plain(scale.metric.title))


@in_our_style
def trial_picture(
    number: int,
    history: Sequence[Mapping[str, Any]],
    panels: Sequence[Panel] = IMAGE_PANELS,
    *,
    outcome: str,
    paper: bool = False,
) -> bytes:
    """What one trial reported over the epochs, training against validation, as a PNG of 1280 x 576.

    `history` are its epochs as `studies.store.epochs.epoch_history` gives them, of which two `panels` at most are
    drawn; `outcome` ends the title. Raises ValueError without an epoch.
    """
    if not history:
        raise ValueError(f"trial {number} has no epoch to draw")
    epochs = [row["epoch"] for row in history]
    figure, columns = new_picture(8, 3.6, columns=2)
    for axes, panel in zip(columns, panels, strict=False):
        for curve, color in zip(panel.curves, (BLUE, GREEN), strict=False):
            values = [row.get(curve.key, math.nan) for row in history]
            axes.plot(epochs, values, color=color, marker=".", linewidth=1.8, label=plain(curve.name))
        if paper:
            shown = zip(*paper_points(panel.curves[-1].key, epochs[-1], least=3), strict=True)
            axes.plot(*shown, color=INK, linewidth=1.4, linestyle=":", label=PAPER_NAME)
        axes.set(xlabel="epoch", ylabel=plain(panel.label))
        whole_epochs(axes)
        if panel.in_percent(history):
            percent(axes)
    for axes in columns[len(panels) :]:
        axes.set_axis_off()
    columns[0].legend(fontsize=9, frameon=False)
    figure.suptitle(f"trial {number}: {plain(outcome)}", fontsize=12, fontweight="bold", color=INK)
    return as_bytes(figure, "png")
