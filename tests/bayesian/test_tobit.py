"""The censored latent abundance against scipy: density, mean, draws, cheap regression, estimands."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from pytensor.compile.mode import get_mode
from scipy import integrate, stats
from scipy.optimize import minimize

from bayes_her2.bayesian.starting import cheap_tobit
from bayes_her2.bayesian.tobit import TobitDensity, mean_of_positive_square, tobit_node

PLAIN = get_mode("FAST_COMPILE").excluding("fusion")


def example(seed: int = 1):
    rng = np.random.default_rng(seed)
    eta = rng.normal(0.5, 1.5, size=(40, 4))
    log_sd = rng.normal(-2.3, 0.3, size=(3, 4))
    cohort = rng.integers(0, 3, size=40)
    y = np.maximum(0.0, np.exp(log_sd)[cohort] * (eta + rng.normal(size=eta.shape))) ** 2
    y[0, 0], y[1, 0], eta[1, 0], eta[2, 0], y[2, 0] = 1e-7, 0.0, 4.5, 30.0, 0.0
    return eta, log_sd, cohort, y


def node(eta, log_sd, cohort, y, modelled=None) -> pm.Model:
    with pm.Model(coords={"tumour": np.arange(y.shape[0]), "cell": np.arange(y.shape[1])}) as model:
        tobit_node(
            "abundance",
            eta=eta,
            log_sd=log_sd,
            group_idx=cohort,
            observed=y,
            modelled=np.ones_like(y) if modelled is None else modelled,
            dims=("tumour", "cell"),
        )
    return model


def density(model: pm.Model) -> np.ndarray:
    (found,) = model.compile_logp(vars=model.observed_RVs, sum=False, mode=PLAIN)({})
    return np.asarray(found)


def of_scipy(eta, sd, y):
    """Log density from the definition: a normal square root, and what lies below 0 in one point."""
    root = np.sqrt(np.where(y > 0, y, 1.0))
    seen = stats.norm(sd * eta, sd).logpdf(root) - np.log(2 * root)
    return np.where(y > 0, seen, stats.norm(sd * eta, sd).logcdf(0.0))


def test_graph_and_numbers_have_scipys_density_zeros_included():
    eta, log_sd, cohort, y = example()
    expected = of_scipy(eta, np.exp(log_sd)[cohort], y)
    np.testing.assert_allclose(density(node(eta, log_sd, cohort, y)), expected, rtol=1e-9)
    numbers = TobitDensity().log_density("latent", y, eta, log_sd[cohort])
    np.testing.assert_allclose(numbers, expected, rtol=1e-9)
    modelled = (np.random.default_rng(2).random(y.shape) < 0.5).astype(float)
    np.testing.assert_allclose(
        density(node(eta, log_sd, cohort, y, modelled)), expected * modelled, rtol=1e-9
    )


def test_the_density_of_positives_and_the_mass_at_zero_add_up_to_one():
    for eta in (-1.5, 0.0, 2.0):
        area, _ = integrate.quad(
            lambda root, eta=eta: 2 * root * np.exp(of_scipy(eta, 0.1, root**2)), 1e-9, 1.0, limit=200
        )
        assert area + stats.norm.cdf(-eta) == pytest.approx(1.0, abs=1e-6)


def test_the_mean_is_the_integral_and_random_draws_have_it():
    for eta in (-2.0, 0.3, 4.0):
        expected, _ = integrate.quad(lambda u, eta=eta: u**2 * stats.norm.pdf(u, eta), 0, eta + 12)
        assert mean_of_positive_square(np.array(eta)) == pytest.approx(expected, rel=1e-8)
    eta, log_sd, cohort, y = example()
    drawn = pm.draw(node(eta, log_sd, cohort, y)["abundance"], draws=4000, random_seed=3, mode=PLAIN)
    sd = np.exp(log_sd)[cohort]
    z = (drawn.mean(axis=0) - sd**2 * mean_of_positive_square(eta)) / np.maximum(
        drawn.std(axis=0) / np.sqrt(4000), 1e-12
    )
    usual = np.abs(eta) < 2.5  # where a zero or a positive is no rarity
    assert np.abs(z[usual]).max() < 4.5
    assert np.abs((drawn == 0).mean(axis=0) - stats.norm.cdf(-eta)).max() < 4.5 * np.sqrt(0.25 / 4000)


def test_the_gradient_is_finite_far_out_and_right_near_by():
    y = np.array([[0.0, 0.01]])
    with pm.Model(coords={"tumour": [0], "cell": [0, 1]}) as model:
        eta = pm.Flat("eta", shape=(1, 2))
        tobit_node(
            "abundance",
            eta=eta,
            log_sd=np.full((1, 2), -2.0),
            group_idx=np.array([0]),
            observed=y,
            modelled=np.ones_like(y),
            dims=("tumour", "cell"),
        )
    slope = model.compile_dlogp(mode=PLAIN)
    for at in (-60.0, -1.0, 0.5, 19.0, 21.0, 300.0):
        found = slope({"eta": np.full((1, 2), at)})
        # d log Phi(-x) / dx = -phi(x) / Phi(-x)
        expected = -np.exp(stats.norm.logpdf(at) - stats.norm.logcdf(-at))
        assert found[0] == pytest.approx(expected, rel=1e-6, abs=1e-12)
        assert found[1] == pytest.approx(0.1 / np.exp(-2.0) - at, rel=1e-9)


def test_the_cheap_regression_is_the_maximum_of_the_likelihood():
    rng = np.random.default_rng(4)
    x = pd.DataFrame({"intercept": 1.0, "slope": rng.normal(size=300), "hr": (rng.random(300) < 0.3) * 1.0})
    truth, sd = np.array([0.4, -0.3, 0.5]), 0.1
    latent = np.maximum(0.0, sd * (x.to_numpy() @ truth + rng.normal(size=300)))

    def minus(p):
        return -of_scipy(x.to_numpy() @ p[:3], np.exp(p[3]), latent**2).sum()

    best = minimize(minus, [0.5, 0, 0, -2], method="BFGS")
    found = cheap_tobit(latent, x)
    np.testing.assert_allclose(found.table["estimate"], best.x[:3], atol=2e-3)
    assert found.log_shape == pytest.approx(best.x[3], abs=2e-3)
    np.testing.assert_allclose(
        [*found.table["variance"], found.log_shape_variance], np.diag(best.hess_inv), rtol=0.25
    )


def test_too_few_or_constant_columns_say_nothing():
    x = pd.DataFrame({"intercept": 1.0, "slope": np.arange(6.0), "hr": 0.0})
    assert (cheap_tobit(np.zeros(6), x).table["variance"] == 100).all()
    found = cheap_tobit(np.array([0, 0.1, 0.3, 0.2, 0.5, 0.4]), x).table
    assert found.loc["hr", "variance"] == 100
    assert found.loc["slope", "variance"] < 100
