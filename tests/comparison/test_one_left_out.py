"""Leaving one tumour out by importance weights, against closed forms."""

from __future__ import annotations

from types import SimpleNamespace

import arviz as az
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import kstest, norm

from bayes_her2.comparison.one_left_out import (
    Weights,
    ecdf_of_transforms,
    influence,
    transforms,
    uniformity_of_transforms,
    weights_of,
)

N, PRIOR_SD = 25, 3.0
CHAINS, DRAWS = 4, 5_000


class Normal:
    """Means of a normal sample of SD 1 with a normal prior: the posterior with and without a tumour is known."""

    def __init__(self, outlier: float = 4.0) -> None:
        rng = np.random.default_rng(5)
        self.y = rng.normal(0.4, 1.0, size=N)
        self.y[3] += outlier
        self.tumours = [f"T{i}" for i in range(N)]
        mean, sd = self.posterior(np.ones(N, dtype=bool))
        self.mu = rng.normal(mean, sd, size=(CHAINS, DRAWS))
        at = {"chain": range(CHAINS), "draw": range(DRAWS)}
        self.draws = xr.DataArray(
            self.mu[..., None, None],
            dims=("chain", "draw", "cell_type", "stratum"),
            coords=at | {"cell_type": ["X"], "stratum": ["HR+"]},
        )
        self.log_likelihood = xr.DataArray(
            norm.logpdf(self.y, self.mu[..., None], 1.0),
            dims=("chain", "draw", "tumour"),
            coords=at | {"tumour": self.tumours},
        )
        forecast = rng.normal(self.mu[..., None], 1.0, size=(CHAINS, DRAWS, N))
        self.replicates = xr.DataArray(
            forecast[..., None],
            dims=("chain", "draw", "tumour", "cell_type"),
            coords=at | {"tumour": self.tumours, "cell_type": ["X"]},
        )
        frame = pd.DataFrame({"cohort": "a", "hr": "HR+", "her2_sd": self.y}, index=self.tumours)
        self.data = SimpleNamespace(tumours=frame, strata=("HR+",), cohorts=("a",))

    def posterior(self, kept: np.ndarray) -> tuple[float, float]:
        precision = kept.sum() + 1 / PRIOR_SD**2
        return float(self.y[kept].sum() / precision), float(precision**-0.5)

    def without(self, i: int) -> tuple[float, float]:
        return self.posterior(np.arange(N) != i)


@pytest.fixture(scope="module")
def normal() -> Normal:
    return Normal()


@pytest.fixture(scope="module")
def weights(normal) -> Weights:
    return weights_of(normal.log_likelihood)


@pytest.fixture(scope="module")
def effective(weights) -> np.ndarray:
    """Effective number of draws that leave each tumour out: these are independent."""
    return 1.0 / (weights.values**2).sum(("chain", "draw")).to_numpy()


def test_forecasts_without_the_tumour_are_those_of_the_closed_form(normal, weights):
    elpd = [
        norm.logpdf(normal.y[i], m, np.hypot(1.0, s))
        for i, (m, s) in enumerate(map(normal.without, range(N)))
    ]
    np.testing.assert_allclose(weights.elpd, elpd, atol=0.02)
    np.testing.assert_allclose(weights.values.sum(("chain", "draw")), 1.0)
    assert (weights.pareto_k < 0.7).all()
    assert weights.pareto_k.idxmax() == "T3"


def test_transforms_are_those_of_the_closed_form_and_not_of_the_fit_with_the_tumour(
    normal, weights, effective
):
    seen = pd.DataFrame({"X": normal.y + 20.0}, index=normal.tumours)  # amounts: above 0
    replicates = normal.replicates + 20.0
    found = transforms(replicates, weights, seen, np.random.default_rng(1))["X"]
    expected = np.array(
        [norm.cdf(normal.y[i], m, np.hypot(1.0, s)) for i, (m, s) in enumerate(map(normal.without, range(N)))]
    )
    monte_carlo = 4 * np.sqrt(expected * (1 - expected) / effective) + 2 / effective
    assert (np.abs(found - expected) < monte_carlo).all()
    with_it = transforms(replicates, None, seen, np.random.default_rng(1))["X"]
    mean, sd = normal.posterior(np.ones(N, dtype=bool))
    np.testing.assert_allclose(with_it, norm.cdf(normal.y, mean, np.hypot(1.0, sd)), atol=0.015)


