"""A retraining as one HTML page that needs nothing else: its score, curves, classes, seeds, and where it came from.

    page = retraining_page(document)       # the document that `search.retraining.results` writes to metrics.json

plotly's script is in the page (4.8 MB), so that it works from a folder, in a mail, without a network. All that comes
from outside (names of studies and classes, paths) is escaped by Jinja2.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from studies.draw.figure_style import NEUTRAL, new_plot
from studies.draw.picture import BLUE, GREEN, RED
from studies.record.published import PAPER_NAME, paper_points
from studies.show.templates import embedded, render

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Document = Mapping[str, Any]
LABELS = {"loss": "cross-entropy loss (nats)", "accuracy": "accuracy"}
SPLIT_WORDS = {"test": "test images", "validation": "validation images"}


def retraining_page(document: Document) -> str:
    """The page of one retraining, as HTML."""
    return render(
        "retraining.html",
        d=document,
        measured=SPLIT_WORDS[document["split"]],
        dots=_dots(document),
        classes=_classes(document),
        confusion=_confusion(document),
        config={key: value for key, value in document["config"].items() if value is not None},
        **embedded({name: curves_figure(document, name) for name in LABELS}),
    )


def curves_figure(document: Document, name: str) -> Figure:
    """Each seed's "loss" or "accuracy" over the epochs, the search's, the paper's, and the test's at the end."""
    figure = new_plot(name, "epoch", LABELS[name], ".0%" if name == "accuracy" else None)
    seeds = document["seeds"]
    spec = ".2%" if name == "accuracy" else ".4f"
    for key, color, label in ((name, BLUE, "training"), (f"val_{name}", GREEN, "validation")):
        for index, seed in enumerate(seeds):
            _add_curve(figure, seed["history"], key, f"{label}, seed {seed['seed']}", color, spec, first=index == 0,
                       group=label if len(seeds) > 1 else f"{label}, seed {seed['seed']}")  # fmt: skip
    label = "validation in the search"
    _add_curve(figure, document["search_history"], f"val_{name}", label, GREEN, spec, first=True, dash="dash")
    last = max((row["epoch"] for seed in seeds for row in seed["history"]), default=1)
    if document["on_cifar10"]:
        points = paper_points(f"val_{name}", last, least=10)
        rows = [{"epoch": epoch, f"val_{name}": value} for epoch, value in points]
        label = f"validation in the {PAPER_NAME}"
        _add_curve(figure, rows, f"val_{name}", label, NEUTRAL, spec, first=True, dash="dot")
    if document["split"] == "test":
        figure.add_scatter(
            x=[last] * len(seeds), y=[seed[name] for seed in seeds], customdata=[seed["seed"] for seed in seeds],
            mode="markers", name="test", marker={"color": RED, "size": 9, "symbol": "diamond"},
            hovertemplate=f"test, seed %{{customdata}}: %{{y:{spec}}}<extra></extra>",
        )  # fmt: skip
    return figure


def _add_curve(
    figure: Figure,
    rows: Sequence[Mapping[str, Any]],
    key: str,
    name: str,
    color: str,
    spec: str,
    *,
    first: bool,
    group: str = "",
    dash: str = "solid",
) -> None:
    points = [(row["epoch"], row[key]) for row in rows if row.get(key) is not None]
    if points:
        epochs, values = (list(column) for column in zip(*points, strict=True))
        figure.add_scatter(
            x=epochs, y=values, name=html.escape(group or name), mode="lines" if len(points) > 1 else "markers",
            legendgroup=group or name, showlegend=first, line={"color": color, "width": 2, "dash": dash}, opacity=0.85,
            marker={"color": color, "size": 7},
            hovertemplate=f"{html.escape(name)}, epoch %{{x}}: %{{y:{spec}}}<extra></extra>",
        )  # fmt: skip


def _dots(document: Document) -> dict[str, Any]:
    """Where the score's marks lie on a line, in percent of its width."""
    marks = {"searched": document["searched"], "mean": document["mean"], "paper": document["report"]}
    known = [value for value in marks.values() if value is not None]
    known += [seed["accuracy"] for seed in document["seeds"]] + list(document["interval"] or [])
    low, high = min(known), max(known)
    margin = max(0.08 * (high - low), 0.002)
    low, high = low - margin, high + margin

    def place(value: float) -> float:
        return float(round(100 * (value - low) / (high - low), 2))

    interval = document["interval"]
    return {
        "seeds": [(place(seed["accuracy"]), seed) for seed in document["seeds"]],
        "interval": (place(interval[0]), round(place(interval[1]) - place(interval[0]), 2)) if interval else None,
        **{name: place(value) if value is not None else None for name, value in marks.items()},
    }


def _classes(document: Document) -> list[dict[str, Any]]:
    """Each class with the mean of its accuracy over the seeds, and the lowest and highest; the best class first."""
    rows = []
    for name in document["classes"]:
        values = [seed["class_accuracy"][name] for seed in document["seeds"]]
        known = [value for value in values if value is not None]
        if known:
            rows.append({"name": name, "mean": sum(known) / len(known), "low": min(known), "high": max(known)})
    return sorted(rows, key=lambda row: -row["mean"])


def _confusion(document: Document) -> list[dict[str, Any]]:
    """The matrix summed over the seeds: for each true class, which share of its images was taken for each class."""
    size = len(document["classes"])
    sums = [[sum(seed["confusion"][row][column] for seed in document["seeds"]) for column in range(size)]
            for row in range(size)]  # fmt: skip
    rows = []
    for index, counts in enumerate(sums):
        total = sum(counts)
        cells = [{"count": count, "share": count / total if total else 0.0} for count in counts]
        rows.append({"name": document["classes"][index], "cells": cells, "index": index})
    return rows
