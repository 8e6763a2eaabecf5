"""The copula's Spearman, its likelihood, and the coverage of its intervals."""

from __future__ import annotations

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from rank_studies import laplace, log_density, scores, simulated_set
from scipy import stats
from scipy.special import log_ndtr, ndtri
from slow_studies import record

from bayes_her2.bayesian.censored import censored_loglik
from bayes_her2.bayesian.copula import (
    correlations,
    latent_spearman,
    normal_scores,
    rank_design,
    tied_spearman,
)

N, SETTINGS = 200, [(share, rho) for share in (0.0, 0.4) for rho in (0.0, 0.3, 0.6, 0.75)]

# --- the Spearman that a latent correlation implies --------------------------------------------------


@pytest.mark.parametrize("zero_share", [0.0, 0.1, 0.4, 0.8])
@pytest.mark.parametrize("rho", [-0.8, 0.3, 0.95])
def test_the_spearman_with_tied_zeros_is_that_of_a_million_tumours(rho, zero_share):
    rng = np.random.default_rng(3)
    x = rng.standard_normal(1_000_000)
    y = rho * x + np.sqrt(1 - rho**2) * rng.standard_normal(1_000_000)
    seen = np.where(y <= ndtri(zero_share), 0.0, np.exp(y)) if zero_share else y
    expected = stats.spearmanr(x, seen).statistic
    # SD of a Spearman correlation of a million is at most 0.001.
    assert float(tied_spearman(np.array(rho), np.array(zero_share))) == pytest.approx(expected, abs=0.004)


def test_without_zeros_it_is_the_spearman_of_a_bivariate_normal():
    rho = np.linspace(-0.99, 0.99, 23)
    assert tied_spearman(rho, np.zeros(23)) == pytest.approx(latent_spearman(rho), abs=1e-10)
    assert latent_spearman(np.array(0.5)) == pytest.approx(6 / np.pi * np.arcsin(0.25))


def test_the_spearman_with_ties_has_the_sign_of_rho_and_is_no_stronger():
    rho, share = np.meshgrid(np.linspace(-0.9, 0.9, 19), np.linspace(0.0, 0.8, 9))
    tied = tied_spearman(rho, share)
    assert (np.sign(tied.round(12)) == np.sign(rho.round(12))).all()
    assert (np.abs(tied) <= np.abs(latent_spearman(rho)) + 1e-9).all()


def test_any_real_numbers_give_a_valid_correlation_matrix():
    rng = np.random.default_rng(1)
    r = np.array([[1.0, 0.8, -0.3], [0.8, 1.0, 0.1], [-0.3, 0.1, 1.0]])
    fisher = rng.normal(0.0, 2.0, size=(500, 3, 4))
    rho = correlations(fisher, r)
    for one in np.moveaxis(rho, 2, 1).reshape(-1, 3):
        whole = np.block([[r, one[:, None]], [one[None, :], np.ones((1, 1))]])
        assert np.linalg.eigvalsh(whole)[0] > -1e-9
    single = correlations(fisher[:, :1], np.eye(1))
    assert single == pytest.approx(np.tanh(fisher[:, :1]))


def test_the_order_of_measures_does_not_matter():
    r = np.array([[1.0, 0.6, 0.2], [0.6, 1.0, 0.4], [0.2, 0.4, 1.0]])
    fisher, order = np.array([[0.4], [-0.2], [0.9]]), [2, 0, 1]
    assert correlations(fisher[order], r[np.ix_(order, order)]) == pytest.approx(
        correlations(fisher, r)[order]
    )


