"""The analysis of covariance: the graph against scipy, estimands against averages over tumours, statuses, limits.

The log density is written out tumour by tumour from the specification; nothing of the package is used for it but the
analysis set.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from bayes_her2.models import marginal_effect as model_file
from labelled_density import PLAIN, SummedDensity
from labelled_values import at
from outline_checks import assert_prints_its_numbers, assert_speaks_for_the_graph
from scipy import stats

from bayes_her2.bayesian import ancova as ancova_module
from bayes_her2.bayesian.ancova import ancova
from bayes_her2.bayesian.ancova_estimands import coefficients
from bayes_her2.bayesian.coordinates import Coordinates
from bayes_her2.comparison import concordance
from bayes_her2.data import DIFFERENCE_MINUS
from bayes_her2.estimates import ALL, COHORT_FIXED, Rope
from bayes_her2.frequentist import marginal_effect_twin

THREE = {
    ("A", "HR+"): 22,
    ("A", "HR-"): 14,
    ("B", "HR+"): 18,
    ("B", "HR-"): 16,
    ("C", "HR+"): 20,
    ("C", "HR-"): 15,
}
LEVELS = ("0", "1+", "2+")


def with_gap(data):
    """Alpha cells are not continuous in cohort C."""
    outcome = data.outcome.copy()
    outcome.loc[data.tumours["cohort"] == "C", "Alpha cells"] = np.nan
    return replace(data, outcome=outcome)


@pytest.fixture(scope="module")
def set_of(ancova_set_of):
    made = {}

    def make(kind):
        if kind == "monotonic":
            return with_gap(ancova_set_of(THREE))
        if kind == "unordered":
            return with_gap(ancova_set_of(THREE, ihc_effect="unordered", further_covariates=("age",)))
        if kind == "one cohort":
            return ancova_set_of({("A", "HR+"): 40, ("A", "HR-"): 25}, outcome_scale="rank")
        if kind == "one stratum":
            return ancova_set_of({("A", "HR+"): 30, ("B", "HR+"): 25})
        if kind == "two levels":
            return ancova_set_of(THREE, levels={"HR+": (1, 1, 0), "HR-": (1, 1, 0)})
        data = ancova_set_of(THREE)
        centre = pd.Series(pd.NA, index=data.tumours.index, dtype="str")
        own = data.tumours["cohort"] == "B"
        centre[own] = np.where(np.arange(own.sum()) % 3, "1", "2")
        return replace(data, tumours=data.tumours.assign(centre=centre), use_centre=True)

    def get(kind):
        if kind not in made:
            made[kind] = make(kind)
        return made[kind]

    return get


KINDS = ("monotonic", "unordered", "one cohort", "one stratum", "two levels", "centres")


# --- the specification -----------------------------------------------------------------------------


def variables(data) -> dict[str, dict[str, list[str]]]:
    """Parameters with their labels."""
    cells, cohorts = {"cell_type": list(data.outcome.columns)}, {"cohort": list(data.cohorts)}
    several, both = len(data.cohorts) > 1, data.tumours["hr"].nunique() == 2
    levels = [level for level in LEVELS if level in set(data.tumours["her2_ihc"])]
    monotonic = data.settings.ihc_effect == "monotonic" and len(levels) == 3
    step = {"step": ["0 to 1+", "1+ to 2+"] if monotonic else [f"{level} against 0" for level in levels[1:]]}
    found = {"intercept": cells, "slope_mean": {}, "slope_between_cells_sd": {}, "slope": cells}
    if several:
        found |= {"intercept_between_cohorts_sd": cells, "intercept_by_cohort": cohorts | cells}
        found |= {"slope_between_cohorts_sd": {}, "slope_by_cohort": cohorts | cells}
    for term in ("ihc", "her2_x_ihc", *(("hr_x_ihc",) if both else ())):
        rows = {} if monotonic else step
        found |= {f"{term}_mean": rows, f"{term}_between_cells_sd": rows, term: rows | cells}
        if monotonic:
            found[f"{term}_step_shares"] = cells | step
    for term in ("hr", "her2_x_hr") if both else ():
        found |= {f"{term}_mean": {}, f"{term}_between_cells_sd": {}, term: cells}
    if data.covariates.shape[1]:
        rows = {"covariate": list(data.covariates.columns)}
        found |= {"covariate_slope_mean": rows, "covariate_slope_between_cells_sd": rows}
        found["covariate_slope"] = rows | cells
    if data.use_centre:
        found |= {"centre_sd": {}, "centre_shift": {"centre": ["B/1", "B/2"]} | cells}
    return found | {"log_residual_sd": cohorts | cells}


def random_values(data, seed: int) -> dict[str, xr.DataArray]:
    rng = np.random.default_rng(seed)
    values = {}
    for name, dims in variables(data).items():
        draws = rng.normal(0.0, 0.6, size=[len(labels) for labels in dims.values()])
        if name.endswith("_sd") and name != "log_residual_sd":
            draws = 0.1 + np.abs(draws)
        if name.endswith("_step_shares"):
            draws = rng.dirichlet(np.ones(2), size=len(data.outcome.columns))
        values[name] = xr.DataArray(draws, dims=list(dims), coords=dims)
    return values


def log_prior(data, values) -> float:
    total = 0.0

    def normal(name, mean, sd):
        nonlocal total
        value, mean, sd = xr.broadcast(values[name], xr.DataArray(mean), xr.DataArray(sd))
        total += float(stats.norm.logpdf(value, mean, sd).sum())

    def half_normal(name, scale):
        nonlocal total
        total += float(stats.halfnorm.logpdf(values[name], scale=scale).sum())

    normal("intercept", 0.0, 1.0)
    if "intercept_by_cohort" in values:
        half_normal("intercept_between_cohorts_sd", 1.0)
        normal("intercept_by_cohort", values["intercept"], values["intercept_between_cohorts_sd"])
        half_normal("slope_between_cohorts_sd", 0.25)
        normal("slope_by_cohort", values["slope"], values["slope_between_cohorts_sd"])
    for term in ("slope", "hr", "ihc", "her2_x_hr", "her2_x_ihc", "hr_x_ihc", "covariate_slope"):
        if term in values:
            normal(f"{term}_mean", 0.0, 0.25)
            half_normal(f"{term}_between_cells_sd", 0.4 if "her2" in term or "slope" in term else 0.5)
            normal(term, values[f"{term}_mean"], values[f"{term}_between_cells_sd"])
        if f"{term}_step_shares" in values:
            for shares in values[f"{term}_step_shares"].to_numpy():
                total += float(stats.dirichlet.logpdf(shares, np.ones(2)))
    if "centre_shift" in values:
        half_normal("centre_sd", 0.25)
        normal("centre_shift", 0.0, values["centre_sd"])
    normal("log_residual_sd", 0.0, 0.5)
    return total


def level_effect(values, term: str, cell_type: str, level: str) -> float:
    """Effect of an IHC level against the lowest."""
    if level == "0":
        return 0.0
    if f"{term}_step_shares" in values:
        share = at(values[f"{term}_step_shares"], cell_type=cell_type, step="0 to 1+")
        return at(values[term], cell_type=cell_type) * (share if level == "1+" else 1.0)
    return at(values[term], cell_type=cell_type, step=f"{level} against 0")


def shares_of(data) -> tuple[dict[str, float], float]:
    """Share of each IHC level and of HR- among all tumours."""
    levels = data.tumours["her2_ihc"].value_counts(normalize=True).to_dict()
    return levels, float((data.tumours["hr"] == "HR-").mean())


def linear_predictor(
    data,
    values,
    cell_type: str,
    *,
    cohort,
    h,
    hr,
    level,
    covariates=(),
    centre=None,
    pooled=False,
    shares=None,
) -> float:
    """Mean in SDs of the outcome; HR status and IHC effects centred at their means over all tumours.

    But in HR x IHC the HR status is 0 in the reference stratum.
    """
    shares, negative = shares or shares_of(data)

    def own(name):
        return at(
            values[f"{name}_by_cohort" if f"{name}_by_cohort" in values else name],
            cohort=cohort,
            cell_type=cell_type,
        )

    def centred(term):
        mean = sum(share * level_effect(values, term, cell_type, other) for other, share in shares.items())
        return level_effect(values, term, cell_type, level) - mean

    slope = at(values["slope"], cell_type=cell_type) if pooled else own("slope")
    eta = own("intercept") + h * (slope + centred("her2_x_ihc")) + centred("ihc")
    if "hr" in values:
        r = float(hr == "HR-") - negative
        eta += r * (at(values["hr"], cell_type=cell_type) + h * at(values["her2_x_hr"], cell_type=cell_type))
        eta += float(hr == "HR-") * centred("hr_x_ihc")
    for name, value in zip(data.covariates.columns, covariates, strict=True):
        eta += value * at(values["covariate_slope"], covariate=name, cell_type=cell_type)
    if centre is not None:
        eta += at(values["centre_shift"], centre=centre, cell_type=cell_type)
    return eta


def tumour_terms(data, tumour: str) -> dict:
    row = data.tumours.loc[tumour]
    centre = f"{row['cohort']}/{row['centre']}" if data.use_centre and pd.notna(row["centre"]) else None
    return {
        "cohort": row["cohort"],
        "h": row["her2_sd"],
        "hr": row["hr"],
        "level": row["her2_ihc"],
        "covariates": tuple(data.covariates.loc[tumour]),
        "centre": centre,
    }


def scale_of(data, cell_type: str) -> tuple[float, float]:
    """Mean of the outcome, and its SD around the cohorts' means."""
    known = data.outcome[cell_type].dropna()
    cohort = data.tumours.loc[known.index, "cohort"]
    within = sum(((own - own.mean()) ** 2).sum() for _, own in known.groupby(cohort))
    return float(known.mean()), float(np.sqrt(within / (len(known) - cohort.nunique())))


