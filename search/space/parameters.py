"""One hyperparameter of a space: a fixed value, choices, or a range; read, checked, and in Optuna's terms.

    batch_size    = 32
    schedule      = { choices = ["constant", "step"] }
    learning_rate = { low = 1e-5, high = 0.1, log = true }
    epochs        = { low = 5, high = 50, step = 5 }

Which hyperparameters there are, and what their values may be, is written in `model.config.TrainConfig` alone: the
tables below derive from it, and every fixed value, choice and bound is validated by its field.

A network or a training of one's own has parameters of any name, whose values are numbers, texts, true and false: whole
where all bounds are whole. And any parameter may exist only where others have certain values:

    momentum = { low = 0.0, high = 0.99, when = { optimizer = ["sgd"] } }
    nesterov = { value = true, when = { optimizer = ["sgd"] } }
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

from pydantic import ValidationError, create_model, field_validator

from model.config import HYPERPARAMETERS, Frozen, TrainConfig
from search.base.mistakes import findings, sentences
from search.base.toml import as_toml, toml_key

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = bool | int | float | str | tuple[int, ...]
Condition = Mapping[str, tuple[Value, ...]]
"""The values that other parameters must have, by name, for a parameter to exist."""


def _asked_in_order() -> tuple[str, ...]:
    names = list(HYPERPARAMETERS)
    for name, about in HYPERPARAMETERS.items():
        if about.after:
            names.remove(name)
            names.insert(names.index(about.after) + 1, name)
    return tuple(names)


NAMES = _asked_in_order()
"""The parameters in the order in which a trial is asked for them: each before what depends on it."""
FIELDS = {name: TrainConfig.model_fields[name] for name in NAMES}
_KINDS = {name: (field.annotation, *get_args(field.annotation)) for name, field in FIELDS.items()}
WORDS: Mapping[str, tuple[str | bool, ...]] = {
    name: (True, False) if field.annotation is bool else get_args(field.annotation)
    for name, field in FIELDS.items()
    if field.annotation is bool or get_origin(field.annotation) is Literal
}
"""Those whose values are words, true and false among them, and these."""
WHOLE = frozenset(name for name in NAMES if float not in _KINDS[name] and name not in WORDS)
"""Those whose values are whole numbers."""
_LISTS = frozenset(name for name in NAMES if any(get_origin(kind) is tuple for kind in _KINDS[name]))
"""Those whose values may be lists of them."""
DEPENDENT: Mapping[str, tuple[str, tuple[str, ...]]] = {
    name: (about.parent, about.allowed) for name in NAMES if (about := HYPERPARAMETERS[name]).parent
}
"""Parameters that exist only where another one has one of these values."""
NEEDED: Mapping[tuple[str, str], tuple[str, ...]] = {
    (about.parent, value): tuple(
        name for name in DEPENDENT if DEPENDENT[name][0] == about.parent and value in HYPERPARAMETERS[name].needed
    )
    for about in HYPERPARAMETERS.values()
    for value in about.needed
}
"""Parameters that a space must have where another one can have this value."""
DEFAULTS: Mapping[str, Value] = {
    name: field.default for name, field in FIELDS.items() if not field.is_required() and field.default is not None
}
"""What a space that doesn't name them has: the paper's values."""

LARGEST_GRID = 100_000
MOST_STEPS = 1_000_000_000
"""Of a range with a step: decimals are exact so far."""
LARGEST_WHOLE = 2**31 - 1  # Optuna keeps parameters as floats, which hold every whole number only up to 2**53

_apart: dict[str, Any] = {name: (Annotated[field.annotation, *field.metadata], None) for name, field in FIELDS.items()}
_Apart = create_model("_Apart", __base__=Frozen, **_apart)
"""Each field by itself: whether values belong together is asked of a whole space."""


class _Conditional(Frozen):
    when: dict[str, tuple[Value, ...]] | None = None
    """It exists only where each of these parameters has one of these values."""

    @field_validator("when", mode="before")
    @classmethod
    def _one_value_is_a_list(cls, raw: object) -> object:
        if not isinstance(raw, Mapping):
            return raw
        if not raw or () in raw.values():
            raise ValueError('must name parameters with their values, as in { optimizer = ["sgd"] }')
        return {name: allowed if isinstance(allowed, tuple) else (allowed,) for name, allowed in raw.items()}


class Choices(_Conditional):
    """One of these values, without an order."""

    choices: tuple[Value, ...]


class Fixed(_Conditional):
    """This value, where it exists."""

    value: Value


class Range(_Conditional):
    """Any value from `low` to `high`, both included; whole numbers where the parameter is one."""

    low: int | float
    high: int | float
    log: bool = False
    """Sample the logarithm evenly, so that 0.001 to 0.01 is as likely as 0.01 to 0.1."""
    step: int | float | None = None
    """Only `low`, `low + step`, `low + 2 * step` ..."""


Parameter = Choices | Range | Value


class Parameters(dict[str, "Parameter | None"]):
    """What a space says of each parameter, in the order in which a trial is asked for them: each after those on which
    it depends. None is one of ours that the space doesn't name."""

    conditions: Mapping[str, Condition]
    """Of those that don't always exist."""

    def __init__(
        self, entries: Mapping[str, Parameter | Fixed | None], ours: Iterable[str] = NAMES, unread: Iterable[str] = ()
    ) -> None:
        """`ours` are the names that mean hyperparameters of `TrainConfig`; what could not be read of a file is left out
        of `entries`, and is among `unread`."""
        self.ours, self.unread = frozenset(ours), frozenset(unread)
        self.conditions = {name: met for name, entry in entries.items() if (met := self._condition(name, entry))}
        unwrapped = {name: entry.value if isinstance(entry, Fixed) else entry for name, entry in entries.items()}
        super().__init__((name, unwrapped[name]) for name in self._ordered(unwrapped))

    def _condition(self, name: str, entry: Parameter | Fixed | None) -> dict[str, tuple[Value, ...]]:
        condition: dict[str, tuple[Value, ...]] = {}
        if name in self.ours and name in DEPENDENT:
            parent, allowed = DEPENDENT[name]
            condition[parent] = allowed
        for parent, values in (entry.when or {}).items() if isinstance(entry, _Conditional) else ():
            among = condition.get(parent)
            condition[parent] = values if among is None else tuple(value for value in values if value in among)
        return condition

    def _ordered(self, names: Mapping[str, object]) -> list[str]:
        """Parents first, else as given. Those that depend on each other in a circle come last."""
        ordered: list[str] = []
        left = list(names)
        while left:
            free = [name for name in left if not any(parent in left for parent in self.conditions.get(name, ()))]
            if not free:
                break
            ordered.append(free[0])
            left.remove(free[0])
        self.circle = tuple(left)
        return ordered + left

    def exists(self, name: str, values: Mapping[str, Value]) -> bool:
        """Whether parameter `name` exists in a configuration that has these values so far."""
        return all(
            values.get(parent, DEFAULTS.get(parent) if parent in self.ours else None) in allowed
            for parent, allowed in self.conditions.get(name, {}).items()
        )


