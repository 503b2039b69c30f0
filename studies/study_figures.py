"""Pictures of a study: one for a README by matplotlib, one for pages by plotly.

Every trial's learning curve is in them, coloured by how it ended, with the report's over it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from studies.picture import BLUE, GREEN, GREY, INK, ORANGE, PINK, SKY, new_figure, percent, save, whole_epochs
from studies.published import REPORT_ACCURACY, REPORT_SCORE

if TYPE_CHECKING:
    import optuna
    from matplotlib.axes import Axes
    from optuna.trial import FrozenTrial

# How a state is drawn: colour, marker at the curve's end, name in the legend. In this order, so that the few failures
# lie on top of the many that went well.
STATES: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "PRUNED": (ORANGE, "o", "pruned"),
        "RUNNING": (GREY, ">", "running"),
        "COMPLETE": (BLUE, "s", "complete"),
        "FAIL": (PINK, "X", "failed"),
    }
)
SIZES = {"o": 4, "X": 6, ">": 4, "s": 4}
PLOTLY_MARKERS = {"o": "circle", "X": "x", ">": "triangle-right", "s": "square"}


def study_figure(
    trials: optuna.Study | Iterable[FrozenTrial],
    path: Path,
    *,
    title: str,
    baseline: float | None = None,
    report: bool = True,
) -> Path:
    """A study in one picture: every trial's learning curve by state, and the best value as the budget was spent.

    Values are accuracies, larger is better. `baseline` is the value of the configuration that was tried first;
    `report` draws what the report had on CIFAR-10. `path` ends in .png or .svg.
    Raises ValueError when no trial has reported yet.
    """
    from matplotlib.collections import LineCollection

    known = _trials(trials)
    curves = [(trial, _points(trial)) for trial in known if _points(trial)]
    if not curves:
        raise ValueError("no trial has reported an epoch yet, so there is nothing to draw")
    best = _best(known)
    figure, (left, right) = new_figure(11, 4.4, columns=2)
    for state, (color, marker, label) in STATES.items():
        lines = [points for trial, points in curves if trial.state.name == state and trial is not best]
        if lines:
            left.add_collection(LineCollection(lines, colors=color, linewidths=1.1, alpha=0.55))
            ends = [points[-1] for points in lines]
            left.plot(*zip(*ends, strict=True), color=color, marker=marker, markeredgewidth=0, linestyle="none",
                      markersize=SIZES[marker], label=f"{label} ({len(lines)})")  # fmt: skip
    if best is not None and _points(best):
        left.plot(
            *zip(*_points(best), strict=True), color=GREEN, linewidth=2.6, label=f"best: trial {best.number}", zorder=4
        )
    if report:
        last = max(points[-1][0] for _, points in curves)
        shown = {epoch: value for epoch, value in REPORT_ACCURACY.items() if epoch <= max(last, 2)}
        left.plot(
            list(shown), list(shown.values()), color=INK, linewidth=1.6, linestyle=":", label="report, 2022", zorder=5
        )
    left.autoscale()
    left.set(title="Learning curves of all trials", xlabel="epoch", ylabel="validation accuracy")
    _draw_progress(right, known, baseline, report)
    for axes in (left, right):
        percent(axes)
        whole_epochs(axes)
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, fontsize=9, frameon=False, columnspacing=1.2
        )
    figure.suptitle(title, fontsize=13, fontweight="bold", color=INK)
    return save(figure, path)


def _draw_progress(axes: Axes, trials: Sequence[FrozenTrial], baseline: float | None, report: bool) -> None:
    settled = sorted(
        (trial for trial in trials if trial.state.is_finished() and trial.datetime_complete is not None),
        key=lambda trial: (trial.datetime_complete, trial.number),
    )
    best_so_far: list[tuple[int, float]] = []
    for state, (color, marker, label) in STATES.items():
        dots = [
            (place, trial.value if state == "COMPLETE" else _points(trial)[-1][1])
            for place, trial in enumerate(settled, 1)
            if trial.state.name == state and (trial.value is not None if state == "COMPLETE" else _points(trial))
        ]
        if dots:
            named = label if state == "COMPLETE" else f"{label}, last epoch"
            axes.plot(*zip(*dots, strict=True), color=color, marker=marker, markeredgewidth=0, linestyle="none",
                      markersize=SIZES[marker], alpha=0.8, label=named)  # fmt: skip
    for place, trial in enumerate(settled, 1):
        if trial.state.name == "COMPLETE" and trial.value is not None:
            best_so_far.append((place, max(trial.value, best_so_far[-1][1] if best_so_far else trial.value)))
    if best_so_far:
        best_so_far.append((len(settled), best_so_far[-1][1]))
        axes.step(*zip(*best_so_far, strict=True), where="post", color=GREEN, linewidth=2.6,
                  label=f"best so far: {best_so_far[-1][1]:.2%}")  # fmt: skip
    if baseline is not None:
        axes.axhline(baseline, color=SKY, linewidth=1.6, linestyle="--", label=f"baseline: {baseline:.2%}")
    if report:
        axes.axhline(REPORT_SCORE, color=INK, linewidth=1.6, linestyle=":", label=f"report, 2022: {REPORT_SCORE:.2%}")
    axes.set(title="Best as the budget is spent", xlabel="settled trials", ylabel="validation accuracy")


def learning_curves(trials: optuna.Study | Iterable[FrozenTrial], *, report: bool = True) -> Any:
    """Every trial's validation accuracy over the epochs, coloured by state, as a `plotly.graph_objects.Figure`.

    One trace a state, the curves parted by gaps, so that it stays small with thousands of trials; hovering names the
    trial. `report` lays the report's curve over them.
    """
    import plotly.graph_objects as go

    known = _trials(trials)
    best = _best(known)
    figure = go.Figure()
    for state, (color, marker, label) in STATES.items():
        chosen = [trial for trial in known if trial.state.name == state and _points(trial) and trial is not best]
        if chosen:
            figure.add_trace(_plotly_curves(chosen, f"{label} ({len(chosen)})", color, marker))
    if best is not None and _points(best):
        trace = _plotly_curves([best], f"best: trial {best.number}", GREEN, "s")
        trace.update(opacity=1, line={"width": 3})
        figure.add_trace(trace)
    if report:
        last = max((max(trial.intermediate_values) for trial in known if trial.intermediate_values), default=50)
        shown = {epoch: value for epoch, value in REPORT_ACCURACY.items() if epoch <= max(last, 2)}
        figure.add_scatter(
            x=list(shown), y=list(shown.values()), mode="lines", name="report, 2022",
            line={"color": INK, "dash": "dot", "width": 2}, hovertemplate="report, epoch %{x}: %{y:.2%}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(
        template="plotly_white", title="Learning curves of all trials", legend={"orientation": "h", "y": -0.2},
        xaxis={"title": {"text": "epoch"}, "rangemode": "tozero"},
        yaxis={"title": {"text": "validation accuracy"}, "tickformat": ".0%"},
    )  # fmt: skip
    return figure


def _plotly_curves(trials: Sequence[FrozenTrial], name: str, color: str, marker: str) -> Any:
    import plotly.graph_objects as go

    epochs: list[int | None] = []
    values: list[float | None] = []
    numbers: list[int | None] = []
    for trial in trials:
        points = _points(trial)
        epochs += [*(epoch for epoch, _ in points), None]
        values += [*(round(value, 4) for _, value in points), None]
        numbers += [trial.number] * len(points) + [None]
    return go.Scatter(
        x=epochs, y=values, customdata=numbers, name=name, mode="lines+markers", opacity=0.6, connectgaps=False,
        line={"color": color, "width": 1.2}, marker={"color": color, "size": 4, "symbol": PLOTLY_MARKERS[marker]},
        hovertemplate="trial %{customdata}, epoch %{x}: %{y:.2%}<extra></extra>",
    )  # fmt: skip


def _trials(trials: optuna.Study | Iterable[FrozenTrial]) -> list[FrozenTrial]:
    # By attribute, not by type: asking for the type would import optuna.
    get_trials: Callable[..., list[FrozenTrial]] | None = getattr(trials, "get_trials", None)
    return get_trials(deepcopy=False) if get_trials is not None else list(trials)  # type: ignore[arg-type]


def _points(trial: FrozenTrial) -> list[tuple[int, float]]:
    return sorted((epoch, value) for epoch, value in trial.intermediate_values.items() if math.isfinite(value))


def _best(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    complete = [trial for trial in trials if trial.state.name == "COMPLETE" and trial.value is not None]
    return max(complete, key=lambda trial: trial.value or 0.0, default=None)
