"""The likelihood of `gp`'s process, against scikit-learn's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from search.choosing.likelihood import log_likelihood


@pytest.mark.parametrize(("points", "dimensions", "noise"), [(1, 1, 0.03), (2, 3, 1e-3), (60, 1, 0.3), (90, 11, 0.01)])
def test_value_and_slope_are_those_of_scikit_learn(points: int, dimensions: int, noise: float) -> None:
    random = np.random.default_rng(points)
    inputs, values = random.random((points, dimensions)), random.standard_normal(points)
    inputs[points // 2] = inputs[0]  # two trials with the same values
    scales = np.geomspace(0.05, 100.0, dimensions)
    kernel = ConstantKernel(0.7) * Matern(scales, nu=2.5) + WhiteKernel(noise)
    oracle = GaussianProcessRegressor(kernel, optimizer=None).fit(inputs, values)
    value, slope = oracle.log_marginal_likelihood(kernel.theta, eval_gradient=True)
    found = log_likelihood(kernel.theta, inputs, values)
    assert found[0] == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(found[1], slope, rtol=1e-6, atol=1e-7 * abs(slope).max())


def test_covariance_that_rounding_has_spoilt_is_as_unlikely_as_can_be() -> None:
    inputs = np.zeros((50, 1))
    value, slope = log_likelihood(np.array([40.0, 0.0, -40.0]), inputs, np.arange(50.0))
    assert value == -math.inf
    assert not slope.any()
