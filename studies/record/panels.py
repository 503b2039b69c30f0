"""Which of a trial's numbers are looked at together: a panel holds what training and validation came to, by epoch.

An epoch is a row of `studies.store.epochs.epoch_history`: its number, its seconds, and what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studies.record.metric import Metric, trains
from studies.words import one_line

NO_METRIC = ("epoch", "seconds")
VALIDATION = "val_"
"""How the name of a number begins that was measured on validation data; the rest is its training counterpart's."""


@dataclass(frozen=True)
class Curve:
    key: str
    """Of an epoch's row."""
    name: str
    """In a legend."""


@dataclass(frozen=True)
class Panel:
    label: str
    """Of its axis."""
    curves: tuple[Curve, ...]

    def in_percent(self, history: Sequence[Mapping[str, Any]]) -> bool:
        """Whether its values may be written as percent."""
        return all(
            Metric(curve.key).in_percent(value for _, value in points(history, curve.key)) for curve in self.curves
        )


def _of_images(name: str, label: str) -> Panel:
    return Panel(label, (Curve(name, "training"), Curve(f"{VALIDATION}{name}", "validation")))


IMAGE_PANELS = (_of_images("accuracy", "accuracy"), _of_images("loss", "loss (nats)"))
"""Of a network on images."""


def panels_of(attributes: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> tuple[Panel, ...]:
    """The panels of a trial of the study with these attributes, that with the study's metric first.

    Those of a training of one's own are made of what it reported, under the names that it gave.
    """
    if trains(attributes).kind != "own":
        return IMAGE_PANELS
    metric = Metric.of(attributes).name
    groups: dict[str, list[str]] = {metric.removeprefix(VALIDATION): []}
    for key in measured(history):
        groups.setdefault(key.removeprefix(VALIDATION), []).append(key)
    panels = []
    for base, keys in groups.items():
        label = metric if metric in keys else base if base in keys else f"{VALIDATION}{base}"
        if keys:
            panels.append(Panel(one_line(label), tuple(Curve(key, one_line(key)) for key in sorted(keys, key=len))))
    return tuple(panels)


def measured(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of all that was measured in these epochs, in the order in which they appear."""
    return list(dict.fromkeys(key for row in history for key in row if key not in NO_METRIC))


def points(history: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    """Epoch and value of one number; epochs that lack it are left out."""
    return [(row["epoch"], row[key]) for row in history if row.get(key) is not None]
