"""Numbers as our pages write them, beside those of `studies.words`."""

from __future__ import annotations

import datetime
import math
from typing import Any

from studies.words import number, one_line


def score(value: float | None) -> str:
    """An accuracy or another objective with four digits; a dash for none."""
    if value is None:
        return "–"  # noqa: RUF001 - a dash
    return f"{value:.4f}" if math.isfinite(value) and abs(value) < 1e4 else f"{value:.4g}"


def gain(value: float) -> str:
    """A difference of two scores, with its sign: "+0.0240"."""
    return f"{value:+.4f}".replace("-", "\N{MINUS SIGN}")


def plain(value: Any) -> str:
    """A value of a configuration or a record."""
    if isinstance(value, dict):
        return ", ".join(f"{one_line(str(key))} {plain(each)}" for key, each in value.items())
    return (
        {True: "yes", False: "no", None: "none"}[value]
        if value is None or value is True or value is False
        else number(value)
    )


def count(number: float) -> str:
    """A whole number with its thousands separated: "12,400"."""
    return f"{number:,.0f}"


def plural(number: int, one: str) -> str:
    """ "1 trial", "3 trials"."""
    return f"{count(number)} {one if number == 1 else one + 's'}"


def moment(when: datetime.datetime | None) -> str:
    """A time of day with its date; Optuna's times are local and without a zone."""
    return "" if when is None else when.strftime("%Y-%m-%d %H:%M:%S")
