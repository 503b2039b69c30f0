"""A study as interactive figures: one plotly figure for each question, for the report, the note and notebooks.

    learning-curves        every trial over its epochs, with the paper's curve
    history                the best value as the budget is spent
    seconds                what a device-second bought
    pruning                where pruning stopped trials
    lanes                  which slot ran which trial, and when
    importances            which parameter decides
    parallel-coordinates   all values of all trials side by side
    slices                 the value against each parameter

Every function takes any number of trials of a study of ours, in any state, and the metric that they report; if there is
nothing to draw, the figure says why. `FIGURES` holds them by name, and `figure_of` draws one beside what the
study is to be compared with.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from statistics import median
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from studies.draw.figure_style import (
    MARKERS,
    NEUTRAL,
    Scale,
    add_dots,
    add_dots_by_state,
    add_level,
    new_plot,
    say_instead,
)
from studies.draw.parameter_figures import importances, parallel_coordinates, slices
from studies.draw.picture import DRAWN_WORDS, GREEN, LOOKS, SKY
from studies.record.curves import best_of, best_steps, points_of, settled_in_order, value_of
from studies.record.metric import ACCURACY, Metric
from studies.record.published import PAPER_LEVEL, PAPER_NAME, PAPER_SCORE, paper_points

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from plotly.graph_objects import Figure

    from studies.record.findings import Findings

MOST_POINTS = 40_000
"""Of learning curves in one figure, about half a megabyte; beyond, epochs and then trials are left out, and it says so.
"""

CROWD = 100
"""More curves than these are drawn fainter, and without a mark at each epoch."""
NOTHING = "no trial has a value yet"


def learning_curves(
    trials: Sequence[FrozenTrial],
    metric: Metric = ACCURACY,
    *,
    paper: bool = False,
    most_points: int = MOST_POINTS,
) -> Figure:
    """What every trial reported over the epochs, coloured by state; hovering names the trial.

    One trace for each state, its curves separated by gaps, so that it stays small with thousands of trials. `paper`
    lays the paper's curve over them, which says something about CIFAR-10 only.
    """
    scale, best = Scale.of(metric, trials), best_of(trials, smallest=metric.smaller_is_better)
    curves = [(trial, points_of(trial)) for trial in trials if points_of(trial)]
    drawn = _thinned(curves, most_points, best)
    left_out = f" ({len(drawn)} of {len(curves)} drawn)" if len(drawn) < len(curves) else ""
    figure = new_plot(f"Learning curves of all trials{left_out}", "epoch", scale.title, scale.ticks)
    for state, (color, marker) in LOOKS.items():
        count = sum(trial.state.name == state and trial is not best for trial, _ in curves)
        chosen = [(trial, points) for trial, points in drawn if trial.state.name == state and trial is not best]
        if chosen:
            _add_curves(figure, chosen, f"{DRAWN_WORDS[state]} ({count})", color, marker, scale)
    for trial, points in drawn:
        if trial is best:
            _add_curves(figure, [(trial, points)], f"best: trial {trial.number}", GREEN, "s", scale)
            figure.data[-1].update(opacity=1, line={"width": 3})
    if paper:
        last = max((points[-1][0] for _, points in curves), default=50)
        epochs, values = zip(*paper_points("val_accuracy", last), strict=True)
        figure.add_scatter(
            x=epochs, y=values, mode="lines", name=PAPER_NAME,
            line={"color": NEUTRAL, "dash": "dot", "width": 2.2},
            hovertemplate="report, epoch %{x}: %{y:.2%}<extra></extra>",
        )  # fmt: skip
    elif not curves:
        say_instead(figure, "no trial has reported an epoch yet")
    figure.update_xaxes(rangemode="tozero")
    return figure


def history(
    trials: Sequence[FrozenTrial], metric: Metric = ACCURACY, *, paper: bool = False, baseline: float | None = None
) -> Figure:
    """What every trial came to in the order they were settled, and the best of them so far.

    `baseline` is the value of the configuration that was tried first.
    """
    scale = Scale.of(metric, trials)
    figure = new_plot("Best as the budget is spent", "settled trials", scale.title, scale.ticks)
    settled = settled_in_order(trials)
    add_dots_by_state(figure, [(trial, place) for place, trial in enumerate(settled, 1)], scale)
    if steps := best_steps(trials, smallest=metric.smaller_is_better):
        figure.add_scatter(
            x=[place for place, _ in steps], y=[scale.rounded(value) for _, value in steps], mode="lines",
            line={"color": GREEN, "width": 3, "shape": "hv"}, name=f"best so far: {scale.said(steps[-1][1])}",
            hovertemplate=f"best after %{{x}} trials: {scale.hover}<extra></extra>",
        )  # fmt: skip
    if not figure.data:
        say_instead(figure, NOTHING)
    if baseline is not None:
        add_level(figure, baseline, f"baseline: {scale.said(baseline)}", SKY, "dash", len(settled))
    if paper:
        add_level(figure, PAPER_SCORE, PAPER_LEVEL, NEUTRAL, "dot", len(settled))
    return figure


def seconds(trials: Sequence[FrozenTrial], metric: Metric = ACCURACY, *, paper: bool = False) -> Figure:
    """The value against the device-seconds a trial took, and the best for that much time."""
    known = [
        (trial, round(trial.user_attrs["seconds"], 1))
        for trial in trials
        if isinstance(trial.user_attrs.get("seconds"), (int, float))
    ]
    last = max((spent for _, spent in known), default=0.0)
    scale = Scale.of(metric, trials)
    figure = new_plot("What a device-second bought", "device-seconds of a trial", scale.title, scale.ticks)
    add_dots_by_state(figure, known, scale)
    front: list[tuple[float, float]] = []
    for trial, spent in sorted(known, key=lambda each: each[0].user_attrs["seconds"]):
        value = value_of(trial)
        if trial.state.name == "COMPLETE" and value is not None and (not front or metric.better(value, front[-1][1])):
            front.append((spent, value))
    if front:
        front.append((last, front[-1][1]))
        figure.add_scatter(
            x=[spent for spent, _ in front], y=[scale.rounded(value) for _, value in front], mode="lines",
            line={"color": GREEN, "width": 2, "shape": "hv"}, name="best for the time", hoverinfo="skip",
        )  # fmt: skip
    if not figure.data:
        say_instead(figure, NOTHING)
    if paper and known:
        add_level(figure, PAPER_SCORE, PAPER_LEVEL, NEUTRAL, "dot", last)
    figure.update_xaxes(rangemode="tozero")
    return figure


def pruning(trials: Sequence[FrozenTrial], metric: Metric = ACCURACY) -> Figure:
    """The epoch and value at which pruning stopped trials, beside the median of the complete ones."""
    scale = Scale.of(metric, trials)
    figure = new_plot("Where pruning stopped trials", "epoch", scale.title, scale.ticks)
    pruned = [trial for trial in trials if trial.state.name == "PRUNED" and points_of(trial)]
    by_epoch: dict[int, list[float]] = {}
    for trial in trials:
        if trial.state.name == "COMPLETE":
            for epoch, value in points_of(trial):
                by_epoch.setdefault(epoch, []).append(value)
    if by_epoch:
        figure.add_scatter(
            x=sorted(by_epoch), y=[scale.rounded(median(by_epoch[epoch])) for epoch in sorted(by_epoch)], mode="lines",
            name="median of the complete trials", line={"color": LOOKS["COMPLETE"][0], "width": 2},
            hovertemplate=f"median at epoch %{{x}}: {scale.hover}<extra></extra>",
        )  # fmt: skip
    stopped = [(trial, points_of(trial)[-1][0]) for trial in pruned]
    add_dots(figure, stopped, f"pruned ({len(pruned)})", "PRUNED", scale)
    if not pruned:
        say_instead(figure, "no trial was pruned")
    figure.update_xaxes(rangemode="tozero")
    return figure


def lanes(trials: Sequence[FrozenTrial], _metric: Metric = ACCURACY, *, now: datetime | None = None) -> Figure:
    """Which slot ran which trial, and when: a bar for each trial, from when it was last taken to when it was settled.

    `now` ends the bars of running trials; times are naive and local, as Optuna's.
    """
    started = [trial for trial in trials if trial.datetime_start and trial.state.name != "WAITING"]
    figure = new_plot("What ran where", "", "")
    spans = [(trial, trial.datetime_complete or now or datetime.now()) for trial in started]
    lane_of = _lanes(spans)
    for state, (color, _) in LOOKS.items():
        chosen = [(trial, end) for trial, end in spans if trial.state.name == state]
        if chosen:
            figure.add_bar(
                orientation="h", name=f"{DRAWN_WORDS[state]} ({len(chosen)})",
                marker={"color": color, "line": {"width": 0}},
                base=[f"{trial.datetime_start:%Y-%m-%d %H:%M:%S}" for trial, _ in chosen],
                x=[round(1000 * (end - (trial.datetime_start or end)).total_seconds()) for trial, end in chosen],
                y=[lane_of[trial.number] for trial, _ in chosen], customdata=[trial.number for trial, _ in chosen],
                hovertemplate="trial %{customdata}, from %{base|%H:%M:%S}<br>%{y}<extra></extra>",
            )  # fmt: skip
    figure.update_layout(barmode="overlay", bargap=0.25)
    figure.update_xaxes(type="date")
    names = sorted(set(lane_of.values()), reverse=True)
    figure.update_yaxes(categoryorder="array", categoryarray=names, showgrid=False)
    if not started:
        say_instead(figure, "no trial has started yet")
    return figure


def _lanes(spans: Sequence[tuple[FrozenTrial, datetime]]) -> dict[int, str]:
    """The lane of each trial's number. Where two runs of one host have a slot of the same name, each gets a lane."""
    lane_of: dict[int, str] = {}
    ends: dict[str, list[datetime]] = {}
    for trial, end in sorted(spans, key=lambda span: (span[0].datetime_start, span[0].number)):
        stored = trial.user_attrs
        words = (stored.get("host"), stored.get("slot"), str(stored.get("device", "")).partition(":")[0])
        name = html.escape(" ".join(str(word) for word in words if word)) or "unknown"
        taken = ends.setdefault(name, [])
        free = next((place for place, until in enumerate(taken) if until <= trial.datetime_start), len(taken))  # type: ignore[operator]
        taken[free : free + 1] = [end]
        lane_of[trial.number] = name if free == 0 else f"{name} ({free + 1})"
    return lane_of


