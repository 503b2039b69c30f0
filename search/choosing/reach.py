"""The pruner of our own: it ends a trial once the best is out of its reach."""

from __future__ import annotations

from collections.abc import Mapping

import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

_COUNTED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


class ReachPruner(BasePruner):
    """Prunes a trial that would not come near the best, though it gained from here on more than any trial before.

    At epoch e a trial that plans E epochs has its highest accuracy so far, a. Every trial that was trained for E epochs
    or more gained something between e and E: the rise of its own highest accuracy. With m the largest of those n gains,
    the trial is pruned where

        a + m (1 - confidence) ** (-1 / n) < best - margin.

    m alone is what was seen, not what is possible. Were gains spread evenly up to some t, the largest of n would be at
    most m with probability (m / t) ** n, so t lies below the bound used here with the given confidence. So the first
    trials are judged with caution, later ones by what the study has shown, and a trial with few epochs left sooner than
    one with many. Nothing else is compared: neither a trial's rank, which gets worse for everybody once a sampler has
    found the good values, nor what trials of another length came to.

    Args:
        max_epochs: the epochs of a trial for which they are no parameter.
        margin: how far below the best a trial may be expected to end, as a difference of accuracies.
        confidence: from 0 (the largest gain seen is the largest possible) to below 1.
        n_warmup_steps: no trial is pruned before this epoch.
        n_min_trials: no trial is pruned before so many others, n, were trained as long as it is to be.
    """

    def __init__(
        self,
        max_epochs: int,
        margin: float = 0.05,
        confidence: float = 0.95,
        n_warmup_steps: int = 1,
        n_min_trials: int = 1,
    ) -> None:
        self._max_epochs = max_epochs
        self._margin = margin
        self._confidence = confidence
        self._n_warmup_steps = n_warmup_steps
        self._n_min_trials = n_min_trials

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the best is out of reach for `trial`."""
        epoch = trial.last_step
        if epoch is None or epoch < self._n_warmup_steps:
            return False
        planned = int(trial.params.get("epochs", self._max_epochs))
        best, gains = 0.0, []
        for other in study.get_trials(deepcopy=False, states=_COUNTED):
            reached = other.last_step
            if other.number == trial.number or reached is None:
                continue
            best = max(best, other.intermediate_values[reached])
            if reached >= planned:
                gains.append(_highest(other.intermediate_values, planned) - _highest(other.intermediate_values, epoch))
        if len(gains) < self._n_min_trials:
            return False
        possible: float = max(gains) * (1 - self._confidence) ** (-1 / len(gains))
        return _highest(trial.intermediate_values, epoch) + possible < best - self._margin


def _highest(accuracies: Mapping[int, float], epoch: int) -> float:
    """The highest accuracy up to this epoch; 0 where nothing was reported by then."""
    return max((accuracy for step, accuracy in accuracies.items() if step <= epoch), default=0.0)
