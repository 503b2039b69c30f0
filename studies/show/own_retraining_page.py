"""A retraining of one's own training as one HTML page that needs nothing else: its score, curves and seeds.

    page = own_retraining_page(document)       # what `search.retraining.own` writes to metrics.json

All that comes from outside (names of studies, metrics and parameters) is escaped by Jinja2.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from studies.draw.figure_style import new_plot
from studies.draw.picture import BLUE, GREEN
from studies.record.metric import Metric
from studies.show.templates import embedded, render

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Document = Mapping[str, Any]
MOST_FIGURES = 12


def own_retraining_page(document: Document) -> str:
    """The page of one retraining, as HTML."""
    names = list(dict.fromkeys(name for seed in document["seeds"] for row in seed["history"] for name in row))
    has_epochs = any(len(seed["history"]) > 1 for seed in document["seeds"])
    drawn = [name for name in names if name not in ("epoch", "seconds")][:MOST_FIGURES] if has_epochs else []
    figures = {f"curve-{index}": _figure(document, name) for index, name in enumerate(drawn)}
    return render(
        "own_retraining.html",
        d=document,
        metric=Metric(document["metric"], document["direction"]),
        curves=list(zip(figures, drawn, strict=True)),
        **embedded(figures),
    )


def _figure(document: Document, name: str) -> Figure:
    """Each seed's value of `name` over the epochs, and the search's."""
    shown = html.escape(name)
    figure = new_plot(shown, "epoch", shown)
    curves = [(f"seed {seed['seed']}", seed["history"], BLUE, "solid") for seed in document["seeds"]]
    for label, rows, color, dash in (*curves, ("in the search", document["search_history"], GREEN, "dash")):
        points = [(row["epoch"], row[name]) for row in rows if name in row]
        if points:
            epochs, values = (list(column) for column in zip(*points, strict=True))
            figure.add_scatter(
                x=epochs, y=values, name=label, mode="lines" if len(points) > 1 else "markers", opacity=0.85,
                line={"color": color, "width": 2, "dash": dash}, marker={"color": color, "size": 7},
                hovertemplate=f"{label}, epoch %{{x}}: %{{y:.4g}}<extra></extra>",
            )  # fmt: skip
    return figure
