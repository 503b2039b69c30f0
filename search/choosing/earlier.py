"""Trials of an earlier study, as the sampler of a study that learns from it sees them.

They count in no budget, are no twins of this study's trials, and are shown to no pruner: their data may be other data.
A trial fits if this space could have proposed its values, and fixes nothing else: it may be wider or narrower than the
earlier one's.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from search.space.parameters import Choices, Parameter, Range, Value, contains, encode
from search.space.space import SearchSpace
from studies.words import settings_in


def fitting(space: SearchSpace, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The finished trials of an earlier study whose values this space allows, in its own terms, numbered below zero."""
    finished = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    made = (_in_terms_of(space, trial) for trial in finished)
    lessons = [lesson for lesson in made if lesson is not None]
    for place, lesson in enumerate(lessons):
        lesson.number = -1 - place
    return lessons


def _in_terms_of(space: SearchSpace, trial: FrozenTrial) -> FrozenTrial | None:
    config = trial.user_attrs.get("config")
    values = {**trial.params, **(settings_in(config) if isinstance(config, Mapping) else {})}
    parameters, distributions = space.parameters(), space.distributions()

    def held(name: str) -> Any:
        parameter = parameters[name]
        assert isinstance(parameter, (Choices, Range))  # noqa: S101 - it is searched
        return encode(parameter, _inside(parameter, values[name]))

    try:
        params = space.params(held)
        for name, parameter in parameters.items():
            if name in values and parameter is not None and name not in distributions:
                _inside(parameter, values[name])
    except (KeyError, TypeError, ValueError):
        return None
    lesson = copy.copy(trial)
    lesson.params = params
    lesson.distributions = {name: distributions[name] for name in params}
    return lesson


def _inside(parameter: Parameter, given: Any) -> Value:
    """The value, if the parameter can be it. Raises ValueError."""
    value: Value = tuple(given) if isinstance(given, list) else given
    if (
        isinstance(value, float)
        and value.is_integer()
        and isinstance(parameter, Range)
        and isinstance(parameter.low, int)
    ):
        value = int(value)
    if not contains(parameter, value):
        raise ValueError(f"{value} is outside")
    return value
