"""Statistics of a published claim against closed forms, R, and worked examples of the papers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from bayes_her2.evidence.audit import (
    NEUTRAL_PRIOR,
    Counts,
    Estimate,
    NormalPrior,
    Range,
    advocacy_limit,
    benjamini_hochberg,
    bonferroni,
    correlation_se,
    critical_prior_sd,
    design_errors,
    difference,
    enthusiastic_prior,
    fisher_p,
    implied_n,
    odds_ratio_intervals,
    odds_ratio_of,
    over_rounding,
    p_value,
    posterior,
    quantile,
    rank_correlation_se,
    sceptical_prior,
    scepticism_limit,
    standard_error,
)

MIDCOURSE = Counts(9, 32, 17, 39)
COMPLETE = Counts(23, 36, 36, 50)
K = quantile(0.95)


# --- a fourfold table: R 4.2.2, glm(binomial), confint.default, confint and fisher.test (November 2026) ----


@pytest.mark.parametrize(
    ("counts", "wald", "profile", "exact", "p_wald", "p_fisher"),
    [
        (
            MIDCOURSE,
            (0.5063938619, 0.1868122914, 1.3726866762),
            (0.1812182233, 1.3515415032),
            (0.5112871928, 0.1633540823, 1.5208410429),
            0.1811020152,
            0.2201686048,
        ),
        (
            COMPLETE,
            (0.688034188, 0.2746105657, 1.7238631833),
            (0.2728420551, 1.7324034502),
            (0.6910954733, 0.2491563055, 1.9145206436),
            0.4249256586,
            0.4839875510,
        ),
    ],
)
def test_odds_ratio_of_a_fourfold_table_is_that_of_r(counts, wald, profile, exact, p_wald, p_fisher):
    found = odds_ratio_intervals(counts)
    assert found["Wald"] == pytest.approx(wald, rel=1e-7)
    assert found["profile likelihood"][1:] == pytest.approx(profile, rel=1e-4)  # R interpolates the profile
    assert found["conditional exact"] == pytest.approx(exact, rel=1e-4)  # R stops at a tolerance of 1e-4
    estimate = odds_ratio_of(counts)
    assert p_value(estimate.point, estimate.se) == pytest.approx(p_wald, rel=1e-6)
    assert fisher_p(counts) == pytest.approx(p_fisher, rel=1e-8)


def test_a_registry_of_a_hundred_thousand_takes_no_exact_interval():
    """9,812/60,095 against 9,372/39,688: odds ratio 0.63; Wald and profile likelihood agree to three digits."""
    found = odds_ratio_intervals(Counts(9812, 60095, 9372, 39688))
    assert set(found) == {"Wald", "profile likelihood"}
    assert found["Wald"] == pytest.approx((0.6312, 0.6115, 0.6515), abs=5e-5)
    assert found["profile likelihood"] == pytest.approx(found["Wald"], rel=1e-5)


# --- standard errors -----------------------------------------------------------------------------


def test_standard_error_of_an_interval_gives_its_width_back():
    se = standard_error(math.log(0.38), math.log(0.83))
    assert 2 * 1.959963985 * se == pytest.approx(math.log(0.83 / 0.38))
    assert standard_error(-1, 1, 0.90) == pytest.approx(1 / 1.644853627)


def test_fisher_z_has_variance_one_over_n_minus_three():
    assert correlation_se(103) == pytest.approx(0.1)


def test_spearman_has_the_variance_of_bonett_and_wright():
    assert rank_correlation_se(-0.44, 318) == pytest.approx(math.sqrt((1 + 0.44**2 / 2) / 315))
    assert implied_n(rank_correlation_se(-0.44, 318), -0.44) == pytest.approx(318)


# --- Analysis of Credibility ---------------------------------------------------------------------

CLAIMS = [(-2.3026, 0.7247), (2.2456, 0.7982), (0.5, 0.2), (-0.28, 0.05)]


@pytest.mark.parametrize(("point", "se"), CLAIMS)
def test_under_the_critical_prior_the_interval_just_reaches_the_null(point, se):
    sd = critical_prior_sd(point, se)
    assert sd is not None
    lower, upper = posterior(point, se, NormalPrior(0, sd)).interval()
    assert min(abs(lower), abs(upper)) == pytest.approx(0, abs=1e-9)
    wider = posterior(point, se, NormalPrior(0, 1.01 * sd)).interval()
    narrower = posterior(point, se, NormalPrior(0, 0.99 * sd)).interval()
    assert wider[0] * wider[1] > 0 > narrower[0] * narrower[1]


@pytest.mark.parametrize(("point", "se"), CLAIMS)
def test_scepticism_limit_is_that_of_matthews(point, se):
    """Matthews 2018, equation for significant findings, doi 10.1098/rsos.171047: (U - L)^2 / (4 sqrt(U L))."""
    lower, upper = point - K * se, point + K * se
    assert scepticism_limit(point, se) == pytest.approx((upper - lower) ** 2 / (4 * math.sqrt(upper * lower)))


def test_critical_prior_is_as_wide_as_the_data_at_the_threshold_of_intrinsic_credibility():
    """Held 2019, doi 10.1098/rsos.181534: at P 0.0056 the critical prior has the data's own variance."""
    z = math.sqrt(2) * K
    assert p_value(z, 1.0) == pytest.approx(0.0056, abs=5e-5)
    assert critical_prior_sd(z, 1.0) == pytest.approx(1.0)