def parse_parameter(name: str, raw: object, *, ours: bool = True) -> Parameter | Fixed:
    """`raw`, as TOML or JSON gives it (lists as tuples), as a checked parameter with its values in their own type.

    `ours` says whether `name` means a hyperparameter of `TrainConfig`.

    Raises a pydantic error of whole sentences, all that is wrong with this parameter at once.
    """
    mistakes: list[str] = []
    parameter: Parameter | Fixed = 0
    if isinstance(raw, _Conditional):
        raw = raw.model_dump(exclude_none=True)
    if isinstance(raw, dict) and (given := _other_key(raw)):
        key, values = given
        mistakes.append(
            f"unknown key {toml_key(key)}. For a choice write {name} = {as_toml({'choices': values}, 60)}, for a range "
            f"{name} = {{ low = ..., high = ... }}."
        )
    elif isinstance(raw, dict):
        kind: type[Choices | Range | Fixed] = Choices if "choices" in raw else Fixed if "value" in raw else Range
        try:
            table = kind.model_validate(raw, strict=True)
        except ValidationError as error:
            raise sentences([finding.sentence() for finding in findings(error, kind)]) from None
        match table:
            case Choices():
                parameter = _checked_choices(name, table, mistakes, ours)
            case Fixed():
                value = checked_value(name, table.value, "value", mistakes, ours=ours)
                parameter = table.model_copy(update={"value": value})
            case Range():
                parameter = _checked_range(name, table, mistakes, ours)
    elif isinstance(raw, tuple) and not (ours and name in _LISTS):
        mistakes.append(
            f"must be one value, but is a list. For a choice write {name} = {as_toml({'choices': raw}, 60)}."
        )
    else:
        parameter = checked_value(name, raw, name, mistakes, ours=ours)
    if mistakes:
        raise sentences(mistakes)
    return parameter


def _other_key(table: Mapping[str, Any]) -> tuple[str, Any] | None:
    """The one key of a table that means choices under another name, as in `{ values = [16, 32] }`, and its values."""
    named = {key: value for key, value in table.items() if key != "when"}
    if len(named) != 1 or named.keys() & {"choices", "low", "high", "log", "step", "value"}:
        return None
    ((key, values),) = named.items()
    return (key, values) if isinstance(values, tuple) else None


