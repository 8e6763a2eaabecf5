"""Proper scores: against closed forms, and the true forecast is never beaten."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from bayes_her2.comparison.scores import Forecast, crps, proper_scores
from bayes_her2.errors import DataError

N, S, NAMES = 300, 1000, ["common", "rare"]


def test_the_crps_of_normal_draws_is_its_closed_form():
    """Gneiting & Raftery (2007), equation 21: sd [ z (2 Phi(z) - 1) + 2 phi(z) - 1/sqrt(pi) ]."""
    rng, y = np.random.default_rng(1), np.array([-1.0, 0.2, 3.0])
    x = rng.normal(0.5, 2.0, size=(200_000, 3))
    z = (y - 0.5) / 2
    expected = 2 * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    np.testing.assert_allclose(crps(x, np.full(x.shape, 1 / len(x)), y), expected, atol=0.015)


def test_weights_count_as_repeated_draws_do():
    rng = np.random.default_rng(2)
    x, y = rng.gamma(1.0, size=(6, 1)), np.array([0.7])
    times = np.array([1, 3, 2, 1, 4, 1])
    # With weights, pairs of one draw with itself are left out; repeats of a draw are its pairs with itself.
    w = (times / times.sum())[:, None]
    pairs = (w @ w.T) * np.abs(x - x.T)
    expected = (w * np.abs(x - y)).sum() - pairs.sum() / 2 / (1 - (w**2).sum())
    assert crps(x, w, y)[0] == pytest.approx(expected, rel=1e-12)


def forecast(model: str, share: float, mean: float, seed: int = 3) -> Forecast:
    rng = np.random.default_rng(seed)
    x = np.where(rng.random((4, S // 4, N, 2)) < share, rng.gamma(2.0, mean / 2, size=(4, S // 4, N, 2)), 0.0)
    labels = [f"A/{i}" for i in range(N)]
    coords = {"tumour": labels, "cell_type": NAMES}
    return Forecast(
        model,
        xr.DataArray(x, dims=("chain", "draw", "tumour", "cell_type"), coords=coords),
        # The same in every draw: leaving a tumour out changes nothing.
        xr.DataArray(
            np.random.default_rng(9).normal(0, 1e-3, size=(4, S // 4, N)), dims=("chain", "draw", "tumour")
        ).assign_coords(tumour=labels),
    )


@pytest.fixture(scope="module")
def observed() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    y = np.where(rng.random((N, 2)) < 0.6, rng.gamma(2.0, 0.05, size=(N, 2)), 0.0)
    return pd.DataFrame(y, index=[f"A/{i}" for i in range(N)], columns=NAMES)


def test_the_true_forecast_scores_best_and_each_score_is_what_it_says(observed):
    told = pd.DataFrame(True, index=observed.index, columns=NAMES)
    found = proper_scores(
        [forecast("too rare", 0.3, 0.1), forecast("true", 0.6, 0.1), forecast("too much", 0.6, 0.2)],
        observed,
        told,
    )
    table = found.table.set_index("model")
    assert table.index[0] == "true"
    for other in ("too rare", "too much"):
        assert table.loc[other, "crps_difference"] > 3 * table.loc[other, "crps_difference_se"]
        assert table.loc[other, "log_score_difference"] > 3 * table.loc[other, "log_score_difference_se"]
    assert table.loc["too rare", "brier_difference"] > 3 * table.loc["too rare", "brier_difference_se"]
    # Presence forecast as 0.6: (0.6 - 1)^2 where present, 0.36 where absent, within the noise of 1,000 draws.
    share = float((observed > 0).to_numpy().mean())
    assert table.loc["true", "brier"] == pytest.approx(share * 0.16 + (1 - share) * 0.36, abs=0.003)
    assert table.loc["true", "n_values"] == 2 * N


def test_only_what_every_model_forecasts_is_scored(observed):
    told = pd.DataFrame(True, index=observed.index, columns=NAMES)
    partial = forecast("partial", 0.6, 0.1)
    partial.replicates.loc[{"cell_type": "rare", "tumour": list(observed.index[:100])}] = np.nan
    found = proper_scores([partial, forecast("whole", 0.6, 0.1)], observed, told)
    assert set(found.table["n_values"]) == {2 * N - 100}
    # The same draws where both forecast: the same scores.
    assert found.table["crps_difference"].abs().max() < 1e-12


def test_the_order_of_tumours_does_not_matter(observed):
    told = pd.DataFrame(True, index=observed.index, columns=NAMES)
    both = [forecast("a", 0.6, 0.1), forecast("b", 0.3, 0.1)]
    one = proper_scores(both, observed, told).table
    two = proper_scores(both, observed.iloc[::-1], told).table
    pd.testing.assert_frame_equal(one, two)


def test_other_tumours_are_refused(observed):
    told = pd.DataFrame(True, index=observed.index, columns=NAMES)
    both = [forecast("a", 0.6, 0.1), forecast("b", 0.3, 0.1)]
    with pytest.raises(DataError, match="a: forecasts 300 tumours, and 299 were observed"):
        proper_scores(both, observed.iloc[1:], told.iloc[1:])
    with pytest.raises(DataError, match="at least two"):
        proper_scores(both[:1], observed, told)
