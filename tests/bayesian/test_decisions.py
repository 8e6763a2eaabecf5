"""Direction, false sign rate, s-value and ROPE probability, against counts made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bayes_her2.bayesian.decisions import (
    local_false_sign_rate,
    probability_in_rope,
    probability_of_direction,
    s_values,
)


@pytest.mark.parametrize(
    ("draws", "direction"),
    [
        ([1, 2, 3, -1], 0.75),
        ([-1, -2, -3, 1], 0.75),
        ([1, 2, 3, 4], 1.0),
        ([1, -1], 0.5),
        ([0, 0, 0, 0], 0.5),  # no draw on either side
        ([0, 0, 1, 1], 0.75),  # each exact zero counts half to each side
        ([0, -1, -1, -1], 0.875),
    ],
)
def test_probability_of_direction_and_lfsr_by_counting(draws, direction):
    draws = np.asarray(draws, dtype=float)
    assert probability_of_direction(draws) == direction
    assert local_false_sign_rate(draws) == 1 - direction


def test_they_run_along_the_first_axis_and_leave_the_others():
    draws = np.array([[1.0, -1.0, np.nan], [2.0, -2.0, np.nan], [3.0, 3.0, 1.0]])
    np.testing.assert_allclose(probability_of_direction(draws), [1.0, 2 / 3, np.nan])
    np.testing.assert_allclose(local_false_sign_rate(draws), [0.0, 1 / 3, np.nan], atol=1e-15)


def test_what_is_not_estimable_has_no_direction_and_no_rope():
    # Comparisons with NaN are False: without care 'not estimable' would be the surest of all claims.
    draws = np.full(4, np.nan)
    assert np.isnan(probability_of_direction(draws))
    assert np.isnan(local_false_sign_rate(draws))
    assert np.isnan(probability_in_rope(draws, (0.9, 1.11)))


def test_rope_probability_by_counting():
    draws = np.array([[0.9, 0.95, 1.0, 1.11, 1.2, 0.5], [1.0] * 6]).T
    # The limits themselves are outside.
    np.testing.assert_allclose(probability_in_rope(draws, (0.9, 1.11)), [2 / 6, 1.0])


def test_s_values_are_running_means_of_the_sorted_false_sign_rates():
    lfsr = np.array([0.20, 0.01, 0.05, 0.40])
    # Sorted 0.01, 0.05, 0.20, 0.40; running means 0.01, 0.03, 0.26/3, 0.165 (Stephens 2017).
    np.testing.assert_allclose(s_values(lfsr), [0.26 / 3, 0.01, 0.03, 0.165], rtol=1e-14)


def test_ties_share_the_value_of_the_claim_that_includes_them_all():
    lfsr = np.array([0.1, 0.02, 0.1, 0.1])
    expected = (0.02 + 3 * 0.1) / 4
    np.testing.assert_allclose(s_values(lfsr), [expected, 0.02, expected, expected], rtol=1e-14)
    rng = np.random.default_rng(0)
    for _ in range(5):
        order = rng.permutation(4)
        np.testing.assert_allclose(s_values(lfsr[order]), s_values(lfsr)[order], rtol=1e-14)


def test_rows_that_make_no_claim_stay_out_of_the_family():
    lfsr = np.array([np.nan, 0.04, np.nan, 0.02])
    np.testing.assert_allclose(s_values(lfsr), [np.nan, 0.03, np.nan, 0.02], rtol=1e-14)
    assert np.isnan(s_values(np.array([np.nan, np.nan]))).all()


def test_an_s_value_never_exceeds_the_false_sign_rate_and_keeps_its_order():
    lfsr = np.random.default_rng(1).uniform(0, 0.5, size=50)
    s = s_values(lfsr)
    assert (s <= lfsr + 1e-15).all()
    assert (np.argsort(s, kind="stable") == np.argsort(lfsr, kind="stable")).all()
