"""Interactions under other priors on their spread: reweighting against a closed form."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.sweep import interaction_sweep, treatment_sweep
from bayes_her2.data import DIFFERENCE

PRIORS = {
    "amount_interaction_mean": Prior("Normal", {"mu": 0, "sigma": 0.5}, "test"),
    "amount_interaction_between_cells_sd": Prior("HalfNormal", {"sigma": 0.5}, "test"),
}


def swept(scales: tuple[float, ...]) -> pd.DataFrame:
    """No likelihood: the spread follows its prior, and the contrast is normal given the spread."""
    rng = np.random.default_rng(8)
    spread = np.abs(rng.normal(0, 0.5, size=(4, 20_000)))
    values = np.stack([rng.normal(0, spread), rng.normal(1, spread)], axis=-1)[:, :, None, :]
    contrast = xr.DataArray(
        values,
        dims=("chain", "draw", "stratum", "cell_type"),
        coords={"stratum": [DIFFERENCE], "cell_type": ["A", "B"]},
    )
    posterior = xr.Dataset({"amount_interaction_between_cells_sd": (("chain", "draw"), spread)})
    return interaction_sweep(
        posterior, {("amount", "pooled"): contrast}, PRIORS, interval=0.95, scales=scales
    )


@pytest.mark.parametrize("scale", [0.1, 0.25, 0.5])
def test_reweighted_interval_is_that_of_the_other_prior(scale):
    # theta = scale |u| z with u, z standard normal: |theta| / scale is the product of two half-normals.
    rng = np.random.default_rng(1)
    product = rng.normal(size=400_000) * np.abs(rng.normal(size=400_000))
    expected = scale * np.quantile(product, 0.975)
    row = swept((scale,)).set_index("outcome").loc["A"]
    assert np.log(row["upper"]) == pytest.approx(expected, rel=0.06)
    assert row["reliable"]


def test_the_prior_in_use_gives_the_plain_quantiles():
    row = swept((0.5,)).set_index("outcome").loc["B"]
    assert row["pareto_k"] == 0
    assert np.log(row["point"]) == pytest.approx(1.0, abs=0.02)


def test_prior_sd_is_that_of_mean_and_spread_together():
    rng = np.random.default_rng(2)
    ratio = rng.normal(0, 0.5, 400_000) + rng.normal(0, np.abs(rng.normal(0, 0.25, 400_000)))
    assert swept((0.25,)).iloc[0]["prior_sd"] == pytest.approx(ratio.std(), rel=0.01)


def test_a_sharper_prior_pulls_a_doubtful_interaction_to_one():
    table = swept((0.1, 0.5)).query("outcome == 'A'").set_index("scale")
    assert table.loc[0.1, "upper"] < table.loc[0.5, "upper"]


def test_a_ratio_of_odds_ratios_under_another_prior_is_that_of_the_closed_form():
    # Likelihood N(0.6, 0.8^2), prior N(0, 1): every posterior is normal, whatever the SD of the prior.
    def posterior(sd: float) -> tuple[float, float]:
        variance = 1 / (1 / 0.8**2 + 1 / sd**2)
        return variance * 0.6 / 0.8**2, variance**0.5

    mean, spread = posterior(1.0)
    drawn = np.random.default_rng(3).normal(mean, spread, size=(4, 20_000, 1, 1))
    ratio = xr.DataArray(
        drawn,
        dims=("chain", "draw", "stratum", "outcome"),
        coords={"stratum": ["all"], "outcome": ["response"]},
    )
    table = treatment_sweep(ratio, Prior("Normal", {"mu": 0, "sigma": 1.0}, "test"), interval=0.95)
    assert table["prior_sd"].to_list() == [0.5, 1.0, 1.4, 2.0]
    assert table["used"].to_list() == [False, True, False, False]
    assert table["reliable"].all()
    for row in table.itertuples():
        mean, spread = posterior(row.prior_sd)
        # Quantiles of 80,000 weighted draws: standard errors below 0.02 in the tails.
        assert np.log(row.point) == pytest.approx(mean, abs=0.02)
        assert np.log([row.lower, row.upper]) == pytest.approx(
            [mean - 1.96 * spread, mean + 1.96 * spread], abs=0.06
        )
        assert row.probability_below_1 == pytest.approx(stats.norm.cdf(-mean / spread), abs=0.01)
    unknown = treatment_sweep(ratio * np.nan, Prior("Normal", {"mu": 0, "sigma": 1.0}, "test"), interval=0.95)
    assert unknown.empty
