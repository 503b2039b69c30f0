"""Which of Optuna's pruners a study uses, from the `[pruner]` table of its space file.

A trial reports val_accuracy with the epoch as its step, counted from 1. Trials of one study may have different numbers
of epochs and schedules, and what is unfair to some of them is kept out:

* reach, the default, asks how much a trial can still gain in the epochs that it has left, and so is fair to trials of
  any length; see `search.choosing.reach`. tests/benchmarks/curve_replay.py is the evidence that it was chosen by.
* pause prunes nothing while it searches: it has trials wait; see `search.choosing.pausing`.
* All others compare a trial at an epoch with trials that reached the same epoch, never with where others ended.
* median and percentile compare with all complete trials that reached it. Where a single longer trial did, it is the
  whole comparison, and every later trial a hair worse is pruned there: `n_min_trials = 5` asks for five before anybody
  is judged.
* hyperband guesses its largest number of epochs from the first complete trial unless told, and then places its rungs
  wrongly for every longer one: it is told the largest the space allows.
* successive halving's `min_resource` is likewise a number here and never "auto".
* Accuracy leaps once the learning rate steps down, so that a trial looks its worst just before it does: in its last
  `step_grace` epochs before a step, and while it warms up, no trial is judged, whatever the pruner.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from model.config import Frozen
from search.base.mistakes import sentences
from search.space.budget import Count, CountFromOne

Factor = Annotated[int, Field(ge=2, le=1_000, strict=True)]


MARGIN_SHARE = 0.1
"""The share of the spread seen that reach takes as its margin where the metric is no accuracy."""


class _Judging(Frozen):
    """What all pruners have in common."""

    step_grace: Count = 2
    """No trial is judged in so many epochs before its learning rate steps down (at most in half of those from one step
    to the next, or trials that step often would never be)."""


class ReachSpec(_Judging):
    """Prunes a trial that would end well below the best even if it gained more than any trial from here on."""

    name: Literal["reach"] = "reach"
    margin: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = 0.05
    """How far from the best a trial may be expected to end, in the metric's own unit: 0.05 are five points of accuracy.
    None for a share of the spread seen. The default is meant for accuracies: see `for_metric`."""
    margin_share: Annotated[float, Field(ge=0, le=1)] | None = None
    """The same as a share of how far the best lies from the median trial."""
    confidence: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """How sure to be that no trial can gain more. The fewer were seen, the larger a gain beyond theirs is allowed."""
    n_warmup_steps: Count = 1
    """No trial is pruned before this epoch."""
    n_min_trials: CountFromOne = 1
    """A trial is judged only if so many others were trained for as many epochs as it is to be."""

    @model_validator(mode="before")
    @classmethod
    def _one_margin(cls, raw: object) -> object:
        if not isinstance(raw, dict) or raw.get("margin_share") is None:
            return raw
        if raw.get("margin") is not None:
            raise sentences(["margin and margin_share are one too many. Leave one of them out."])
        return {**raw, "margin": None}

    def for_metric(self, *, accuracy: bool) -> ReachSpec:
        """What is meant where no margin was given: `margin` as it is for an accuracy, else `MARGIN_SHARE`.

        To be asked of what a file says. What is stored should be its answer, since that names its margin.
        """
        if accuracy or self.margin is None or "margin" in self.model_fields_set:
            return self
        return self.model_copy(update={"margin": None, "margin_share": MARGIN_SHARE})


class _Comparing(_Judging):
    """What the pruners that compare a trial with the complete ones at its epoch have in common."""

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
    min_delta: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """By how much an epoch has to be better to be something new, in the metric's own unit."""


class SuccessiveHalvingSpec(_Judging):
    """Asynchronous successive halving (ASHA): at each rung only the best 1 / `reduction_factor` go on."""

    name: Literal["successive_halving"] = "successive_halving"
    min_resource: CountFromOne = 1
    """Epochs before the first rung."""
    reduction_factor: Factor = 4
    min_early_stopping_rate: Annotated[int, Field(ge=0, le=100, strict=True)] = 0
    bootstrap_count: Count = 0


class HyperbandSpec(_Judging):
    """Several brackets of successive halving, from impatient to patient."""

    name: Literal["hyperband"] = "hyperband"
    min_resource: CountFromOne = 1
    """Epochs before the first rung of the most impatient bracket."""
    reduction_factor: Factor = 3
    bootstrap_count: Count = 0


class WilcoxonSpec(_Judging):
    """Prunes a trial whose epochs so far are below the same ones of the best trial, by Wilcoxon's signed-rank test.

    The test is meant for values that do not depend on each other, which epochs do: it is strict with slow learners.
    """

    name: Literal["wilcoxon"] = "wilcoxon"
    p_threshold: Annotated[float, Field(ge=0, le=1)] = 0.1
    """It is pruned where so large a difference would be rarer than this by chance."""
    n_startup_steps: Count = 8
    """No trial is pruned before it shares so many epochs with the best."""


class PauseSpec(Frozen):
    """Pauses trials, and goes on with those that promise most: see `search.choosing.pausing`."""

    name: Literal["pause"] = "pause"


class NoPruningSpec(Frozen):
    """Every trial runs to its last epoch."""

    name: Literal["none"] = "none"


PrunerSpec = Annotated[
    ReachSpec
    | MedianSpec
    | PercentileSpec
    | PatientSpec
    | SuccessiveHalvingSpec
    | HyperbandSpec
    | WilcoxonSpec
    | PauseSpec
    | NoPruningSpec,
    Field(discriminator="name"),
]
