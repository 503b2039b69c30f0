"""The sampler of our own: a Gaussian process that learns from the course of every trial.

Other samplers see one value a trial, and of a pruned one next to nothing. Here the epoch is an input like the
hyperparameters: since the learning rate of an epoch does not depend on how many are to follow, the first epochs of a
long trial are what a shorter one with the same values would have been. So a trial of 24 epochs tells what 6 and 12
would have come to, one that was pruned after 3 tells what it came to after 3, and both tell something about 24.

Not so under a schedule that depends on the planned epochs (`search.choosing.comparable`). If a space has one, the part
of its epochs that a trial has done is an input too: epoch 6 of 24 is then a quarter of the way through a trial of 24,
and tells nothing about one of 6. Of any other trial each epoch is the end of one that is so long.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from threadpoolctl import threadpool_limits

from search.choosing.designs import quasi_random
from search.choosing.likelihood import log_likelihood
from search.choosing.places import Places
from search.space.space import SearchSpace

if TYPE_CHECKING:
    from sklearn.gaussian_process import GaussianProcessRegressor

Floats = npt.NDArray[np.float64]

CANDIDATES = 500
"""How many points of the whole space are looked at for the next trial ..."""
NEIGHBOURS = 50
"""... and how many around each of the best `BEST` trials."""
BEST = 5
MOST_POINTS = 300
"""More observations are not fitted, since that takes their number cubed: the best half and the latest half remain."""
SHARES = (1.0, 0.5, 0.25)
"""After which parts of its epochs a trial is observed."""
FIT_STEPS = 30
LOG_SCALE, LOG_SCALE_VARIANCE = math.sqrt(2), 3.0
"""Of the logarithm of a length scale, before anything is seen: mean, to which half the logarithm of the number of
dimensions is added, and variance (Hvarfner, Hellsten and Nardi 2024, "Vanilla Bayesian Optimization Performs Great in
High Dimensions"). Without it a dozen trials look as if the smallest change of a parameter could change everything."""


class CurveSampler(BaseSampler):
    """Proposes where a Gaussian process of (hyperparameters, epochs) expects the largest improvement.

    Matern 5/2 with one length scale a dimension, expected improvement over the best posterior mean (Jones, Schonlau and
    Welch 1998) and, for trials that still run, the process' own mean as if they had ended with it (the "kriging
    believer" of Ginsbourger, Le Riche and Carraro 2010). The first `n_startup_trials` are points of Sobol's sequence.
    """

    _also: tuple[TrialState, ...] = ()
    """States it learns from besides; if any, it plans for the most epochs and passes luck over (`PausingSampler`)."""

    def __init__(self, space: SearchSpace, number: int, seed: int, attempt: int, n_startup_trials: int) -> None:
        self._space = space
        self._places = Places(space)
        self._rng = np.random.default_rng(seed)
        self._attempt = attempt
        self._n_startup_trials = n_startup_trials
        self._number = number
        self.expected_gain: float | None = None
        """How much better than the best so far it expects its proposal to be, in the metric's unit, were nothing of a
        result left to chance; None if it had nothing to go by."""

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All that is searched, whether this trial will have it or not."""
        del study, trial
        return self._places.distributions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The point of the largest expected improvement; none while there is little to go by."""
        del search_space
        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, *self._also)
        trials = [t for t in study.get_trials(deepcopy=False, states=states) if t.number != trial.number and t.params]
        seen = [t for t in trials if t.intermediate_values or t.state != TrialState.RUNNING]
        if len(trials) < self._n_startup_trials or len(seen) < 2:
            return self._most_epochs()
        inputs, values = self._observations(seen, study.direction)
        if not len(inputs):
            return {}
        process = self._fitted(inputs, values)
        planned = np.array([self._places.point(t.params, self._space.epochs_of(t.params)) for t in seen])
        means = process.predict(planned)
        running = [t for t in trials if t.state == TrialState.RUNNING]
        if running:
            pending = np.array([self._places.point(t.params, self._space.epochs_of(t.params)) for t in running])
            process = self._with(
                process.kernel_, np.vstack([inputs, pending]), np.append(values, process.predict(pending))
            )
        best = sorted(range(len(seen)), key=lambda index: -means[index])[:BEST]
        draws = self._places.drawn(self._rng, {}, CANDIDATES)
        for index in best:
            draws += self._places.drawn(self._rng, seen[index].params, NEIGHBOURS)
        if not draws:
            return {}
        if self._also:
            draws = [self._places.longest(params) for params in draws]
        if not self._space.study.repeats:
            tried = {_as_key(t.params) for t in trials}
            draws = [params for params in draws if _as_key(params) not in tried] or draws
        points = np.array([self._places.point(params, self._space.epochs_of(params)) for params in draws])
        expected, deviations = process.predict(points, return_std=True)
        gain = _expected_improvement(expected, deviations, float(means.max()))
        noise = process.kernel_.k2.noise_level * process._y_train_std**2  # else repeating the best would promise a gain
        certain = np.sqrt(np.maximum(deviations**2 - noise, 1e-18))
        without_luck = _expected_improvement(expected, certain, float(means.max()))
        self.expected_gain = float(without_luck.max())
        order = np.argsort(-(without_luck if self._also else gain))
        return draws[int(order[min(self._attempt, len(order) - 1)])]

    def _most_epochs(self) -> dict[str, Any]:
        """What is decided of the trials that the study begins with."""
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A point of the sequence that the study begins with."""
        return self._start.sample_independent(study, trial, param_name, param_distribution)

    @cached_property
    def _start(self) -> BaseSampler:
        return quasi_random(self._space, self._number, self._attempt, "sobol")

    def _observations(self, trials: Sequence[FrozenTrial], direction: StudyDirection) -> tuple[Floats, Floats]:
        """Points, and how good what was observed there is: the larger, the better, whatever the study's direction."""
        found = [(trial, epoch, value) for trial in trials for epoch, value in self._observed(trial).items()]
        goodness = np.array([value for _, _, value in found])
        if direction == StudyDirection.MINIMIZE:
            goodness = -goodness
        outputs = np.where(np.isfinite(goodness), goodness, _worst(goodness[np.isfinite(goodness)]))
        if len(outputs) > MOST_POINTS:
            half = MOST_POINTS // 2
            kept = np.unique([*np.argsort(-outputs)[:half], *range(len(outputs) - half, len(outputs))])
            found, outputs = [found[index] for index in kept], outputs[kept]
        inputs = np.array([self._places.point(trial.params, epoch) for trial, epoch, _ in found])
        # How bad the bad ones are says nothing about where the best are, and would stretch the scale.
        return inputs, np.maximum(outputs, _floor(outputs))

    def _observed(self, trial: FrozenTrial) -> dict[int, float]:
        """What a trial came to after which of its planned epochs, in order; not a number if it failed for what it was.

        What a trial without a plan reports is passed over: it is learnt from what that comes to in the end.
        """
        reported, planned = trial.intermediate_values, self._space.epochs_of(trial.params)
        after = {max(1, math.ceil(share * (trial.last_step or 0))) for share in SHARES}
        observed = {epoch: reported[epoch] for epoch in sorted(after) if epoch in reported and epoch <= planned}
        if trial.state == TrialState.COMPLETE or not reported:  # it may have taken over another's result
            observed[planned] = math.nan if trial.value is None else trial.value
        return observed

    def _fitted(self, inputs: Floats, values: Floats) -> GaussianProcessRegressor:
        from scipy.optimize import minimize
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        dimensions = inputs.shape[1]
        expected = LOG_SCALE + math.log(dimensions) / 2
        normalized = (values - values.mean()) / (values.std() or 1.0)  # as `normalize_y` does

        def loss(theta: Floats) -> tuple[float, Floats]:
            value, gradient = log_likelihood(theta, inputs, normalized)
            off = theta[1 : 1 + dimensions] - expected  # between the constant's and the noise's logarithm
            slope = np.concatenate([[0.0], off, [0.0]]) / LOG_SCALE_VARIANCE
            return float(off @ off) / (2 * LOG_SCALE_VARIANCE) - value, slope - gradient

        scales = np.full(dimensions, min(3.0, math.exp(expected)))
        kernel = ConstantKernel(1.0, (0.1, 10.0)) * Matern(scales, (0.05, 100.0), nu=2.5)
        kernel += WhiteKernel(0.03, (1e-3, 0.3))
        with threadpool_limits(1, "blas"):  # more threads wait for each other
            best = minimize(loss, kernel.theta, jac=True, bounds=kernel.bounds, options={"maxiter": FIT_STEPS})
        return self._with(kernel.clone_with_theta(best.x), inputs, values)

    def _with(self, kernel: Any, inputs: Floats, values: Floats) -> GaussianProcessRegressor:
        from sklearn.gaussian_process import GaussianProcessRegressor

        return GaussianProcessRegressor(kernel, optimizer=None, normalize_y=True).fit(inputs, values)


def _as_key(params: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    """Equal for equal values; a choice may be a list."""
    return frozenset((name, tuple(value) if isinstance(value, list) else value) for name, value in params.items())


def _worst(seen: Floats) -> float:
    """What counts as the result of a trial that failed for what it was, where the others came to `seen`.

    0 if these may be accuracies, the least of which it is; else as bad as the worst of them, and at least as far below
    their median as the best is above it.
    """
    if np.all((seen >= 0) & (seen <= 1)):
        return 0.0
    return float(min(seen.min(), _floor(seen)))


def _floor(goodness: Floats) -> float:
    """As far below the median as the best is above it."""
    middle, top = np.median(goodness), goodness.max()
    return float(middle - (top - middle))


def _expected_improvement(means: Floats, deviations: Floats, best: float) -> Floats:
    from scipy.stats import norm

    z = (means - best) / deviations
    return np.asarray((means - best) * norm.cdf(z) + deviations * norm.pdf(z))