def log_likelihood(data, values) -> float:
    total = 0.0
    for cell_type in data.outcome.columns:
        mean, sd = scale_of(data, cell_type)
        for tumour, y in data.outcome[cell_type].dropna().items():
            terms = tumour_terms(data, tumour)
            eta = linear_predictor(data, values, cell_type, **terms)
            residual = np.exp(at(values["log_residual_sd"], cohort=terms["cohort"], cell_type=cell_type))
            total += stats.norm.logpdf((y - mean) / sd, eta, residual)
    return total


# --- the graph -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def density_of(set_of):
    made = {}

    def get(kind):
        if kind not in made:
            made[kind] = SummedDensity(model_file.build(set_of(kind), model_file.PRIORS))
        return made[kind]

    return get


@pytest.mark.parametrize("kind", KINDS)
def test_the_log_density_is_the_one_written_out(set_of, density_of, kind):
    data = set_of(kind)
    assert {v.name for v in density_of(kind).model.free_RVs} == set(variables(data))
    values = random_values(data, 3)
    found = density_of(kind)(values)
    assert found["outcome"] == pytest.approx(log_likelihood(data, values), rel=1e-9)
    prior = sum(value for name, value in found.items() if name != "outcome")
    assert prior == pytest.approx(log_prior(data, values), rel=1e-7)


