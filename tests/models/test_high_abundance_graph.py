"""The graph of high abundance is the model of its docstring: log density against scipy, tumour by tumour, by label.

The other side uses nothing of the package but the analysis set.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from bayes_her2.models import high_abundance as model_file
from labelled_density import SummedDensity
from labelled_values import at
from scipy import stats
from scipy.optimize import minimize
from scipy.special import expit

from bayes_her2.bayesian.density import Predictors
from bayes_her2.bayesian.design import structure
from bayes_her2.bayesian.high_estimands import HighSupport, prior_on_published
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.summary import standing

# (mean of means, its SD), SD between cell types, SD between cohorts.
PRIORS = {
    "high_intercept": ((0.0, 1.0), 1.5, 1.0),
    "high_slope": ((0.0, 0.5), 0.5, 0.25),
    "high_hr": ((0.0, 0.5), 0.5, 0.25),
    "high_interaction": ((0.0, 0.5), 0.5, 0.25),
}
SEVERAL = {"three cohorts", "covariates", "HR+ only beside both", "HR- as reference", "centres"}
HR_BY_COHORT = {"three cohorts", "covariates"}
ONE_STRATUM = {"one cohort, HR+ only"}


def terms_of(kind: str) -> list[str]:
    return ["intercept", "slope"] + ([] if kind in ONE_STRATUM else ["hr", "interaction"])


def varies(kind: str, term: str) -> bool:
    return kind in (HR_BY_COHORT if term in ("hr", "interaction") else SEVERAL)


def modelled(data, cell_type: str, stratum: str) -> bool:
    """At least 10 high and 10 other tumours in the stratum."""
    inside = data.tumours["hr"] == stratum
    n_high = int(data.high.loc[inside, cell_type].sum())
    return min(n_high, int(inside.sum()) - n_high) >= 10


def variables(kind: str, data) -> dict[str, dict[str, list[str]]]:
    cells = {
        "high_cell_type": [c for c in data.high.columns if any(modelled(data, c, s) for s in data.strata)]
    }
    result: dict[str, dict[str, list[str]]] = {}
    for term in terms_of(kind):
        name = f"high_{term}"
        result |= {f"{name}_mean": {}, f"{name}_between_cells_sd": {}, name: cells}
        if varies(kind, term):
            result[f"{name}_between_cohorts_sd"] = cells if term == "intercept" else {}
            result[f"{name}_by_cohort"] = {"cohort": list(data.cohorts)} | cells
    if len(data.covariates.columns):
        columns = {"covariate": list(data.covariates.columns)}
        result |= {"high_covariate_mean": columns, "high_covariate_between_cells_sd": columns}
        result["high_covariate"] = columns | cells
    if kind == "centres":
        result |= {"high_centre_sd": {}, "high_centre_intercept": {"centre": ["B/1", "B/10", "B/2"]} | cells}
    return result


def random_values(kind: str, data, seed: int) -> dict[str, xr.DataArray]:
    rng = np.random.default_rng(seed)
    values = {}
    for name, dims in variables(kind, data).items():
        draws = rng.normal(0.0, 0.6, size=[len(labels) for labels in dims.values()])
        values[name] = xr.DataArray(
            0.1 + np.abs(draws) if name.endswith("_sd") else draws, dims=list(dims), coords=dims
        )
    return values


def log_prior(kind: str, data, values) -> float:
    total = 0.0

    def normal(name: str, mean, sd) -> None:
        nonlocal total
        where = xr.broadcast(values[name], xr.DataArray(mean), xr.DataArray(sd))
        total += float(np.sum(stats.norm.logpdf(*where)))

    def half_normal(name: str, scale: float) -> None:
        nonlocal total
        total += float(np.sum(stats.halfnorm.logpdf(values[name].to_numpy(), scale=scale)))

    for term in terms_of(kind):
        name = f"high_{term}"
        (mu, sigma), between_cells, between_cohorts = PRIORS[name]
        normal(f"{name}_mean", mu, sigma)
        half_normal(f"{name}_between_cells_sd", between_cells)
        normal(name, values[f"{name}_mean"], values[f"{name}_between_cells_sd"])
        if varies(kind, term):
            half_normal(f"{name}_between_cohorts_sd", between_cohorts)
            normal(f"{name}_by_cohort", values[name], values[f"{name}_between_cohorts_sd"])
    if len(data.covariates.columns):
        normal("high_covariate_mean", 0.0, 0.5)
        half_normal("high_covariate_between_cells_sd", 0.5)
        normal("high_covariate", values["high_covariate_mean"], values["high_covariate_between_cells_sd"])
    if kind == "centres":
        half_normal("high_centre_sd", 0.5)
        home = values["high_intercept_by_cohort"].sel(cohort="B", drop=True)
        normal("high_centre_intercept", home, values["high_centre_sd"])
    return total


def log_likelihood(kind: str, data, values) -> float:
    total = 0.0
    for tumour, row in data.tumours.iterrows():
        for cell_type in data.high.columns:
            if not modelled(data, cell_type, row["hr"]):
                continue

            def beta(term: str, row=row, cell_type=cell_type) -> float:
                name = f"high_{term}" + ("_by_cohort" if varies(kind, term) else "")
                where = {"high_cell_type": cell_type} | (
                    {"cohort": row["cohort"]} if varies(kind, term) else {}
                )
                return at(values[name], **where)

            eta = beta("intercept") + beta("slope") * row["her2_sd"]
            if kind == "centres" and row["cohort"] == "B":
                centre = {"centre": f"B/{row['centre']}", "high_cell_type": cell_type}
                eta += at(values["high_centre_intercept"], **centre) - beta("intercept")
            if kind not in ONE_STRATUM and row["hr"] != data.reference:
                eta += beta("hr") + beta("interaction") * row["her2_sd"]
            for covariate in data.covariates.columns:
                omega = at(values["high_covariate"], covariate=covariate, high_cell_type=cell_type)
                eta += omega * data.covariates.at[tumour, covariate]
            total += stats.bernoulli.logpmf(int(data.high.at[tumour, cell_type]), expit(eta))
    return total


@pytest.fixture(scope="module")
def high_set(structured):
    """The structures of the main model, as analysis sets of this one."""
    return lambda kind: replace(structured(kind), model="high_abundance")


@pytest.mark.parametrize(
    "kind", ["three cohorts", "covariates", "HR+ only beside both", "centres", "one cohort, HR+ only"]
)
def test_the_log_density_is_the_one_written_out(high_set, kind):
    data = high_set(kind)
    model = model_file.build(data, model_file.priors_for(data))
    assert {v.name for v in model.free_RVs} == set(variables(kind, data))
    assert [v.name for v in model.observed_RVs] == ["high"]
    assert not model.potentials
    density = SummedDensity(model)
    for seed in (1, 2):
        values = random_values(kind, data, seed)
        found = density(values)
        assert found["high"] == pytest.approx(log_likelihood(kind, data, values), rel=1e-9)
        prior = sum(value for name, value in found.items() if name != "high")
        assert prior == pytest.approx(log_prior(kind, data, values), rel=1e-7)


def test_strata_with_fewer_than_ten_on_a_side_do_not_enter(high_set):
    data = high_set("three cohorts")
    assert not modelled(data, "Rare in HR-", "HR-")
    assert modelled(data, "Rare in HR-", "HR+")
    table = data.high_parts.set_index(["cell_type", "stratum"])
    assert table["high_modelled"].to_dict() == {
        (c, s): modelled(data, c, s) for c in data.high.columns for s in data.strata
    }
    reason = table.at[("Rare in HR-", "HR-"), "reason"]
    assert reason == "HR-: 4 high and 31 not high among 35 tumours (10 of each needed)"


def test_the_order_of_rows_and_cohorts_does_not_matter(high_set):
    kind = "three cohorts"
    data = high_set(kind)
    values = random_values(kind, data, 3)
    expected = SummedDensity(model_file.build(data, model_file.PRIORS))(values)
    rows = np.random.default_rng(1).permutation(len(data.tumours))
    columns = list(data.high.columns[::-1])
    shuffled = replace(
        data,
        tumours=data.tumours.iloc[rows],
        abundance=data.abundance.iloc[rows][columns],
        high=data.high.iloc[rows][columns],
        covariates=data.covariates.iloc[rows],
    )
    renamed = replace(data, tumours=data.tumours.assign(cohort=data.tumours["cohort"].replace("A", "Z")))
    moved = {
        name: v.assign_coords(cohort=["Z" if c == "A" else c for c in v["cohort"].to_numpy()])
        if "cohort" in v.dims
        else v
        for name, v in values.items()
    }
    for other, point in ((shuffled, values), (renamed, moved)):
        found = SummedDensity(model_file.build(other, model_file.PRIORS))(point)
        assert found == {name: pytest.approx(value, rel=1e-10) for name, value in expected.items()}


def test_with_a_flat_prior_the_mode_is_the_maximum_likelihood_estimate(high_set):
    # One cohort, one stratum: the density in (intercept, slope) of a cell type, means and spreads at flat values.
    import statsmodels.api as sm

    kind = "one cohort, HR+ only"
    data = high_set(kind)
    flat = {
        name: Prior(p.dist, {k: (1e6 if k == "sigma" else v) for k, v in p.params.items()}, "flat")
        for name, p in model_file.PRIORS.items()
    }
    density = SummedDensity(model_file.build(data, flat))
    values = random_values(kind, data, 5)
    for name in list(values):
        if name.endswith("_between_cells_sd"):
            values[name] = values[name] * 0 + 1e4
    cell_type = "Zeta cells"
    where = {"high_cell_type": cell_type}

    def minus_log_density(x: np.ndarray) -> float:
        at = {name: v.copy() for name, v in values.items()}
        at["high_intercept"].loc[where], at["high_slope"].loc[where] = x
        return -sum(density(at).values())

    found = minimize(
        minus_log_density, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-10}
    )
    x = sm.add_constant(data.tumours["her2_sd"].to_numpy(float))
    expected = sm.Logit(data.high[cell_type].to_numpy(float), x).fit(disp=0).params
    assert found.x == pytest.approx(expected, abs=2e-5)


def test_the_default_priors_are_those_of_the_specification():
    expected = {}
    for name, ((mu, sigma), between_cells, between_cohorts) in PRIORS.items():
        expected |= {
            f"{name}_mean": f"Normal({mu:g}, {sigma:g})",
            f"{name}_between_cells_sd": f"HalfNormal({between_cells:g})",
            f"{name}_between_cohorts_sd": f"HalfNormal({between_cohorts:g})",
        }
    expected |= {
        "high_covariate_mean": "Normal(0, 0.5)",
        "high_covariate_between_cells_sd": "HalfNormal(0.5)",
    }
    expected |= {"high_centre_sd": "HalfNormal(0.5)"}
    assert {name: str(prior) for name, prior in model_file.PRIORS.items()} == expected


def test_the_prior_overturns_the_published_interaction_of_mast_cells_and_not_that_of_neutrophils():
    # Critical SDs: reverse-Bayes limit of the printed estimates. Mixture: 400,000 draws of the prior, weighted by the
    # likelihood of the printed log ratio.
    table = prior_on_published(model_file.PRIORS, interval=0.95).set_index("outcome")
    assert table["critical_sd"].round(3).to_dict() == {"Mast cells resting": 0.775, "Neutrophils": 0.568}
    rng = np.random.default_rng(8)
    effect = rng.normal(size=400_000) * np.hypot(0.5, np.abs(rng.normal(0, 0.5, 400_000)))
    for outcome, row in table.iterrows():
        e, s = (
            np.log(row["published"]),
            np.log(row["published_upper"] / row["published_lower"]) / (2 * 1.959964),
        )
        weight = stats.norm.pdf(e, effect, s)
        expected = np.quantile(effect, [0.025, 0.5, 0.975], weights=weight, method="inverted_cdf")
        found = np.log(row[["lower", "point", "upper"]].to_numpy(dtype=float))
        assert found == pytest.approx(expected, abs=0.02), outcome
    assert table.loc["Mast cells resting", "lower"] < 1 < table.loc["Mast cells resting", "published_lower"]
    assert table.loc["Neutrophils", "upper"] < 1
    assert table["prior_sd"].to_numpy() == pytest.approx(np.sqrt(0.5), abs=1e-3)


def test_rows_of_two_meanings_of_high_say_so(high_set):
    data = high_set("three cohorts")
    cell = str(data.high.columns[0])
    rules = data.rules.copy()
    own = rules["cell_type"] == cell
    rules.loc[own, "high_rule"] = ["presence"] + ["median"] * (int(own.sum()) - 1)
    mixed = replace(data, rules=rules)
    note = HighSupport(mixed).mixed("high_abundance_conditional", cell)
    first = rules.loc[own, "cohort"].iloc[0]
    assert note.startswith(f"two meanings of high in one ratio: present in {first}, at least the median in ")
    same = rules.assign(high_rule="median")
    assert HighSupport(replace(data, rules=same)).mixed("high_abundance_conditional", cell) == ""
    shape = structure(mixed)
    pooled, alone = (
        standing(
            mixed, shape, HighSupport(mixed), "high_abundance_conditional", cell, "HR+", scope, cohort
        ).note
        for scope, cohort in (("pooled", ""), ("cohort", mixed.cohorts[0]))
    )
    assert note in pooled
    assert "two meanings" not in alone


def test_prior_gates_pass_on_these_data_and_fail_for_a_prior_that_rules_them_out(high_set):
    data = high_set("one cohort")
    assert model_file.prior_checks(model_file.build(data, model_file.PRIORS), data, 1)["passed"].all()
    narrow = model_file.PRIORS | {
        "high_intercept_mean": Prior("Normal", {"mu": 4.0, "sigma": 0.1}, "too high"),
        "high_intercept_between_cells_sd": Prior("HalfNormal", {"sigma": 0.1}, "too narrow"),
    }
    gates = model_file.prior_checks(model_file.build(data, narrow), data, 1)
    assert not gates["passed"].iloc[0]  # the first gate is about shares


@pytest.mark.parametrize("kind", ["covariates", "centres"])
def test_the_marginal_odds_ratio_is_the_average_over_every_tumour(high_set, kind):
    # Planted draws; quadrature on one side, all tumours one by one on the other.
    data = high_set(kind)
    draws = [random_values(kind, data, seed) for seed in (11, 12)]
    posterior = xr.merge(
        [
            xr.concat(
                [d[name] * (0.3 if "slope" in name or "interaction" in name else 1) for d in draws],
                dim="draw",
            )
            .expand_dims(chain=[0])
            .rename(name)
            for name in draws[0]
        ],
        join="exact",
        compat="no_conflicts",
    )
    estimands = model_file.estimand_draws(posterior, data, model_file.PRIORS, np.random.default_rng(1))
    assert set(estimands) == {
        *(("high_abundance_conditional", scope) for scope in ("pooled", "cohort", "new cohort")),
        ("high_abundance", "pooled"),
        ("high_abundance", "cohort"),
    }
    for draw in (0, 1):
        values = {name: posterior[name].isel(chain=0, draw=draw, drop=True) for name in posterior}
        for stratum in data.strata:
            suffix = "_by_cohort" if varies(kind, "slope") else ""
            for cell_type in ("Zeta cells", "Never zero"):
                odds = []
                for shift in (0.0, 1.0):
                    p = []
                    for tumour, row in data.tumours[data.tumours["hr"] == stratum].iterrows():
                        own = {"high_cell_type": cell_type, "cohort": row["cohort"]}

                        def beta(term: str, scope: str, own=own, values=values) -> float:
                            array = values[f"high_{term}{scope if varies(kind, term) else ''}"]
                            return at(array, **own)

                        h, other = row["her2_sd"] + shift, float(stratum != data.reference)
                        level = beta("intercept", suffix)
                        if kind == "centres" and row["cohort"] == "B":
                            centre = {"centre": f"B/{row['centre']}", "high_cell_type": cell_type}
                            level = at(values["high_centre_intercept"], **centre)
                        eta = level + other * beta("hr", suffix)
                        eta += (beta("slope", "") + other * beta("interaction", "")) * h
                        for covariate in data.covariates.columns:
                            omega = at(
                                values["high_covariate"], covariate=covariate, high_cell_type=cell_type
                            )
                            eta += omega * data.covariates.at[tumour, covariate]
                        p.append(expit(eta))
                    odds.append(np.mean(p) / (1 - np.mean(p)))
                found = estimands[("high_abundance", "pooled")].sel(cell_type=cell_type, stratum=stratum)
                assert float(found.isel(chain=0, draw=draw)) == pytest.approx(
                    np.log(odds[1] / odds[0]), rel=1e-5, abs=1e-6
                )


def test_statuses_and_reasons_come_from_counts(high_set):
    data = high_set("HR+ only beside both")
    posterior = xr.merge(
        [
            v.expand_dims(chain=[0], draw=[0, 1]).rename(name)
            for name, v in random_values("HR+ only beside both", data, 4).items()
        ],
        join="exact",
        compat="no_conflicts",
    )
    draws = model_file.estimand_draws(posterior, data, model_file.PRIORS, np.random.default_rng(1))
    table = model_file.estimates(draws, data).table.set_index(
        ["estimand", "outcome", "stratum", "scope", "cohort"]
    )

    def status(*key: str) -> str:
        return str(table.at[key, "status"])

    conditional = "high_abundance_conditional"
    assert status(conditional, "Zeta cells", "HR+", "pooled", "") == "observed"
    assert status(conditional, "Zeta cells", "HR-", "pooled", "") == "borrowed"
    assert status(conditional, "Zeta cells", "HR-", "cohort", "B") == "borrowed"
    assert status(conditional, "Zeta cells", "HR-", "cohort", "A") == "observed"
    assert status(conditional, "Zeta cells", "HR-", "new cohort", "") == "prior-only"
    assert status(conditional, "Rare in HR-", "HR-", "pooled", "") == "not estimable"
    assert "4 high" in table.at[(conditional, "Rare in HR-", "HR-", "pooled", ""), "note"]
    assert np.isnan(table.at[(conditional, "Rare in HR-", "HR-", "pooled", ""), "point"])
    assert status(conditional, "Rare in HR-", "HR+", "pooled", "") == "observed"
    assert status("high_abundance", "Zeta cells", "HR-", "cohort", "B") == "not estimable"
    assert (
        "nobody to average over" in table.at[("high_abundance", "Zeta cells", "HR-", "cohort", "B"), "note"]
    )


def test_replicated_tumours_are_high_as_often_as_the_model_says_and_what_is_modelled_stays(high_set):
    data = high_set("three cohorts")
    drawn = random_values("three cohorts", data, seed=3)
    draw = xr.Dataset({name: array.expand_dims(chain=1, draw=1) for name, array in drawn.items()})
    before = data.high_parts.set_index(["cell_type", "stratum"])["high_modelled"]
    n = 100
    high = np.zeros(data.high.shape)
    for seed in range(n):
        made = model_file.replicated(draw, data, np.random.default_rng(seed))
        high += made.high.to_numpy(float)
        assert (made.high_parts.set_index(["cell_type", "stratum"])["high_modelled"] == before).all()
    assert made.high_cutoffs.equals(data.high_cutoffs)
    predicted = Predictors(draw, data)
    for name in map(str, data.high.columns):
        own = predicted.modelled("high", name)
        column = data.high.columns.get_loc(name)
        p = expit(predicted.eta("high", name)[0])[own]
        # Bernoulli's standard error; the largest of some hundred differences.
        z = (high[own, column] / n - p) / np.sqrt(np.maximum(p * (1 - p), 1 / n) / n)
        assert np.abs(z).max() < 4.5
        assert (high[~own, column] == n * data.high[name].to_numpy(float)[~own]).all()
    # A stratum with too few tumours on a side after all is of the same model, and of another set.
    few = data.with_abundance(data.abundance * 0.0)
    assert few.high_counts["n_high"].sum() == 0
    assert few.high_parts["high_modelled"].sum() == before.sum()
    assert few.fingerprint != replace(few, high_modelled_in=None).fingerprint
    part = data.subset(list(data.tumours.index[::3]))
    assert (part.high_parts.set_index(["cell_type", "stratum"])["high_modelled"] == before).all()
