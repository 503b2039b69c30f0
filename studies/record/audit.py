"""Was pruning right? Pruned trials that were trained to their end after all, held against the study's complete ones.

What came of it is kept with the trial, in its user attribute `audit`: value (of the last planned epoch; null where
training diverged), epochs, seconds, finished. The trial itself stays pruned, with the value that it was
pruned at: neither sampler nor pruner nor the best trial learn of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from studies.record.metric import Metric
from studies.store.attributes import TRIAL_USER
from studies.store.storage import Storage

AUDIT = "audit"


@dataclass(frozen=True)
class Audited:
    """A pruned trial and what it would have come to."""

    number: int
    pruned_after: int
    """Epoch"""
    planned: int
    """Epochs"""
    value_when_pruned: float | None
    value: float | None
    """At its end; None if training diverged."""
    among_best_tenth: bool
    """At its end not worse than the worst of the best tenth of the complete trials: pruning it was wrong."""
    better_than_best: bool


@dataclass(frozen=True)
class Judgement:
    """What is known of a study's pruning."""

    pruned: int
    """Trials, audited or not"""
    audited: tuple[Audited, ...]
    best: float
    """Of the complete trials"""
    best_tenth: float
    """The worst value among the best tenth of the complete trials, of which there is at least one."""

    @property
    def wrong(self) -> int:
        return sum(trial.among_best_tenth for trial in self.audited)

    @property
    def better(self) -> int:
        return sum(trial.better_than_best for trial in self.audited)


def judge(trials: Sequence[FrozenTrial], metric: Metric) -> Judgement | None:
    """What the audits among these trials say; None if no complete trial is there to hold them against."""
    values = sorted(
        (trial.value for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None),
        reverse=not metric.smaller_is_better,
    )
    if not values:
        return None
    best, tenth = values[0], values[math.ceil(len(values) / 10) - 1]
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED]
    return Judgement(
        pruned=len(pruned),
        audited=tuple(_audited(trial, best, tenth, metric) for trial in pruned if AUDIT in trial.user_attrs),
        best=best,
        best_tenth=tenth,
    )


def _audited(trial: FrozenTrial, best: float, tenth: float, metric: Metric) -> Audited:
    audit = trial.user_attrs[AUDIT]
    reached = math.nan if audit["value"] is None else audit["value"]
    return Audited(
        number=trial.number,
        pruned_after=trial.last_step or 0,
        planned=audit["epochs"],
        value_when_pruned=trial.value,
        value=audit["value"],
        among_best_tenth=reached == tenth or metric.better(reached, tenth),
        better_than_best=metric.better(reached, best),
    )


def interval(hits: int, of: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share of which `hits` in a sample of `of` were seen (Wilson 1927)."""
    if not of:
        return 0.0, 1.0
    from scipy.stats import binomtest

    found = binomtest(hits, of).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def record(storage: Storage, trial_id: int, audit: Mapping[str, Any]) -> None:
    """Keep with a settled trial what its audit came to. Optuna's own calls refuse to write to one that is settled."""
    storage.transaction(lambda session: TRIAL_USER.write(session, trial_id, {AUDIT: dict(audit)}))
