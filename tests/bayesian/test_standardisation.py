"""Gauss quadrature of an empirical distribution, against sums over every single value."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit

from bayes_her2.bayesian.standardisation import (
    N_NODES,
    batched_quadrature,
    empirical_quadrature,
    support_points,
)

VALUES = {
    "normal": np.random.default_rng(1).normal(size=581),
    "skewed": np.random.default_rng(2).gamma(0.7, size=200) - 1,
    "with ties": np.round(np.random.default_rng(3).normal(size=150), 1),
    "far from zero": 1e4 + np.random.default_rng(4).normal(size=100),
    "one outlier": np.r_[np.random.default_rng(5).normal(size=60), 6.0],
    "nine values": np.arange(9.0),
}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_sums_of_polynomials_up_to_degree_15_are_exact(values):
    nodes, weights = empirical_quadrature(values)
    centre, spread = values.mean(), np.ptp(values) / 2
    assert len(nodes) == N_NODES
    for degree in range(2 * N_NODES):
        exact = (((values - centre) / spread) ** degree).sum()
        by_nodes = (weights * ((nodes - centre) / spread) ** degree).sum()
        assert by_nodes == pytest.approx(exact, rel=1e-8, abs=1e-8 * len(values)), degree


def test_degree_16_is_not():
    # Gauss quadrature of n nodes is exact to degree 2 n - 1 and no further.
    values = np.arange(9.0)
    nodes, weights = empirical_quadrature(values)
    scaled, at = (values - 4) / 4, (nodes - 4) / 4
    assert abs((weights * at**16).sum() - (scaled**16).sum()) > 1e-6


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_weights_are_positive_sum_to_n_and_nodes_stay_within_the_values(values):
    nodes, weights = empirical_quadrature(values)
    assert (weights > 0).all()
    assert weights.sum() == pytest.approx(len(values), rel=1e-12)
    tolerance = 1e-9 * np.ptp(values)
    assert values.min() - tolerance <= nodes.min()
    assert nodes.max() <= values.max() + tolerance


@pytest.mark.parametrize(
    ("slope", "tolerance"),
    [(-0.3, 1e-6), (0.0, 1e-12), (0.6, 1e-6), (-1.0, 2e-6), (1.0, 2e-6), (-1.5, 1e-4), (1.5, 1e-4)],
)
@pytest.mark.parametrize("intercept", [-3.0, 0.5])
def test_the_functions_that_estimands_average_are_right_to_6_digits(slope, intercept, tolerance):
    # Four digits where odds change 4.5-fold and amounts 2.1-fold per SD: far less than Monte Carlo error.
    h = VALUES["normal"]  # as many tumours as TCGA has HR+, out to 3.2 SD
    nodes, weights = empirical_quadrature(h)
    functions = {
        "E[y]": lambda x: expit(intercept + slope * x) * np.exp(-3 + 0.5 * slope * x),
        "P(high)": lambda x: (
            expit(1 + slope * x) * stats.gamma.sf(0.05, 2.0, scale=np.exp(-3 + slope * x / 3) / 2.0)
        ),
    }
    for name, function in functions.items():
        assert (weights * function(nodes)).sum() == pytest.approx(function(h).sum(), rel=tolerance), name


@pytest.mark.parametrize(
    "values", [[2.0], [1.0, 1.0, 5.0], [3.0] * 40, [4.0, 1.0, 2.0, 3.0, 8.0, 7.0, 6.0, 5.0]]
)
def test_with_no_more_distinct_values_than_nodes_the_values_stand_for_themselves(values):
    nodes, weights = empirical_quadrature(np.array(values))
    expected = pd.Series(values).value_counts().sort_index()
    np.testing.assert_array_equal(nodes, expected.index)
    np.testing.assert_array_equal(weights, expected.to_numpy(float))


def test_values_that_differ_by_rounding_do_no_harm():
    values = np.r_[np.linspace(0, 1, 5), 1 + 1e-15, 1e-16, 0.25 + 1e-16, 0.5 + 2e-16, 0.75 + 2e-16]
    nodes, weights = empirical_quadrature(values)
    assert np.isfinite(nodes).all()
    assert (weights >= 0).all()
    assert (weights * np.exp(nodes)).sum() == pytest.approx(np.exp(values).sum(), rel=1e-12)


def test_the_order_of_the_values_does_not_matter():
    values = VALUES["skewed"]
    one, other = empirical_quadrature(values), empirical_quadrature(values[::-1])
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])


def alike_groups() -> tuple[np.ndarray, pd.DataFrame]:
    rng = np.random.default_rng(6)
    alike = pd.DataFrame(
        {
            "cohort": rng.choice(["A", "B"], size=120),
            "hr": rng.choice(["HR+", "HR-"], size=120, p=[0.8, 0.2]),
            "grade: II": rng.choice([-0.4, 0.6], size=120),
            "centre": rng.choice(["1", "2", None], size=120),  # missing is a group, not a loss
        }
    )
    return rng.normal(size=120), alike


def test_every_tumour_is_stood_for_once_and_by_one_of_its_kind():
    h, alike = alike_groups()
    support = support_points(h, alike)
    keys = alike.astype(object).where(alike.notna(), "none").apply(tuple, axis=1)
    by_points = pd.Series(support.weight).groupby(keys.iloc[support.row].to_numpy()).sum()
    counts = keys.value_counts().sort_index()
    np.testing.assert_allclose(by_points.sort_index(), counts, rtol=1e-12)
    assert support.weight.sum() == pytest.approx(120)
    assert len(support.h) == len(support.weight) == len(support.row)


def test_a_sum_over_groups_equals_the_sum_over_tumours():
    h, alike = alike_groups()
    support = support_points(h, alike)
    shift = alike["grade: II"].to_numpy() + (alike["cohort"] == "A")
    exact = expit(shift + 0.7 * h).sum()
    assert (support.weight * expit(shift.iloc[support.row] + 0.7 * support.h)).sum() == pytest.approx(
        exact, rel=1e-6
    )


def test_tumours_that_are_all_different_stand_for_themselves():
    h = np.array([0.3, -1.0, 2.0])
    support = support_points(h, pd.DataFrame({"cohort": ["A"] * 3, "purity": [0.1, 0.2, 0.3]}))
    np.testing.assert_array_equal(support.h, h)
    np.testing.assert_array_equal(support.weight, 1.0)
    np.testing.assert_array_equal(support.row, [0, 1, 2])


def test_many_quadratures_at_once_are_exact_for_polynomials_and_equal_one_by_one():
    rng = np.random.default_rng(4)
    values, weights = rng.normal(3.0, 0.7, (6, 40)), rng.uniform(0.1, 2.0, (6, 40))
    nodes, own = batched_quadrature(values, weights, 4)
    np.testing.assert_allclose(own.sum(axis=1), 1.0)
    for degree in range(8):
        exact = (weights * values**degree).sum(axis=1) / weights.sum(axis=1)
        np.testing.assert_allclose((own * nodes**degree).sum(axis=1), exact, rtol=1e-9)
    single, counts = empirical_quadrature(values[2], 4)
    batch, shares = batched_quadrature(values, np.ones_like(values), 4)
    np.testing.assert_allclose(batch[2], single, rtol=1e-9)
    np.testing.assert_allclose(shares[2], counts / 40, rtol=1e-7)


@pytest.mark.parametrize("n_points", [1, 2, 3])
def test_fewer_points_than_nodes_keep_their_own_weights(n_points):
    values = np.array([[0.3, 0.9, 2.0][:n_points], [1.0] * n_points])
    weights = np.array([[1.0, 2.0, 3.0][:n_points]] * 2)
    nodes, own = batched_quadrature(values, weights, 5)
    for function in (np.exp, np.tanh):
        exact = (weights * function(values)).sum(axis=1) / weights.sum(axis=1)
        np.testing.assert_allclose((own * function(nodes)).sum(axis=1), exact, rtol=1e-9)
