"""Fits of the analysis of covariance: the gate, planted slopes, and least squares under wide priors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import arviz as az
import numpy as np
import pandas as pd
import pytest
from bayes_her2.models import marginal_effect as model_file

from bayes_her2.bayesian.fit import Sampling, fit_model, read_fit, sample
from bayes_her2.bayesian.linearity import linearity
from bayes_her2.comparison import concordance
from bayes_her2.data import DIFFERENCE_MINUS
from bayes_her2.estimates import ALL
from bayes_her2.frequentist import marginal_effect_twin

pytestmark = pytest.mark.sampling

SIZES = {("A", "HR+"): 110, ("A", "HR-"): 50, ("B", "HR+"): 90, ("B", "HR-"): 40}
# slope, HR, IHC steps, HER2 x HR, HER2 x IHC steps, HR x IHC steps; in SDs of the noise
PLANTED = {
    "Falls": (-0.45, 0.3, (0.2, 0.1), 0.0, (0.0, 0.0), (0.0, 0.0)),
    "Rises in HR-": (0.0, 0.0, (-0.1, -0.3), 0.6, (0.0, 0.0), (0.2, 0.1)),
    "Rises at 2+": (0.1, -0.4, (0.0, 0.0), 0.0, (0.1, 0.4), (0.0, 0.0)),
    "Nothing": (0.0, 0.0, (0.0, 0.0), 0.0, (0.0, 0.0), (0.0, 0.0)),
    "Bends": (0.2, 0.2, (0.1, 0.1), -0.3, (0.0, 0.0), (-0.2, 0.0)),
}
BEND = 0.35


def planted(base, seed):
    """Tumours of `base` with planted outcomes, and the planted slopes averaged over them: (cell type, stratum)."""
    rng = np.random.default_rng(seed)
    tumours = base.tumours
    h = tumours["her2_sd"].to_numpy()
    r = (tumours["hr"] == "HR-").to_numpy(float)
    one, two = ((tumours["her2_ihc"].isin(levels)).to_numpy(float) for levels in (("1+", "2+"), ("2+",)))
    outcome, truth = {}, {}
    for cell_type, (slope, hr, ihc, her2_x_hr, her2_x_ihc, hr_x_ihc) in PLANTED.items():
        own = slope + her2_x_hr * r + her2_x_ihc[0] * one + her2_x_ihc[1] * two
        mean = own * h + hr * r + ihc[0] * one + ihc[1] * two + r * (hr_x_ihc[0] * one + hr_x_ihc[1] * two)
        if cell_type == "Bends":
            mean = mean + BEND * (h**2 - 1)
        scale = np.where(tumours["cohort"] == "A", 0.02, 0.03)
        outcome[cell_type] = 0.1 + 0.02 * mean + scale * rng.normal(size=len(h))
        truth |= {(cell_type, s): 0.02 * own[r == float(s == "HR-")].mean() for s in ("HR+", "HR-")}
        truth[cell_type, ALL] = 0.02 * own.mean()
    return replace(base, outcome=pd.DataFrame(outcome, index=tumours.index)), truth


@pytest.fixture(scope="module")
def simulated(ancova_set_of):
    return planted(ancova_set_of(SIZES, cells=dict.fromkeys(PLANTED, 0.0)), seed=21)


@pytest.fixture(scope="module")
def fit(simulated):
    return fit_model(
        "marginal_effect", simulated[0], sampling=Sampling(tune=500, draws=1000, seed=4), progress=False
    )


@pytest.fixture(scope="module")
def estimates(fit, simulated):
    return model_file.estimates(fit.estimand_draws, simulated[0])


def test_the_fit_passes_the_gate_at_once(fit):
    assert fit.diagnostics.reasons == ()
    assert not fit.retried


def test_planted_slopes_are_recovered(estimates, simulated):
    table = estimates.table
    rows = table[
        (table["estimand"] == "marginal_slope")
        & (table["scope"] == "pooled")
        & (table["contrast"] == "h + 1 SD over h, observed weights")
        & table["outcome"].isin(set(PLANTED) - {"Bends"})
    ].set_index(["outcome", "stratum"])
    truth = {key: value for key, value in simulated[1].items() if key[0] != "Bends"}
    covered = [rows.loc[key, "lower"] <= value <= rows.loc[key, "upper"] for key, value in truth.items()]
    # Twelve intervals of 95 % on eight independent slopes: more than two misses have probability 0.006.
    assert sum(covered) >= len(covered) - 2
    assert rows.loc[("Falls", ALL), "upper"] < 0
    assert rows.loc[("Rises in HR-", "HR-"), "lower"] > 0
    assert rows.loc[("Rises in HR-", DIFFERENCE_MINUS), "lower"] > 0
    error = [
        (rows.loc[k, "point"] - v) / (rows.loc[k, "upper"] - rows.loc[k, "lower"]) for k, v in truth.items()
    ]
    assert abs(np.mean(error)) < 0.25


def test_the_bend_is_seen_where_it_was_planted_and_nowhere_else(fit, simulated):
    table, curves = linearity(fit.posterior, simulated[0], interval=0.95)
    found = table.set_index("cell_type")
    assert found.loc["Bends", "log10_bayes_factor"] > 2
    assert found.loc["Bends", "p_matters"] > 0.99
    assert (found.drop(index="Bends")["log10_bayes_factor"] < np.log10(3)).all()
    curve = curves[curves["cell_type"] == "Bends"].set_index("at")["departure"]
    assert curve[-2.0] > 0 > curve[0.0] < 0 < curve[2.0]


def test_the_departure_leaves_the_straight_line_alone(fit, simulated):
    """Over the tumours it has mean 0 and no slope: checked on the columns that it is made of."""
    from bayes_her2.bayesian.linearity import departure_basis

    h = simulated[0].tumours["her2_sd"].to_numpy()
    columns = departure_basis(h)(h)
    np.testing.assert_allclose(columns.mean(axis=0), 0.0, atol=1e-10)
    np.testing.assert_allclose(h @ columns, 0.0, atol=1e-8)
    np.testing.assert_allclose(columns.T @ columns / len(h), np.eye(columns.shape[1]), atol=1e-10)


def test_the_exact_departure_equals_a_brute_force_one(fit, simulated):
    """The marginal likelihood of the spread, against a multivariate normal with near-flat linear coefficients."""
    from scipy import stats

    from bayes_her2.bayesian.ancova import ancova
    from bayes_her2.bayesian.linearity import SPREAD_SD, departure_basis

    design = ancova(simulated[0])
    c = design.cell_types.index("Bends")
    sd = np.exp(
        fit.posterior["log_residual_sd"].median(("chain", "draw")).transpose("cohort", "cell_type").to_numpy()
    )
    noise = np.diag((design.cohort_columns @ sd[:, c]) ** 2)
    columns = departure_basis(design.her2_sd)(design.her2_sd)
    flat = 1e4 * design.columns() @ design.columns().T
    grid = np.linspace(0.0, 1.5, 301)
    density = stats.halfnorm.pdf(grid, scale=SPREAD_SD)

    def log_likelihood(spread):
        covariance = noise + flat + spread**2 / columns.shape[1] * columns @ columns.T
        sign, size = np.linalg.slogdet(covariance)
        assert sign > 0
        return -0.5 * (size + design.z[:, c] @ np.linalg.solve(covariance, design.z[:, c]))

    at = grid[::10]
    logs = np.array([log_likelihood(s) for s in at])
    smooth = np.interp(grid, at, logs)
    expected = float((np.exp(smooth - logs[0]) * density).sum() / density.sum())
    table, _ = linearity(fit.posterior, simulated[0], interval=0.95)
    found = table.set_index("cell_type").loc["Bends", "log10_bayes_factor"]
    assert found * np.log(10) == pytest.approx(np.log(expected), abs=0.05)


def test_replicated_data_look_like_the_data(fit, simulated):
    graph = model_file.build(simulated[0], model_file.PRIORS)
    checks = model_file.predictive_checks(graph, fit.posterior, simulated[0], 5, 0.95)
    assert set(checks["cohort"]) == {"A", "B"}
    straight = checks[checks["cell_type"] != "Bends"]
    n = len(straight)
    assert straight["inside"].mean() > 0.95 - 4 * np.sqrt(0.95 * 0.05 / n)
    bends = checks[(checks["cell_type"] == "Bends") & (checks["statistic"] == "mean, middle third of HER2")]
    assert not bends["inside"].all()


def test_posterior_and_twin_meet_in_the_concordance(estimates, simulated):
    table = concordance(estimates, marginal_effect_twin(simulated[0]))
    own = table[(table["outcome"] == "Falls") & (table["stratum"] == ALL)]
    assert set(own["contrast"]) == {"h + 1 SD over h, observed weights", "h + 1 SD over h, equal weights"}
    pooled = own[own["scope"] == "pooled"]
    assert set(pooled["twin_method"]) == {"cohort fixed"}
    # With two cohorts the posterior's upper limits are -0.0011 and -0.0007, within their Monte Carlo error of 0:
    # whether they exclude it depends on the draws.
    assert set(pooled["verdict"]) <= {"agrees", "attenuated", "uncertain"}
    assert (pooled["posterior_point"] < 0).all()
    assert pooled["posterior_point"].between(pooled["twin_lower"], pooled["twin_upper"]).all()


def test_tables_of_the_report(fit, simulated):
    made = model_file.tables(fit.posterior, fit.estimand_draws, simulated[0], fit.priors, interval=0.95)
    assert list(made["linearity"]["cell_type"]) == list(PLANTED)
    assert {"cell types", "cohorts"} == set(made["heterogeneity"]["between"])
    scale = made["outcome_scale"].set_index("cell_type")
    assert scale.loc["Nothing", "sd"] == pytest.approx(0.0245, rel=0.1)


def test_a_fit_survives_netcdf(fit, tmp_path):
    path = Path(tmp_path) / "fit.nc"
    fit.to_netcdf(path)
    again = read_fit(path)
    assert again.estimand_draws.keys() == fit.estimand_draws.keys()
    means = fit.estimand_draws["marginal_mean", "pooled"]
    assert again.estimand_draws["marginal_mean", "pooled"].equals(means)
    assert again.priors == fit.priors


def test_with_wide_priors_and_one_cohort_the_slopes_are_those_of_least_squares(ancova_set_of):
    """Unordered levels, one cell type, so nothing is pooled: a linear model under nearly flat priors."""
    sizes = {("A", "HR+"): 120, ("A", "HR-"): 60}
    cells = dict.fromkeys(PLANTED, 0.0)
    base, _ = planted(ancova_set_of(sizes, cells=cells, ihc_effect="unordered"), seed=3)
    data = replace(base, outcome=base.outcome[["Rises in HR-"]])

    def flat(name: str, prior):
        """Coefficients of one cell type are their means, and those are free."""
        sigma = 0.01 if name.endswith("between_cells_sd") else 10.0
        return replace(prior, params=dict(prior.params) | {"sigma": sigma})

    kept = {n for n in model_file.PRIORS if n.endswith("step_shares") or n == "log_residual_sd"}
    wide = {n: prior if n in kept else flat(n, prior) for n, prior in model_file.PRIORS.items()}
    settings = Sampling(tune=700, draws=2000, target_accept=0.95, seed=8)
    tree = sample(model_file.build(data, wide), settings, progress=False)
    assert int(tree["sample_stats"]["diverging"].sum()) == 0
    posterior = tree["posterior"].to_dataset()
    found = model_file.estimand_draws(posterior, data, wide, np.random.default_rng(1))
    twin = marginal_effect_twin(data).table
    twin = twin[(twin["estimand"] == "marginal_slope") & (twin["scope"] == "cohort")]
    draws = found["marginal_slope", "pooled"]
    for _, row in twin[twin["outcome"].isin(data.outcome.columns)].iterrows():
        weighting = "equal" if "equal" in row["contrast"] else "observed"
        own = draws.sel(cell_type=row["outcome"], stratum=row["stratum"], weighting=weighting, drop=True)
        error = float(az.mcse(own.to_dataset(name="x"), method="mean")["x"])
        assert abs(float(own.mean()) - row["point"]) < 4.5 * error, (row["outcome"], row["stratum"])
        width = float(own.quantile(0.975) - own.quantile(0.025))
        assert width == pytest.approx(row["upper"] - row["lower"], rel=0.06)