def test_matthews_threshold_of_intrinsic_credibility():
    """Matthews 2018: an estimate lies beyond its own scepticism limit if P is below 0.013."""
    z = K * math.sqrt((1 + math.sqrt(5)) / 2)
    assert p_value(z, 1.0) == pytest.approx(0.013, abs=5e-4)
    assert scepticism_limit(z, 1.0) == pytest.approx(z)


def test_a_claim_that_includes_the_null_has_no_critical_prior_and_others_no_advocacy_limit():
    assert critical_prior_sd(1.9, 1.0) is None
    assert scepticism_limit(0.0, 1.0) is None
    assert advocacy_limit(2.0, 1.0) is None
    assert advocacy_limit(0.0, 1.0) is None


@pytest.mark.parametrize(("point", "se"), [(-0.68, 0.51), (-0.37, 0.47), (0.2, 0.3)])
def test_with_the_advocates_prior_the_interval_just_excludes_the_null(point, se):
    """Matthews 2018, equation for non-significant findings: AL = -(U + L)(U - L)^2 / (2 U L), prior from 0 to AL."""
    limit = advocacy_limit(point, se)
    assert limit is not None
    lower, upper = point - K * se, point + K * se
    assert limit == pytest.approx(-(upper + lower) * (upper - lower) ** 2 / (2 * upper * lower))
    ends = posterior(point, se, NormalPrior(limit / 2, abs(limit) / (2 * K))).interval()
    assert min(abs(ends[0]), abs(ends[1])) == pytest.approx(0, abs=1e-9)


# --- posterior -----------------------------------------------------------------------------------


def test_posterior_is_the_normalised_product_of_likelihood_and_prior():
    prior = NormalPrior(0.4, 0.3)
    mass, _ = quad(lambda t: norm.pdf(-0.5, t, 0.2) * norm.pdf(t, prior.mean, prior.sd), -5, 5)
    mean, _ = quad(lambda t: t * norm.pdf(-0.5, t, 0.2) * norm.pdf(t, prior.mean, prior.sd) / mass, -5, 5)
    below, _ = quad(lambda t: norm.pdf(-0.5, t, 0.2) * norm.pdf(t, prior.mean, prior.sd) / mass, -5, 0)
    found = posterior(-0.5, 0.2, prior)
    assert found.mean == pytest.approx(mean, rel=1e-7)
    assert found.probability_of_direction(-1) == pytest.approx(below, rel=1e-7)


def test_the_flat_prior_leaves_the_likelihood():
    found = posterior(-0.5, 0.2, NEUTRAL_PRIOR)
    assert (found.mean, found.sd) == (-0.5, 0.2)
    assert found.probability_of_direction(-1) == pytest.approx(1 - p_value(-0.5, 0.2) / 2)


def test_sceptic_and_enthusiast_leave_five_percent_beyond_effect_and_null():
    """Spiegelhalter, Freedman & Parmar 1994, doi 10.2307/2983527."""
    sceptic, enthusiast = sceptical_prior(math.log(1.5)), enthusiastic_prior(math.log(1.5), -1)
    assert norm.sf(math.log(1.5), sceptic.mean, sceptic.sd) == pytest.approx(0.05)
    assert enthusiast.mean == pytest.approx(-math.log(1.5))
    assert norm.sf(0, enthusiast.mean, enthusiast.sd) == pytest.approx(0.05)


