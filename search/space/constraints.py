"""Which configurations of a space are left out: the `[constraints]` table of a space file.

    [constraints]
    keep = ["batch_size * epochs <= 4096", "0.1 <= dropout / momentum < 1"]

Each is a comparison of arithmetic over parameters: + - * / // % **, brackets and numbers. They are a list in a table of
its own, since a list by itself would belong to whatever table happens to stand above it. Where a parameter that a
comparison names does not exist in a trial (`when`), the comparison does not apply to it; where it can't be reckoned, as
where it divides by 0, it is not met.

Nothing of Python's is reached: the text is parsed, what is none of the above is refused, and the rest is reckoned here,
in floats. So 10**10**10 overflows at once, where an evaluator of whole numbers would go on for ever.
"""

from __future__ import annotations

import ast
import itertools
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from pydantic import Field, field_validator

from model.config import Frozen
from search.base.mistakes import closest, sentences
from search.base.toml import as_toml
from search.space.parameters import Choices, Parameters, Range, Value, combinations, is_whole
from search.space.samplers import GridSpec, SamplerSpec
from studies.words import listed

LONGEST = 500
TRIES = 10_000
"""So many points all over a space are looked at before it is said that nothing in it is allowed ..."""
CORNERS = 4_096
"""... and at most so many of those at which each parameter has its first or its last value."""