@pytest.mark.parametrize("kind", ["monotonic", "unordered"])
def test_the_posterior_does_not_depend_on_the_cheap_estimates(set_of, density_of, kind, monkeypatch):
    rng = np.random.default_rng(5)
    honest = ancova_module.cheap_estimates

    def careless(design):
        return {
            name: Coordinates(rng.normal(size=c.estimate.shape), rng.gamma(1.0, 1.0, size=c.variance.shape))
            for name, c in honest(design).items()
        }

    monkeypatch.setattr(model_file, "cheap_estimates", careless)
    data = set_of(kind)
    other = SummedDensity(model_file.build(data, model_file.PRIORS))
    values = random_values(data, 2)
    for name, value in density_of(kind)(values).items():
        assert other(values)[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name


def test_the_order_of_rows_and_the_names_of_cohorts_do_not_matter(set_of, density_of):
    data = set_of("unordered")
    values = random_values(data, 6)
    expected = density_of("unordered")(values)
    rows = np.random.default_rng(1).permutation(len(data.tumours))
    shuffled = replace(
        data,
        tumours=data.tumours.iloc[rows],
        outcome=data.outcome.iloc[rows][list(data.outcome.columns[::-1])],
        covariates=data.covariates.iloc[rows],
    )
    renamed = replace(data, tumours=data.tumours.assign(cohort=data.tumours["cohort"].replace("A", "Z")))
    moved = {
        name: v.assign_coords(cohort=["Z" if c == "A" else c for c in v["cohort"].to_numpy()])
        if "cohort" in v.dims
        else v
        for name, v in values.items()
    }
    for other, at_values in ((shuffled, values), (renamed, moved)):
        found = SummedDensity(model_file.build(other, model_file.PRIORS))(at_values)
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=1e-9), name


