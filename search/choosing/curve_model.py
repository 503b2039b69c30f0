"""A Gaussian process over the courses of trials that knows which epochs belong to one trial.

The covariance of what two trials report after some epoch has four parts (after Swersky, Snoek and Adams 2014,
"Freeze-Thaw Bayesian Optimization"): what their hyperparameters and epochs have in common (Matern 5/2, a length scale
a dimension), how steeply trials with such hyperparameters rise (a power of the epoch, times Matern 5/2), what is
particular to one trial (Matern 5/2 over the logarithm of the epoch, 0 between two trials), and noise. So a trial that
does better than its neighbours is expected to go on doing so, and one after a few epochs to rise as others did.

Its few numbers are those of the largest posterior density, found on at most `FITTED` observations: that is what makes
it quick enough to be asked after every epoch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

FITTED = 100
"""The numbers of the covariance are found on so many observations at most."""
FIT_STEPS = 25
LOG_SCALE, LOG_SCALE_VARIANCE = math.sqrt(2), 3.0
"""Of the logarithm of a length scale: mean, to which half the logarithm of the number of dimensions is added, and
variance (Hvarfner, Hellsten and Nardi 2024)."""
SHARES = (0.5, 0.5, 0.1, 0.01)
"""Variance of the four parts before anything is seen ..."""
OWN_SCALE = 0.5
"""... and the length scale of what is particular to a trial, where 1 is from the first epoch to the last."""
SHARE_BOUNDS = ((0.01, 10), (0.01, 10), (1e-3, 3), (1e-4, 1), (0.1, 5))
SHARE_VARIANCE = 1.0
"""Of the logarithm of each of these."""
JITTER = 1e-6


@dataclass(frozen=True)
class Points:
    """Places at which trials are observed or asked about, n of them."""

    places: Floats
    """Shape (n, dimensions): hyperparameters and epoch, about from 0 to 1."""
    ages: Floats
    """Shape (n,): the logarithm of the epoch, 1 at the last that a trial may have."""
    owners: Whole
    """Shape (n,): the number of the trial; a negative one for one that is not begun."""
    rises: Floats
    """Shape (n,): how far a usual course has risen by then, from 0 before the first epoch to 1 at the last."""
    timed: int
    """So many of the dimensions, the first ones, are of the epoch."""

    def __len__(self) -> int:
        return len(self.ages)

    def at(self, which: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Points:
        """Some of them."""
        return Points(self.places[which], self.ages[which], self.owners[which], self.rises[which], self.timed)

    def and_then(self, more: Points) -> Points:
        """These and more."""
        return Points(
            np.vstack([self.places, more.places]),
            np.concatenate([self.ages, more.ages]),
            np.concatenate([self.owners, more.owners]),
            np.concatenate([self.rises, more.rises]),
            self.timed,
        )


@dataclass(frozen=True)
class Covariance:
    """The numbers that say how alike two observations are."""

    scales: Floats
    """Length scale of each dimension."""
    common: float
    rise: float
    own: float
    noise: float
    own_scale: float

    def between(self, left: Points, right: Points) -> Floats:
        """Shape (left, right), without noise."""
        near = _squares((left.places / self.scales)[:, left.timed :], (right.places / self.scales)[:, left.timed :])
        when = _squares((left.places / self.scales)[:, : left.timed], (right.places / self.scales)[:, : left.timed])
        shared = self.common * _matern(near + when)
        shared += self.rise * np.outer(left.rises, right.rises) * _matern(near)
        same = (left.owners[:, None] == right.owners[None, :]) & (left.owners[:, None] >= 0)
        if same.any():
            rows, columns = np.nonzero(same)
            apart = (left.ages[rows] - right.ages[columns]) / self.own_scale
            shared[rows, columns] += self.own * _matern(apart**2)
        return shared


class CurveModel:
    """What is expected after the observations of `values` at `points`."""

    def __init__(self, points: Points, values: Floats, covariance: Covariance, middle: float, spread: float) -> None:
        from scipy.linalg import cho_factor, cho_solve

        self.covariance, self.middle, self.spread = covariance, middle, spread
        self._points, self._values = points, (values - middle) / spread
        matrix = covariance.between(points, points)
        matrix[np.diag_indices_from(matrix)] += covariance.noise + JITTER
        self._factor = cho_factor(matrix, lower=True, check_finite=False)
        self._weights = cho_solve(self._factor, self._values, check_finite=False)

    def predict(self, points: Points) -> tuple[Floats, Floats]:
        """Mean and standard deviation at each point of what a trial is worth there, without noise.

        Of a trial that is not begun without what will be particular to it, too: that is luck, which nobody can seek.
        """
        from scipy.linalg import solve_triangular

        cross = self.covariance.between(self._points, points)
        mean = cross.T @ self._weights
        half = solve_triangular(self._factor[0], cross, lower=True, check_finite=False)
        own = np.where(points.owners < 0, 0.0, self.covariance.own)
        variance = (
            self.covariance.common + self.covariance.rise * points.rises**2 + own - np.einsum("ij,ij->j", half, half)
        )
        deviation = np.sqrt(np.maximum(variance, 1e-10))
        return self.middle + self.spread * mean, self.spread * deviation

    def believing(self, points: Points) -> CurveModel:
        """The same as if each of these points had been observed at its mean."""
        if not len(points):
            return self
        values = np.concatenate([self.middle + self.spread * self._values, self.predict(points)[0]])
        return CurveModel(self._points.and_then(points), values, self.covariance, self.middle, self.spread)


def fit(points: Points, values: Floats, rng: np.random.Generator) -> CurveModel:
    """The model of these observations, `values` of shape (n,), n >= 1."""
    middle, spread = float(values.mean()), float(values.std()) or 1.0
    chosen = np.arange(len(points))
    if len(points) > FITTED:
        chosen = np.sort(rng.permutation(len(points))[:FITTED])
    covariance = _fitted(points.at(chosen), (values[chosen] - middle) / spread)
    return CurveModel(points, values, covariance, middle, spread)


def _fitted(points: Points, values: Floats) -> Covariance:
    from scipy.linalg.lapack import dpotrf, dpotri
    from scipy.optimize import minimize

    count, dimensions = points.places.shape
    columns = np.ascontiguousarray(points.places.T)
    apart = (columns[:, :, None] - columns[:, None, :]) ** 2
    flat = apart.reshape(dimensions, -1)
    same = points.owners[:, None] == points.owners[None, :]
    aged = (points.ages[:, None] - points.ages[None, :]) ** 2
    risen, timed = np.outer(points.rises, points.rises), points.timed
    mean = np.array([LOG_SCALE + math.log(dimensions) / 2] * dimensions + [math.log(x) for x in (*SHARES, OWN_SCALE)])
    variance = np.array([LOG_SCALE_VARIANCE] * dimensions + [SHARE_VARIANCE] * 5)
    diagonal = np.diag_indices(count)

    def objective(theta: Floats) -> tuple[float, Floats]:
        inverse_squares = np.exp(-2 * theta[:dimensions])
        common, rise, own, noise, own_scale = np.exp(theta[dimensions:])
        root = np.sqrt(5 * (inverse_squares @ flat)).reshape(count, count)
        decay = np.exp(-root)
        shared = common * (1 + root + root**2 / 3) * decay
        near = np.sqrt(5 * (inverse_squares[timed:] @ flat[timed:])).reshape(count, count)
        near_decay = np.exp(-near)
        rising = rise * risen * (1 + near + near**2 / 3) * near_decay
        own_root = np.sqrt(5 * aged) / own_scale
        own_decay = np.exp(-own_root)
        particular = own * same * (1 + own_root + own_root**2 / 3) * own_decay
        matrix = shared + rising + particular
        matrix[diagonal] += noise + JITTER
        lower, failed = dpotrf(matrix, lower=1)
        if failed:
            return 1e10, np.zeros_like(theta)
        inverse, _ = dpotri(lower, lower=1)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        weights = inverse @ values
        off = theta - mean
        value = 0.5 * values @ weights + np.log(np.diag(lower)).sum() + 0.5 * (off**2 / variance).sum()
        slope = 0.5 * (inverse - np.outer(weights, weights))
        along = slope * (common * 5 / 3 * (1 + root) * decay)
        scaled = flat @ along.ravel()
        scaled[timed:] += flat[timed:] @ (slope * (rise * 5 / 3 * risen * (1 + near) * near_decay)).ravel()
        gradient = np.concatenate(
            [
                scaled * inverse_squares,
                [
                    (slope * shared).sum(),
                    (slope * rising).sum(),
                    (slope * particular).sum(),
                    noise * np.trace(slope),
                    (slope * (own * same * own_root**2 / 3 * (1 + own_root) * own_decay)).sum(),
                ],
            ]
        )
        return float(value), gradient + off / variance

    bounds = [(math.log(0.05), math.log(100.0))] * dimensions
    bounds += [
        (math.log(low), math.log(high)) for low, high in ((0.01, 10), (0.01, 10), (1e-3, 3), (1e-4, 1), (0.1, 5))
    ]
    start = mean.copy()
    start[:dimensions] = np.minimum(math.log(3.0), mean[:dimensions])
    found = minimize(objective, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": FIT_STEPS})
    common, rise, own, noise, own_scale = (float(x) for x in np.exp(found.x[dimensions:]))
    return Covariance(np.exp(found.x[:dimensions]), common, rise, own, noise, own_scale)


def _squares(left: Floats, right: Floats) -> Floats:
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None, :] - 2 * left @ right.T
    return np.asarray(np.maximum(squares, 0.0))


def _matern(squares: Floats) -> Floats:
    root = np.sqrt(5 * squares)
    return np.asarray((1 + root + root**2 / 3) * np.exp(-root))