def _thinned(
    curves: Sequence[tuple[FrozenTrial, list[tuple[int, float]]]], most: int, best: FrozenTrial | None
) -> list[tuple[FrozenTrial, list[tuple[int, float]]]]:
    """The curves with about `most` points at most: fewer epochs of each, and if that is not enough, fewer trials.

    First and last epochs stay, and so does the best trial.
    """
    if sum(len(points) for _, points in curves) <= most:
        return list(curves)
    stride = max(1, -(-2 * len(curves) // most))
    kept = [(trial, points) for place, (trial, points) in enumerate(curves) if place % stride == 0 or trial is best]
    each = max(2, most // len(kept))
    return [(trial, _spread(points, each)) for trial, points in kept]


def _spread(points: list[tuple[int, float]], count: int) -> list[tuple[int, float]]:
    """`count` of the points, evenly spread from the first to the last."""
    if len(points) <= count:
        return points
    return [points[round(place * (len(points) - 1) / (count - 1))] for place in range(count)]


def _add_curves(
    figure: Figure,
    curves: Sequence[tuple[FrozenTrial, list[tuple[int, float]]]],
    name: str,
    color: str,
    marker: str,
    scale: Scale,
) -> None:
    epochs: list[int | None] = []
    values: list[float | None] = []
    numbers: list[int | None] = []
    few = len(curves) <= CROWD
    for trial, points in curves:
        epochs += [*(epoch for epoch, _ in points), None]
        values += [*(scale.rounded(value) for _, value in points), None]
        numbers += [trial.number] * len(points) + [None]
    figure.add_scatter(
        x=epochs, y=values, customdata=numbers, name=name, mode="lines+markers" if few else "lines",
        opacity=0.6 if few else 0.3, connectgaps=False,
        line={"color": color, "width": 1.2}, marker={"color": color, "size": 4, "symbol": MARKERS[marker]},
        hovertemplate=f"trial %{{customdata}}, epoch %{{x}}: {scale.hover}<extra></extra>",
    )  # fmt: skip


FIGURES: Mapping[str, Callable[..., Figure]] = MappingProxyType(
    {
        "learning-curves": learning_curves,
        "history": history,
        "seconds": seconds,
        "pruning": pruning,
        "lanes": lanes,
        "importances": importances,
        "parallel-coordinates": parallel_coordinates,
        "slices": slices,
    }
)
"""Every figure of a study by its name: `figure(trials, metric)`."""


def figure_of(found: Findings, name: str, *, most_points: int = MOST_POINTS) -> Figure:
    """One figure of a study, with the baseline, and the paper's numbers if they say something about its images."""
    more: dict[str, Any] = {}
    if name == "learning-curves":
        more = {"paper": found.beside_paper, "most_points": most_points}
    elif name == "history":
        more = {"paper": found.beside_paper, "baseline": value_of(found.baseline) if found.baseline else None}
    elif name == "seconds":
        more = {"paper": found.beside_paper}
    return FIGURES[name](found.trials, found.metric, **more)