# --- zeros -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["NUMBA", "FAST_COMPILE"])
def test_the_censored_sum_and_its_gradient(mode):
    rng = np.random.default_rng(2)
    z, cell = rng.standard_normal((60, 2)), rng.integers(0, 5, size=60)
    bound, slope = rng.normal(size=5), rng.normal(size=(5, 2))
    b, s = pt.dvector(), pt.dmatrix()
    value = censored_loglik(b, s, z, cell)
    f = pytensor.function([b, s], [value, *pytensor.grad(value, [b, s])], mode=mode)

    def plain(bound, slope):
        return log_ndtr(bound[cell] - (slope[cell] * z).sum(axis=1)).sum()

    total, by_bound, by_slope = f(bound, slope)
    assert float(total) == pytest.approx(plain(bound, slope), rel=1e-12)
    for i in range(5):
        e = np.zeros(5)
        e[i] = 1e-6
        assert by_bound[i] == pytest.approx(
            (plain(bound + e, slope) - plain(bound - e, slope)) / 2e-6, rel=1e-5
        )
        for j in range(2):
            d = np.zeros((5, 2))
            d[i, j] = 1e-6
            by_difference = (plain(bound, slope + d) - plain(bound, slope - d)) / 2e-6
            assert by_slope[i, j] == pytest.approx(by_difference, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("x", [-200.0, -30.0, -25.0, -24.9, -5.0, 0.0, 5.0, 40.0])
def test_the_normal_tail_is_accurate_and_its_gradient_finite(x):
    b, s = pt.dvector(), pt.dmatrix()
    value = censored_loglik(b, s, np.zeros((1, 1)), np.zeros(1, dtype=int))
    f = pytensor.function([b, s], [value, pytensor.grad(value, b)], mode="NUMBA")
    total, slope = f(np.array([x]), np.zeros((1, 1)))
    assert float(total) == pytest.approx(log_ndtr(x), rel=1e-8, abs=1e-300)
    ratio = np.exp(stats.norm.logpdf(x) - log_ndtr(x))
    assert slope[0] == pytest.approx(ratio, rel=1e-5, abs=1e-300)


# --- scores ------------------------------------------------------------------------------------------


def test_normal_scores_take_midranks_over_n_plus_one():
    assert normal_scores(np.array([3.0, 1.0, 1.0])) == pytest.approx(ndtri(np.array([3.0, 1.5, 1.5]) / 4.0))


def test_sums_over_positives_are_those_of_the_tumours():
    data = simulated_set(5, {("A", "HR+"): 40, ("A", "HR-"): 30}, {"X": [0.3], "Y": [0.1]}, {"X": 0.4})
    design = rank_design(data)
    g = next(k for k, group in enumerate(design.groups) if group.stratum == "HR-")
    c = design.outcomes.index("X")
    index = data.tumours.index[data.tumours["hr"] == "HR-"]
    y = data.abundance.loc[index, "X"].to_numpy(float)
    z, score, positive = scores(data.tumours.loc[index, "her2"].to_numpy(float)), scores(y), y > 0
    assert design.n_positive[g, c] == positive.sum()
    assert design.zz[g, c, 0, 0] == pytest.approx(sum(v * v for v in z[positive]))
    assert design.zy[g, c, 0] == pytest.approx(
        sum(a * b for a, b in zip(z[positive], score[positive], strict=True))
    )
    assert design.yy[g, c] == pytest.approx(sum(v * v for v in score[positive]))
    rows = design.zero_cell == g * len(design.outcomes) + c
    assert sorted(design.zero_scores[rows, 0]) == pytest.approx(sorted(z[~positive]))
    assert design.threshold[g, c] == pytest.approx(ndtri((~positive).mean()))


# --- coverage ----------------------------------------------------------------------------------------


def draw(rng, fits, rho, zero_share, between=0.0):
    """Scores of M measures and one outcome with latent correlations `rho`, in `fits` data sets of N tumours."""
    rho = np.atleast_1d(rho)
    m = len(rho)
    r = np.full((m, m), between) + (1.0 - between) * np.eye(m)
    x = rng.standard_normal((fits, N, m)) @ np.linalg.cholesky(r).T
    weight = np.linalg.solve(r, rho)
    y = x @ weight + np.sqrt(1.0 - rho @ weight) * rng.standard_normal((fits, N))
    seen = np.where(y <= ndtri(zero_share), 0.0, np.exp(y)) if zero_share else np.exp(y)
    z = np.stack([scores(x[:, :, j]) for j in range(m)], axis=2)
    return z, scores(seen), seen == 0.0


def intervals(z, score, zero, margins):
    """Mode and SD of Fisher z of one measure: margins free as in the model, or known in whole or in part."""
    fits = len(z)
    ones = np.ones((fits, 1, 1))

    def density(p):
        covariance = ones * np.exp(2.0 * p[:, 2])[:, None, None] if margins == "free" else ones
        if margins != "known":
            return (
                log_density(z, score, zero, p[:, :1], p[:, 1], covariance) - (p[:, 1:] ** 2).sum(axis=1) * 2.0
            )
        return log_density(z, score, zero, p[:, :1], np.zeros(fits), covariance)

    size = {"free": 3, "exposure known": 2, "known": 1}[margins]
    mode, variance = laplace(density, np.zeros((fits, size)))
    return mode[:, 0], np.sqrt(variance[:, 0, 0])


def coverage(fits, rho, zero_share, margins, seed):
    mode, sd = intervals(*draw(np.random.default_rng(seed), fits, rho, zero_share), margins)
    return float((np.abs(mode - np.arctanh(rho)) < 1.959964 * sd).mean())


@pytest.mark.parametrize(("zero_share", "rho"), SETTINGS)
def test_intervals_cover_with_free_margins(zero_share, rho):
    # 300 fits: three binomial SDs around 0.95 are 0.038.
    assert coverage(300, rho, zero_share, "free", 11) == pytest.approx(0.95, abs=0.038)


@pytest.mark.slow
@pytest.mark.parametrize(("zero_share", "rho"), SETTINGS)
def test_intervals_cover_with_free_margins_in_2000_fits(zero_share, rho):
    found = record(
        "copula_coverage",
        f"margins free, rho {rho}, zeros {zero_share:.0%}",
        fits=2_000,
        seed="12",
        value=coverage(2_000, rho, zero_share, "free", 12),
        expected="0.935 to 0.965",
    )
    assert 0.935 <= found <= 0.965


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.6, 0.75])
@pytest.mark.parametrize("zero_share", [0.0, 0.4])
def test_known_margins_leak_information(zero_share, rho):
    known, partly = (
        record(
            "copula_coverage",
            f"margins {margins}, rho {rho}, zeros {zero_share:.0%}",
            fits=2_000,
            seed="12",
            value=coverage(2_000, rho, zero_share, margins, 12),
            expected="below 0.935: known margins leak information",
        )
        for margins in ("known", "exposure known")
    )
    assert 0.86 <= known <= 0.92
    # Freeing slope and residual SD of the outcome is not enough while the exposure's SD counts as known.
    assert known < partly < 0.935