def test_zeros_are_spread_over_their_own_mass_and_what_is_not_modelled_has_none():
    rng = np.random.default_rng(2)
    n, n_draws, zero = 4_000, 500, 0.4
    share = np.where(rng.uniform(size=(n_draws, n)) < zero, 0.0, rng.gamma(2.0, size=(n_draws, n)))
    seen = np.where(rng.uniform(size=n) < zero, 0.0, rng.gamma(2.0, size=n))
    tumours = [f"T{i}" for i in range(n)]
    replicates = xr.DataArray(
        np.stack([share, np.full_like(share, np.nan)], axis=-1)[None],
        dims=("chain", "draw", "tumour", "cell_type"),
        coords={"tumour": tumours, "cell_type": ["X", "Y"]},
    )
    abundance = pd.DataFrame({"X": seen, "Y": seen}, index=tumours)
    found = transforms(replicates, None, abundance, rng)
    assert found["Y"].isna().all()
    zeros = found["X"][seen == 0]
    assert zeros.max() < zero + 0.1
    assert found["X"][seen > 0].min() > zero - 0.1
    assert (
        kstest(found["X"], "uniform").pvalue > 0.01
    )  # one sample of a fixed seed, calibrated by construction


def test_a_forecast_that_is_off_is_found_and_a_calibrated_one_is_not(normal):
    rng = np.random.default_rng(3)
    tumours = [f"T{i}" for i in range(300)]
    about = pd.DataFrame(
        {"cohort": ["a", "b"] * 150, "hr": ["HR+"] * 290 + ["HR-"] * 10, "her2_sd": 0.0}, index=tumours
    )
    data = SimpleNamespace(tumours=about, strata=("HR+", "HR-"), cohorts=("a", "b"))
    uniform = rng.uniform(size=300)
    pit = pd.DataFrame(
        {"right": uniform, "low": uniform**0.6, "narrow": rng.beta(0.5, 0.5, size=300)}, index=tumours
    )
    table = uniformity_of_transforms(pit, data)
    whole = table[(table["cohort"] == "all") & (table["hr"] == "all")].set_index("cell_type")
    assert whole["p_holm"].lt(0.05).to_dict() == {"right": False, "low": True, "narrow": True}
    assert whole.loc["low", "mean"] > 0.55
    assert whole.loc["narrow", "central_half"] < 0.45
    assert whole.loc["right", "p"] == pytest.approx(kstest(uniform, "uniform").pvalue)
    assert set(table["n"]) == {300, 290, 10, 145, 5}
    np.testing.assert_array_equal(table["p"] < 0.05, table["distance"] > table["limit"])
    ecdf = ecdf_of_transforms(pit, data)
    assert set(ecdf["n"]) == {290, 10}
    one = ecdf[(ecdf["cell_type"] == "right") & (ecdf["hr"] == "HR+") & np.isclose(ecdf["at"], 0.5)]
    assert one["below"].item() == pytest.approx((uniform[:290] <= 0.5).mean())
    few = about.iloc[:4]
    assert ecdf_of_transforms(
        pit.iloc[:4], SimpleNamespace(tumours=few, strata=("HR+",), cohorts=("a",))
    ).empty


