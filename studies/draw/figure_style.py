"""How our plotly figures look, and what several of them have in common.

Their colours suit a light ground and a dark one, and they carry no template: plotly's own would add 7 kB to every
figure. plotly is imported when something is drawn.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from studies.draw.picture import LOOKS
from studies.record.curves import value_of
from studies.words import STATE_WORDS

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from plotly.graph_objects import Figure

NEUTRAL = "#737b85"
"""Readable on white and on near-black: text, and the paper's curve."""
GRID = "rgba(128, 136, 148, 0.22)"
CLEAR = "rgba(0, 0, 0, 0)"
FONT = "system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif"
MARKERS: Mapping[str, str] = MappingProxyType({"o": "circle", "X": "x", ">": "triangle-right", "s": "square"})
"""Plotly's names for matplotlib's markers."""
AXIS: Mapping[str, object] = MappingProxyType(
    {"gridcolor": GRID, "zerolinecolor": GRID, "linecolor": GRID, "automargin": True}
)


def new_plot(title: str, x: str, y: str) -> Figure:
    """An empty figure in the style all figures share."""
    import plotly.graph_objects as go

    return go.Figure(
        layout={
            "template": go.layout.Template(),
            "title": {"text": title, "font": {"size": 15}, "x": 0, "xref": "paper"},
            "font": {"family": FONT, "size": 12, "color": NEUTRAL},
            "paper_bgcolor": CLEAR,
            "plot_bgcolor": CLEAR,
            "modebar": {"bgcolor": CLEAR, "color": GRID, "activecolor": NEUTRAL},
            "hoverlabel": {"font": {"family": FONT}},
            "legend": {"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"},
            "margin": {"l": 56, "r": 16, "t": 44, "b": 40},
            "xaxis": {"title": {"text": x, "standoff": 6}, **AXIS},
            "yaxis": {"title": {"text": y, "standoff": 6}, "tickformat": ".0%", **AXIS},
        }
    )


def add_dots_by_state(figure: Figure, placed: Sequence[tuple[FrozenTrial, float]]) -> None:
    """A dot for each trial that came to something, each trial with its x."""
    for state in LOOKS:
        word = STATE_WORDS[state]
        if chosen := [(trial, x) for trial, x in placed if trial.state.name == state]:
            add_dots(figure, chosen, word if state == "COMPLETE" else f"{word}, last epoch", state)


def add_dots(figure: Figure, placed: Sequence[tuple[FrozenTrial, float]], name: str, state: str) -> None:
    color, marker = LOOKS[state]
    dots = [(x, round(value, 4), trial.number) for trial, x in placed if (value := value_of(trial)) is not None]
    if dots:
        places, values, numbers = (list(column) for column in zip(*dots, strict=True))
        figure.add_scatter(
            x=places, y=values, customdata=numbers, mode="markers", name=name, opacity=0.8,
            marker={"color": color, "size": 7 if len(dots) <= 200 else 5, "symbol": MARKERS[marker]},
            hovertemplate="trial %{customdata}: %{y:.2%}<extra></extra>",
        )  # fmt: skip


def add_level(figure: Figure, value: float, name: str, color: str, dash: str, last: float) -> None:
    """A horizontal line from 0 to `last`."""
    figure.add_scatter(
        x=[0, max(last, 1)], y=[value, value], mode="lines", name=name, hoverinfo="skip",
        line={"color": color, "dash": dash, "width": 2},
    )  # fmt: skip


def say_instead(figure: Figure, text: str) -> None:
    """Say why there is nothing to draw."""
    figure.add_annotation(text=html.escape(text), xref="paper", yref="paper", x=0.5, y=0.5, showarrow=False)
    figure.update_xaxes(showticklabels=False)
    figure.update_yaxes(showticklabels=False)
