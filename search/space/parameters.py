"""One hyperparameter of a space: a fixed value, choices, or a range; read, checked, and asked of an Optuna trial.

    batch_size    = 32
    schedule      = { choices = ["constant", "step"] }
    learning_rate = { low = 1e-5, high = 0.1, log = true }
    epochs        = { low = 5, high = 50, step = 5 }

What a value may be is written in `model.config.TrainConfig` alone: every fixed value, choice and bound is put into one
and validated there.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from model.config import (
    BEYOND,
    DECAY_OPTIMIZERS,
    MOMENTUM_OPTIMIZERS,
    Augmentation,
    Frozen,
    Optimizer,
    Schedule,
    TrainConfig,
)
from search.base.mistakes import findings, sentences
from search.base.toml import as_toml

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

Value = int | float | str | tuple[int, ...]

NAMES = ("batch_size", "learning_rate", "schedule", "epochs", "step_epochs", "step_factor", *BEYOND)
"""The parameters in the order in which a trial is asked for them: each before what depends on it."""
WHOLE = frozenset({"batch_size", "epochs", "step_epochs", "warmup_epochs"})
WORDS: Mapping[str, tuple[str, ...]] = {
    "schedule": get_args(Schedule),
    "optimizer": get_args(Optimizer),
    "augmentation": get_args(Augmentation),
}
DEPENDENT: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "step_epochs": ("schedule", ("step",)),
    "step_factor": ("schedule", ("step",)),
    "momentum": ("optimizer", MOMENTUM_OPTIMIZERS),
    "weight_decay": ("optimizer", DECAY_OPTIMIZERS),
}
"""Parameters that exist only where another one has one of these values."""
NEEDED: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("schedule", "step"): ("step_epochs", "step_factor"),
    ("optimizer", "nesterov"): ("momentum",),
    ("optimizer", "adamw"): ("weight_decay",),
}
"""Parameters that a space must have where another one can have this value."""
DEFAULTS: Mapping[str, Value] = {name: TrainConfig.model_fields[name].default for name in ("schedule", *BEYOND)}
"""What a space that doesn't name them has: the report's values."""

LARGEST_GRID = 100_000
MOST_STEPS = 1_000_000_000
"""Of a range with a step: decimals are exact so far."""
LARGEST_WHOLE = 2**31 - 1  # Optuna keeps parameters as floats, which hold every whole number only up to 2**53

_PLAIN: dict[str, Any] = {"batch_size": 1, "learning_rate": 0.1, "epochs": 100_000}
_STEP: dict[str, Any] = {**_PLAIN, "schedule": "step", "step_epochs": 1, "step_factor": 0.5}
_BASES: Mapping[str, dict[str, Any]] = {"step_epochs": _STEP, "step_factor": _STEP}


class Choices(Frozen):
    """One of these values, without an order."""

    choices: tuple[Value, ...]


class Range(Frozen):
    """Any value from `low` to `high`, both included; whole numbers where the parameter is one."""

    low: int | float
    high: int | float
    log: bool = False
    """Sample the logarithm evenly, so that 0.001 to 0.01 is as likely as 0.01 to 0.1."""
    step: int | float | None = None
    """Only `low`, `low + step`, `low + 2 * step` ..."""


Parameter = Choices | Range | Value


def parse_parameter(name: str, raw: object) -> Parameter:
    """`raw`, as TOML or JSON gives it (lists as tuples), as a checked parameter with its values in their own type.

    Raises a pydantic error of whole sentences, all that is wrong with this parameter at once.
    """
    mistakes: list[str] = []
    parameter: Parameter = 0
    if isinstance(raw, (Choices, Range)):
        raw = raw.model_dump(exclude_none=True)
    if isinstance(raw, dict):
        kind: type[Choices | Range] = Choices if "choices" in raw else Range
        try:
            table = kind.model_validate(raw, strict=True)
        except ValidationError as error:
            raise sentences([finding.sentence() for finding in findings(error, kind)]) from None
        check = _checked_choices if isinstance(table, Choices) else _checked_range
        parameter = check(name, table, mistakes)  # type: ignore[arg-type]
    elif isinstance(raw, tuple) and name != "step_epochs":
        mistakes.append(
            f"must be one value, but is a list. For a choice write {name} = {as_toml({'choices': raw}, 60)}."
        )
    else:
        parameter = checked_value(name, raw, name, mistakes)
    if mistakes:
        raise sentences(mistakes)
    return parameter


def checked_value(name: str, raw: object, called: str, mistakes: list[str]) -> Value:
    """`raw` as the value of hyperparameter `name`, in its own type; what is wrong goes to `mistakes`."""
    base = _STEP if raw == "step" else _BASES.get(name, _PLAIN)
    try:
        value: Value = getattr(TrainConfig.model_validate({**base, name: raw}, strict=True), name)
    except ValidationError as error:
        found = findings(error, TrainConfig)
        mistakes += [
            finding.sentence(finding.name.replace(name, called)) for finding in found if finding.keys[:1] == (name,)
        ]
        return 0
    largest = max(value, default=0) if isinstance(value, tuple) else value
    if name in WHOLE and isinstance(largest, int) and largest > LARGEST_WHOLE:
        mistakes.append(f"{called} must be <= {LARGEST_WHOLE}, but is {as_toml(value)}.")
    return value


def _checked_choices(name: str, table: Choices, mistakes: list[str]) -> Choices:
    if not table.choices:
        mistakes.append("choices must not be empty. Give at least one value.")
    called = [f"item {number} of choices" for number in range(1, len(table.choices) + 1)]
    before = len(mistakes)
    values = [checked_value(name, raw, place, mistakes) for raw, place in zip(table.choices, called, strict=True)]
    if len(mistakes) == before:
        for number, value in enumerate(values):
            if value in values[:number]:
                mistakes.append(f"choices has {as_toml(value)} twice. Leave one out.")
    return Choices(choices=tuple(values))


def _checked_range(name: str, table: Range, mistakes: list[str]) -> Range:
    if name in WORDS:
        example = as_toml({"choices": WORDS[name][:2]})
        mistakes.append(f"must be a fixed value or choices, as in {example}, but is a range.")
        return table
    before = len(mistakes)
    if table.log and table.low <= 0:
        mistakes.append(
            f"low must be > 0 when log = true, but is {as_toml(table.low)}. Use a small positive number, e.g. "
            f"{1 if name in WHOLE else '1e-5'}."
        )
        low: Value = table.low
    else:
        low = checked_value(name, table.low, "low", mistakes)
    high = checked_value(name, table.high, "high", mistakes)
    if len(mistakes) == before and table.low > table.high:
        mistakes.append(f"low must be <= high, which is {as_toml(table.high)}, but is {as_toml(table.low)}. Swap them.")
    if table.log and table.step is not None:
        mistakes.append("step and log = true don't go together. Leave one of them out.")
    elif table.step is not None:
        _check_step(name, table, table.step, mistakes)
    return table.model_copy(update={"low": low, "high": high})


def _check_step(name: str, table: Range, step: int | float, mistakes: list[str]) -> None:
    if name in WHOLE and not isinstance(step, int):
        mistakes.append(f"step must be a whole number, but is {as_toml(step)}.")
    elif step <= 0:
        mistakes.append(f"step must be > 0, but is {as_toml(step)}.")
    elif table.high - table.low > MOST_STEPS * step:
        mistakes.append(
            f"step = {as_toml(step)} makes more than {MOST_STEPS:,} values. Leave it out, or make it larger."
        )
    elif not mistakes and _beyond_grid(table.high, table.low, step):
        # Optuna would lower `high` and only warn of it: whoever wrote 50 would never see 50 tried.
        exact = Decimal(str(table.high)) - _beyond_grid(table.high, table.low, step)
        last = as_toml(int(exact) if name in WHOLE else float(exact))
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
    return value == parameter


def values_of(parameter: Parameter, name: str, points: int) -> tuple[Value, ...]:
    """The values that a grid takes from a parameter: all where they can be counted, else `points` evenly spaced.

    Raises OverflowError where they are more than `LARGEST_GRID`.
    """
    if isinstance(parameter, Choices):
        return parameter.choices
    if not isinstance(parameter, Range):
        return (parameter,)
    low, high = parameter.low, parameter.high
    step = parameter.step or (1 if name in WHOLE and high - low < points and not parameter.log else None)
    if step is not None:
        if (high - low) / step > LARGEST_GRID:
            raise OverflowError
        exact = [Decimal(str(low)) + index * Decimal(str(step)) for index in range(int((high - low) / step + 1.5))]
        within = [value for value in exact if value <= Decimal(str(high))]
        return tuple(int(value) if name in WHOLE else float(value) for value in within)
    shares = [index / (points - 1) for index in range(points)]
    spaced = [low * (high / low) ** share if parameter.log else low + (high - low) * share for share in shares]
    bounded = [min(max(value, low), high) for value in spaced]  # rounding may leave the range by its last digit
    return tuple(dict.fromkeys(round(value) for value in bounded) if name in WHOLE else dict.fromkeys(bounded))


def combinations(parameters: Mapping[str, Parameter | None], points: int) -> list[dict[str, Value]]:
    """Every configuration of a grid, fixed values included. Raises OverflowError beyond `LARGEST_GRID` of them."""
    configurations: list[dict[str, Value]] = [{}]
    for name, parameter in parameters.items():
        if parameter is None:
            continue
        values = values_of(parameter, name, points)
        configurations = [
            {**configuration, **added}
            for configuration in configurations
            for added in ([{name: value} for value in values] if applies(name, configuration) else [{}])
        ]
        if len(configurations) > LARGEST_GRID:
            raise OverflowError
    return configurations


def applies(name: str, values: Mapping[str, Value]) -> bool:
    """Whether parameter `name` exists in a configuration that has these values so far."""
    if name not in DEPENDENT:
        return True
    parent, allowed = DEPENDENT[name]
    return values.get(parent, DEFAULTS[parent]) in allowed


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


def suggest(parameter: Parameter, name: str, trial: BaseTrial) -> Value:
    """The value that `trial` takes. A fixed one is not asked of it."""
    if isinstance(parameter, Choices):
        values: dict[int | float | str | None, Value] = {
            encode(parameter, choice): choice for choice in parameter.choices
        }
        return values[trial.suggest_categorical(name, list(values))]
    if not isinstance(parameter, Range):
        return parameter
    if name in WHOLE:
        return trial.suggest_int(
            name, int(parameter.low), int(parameter.high), step=int(parameter.step or 1), log=parameter.log
        )
    return trial.suggest_float(name, parameter.low, parameter.high, step=parameter.step, log=parameter.log)
