"""A study's trials as points to draw: what the pictures by matplotlib and the figures by plotly have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from studies.draw.picture import BLUE, GREY, ORANGE, PINK

if TYPE_CHECKING:
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


def points_of(trial: FrozenTrial) -> list[tuple[int, float]]:
    """Epoch and validation accuracy, by epoch; what is no finite number is no point."""
    return sorted((epoch, value) for epoch, value in trial.intermediate_values.items() if math.isfinite(value))


def value_of(trial: FrozenTrial) -> float | None:
    """What a trial came to: a complete one's value, any other's last point; None without one."""
    if trial.state.name == "COMPLETE" and trial.value is not None:
        return trial.value if math.isfinite(trial.value) else None
    points = points_of(trial)
    return points[-1][1] if points else None


def best_of(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """The complete trial with the highest finite value; of equals, the earlier."""
    complete = [trial for trial in trials if trial.state.name == "COMPLETE" and value_of(trial) is not None]
    return max(complete, key=lambda trial: trial.value or 0.0, default=None)


def settled_in_order(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that are settled, in the order in which they were."""
    return sorted(
        (trial for trial in trials if trial.state.is_finished() and trial.datetime_complete is not None),
        key=lambda trial: (trial.datetime_complete, trial.number),
    )


def best_so_far(trials: Sequence[FrozenTrial]) -> list[tuple[int, float]]:
    """How many trials were settled, and the best value then: a point at each complete trial, and one at the end."""
    steps: list[tuple[int, float]] = []
    settled = settled_in_order(trials)
    for place, trial in enumerate(settled, 1):
        value = value_of(trial)
        if trial.state.name == "COMPLETE" and value is not None:
            steps.append((place, max(value, steps[-1][1] if steps else value)))
    return [*steps, (len(settled), steps[-1][1])] if steps else []
