"""Mean effects by quadrature over the SD between studies: against closed forms and brute force on grids."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit

from bayes_her2.bayesian.between_studies import MeanEffects, Stratum
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.study_likelihood import (
    StudyLikelihood,
    log_two_arms,
    normal_likelihood,
    two_arm_likelihood,
)

BASE = Prior("Normal", {"mu": 0.0, "sigma": 2.0}, "of the model")
UNIT = Prior("Normal", {"mu": 0.0, "sigma": 1.0}, "of the model")


def half_normal(sigma: float) -> Prior:
    return Prior("HalfNormal", {"sigma": sigma}, "tried")


def pooled(studies: list[StudyLikelihood], *sigmas: float, prior: Prior = UNIT) -> MeanEffects:
    return MeanEffects((Stratum((1.0,), tuple(studies)),), (prior,), tuple(map(half_normal, sigmas)))


def given_base(theta: float, base: np.ndarray, counts: tuple[int, int, int, int]) -> np.ndarray:
    """Probability of the events, in scipy's words, times the density of the base."""
    n1, r1, n0, r0 = counts
    return np.asarray(
        stats.norm.pdf(base, 0, 2)
        * stats.binom.pmf(r1, n1, expit(base + theta / 2))
        * stats.binom.pmf(r0, n0, expit(base - theta / 2))
    )


@pytest.mark.parametrize(
    ("counts", "at"),
    [
        ((36, 23, 50, 36), (-1.5, -0.4, 0.5)),
        ((15, 0, 20, 6), (-8.0, -2.0, 0.0)),
        ((15, 0, 20, 0), (-4.0, 0.0, 4.0)),
        ((17, 5, 60_000, 9_000), (-0.3, 0.85, 2.0)),  # the base is known 30 times better than the ratio
    ],
)
def test_the_base_of_two_arms_is_integrated_over_its_prior(counts, at):
    base = np.linspace(-20, 20, 400_001)
    expected = [float(np.trapezoid(given_base(theta, base, counts), base)) for theta in at]
    n1, r1, n0, r0 = counts
    coefficients = sum(stats.binom.logpmf(r, n, 0.5) + n * math.log(2) for n, r in ((n1, r1), (n0, r0)))
    found = log_two_arms(np.array(at), *counts, base=BASE) + coefficients
    assert found == pytest.approx(np.log(expected), abs=1e-6)
    tabulated = two_arm_likelihood("x", *counts, base=BASE).log(np.array(at))
    assert np.diff(tabulated) == pytest.approx(np.diff(np.log(expected)), abs=1e-5)


def test_a_table_whose_ratio_has_no_bound_is_one_sided():
    # No event in one arm, and nothing but events in the other: no base stands against an infinite ratio.
    assert two_arm_likelihood("x", 15, 0, 20, 20, base=BASE).one_sided
    assert not two_arm_likelihood("x", 15, 0, 20, 6, base=BASE).one_sided


