"""How our plotly figures look, and what several of them have in common.

Their colours suit a light ground and a dark one, and they carry no template: plotly's own would add 7 kB to every
figure. plotly is imported when something is drawn.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from studies.draw.picture import DRAWN_WORDS, LOOKS
from studies.record.curves import value_of
from studies.record.metric import ACCURACY, Metric

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from plotly.graph_objects import Figure

NEUTRAL = "#737b85"
"""Readable on white and on near-black: text, and the paper's curve."""
GRID = "rgba(128, 136, 148, 0.22)"
CLEAR = "rgba(0, 0, 0, 0)"
FONT = "system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif"
MARKERS: Mapping[str, str] = MappingProxyType(
    {"o": "circle", "d": "diamond", "X": "x", ">": "triangle-right", "s": "square"}
)
"""Plotly's names for matplotlib's markers."""
AXIS: Mapping[str, object] = MappingProxyType(
    {"gridcolor": GRID, "zerolinecolor": GRID, "linecolor": GRID, "automargin": True}
)


@dataclass(frozen=True)
class Scale:
    """How values of a metric are written on an axis and beside the pointer."""

    metric: Metric = ACCURACY
    percent: bool = True
    """Only where the metric is an accuracy."""

    @classmethod
    def of(cls, metric: Metric, trials: Iterable[FrozenTrial]) -> Scale:
        """That for what these trials have reported."""
        reported = (value for trial in trials for value in trial.intermediate_values.values())
        ended = (value for trial in trials for value in trial.values or ())
        return cls(metric, metric.in_percent(itertools.chain(ended, reported)))

    @property
    def title(self) -> str:
        """Of an axis."""
        return html.escape(self.metric.title)

    @property
    def ticks(self) -> str | None:
        """plotly's tickformat."""
        return ".0%" if self.percent else None

    @property
    def hover(self) -> str:
        """The value of y in a hovertemplate."""
        return "%{y:.2%}" if self.percent else "%{y:.4g}"

    def said(self, value: float) -> str:
        """A value in a legend."""
        return self.metric.share(value) if self.percent else self.metric.shown(value)

    def rounded(self, value: float) -> float:
        """So many digits as can be seen: figures stay small."""
        return round(value, 4) if self.percent else float(f"{value:.6g}")


def new_plot(title: str, x: str, y: str, ticks: str | None = None) -> Figure:
    """An empty figure in the style all figures share. `ticks` is how plotly writes those of y."""
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
            "yaxis": {"title": {"text": y, "standoff": 6}, "tickformat": ticks, **AXIS},
        }
    )


def add_dots_by_state(figure: Figure, placed: Sequence[tuple[FrozenTrial, float]], scale: Scale) -> None:
    """A dot for each trial that came to something, each trial with its x."""
    for state in LOOKS:
        word = DRAWN_WORDS[state]
        if chosen := [(trial, x) for trial, x in placed if trial.state.name == state]:
            add_dots(figure, chosen, word if state == "COMPLETE" else f"{word}, last epoch", state, scale)


def add_dots(figure: Figure, placed: Sequence[tuple[FrozenTrial, float]], name: str, state: str, scale: Scale) -> None:
    color, marker = LOOKS[state]
    dots = [(x, scale.rounded(value), trial.number) for trial, x in placed if (value := value_of(trial)) is not None]
    if dots:
        places, values, numbers = (list(column) for column in zip(*dots, strict=True))
        figure.add_scatter(
            x=places, y=values, customdata=numbers, mode="markers", name=name, opacity=0.8,
            marker={"color": color, "size": 7 if len(dots) <= 200 else 5, "symbol": MARKERS[marker]},
            hovertemplate=f"trial %{{customdata}}: {scale.hover}<extra></extra>",
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