def checked_value(name: str, raw: object, called: str, mistakes: list[str], *, ours: bool = True) -> Value:
    """`raw` as the value of parameter `name`, in its own type; what is wrong goes to `mistakes`."""
    if not ours:
        return _checked_scalar(raw, called, mistakes)
    try:
        value: Value = getattr(_Apart.model_validate({name: raw}, strict=True), name)
    except ValidationError as error:
        mistakes += [finding.sentence(finding.name.replace(name, called)) for finding in findings(error, _Apart)]
        return 0
    largest = max(value, default=0) if isinstance(value, tuple) else value
    if name in WHOLE and isinstance(largest, int) and largest > LARGEST_WHOLE:
        mistakes.append(f"{called} must be <= {LARGEST_WHOLE}, but is {as_toml(value)}.")
    return value


def _checked_scalar(raw: object, called: str, mistakes: list[str]) -> Value:
    """The value of a parameter that a user named."""
    if not isinstance(raw, (bool, int, float, str)):
        mistakes.append(f"{called} must be a number, a text, true or false, but is {as_toml(raw, 80)}.")
    elif isinstance(raw, float) and not math.isfinite(raw):
        mistakes.append(f"{called} must be a finite number, but is {as_toml(raw)}.")
    elif isinstance(raw, int) and abs(raw) > 2**53:  # beyond, Optuna's floats hold not every whole number
        mistakes.append(f"{called} must be a whole number of at most 2^53, but is {as_toml(raw, 80)}.")
    elif isinstance(raw, str) and len(raw) > 500:
        mistakes.append(f"{called} must have at most 500 letters, but has {len(raw)}.")
    else:
        return raw
    return 0


def _checked_choices(name: str, table: Choices, mistakes: list[str], ours: bool) -> Choices:
    if not table.choices:
        mistakes.append("choices must not be empty. Give at least one value.")
    called = [f"item {number} of choices" for number in range(1, len(table.choices) + 1)]
    before = len(mistakes)
    values = [
        checked_value(name, raw, place, mistakes, ours=ours) for raw, place in zip(table.choices, called, strict=True)
    ]
    if len(mistakes) == before:
        for number, value in enumerate(values):
            if value in values[:number]:
                mistakes.append(f"choices has {as_toml(value)} twice. Leave one out.")
    return table.model_copy(update={"choices": tuple(values)})


def _checked_range(name: str, table: Range, mistakes: list[str], ours: bool) -> Range:
    if ours and name in WORDS:
        example = as_toml({"choices": WORDS[name][:2]})
        mistakes.append(f"must be a fixed value or choices, as in {example}, but is a range.")
        return table
    before = len(mistakes)
    whole = name in WHOLE if ours else isinstance(table.low, int) and isinstance(table.high, int)
    if not ours and isinstance(table.step, float):
        whole = False
    if not (ours or whole or any(isinstance(end, int) and abs(end) > 2**53 for end in (table.low, table.high))):
        table = table.model_copy(update={"low": float(table.low), "high": float(table.high)})
    if table.log and table.low <= 0:
        mistakes.append(
            f"low must be > 0 when log = true, but is {as_toml(table.low)}. Use a small positive number, e.g. "
            f"{1 if whole else '1e-5'}."
        )
        low: Value = table.low
    else:
        low = checked_value(name, table.low, "low", mistakes, ours=ours)
    high = checked_value(name, table.high, "high", mistakes, ours=ours)
    if len(mistakes) == before and table.low > table.high:
        mistakes.append(f"low must be <= high, which is {as_toml(table.high)}, but is {as_toml(table.low)}. Swap them.")
    if table.log and table.step is not None:
        mistakes.append("step and log = true don't go together. Leave one of them out.")
    elif table.step is not None:
        _check_step(table, table.step, whole, mistakes)
    return table.model_copy(update={"low": low, "high": high})


def _check_step(table: Range, step: int | float, whole: bool, mistakes: list[str]) -> None:
    if whole and not isinstance(step, int):
        mistakes.append(f"step must be a whole number, but is {as_toml(step)}.")
    elif step <= 0:
        mistakes.append(f"step must be > 0, but is {as_toml(step)}.")
    elif mistakes:
        return  # its bounds are none
    elif table.high - table.low > MOST_STEPS * step:
        mistakes.append(
            f"step = {as_toml(step)} makes more than {MOST_STEPS:,} values. Leave it out, or make it larger."
        )
    elif _beyond_grid(table.high, table.low, step):
        # Optuna would lower `high` and only warn of it: whoever wrote 50 would never see 50 tried.
        exact = Decimal(str(table.high)) - _beyond_grid(table.high, table.low, step)
        last = as_toml(int(exact) if whole else float(exact))
        mistakes.append(
            f"step = {as_toml(step)} doesn't lead from low = {as_toml(table.low)} to high = {as_toml(table.high)}: the "
            f"largest value would be {last}. Use high = {last}, or another step."
        )