def test_known_margins_leak_information_in_a_few_fits():
    # Nominal 95 %: with 300 fits 0.912 is three binomial SDs below.
    assert coverage(300, 0.75, 0.0, "known", 11) < 0.912


def difference(p):
    """rho_1 - rho_2 of the parameters that `difference_fits` estimates."""
    r = np.tanh(p[:, 5])
    matrix = np.stack([np.stack([np.ones_like(r), r], 1), np.stack([r, np.ones_like(r)], 1)], 1)
    found = correlations(p[:, :2, None], matrix)[:, :, 0]
    return found[:, 0] - found[:, 1]


def difference_fits(z, score, zero, between):
    """rho_1 - rho_2 of two measures in the same tumours, and its SD: two Fisher z, three SDs, one correlation free."""

    def covariance(p):
        a, b, c = np.exp(p[:, 3]), np.exp(p[:, 4]), np.tanh(p[:, 5])
        return np.stack([np.stack([a * a, a * b * c], 1), np.stack([a * b * c, b * b], 1)], 1)

    def density(p):
        return log_density(z, score, zero, p[:, :2], p[:, 2], covariance(p))

    start = np.zeros((len(z), 6))
    start[:, 5] = np.arctanh(between)
    mode, variance = laplace(density, start)
    gradient = np.stack(
        [(difference(mode + e) - difference(mode - e)) / 2e-5 for e in np.eye(6) * 1e-5], axis=1
    )
    return difference(mode), np.sqrt(np.einsum("bi,bij,bj->b", gradient, variance, gradient))


def difference_coverage(fits, rho, between, zero_share, seed):
    """Coverage of the interval of rho_1 - rho_2."""
    found, sd = difference_fits(
        *draw(np.random.default_rng(seed), fits, np.array(rho), zero_share, between), between
    )
    return float((np.abs(found - (rho[0] - rho[1])) < 1.959964 * sd).mean())


def test_without_zeros_a_difference_has_the_variance_of_olkin_and_siotani():
    # Their asymptotic variance of the difference of two correlations that share a variable, of a multivariate normal.
    z, score, zero = draw(np.random.default_rng(5), 20, np.array([0.6, 0.2]), 0.0, 0.6)
    found, sd = difference_fits(z, score, zero, 0.6)
    for i in range(20):
        r = np.corrcoef(np.column_stack([z[i], score[i]]), rowvar=False)
        a, h, k = r[0, 2], r[1, 2], r[0, 1]
        covariance = (k - a * h / 2) * (1 - a**2 - h**2 - k**2) + k**3
        assert found[i] == pytest.approx(a - h, abs=1e-6)
        assert sd[i] == pytest.approx(
            np.sqrt(((1 - a**2) ** 2 + (1 - h**2) ** 2 - 2 * covariance) / N), rel=1e-5
        )


@pytest.mark.parametrize("zero_share", [0.0, 0.4])
def test_the_difference_of_two_dependent_measures_is_covered(zero_share):
    # 200 fits: three binomial SDs around 0.95 are 0.046.
    assert difference_coverage(200, (0.5, 0.25), 0.5, zero_share, 21) == pytest.approx(0.95, abs=0.046)


@pytest.mark.slow
@pytest.mark.parametrize("zero_share", [0.0, 0.4])
@pytest.mark.parametrize(("rho", "between"), [((0.5, 0.25), 0.5), ((0.3, 0.3), 0.7), ((0.6, 0.2), 0.6)])
def test_the_difference_of_two_dependent_measures_is_covered_in_6000_fits(rho, between, zero_share):
    shares = [difference_coverage(2_000, rho, between, zero_share, seed) for seed in (22, 23, 24)]
    found = record(
        "copula_difference_coverage",
        f"rho {rho[0]} and {rho[1]}, between measures {between}, zeros {zero_share:.0%}",
        fits=6_000,
        seed="22, 23, 24",
        value=float(np.mean(shares)),
        expected="0.935 to 0.965",
    )
    assert 0.935 <= found <= 0.965
