"""Figures of what was sampled: which parameter decides, all values side by side, the value against each parameter."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from studies.draw.figure_style import AXIS, GRID, Scale, new_plot, say_instead
from studies.draw.picture import BLUE, GREEN, SKY
from studies.record.curves import best_of, value_of
from studies.record.metric import ACCURACY, Metric

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial
    from plotly.graph_objects import Figure

FEWEST_FOR_IMPORTANCES = 5
EARLY = "#a3abb4"
"""Grey enough to stand back on white and on near-black."""
SCALE = ((0.0, EARLY), (0.5, SKY), (0.85, BLUE), (1.0, GREEN))
COLUMNS = 3


def importances(trials: Sequence[FrozenTrial], metric: Metric = ACCURACY) -> Figure:
    """How much each parameter decides about being among the best, by Optuna's default evaluator (PED-ANOVA).

    It rests on complete trials only: where many were pruned, it knows little of the values that made them bad.
    """
    found = importances_of(trials, metric)
    figure = new_plot("Which parameter decides", "importance (complete trials only)", "")
    if found:
        names = [html.escape(name) for name in reversed(found)]
        shares = [round(share, 4) for share in reversed(found.values())]
        figure.add_bar(
            orientation="h", x=shares, y=names, marker={"color": BLUE}, showlegend=False,
            text=[f"{share:.0%}" for share in shares], textposition="auto", hoverinfo="skip",
        )  # fmt: skip
    else:
        say_instead(figure, f"this takes {FEWEST_FOR_IMPORTANCES} complete trials with different values")
    figure.update_xaxes(tickformat=".0%", rangemode="tozero")
    figure.update_yaxes(showgrid=False)
    return figure


def importances_of(trials: Sequence[FrozenTrial], metric: Metric = ACCURACY) -> dict[str, float]:
    """Each parameter's share of importance, the largest first; empty if there are too few complete trials to tell."""
    import optuna

    complete = [trial for trial in trials if trial.state.name == "COMPLETE" and value_of(trial) is not None]
    if len(complete) < FEWEST_FOR_IMPORTANCES or len({trial.value for trial in complete}) < 2:
        return {}
    study = optuna.study.create_study(direction=metric.direction, storage=optuna.storages.InMemoryStorage())
    try:
        study.add_trials(complete)
        found = optuna.importance.get_param_importances(study)
    except ValueError:  # values that lie outside their own distributions: somebody else's doing
        return {}
    return {name: share for name, share in found.items() if math.isfinite(share)}


def parallel_coordinates(trials: Sequence[FrozenTrial], metric: Metric = ACCURACY) -> Figure:
    """A line for each trial through its values and its result; drag along an axis to pick, drag an axis to move it.

    A value that a trial lacks, as the step of a constant schedule, lies at the foot of its axis.
    """
    known = [trial for trial in trials if trial.params and value_of(trial) is not None]
    figure = new_plot("All values side by side", "", "")
    if not known:
        say_instead(figure, "no trial has a value yet")
        return figure
    scale = Scale.of(metric, known)
    values = [scale.rounded(value_of(trial) or 0.0) for trial in known]
    dimensions = [_dimension(name, known) for name in _names(known)]
    dimensions.append({"label": html.escape(metric.name), "values": values, "tickformat": scale.ticks})
    line = {"color": values, "colorscale": SCALE, "cmin": min(values), "cmax": max(values)}
    if metric.smaller_is_better:
        line["reversescale"] = True
    figure.add_parcoords(
        dimensions=dimensions, line=line,
        unselected={"line": {"color": GRID, "opacity": 0.2}}, labelangle=0,
    )  # fmt: skip
    figure.update_layout(margin={"l": 60, "r": 48, "t": 88, "b": 28})
    return figure