def _beyond_grid(value: int | float, low: int | float, step: int | float) -> Decimal:
    """How far `value` lies above the grid `low + n * step`, reckoned in decimals as Optuna does."""
    return (Decimal(str(value)) - Decimal(str(low))) % Decimal(str(step))


def contains(parameter: Parameter, value: Value) -> bool:
    """Whether `value` can come out of `parameter`."""
    if isinstance(parameter, Choices):
        return value in parameter.choices
    if isinstance(parameter, Range):
        if isinstance(value, (str, tuple)) or not parameter.low <= value <= parameter.high:
            return False
        return parameter.step is None or not _beyond_grid(value, parameter.low, parameter.step)
    return value == parameter and isinstance(value, bool) == isinstance(parameter, bool)


def is_whole(parameter: Range) -> bool:
    """Whether what comes out of it are whole numbers."""
    return isinstance(parameter.low, int) and isinstance(parameter.high, int)


def values_of(parameter: Parameter, points: int) -> tuple[Value, ...]:
    """The values that a grid takes from a parameter: all where they can be counted, else `points` evenly spaced.

    Raises OverflowError if they are more than `LARGEST_GRID`.
    """
    if isinstance(parameter, Choices):
        return parameter.choices
    if not isinstance(parameter, Range):
        return (parameter,)
    low, high, whole = parameter.low, parameter.high, is_whole(parameter)
    step = parameter.step or (1 if whole and high - low < points and not parameter.log else None)
    if step is not None:
        if (high - low) / step > LARGEST_GRID:
            raise OverflowError
        exact = [Decimal(str(low)) + index * Decimal(str(step)) for index in range(int((high - low) / step + 1.5))]
        within = [value for value in exact if value <= Decimal(str(high))]
        return tuple(int(value) if whole else float(value) for value in within)
    shares = [index / (points - 1) for index in range(points)]
    spaced = [low * (high / low) ** share if parameter.log else low + (high - low) * share for share in shares]
    bounded = [min(max(value, low), high) for value in spaced]  # rounding may leave the range by its last digit
    return tuple(dict.fromkeys(round(value) for value in bounded) if whole else dict.fromkeys(bounded))


def combinations(parameters: Parameters, points: int) -> list[dict[str, Value]]:
    """Every configuration of a grid, fixed values included. Raises OverflowError beyond `LARGEST_GRID` of them."""
    configurations: list[dict[str, Value]] = [{}]
    for name, parameter in parameters.items():
        if parameter is None:
            continue
        values = values_of(parameter, points)
        configurations = [
            {**configuration, **added}
            for configuration in configurations
            for added in ([{name: value} for value in values] if parameters.exists(name, configuration) else [{}])
        ]
        if len(configurations) > LARGEST_GRID:
            raise OverflowError
    return configurations


def smallest(parameter: Parameter) -> int | float:
    """The smallest number that can come out of a parameter of numbers."""
    if isinstance(parameter, Range):
        return parameter.low
    values = parameter.choices if isinstance(parameter, Choices) else (parameter,)
    return min(value for value in values if isinstance(value, (int, float)))


def largest(parameter: Parameter) -> int | float:
    """The largest number that can come out of a parameter of numbers."""
    if isinstance(parameter, Range):
        return parameter.high
    values = parameter.choices if isinstance(parameter, Choices) else (parameter,)
    return max(value for value in values if isinstance(value, (int, float)))


def described(parameter: Parameter) -> str:
    """`parameter` as a space file writes it, without options left at their defaults."""
    values = parameter.model_dump(exclude_defaults=True) if isinstance(parameter, Frozen) else parameter
    return as_toml(values)


def encode(parameter: Parameter, value: Value) -> int | float | str:
    """`value` as Optuna holds it. Its categories can't be lists: where one choice is a list, all of them become text.

    A list of one epoch, [10] (once, after epoch 10), keeps its comma, so that it is not the number 10 (every 10).
    """
    as_text = isinstance(parameter, Choices) and any(isinstance(choice, tuple) for choice in parameter.choices)
    if isinstance(value, tuple):
        return ",".join(map(str, value)) + ("," if len(value) == 1 else "")
    return str(value) if as_text else value


def decode(parameter: Choices | Range, param: Any) -> Value:
    """The value that Optuna holds as `param`. Raises KeyError if it is none of the choices."""
    if isinstance(parameter, Choices):
        return {encode(parameter, choice): choice for choice in parameter.choices}[param]
    value: Value = int(param) if is_whole(parameter) else param
    return value


def distribution(parameter: Choices | Range) -> BaseDistribution:
    """What Optuna calls the parameter."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(parameter, Choices):
        return CategoricalDistribution([encode(parameter, choice) for choice in parameter.choices])
    if is_whole(parameter):
        return IntDistribution(int(parameter.low), int(parameter.high), parameter.log, int(parameter.step or 1))
    return FloatDistribution(parameter.low, parameter.high, parameter.log, parameter.step)
