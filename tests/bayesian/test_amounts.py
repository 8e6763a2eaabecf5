"""Each distribution of amounts against scipy: density, tail, comparison, spread, random draws, cheap shape."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
from bayes_her2.models import (
    abundance,
    abundance_beta,
    abundance_lognormal,
    abundance_robust,
    abundance_weibull,
)
from pytensor.compile.mode import get_mode
from scipy import integrate, stats
from scipy.special import expit, logit
from scipy.special import gamma as gamma_function

from bayes_her2.bayesian.amounts import BETA, GAMMA, LOGNORMAL, WEIBULL, AmountFamily
from bayes_her2.bayesian.contaminated import CONTAMINATED_GAMMA as ROBUST
from bayes_her2.bayesian.hurdle import amount_node

PLAIN = get_mode("FAST_COMPILE").excluding("fusion")
FAMILIES = pytest.mark.parametrize(
    "family", [GAMMA, WEIBULL, LOGNORMAL, BETA, ROBUST], ids=lambda f: type(f).__name__
)


class Contaminated:
    """19 of 20 amounts gamma with the shape, one of the same mean and a fifth of it, from the definitions."""

    def __init__(self, mean, shape):
        shape = np.asarray(shape)
        self.parts = [(w, stats.gamma(a, scale=mean / a)) for w, a in ((0.95, shape), (0.05, shape / 5))]

    def _sum(self, name, *x):
        return sum(w * getattr(part, name)(*x) for w, part in self.parts)

    def logpdf(self, y):
        return np.log(self._sum("pdf", y))

    def cdf(self, y):
        return self._sum("cdf", y)

    def sf(self, y):
        return self._sum("sf", y)

    def mean(self):
        return self._sum("mean")

    def std(self):
        return np.sqrt(self._sum("moment", 2) - self.mean() ** 2)

    def rvs(self, random_state):
        draws = [part.rvs(random_state=random_state) for _, part in self.parts]
        return np.where(random_state.random(np.shape(draws[0])) < 0.95, *draws)


def of_scipy(family: AmountFamily, mean, shape):
    """The same distribution in scipy's terms, written from the definitions."""
    if family is GAMMA:
        return stats.gamma(shape, scale=mean / shape)
    if family is ROBUST:
        return Contaminated(mean, shape)
    if family is BETA:
        return stats.beta(mean * shape, (1 - mean) * shape)
    if family is WEIBULL:
        return stats.weibull_min(shape, scale=mean / gamma_function(1 + 1 / np.asarray(shape)))
    sd = 1 / np.asarray(shape)
    return stats.lognorm(sd, scale=mean * np.exp(-(sd**2) / 2))


def mean_of(family: AmountFamily, eta):
    """Mean at a linear predictor: shares have the logit link."""
    return expit(eta) if family is BETA else np.exp(eta)


def example(family: AmountFamily, seed: int = 1):
    rng = np.random.default_rng(seed)
    log_mean = rng.normal(-3, 0.8, size=(40, 4))
    log_shape = rng.normal(0.4, 0.5, size=(3, 4))
    cohort = rng.integers(0, 3, size=40)
    y = np.exp(log_mean + rng.normal(0, 0.7, size=log_mean.shape))
    if family is BETA:
        log_shape, y = log_shape + 3.0, y / (1 + y)
    y[rng.random(y.shape) < 0.4] = 0.0
    y[0, 0], y[1, 0] = 1e-6, 0.0
    return log_mean, log_shape, cohort, y


def node(family, log_mean, log_shape, cohort, y, modelled=None) -> pm.Model:
    coords = {"tumour": np.arange(y.shape[0]), "cell": np.arange(y.shape[1])}
    with pm.Model(coords=coords) as model:
        amount_node(
            "amount",
            family=family,
            eta=log_mean,
            log_shape=log_shape,
            group_idx=cohort,
            observed=y,
            modelled=np.ones_like(y) if modelled is None else modelled,
            dims=("tumour", "cell"),
        )
    return model


def density(model: pm.Model) -> np.ndarray:
    (found,) = model.compile_logp(vars=model.observed_RVs, sum=False, mode=PLAIN)({})
    return np.asarray(found)


@FAMILIES
def test_the_node_has_scipys_density_and_zeros_never_enter_it(family):
    log_mean, log_shape, cohort, y = example(family)
    expected = of_scipy(family, mean_of(family, log_mean), np.exp(log_shape)[cohort]).logpdf(
        np.where(y > 0, y, 0.5)
    )
    found = density(node(family, log_mean, log_shape, cohort, y))
    np.testing.assert_allclose(found, np.where(y > 0, expected, 0.0), rtol=1e-9, atol=1e-11)


@FAMILIES
def test_what_is_not_modelled_is_zero_whatever_its_parameters(family):
    log_mean, log_shape, cohort, y = example(family)
    modelled = (np.random.default_rng(2).random(y.shape) < 0.5).astype(float)
    whole = density(node(family, log_mean, log_shape, cohort, y))
    wild = np.where(modelled > 0, log_mean, -300.0)
    np.testing.assert_allclose(
        density(node(family, wild, log_shape, cohort, y, modelled)), whole * modelled, atol=1e-13
    )


@FAMILIES
def test_the_log_density_in_numbers_is_that_of_scipy(family):
    log_mean, log_shape, cohort, y = example(family)
    shape, y = np.exp(log_shape)[cohort], np.where(y > 0, y, 0.3)
    np.testing.assert_allclose(
        family.log_density(y, log_mean, shape),
        of_scipy(family, mean_of(family, log_mean), shape).logpdf(y),
        rtol=1e-9,
    )


