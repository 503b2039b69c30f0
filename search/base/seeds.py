"""Every random stream of the search, each from the study's or the trial's seed and a number that no other stream has.

A key is told apart from its seed (`spawn_key` of NumPy's SeedSequence), so that no two streams share their numbers: as
plain entropy, `[7, 2]` and `[7, 2, 0]` are the same. The streams of one training are in `model.network` (weights) and
`model.program` (order of the images, augmentation, dropout).
"""

from __future__ import annotations

import numpy as np

_SAMPLER, _TRAINING, _FRESH, _GRID, _SEQUENCE, _AUDIT = range(6)


def sampler_seed(study_seed: int, number: int, attempt: int = 0) -> int:
    """The sampler's seed for trial `number`; `attempt` counts from 0 how often it was asked for that trial before."""
    return _derived(study_seed, _SAMPLER, number, attempt)


def training_seed(study_seed: int, number: int) -> int:
    """The seed of trial `number`'s weights, image order and dropout."""
    return _derived(study_seed, _TRAINING, number)


def fresh_seed(seed: int, index: int) -> int:
    """The `index`-th seed, from 0, of those that train a configuration again which the search trained with `seed`.

    No trial of the search had it, so nothing was chosen by what it brings.
    """
    return _derived(seed, _FRESH, index)


def grid_order(study_seed: int, points: int) -> list[int]:
    """The order in which the points of a grid are taken."""
    return _order(study_seed, _GRID, points)


def audit_order(study_seed: int, trials: int) -> list[int]:
    """The order in which pruned trials are audited."""
    return _order(study_seed, _AUDIT, trials)


def scrambling(study_seed: int, attempt: int = 0) -> np.random.Generator:
    """What scrambles the quasi-random sequence of a study, or that of a later attempt."""
    key = (_SEQUENCE, attempt) if attempt else (_SEQUENCE,)
    return np.random.default_rng(np.random.SeedSequence(study_seed, spawn_key=key))


def _order(seed: int, stream: int, count: int) -> list[int]:
    random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream,)))
    return [int(index) for index in random.permutation(count)]


def _derived(seed: int, *key: int) -> int:
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1)[0])