# --- estimands -------------------------------------------------------------------------------------


def one_draw(data, values):
    """Estimand draws of a posterior that is one point."""
    posterior = xr.Dataset({name: v.expand_dims(chain=[0], draw=[0]) for name, v in values.items()})
    return model_file.estimand_draws(posterior, data, model_file.PRIORS, np.random.default_rng(1))


def marginal(data, values, cell_type, stratum, weighting, h, cohort=None) -> float:
    """Mean in units of the outcome, averaged tumour by tumour (or cell by cell)."""
    mean, sd = scale_of(data, cell_type)
    known = data.tumours.loc[data.outcome[cell_type].dropna().index]
    if cohort:
        known = known[known["cohort"] == cohort]
    pooled = cohort is None
    strata = [stratum] if stratum != ALL else sorted(set(data.tumours["hr"]))

    shares, terms_of = shares_of(data), {t: tumour_terms(data, t) for t in known.index}

    def predicted(tumour, **change):
        terms = terms_of[tumour] | {"h": h} | change
        return linear_predictor(data, values, cell_type, **terms, pooled=pooled, shares=shares)

    if weighting == "observed":
        found = np.mean([predicted(t) for t in known.index[known["hr"].isin(strata)]])
    else:
        levels = [level for level in LEVELS if level in set(data.tumours["her2_ihc"])]
        found = np.mean([
            np.mean([predicted(t, hr=hr, level=level) for t in known.index]) for hr in strata for level in levels
        ])  # fmt: skip
    return mean + sd * found


@pytest.mark.parametrize("kind", KINDS)
def test_estimands_are_averages_over_tumours(set_of, kind):
    data = set_of(kind)
    values = random_values(data, 4)
    draws = one_draw(data, values)
    strata = [ALL, *data.strata]
    cell_types = ("Alpha cells", "Zeta cells")
    slopes, means = (
        draws[name, "pooled"].isel(chain=0, draw=0) for name in ("marginal_slope", "marginal_mean")
    )
    own = draws["marginal_slope", "cohort"].isel(chain=0, draw=0)
    for weighting in ("observed", "equal"):
        for cell_type, stratum in ((c, s) for c in cell_types for s in strata):
            labels = {"weighting": weighting, "stratum": stratum, "cell_type": cell_type}
            low, high = (marginal(data, values, cell_type, stratum, weighting, h) for h in (0.0, 1.0))
            assert float(slopes.sel(labels)) == pytest.approx(high - low, rel=1e-9), labels
            assert float(means.sel(labels | {"at": 1.0})) == pytest.approx(high, rel=1e-6), labels
            assert float(means.sel(labels | {"at": -1.5})) == pytest.approx(
                low - 1.5 * (high - low), rel=1e-5
            ), labels
        low, high = (marginal(data, values, "Zeta cells", ALL, weighting, h, "A") for h in (0.0, 1.0))
        labels = {"weighting": weighting, "stratum": ALL, "cell_type": "Zeta cells", "cohort": "A"}
        assert float(own.sel(labels)) == pytest.approx(high - low, rel=1e-9)
    if len(data.strata) == 2:
        difference = slopes.sel(stratum="HR-") - slopes.sel(stratum="HR+")
        xr.testing.assert_allclose(
            slopes.sel(stratum=DIFFERENCE_MINUS, drop=True), difference.drop_vars("stratum", errors="ignore")
        )


def test_a_cell_type_that_is_not_continuous_has_no_draws(set_of):
    draws = one_draw(set_of("monotonic"), random_values(set_of("monotonic"), 4))
    assert np.isnan(draws["marginal_slope", "pooled"].sel(cell_type="Rare")).all()
    own = draws["marginal_slope", "cohort"].sel(cell_type="Alpha cells", cohort="C")
    assert np.isnan(own).all()


