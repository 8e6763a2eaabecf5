"""Cheap regressions that choose coordinates: right where they can be, (0, 100) where they cannot."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats
from scipy.special import expit, polygamma

from bayes_her2.bayesian.starting import cheap_regression, log_shape

USELESS = (0.0, 100.0)


def design(n: int, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"intercept": 1.0, "slope": rng.normal(size=n), "hr": np.arange(n) % 2})


def rows(table: pd.DataFrame) -> dict[str, tuple[float, float]]:
    return {str(name): (row["estimate"], row["variance"]) for name, row in table.iterrows()}


def test_binomial_estimate_and_variance_are_the_maximum_and_its_curvature():
    x = design(200)
    matrix = x.to_numpy()
    y = (np.random.default_rng(2).random(200) < expit(matrix @ [0.3, 0.8, -0.5])).astype(float)
    table = cheap_regression(y, x, family="binomial")

    def negative(beta):
        return -stats.bernoulli.logpmf(y, expit(matrix @ beta)).sum()

    best = optimize.minimize(negative, np.zeros(3), method="BFGS").x
    p = expit(matrix @ best)
    information = (matrix * (p * (1 - p))[:, None]).T @ matrix
    np.testing.assert_allclose(table["estimate"], best, atol=1e-4)
    np.testing.assert_allclose(table["variance"], np.diag(np.linalg.inv(information)), rtol=1e-3)


def test_gamma_estimate_is_the_maximum_whatever_the_shape():
    x = design(150)
    matrix = x.to_numpy()
    mean = np.exp(matrix @ [-3.0, 0.4, 0.3])
    y = np.random.default_rng(3).gamma(2.0, mean / 2.0)
    table = cheap_regression(y, x, family="gamma")

    def negative(beta):
        return -stats.gamma.logpdf(y, 2.0, scale=np.exp(matrix @ beta) / 2.0).sum()

    best = optimize.minimize(negative, [-3.0, 0.0, 0.0], method="BFGS").x
    np.testing.assert_allclose(table["estimate"], best, atol=1e-4)
    # Unscaled covariance of a log link is (X'X)^-1, times the dispersion 1 / shape.
    expected = np.diag(np.linalg.inv(matrix.T @ matrix)) / 2.0
    np.testing.assert_allclose(table["variance"], expected, rtol=0.35)


def test_a_separated_outcome_has_no_usable_coordinate():
    x = pd.DataFrame({"intercept": 1.0, "slope": np.linspace(-1, 1, 30)})
    table = cheap_regression((x["slope"] > 0).to_numpy(float), x, family="binomial")
    assert rows(table)["slope"] == USELESS


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_outcome_that_never_varies_has_none(value):
    table = cheap_regression(np.full(30, value), design(30), family="binomial")
    assert set(rows(table).values()) == {USELESS}


def test_a_column_that_does_not_vary_is_left_out_and_the_others_stay():
    x = design(80).assign(hr=0.0)
    y = (np.random.default_rng(4).random(80) < 0.5).astype(float)
    found = rows(cheap_regression(y, x, family="binomial"))
    assert found["hr"] == USELESS
    assert found["slope"] != USELESS
    assert found["intercept"] != USELESS


def test_too_few_rows_or_dependent_columns_have_none():
    x = design(40)
    y = np.random.default_rng(5).gamma(2.0, 0.05, size=40)
    assert set(rows(cheap_regression(y[:4], x.iloc[:4], family="gamma")).values()) == {USELESS}
    doubled = x.assign(twice=2 * x["slope"])
    assert set(rows(cheap_regression(y, doubled, family="gamma")).values()) == {USELESS}
    assert set(rows(cheap_regression(y[:0], x.iloc[:0], family="gamma")).values()) == {USELESS}


def test_nothing_beyond_the_bounds_is_used():
    # One zero in 3 tumours of 60 leaves a slope with a variance above 4.
    x = pd.DataFrame({"intercept": 1.0, "rare": (np.arange(60) < 2).astype(float)})
    y = np.r_[0.0, np.ones(29), np.zeros(30)]
    table = cheap_regression(y, x, family="binomial")
    usable = table[table["variance"] < 100]
    assert (usable["variance"] <= 4).all()
    assert (usable["estimate"].abs() <= 6).all()


def test_log_shape_is_the_maximum_likelihood_one():
    rng = np.random.default_rng(6)
    mean = np.exp(rng.normal(-3, 0.5, size=400))
    y = rng.gamma(2.5, mean / 2.5)

    def negative(log_phi):
        return -stats.gamma.logpdf(y, np.exp(log_phi), scale=mean / np.exp(log_phi)).sum()

    best = optimize.minimize_scalar(negative, bounds=(-3, 5), method="bounded", options={"xatol": 1e-8}).x
    estimate, variance = log_shape(y, mean)
    assert estimate == pytest.approx(best, abs=1e-6)
    # Observed information by a central difference, and the closed form 1 / (n (phi^2 psi'(phi) - phi)).
    step = 1e-3
    curvature = (negative(best + step) - 2 * negative(best) + negative(best - step)) / step**2
    phi = np.exp(best)
    assert variance == pytest.approx(1 / curvature, rel=1e-3)
    assert variance == pytest.approx(1 / (400 * (phi**2 * polygamma(1, phi) - phi)), rel=1e-6)


@pytest.mark.parametrize("y", [[], [0.1, 0.2], [0.1] * 20], ids=["none", "two", "constant"])
def test_log_shape_of_too_few_or_constant_amounts_is_unknown(y):
    y = np.array(y, dtype=float)
    assert log_shape(y, np.full(len(y), 0.1)) == USELESS