def test_influence_is_that_of_the_closed_form(normal, weights, effective):
    found = influence({("overall", "pooled"): normal.draws}, weights, normal.data, interval=0.95)
    row = found.results.iloc[0]
    assert (row["cell_type"], row["stratum"]) == ("X", "HR+")
    mean, sd = normal.posterior(np.ones(N, dtype=bool))
    # The tumour of the row is the decisive one that moves the result most.
    p_without = np.array([norm.sf(0, *normal.without(i)) for i in range(N)])
    decisive = (p_without > 0.975) != (norm.sf(0, mean, sd) > 0.975)
    shifts = np.array([(normal.without(i)[0] - mean) / sd for i in range(N)])
    at_row = int(np.where(decisive, np.abs(shifts), 0).argmax())
    assert row["tumour"] == normal.tumours[at_row]
    assert row["n_decisive"] > 0
    without, sd_without = normal.without(at_row)
    ess = effective[at_row]
    assert row["shift"] == pytest.approx(
        shifts[at_row], abs=4 * (1 + 1 / np.sqrt(ess / 1_000)) / np.sqrt(ess)
    )
    for name, at in (("point", 0.5), ("lower", 0.025), ("upper", 0.975)):
        assert np.log(row[name]) == pytest.approx(
            norm.ppf(at, mean, sd), abs=6 * sd / np.sqrt(CHAINS * DRAWS / 6)
        )
        assert np.log(row[f"{name}_without"]) == pytest.approx(
            norm.ppf(at, without, sd_without), abs=6 * sd_without / np.sqrt(ess / 6)
        )
    assert row["excludes_null"] == (norm.cdf(0, mean, sd) < 0.025)
    # Decisive: exactly those without which the closed form changes side, the nearly undecided ones aside.
    clear = np.abs(p_without - 0.975) > 4 * np.sqrt(0.975 * 0.025 / effective)
    by_tumour = found.tumours.set_index("tumour").loc[normal.tumours]
    np.testing.assert_array_equal(by_tumour["n_decisive"].to_numpy(bool)[clear], decisive[clear])
    assert clear.sum() > N / 2
    assert found.tumours["tumour"].iloc[0] == "T3"


def test_influence_does_not_depend_on_the_order_of_tumours(normal, weights):
    order = np.random.default_rng(8).permutation(N)
    mixed = order[::-1]  # the parts are put together by label
    other = Weights(weights.log.isel(tumour=order), weights.pareto_k.iloc[mixed], weights.elpd.iloc[mixed])
    draws = {("overall", "pooled"): normal.draws}
    one, two = (influence(draws, w, normal.data, interval=0.95) for w in (weights, other))
    pd.testing.assert_frame_equal(one.results, two.results)
    pd.testing.assert_frame_equal(one.tumours, two.tumours)


def test_the_shift_is_that_of_arviz(normal, weights):
    tree = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset({"x": normal.draws.squeeze(("cell_type", "stratum"), drop=True)}),
            "log_likelihood": xr.Dataset({"y": normal.log_likelihood}),
        }
    )
    k = xr.DataArray(weights.pareto_k.to_numpy(), dims="tumour", coords={"tumour": normal.tumours})
    size, _ = az.loo_influence(
        tree,
        var_names="x",
        group="posterior",
        log_likelihood_var_name="y",
        log_weights=weights.log,
        pareto_k=k,
    )
    found = influence({("overall", "pooled"): normal.draws}, weights, normal.data, interval=0.95)
    ours = found.tumours.set_index("tumour")["largest_shift"].abs().loc[normal.tumours]
    theirs = size["x"] if isinstance(size, xr.Dataset) else size
    np.testing.assert_allclose(ours, theirs.sel(tumour=normal.tumours), rtol=1e-4)


def test_weights_of_other_draws_than_the_forecasts_are_refused(normal, weights):
    seen = pd.DataFrame({"X": normal.y}, index=normal.tumours)
    with pytest.raises(ValueError, match="align"):
        transforms(normal.replicates.isel(draw=slice(100)), weights, seen, np.random.default_rng(1))


def test_rows_that_are_no_pooled_results_of_cell_types_are_left_out(normal, weights):
    draws = {
        ("overall", "pooled"): normal.draws * np.nan,
        ("overall", "cohort"): normal.draws,
        ("presence", "pooled"): normal.draws.rename(cell_type="line"),
    }
    found = influence(draws, weights, normal.data, interval=0.95)
    assert found.results.empty
    assert len(found.tumours) == N
    assert found.tumours["largest_shift"].isna().all()


def test_weights_that_name_no_draws_are_refused(normal, weights):
    nameless = Weights(weights.log.drop_vars("draw"), weights.pareto_k, weights.elpd)
    with pytest.raises(ValueError, match="no coordinate 'draw'"):
        influence({}, nameless, normal.data, interval=0.95)
