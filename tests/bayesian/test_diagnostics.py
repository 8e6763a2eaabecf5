"""The gate: what passes, what fails, and what it says."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from bayes_her2.bayesian.diagnostics import diagnose


def draws(values: np.ndarray, **coords: list[str]) -> xr.DataArray:
    return xr.DataArray(values, dims=("chain", "draw", *coords), coords=coords)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_independent_draws_pass(rng):
    result = diagnose({"slope": draws(rng.normal(size=(4, 1500, 2)), cell_type=["A", "B"])}, 0)
    assert result.passed
    assert result.reasons == ()
    row = result.table.iloc[0]
    assert (row["quantity"], row["n_values"]) == ("slope", 2)
    assert row["ess_bulk_min"] > 4000


def test_one_divergence_is_one_too_many(rng):
    result = diagnose({"slope": draws(rng.normal(size=(4, 1500)))}, 1)
    assert not result.passed
    assert result.reasons == ("1 divergent transitions after warm-up (none allowed)",)


def test_a_stuck_chain_is_named_by_label(rng):
    values = rng.normal(size=(4, 1500, 3))
    values[2, :, 1] += 3.0
    result = diagnose({"slope": draws(values, cell_type=["A", "B", "C"])}, 0)
    assert not result.passed
    assert result.table.iloc[0]["worst_label"] == "B"
    assert result.reasons[0].startswith("slope (B): r_hat 1.")


def test_too_few_effective_draws_fail_although_r_hat_is_fine(rng):
    result = diagnose({"slope": draws(rng.normal(size=(4, 200)))}, 0, max_r_hat=1.1)
    assert not result.passed
    assert "at least 1200" in result.reasons[0]


def test_rows_that_are_not_estimable_are_left_out(rng):
    values = rng.normal(size=(4, 1500, 2))
    values[:, :, 0] = np.nan
    result = diagnose({"slope": draws(values, cell_type=["A", "B"])}, 0)
    assert result.passed
    assert result.table.iloc[0]["n_values"] == 1


def test_a_single_nan_among_draws_fails(rng):
    values = rng.normal(size=(4, 1500, 2))
    values[1, 7, 1] = np.nan
    result = diagnose({"slope": draws(values, cell_type=["A", "B"])}, 0)
    assert not result.passed
    assert result.table.iloc[0]["worst_label"] == "B"


def test_dims_in_any_order_keep_their_labels(rng):
    values = rng.normal(size=(2, 3, 1500, 4))
    values[1, 2, :, 0] += 4.0
    array = xr.DataArray(
        values,
        dims=("stratum", "cell_type", "draw", "chain"),
        coords={"stratum": ["HR+", "HR-"], "cell_type": ["A", "B", "C"]},
    )
    assert diagnose({"slope": array}, 0).table.iloc[0]["worst_label"] == "HR-, C"
