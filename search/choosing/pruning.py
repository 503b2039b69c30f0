"""The pruner that a space file's `[pruner]` table (`space.pruners`) asks for, and the epochs that it does not judge."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from model.config import TrainConfig
from model.schedule import depends_on_epochs, milestones
from search.choosing.comparable import OverAll, over_no_epochs
from search.choosing.quiet import without_warnings
from search.space.own import OwnConfig
from search.space.pruners import (
    HyperbandSpec,
    MedianSpec,
    NoPruningSpec,
    PatientSpec,
    PauseSpec,
    PercentileSpec,
    PrunerSpec,
    ReachSpec,
    SuccessiveHalvingSpec,
    WilcoxonSpec,
)

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


def build_pruner(
    spec: PrunerSpec,
    max_epochs: int,
    *,
    accuracy: bool = True,
    epochs_of: Callable[[Mapping[str, Any]], int] | None = None,
    over_all: OverAll = over_no_epochs,
) -> BasePruner:
    """The pruner of `spec`, which follows the study's direction; `max_epochs` is the largest number a trial can have.

    `accuracy` says whether the metric is one, from 0 to 1 and maximised. Of any other, reach's margin is a share of the
    spread seen, unless it is given. `epochs_of` gives the planned epochs of a trial with these Optuna params; without
    it they are the parameter "epochs", or `max_epochs` where that is not searched. `over_all` says which trials'
    schedules depend on them.
    """
    from optuna import pruners

    if max_epochs == 1:  # a trial has ended by the time that it could be judged
        spec = NoPruningSpec()
    match spec:
        case NoPruningSpec() | PauseSpec():  # pausing is not the pruner's: see search.choosing.pausing
            return pruners.NopPruner()
        case ReachSpec():
            planned = epochs_of or (lambda params: int(params.get("epochs", max_epochs)))
            return _reach(spec.for_metric(accuracy=accuracy), planned, over_all, bounded=accuracy)
        case MedianSpec() | PercentileSpec() | PatientSpec():
            return _comparing(spec)
        case SuccessiveHalvingSpec():
            return pruners.SuccessiveHalvingPruner(
                spec.min_resource, spec.reduction_factor, spec.min_early_stopping_rate, spec.bootstrap_count
            )
        case WilcoxonSpec():
            # It says each time that a trial outlasts the best one, and that it can't prune: neither is of use.
            warnings.filterwarnings("ignore", message="WilcoxonPruner finds steps|The best trial has no intermediate")
            with without_warnings():  # experimental
                return pruners.WilcoxonPruner(p_threshold=spec.p_threshold, n_startup_steps=spec.n_startup_steps)
        case HyperbandSpec():
            return pruners.HyperbandPruner(spec.min_resource, max_epochs, spec.reduction_factor, spec.bootstrap_count)


def _reach(
    spec: ReachSpec, epochs_of: Callable[[Mapping[str, Any]], int], over_all: OverAll, *, bounded: bool
) -> BasePruner:
    from search.choosing.reach import ReachPruner

    return ReachPruner(
        epochs_of,
        spec.margin,
        spec.margin_share or 0.0,
        bounded=bounded,
        confidence=spec.confidence,
        n_warmup_steps=spec.n_warmup_steps,
        n_min_trials=spec.n_min_trials,
        over_all=over_all,
    )


def _comparing(spec: MedianSpec | PercentileSpec | PatientSpec) -> BasePruner:
    from optuna import pruners

    steps = (spec.n_startup_trials, spec.n_warmup_steps, spec.interval_steps)
    if isinstance(spec, PercentileSpec):
        return pruners.PercentilePruner(spec.percentile, *steps, n_min_trials=spec.n_min_trials)
    median = pruners.MedianPruner(*steps, n_min_trials=spec.n_min_trials)
    if isinstance(spec, MedianSpec):
        return median
    with without_warnings():  # it calls itself experimental since 2021
        return pruners.PatientPruner(median, spec.patience, spec.min_delta)


def is_spared(spec: PrunerSpec, config: TrainConfig | OwnConfig, epoch: int) -> bool:
    """Whether a trial is not judged after this epoch: it warms up, or what will lift it is near: a step, or the end of
    a schedule that falls to zero by then."""
    if isinstance(spec, NoPruningSpec | PauseSpec) or isinstance(config, OwnConfig):
        return False  # whose schedule, if it has one, nobody here knows
    steps = (config.epochs,) if depends_on_epochs(config.schedule) else milestones(config)
    near = any(
        step - min(spec.step_grace, (step - before) // 2) < epoch <= step for before, step in pairwise((0, *steps))
    )
    return near or epoch <= config.warmup_epochs
