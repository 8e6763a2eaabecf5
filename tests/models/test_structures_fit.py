"""Rival structures recover what was planted for them; cell types that share nothing are regressions one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import xarray as xr
from bayes_her2.models import abundance_lineage, abundance_no_her2, abundance_no_interaction, abundance_spline
from bayes_her2.models import abundance_unpooled as unpooled
from conftest import tumour_data
from scipy import optimize, stats
from scipy.special import expit

from bayes_her2.bayesian.design import bends
from bayes_her2.bayesian.fit import Fit, Sampling, fit_model
from bayes_her2.bayesian.slopes import changes, slopes
from bayes_her2.data import DIFFERENCE, LM22_CELL_TYPES, AnalysisSet

pytestmark = pytest.mark.sampling

SETTINGS = Sampling(chains=4, tune=500, draws=1000, seed=6)
CELLS = {
    "T cells CD8": 0.5,
    "T cells CD4 naive": 0.5,
    "T cells follicular helper": 0.5,
    "T cells gamma delta": 0.5,
    "Macrophages M0": -0.4,
    "Macrophages M1": -0.4,
    "Macrophages M2": -0.4,
    "Monocytes": -0.4,
    "Neutrophils": 0.0,
}
"""Cell type -> planted slope of its lineage, in both parts."""
WITHIN = 0.08
"""Planted SD of cell types around their lineage."""
SHAPE = 2.0


def planted(seed: int, sizes: dict[tuple[str, str], int], presence, amount) -> AnalysisSet:
    """Tumours whose predictors at standardised HER2 are `presence(cell, h, other)` and `amount(cell, h, other)`."""
    rng = np.random.default_rng(seed)
    rows = [key for key, n in sizes.items() for _ in range(n)]
    tumours = pd.DataFrame(rows, columns=["cohort", "hr"], dtype="str")
    tumours.index = pd.Index([f"{c}/{i:04d}" for i, c in enumerate(tumours["cohort"])], name="tumour")
    tumours["platform"], tumours["her2"] = "RNA-seq", rng.normal(7.0, 1.3, size=len(tumours))
    blank = pd.DataFrame({cell: rng.gamma(2.0, 0.04, len(tumours)) for cell in CELLS}, index=tumours.index)
    found = tumour_data(tumours, blank).for_model("abundance")
    h = found.tumours["her2_sd"].reindex(tumours.index).to_numpy(float)
    other = (tumours["hr"] == "HR-").to_numpy(float)
    values = {}
    for cell in CELLS:
        here = rng.random(len(h)) < expit(presence(cell, h, other))
        mean = np.exp(amount(cell, h, other))
        values[cell] = np.where(here, rng.gamma(SHAPE, mean / SHAPE), 0.0)
    return tumour_data(tumours, pd.DataFrame(values, index=tumours.index)).for_model("abundance")


def within(draws: xr.DataArray, truth: float, n_values: int = 40) -> bool:
    """Whether a planted value is within the SDs of its posterior that all of `n_values` should be within, at 0.001."""
    z = abs(float(draws.mean()) - truth) / float(draws.std())
    return z < float(stats.norm.isf(0.0005 / n_values))


# --- one slope for both strata -------------------------------------------------------------------

TWO = {("A", "HR+"): 130, ("A", "HR-"): 70, ("B", "HR+"): 130, ("B", "HR-"): 70}


@pytest.fixture(scope="module")
def one_slope() -> tuple[AnalysisSet, Fit]:
    data = planted(
        1, TWO, lambda c, h, r: 0.6 + CELLS[c] * h - 0.5 * r, lambda c, h, r: -3.0 + CELLS[c] * h + 0.3 * r
    )
    return data, fit_model(abundance_no_interaction, data, sampling=SETTINGS, progress=False)


def test_one_slope_for_both_strata_is_recovered_and_their_ratio_is_not_estimable(one_slope):
    data, fit = one_slope
    assert fit.diagnostics.n_divergent == 0
    draws = fit.estimand_draws
    for part in ("presence", "amount"):
        pooled = draws[part, "pooled"]
        np.testing.assert_allclose(pooled.sel(stratum="HR+"), pooled.sel(stratum="HR-"), rtol=1e-12)
        for cell, slope in CELLS.items():
            assert within(pooled.sel(stratum="HR+", cell_type=cell), slope), (part, cell)
    table = abundance_no_interaction.estimates(draws, data).table
    ratio = table[table["stratum"] == DIFFERENCE]
    assert (ratio["status"] == "not estimable").all()
    assert ratio["note"].str.contains("no interaction").all()
    assert ratio["point"].isna().all()
    own = table[(table["stratum"] == "HR-") & (table["scope"] == "pooled")]
    assert own["note"].str.contains("slope common to the HR strata, by assumption").all()
    assert (table.loc[table["scope"] == "new cohort", "status"] != "prior-only").all()


def test_without_her2_nothing_is_said_of_it(one_slope):
    # No fit: draws of a model without HER2 are draws of another model without its slopes.
    data, fit = one_slope
    kept = [n for n in fit.posterior if "_slope" not in str(n)]
    posterior = fit.posterior[kept].isel(draw=slice(0, 5))
    priors = abundance_no_her2.priors_for(data)
    draws = abundance_no_her2.estimand_draws(posterior, data, priors, np.random.default_rng(1))
    table = abundance_no_her2.estimates(draws, data).table
    her2 = table[~table["estimand"].isin(["probability_greater", "presence_difference"])]
    assert (her2["status"] == "not estimable").all()
    assert her2["note"].str.contains("the model has no HER2").all()
    compared = table[table["estimand"] == "probability_greater"]
    assert (compared["status"] == "observed").all()
    assert compared["point"].between(0, 1).all()
    assert set(abundance_no_her2.reported(posterior)) == {n for n in kept if not str(n).endswith("_sd")}


# --- lineages ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lineages() -> tuple[AnalysisSet, dict[str, float], Fit]:
    rng = np.random.default_rng(2)
    truth = {cell: slope + WITHIN * rng.standard_normal() for cell, slope in CELLS.items()}
    data = planted(
        3,
        {("A", "HR+"): 200, ("A", "HR-"): 100},
        lambda c, h, r: 0.6 + truth[c] * h,
        lambda c, h, r: -3.0 + truth[c] * h,
    )
    return data, truth, fit_model(abundance_lineage, data, sampling=SETTINGS, progress=False)


@pytest.mark.slow
def test_lineages_and_their_cell_types_are_recovered(lineages):
    _, truth, fit = lineages
    assert fit.diagnostics.n_divergent == 0
    assert set(CELLS) <= set(LM22_CELL_TYPES)
    for part in ("presence", "amount"):
        pooled = fit.estimand_draws[part, "pooled"].sel(stratum="HR+")
        for cell, slope in truth.items():
            assert within(pooled.sel(cell_type=cell), slope), (part, cell)
        of = fit.posterior[f"{part}_slope_of_lineage"]
        for lineage, slope in (("T cells", 0.5), ("Monocytes and macrophages", -0.4)):
            assert within(of.sel({f"{part}_lineage": lineage}), slope), (part, lineage)
        gap = of.sel({f"{part}_lineage": "T cells"}) - of.sel(
            {f"{part}_lineage": "Monocytes and macrophages"}
        )
        assert within(gap, 0.9), part


# --- a curve -------------------------------------------------------------------------------------


CURVE = np.array([0.45, -0.3])
"""Planted departures from a straight line, common to the cell types: the log odds bend by 0.54 (SD over tumours)."""


@pytest.fixture(scope="module")
def curved() -> tuple[AnalysisSet, Fit]:
    sizes = {("A", "HR+"): 400, ("A", "HR-"): 200}
    same_tumours = planted(5, sizes, lambda c, h, r: 0.0 * h, lambda c, h, r: 0.0 * h)
    basis = bends(same_tumours)
    data = planted(
        5,
        sizes,
        lambda c, h, r: 0.6 + CELLS[c] * h + basis.at(h) @ CURVE,
        lambda c, h, r: -3.0 + CELLS[c] * h + basis.at(h) @ CURVE,
    )
    assert data.tumours["her2_sd"].equals(same_tumours.tumours["her2_sd"])
    return data, fit_model(abundance_spline, data, sampling=SETTINGS, progress=False)


@pytest.mark.slow
def test_a_planted_curve_is_recovered(curved):
    _, fit = curved
    assert fit.diagnostics.n_divergent == 0
    for part in ("presence", "amount"):
        for label, truth in zip(("bend 1", "bend 2"), CURVE, strict=True):
            own = fit.posterior[f"{part}_bend"].sel(bend=label)
            assert within(own.mean(f"{part}_cell_type"), truth), (part, label)
            for cell in CELLS:
                assert within(own.sel({f"{part}_cell_type": cell}), truth), (part, label, cell)
        # A straight line is far from what the posterior believes.
        assert float(fit.posterior[f"{part}_bend_sd"].quantile(0.001)) > 0.05


@pytest.mark.slow
def test_per_sd_of_a_curve_is_the_average_over_tumours_of_h_plus_1_over_h(curved):
    # Against every single tumour, draw by draw, without quadrature.
    data, fit = curved
    posterior = fit.posterior.isel(chain=slice(0, 1), draw=slice(0, 6))
    priors, cell = abundance_spline.priors_for(data), "Monocytes"
    draws = abundance_spline.estimand_draws(posterior, data, priors, np.random.default_rng(1))
    tumours = data.tumours[data.tumours["hr"] == "HR-"]
    h, basis = tumours["her2_sd"].to_numpy(float), bends(data)

    def eta(part: str, at: np.ndarray, draw: int) -> np.ndarray:
        own = posterior.isel(chain=0, draw=draw).sel({f"{part}_cell_type": cell})
        line = float(own[f"{part}_slope"] + own[f"{part}_interaction"])
        level = float(own[f"{part}_intercept"] + own[f"{part}_hr"])
        return level + line * at + basis.at(at) @ own[f"{part}_bend"].to_numpy()

    where = {"cell_type": cell, "stratum": "HR-"}
    for draw in range(6):
        step = {part: (eta(part, h + 1, draw) - eta(part, h, draw)).mean() for part in ("presence", "amount")}
        for part, expected in step.items():
            found = float(draws[part, "pooled"].sel(where).isel(chain=0, draw=draw))
            assert found == pytest.approx(expected, rel=1e-9)
        mean = [(expit(eta("presence", x, draw)) * np.exp(eta("amount", x, draw))).sum() for x in (h, h + 1)]
        found = float(draws["overall", "pooled"].sel(where).isel(chain=0, draw=draw))
        # 24 points stand for the tumours of a stratum; a curve is no polynomial.
        assert found == pytest.approx(np.log(mean[1] / mean[0]), abs=0.002)


def test_a_straight_line_leaves_the_slopes_alone(one_slope):
    data, fit = one_slope
    line = slopes(fit.posterior, "amount", data, fit.priors, np.random.default_rng(0))
    assert changes(fit.posterior, "amount", data, line) is line


# --- cell types one by one -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone(lineages) -> tuple[AnalysisSet, Fit]:
    data = lineages[0]
    return data, fit_model(unpooled, data, sampling=SETTINGS, progress=False)


@pytest.mark.slow
def test_cell_types_that_share_nothing_are_regressions_one_by_one(alone):
    # One cohort: the posterior of a cell type's presence is that of a logistic regression with the same normal priors.
    # Its moments by importance sampling from a Student t around the mode: no sampler of the package is involved.
    data, fit = alone
    h = data.tumours["her2_sd"].to_numpy(float)
    other = (data.tumours["hr"] != data.reference).to_numpy(float)
    x = np.column_stack([np.ones_like(h), h, other, h * other])
    mu, sd = np.array([1.0, 0.0, 0.0, 0.0]), np.array([2.5, 0.9, 0.9, 0.9])
    rng = np.random.default_rng(9)
    for cell in CELLS:
        y = (data.abundance[cell] > 0).to_numpy(float)

        def log_posterior(b: np.ndarray, y: np.ndarray = y) -> np.ndarray:
            eta = b @ x.T
            prior = -0.5 * (((b - mu) / sd) ** 2).sum(axis=-1)
            return np.asarray((y * eta - np.logaddexp(0.0, eta)).sum(axis=-1) + prior)

        mode = optimize.minimize(lambda b: -float(log_posterior(b)), mu, method="BFGS").x
        p = expit(x @ mode)
        covariance = np.linalg.inv((x * (p * (1 - p))[:, None]).T @ x + np.diag(sd**-2))
        proposal = stats.multivariate_t(mode, covariance, df=8, seed=rng)
        b = proposal.rvs(20_000)
        log_weight = log_posterior(b) - proposal.logpdf(b)
        weight = np.exp(log_weight - log_weight.max())
        weight /= weight.sum()
        moments = weight @ b, np.sqrt(weight @ b**2 - (weight @ b) ** 2)
        effective = 1.0 / (weight**2).sum()
        assert effective > 10_000
        drawn = [
            fit.posterior[f"presence_{term}"].sel(presence_cell_type=cell)
            for term in ("slope", "interaction")
        ]
        for k, one in zip((1, 3), drawn, strict=True):
            error = moments[1][k] * np.sqrt(1 / 1_200 + 1 / effective)
            assert float(one.mean()) == pytest.approx(moments[0][k], abs=4.5 * error), cell
            assert float(one.std()) == pytest.approx(
                moments[1][k], rel=4.5 * np.sqrt(0.5 / 1_200 + 0.5 / 5_000)
            )


@pytest.mark.slow
def test_where_data_are_strong_the_unpooled_slopes_are_the_maximum_likelihood_ones(alone):
    data, fit = alone
    h = data.tumours["her2_sd"].to_numpy(float)
    other = (data.tumours["hr"] != data.reference).to_numpy(float)
    x = np.column_stack([np.ones_like(h), h, other, h * other])
    for cell in CELLS:
        y = (data.abundance[cell] > 0).to_numpy(float)
        found = sm.GLM(y, x, family=sm.families.Binomial()).fit()
        slope = fit.posterior["presence_slope"].sel(presence_cell_type=cell)
        # With a prior SD of 0.9 and a standard error of s the posterior keeps 0.81 / (s^2 + 0.81) of the estimate; the
        # rest is curvature of the likelihood.
        s = float(np.asarray(found.bse)[1])
        estimate = float(np.asarray(found.params)[1])
        assert float(slope.mean()) == pytest.approx(estimate * 0.81 / (0.81 + s**2), abs=0.5 * s)


@pytest.mark.slow
def test_the_same_tumours_in_another_order_give_the_same_curve(curved):
    data, _ = curved
    turned = replace(data, tumours=data.tumours.iloc[::-1])
    h = np.linspace(-2, 2, 9)
    np.testing.assert_allclose(bends(turned).at(h), bends(data).at(h), rtol=1e-12)
