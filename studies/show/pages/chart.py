"""A line chart as places in percent of its area, so that it fits any width without a script.

`draw` turns lines into ticks, paths and marks; ../templates/parts.html writes them as SVG, and static/pages.js reads
`readings` when a pointer or the arrow keys ask what a point is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Point = tuple[float, float]

AREA = 1000
"""Paths are in thousandths of the area, whole ones: a tenth of a pixel is lost, and half of the page's bytes."""
DECADES = 0.8
"""The least that a logarithmic axis spans: a constant learning rate has a scale too."""
HUGE = 1e300
"""What is larger would have no place: the span between two of it is no number."""
MARKED = 40
"""A line of at most so many points has a mark on each, a longer one only at its end."""


@dataclass(frozen=True)
class Line:
    """What is to be drawn. Points need not be finite: what is not is left out."""

    name: str
    points: Sequence[Point]
    look: str
    """The class that gives it colour and stroke in pages.css."""
    step: bool = False
    """A value holds until the next one."""
    dots: bool = False
    """Marks without a line."""
    quiet: bool = False
    """Not in the legend and not read out: one of many in the background."""


@dataclass(frozen=True)
class Tick:
    at: float
    """Percent of the area, from the left or the top."""
    label: str


@dataclass(frozen=True)
class Drawn:
    """A line with its places."""

    name: str
    look: str
    path: str
    marks: tuple[Point, ...]
    quiet: bool
    dots: bool


@dataclass(frozen=True)
class Chart:
    title: str
    x_label: str
    x_ticks: tuple[Tick, ...] = ()
    y_ticks: tuple[Tick, ...] = ()
    lines: tuple[Drawn, ...] = ()
    readings: str = field(default="[]")
    """JSON: of each line its name and points as [left %, top %, x, y], the last two as text."""
    summary: str = ""
    """What a screen reader says about it."""


def four_digits(value: float) -> str:
    return f"{value:.4f}"


def draw(
    title: str,
    lines: Sequence[Line],
    *,
    x_label: str,
    said: Callable[[float], str] = four_digits,
    log: bool = False,
    low: float | None = None,
) -> Chart:
    """The chart of these lines; one without ticks if there is no finite point.

    `said` is a y value as a reader sees it, `log` draws y by its logarithm (what is not positive is left out), `low`
    is a y value that is in the picture whatever the points are.
    """
    kept = [(line, [point for point in line.points if _drawable(point, log)]) for line in lines]
    kept = [(line, points) for line, points in kept if points]
    if not kept:
        return Chart(title, x_label)
    xs = [x for _, points in kept for x, _ in points]
    ys = [y for _, points in kept for _, y in points] + ([] if low is None else [low])
    left, right = _padded(min(xs), max(xs), 0.0, 0.5)
    scale: Callable[[float], float] = math.log10 if log else float
    bottom, top = _padded(scale(min(ys)), scale(max(ys)), 0.06, max(0.02, 0.01 * abs(scale(max(ys)))))
    if log and (short := DECADES - (top - bottom)) > 0:  # so that some round number has its place in it
        bottom, top = bottom - short / 2, top + short / 2
    x_at, y_at = _place(left, right), _place(top, bottom)
    y_ticks = [(scale(y), said_tick) for y, said_tick in (_log_ticks(bottom, top) if log else _ticks(bottom, top))]
    return Chart(
        title,
        x_label,
        x_ticks=tuple(Tick(x_at(x), label) for x, label in _ticks(left, right, whole=True)),
        y_ticks=tuple(Tick(y_at(y), label) for y, label in y_ticks),
        lines=tuple(_drawn(line, [(x_at(x), y_at(scale(y))) for x, y in points]) for line, points in kept),
        readings=json.dumps(
            [
                [line.name, [[_short(x_at(x)), _short(y_at(scale(y))), f"{x:g}", said(y)] for x, y in points]]
                for line, points in kept
                if not line.quiet
            ],
            separators=(",", ":"),
        ),
        summary="; ".join(f"{line.name}: {said(points[-1][1])} at {x_label} {points[-1][0]:g}"
                          for line, points in kept if not line.quiet),
    )  # fmt: skip


def _drawable(point: Point, log: bool) -> bool:
    return math.isfinite(point[0]) and abs(point[1]) < HUGE and (not log or point[1] > 0)


def _padded(low: float, high: float, share: float, least: float) -> tuple[float, float]:
    room = share * (high - low) if high > low else least
    return low - room, high + room


def _place(start: float, end: float) -> Callable[[float], float]:
    return lambda value: 100 * (value - start) / (end - start)


def _short(percent: float) -> float:
    return round(percent, 2)


def _drawn(line: Line, places: Sequence[Point]) -> Drawn:
    marks: Sequence[Point] = ()
    if not line.quiet:
        marks = places if line.dots or (len(places) <= MARKED and not line.step) else places[-1:]
    path = "" if line.dots else _path(places, line.step)
    return Drawn(line.name, line.look, path, tuple((_short(x), _short(y)) for x, y in marks), line.quiet, line.dots)


def _path(places: Sequence[Point], step: bool) -> str:
    scaled = [(round(x * AREA / 100), round(y * AREA / 100)) for x, y in places]
    words = [f"M{scaled[0][0]} {scaled[0][1]}"]
    for x, y in scaled[1:]:
        words.append(f"H{x}V{y}" if step else f"L{x} {y}")
    return "".join(words)


def _ticks(low: float, high: float, *, whole: bool = False) -> list[tuple[float, str]]:
    """Round values between two bounds, about five, and how they are written."""
    step = 10 ** math.floor(math.log10((high - low) / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (factor * step) <= 6)
    if whole:
        step = max(1, round(step))
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    values = [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    many = digits > 6 or max(map(abs, values), default=0.0) >= 1e7
    return [(value, f"{value:g}" if many else f"{value:.{digits}f}") for value in values]


def _log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Powers of ten between two logarithms; where they are few, their doubles and fives as well."""
    factors = (1, 2, 5) if high - low < 2 else (1,)
    powers = range(math.floor(low), math.ceil(high) + 1)
    values = [factor * 10.0**power for power in powers for factor in factors]
    return [(value, f"{value:g}") for value in values if low - 1e-9 <= math.log10(value) <= high + 1e-9]


def sparkline(points: Sequence[Point], x_end: float, low: float, high: float) -> str:
    """A small curve without axes, x from 1 to `x_end`, as the path of a square area; empty without two points."""
    finite = [(x, y) for x, y in points if math.isfinite(y)]
    if len(finite) < 2:
        return ""
    bottom, top = _padded(low, high, 0.1, 0.5)
    x_at, y_at = _place(1, max(x_end, 2)), _place(top, bottom)
    return _path([(x_at(x), y_at(y)) for x, y in finite], step=False)
