"""A study's trials as points: their learning curves, what each came to, and the best of them as they went along."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def points_of(trial: FrozenTrial) -> list[tuple[int, float]]:
    """Epoch and value reported then, by epoch; a value that is not finite is left out."""
    return sorted((epoch, value) for epoch, value in trial.intermediate_values.items() if math.isfinite(value))


def value_of(trial: FrozenTrial) -> float | None:
    """What a trial came to: a complete one's value, any other's last point; None if it has none."""
    if trial.state.name == "COMPLETE":  # without a value if somebody took it away
        return trial.value if trial.value is not None and math.isfinite(trial.value) else None
    points = points_of(trial)
    return points[-1][1] if points else None


def best_of(trials: Sequence[FrozenTrial], *, smallest: bool = False) -> FrozenTrial | None:
    """The complete trial with the highest finite value, or the `smallest`; of equals, the earlier."""
    complete = [trial for trial in trials if trial.state.name == "COMPLETE" and value_of(trial) is not None]
    return (min if smallest else max)(complete, key=lambda trial: trial.value or 0.0, default=None)


def settled_in_order(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The settled trials, in the order in which they were settled."""
    return sorted(
        (trial for trial in trials if trial.state.is_finished() and trial.datetime_complete is not None),
        key=lambda trial: (trial.datetime_complete, trial.number),
    )


def best_so_far(values: Iterable[float], *, smallest: bool = False) -> list[float]:
    """The best among each value and those before it: the largest, or the `smallest`."""
    return list(itertools.accumulate(values, min if smallest else max))


def best_steps(trials: Sequence[FrozenTrial], *, smallest: bool = False) -> list[tuple[int, float]]:
    """How many trials were settled, and the best value then: a point at each improvement, and one at the end."""
    settled = settled_in_order(trials)
    known = [
        (place, value)
        for place, trial in enumerate(settled, 1)
        if trial.state.name == "COMPLETE" and (value := value_of(trial)) is not None
    ]
    best = best_so_far((value for _, value in known), smallest=smallest)
    places = [place for place, _ in known]
    steps = [next(alike) for _, alike in itertools.groupby(zip(places, best, strict=True), key=lambda step: step[1])]
    return [*steps, (len(settled), steps[-1][1])] if steps else []
