"""Numbers as our pages write them, beside those of `studies.words`."""

from __future__ import annotations

import datetime
from typing import Any

from studies.record.metric import ACCURACY, Metric
from studies.words import number, one_line


def score(value: float | None, metric: Metric = ACCURACY) -> str:
    """A value of a metric; a dash for none."""
    return "–" if value is None else metric.shown(value)  # noqa: RUF001 - a dash


def gain(value: float, metric: Metric = ACCURACY) -> str:
    """A difference of two values, with its sign: "+0.0240"."""
    return metric.difference(value).replace("-", "\N{MINUS SIGN}", 1)


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
