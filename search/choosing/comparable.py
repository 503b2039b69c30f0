"""Which trials' epochs can be held against each other: not those of any, where a schedule depends on the planned ones.

Under "constant" and "step" the first epochs of a long trial are those of a shorter one. Under "cosine" and "linear"
(`model.schedule.depends_on_epochs`) the learning rate of an epoch depends on how many are to follow: half-way through
24 epochs is another place than the end of 12.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from model.schedule import depends_on_epochs
from search.space.parameters import Choices, Range
from search.space.space import SearchSpace

OverAll = Callable[[Mapping[str, Any]], str]
"""Of a trial with these params, its schedule if it depends on how many epochs are planned; else empty."""


def over_no_epochs(_params: Mapping[str, Any]) -> str:
    """Of trials none of which has such a schedule."""
    return ""


def over_all_epochs(space: SearchSpace) -> OverAll:
    """For the trials of this space. What training of one's own does with its learning rate is not known here."""
    parameter = None if space.trains_own else space.parameters().get("schedule")
    if isinstance(parameter, Choices):
        if not any(depends_on_epochs(str(choice)) for choice in parameter.choices):
            return over_no_epochs
        return lambda params: _if_over_all(params.get("schedule"))
    fixed = "" if isinstance(parameter, Range) else _if_over_all(parameter)
    return (lambda _params: fixed) if fixed else over_no_epochs


def _if_over_all(schedule: object) -> str:
    return schedule if isinstance(schedule, str) and depends_on_epochs(schedule) else ""
