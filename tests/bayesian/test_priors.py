"""Priors: what a table prints, what a graph samples and what scipy says are the same distribution."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pymc as pm
import pytest
from scipy import stats

from bayes_her2.bayesian.priors import Prior, resolve_priors
from bayes_her2.errors import DataError

NORMAL = Prior("Normal", {"mu": -1.0, "sigma": 0.5}, "a reason")
HALF_T = Prior("HalfStudentT", {"nu": 3.0, "sigma": 0.25}, "a reason")
HALF = Prior("HalfNormal", {"sigma": 0.25}, "a reason")
SHARES = Prior("Dirichlet", {"concentration": 1.5}, "a reason")
PARTS = {"weight_1": 0.7, "mu_1": -0.4, "sigma_1": 0.2, "weight_2": 0.3, "mu_2": 0.0, "sigma_2": 1.0}
MIXTURE = Prior("NormalMixture", PARTS, "a reason")


@pytest.mark.parametrize(
    ("prior", "expected", "at"),
    [(NORMAL, stats.norm(-1.0, 0.5), -0.3), (HALF, stats.halfnorm(scale=0.25), 0.4)],
    ids=["Normal", "HalfNormal"],
)
def test_graph_and_table_hold_the_same_distribution(prior, expected, at):
    with pm.Model():
        variable = prior.variable("x")
    # PyTensor keeps constants such as 0.5 in single precision: log(0.5) is right to 8 digits.
    assert pm.logp(variable, np.float64(at)).eval() == pytest.approx(expected.logpdf(at), abs=1e-7)
    assert prior.frozen().logpdf(at) == pytest.approx(expected.logpdf(at), rel=1e-12)
    assert prior.interval(0.9) == pytest.approx(tuple(expected.ppf([0.05, 0.95])), rel=1e-12)
    draws = prior.sample(np.random.default_rng(1), (200, 100))
    assert draws.shape == (200, 100)
    assert stats.kstest(draws.ravel(), expected.cdf).pvalue > 1e-3


def test_a_half_t_is_half_of_students_t():
    with pm.Model():
        variable = HALF_T.variable("x")
    whole, half = stats.t(3.0, scale=0.25), HALF_T.frozen()
    assert pm.logp(variable, np.float64(0.4)).eval() == pytest.approx(half.logpdf(0.4), abs=1e-7)
    assert half.pdf(0.4) == pytest.approx(2 * whole.pdf(0.4), rel=1e-12)
    assert half.logpdf(-0.1) == -np.inf
    assert half.cdf(np.array([-0.1, 0.4])) == pytest.approx(
        [0.0, whole.cdf(0.4) - whole.cdf(-0.4)], rel=1e-12
    )
    assert half.cdf(half.ppf([0.05, 0.95])) == pytest.approx([0.05, 0.95], rel=1e-12)
    draws = HALF_T.sample(np.random.default_rng(1), (20_000,))
    assert stats.kstest(draws, half.cdf).pvalue > 1e-3
    cauchy = Prior("HalfStudentT", {"nu": 1.0, "sigma": 0.25}, "a reason").frozen()
    assert cauchy.pdf(0.4) == pytest.approx(stats.halfcauchy(scale=0.25).pdf(0.4), rel=1e-12)


def test_a_dirichlet_holds_as_many_shares_as_its_last_dimension():
    with pm.Model(coords={"cell_type": ["x", "y"], "step": ["a", "b", "c"]}):
        variable = SHARES.variable("shares", dims=("cell_type", "step"))
    at = np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    expected = [stats.dirichlet.logpdf(row, [1.5, 1.5, 1.5]) for row in at]
    assert pm.logp(variable, at).eval() == pytest.approx(expected, abs=1e-7)
    # One of n shares of a symmetric Dirichlet is Beta(a, (n - 1) a).
    draws = np.random.default_rng(2).dirichlet([1.5, 1.5, 1.5], size=20_000)[:, 0]
    assert stats.kstest(draws, SHARES.frozen(3).cdf).pvalue > 1e-3
    assert SHARES.interval(0.9) == pytest.approx(tuple(stats.beta(1.5, 1.5).ppf([0.05, 0.95])))


def test_a_dirichlet_without_a_dimension_is_refused():
    with pm.Model(), pytest.raises(ValueError, match="shares: a Dirichlet needs the dimension of its shares"):
        SHARES.variable("shares")


def test_draws_depend_on_the_generator_alone():
    one, other = (NORMAL.sample(np.random.default_rng(5), (3,)) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_a_prior_reads_as_in_the_literature():
    assert str(NORMAL) == "Normal(-1, 0.5)"
    assert str(HALF) == "HalfNormal(0.25)"
    assert str(HALF_T) == "HalfStudentT(3, 0.25)"
    assert str(SHARES) == "Dirichlet(1.5)"


@pytest.mark.parametrize(
    ("dist", "params", "why", "message"),
    [
        (
            "Cauchy",
            {"sigma": 1.0},
            "x",
            "unknown distribution 'Cauchy'; known: Dirichlet, HalfCauchy, HalfNormal, HalfStudentT, InverseGamma, "
            "Normal",
        ),
        ("Normal", {"sigma": 1.0}, "x", "needs the parameters mu, sigma, got sigma"),
        ("HalfNormal", {"mu": 0.0, "sigma": 1.0}, "x", "needs the parameters sigma, got mu, sigma"),
        ("Normal", {}, "x", "got none"),
        ("Normal", {"mu": 0.0, "sigma": 0.0}, "x", "sigma must be above 0"),
        ("Normal", {"mu": float("nan"), "sigma": 1.0}, "x", "every parameter finite"),
        ("HalfNormal", {"sigma": float("inf")}, "x", "every parameter finite"),
        ("Dirichlet", {"sigma": 1.0}, "x", "needs the parameters concentration, got sigma"),
        ("Dirichlet", {"concentration": 0.0}, "x", "concentration must be above 0"),
        ("HalfCauchy", {"beta": 0.0}, "x", "beta must be above 0"),
        ("HalfStudentT", {"nu": 0.0, "sigma": 1.0}, "x", "nu must be above 0"),
        ("InverseGamma", {"alpha": -1.0, "beta": 1.0}, "x", "must be above 0"),
        ("Normal", {"mu": 0.0, "sigma": 1.0}, "  ", "a prior without a reason is a bug"),
    ],
)
def test_a_prior_that_says_nothing_sensible_is_refused(dist, params, why, message):
    with pytest.raises(DataError, match=message):
        Prior(dist, params, why)


def test_a_mixture_prior_is_a_distribution():
    frozen = MIXTURE.frozen()
    x = np.linspace(-12, 12, 200_001)
    assert np.trapezoid(frozen.pdf(x), x) == pytest.approx(1.0, abs=1e-9)
    assert frozen.cdf(frozen.ppf([0.025, 0.5, 0.975])).tolist() == pytest.approx(
        [0.025, 0.5, 0.975], abs=1e-10
    )
    at = np.array([-0.4, 1.3])
    expected = np.log(0.7 * stats.norm.pdf(at, -0.4, 0.2) + 0.3 * stats.norm.pdf(at, 0, 1))
    assert frozen.logpdf(at).tolist() == pytest.approx(expected.tolist(), rel=1e-12)
    assert frozen.mean() == pytest.approx(np.trapezoid(x * frozen.pdf(x), x), abs=1e-9)
    variance = np.trapezoid((x - frozen.mean()) ** 2 * frozen.pdf(x), x)
    assert frozen.std() == pytest.approx(np.sqrt(variance), rel=1e-9)
    draws = MIXTURE.sample(np.random.default_rng(1), (20_000,))
    assert stats.kstest(draws, frozen.cdf).pvalue > 1e-3
    assert str(MIXTURE).startswith("0.7 Normal(-0.4, 0.2) + 0.3")


def test_a_mixture_prior_refuses_what_is_no_mixture():
    good = {"weight_1": 0.5, "mu_1": 0.0, "sigma_1": 1.0, "weight_2": 0.5, "mu_2": 0.0, "sigma_2": 2.0}
    Prior("NormalMixture", good, "x")
    with pytest.raises(DataError, match="weights sum to 1"):
        Prior("NormalMixture", good | {"weight_2": 0.6}, "x")
    with pytest.raises(DataError, match="sigmas and weights must be above 0"):
        Prior("NormalMixture", good | {"sigma_2": 0.0}, "x")
    with pytest.raises(DataError, match="needs weight_1, mu_1, sigma_1, weight_2"):
        Prior("NormalMixture", {k: v for k, v in good.items() if k != "mu_2"}, "x")
    with pytest.raises(ValueError, match="no mixture of normals"):
        HALF.components()


def setting(dist: str, **params: float) -> SimpleNamespace:
    return SimpleNamespace(dist=dist, params=params, why="sceptical")


def test_an_override_replaces_one_prior_and_says_so():
    defaults = {"slope_mean": NORMAL, "slope_sd": HALF}
    resolved = resolve_priors(defaults, {"slope_mean": setting("Normal", mu=0.0, sigma=0.3)}, "abundance")
    assert resolved["slope_mean"] == Prior("Normal", {"mu": 0.0, "sigma": 0.3}, "sceptical", overridden=True)
    assert resolved["slope_sd"] is HALF
    assert defaults == {"slope_mean": NORMAL, "slope_sd": HALF}


def test_an_override_of_a_prior_that_does_not_exist_names_those_that_do():
    with pytest.raises(
        DataError, match=r"\[priors.abundance\]: the model has no prior named slop; known: slope_sd"
    ):
        resolve_priors({"slope_sd": HALF}, {"slop": setting("HalfNormal", sigma=1.0)}, "abundance")


@pytest.mark.parametrize(("name", "dist"), [("slope_sd", "Normal"), ("slope_mean", "HalfNormal")])
def test_an_override_cannot_change_the_support(name, dist):
    # A Normal for an SD would propose negative SDs; a HalfNormal for a mean would rule out half the answers.
    params = {"mu": 0.0, "sigma": 1.0} if dist == "Normal" else {"sigma": 1.0}
    with pytest.raises(DataError, match=rf"\[priors.abundance.{name}\]: dist is {dist}"):
        resolve_priors({"slope_mean": NORMAL, "slope_sd": HALF}, {name: setting(dist, **params)}, "abundance")


def test_an_override_may_have_heavier_tails():
    resolved = resolve_priors(
        {"slope_sd": HALF}, {"slope_sd": setting("HalfStudentT", nu=3.0, sigma=0.25)}, "abundance"
    )
    assert resolved["slope_sd"] == Prior(
        "HalfStudentT", {"nu": 3.0, "sigma": 0.25}, "sceptical", overridden=True
    )


def test_an_override_that_is_no_prior_is_named_with_its_place():
    wrong = {"slope_sd": setting("HalfStudentT", nu=0.0, sigma=0.25)}
    with pytest.raises(
        DataError, match=r"\[priors.abundance.slope_sd\]: prior HalfStudentT: nu must be above 0"
    ):
        resolve_priors({"slope_sd": HALF}, wrong, "abundance")