def slices(trials: Sequence[FrozenTrial], metric: Metric = ACCURACY) -> Figure:
    """The value against each parameter, from grey dots for the first trials to blue ones for the last.

    Pruned trials stand where they stopped; the best has a ring.
    """
    known = [trial for trial in trials if trial.params and value_of(trial) is not None]
    scale = Scale.of(metric, known)
    title = f"{'Accuracy' if metric == ACCURACY else scale.title} against each parameter"
    if not known:
        figure = new_plot(title, "", "")
        say_instead(figure, "no trial has a value yet")
        return figure
    from plotly.subplots import make_subplots

    names = _names(known)
    columns = min(COLUMNS, len(names))
    rows = -(-len(names) // columns)
    figure = make_subplots(
        rows,
        columns,
        shared_yaxes=True,
        horizontal_spacing=0.04,
        vertical_spacing=0.36 / rows,
        figure=new_plot("", "", ""),
    )
    best = best_of(known, smallest=metric.smaller_is_better)
    for place, name in enumerate(names):
        row, column = place // columns + 1, place % columns + 1
        having = [trial for trial in known if name in trial.params]
        distribution = having[-1].distributions[name]
        xs = [_shown(trial.params[name], distribution) for trial in having]
        numbers = [trial.number for trial in having]
        ys = [scale.rounded(value_of(trial) or 0.0) for trial in having]
        figure.add_scatter(
            row=row, col=column, mode="markers", showlegend=False, x=xs, y=ys, customdata=numbers,
            marker={"size": 6, "color": numbers, "colorscale": ((0, EARLY), (1, BLUE))},
            hovertemplate=f"trial %{{customdata}}: {scale.hover} at %{{x}}<extra></extra>",
        )  # fmt: skip
        if best in having:
            at = having.index(best)
            figure.add_scatter(
                row=row, col=column, mode="markers", showlegend=False, x=[xs[at]], y=[ys[at]], hoverinfo="skip",
                marker={"size": 12, "color": GREEN, "symbol": "circle-open", "line": {"width": 3}},
            )  # fmt: skip
        kind = _axis_type(distribution)
        figure.update_xaxes(title={"text": html.escape(name), "standoff": 4}, type=kind, row=row, col=column, **AXIS)
        if kind == "log":
            ticks, texts = _log_ticks([trial.params[name] for trial in having])
            figure.update_xaxes(tickvals=ticks, ticktext=texts, row=row, col=column)
        if kind == "category":
            order = [_shown(choice, distribution) for choice in _choices(distribution)]
            figure.update_xaxes(categoryorder="array", categoryarray=order, row=row, col=column)
    figure.update_yaxes(tickformat=scale.ticks, **AXIS)
    figure.update_yaxes(title={"text": scale.title}, col=1)
    figure.update_layout(title={"text": title}, height=120 + 230 * rows)
    return figure


def _names(trials: Sequence[FrozenTrial]) -> list[str]:
    """Every parameter that any of them has, in the order in which they were asked for."""
    return list(dict.fromkeys(name for trial in trials for name in trial.params))


def _choices(distribution: BaseDistribution) -> Sequence[Any]:
    return getattr(distribution, "choices", ())


def _axis_type(distribution: BaseDistribution) -> str:
    if _choices(distribution):
        return "category"
    return "log" if getattr(distribution, "log", False) else "linear"


def _shown(value: Any, distribution: BaseDistribution) -> Any:
    """A value as an axis takes it: choices as text, so that 16, 32 and 64 stand evenly."""
    if _choices(distribution):
        return html.escape(str(value))
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _dimension(name: str, trials: Sequence[FrozenTrial]) -> Mapping[str, Any]:
    distribution = next(trial.distributions[name] for trial in reversed(trials) if name in trial.distributions)
    label = html.escape(name)
    ticks: list[float]
    values: list[float]
    if choices := _choices(distribution):
        place = {str(choice): number for number, choice in enumerate(choices)}
        ticks, texts = [float(each) for each in place.values()], [html.escape(text) for text in place]
        values = [place.get(str(trial.params[name]), -1) if name in trial.params else -1 for trial in trials]
    elif getattr(distribution, "log", False):
        known = [trial.params[name] for trial in trials if name in trial.params]
        foot = math.log10(min(known))
        values = [round(math.log10(trial.params[name]), 4) if name in trial.params else foot for trial in trials]
        at, texts = _log_ticks(known)
        ticks = [math.log10(tick) for tick in at]
    else:
        known = [trial.params[name] for trial in trials if name in trial.params]
        return {"label": label, "values": [trial.params.get(name, min(known)) for trial in trials]}
    return {"label": label, "values": values, "tickvals": ticks, "ticktext": texts}


def _log_ticks(values: Sequence[float]) -> tuple[list[float], list[str]]:
    """Where a logarithmic axis over these values is marked: at its decades, or at 1, 2 and 5 in each if it is short."""
    low, high = min(values), max(values)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    digits = (1,) if high > 100 * low else (1, 2, 5)
    ticks = [digit * 10.0**decade for decade in decades for digit in digits if low <= digit * 10.0**decade <= high]
    ticks = ticks or [low, high]
    return ticks, [f"{tick:.3g}" for tick in ticks]
