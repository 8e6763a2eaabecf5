"""The two observed nodes against PyMC's own hurdle gamma, against scipy, and as generators of data."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
from pytensor.compile.mode import get_mode
from scipy import stats
from scipy.special import expit

from bayes_her2.bayesian.amounts import GAMMA
from bayes_her2.bayesian.bernoulli import bernoulli_node
from bayes_her2.bayesian.hurdle import amount_node

PLAIN = get_mode("FAST_COMPILE").excluding("fusion")


def example(n_cells: int, seed: int = 1):
    """Parameters and data of 40 tumours in 3 cohorts, zeros and values near zero included."""
    rng = np.random.default_rng(seed)
    logit_p = rng.normal(0.5, 1.5, size=(40, n_cells))
    log_mean = rng.normal(-3, 0.8, size=(40, n_cells))
    log_shape = rng.normal(0.4, 0.7, size=(3, n_cells))
    cohort = rng.integers(0, 3, size=40)
    phi = np.exp(log_shape)[cohort]
    y = rng.gamma(phi, np.exp(log_mean) / phi)
    y[rng.random(y.shape) < 0.4] = 0.0
    y[0, 0], y[1, 0] = 1e-6, 0.0
    return logit_p, log_mean, log_shape, cohort, y


def nodes(logit_p, log_mean, log_shape, cohort, y, presence_modelled=None, amount_modelled=None) -> pm.Model:
    everything = np.ones_like(y)
    coords = {"tumour": np.arange(len(y)), "cell": np.arange(y.shape[1])}
    with pm.Model(coords=coords) as model:
        bernoulli_node(
            "present",
            logit_p=logit_p,
            observed=(y > 0).astype(float),
            modelled=everything if presence_modelled is None else presence_modelled,
            dims=("tumour", "cell"),
        )
        amount_node(
            "amount",
            family=GAMMA,
            eta=log_mean,
            log_shape=log_shape,
            group_idx=cohort,
            observed=y,
            modelled=everything if amount_modelled is None else amount_modelled,
            dims=("tumour", "cell"),
        )
    return model


def log_likelihood(model: pm.Model) -> dict[str, np.ndarray]:
    values = model.compile_logp(vars=model.observed_RVs, sum=False, mode=PLAIN)({})
    return {v.name: np.asarray(x) for v, x in zip(model.observed_RVs, values, strict=True)}


@pytest.mark.parametrize("n_cells", [1, 5])
def test_the_two_nodes_together_are_the_hurdle_gamma(n_cells):
    logit_p, log_mean, log_shape, cohort, y = example(n_cells)
    found = log_likelihood(nodes(logit_p, log_mean, log_shape, cohort, y))
    phi = np.exp(log_shape)[cohort]
    hurdle = pm.HurdleGamma.dist(psi=expit(logit_p), alpha=phi, beta=phi / np.exp(log_mean))
    assert (y == 0).any()
    expected = pm.logp(hurdle, y).eval(mode=PLAIN)
    np.testing.assert_allclose(found["present"] + found["amount"], expected, rtol=1e-6, atol=1e-7)


def test_each_node_is_its_own_scipy_distribution_and_zeros_never_enter_the_amount():
    logit_p, log_mean, log_shape, cohort, y = example(4)
    found = log_likelihood(nodes(logit_p, log_mean, log_shape, cohort, y))
    np.testing.assert_allclose(
        found["present"], stats.bernoulli.logpmf((y > 0).astype(int), expit(logit_p)), rtol=1e-10
    )
    phi = np.exp(log_shape)[cohort]
    density = stats.gamma.logpdf(np.where(y > 0, y, 1.0), phi, scale=np.exp(log_mean) / phi)
    np.testing.assert_allclose(found["amount"], np.where(y > 0, density, 0.0), rtol=1e-9, atol=1e-12)


def test_what_is_not_modelled_contributes_nothing_whatever_its_parameters():
    logit_p, log_mean, log_shape, cohort, y = example(3)
    rng = np.random.default_rng(2)
    presence_modelled, amount_modelled = ((rng.random(y.shape) < 0.5).astype(float) for _ in range(2))
    whole = log_likelihood(nodes(logit_p, log_mean, log_shape, cohort, y))
    wild_p, wild_m = (
        np.where(presence_modelled > 0, logit_p, 40.0),
        np.where(amount_modelled > 0, log_mean, 30.0),
    )
    masked = log_likelihood(nodes(wild_p, wild_m, log_shape, cohort, y, presence_modelled, amount_modelled))
    np.testing.assert_allclose(masked["present"], whole["present"] * presence_modelled, atol=1e-14)
    np.testing.assert_allclose(masked["amount"], whole["amount"] * amount_modelled, atol=1e-14)


def test_extreme_log_odds_stay_finite():
    y = np.array([[1.0, 0.0], [1.0, 0.0]])
    logit_p = np.array([[-800.0, 800.0], [800.0, -800.0]])
    found = log_likelihood(nodes(logit_p, np.zeros((2, 2)), np.zeros((1, 2)), np.zeros(2, dtype=int), y))
    np.testing.assert_allclose(found["present"], [[-800.0, -800.0], [0.0, 0.0]], atol=1e-12)


def test_simulated_data_have_the_moments_of_their_parameters():
    logit_p, log_mean, log_shape, cohort, y = example(2)
    model = nodes(logit_p, log_mean, log_shape, cohort, y)
    draws = pm.sample_prior_predictive(4000, model=model, random_seed=3, compile_kwargs={"mode": PLAIN})
    present = draws.prior_predictive["present"].to_numpy()[0]
    amount = draws.prior_predictive["amount"].to_numpy()[0]
    assert set(np.unique(present)) == {0.0, 1.0}
    p, phi, mean = expit(logit_p), np.exp(log_shape)[cohort], np.exp(log_mean)
    # Monte Carlo errors in units of their standard error: 80 of each, so 4.5 is far out.
    assert np.abs((present.mean(0) - p) / np.sqrt(p * (1 - p) / 4000)).max() < 4.5
    assert np.abs((amount.mean(0) - mean) / (mean / np.sqrt(phi * 4000))).max() < 4.5
    assert (amount > 0).all()
    assert np.corrcoef(present[:, 0, 0], present[:, 0, 1])[0, 1] == pytest.approx(0, abs=0.08)