def test_a_new_cohort_has_its_own_slope_around_the_typical_one(set_of):
    data = set_of("one cohort")
    values = random_values(data, 4)
    posterior = xr.Dataset({n: v.expand_dims(chain=[0, 1], draw=range(4000)) for n, v in values.items()})
    draws = model_file.estimand_draws(posterior, data, model_file.PRIORS, np.random.default_rng(1))
    gap = draws["marginal_slope", "new cohort"] - draws["marginal_slope", "pooled"]
    _, sd = scale_of(data, "Zeta cells")
    shift = gap.sel(cell_type="Zeta cells", weighting="equal", stratum=ALL).to_numpy().ravel() / sd
    # A half-normal mixture of normals has variance 0.25^2, the second moment of the half-normal.
    assert shift.std() == pytest.approx(0.25, rel=0.06)
    table = model_file.estimates(draws, data).table
    assert set(table[(table["scope"] == "new cohort") & (table["outcome"] != "Rare")]["status"]) == {
        "prior-only"
    }


@pytest.mark.parametrize("kind", KINDS)
def test_posterior_and_twin_have_the_same_rows(set_of, kind):
    data = set_of(kind)
    ours = model_file.estimates(one_draw(data, random_values(data, 1)), data).table
    theirs = marginal_effect_twin(data).table
    key = [
        "outcome",
        "exposure",
        "estimand",
        "contrast",
        "adjustment",
        "stratum",
        "scope",
        "cohort",
        "at",
        "fingerprint",
    ]
    ours, theirs = (t[t["scope"] != "new cohort"][[*key, "unit", "n", "n_zero"]] for t in (ours, theirs))
    # The cohort's row of a cell type that is continuous nowhere says no more than its pooled row.
    ours = ours[~((ours["scope"] == "cohort") & ~ours["outcome"].isin(data.outcome.columns))]
    same = ours.merge(theirs.drop_duplicates(), on=key, how="outer", indicator=True)
    means = same["estimand"] == "marginal_mean"
    one_cohort = len(data.cohorts) == 1  # its curve is the pooled one
    left = same[(same["_merge"] != "both") & ~(means & (same["scope"] == "cohort") & one_cohort)]
    left = left[~((left["estimand"] == "marginal_mean") & (left["cohort"] == "C"))]
    # A difference between the strata is common to the cohorts: only the twin has it cohort by cohort.
    by_cohort = (left["stratum"] == DIFFERENCE_MINUS) & (left["scope"] == "cohort")
    assert set(left["_merge"]) <= {"right_only"}
    assert left[~by_cohort].empty
    both = same[(same["_merge"] == "both") & (same["scope"] == "cohort")]
    assert (both["unit_x"] == both["unit_y"]).all()
    assert (both["n_x"] == both["n_y"]).all()
    assert (both["n_zero_x"] == both["n_zero_y"]).all()


# --- statuses --------------------------------------------------------------------------------------


def status(
    data,
    stratum,
    *,
    weighting="equal",
    estimand="marginal_slope",
    scope="pooled",
    cohort="",
    cell="Zeta cells",
):
    return model_file.standing_of(data, estimand, cell, stratum, scope, cohort, weighting)


def test_statuses_come_from_counts(set_of):
    data = set_of("monotonic")
    assert status(data, ALL).status == "observed"
    assert status(data, ALL).n == len(data.tumours)
    gap = status(data, ALL, scope="cohort", cohort="C", cell="Alpha cells")
    assert gap.status == "not estimable"
    rare = status(data, "HR+", cell="Rare")
    assert (rare.status, rare.note[:14]) == ("not estimable", "not continuous")


def test_few_tumours_of_a_stratum_are_borrowed_or_named(ancova_set_of):
    data = ancova_set_of(THREE | {("B", "HR-"): 6})
    row = status(data, "HR-", scope="cohort", cohort="B")
    assert row.status == "borrowed"
    assert row.note == "6 HR- tumours in B: the interactions are those of all cohorts"
    alone = ancova_set_of({("A", "HR+"): 60, ("A", "HR-"): 7})
    row = status(alone, DIFFERENCE_MINUS)
    assert (row.status, row.note) == ("observed", "rests on 7 HR- tumours in all cohorts")


