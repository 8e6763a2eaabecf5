"""Likelihood-informed coordinates: an exact change of variables, whatever the cheap estimates are."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import get_mode
from scipy import stats

from bayes_her2.bayesian.coordinates import (
    Coordinates,
    LikelihoodInformed,
    LogSpread,
    PooledLikelihoodInformed,
    Softplus,
    partially_pooled,
    typical_of,
)
from bayes_her2.bayesian.priors import Prior

PLAIN = get_mode("FAST_COMPILE").excluding("fusion")  # nothing to compile, small graphs

RNG = np.random.default_rng(11)
ESTIMATE, VARIANCE = RNG.normal(size=(3, 4)), RNG.gamma(2.0, 0.1, size=(3, 4))
VARIANCE[0, 1], ESTIMATE[0, 1] = 100.0, 0.0  # a separated coordinate
BETWEEN, MU, SIGMA = 0.3, -0.4, 0.7


def evaluated(tensor) -> np.ndarray:
    return np.asarray(pytensor.function([], tensor, mode=PLAIN)())


def inputs(*values) -> tuple:
    return tuple(pt.as_tensor(np.asarray(v, dtype=float)) for v in values)


def informed() -> tuple[LikelihoodInformed, tuple, tuple[int, ...]]:
    return LikelihoodInformed(ESTIMATE, VARIANCE), inputs(MU, SIGMA), ESTIMATE.shape


def pooled() -> tuple[LikelihoodInformed, tuple, tuple[int, ...]]:
    return PooledLikelihoodInformed(ESTIMATE, VARIANCE), inputs(BETWEEN, MU, SIGMA), ESTIMATE.shape[1:]


@pytest.mark.parametrize("make", [informed, pooled], ids=["cohorts", "above the cohorts"])
def test_there_and_back_is_where_one_was(make):
    transform, arguments, shape = make()
    z = np.random.default_rng(1).normal(size=shape)
    theta = transform.backward(pt.as_tensor(z), *arguments)
    np.testing.assert_allclose(evaluated(transform.forward(theta, *arguments)), z, rtol=1e-12)


@pytest.mark.parametrize("make", [informed, pooled], ids=["cohorts", "above the cohorts"])
def test_the_jacobian_is_the_derivative_of_the_coefficient(make):
    transform, arguments, shape = make()
    z = np.random.default_rng(2).normal(size=shape)
    step = 1e-6
    above, below = (evaluated(transform.backward(pt.as_tensor(z + s), *arguments)) for s in (step, -step))
    log_slope = evaluated(transform.log_jac_det(pt.as_tensor(z), *arguments))
    assert log_slope.shape == shape
    np.testing.assert_allclose(np.exp(log_slope), (above - below) / (2 * step), rtol=1e-8)


def test_the_coefficient_is_the_conjugate_posterior_mean_and_sd():
    # Normal prior (mu, sigma) and a normal estimate e with variance v: precisions add.
    transform, arguments, shape = informed()
    at_0, at_1 = (
        evaluated(transform.backward(pt.as_tensor(np.full(shape, z)), *arguments)) for z in (0.0, 1.0)
    )
    variance = 1 / (1 / VARIANCE + 1 / SIGMA**2)
    np.testing.assert_allclose(at_0, variance * (ESTIMATE / VARIANCE + MU / SIGMA**2), rtol=1e-12)
    np.testing.assert_allclose(at_1 - at_0, np.sqrt(variance), rtol=1e-12)


def test_weak_data_give_the_non_centred_form_and_strong_data_the_centred_one():
    weak = LikelihoodInformed(np.zeros(1), np.full(1, 1e8))
    strong = LikelihoodInformed(np.full(1, 0.9), np.full(1, 1e-8))
    z = pt.as_tensor(np.array([1.3]))
    assert evaluated(weak.backward(z, *inputs(MU, SIGMA)))[0] == pytest.approx(MU + SIGMA * 1.3, rel=1e-6)
    assert evaluated(strong.backward(z, *inputs(MU, SIGMA)))[0] == pytest.approx(0.9 + 1e-4 * 1.3, rel=1e-6)


def test_above_the_cohorts_estimates_are_pooled_with_weights_that_know_their_spread():
    transform, arguments, _ = pooled()
    precision, weighted = (evaluated(x) for x in transform.information(arguments))
    for cell in range(4):
        weights = [1 / (VARIANCE[k, cell] + BETWEEN**2) for k in range(3)]
        by_hand = sum(w * ESTIMATE[k, cell] for k, w in enumerate(weights)) / sum(weights)
        assert precision[cell] == pytest.approx(sum(weights), rel=1e-12)
        assert weighted[cell] == pytest.approx(sum(weights) * by_hand, rel=1e-12)


def test_coordinates_common_to_the_cohorts_are_weighted_by_precision():
    common = Coordinates(ESTIMATE, VARIANCE).common()
    weights = 1 / VARIANCE
    np.testing.assert_allclose(common.estimate, (weights * ESTIMATE).sum(0) / weights.sum(0), rtol=1e-12)
    np.testing.assert_allclose(common.variance, 1 / weights.sum(0), rtol=1e-12)


def hierarchy(estimate: np.ndarray, variance: np.ndarray) -> pm.Model:
    at = Coordinates(estimate, variance)
    with pm.Model(coords={"cohort": list("ABC"), "cell": list("wxyz")}) as model:
        mean, between_cells = pm.Normal("mean", 0, 0.5), pm.HalfNormal("between_cells", 0.5)
        between = pm.HalfNormal("between", 0.25)
        coordinates, start = at.above()
        typical = typical_of(
            "typical",
            mean=mean,
            sd=between_cells,
            below_sd=between,
            dims="cell",
            coordinates=coordinates,
            start=start,
        )
        partially_pooled("own", mean=typical, sd=between, dims=("cohort", "cell"), coordinates=at.transform())
    return model


def test_groups_with_members_are_informed_by_them_and_others_by_themselves():
    # Two cohorts; the second has two centres. Rows of the transform: cohorts.
    own = Coordinates(np.array([[1.0], [9.0]]), np.array([[0.04], [0.01]]))
    centres = Coordinates(np.array([[2.0], [4.0]]), np.array([[0.05], [0.15]]))
    transform = own.with_nested(centres, home=[1, 1])
    below = 0.3
    precision, weighted = (
        np.asarray(part.eval()) for part in transform.information((np.asarray(below), 0.0, 1.0))
    )
    weights = 1 / (np.array([0.05, 0.15]) + below**2)
    np.testing.assert_allclose(precision[:, 0], [1 / 0.04, weights.sum()])
    np.testing.assert_allclose(weighted[:, 0], [1.0 / 0.04, (weights * [2.0, 4.0]).sum()])


VALUES = {
    "mean": np.asarray(0.2),
    "between_cells": np.asarray(0.6),
    "between": np.asarray(0.35),
    "typical": np.array([0.1, -0.5, 0.8, 0.3]),
    "own": np.random.default_rng(3).normal(size=(3, 4)),
}


def log_density(model: pm.Model, values: dict[str, np.ndarray], *, jacobian: bool) -> float:
    """Log density at coefficients (not at z), with or without the Jacobian of the coordinates."""
    point = {}
    for variable in model.free_RVs:
        value = model.rvs_to_values[variable]
        transform = model.rvs_to_transforms[variable]
        given = [v for v in model.free_RVs if v is not variable]
        z = pytensor.function(
            [variable, *given],
            transform.forward(variable, *variable.owner.inputs) if transform else variable,
            mode=PLAIN,
            on_unused_input="ignore",
        )(values[variable.name], *[values[v.name] for v in given])
        point[value.name] = z
    parts = model.compile_logp(jacobian=jacobian, sum=False, mode=PLAIN)(point)
    return float(sum(np.sum(part) for part in parts))


def test_the_density_is_the_textbook_hierarchy():
    expected = (
        stats.norm.logpdf(VALUES["mean"], 0, 0.5)
        + stats.halfnorm.logpdf(VALUES["between_cells"], scale=0.5)
        + stats.halfnorm.logpdf(VALUES["between"], scale=0.25)
        + stats.norm.logpdf(VALUES["typical"], VALUES["mean"], VALUES["between_cells"]).sum()
        + stats.norm.logpdf(VALUES["own"], VALUES["typical"], VALUES["between"]).sum()
    )
    found = log_density(hierarchy(ESTIMATE, VARIANCE), VALUES, jacobian=False)
    assert found == pytest.approx(expected, rel=1e-7)


def test_the_posterior_does_not_depend_on_the_cheap_estimates():
    rng = np.random.default_rng(4)
    other_values = {k: v + 0.1 * np.abs(rng.normal(size=v.shape)) for k, v in VALUES.items()}
    differences = []
    for estimate, variance in [
        (ESTIMATE, VARIANCE),
        (rng.normal(size=(3, 4)), rng.gamma(1.0, 2.0, size=(3, 4))),
        (np.zeros((3, 4)), np.full((3, 4), 100.0)),
    ]:
        model = hierarchy(estimate, variance)
        one, other = (log_density(model, v, jacobian=False) for v in (VALUES, other_values))
        differences.append(other - one)
        # And what the sampler sees is that density times |d coefficient / d z|.
        assert log_density(model, VALUES, jacobian=True) == pytest.approx(
            one + log_jacobian(estimate, variance), rel=1e-9
        )
    np.testing.assert_allclose(differences, differences[0], rtol=1e-10)


def log_jacobian(estimate: np.ndarray, variance: np.ndarray) -> float:
    """By hand: log sqrt(1 / (1/v + 1/sigma^2)) for coefficients, log sigma for the three SD-like scales."""
    between, between_cells = float(VALUES["between"]), float(VALUES["between_cells"])
    pooled_variance = 1 / (1 / (variance + between**2)).sum(axis=0)
    return float(
        -0.5 * np.log(1 / pooled_variance + 1 / between_cells**2).sum()
        - 0.5 * np.log(1 / variance + 1 / between**2).sum()
        + np.log(between)
        + np.log(between_cells)
    )


def test_prior_draws_are_those_of_the_textbook_hierarchy():
    model = hierarchy(ESTIMATE, VARIANCE)
    draws = (
        pm.sample_prior_predictive(4000, model=model, random_seed=1, compile_kwargs={"mode": PLAIN})
        .prior.to_dataset()
        .isel(chain=0)
    )
    standard = (draws["typical"] - draws["mean"]) / draws["between_cells"]
    assert stats.kstest(standard.to_numpy().ravel(), "norm").pvalue > 1e-3
    standard = (draws["own"] - draws["typical"]) / draws["between"]
    assert stats.kstest(standard.transpose("draw", ...).to_numpy().ravel(), "norm").pvalue > 1e-3


@pytest.mark.parametrize("transform", [Softplus(0.125), LogSpread(0.25)], ids=["softplus", "log"])
def test_coordinates_of_a_spread_are_a_change_of_variable_with_its_jacobian(transform):
    values = np.array([1e-6, 0.01, 0.125, 0.5, 20.0])
    z = evaluated(transform.forward(pt.as_tensor(values)))
    assert evaluated(transform.backward(pt.as_tensor(z))) == pytest.approx(values, rel=1e-8)
    step = 1e-5
    above, below = (evaluated(transform.backward(pt.as_tensor(z + s))) for s in (step, -step))
    assert np.exp(evaluated(transform.log_jac_det(pt.as_tensor(z)))) == pytest.approx(
        (above - below) / (2 * step), rel=1e-6
    )


@pytest.mark.parametrize("transform", [Softplus(0.125), None], ids=["softplus", "log"])
@pytest.mark.parametrize("coordinate", [-20.0, -40.0, -200.0])
def test_a_spread_that_collapses_leaves_the_density_smooth(transform, coordinate):
    # The standardised distance of a coefficient from its mean is all rounding error at a spread of 1e-17: the density
    # was noise there, no step was small enough, and a chain that came by in its first steps stayed.
    spread = Prior("HalfNormal", {"sigma": 0.25}, "test")
    with pm.Model(coords={"cohort": list("abc"), "cell": list("wxyz")}) as model:
        mean = pm.Normal("mean", 0.0, 1.0, dims="cell")
        sd = spread.variable("sd", transform=transform)
        partially_pooled(
            "own",
            mean=mean,
            sd=sd,
            dims=("cohort", "cell"),
            coordinates=LikelihoodInformed(ESTIMATE, VARIANCE),
        )
    rng = np.random.default_rng(5)
    point = {name: rng.normal(size=np.shape(value)) for name, value in model.initial_point().items()}
    (of_spread,) = (name for name in point if name.startswith("sd"))
    logp = model.compile_logp(mode=PLAIN)

    def along(x: float) -> float:
        return float(logp({**point, of_spread: np.array(coordinate), "mean": point["mean"] + x}))

    steps = np.array([along(x) for x in np.linspace(0.0, 1e-3, 21)])
    assert np.abs(np.diff(steps, 2)).max() < 1e-5 * (1 + np.abs(np.diff(steps)).max())
