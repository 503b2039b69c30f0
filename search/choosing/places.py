"""Trials as points of numbers, for models that learn from their epochs, and new ones drawn by chance."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from search.choosing.comparable import over_all_epochs, over_no_epochs
from search.choosing.drawing import coordinates, draw
from search.space.space import SearchSpace

OVERDRAWN = 8
"""So many times as many are drawn at most, where constraints leave some out."""


class Places:
    """The points of one space."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.distributions = space.distributions()
        # The parameter that is the number of epochs, if one is: what it is given is what `epochs_of` tells.
        self._epochs_name = next((name for name in self.distributions if space.epochs_of({name: -1}) == -1), None)
        self._over_all = over_all_epochs(space)
        self.timed = 1 if self._over_all is over_no_epochs else 2
        """So many numbers of a point, the first ones, are of the epoch."""
        self.most_epochs: dict[str, Any] = {}
        """The parameter that is the number of epochs, if one is, at its most."""
        if self._epochs_name is not None:
            self.most_epochs = {self._epochs_name: space.max_epochs}

    def point(self, params: Mapping[str, Any], epochs: int) -> npt.NDArray[np.float64]:
        """Hyperparameters and epochs as numbers from 0 to 1. What a trial lacks lies in the middle."""
        planned = self.space.epochs_of(params) if self._over_all(params) else epochs
        point = [math.log(planned) / math.log(max(2, self.space.max_epochs))]
        if self._over_all is not over_no_epochs:
            point.append(epochs / planned)
        for name, distribution in self.distributions.items():
            if name != self._epochs_name:
                point += coordinates(distribution, params.get(name))
        return np.array(point)

    def longest(self, params: dict[str, Any]) -> dict[str, Any]:
        """The same with the most epochs, if its first ones are then the same and constraints allow it."""
        longest = {**params, **self.most_epochs}
        return params if self._over_all(params) or self.space.broken(longest) else longest

    def drawn(self, rng: np.random.Generator, near: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
        """Points of the space by chance: near to these params, as far as there are any, else anywhere.

        They are fewer than `count` where constraints leave out more than `OVERDRAWN` times as many.
        """
        tries = (
            self.space.params(lambda name: draw(rng, self.distributions[name], near.get(name)))
            for _ in range(OVERDRAWN * count)
        )
        return list(itertools.islice((params for params in tries if not self.space.broken(params)), count))