def test_an_empty_cell_is_named_where_equal_weights_need_it(ancova_set_of):
    data = ancova_set_of({("A", "HR+"): 60, ("A", "HR-"): 30}, levels={"HR+": (1, 1, 1), "HR-": (1, 1, 0)})
    slope = status(data, ALL)
    assert slope.status == "observed"
    assert (
        "no tumours in HR- with IHC 2+ in all cohorts: rests on there being no three-way interaction"
        == slope.note
    )
    mean = status(data, ALL, estimand="marginal_mean")
    assert mean.status == "prior-only"
    assert status(data, "HR+", estimand="marginal_mean").status == "observed"
    assert status(data, ALL, estimand="marginal_mean", weighting="observed").status == "observed"


def test_a_level_that_a_cohort_lacks_is_borrowed_and_its_twin_has_none(ancova_set_of):
    """Equal weights are over the levels of the study on both sides, so no verdict compares two averages."""
    data = ancova_set_of(THREE)
    in_b = data.tumours["cohort"] == "B"
    levels = data.tumours["her2_ihc"].mask(in_b & (data.tumours["her2_ihc"] == "2+"), "1+")
    data = replace(data, tumours=data.tumours.assign(her2_ihc=levels))
    row = status(data, ALL, scope="cohort", cohort="B")
    assert row.status == "borrowed"
    assert row.note == "no tumours with IHC 2+ in B, which equal weights need: taken from other cohorts"
    assert status(data, "HR+", scope="cohort", cohort="B").status == "borrowed"
    assert status(data, ALL, scope="cohort", cohort="B", weighting="observed").status == "observed"
    assert status(data, ALL).status == "observed"
    twin = marginal_effect_twin(data).table
    own = twin[(twin["cohort"] == "B") & (twin["outcome"] == "Zeta cells") & (twin["stratum"] == ALL)]
    equal = own["contrast"].str.contains("equal")
    assert set(own.loc[equal, "status"]) == {"not estimable"}
    assert set(own.loc[equal, "note"]) == {"no tumours with IHC 2+ in B, which equal weights need"}
    assert set(own.loc[~equal, "status"]) == {"observed"}
    ours = model_file.estimates(one_draw(data, random_values(data, 1)), data)
    verdicts = concordance(ours, marginal_effect_twin(data))
    judged = verdicts[(verdicts["cohort"] == "B") & verdicts["contrast"].str.contains("equal")]
    assert set(judged["verdict"]) == {"not estimable"}


def test_a_stratum_that_one_cohort_lacks_makes_pooled_rows_borrowed(ancova_set_of):
    data = ancova_set_of({("A", "HR+"): 60, ("A", "HR-"): 40, ("B", "HR+"): 200})
    for weighting in ("observed", "equal"):
        row = status(data, "HR-", weighting=weighting)
        assert (row.status, row.n) == ("borrowed", 40)
        assert row.note == (
            "rests on A for HR- tumours; the slope of B there is inferred from its other stratum"
        )
        row = status(data, DIFFERENCE_MINUS, weighting=weighting)
        assert (row.status, row.n) == ("borrowed", 100)
        assert row.note == "the two strata are averaged over different cohorts: only A has both"
    assert status(data, "HR-", scope="new cohort").status == "borrowed"
    assert status(data, "HR+").status == "observed"
    assert status(data, ALL, weighting="observed").status == "observed"


def test_differences_between_strata_have_no_row_of_a_cohort(set_of):
    """HR status and its interactions are common to the cohorts: their rows would be copies of the pooled one."""
    data = set_of("monotonic")
    table = model_file.estimates(one_draw(data, random_values(data, 1)), data).table
    assert set(table.loc[table["stratum"] == DIFFERENCE_MINUS, "scope"]) == {"pooled"}


