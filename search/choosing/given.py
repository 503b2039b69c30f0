"""Values that somebody gives a trial by hand: `batch_size=64`, read and checked as the space file would be."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from search.base.mistakes import InputError, closest
from search.base.toml import as_toml, with_tuples
from search.space.constraints import parsed
from search.space.parameters import (
    Choices,
    Parameter,
    Range,
    Value,
    checked_value,
    contains,
    described,
    encode,
    is_whole,
)
from search.space.space import SearchSpace


def given_params(space: SearchSpace, words: Sequence[str], *, outside: bool = False) -> dict[str, Any]:
    """What `words`, each NAME=VALUE, make of a trial's params, as Optuna holds them; what they leave out is not in it.

    With `outside`, a value may lie beyond its range, and all of them where constraints leave them out, as long as
    something can be trained with them. A choice may not: what was chosen from is part of the question.

    Raises:
        InputError: with everything that is wrong.
    """
    mistakes: list[str] = []
    parameters, searched = space.parameters(), space.searched()
    given: dict[str, Any] = {}
    for name, text in _pairs(words, mistakes).items():
        parameter = parameters.get(name)
        if name not in searched and (name not in parameters or parameter is None):
            known = f"It searches {', '.join(searched)}." if searched else "It searches nothing."
            mistakes.append(f"{name}: is not searched.{closest(name, list(searched))} {known}")
            continue
        wrong: list[str] = []
        value = checked_value(name, _read(text), name, wrong, ours=name in parameters.ours)
        if not wrong and parameter is not None:
            wrong = _misfit(name, parameter, value, outside=outside)
        mistakes += wrong
        if not wrong and name in searched:
            given[name] = encode(searched[name], value)
    mistakes = mistakes or _together(space, given) or ([] if outside else _left_out(space, given))
    if mistakes:
        raise InputError(mistakes)
    return given


def left_out(space: SearchSpace, given: Mapping[str, Any]) -> list[str]:
    """What the sampler will choose: what is searched and not given, and can apply."""
    return [
        name
        for name in space.searched()
        if name not in given and any(name in params for params in _tries(space, given))
    ]


def _pairs(words: Sequence[str], mistakes: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            mistakes.append(f"{word}: must be NAME=VALUE, as in batch_size=64.")
        elif name in pairs:
            mistakes.append(f"{name}: is given twice. Leave one out.")
        else:
            pairs[name] = text
    return pairs


def _read(text: str) -> Any:
    """A value as TOML has it; what is none there is a word, which needs no quotes on a command line."""
    try:
        return with_tuples(tomllib.loads(f"value = {text}"))["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text


def _misfit(name: str, parameter: Parameter, value: Value, *, outside: bool) -> list[str]:
    """Why the value can't come out of the parameter, nor lie beyond it; nothing if it can."""
    text, inside, told = as_toml(value), described(parameter), ""
    if isinstance(parameter, Range) and isinstance(value, (bool, str, tuple)):
        told = f"must be a number, but is {text}."
    elif isinstance(parameter, Range) and is_whole(parameter) and not isinstance(value, int):
        told = f"must be a whole number, but is {text}."
    elif contains(parameter, value):
        pass
    elif isinstance(parameter, Choices):
        told = f"is {text}, which is none of {inside}. Take one, or search others in a new study."
    elif not isinstance(parameter, Range):
        told = f"is {text}, but the space fixes it at {inside}. Leave it out."
    elif parameter.log and value <= 0:  # type: ignore[operator]
        told = f"is {text}, but must be > 0, since its logarithm is searched."
    elif not outside:
        told = f"is {text}, which is outside of {inside}. Take a value inside, or allow it by --outside."
    return [f"{name}: {told}"] if told else []


def _tries(space: SearchSpace, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Params of trials that have what is given, and of the rest, in turn, each choice and both ends of each range."""
    ends = {
        name: [encode(each, value) for value in (each.choices if isinstance(each, Choices) else (each.low, each.high))]
        for name, each in space.searched().items()
    }
    count = max((len(values) for name, values in ends.items() if name not in given), default=1)

    def choose(index: int, name: str) -> Any:
        return given[name] if name in given else ends[name][min(index, len(ends[name]) - 1)]

    return [space.params(lambda name, index=index: choose(index, name)) for index in range(count)]  # type: ignore[misc]


def _together(space: SearchSpace, given: Mapping[str, Any]) -> list[str]:
    """What is wrong between the values, whatever the sampler makes of the rest."""
    tries = _tries(space, given)
    unused = [name for name in given if not any(name in params for params in tries)]
    if unused:
        return [f"{name}: has no place beside the other values. Leave it out, or change them." for name in unused]
    told = []
    for params in tries:
        try:
            space.config(params, seed=0)
        except ValidationError as error:
            told += [each["msg"].removeprefix("Value error, ") for each in error.errors()]
        except ValueError as error:
            told.append(str(error))
        else:
            return []
    return [f"nothing can be trained so: {each}." for each in dict.fromkeys(told)]


def _left_out(space: SearchSpace, given: Mapping[str, Any]) -> list[str]:
    """Which constraints are not met, whatever the sampler makes of the rest."""
    tries, open_ones = _tries(space, given), space.searched().keys() - given.keys()
    everywhere = [text for text in space.broken(tries[0]) if all(text in space.broken(params) for params in tries)]
    return [
        f"{as_toml(text, 80)} of [constraints] is not met. Take other values, or allow it by --outside."
        for text in everywhere
        if not open_ones.intersection(parsed(text).names)
    ]