_ARITHMETIC: Mapping[type[ast.AST], Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: math.pow,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_COMPARISONS: Mapping[type[ast.AST], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_PARTS = (ast.BinOp, ast.UnaryOp, ast.Name, ast.Load, *_ARITHMETIC, *_COMPARISONS)


@dataclass(frozen=True)
class Constraint:
    """A comparison that was found to be one."""

    text: str
    compared: ast.Compare
    names: tuple[str, ...]
    """Of the parameters in it."""

    def met(self, values: Mapping[str, Value]) -> bool:
        """Whether a configuration meets it. Where one of its parameters is missing, it does."""
        try:
            return self.reckoned(values)
        except ArithmeticError:
            return False

    def reckoned(self, values: Mapping[str, Value]) -> bool:
        """The same. Raises ArithmeticError, with the reason, if it can't be reckoned with these values."""
        if any(name not in values for name in self.names):
            return True
        sides = [_number(side, values) for side in (self.compared.left, *self.compared.comparators)]
        return all(
            _COMPARISONS[type(sign)](left, right)
            for sign, (left, right) in zip(self.compared.ops, itertools.pairwise(sides), strict=True)
        )


def _number(node: ast.expr, values: Mapping[str, Value]) -> float:
    try:
        match node:
            case ast.Constant(value=int() | float() as value):
                return float(value)
            case ast.Name(id=name):
                return float(values[name])  # type: ignore[arg-type]
            case ast.UnaryOp(op=sign, operand=inner):
                return _ARITHMETIC[type(sign)](_number(inner, values))
            case ast.BinOp(op=sign, left=left, right=right):
                return _ARITHMETIC[type(sign)](_number(left, values), _number(right, values))
    except ZeroDivisionError:
        raise ArithmeticError("it divides by 0") from None
    except OverflowError:
        raise ArithmeticError("a number in it is too large") from None
    except ValueError:  # of `math.pow`
        raise ArithmeticError("a power in it is none: of 0, or of a number below it") from None
    raise TypeError(node)


@lru_cache(maxsize=256)
def parsed(text: str) -> Constraint:
    """The comparison that a text is. Raises ValueError, with the end of a sentence about the text, if it is none."""
    if len(text) > LONGEST:
        raise ValueError(f"must have at most {LONGEST} letters, but has {len(text)}.")
    try:
        compared = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError('is no comparison that can be read. Write one as in "batch_size * epochs <= 4096".') from None
    if not isinstance(compared, ast.Compare):  # of what is written, not of what was passed
        raise ValueError(  # noqa: TRY004
            'compares nothing. Write a comparison, as in "batch_size * epochs <= 4096".'
        )
    for node in ast.walk(compared):
        if isinstance(node, ast.Constant):
            if type(node.value) not in (int, float):
                raise ValueError(f"has {ast.unparse(node)[:80]} in it, which is no number. Only numbers are compared.")
        elif node is not compared and not isinstance(node, _PARTS):
            shown = as_toml(ast.unparse(node), 80) if isinstance(node, ast.expr) else type(node).__name__.lower()
            raise ValueError(
                f"has {shown} in it. Only numbers, parameters whose names are plain words, brackets, + - * / // % ** "
                "and < <= > >= == != can be used."
            )
    names = dict.fromkeys(node.id for node in ast.walk(compared) if isinstance(node, ast.Name))
    if not names:
        raise ValueError("names no parameter.")
    return Constraint(text, compared, tuple(names))


class ConstraintsSpec(Frozen):
    """The `[constraints]` table."""

    keep: Annotated[tuple[str, ...], Field(min_length=1, max_length=100, examples=[["batch_size * epochs <= 4096"]])]
    """Comparisons, all of which a configuration must meet to be tried."""

    @field_validator("keep")
    @classmethod
    def _are_comparisons(cls, keep: tuple[str, ...]) -> tuple[str, ...]:
        mistakes = []
        for number, text in enumerate(keep, 1):
            try:
                parsed(text)
            except ValueError as error:
                mistakes.append(f"item {number}, {as_toml(text, 80)}, {error}")
        if mistakes:
            raise sentences(mistakes)
        return keep

    def all(self) -> tuple[Constraint, ...]:
        """The comparisons, ready to be asked."""
        return tuple(map(parsed, self.keep))

    def broken(self, values: Mapping[str, Value]) -> list[str]:
        """The texts of those that a configuration, or as much as is known of it, does not meet."""
        return [each.text for each in self.all() if not each.met(values)]


def points(parameters: Parameters) -> Iterator[dict[str, Value]]:
    """Configurations all over a space: `TRIES` that fill it evenly, then its corners, of which at most `CORNERS`.

    The former are Roberts' sequence (2018, "The Unreasonable Effectiveness of Quasirandom Sequences").
    """
    searched = [name for name, each in parameters.items() if isinstance(each, (Choices, Range))]
    root = 2.0
    for _ in range(40):  # the one above 1 of x ** (dimensions + 1) = x + 1
        root = (1 + root) ** (1 / (len(searched) + 1))
    steps = [root ** -(place + 1) % 1 for place in range(len(searched))]
    for index in range(TRIES):
        yield _configuration(parameters, [(0.5 + index * step) % 1 for step in steps], searched)
    for corner in itertools.islice(itertools.product((0.0, math.nextafter(1, 0)), repeat=len(searched)), CORNERS):
        yield _configuration(parameters, corner, searched)


def _configuration(parameters: Parameters, shares: Sequence[float], searched: Sequence[str]) -> dict[str, Value]:
    share_of = dict(zip(searched, shares, strict=True))
    values: dict[str, Value] = {}
    for name, each in parameters.items():
        if each is not None and parameters.exists(name, values):
            values[name] = _at(each, share_of[name]) if isinstance(each, (Choices, Range)) else each
    return values


def _at(parameter: Choices | Range, share: float) -> Value:
    """The value that lies so far, from 0 to below 1, through a parameter's values."""
    if isinstance(parameter, Choices):
        return parameter.choices[int(share * len(parameter.choices))]
    low, high = parameter.low, parameter.high
    if parameter.log:
        value: float = min(high, low * (high / low) ** share)
        return round(value) if is_whole(parameter) else value
    step = parameter.step or (1 if is_whole(parameter) else None)
    if step is None:
        return low + (high - low) * share
    return min(high, low + step * int(share * (round((high - low) / step) + 1)))


def mistaken(
    spec: ConstraintsSpec,
    parameters: Parameters,
    sampler: SamplerSpec | None,
    baselines: Mapping[str, Mapping[str, Value]],
) -> list[str]:
    """What is wrong between `[constraints]` and the other tables, a sentence each, with its place in front.

    `baselines` are whole configurations, each by its place.
    """
    lines = []
    for number, each in enumerate(spec.all(), 1):
        where = f"[constraints.keep]: item {number}, {as_toml(each.text, 80)},"
        for name in each.names:
            if parameters.get(name) is None:
                known = closest(name, [other for other, entry in parameters.items() if entry is not None])
                lines.append(f"{where} names {name}, which is not in [space].{known}")
            elif not _is_of_numbers(parameters[name]):
                lines.append(f"{where} names {name}, whose values are not all numbers. Compare others, or use when.")
    if lines:
        return lines
    for place, values in baselines.items():
        for each in spec.all():
            if not each.met(values):
                has = listed([f"{name} is {as_toml(values[name])}" for name in each.names])
                lines.append(
                    f"{place}: is left out by [constraints], {as_toml(each.text, 80)}: {has}. Change one of the two."
                )
    return lines + _met_nowhere(spec, parameters, sampler)


def _is_of_numbers(parameter: object) -> bool:
    values = parameter.choices if isinstance(parameter, Choices) else (parameter,)
    return isinstance(parameter, Range) or all(isinstance(value, (int, float)) for value in values)


def _met_nowhere(spec: ConstraintsSpec, parameters: Parameters, sampler: SamplerSpec | None) -> list[str]:
    tried: Iterable[Mapping[str, Value]] = points(parameters)
    of = ""
    if isinstance(sampler, GridSpec):
        try:
            tried, of = combinations(parameters, sampler.points), " of the grid"
        except OverflowError:  # told elsewhere
            return []
    unmet, reasons, count = list(spec.all()), dict[str, str](), 0
    for values in tried:
        count += 1
        if not spec.broken(values):
            return []
        for each in tuple(unmet):
            try:
                if each.reckoned(values):
                    unmet.remove(each)
            except ArithmeticError as error:
                reasons[each.text] = str(error)
    looked = f"none of {count:,} configurations{of} that were looked at"
    lines = [
        f"[constraints.keep]: {as_toml(each.text, 80)} is met by {looked}"
        + (f", and in some {reasons[each.text]}" if each.text in reasons else "")
        + ". Loosen it, or widen [space]."
        for each in unmet
    ]
    return lines or [f"[constraints]: all of them together are met by {looked}. Loosen one, or widen [space]."]
