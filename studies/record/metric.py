"""What a study's trials are measured by: what it is called, which way is better, and how its values are written.

It stands in the study's stored space: in its table `train` if the training is the user's own. Every other study
trains a network on images and has the validation accuracy, to be maximised.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from studies.words import one_line

Direction = Literal["maximize", "minimize"]
Kind = Literal["alexnet", "network", "own"]

UNNAMED = "value"
"""What that of another program's study is called, and written with four digits behind the point, as an accuracy is."""
MANY = 1e4
"""From here on digits behind the point say nothing."""


@dataclass(frozen=True)
class Metric:
    """A number that each epoch of a trial reports, and that a complete trial has as its value."""

    name: str = "val_accuracy"
    direction: Direction = "maximize"

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> Metric:
        """The metric of a study of ours that has these user attributes."""
        train = _table(attributes, "train")
        if not train:
            return cls()
        name, direction = train.get("metric"), train.get("direction")
        return cls(
            name if isinstance(name, str) and name else cls.name,
            "minimize" if direction == "minimize" else "maximize",
        )

    @property
    def is_accuracy(self) -> bool:
        """Whether it is a share of images or other examples, as its name says: only such is ever shown as percent."""
        return self.name.lower().rsplit("_", 1)[-1] in ("accuracy", "acc")

    @property
    def smaller_is_better(self) -> bool:
        return self.direction == "minimize"

    @property
    def title(self) -> str:
        """What sentences and axes call it: val_accuracy is "validation accuracy", any other goes by its own name."""
        return "validation accuracy" if self.name == "val_accuracy" else one_line(self.name)

    @property
    def heading(self) -> str:
        """The same where a word of ours begins with a capital; the user's own name stays as it is."""
        return self.title.capitalize() if self.name in ("val_accuracy", UNNAMED) else self.title

    @property
    def best_word(self) -> str:
        """ "highest" or "lowest"."""
        return "lowest" if self.smaller_is_better else "highest"

    def better(self, one: float, other: float) -> bool:
        """Whether `one` is better than `other`; never if either is NaN."""
        return one < other if self.smaller_is_better else one > other

    def best(self, values: Iterable[float]) -> float | None:
        """The best of the finite `values`; None if there is none."""
        finite = [value for value in values if math.isfinite(value)]
        return (min if self.smaller_is_better else max)(finite, default=None)

    def ahead(self, one: float, other: float) -> float:
        """How much better `one` is than `other`: negative if it is worse."""
        return other - one if self.smaller_is_better else one - other

    def shown(self, value: float) -> str:
        """A value as it is read: an accuracy as "0.6100", any other with four digits that count."""
        if (self.is_accuracy or self.name == UNNAMED) and math.isfinite(value) and abs(value) < MANY:
            return f"{value:.4f}"
        return significant(value)

    def difference(self, value: float) -> str:
        """A difference of two values with its sign: "+0.0240"."""
        sign = "-" if value < 0 else "+"
        return sign + self.shown(abs(value))

    def share(self, value: float) -> str:
        """A value where there is room for few letters: an accuracy from 0 to 1 as "61.00%", any other as `shown`."""
        return f"{value:.2%}" if self.in_percent([value]) else self.shown(value)

    def in_percent(self, values: Iterable[float]) -> bool:
        """Whether these values may be written as percent. An accuracy of 61.3 is in percent already."""
        return self.is_accuracy and all(0 <= value <= 1 for value in values if math.isfinite(value))


ACCURACY = Metric()
"""What every network on images is measured by."""


def significant(value: float, digits: int = 4) -> str:
    """A number with so many digits that count: "0.01235", "12.35", "1235", "123457", "1.235e+06"."""
    if math.isfinite(value) and 10 ** (digits - 1) <= abs(value) < 1e6:
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


class Trains(NamedTuple):
    """What a study trains."""

    kind: Kind
    text: str
    """As the space names it: "train.py:train", "mynet.py:build", "./train"; "AlexNet"."""


def trains(attributes: Mapping[str, Any]) -> Trains:
    """What a study of ours with these user attributes trains: the AlexNet, a network of one's own, or all one's own."""
    if train := _table(attributes, "train"):
        command = train.get("command")
        words = [str(word) for word in command] if isinstance(command, list | tuple) else []
        return Trains("own", one_line(shlex.join(words) if words else str(train.get("function", ""))))
    if model := _table(attributes, "model"):
        return Trains("network", one_line(str(model.get("network", ""))))
    return Trains("alexnet", "AlexNet")


def _table(attributes: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A table of the stored space; empty if it has none."""
    space = attributes.get("space")
    table = space.get(name) if isinstance(space, Mapping) else None
    return table if isinstance(table, Mapping) else {}
