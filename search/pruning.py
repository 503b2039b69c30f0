"""Which of Optuna's pruners a study uses, from the `[pruner]` table of its space file.

A trial reports val_accuracy with the epoch as its step, counted from 1. Trials of one study may have different numbers
of epochs, and that is what the defaults here are about:

* median and percentile compare a trial with all complete trials that reached the same epoch. Where a single longer
  trial did, it is the whole comparison, and every later trial a hair worse is pruned there: `n_min_trials = 5` asks for
  five before anybody is judged.
* hyperband guesses its largest number of epochs from the first complete trial unless told, and then places its rungs
  wrongly for every longer one: it is told the largest the space allows.
* successive halving's `min_resource` is likewise a number here and never "auto".
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from model.config import Frozen

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

Count = Annotated[int, Field(ge=0, le=1_000_000, strict=True)]
CountFromOne = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
Factor = Annotated[int, Field(ge=2, le=1_000, strict=True)]


class _Comparing(Frozen):
    """What the pruners that compare a trial with the complete ones have in common."""

    n_startup_trials: Count = 5
    """No trial is pruned before so many are complete."""
    n_warmup_steps: Count = 2
    """No trial is pruned before this epoch."""
    interval_steps: CountFromOne = 1
    """A trial is judged every so many epochs."""
    n_min_trials: CountFromOne = 5
    """A trial is judged at an epoch only if so many complete trials reached it."""


class MedianSpec(_Comparing):
    """Prunes a trial whose best accuracy so far is below the median of the complete trials at this epoch."""

    name: Literal["median"] = "median"


class PercentileSpec(_Comparing):
    """The same with another percentile: 25 keeps the best quarter."""

    name: Literal["percentile"] = "percentile"
    percentile: Annotated[float, Field(ge=0, le=100)] = 25.0


class PatientSpec(_Comparing):
    """The median's verdict, given only once the last `patience` + 1 epochs all stayed below the best before them."""

    name: Literal["patient"] = "patient"
    patience: Count = 2
    min_delta: Annotated[float, Field(ge=0, le=1)] = 0.0


class SuccessiveHalvingSpec(Frozen):
    """Asynchronous successive halving (ASHA): at each rung only the best 1 / `reduction_factor` go on."""

    name: Literal["successive_halving"] = "successive_halving"
    min_resource: CountFromOne = 1
    """Epochs before the first rung."""
    reduction_factor: Factor = 4
    min_early_stopping_rate: Annotated[int, Field(ge=0, le=100, strict=True)] = 0
    bootstrap_count: Count = 0


class HyperbandSpec(Frozen):
    """Several brackets of successive halving, from impatient to patient."""

    name: Literal["hyperband"] = "hyperband"
    min_resource: CountFromOne = 1
    """Epochs before the first rung of the most impatient bracket."""
    reduction_factor: Factor = 3
    bootstrap_count: Count = 0


class NoPruningSpec(Frozen):
    """Every trial runs to its last epoch."""

    name: Literal["none"] = "none"


PrunerSpec = Annotated[
    MedianSpec | PercentileSpec | PatientSpec | SuccessiveHalvingSpec | HyperbandSpec | NoPruningSpec,
    Field(discriminator="name"),
]


def build_pruner(spec: PrunerSpec, max_epochs: int) -> BasePruner:
    """The Optuna pruner of `spec`, for a study that maximizes; `max_epochs` is the largest number a trial can have."""
    from optuna import pruners

    match spec:
        case NoPruningSpec():
            return pruners.NopPruner()
        case MedianSpec() | PatientSpec():
            median = pruners.MedianPruner(
                spec.n_startup_trials, spec.n_warmup_steps, spec.interval_steps, n_min_trials=spec.n_min_trials
            )
            if isinstance(spec, MedianSpec):
                return median
            with warnings.catch_warnings():  # it calls itself experimental since 2021
                warnings.simplefilter("ignore")
                return pruners.PatientPruner(median, spec.patience, spec.min_delta)
        case PercentileSpec():
            return pruners.PercentilePruner(
                spec.percentile,
                spec.n_startup_trials,
                spec.n_warmup_steps,
                spec.interval_steps,
                n_min_trials=spec.n_min_trials,
            )
        case SuccessiveHalvingSpec():
            return pruners.SuccessiveHalvingPruner(
                spec.min_resource, spec.reduction_factor, spec.min_early_stopping_rate, spec.bootstrap_count
            )
        case HyperbandSpec():
            return pruners.HyperbandPruner(spec.min_resource, max_epochs, spec.reduction_factor, spec.bootstrap_count)