# --- type S and type M ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effect", "se", "power", "type_s", "type_m"),
    [
        (0.1, 3.28, 0.05, 0.46, 77),
        (2, 8.1, 0.06, 0.24, 9.7),
        (0.3, 3.28, 0.05, 0.40, 25),
        (1.0, 3.28, 0.06, 0.19, 8),
    ],
)
def test_type_s_and_type_m_of_the_examples_of_gelman_and_carlin(effect, se, power, type_s, type_m):
    """Gelman & Carlin 2014, doi 10.1177/1745691614551642; they simulate type M with 10,000 draws (here 3 %)."""
    found = design_errors(effect, se)
    assert found.power == pytest.approx(power, abs=0.005)
    assert found.type_s == pytest.approx(type_s, abs=0.006)
    assert found.type_m == pytest.approx(type_m, rel=0.035)


def test_type_m_is_the_mean_size_of_significant_estimates():
    effect, se = 0.4, 0.3
    outside = [(-np.inf, -K * se), (K * se, np.inf)]
    mass = sum(quad(lambda t: norm.pdf(t, effect, se), *ends)[0] for ends in outside)
    size = sum(quad(lambda t: abs(t) * norm.pdf(t, effect, se), *ends)[0] for ends in outside)
    found = design_errors(-effect, se)
    assert found.power == pytest.approx(mass, rel=1e-7)
    assert found.type_m == pytest.approx(size / mass / effect, rel=1e-7)


# --- multiplicity: R 4.2.2, p.adjust(p, "BH", n = 15) -----------------------------------------------


def test_bonferroni_and_benjamini_hochberg_count_tests_that_are_not_printed():
    p = [0.02, 0.0049, 0.3, 0.0015]
    assert benjamini_hochberg(p, 15) == pytest.approx([0.1, 0.03675, 1.0, 0.0225])
    assert [bonferroni(one, 15) for one in p] == pytest.approx([0.3, 0.0735, 1.0, 0.0225])


# --- rounding ------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [p_value, critical_prior_sd, scepticism_limit])
def test_the_range_of_rounding_holds_every_value_that_rounds_alike(function):
    rng = np.random.default_rng(1)
    estimate = Estimate(-2.3, 0.72, Range(-2.34, -2.26), Range(0.67, 0.79))
    found = over_rounding(estimate, function)
    assert found is not None
    points = rng.uniform(-2.34, -2.26, 2000)
    errors = rng.uniform(0.67, 0.79, 2000)
    values = [function(a, b) for a, b in zip(points, errors, strict=True)]
    assert found.low <= min(values)
    assert found.high >= max(values)
    assert found.low == pytest.approx(min(values), rel=0.05)
    assert found.high == pytest.approx(max(values), rel=0.05)


def test_p_reaches_one_where_rounding_allows_no_effect():
    estimate = Estimate(0.001, 0.1, Range(-0.004, 0.006), Range(0.09, 0.11))
    found = over_rounding(estimate, p_value)
    assert found is not None
    assert found.high == 1.0


def test_a_quantity_that_is_not_defined_everywhere_has_no_range():
    assert over_rounding(Estimate(0.2, 0.1, Range(0.19, 0.21), Range(0.09, 0.11)), critical_prior_sd) is None


def test_difference_of_strata_adds_variances_and_widens_ranges():
    first = Estimate(1.0, 0.3, Range(0.9, 1.1), Range(0.2, 0.4))
    second = Estimate(-1.0, 0.4, Range(-1.2, -0.9), Range(0.3, 0.5))
    found = difference(first, second)
    assert (found.point, found.se) == pytest.approx((2.0, 0.5))
    assert (found.point_range.low, found.point_range.high) == pytest.approx((1.8, 2.3))
    assert (found.se_range.low, found.se_range.high) == pytest.approx(
        (math.hypot(0.2, 0.3), math.hypot(0.4, 0.5))
    )


def test_profile_limits_lie_where_the_deviance_has_risen_by_its_quantile():
    """Independent maximisation over the nuisance parameter, on the probability scale."""
    counts = COMPLETE
    a, b, c, d = counts.cells
    _, lower, upper = odds_ratio_intervals(counts)["profile likelihood"]

    def deviance(ratio: float) -> float:
        def minus(log_odds: float) -> float:
            p1 = 1 / (1 + math.exp(-(log_odds + math.log(ratio))))
            p0 = 1 / (1 + math.exp(-log_odds))
            return -(a * math.log(p1) + b * math.log(1 - p1) + c * math.log(p0) + d * math.log(1 - p0))

        return 2 * float(
            minimize_scalar(minus, bounds=(-5, 5), method="bounded", options={"xatol": 1e-10}).fun
        )

    for limit in (lower, upper):
        assert deviance(limit) - deviance(a * d / (b * c)) == pytest.approx(3.841458821, rel=1e-5)