@pytest.mark.parametrize("scale", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("se", [0.01, 0.3, 3.0])
def test_one_normal_study_has_a_posterior_in_one_dimension(scale, se):
    effects = pooled([normal_likelihood("a", -0.5, se)], 0.1, 0.5, 1.0).of((1.0,))
    tau = np.linspace(0, 10 * scale, 100_001)
    total = se**2 + tau**2
    weight = stats.halfnorm.pdf(tau, scale=scale) * stats.norm.pdf(-0.5, 0, np.sqrt(1 + total))
    weight[0] /= 2
    weight /= weight.sum()
    mean, variance = -0.5 / (1 + total), total / (1 + total)
    for given, sd in ((effects, np.sqrt(variance)), (effects.new_study(), np.sqrt(variance + tau**2))):
        found = given.under(half_normal(scale))
        for p in (0.025, 0.5, 0.975):
            q = found.quantile(p)
            assert weight @ stats.norm.cdf(q, mean, sd) == pytest.approx(p, abs=1e-5)
            assert found.pdf(np.array([q]))[0] == pytest.approx(
                weight @ stats.norm.pdf(q, mean, sd), rel=1e-3
            )
    assert found.spread_moments[0] == pytest.approx(float(weight @ tau), rel=1e-5)


COUNTS = {
    "HR+": [(60, 4, 50, 8), (15, 0, 20, 6)],
    "HR-": [(36, 23, 50, 36), (40, 12, 44, 20), (25, 9, 30, 8)],
}
CODE = {"HR+": -0.5, "HR-": 0.5}


@pytest.fixture(scope="module")
def brute():
    """Two strata of counts: base, effects, both means and the spread on grids; weights by (spread, HR+, HR-)."""
    theta, base = np.linspace(-10, 8, 1_201), np.linspace(-12, 12, 481)
    m = np.linspace(-4, 3, 141)
    tau = (np.arange(60) + 0.5) * 0.05  # midpoints: at no tau is the kernel too narrow for the grid
    kernel = stats.norm.pdf(theta[:, None, None], m[:, None], tau)
    of_mean = {}
    for hr, tables in COUNTS.items():
        of_mean[hr] = np.ones((len(m), len(tau)))
        for n1, r1, n0, r0 in tables:
            joint = (
                stats.binom.pmf(r1, n1, expit(base[:, None] + theta / 2))
                * stats.binom.pmf(r0, n0, expit(base[:, None] - theta / 2))
                * stats.norm.pdf(base, 0, 2)[:, None]
            )
            of_mean[hr] *= np.einsum("t,tmv->mv", joint.sum(axis=0), kernel) * (theta[1] - theta[0])
    midway, difference = (m[:, None] + m) / 2, m - m[:, None]
    prior = stats.norm.pdf(midway) * stats.norm.pdf(difference)
    likelihood = of_mean["HR+"].T[:, :, None] * of_mean["HR-"].T[:, None, :]
    return m, tau, likelihood * prior


@pytest.mark.parametrize("scale", [0.25, 0.5, 1.0])
def test_counts_in_two_strata_equal_brute_force(brute, scale):
    m, tau, weight = brute
    weight = weight * stats.halfnorm.pdf(tau, scale=scale)[:, None, None]
    weight /= weight.sum()
    strata = tuple(
        Stratum((1.0, CODE[hr]), tuple(two_arm_likelihood(str(t), *t, base=BASE) for t in tables))
        for hr, tables in COUNTS.items()
    )
    effects = MeanEffects(strata, (UNIT, UNIT), (half_normal(0.25), half_normal(1.0)))
    rows = {"HR+": (1.0, -0.5), "HR-": (1.0, 0.5), "difference": (0.0, 1.0)}
    values = {"HR+": m[:, None] + 0 * m, "HR-": m + 0 * m[:, None], "difference": m - m[:, None]}
    for name, row in rows.items():
        given = effects.of(row)
        found = given.under(half_normal(scale))
        mean = float((weight * values[name]).sum())
        second = float((weight * values[name] ** 2).sum())
        # Midpoints 0.05 apart in tau, where the density at 0 is not flat: an error of 0.05^2 / 24 of its slope.
        assert found.moments[0] == pytest.approx(mean, abs=1e-3), name
        assert found.moments[1] == pytest.approx(math.sqrt(second - mean**2), abs=1e-3), name
        spread = float((weight * tau[:, None, None]).sum())
        assert found.spread_moments[0] == pytest.approx(spread, abs=1e-3), name
        new = given.new_study().under(half_normal(scale))
        variance = second - mean**2 + float((weight * tau[:, None, None] ** 2).sum())
        assert new.moments[1] == pytest.approx(math.sqrt(variance), abs=2e-3), name
        below = float(weight[:, values[name] < 0].sum() + 0.5 * weight[:, values[name] == 0].sum())
        assert found.cdf(np.zeros(1))[0] == pytest.approx(below, abs=2e-3), name


def test_every_quantity_sees_the_same_data():
    strata = (
        Stratum((1.0, -0.5), (normal_likelihood("a", -0.2, 0.15), normal_likelihood("b", 0.4, 0.3))),
        Stratum((1.0, 0.5), (normal_likelihood("c", -1.2, 0.02),)),
    )
    effects = MeanEffects(strata, (UNIT, UNIT), (half_normal(0.5),))
    asked = [effects.of(row) for row in ((1.0, -0.5), (1.0, 0.5), (0.0, 1.0), (1.0, 0.0))]
    asked += [given.new_study() for given in asked[:2]]
    weights = [given.under(half_normal(0.5)).weight for given in asked]
    for other in weights[1:]:
        np.testing.assert_allclose(other, weights[0], rtol=1e-6, atol=1e-12)


def test_studies_that_contradict_each_other_leave_the_spread_to_its_prior_s_tail():
    studies = [normal_likelihood("a", -0.3, 0.005), normal_likelihood("b", 0.3, 0.005)]
    found = pooled(studies, 0.1).of((1.0,)).under(half_normal(0.1))
    # Given tau (the errors are nothing beside it) the likelihood is N(0 | 0, tau^2 / 2 + 1) N(0.6 | 0, 2 tau^2).
    tau = np.linspace(1e-3, 1.0, 100_000)
    weight = stats.halfnorm.pdf(tau, scale=0.1) * stats.norm.pdf(0, 0, np.sqrt(1 + tau**2 / 2)) / tau
    weight *= np.exp(-(0.6**2) / (4 * tau**2))
    assert found.spread_moments[0] == pytest.approx(float(weight @ tau / weight.sum()), rel=1e-3)
    assert found.quantile(0.5) == pytest.approx(0.0, abs=1e-6)