def test_a_new_cohort_says_what_its_interval_leaves_out(set_of, ancova_set_of):
    data = set_of("monotonic")
    note = status(data, "HR-", scope="new cohort").note
    assert note.startswith("only the slope is new: HR, IHC and interactions are those of all cohorts")
    assert note.endswith("the interval is too narrow where cohorts differ in them")
    outcome = data.outcome.copy()
    outcome.loc[data.tumours["cohort"] != "A", "Alpha cells"] = np.nan
    alone = replace(data, outcome=outcome)
    row = status(alone, ALL, scope="new cohort", cell="Alpha cells")
    assert row.status == "borrowed"
    assert row.note.startswith(
        "continuous in A alone: the spread between cohorts is the one that the other cell types show"
    )
    nowhere = replace(alone, outcome=outcome[["Alpha cells"]])
    row = status(nowhere, ALL, scope="new cohort", cell="Alpha cells")
    assert row.status == "prior-only"
    one = set_of("one cohort")
    assert status(one, ALL, scope="new cohort").note.startswith(
        "one cohort: the spread between cohorts is the prior's"
    )


def test_pooled_slopes_are_matched_by_the_regression_that_averages_over_the_same_tumours(set_of):
    data = set_of("monotonic")
    ours = model_file.estimates(one_draw(data, random_values(data, 1)), data)
    table = concordance(ours, marginal_effect_twin(data))
    assert set(table.loc[table["scope"] == "pooled", "twin_method"]) == {COHORT_FIXED}


def test_spreads_stand_beside_their_priors(set_of):
    data = set_of("unordered")
    values = random_values(data, 2)
    posterior = xr.Dataset({name: v.expand_dims(chain=[0], draw=[0]) for name, v in values.items()})
    table = model_file.heterogeneity(posterior, data, model_file.PRIORS, interval=0.95)
    named = [v for v in variables(data) if v.endswith("_sd") and v != "log_residual_sd"]
    assert len(table) == sum(values[v].size for v in named)
    assert set(model_file.reported(posterior)) == {*named, "log_residual_sd"}
    row = table[(table["term"] == "slope") & (table["between"] == "cohorts")].iloc[0]  # one row
    assert row["point"] == pytest.approx(float(values["slope_between_cohorts_sd"]))
    assert (row["unit"], row["n"], row["note"]) == ("SD of the outcome per SD of HER2", 3, "")
    assert row["prior_median"] == pytest.approx(stats.halfnorm.median(scale=0.25))
    assert row["prior_upper"] == pytest.approx(stats.halfnorm.ppf(0.975, scale=0.25))
    rare = table[(table["between"] == "cohorts") & (table["cell_type"] == "Alpha cells")].iloc[0]  # one row
    assert (rare["term"], rare["n"]) == ("intercept", 2)
    assert rare["note"] == "two cohorts: one difference informs it"
    assert "ihc: 2+ against 0" in set(table["term"])


def test_the_region_of_practical_equivalence_is_in_sds_of_the_outcome(set_of):
    data = set_of("one cohort")
    sd = scale_of(data, "Zeta cells")[1]
    assert Rope(standardised=0.1).limits("marginal_slope", sd) == pytest.approx((-0.1 * sd, 0.1 * sd))
    posterior_sd = float(ancova(data).sd[list(data.outcome.columns).index("Zeta cells")])
    assert posterior_sd == pytest.approx(sd, rel=1e-12)


def test_every_prior_says_what_it_means(set_of):
    said = {n: model_file.reader_scale(n, p, 0.95) for n, p in model_file.PRIORS.items()}
    assert said["slope_mean"] == "95%: -0.49 to 0.49 SD of the outcome per SD of HER2"
    assert said["ihc_step_shares"] == "95%: the first of two steps is 2.5% to 97.5% of the whole effect"
    assert said["her2_x_hr_mean"].endswith("SD of the outcome per SD of HER2")
    assert said["her2_x_ihc_between_cells_sd"].endswith("SD of the outcome per SD of HER2")
    assert said["hr_x_ihc_mean"] == "95%: -0.49 to 0.49 SD of the outcome"
    assert said["covariate_slope_mean"].startswith(
        "95%: -0.49 to 0.49 SD of the outcome per unit of the covariate"
    )
    assert said["log_residual_sd"] == "95%: 0.38 to 2.7 SD of the outcome"


