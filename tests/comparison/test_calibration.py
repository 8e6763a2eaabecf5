"""Summaries of simulated data sets against cases whose answer is known: normal means, whose posteriors are exact."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from arviz_stats.ecdf_utils import ecdf_pit
from normal_means import CELLS, normal_means
from scipy.stats import norm

from bayes_her2.bayesian.calibration import RANKS
from bayes_her2.comparison.calibration import (
    coverage,
    discoveries,
    errors_of_claims,
    power,
    rank_ecdf,
    uniformity,
    verdict,
)


@pytest.mark.parametrize("n", [20, 200])
def test_uniform_ranks_leave_the_band_of_their_line_as_seldom_as_it_says(n):
    """At every twentieth, where a line of 200 data sets is drawn, a band for all 199 places is left less often."""
    rng = np.random.default_rng(2)
    lines = 400
    table = pd.DataFrame(
        {
            "replicate": np.tile(np.arange(n), lines),
            "estimand": "amount",
            "scope": "pooled",
            "outcome": np.repeat([f"cell {i}" for i in range(lines)], n),
            "stratum": "HR+",
            "cohort": "",
            "rank": rng.integers(RANKS + 1, size=n * lines),
        }
    )
    made = rank_ecdf(table)
    assert len(made) == 19 * lines
    outside = (made["below"] < made["lower"]) | (made["below"] > made["upper"])
    left = outside.groupby(made["outcome"]).any()
    assert left.mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / lines)
    if n == 20:  # these are all places; ranks are discrete, so that the band is left a little less often
        p = uniformity(table).set_index("outcome")["p"]
        pd.testing.assert_series_equal(left, (p <= 0.05).reindex(left.index), check_names=False)
    assert not ((made["below"] < made["lower_all"]) | (made["below"] > made["upper_all"])).any()
    assert (made["lower_all"] <= made["lower"]).all()


def test_the_band_is_that_of_arviz():
    """ArviZ simulates one too, but gives no p-value and no band for many lines: ours is that of the p-values."""
    n, rng = 200, np.random.default_rng(2)
    at, _, lower, upper = ecdf_pit(rng.random(n), 0.95, 4_000, rng=rng)
    labels = {"estimand": "amount", "scope": "pooled", "outcome": "A", "stratum": "HR+", "cohort": ""}
    ranks = rng.integers(RANKS + 1, size=n)
    made = rank_ecdf(pd.DataFrame({"replicate": np.arange(n), "rank": ranks} | labels))
    places = [int(np.abs(at - x).argmin()) for x in made["at"]]
    np.testing.assert_allclose(at[places], made["at"], atol=1e-12)
    # Counts are whole: simulations that differ a little give bands that differ by one data set.
    assert (np.abs(lower[places] - made["lower"]) * n).max() < 1.5
    assert (np.abs(upper[places] - made["upper"]) * n).max() < 1.5


def test_exact_posteriors_are_found_calibrated():
    table = normal_means(200)
    ranks, covered = uniformity(table), coverage(table, 0.95)
    assert list(ranks["outcome"]) == list(CELLS)
    assert (ranks["n"] == 200).all()
    assert verdict(ranks, covered) == ()
    row = covered.iloc[0]
    assert row["covered"] == pytest.approx(0.95, abs=4 * row["se"])
    assert row["se"] == pytest.approx(np.sqrt(0.95 * 0.05 / 600), rel=0.3)


@pytest.mark.parametrize("wrong", [{"shift": 0.3}, {"spread": 0.6}, {"spread": 1.8}], ids=str)
def test_posteriors_that_are_shifted_too_narrow_or_too_wide_are_not(wrong):
    table = normal_means(200, **wrong)
    found = verdict(uniformity(table), coverage(table, 0.95))
    assert any("ranks are not uniform" in line for line in found)


def test_p_values_of_uniform_ranks_are_uniform_themselves():
    """600 independent lines: a share below 0.05 and below 0.5 as often as that."""
    rng = np.random.default_rng(3)
    table = pd.DataFrame(
        {
            "replicate": np.tile(np.arange(40), 600),
            "rank": rng.integers(0, RANKS + 1, size=40 * 600),
            "estimand": "amount",
            "scope": "pooled",
            "outcome": np.repeat(np.arange(600), 40).astype(str),
            "stratum": "HR+",
            "cohort": "",
        }
    )
    p = uniformity(table)["p"]
    for limit in (0.05, 0.5):
        assert (p <= limit).mean() == pytest.approx(limit, abs=4 * np.sqrt(limit * (1 - limit) / 600))


def test_intervals_that_always_hold_the_truth_are_too_wide():
    """No spread between data sets is no reason to ask nothing: 200 of 200 at a nominal 0.80."""
    table = normal_means(200).assign(lower=-99.0, upper=99.0)
    made = coverage(table, 0.8)
    assert made["se"].item() == 0.0
    assert any("hold the truth" in line for line in verdict(uniformity(table), made))


def test_p_values_are_corrected_over_all_lines():
    ranks = uniformity(normal_means(100))
    lowest = ranks["p"].min()
    assert ranks.loc[ranks["p"].idxmin(), "p_holm"] == pytest.approx(min(1.0, len(ranks) * lowest))


def test_errors_of_claims_by_their_definition():
    table = normal_means(2_000, error=0.7)
    row = errors_of_claims(table).iloc[0]
    claims = table[(table["lower"] > 0) | (table["upper"] < 0)]
    assert row["claimed"] == pytest.approx(len(claims) / len(table))
    wrong = np.sign(claims["point"]) != np.sign(claims["truth"])
    assert row["type_s"] == pytest.approx(wrong.mean())
    # A posterior mean is unbiased for the truth given the data, so claims of an exact posterior do not exaggerate
    # their signed size.
    signed = (claims["truth"] * np.sign(claims["point"])).sum()
    assert claims["point"].abs().sum() / signed == pytest.approx(1.0, abs=0.05)
    assert row["type_m"] == pytest.approx(claims["point"].abs().sum() / claims["truth"].abs().sum())


def test_the_rule_on_false_signs_keeps_what_it_promises_and_a_wrong_posterior_does_not():
    right = discoveries(normal_means(2_000), 0.05).iloc[0]
    assert right["n_claims"] > 500
    assert right["kept"] == pytest.approx(right["promised"], abs=4 * right["se"])
    wrong = discoveries(normal_means(2_000, spread=0.4), 0.05).iloc[0]
    assert wrong["kept"] > wrong["promised"] + 4 * wrong["se"]


def test_power_grows_with_the_effect_and_is_that_of_the_normal_case():
    made = power(normal_means(4_000, error=0.5)).set_index("at_least")
    assert made["seen"].is_monotonic_increasing
    assert made["n"].sum() == 12_000
    # |truth| in [0.5, 1): the posterior's mean is 0.8 (truth + error), its SD 0.447, so beyond 0.876 on the right side
    grid = np.linspace(0.5, 1.0, 2_001)
    seen = norm.sf((1.96 * 0.4472 / 0.8 - grid) / 0.5)
    expected = (seen * norm.pdf(grid)).sum() / norm.pdf(grid).sum()
    assert made.loc[0.5, "seen"] == pytest.approx(expected, abs=4 * made.loc[0.5, "se"])


def test_few_data_sets_are_not_asked_for_uniformity():
    assert uniformity(normal_means(19)).empty
