"""Imputations put together: equal weights, a gate for each, and the share of variance that lies between them."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from bayes_her2.bayesian.imputed import (
    OneImputation,
    between_share,
    diagnose_one,
    put_together,
    reasons_against,
)

KEY = ("presence", "pooled")
LABELS = {"stratum": ["HR+", "HR-"], "cell_type": ["Alpha", "Beta"]}


def imputation(seed: int, shift: float = 0.0, *, n: int = 400, stuck: bool = False) -> OneImputation:
    """Independent standard normal draws around a shift; NaN for one label, as where it is not estimable."""
    values = np.random.default_rng(seed).normal(shift, 1.0, size=(2, n, 2, 2))
    values[:, :, 1, 1] = np.nan
    if stuck:
        values[1, :, 0, 0] += 4.0
    array = xr.DataArray(
        values,
        dims=("chain", "draw", *LABELS),
        coords={"chain": [0, 1], "draw": np.arange(n), **LABELS},
    )
    return OneImputation({KEY: array}, diagnose_one({KEY: array}, 0))


def test_draws_put_together_are_those_of_every_imputation_under_their_labels():
    parts = [imputation(1), imputation(2, shift=3.0)]
    together = put_together(parts)[KEY]
    assert together.sizes["chain"] == 4
    assert len(set(together["chain"].to_numpy())) == 4
    for i, part in enumerate(parts):
        own = together.isel(chain=slice(2 * i, 2 * i + 2))
        for stratum in LABELS["stratum"]:
            one = {"stratum": stratum, "cell_type": "Alpha"}
            assert own.sel(one).to_numpy() == pytest.approx(part.draws[KEY].sel(one).to_numpy())


def test_an_imputation_sampled_longer_weighs_no_more_than_the_others():
    parts = [imputation(1), imputation(2, shift=3.0, n=1000), imputation(3)]
    together = put_together(parts)[KEY]
    assert together.sizes == {"chain": 6, "draw": 400, "stratum": 2, "cell_type": 2}
    assert list(together["draw"].to_numpy()) == list(range(400))
    own, longer = together.isel(chain=slice(2, 4)), parts[1].draws[KEY]
    assert own.to_numpy()[:, 1:3] == pytest.approx(longer.to_numpy()[:, [2, 5]], nan_ok=True)
    assert own.to_numpy()[:, -1] == pytest.approx(longer.to_numpy()[:, 997], nan_ok=True)


def test_draws_that_are_thinned_do_not_count_as_effective():
    long = imputation(2, n=3500)
    assert reasons_against([imputation(1, n=250), long])  # about 500 + 500 of the 7,000
    assert not reasons_against([imputation(3, n=900), long])


def test_the_share_between_imputations_is_that_of_their_means():
    """Means 0, 1 and 2 and variances 1: B = 1, W = 1, so a half."""
    parts = [imputation(i, shift=float(i), n=20_000) for i in range(3)]
    share = between_share(parts).set_index(["stratum", "cell_type"])["between_share"]
    assert share.loc[("HR+", "Alpha")] == pytest.approx(0.5, abs=0.01)
    assert np.isnan(share.loc[("HR-", "Beta")])


def test_imputations_that_differ_are_no_failure_to_converge():
    parts = [imputation(i, shift=5.0 * i) for i in range(4)]
    assert reasons_against(parts) == ()


def test_an_imputation_whose_chains_differ_is_named():
    parts = [imputation(1), imputation(2, stuck=True), imputation(3), imputation(4)]
    reasons = reasons_against(parts)
    assert reasons
    assert all(reason.startswith("imputation 2: presence, pooled (HR+, Alpha)") for reason in reasons[:1])


def test_too_few_effective_draws_over_all_imputations_are_refused():
    assert any("over all imputations (at least 1200)" in r for r in reasons_against([imputation(1, n=150)]))