@FAMILIES
def test_the_mean_is_the_parameter_and_variation_its_ratio_to_the_sd(family):
    for shape in (0.7, 1.0, 2.5):
        known = of_scipy(family, 0.05, shape)
        assert known.mean() == pytest.approx(0.05, rel=1e-9)
        assert family.variation(shape) == pytest.approx(known.std() / known.mean(), rel=1e-7)


def test_the_shapes_priors_mean_the_variation_that_their_reasons_say():
    for family, model, said in (
        (GAMMA, abundance, ("0.3", "2.1")),
        (WEIBULL, abundance_weibull, ("0.3", "2.4")),
        (LOGNORMAL, abundance_lognormal, ("0.3", "2.5")),
        (BETA, abundance_beta, ("0.2", "2.1")),
        (ROBUST, abundance_robust, ("0.3", "2.2")),
    ):
        prior = model.PRIORS["log_shape_mean"]
        low, high = prior.interval(0.95)
        assert tuple(f"{family.variation(np.exp(end)):.1f}" for end in (high, low)) == said
        assert f"between {said[0]} and {said[1]}" in prior.why


@FAMILIES
def test_the_tail_is_scipys_and_all_of_it_lies_above_zero(family):
    cutoff = np.array([0.0, 1e-6, 0.02, 0.05, 0.4])
    for shape in (0.7, 2.5):
        expected = of_scipy(family, 0.05, shape).sf(cutoff)
        eta = logit(0.05) if family is BETA else np.log(0.05)
        found = family.above(cutoff, np.full(5, eta), np.full(5, shape))
        np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("family", [GAMMA, WEIBULL, LOGNORMAL, ROBUST], ids=lambda f: type(f).__name__)
@pytest.mark.parametrize("shape", [0.7, 2.5])
def test_one_amount_exceeds_another_as_often_as_the_integral_says(family, shape):
    x, y = of_scipy(family, 0.08, shape), of_scipy(family, 0.05, shape)
    # Over the log of Y: P(X > Y) = E[ sf_X(Y) ].
    expected, _ = integrate.quad(
        lambda t: x.sf(np.exp(t)) * np.exp(y.logpdf(np.exp(t)) + t),
        -200,
        2,
        epsabs=1e-9,
        limit=400,
        points=(-20, -5),
    )
    assert family.greater(np.log(0.08 / 0.05), np.asarray(shape)) == pytest.approx(expected, abs=1e-6)
    assert family.greater(np.zeros(1), np.asarray(shape)) == pytest.approx(0.5, abs=1e-12)


@FAMILIES
def test_random_amounts_are_of_the_distribution(family):
    log_mean, log_shape, cohort, y = example(family)
    model = node(family, log_mean, log_shape, cohort, y)
    drawn = pm.draw(model["amount"], draws=2000, random_seed=3, mode=PLAIN)
    shape = np.exp(log_shape)[cohort]
    # The probability integral transform of 160 margins: the smallest of 160 uniform P is below 1e-5 in 0.2 % of runs.
    uniform = of_scipy(family, mean_of(family, log_mean), shape).cdf(drawn)
    p = [stats.kstest(uniform[:, i, c], "uniform").pvalue for i in range(40) for c in range(4)]
    assert min(p) > 1e-5


@FAMILIES
def test_the_cheap_shape_is_near_the_maximum_likelihood_one_within_its_own_error(family):
    rng = np.random.default_rng(4)
    mean = np.exp(rng.normal(-3, 0.5, size=600))
    shape = 20.0 if family is BETA else 1.8
    y = of_scipy(family, mean, shape).rvs(random_state=rng)
    estimate, variance = family.cheap_log_shape(y, mean)
    assert abs(estimate - np.log(shape)) < 4 * np.sqrt(variance)
    assert 0.2 / 600 < variance < 3 / 600


def test_presence_with_a_beta_amount_is_the_zero_inflated_beta_distribution():
    """P(y = 0) = 1 - p, mean p m and variance p m (1 - m) / (1 + s) + p (1 - p) m^2 (Ospina & Ferrari 2010)."""
    rng, p, m, s, n = np.random.default_rng(6), 0.7, 0.1, 8.0, 400_000
    y = np.where(rng.random(n) < p, BETA.random(rng, np.full(n, logit(m)), np.full(n, s), n), 0.0)
    variance = p * m * (1 - m) / (1 + s) + p * (1 - p) * m**2
    assert abs((y == 0).mean() - (1 - p)) < 4 * np.sqrt(p * (1 - p) / n)
    assert abs(y.mean() - p * m) < 4 * np.sqrt(variance / n)
    assert y.var() == pytest.approx(variance, rel=0.02)
    # The density integrates to p above 0.
    area, _ = integrate.quad(lambda x: p * np.exp(BETA.log_density(x, logit(m), s)), 0, 1)
    assert area == pytest.approx(p, abs=1e-6)


@FAMILIES
@pytest.mark.parametrize("y", [[], [0.1, 0.2], [0.1] * 20], ids=["none", "two", "constant"])
def test_too_few_or_constant_amounts_say_nothing_about_the_shape(family, y):
    y = np.array(y, dtype=float)
    assert family.cheap_log_shape(y, np.full(len(y), 0.1)) == (0.0, 100.0)