def test_the_ihc_effect_is_monotonic_in_the_reference_stratum_at_average_her2(set_of, density_of):
    """Prior draws of the graph: one sign in HR+, either sign left to HR- (as mo(ihc) * hr of brms)."""
    design = ancova(set_of("monotonic"))
    graph = density_of("monotonic").model
    drawn = pm.sample_prior_predictive(
        400,
        model=graph,
        var_names=[v.name for v in graph.free_RVs],
        random_seed=3,
        compile_kwargs={"mode": PLAIN},
    )["prior"].to_dataset()
    with_typical = drawn.assign(
        slope=drawn["slope_by_cohort"].mean("cohort"), intercept=drawn["intercept_by_cohort"].mean("cohort")
    )
    values = coefficients(with_typical, design, "cohort").to_numpy()
    turns = {}
    for hr in (0.0, 1.0):
        n = len(design.levels)
        at_levels = design._columns(
            np.zeros(n),
            np.full(n, hr),
            design._code(np.arange(n)),
            *(np.zeros((n, part.shape[1])) for part in (design.cohort_columns, design.centre_columns)),
            np.zeros((n, design.covariates.shape[1])),
        )
        steps = np.diff(values.transpose(0, 1, 3, 2) @ at_levels.T, axis=-1)
        turns[hr] = float((steps[..., 0] * steps[..., 1] < -1e-12).mean())
    assert turns[0.0] == 0.0
    assert 0.15 < turns[1.0] < 0.25  # 0.20 by simulation of two totals and two Dirichlet shares


@pytest.mark.parametrize("kind", ["monotonic", "one stratum"])
def test_the_default_priors_pass_their_gates(set_of, density_of, kind):
    gates = model_file.prior_checks(density_of(kind).model, set_of(kind), 1)
    assert gates["passed"].all(), gates


def test_a_prior_that_expects_correlations_beyond_one_fails_its_gate(set_of):
    data = set_of("one cohort")
    wide = replace(model_file.PRIORS["slope_between_cells_sd"], params={"sigma": 3.0})
    graph = model_file.build(data, model_file.PRIORS | {"slope_between_cells_sd": wide})
    gates = model_file.prior_checks(graph, data, 1)
    failed = gates.loc[~gates["passed"], "check"]
    assert list(failed) == ["prior probability of a slope beyond 1 SD of the outcome per SD of HER2"]


@pytest.mark.parametrize("kind", ["monotonic", "unordered", "one stratum", "centres"])
def test_replicated_outcomes_have_the_means_and_spreads_of_the_model_on_the_scale_of_the_data(set_of, kind):
    data = set_of(kind)
    values = random_values(data, seed=6)
    draw = xr.Dataset({name: v.expand_dims(chain=[0], draw=[0]) for name, v in values.items()})
    n = 600
    made = [model_file.replicated(draw, data, np.random.default_rng(seed)) for seed in range(n)]
    for cell_type in data.outcome.columns:
        mean, sd = scale_of(data, cell_type)
        assert made[0].outcome_sd[cell_type] == pytest.approx(sd)
        assert made[0].outcome_centre[cell_type] == pytest.approx(mean)
        for tumour in data.outcome.index[::7]:
            drawn = np.array([one.outcome.at[tumour, cell_type] for one in made])
            if np.isnan(data.outcome.at[tumour, cell_type]):
                assert np.isnan(drawn).all()
                continue
            terms = tumour_terms(data, tumour)
            residual = sd * np.exp(at(values["log_residual_sd"], cohort=terms["cohort"], cell_type=cell_type))
            expected = mean + sd * linear_predictor(data, values, cell_type, **terms)
            # The largest of some hundred means, and the range of a chi-squared with 599 degrees of freedom.
            assert abs(drawn.mean() - expected) < 4.5 * residual / np.sqrt(n)
            assert 0.87 < drawn.std() / residual < 1.13
    again = ancova(made[0])
    assert (again.centre, again.sd) == (pytest.approx(ancova(data).centre), pytest.approx(ancova(data).sd))
    assert made[0].fingerprint != data.fingerprint
    assert made[0].fingerprint != made[1].fingerprint


@pytest.mark.parametrize(
    "kind", ["monotonic", "unordered", "one cohort", "one stratum", "two levels", "centres"]
)
def test_its_outline_is_that_of_its_graph(set_of, kind):
    assert_speaks_for_the_graph(model_file, set_of(kind))
    assert_prints_its_numbers(model_file, set_of(kind))
