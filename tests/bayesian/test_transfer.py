"""Slopes of some cohorts scored in another: against integrals, and with nothing of the other half let in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from bayes_her2.models import abundance
from scipy import integrate, stats
from scipy.special import logsumexp

from bayes_her2.bayesian.amounts import GAMMA, WEIBULL
from bayes_her2.bayesian.density import HurdleDensity
from bayes_her2.bayesian.transfer import _derivatives, _laplace, _predicted, halves, transfer


def test_a_calibrated_level_is_integrated_as_the_integral_says():
    """One draw, presence of a rare cell type: prior Normal(0.5, 1.2), 7 calibration tumours of which 6 have it."""
    density, offsets = HurdleDensity(GAMMA), (np.linspace(-1, 1, 7), np.array([-0.4, 0.9]))
    y = (np.array([1.0, 1, 1, 0, 1, 1, 1]), np.array([0.0, 1.0]))

    def log_density(theta, which):
        return density.log_density("presence", y[which], theta[:, 0, None] + offsets[which], None)

    found = _predicted(log_density, np.array([[0.5]]), np.array([[1.2]]))
    prior = stats.norm(0.5, 1.2)

    def weight(a):
        return prior.pdf(a) * np.exp(log_density(np.array([[a]]), 0).sum())

    total, _ = integrate.quad(weight, -8, 12, epsabs=1e-12)
    for j in (0, 1):
        area, _ = integrate.quad(
            lambda a, j=j: weight(a) * np.exp(log_density(np.array([[a]]), 1)[0, j]), -8, 12, epsabs=1e-12
        )
        assert found[0, j] == pytest.approx(np.log(area / total), abs=2e-3)


@pytest.mark.parametrize("family", [GAMMA, WEIBULL], ids=lambda f: type(f).__name__)
@pytest.mark.parametrize("level", [-3.0, 1.5], ids=["near", "far"])
def test_level_and_shape_are_integrated_together(family, level):
    """Far: the others' level is 90 times the new cohort's, where a Weibull density is 0 in floating point."""
    rng = np.random.default_rng(3)
    density, offsets = HurdleDensity(family), (rng.normal(size=12) * 0.3, np.array([0.2]))
    y = (rng.gamma(2.0, 0.02, size=12), np.array([0.07]))
    mean, sd = np.array([[level, 0.5]]), np.array([[1.5, 0.4]])

    def log_density(theta, which):
        eta = theta[:, 0, None] + offsets[which]
        return density.log_density("amount", y[which], eta, theta[:, 1, None] + np.zeros_like(eta))

    found = _predicted(log_density, mean, sd)

    # The same integrals as sums over a grid, 0.01 apart in either direction.
    levels, shapes = np.meshgrid(np.arange(-6.0, 0.0, 0.01), np.arange(-1.5, 2.5, 0.01))
    grid = np.column_stack([levels.ravel(), shapes.ravel()])
    log_weight = stats.norm(mean, sd).logpdf(grid).sum(axis=1) + log_density(grid, 0).sum(axis=1)
    expected = logsumexp(log_weight + log_density(grid, 1)[:, 0]) - logsumexp(log_weight)
    assert found[0, 0] == pytest.approx(expected, abs=5e-3)


def test_a_level_that_cannot_be_found_is_no_score():
    def log_density(theta, which):
        return np.full((len(theta), 3), np.nan)

    with pytest.raises(ArithmeticError, match="not found in 2 of 2 draws"):
        _predicted(log_density, np.zeros((2, 1)), np.ones((2, 1)))


def test_halves_have_the_same_mix_whatever_the_order_of_rows():
    labels = [f"A/{i}" for i in range(25)]
    tumours = pd.DataFrame({"hr": ["HR+"] * 16 + ["HR-"] * 9}, index=labels)
    one, two = halves(tumours, np.random.default_rng(1))
    assert not set(one) & set(two)
    assert set(one) | set(two) == set(labels)
    assert tumours["hr"].loc[one].value_counts().to_dict() == {"HR+": 8, "HR-": 4}
    again, _ = halves(tumours.iloc[::-1], np.random.default_rng(1))
    assert again == one


@pytest.fixture(scope="module")
def without_the_last(small_data):
    cohort = small_data.cohorts[-1]
    inside = small_data.tumours["cohort"] == cohort
    train = small_data.subset(list(small_data.tumours.index[~inside]), own_parts=True)
    return train, small_data.tumours[inside]


@pytest.mark.sampling
def test_draws_of_other_cohorts_score_a_new_one(small_data, small_fit, without_the_last):
    """The draws are of all cohorts: what is tested is the arithmetic of scoring, with slopes known to be right."""
    train, held_out = without_the_last
    calibration, scored = halves(held_out, np.random.default_rng(2))

    def score(posterior, **options):
        return transfer(
            posterior,
            train,
            small_data,
            abundance.DENSITY,
            abundance.priors_for(train),
            np.random.default_rng(4),
            calibration=calibration,
            scored=scored,
            **options,
        )

    posterior = small_fit.posterior
    found = score(posterior, max_draws=100)
    assert list(found.tumours.index) == [t for t in scored if held_out["hr"][t] in train.strata]
    assert found.n_calibration == len(calibration)
    np.testing.assert_allclose(found.tumours["gain"], found.tumours["elpd"] - found.tumours["elpd_without"])
    # Strong planted slopes tell something about the new cohort's tumours.
    assert found.tumours["gain"].sum() > 2 * np.sqrt(len(scored)) * found.tumours["gain"].std()

    silent = posterior.copy()
    for part in ("presence", "amount"):
        for term in ("slope", "interaction"):
            for name in (f"{part}_{term}", f"{part}_{term}_by_cohort", f"{part}_{term}_between_cohorts_sd"):
                if name in silent:
                    silent[name] = xr.zeros_like(silent[name])
    nothing = score(silent, max_draws=20)
    np.testing.assert_allclose(nothing.tumours["gain"], 0.0, atol=1e-9)
    np.testing.assert_allclose(nothing.cell_types["gain"], 0.0, atol=1e-9)


@pytest.mark.sampling
def test_what_lies_in_the_scored_half_changes_its_own_score_alone(small_data, small_fit, without_the_last):
    train, held_out = without_the_last
    calibration, scored = halves(held_out, np.random.default_rng(2))

    def score(labels):
        return transfer(
            small_fit.posterior,
            train,
            small_data,
            abundance.DENSITY,
            abundance.priors_for(train),
            np.random.default_rng(4),
            calibration=calibration,
            scored=labels,
            max_draws=20,
        ).tumours["elpd"]

    whole, part = score(scored), score(scored[:5])
    np.testing.assert_allclose(part, whole.loc[part.index], rtol=1e-9)


@pytest.mark.sampling
def test_slopes_of_a_single_cohort_are_taken_without_a_spread_that_it_cannot_know(
    small_data, small_fit, without_the_last
):
    train, held_out = without_the_last
    calibration, scored = halves(held_out, np.random.default_rng(2))
    whole = small_fit.posterior
    # As a fit to one cohort leaves it: no level of cohorts, and no spread between them.
    alone = whole[[n for n in whole if not str(n).endswith(("_by_cohort", "_between_cohorts_sd"))]]
    mine = abundance.priors_for(train)
    wide = {
        n: replace(prior, params={"sigma": 10 * prior.params["sigma"]})
        if n.endswith(("slope_between_cohorts_sd", "hr_between_cohorts_sd", "interaction_between_cohorts_sd"))
        else prior
        for n, prior in mine.items()
    }

    def score(posterior, priors):
        return transfer(
            posterior,
            train,
            small_data,
            abundance.DENSITY,
            priors,
            np.random.default_rng(4),
            calibration=calibration,
            scored=scored,
            max_draws=40,
        ).tumours

    one = score(alone, mine)
    assert one["elpd"].notna().all()
    pd.testing.assert_frame_equal(score(alone, wide), one)
    # What is planted is the same in both cohorts: a spread that is not drawn from the prior costs nothing.
    assert one["gain"].sum() > 0


def test_a_mode_is_found_from_where_the_objective_is_not_concave():
    """Far from a mode a density falls off ever more slowly: a Newton step there leads away from it."""
    mode = np.array([3.0, -0.5])

    def objective(theta):
        distance = ((theta - mode) * np.array([1.0, 10.0])) ** 2
        return -200.0 * np.log1p(distance.sum(axis=1) / 4.0)

    start = np.array([[-3.0, 0.7], [0.0, -0.5], [3.0, 2.0], [3.0, -0.5]])
    _, hessian = _derivatives(objective, start, objective(start))
    assert (np.linalg.eigvalsh(-hessian)[:3].min(axis=1) < 0).all()
    at, root = _laplace(objective, start)
    np.testing.assert_allclose(at, np.tile(mode, (4, 1)), atol=1e-5)
    covariance = root @ np.swapaxes(root, 1, 2)
    np.testing.assert_allclose(covariance[0], np.diag([1.0, 0.01]) / 100.0, rtol=1e-3, atol=1e-8)
