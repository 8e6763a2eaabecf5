"""The scaled Dirichlet: its density, its draws, and its means over which cell types are present."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import dblquad, quad

from bayes_her2.bayesian.scaled_dirichlet import log_density, mean_shares, random_shares, share_above


def density(y, log_mean, shape) -> float:
    y = np.asarray(y, dtype=float)
    return float(np.exp(log_density(y, y > 0, np.asarray(log_mean), np.log(shape))))


def test_with_one_scale_it_is_the_dirichlet_of_the_present_cell_types():
    rng = np.random.default_rng(1)
    shape = rng.gamma(2.0, 1.0, size=(40, 5)) + 0.2
    counted = rng.random((40, 5)) < 0.7
    counted[:, 0] = True
    y = random_shares(rng, np.log(shape), shape, counted)
    found = log_density(y, counted, np.log(shape), np.log(shape))  # mean = shape: every scale is 1
    for row, own, a, value in zip(y, counted, shape, found, strict=True):
        expected = stats.dirichlet.logpdf(row[own], a[own]) if own.sum() > 1 else 0.0
        assert value == pytest.approx(expected, rel=1e-10, abs=1e-10)


def test_two_shares_are_a_ratio_of_gammas():
    # y = G1 / (G1 + G2), so y / (1 - y) is a ratio of gammas: F distributed but for its scale.
    a, m, y = np.array([1.7, 0.8]), np.array([0.02, 0.3]), 0.2
    ratio = y / (1 - y) / (m[0] / m[1])
    expected = stats.f.pdf(ratio, 2 * a[0], 2 * a[1]) * (m[1] / m[0]) / (1 - y) ** 2
    assert density([y, 1 - y], np.log(m), a) == pytest.approx(expected, rel=1e-10)


def test_the_density_integrates_to_1():
    a, log_mean = np.array([1.6, 2.4, 3.1]), np.array([-3.0, -1.0, -2.0])
    two = quad(lambda y: density([y, 1 - y], log_mean[:2], a[:2]), 0, 1, epsabs=1e-11)[0]
    assert two == pytest.approx(1.0, abs=1e-8)
    three = dblquad(
        lambda y, x: density([x, y, 1 - x - y], log_mean, a), 0, 1, 0, lambda x: 1 - x, epsabs=1e-8
    )[0]
    assert three == pytest.approx(1.0, abs=1e-6)


def test_a_level_common_to_all_cell_types_changes_nothing():
    rng = np.random.default_rng(2)
    log_mean, shape = rng.normal(-3, 1, 6), rng.gamma(2, 1, 6)
    y = random_shares(rng, log_mean, shape, np.ones(6))
    one, other = (log_density(y, y > 0, log_mean + level, np.log(shape)) for level in (0.0, 4.0))
    assert other == pytest.approx(one, rel=1e-12)
    present = rng.uniform(0.2, 1.0, 6)
    means = [mean_shares(present, log_mean + level, shape)[0] for level in (0.0, -700.0)]
    np.testing.assert_allclose(*means, rtol=1e-12)


def test_leaving_out_a_cell_type_leaves_the_others_their_distribution():
    # The marginal density of y1 / (y1 + y2) under three cell types is the density of two.
    a, log_mean = np.array([1.6, 2.4, 3.1]), np.array([-2.5, -1.0, -2.0])
    z = 0.3
    # y = (t z, t (1 - z), 1 - t): the Jacobian is t.
    found = quad(
        lambda t: t * density([t * z, t * (1 - z), 1 - t], log_mean, a), 0, 1, epsabs=1e-12, epsrel=1e-10
    )[0]
    assert found == pytest.approx(density([z, 1 - z], log_mean[:2], a[:2]), rel=1e-8)


def test_one_cell_type_or_none_says_nothing():
    log_mean, log_shape = np.array([-2.0, 1.0]), np.array([0.3, -0.4])
    for y in ([1.0, 0.0], [0.0, 1.0], [0.0, 0.0]):
        y = np.array(y)
        assert log_density(y, y > 0, log_mean, log_shape) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("n_cells", [2, 4, 6])
def test_mean_shares_are_those_of_all_present_sets_one_by_one(n_cells):
    # With one scale the mean given a present set is closed: a_c / sum of a over the set.
    rng = np.random.default_rng(n_cells)
    for _ in range(5):
        a = rng.gamma(1.5, 0.8, n_cells) + 0.05
        p = rng.uniform(0.02, 0.98, n_cells)
        expected, none = np.zeros(n_cells), np.prod(1 - p)
        for present in product([0, 1], repeat=n_cells):
            own = np.array(present)
            if own.any():
                expected += np.prod(np.where(own, p, 1 - p)) * own * a / (own * a).sum()
        given_present, any_present = mean_shares(p, np.log(a), a)
        np.testing.assert_allclose(p * given_present, expected, atol=1e-10)
        np.testing.assert_allclose(given_present, expected / p, rtol=1e-8)
        assert any_present == pytest.approx(1 - none, abs=1e-14)


def test_mean_shares_with_unequal_scales_are_integrals_over_the_simplex():
    a, log_mean, p = np.array([1.6, 2.4, 3.1]), np.array([-3.0, -1.0, -2.0]), np.array([0.6, 0.9, 0.4])

    def mean_of_first(own: list[int]) -> float:
        """E[y_0] given the present set, by integrating the density."""
        m, s = log_mean[own], a[own]
        if len(own) == 1:
            return 1.0
        if len(own) == 2:
            return quad(lambda y: y * density([y, 1 - y], m, s), 0, 1, epsabs=1e-11)[0]
        return dblquad(lambda y, x: x * density([x, y, 1 - x - y], m, s), 0, 1, 0, lambda x: 1 - x)[0]

    chance = {(0, 1): p[1] * (1 - p[2]), (0, 2): p[2] * (1 - p[1]), (0, 1, 2): p[1] * p[2]}
    expected = (1 - p[1]) * (1 - p[2]) + sum(c * mean_of_first(list(own)) for own, c in chance.items())
    assert mean_shares(p, log_mean, a)[0][0] == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("n_cells", [2, 3, 6, 22])
def test_mean_shares_sum_to_1(n_cells):
    rng = np.random.default_rng(n_cells)
    p = rng.beta(1.5, 1.0, size=(200, n_cells)).clip(1e-6, 1.0)
    log_mean = rng.normal(-3, 2, size=(200, n_cells))
    given_present, any_present = mean_shares(p, log_mean, np.exp(rng.normal(0.3, 0.7, size=(200, n_cells))))
    np.testing.assert_allclose((p * given_present).sum(axis=1) / any_present, 1.0, atol=1e-9)
    assert (given_present > 0).all()
    assert (given_present < 1 + 1e-9).all()


def test_draws_have_the_means_of_the_quadrature_and_exact_zeros():
    rng = np.random.default_rng(3)
    n, p = 200_000, np.array([0.3, 0.9, 0.6, 1.0])
    log_mean, shape = np.array([-3.0, -1.0, -2.0, -2.5]), np.array([0.4, 2.0, 5.0, 1.0])
    present = rng.random((n, 4)) < p
    y = random_shares(rng, log_mean, shape, present)
    np.testing.assert_array_equal(y == 0, ~present)
    np.testing.assert_allclose(y.sum(axis=1), 1.0, rtol=1e-12)
    given_present, any_present = mean_shares(p, log_mean, shape)
    assert any_present == 1.0
    for c in range(4):
        own = y[present[:, c], c]
        assert abs(own.mean() - given_present[c]) < 4 * own.std() / np.sqrt(len(own))


def test_small_shapes_do_not_lose_a_cell_type_that_is_present():
    rng = np.random.default_rng(4)
    y = random_shares(rng, np.zeros(3), np.full((5_000, 3), 0.02), np.ones(3))
    assert np.isfinite(y).all()
    np.testing.assert_allclose(y.sum(axis=1), 1.0, rtol=1e-12)
    assert (random_shares(rng, np.zeros(3), np.ones(3), np.zeros(3)) == 0).all()


def exceeds(c: int, cutoff: float, p, log_mean, a) -> float:
    """P(y_c >= cutoff | c present) by inversion of a characteristic function (Gil-Pelaez).

    The share exceeds the cutoff where G_c - k R > 0, k = cutoff / (1 - cutoff): P = 1/2 + 1/pi int Im phi(s) / s ds.
    """
    scale, k = np.exp(log_mean) / a, cutoff / (1 - cutoff)
    scale = scale / (p * np.exp(log_mean)).sum()

    def integrand(log_s: float) -> float:
        s = np.exp(log_s)
        others = 1 - p + p * (1 + 1j * s * k * scale) ** -a
        return float(((1 - 1j * s * scale[c]) ** -a[c] * np.delete(others, c).prod()).imag)

    return 0.5 + quad(integrand, -40, 40, limit=4000, epsabs=1e-11, points=[-4, -2, 0, 2, 4, 6])[0] / np.pi


def test_the_chance_to_exceed_a_cutoff_of_two_shares_is_closed():
    # y / (1 - y) is a scaled F; the first cell type is alone with chance 0.3, and then has the whole.
    a, log_mean, p, q = np.array([1.7, 0.8]), np.array([-2.0, -1.0]), np.array([0.5, 0.7]), 0.4
    both = stats.f.sf(q / (1 - q) / np.exp(log_mean[0] - log_mean[1]), 2 * a[0], 2 * a[1])
    found = share_above(np.array([q, 0.0]), p, log_mean, a)
    assert found[0] == pytest.approx(0.3 + 0.7 * both, abs=1e-8)
    assert found[1] == 1.0


# Largest error over random cell types, some of which have nearly all: the docstring's 0.01.
@pytest.mark.parametrize(("n_cells", "error"), [(4, 0.008), (6, 0.008), (8, 0.012), (16, 0.008), (22, 0.008)])
def test_the_chance_to_exceed_a_cutoff_is_near_the_inversion(n_cells, error):
    rng = np.random.default_rng(n_cells)
    worst = []
    for _ in range(6):
        p, log_mean = rng.uniform(0.3, 1, n_cells), rng.normal(-3, 1, n_cells)
        a = rng.gamma(3, 0.5, n_cells) + 0.5
        cutoff = np.minimum(rng.uniform(0.5, 2, n_cells) * np.exp(log_mean) / np.exp(log_mean).sum(), 0.8)
        found = share_above(cutoff, p, log_mean, a)
        cells = range(min(n_cells, 8))
        worst.append(max(abs(found[c] - exceeds(c, cutoff[c], p, log_mean, a)) for c in cells))
    assert max(worst) < error
    assert np.median(worst) < 0.004


def test_log_odds_ratios_of_a_tumour_like_those_observed_are_exact_to_three_digits():
    # 22 cell types with the sizes of means, shapes and zero shares of LM22 in breast tumours.
    rng = np.random.default_rng(6)
    p = np.concatenate([np.ones(2), rng.uniform(0.1, 0.98, 20)])
    log_mean = np.concatenate([np.log([0.3, 0.1]), rng.normal(np.log(0.04), 0.4, 20)])
    a, slope = rng.uniform(0.8, 3.2, 22), rng.normal(0, 0.15, 22)
    cells = [0, 1, 5, 9, 13]
    cutoff = np.zeros(22)
    cutoff[cells] = np.exp(log_mean[cells]) / (p * np.exp(log_mean)).sum()

    def log_odds(step: float) -> tuple[np.ndarray, np.ndarray]:
        level = log_mean + step * slope
        near = share_above(cutoff, p, level, a)[cells]
        exact = np.array([exceeds(c, cutoff[c], p, level, a) for c in cells])
        return tuple(np.log(p[cells] * x / (1 - p[cells] * x)) for x in (near, exact))

    (near, exact), (near_up, exact_up) = log_odds(0.0), log_odds(1.0)
    assert np.abs(exact_up - exact).max() > 0.2
    np.testing.assert_allclose(near_up - near, exact_up - exact, atol=1e-3)
