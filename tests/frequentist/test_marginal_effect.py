"""The analysis of covariance equals R (lm, car, emmeans), and says what it cannot estimate."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from scipy.interpolate import CubicSpline

from bayes_her2.data import DIFFERENCE_MINUS
from bayes_her2.estimates import ALL, COHORT_FIXED
from bayes_her2.frequentist import ancova_residual_checks, ancova_tests, marginal_effect_twin
from bayes_her2.frequentist.marginal_effect import ANCOVA, CURVE_AT
from bayes_her2.frequentist.pooling import COMMON_EFFECT, RANDOM_EFFECTS, SINGLE_COHORT, random_effects
from bayes_her2.splines import knots_of, natural_spline

STRATUM_IN_R = {ALL: "overall", "HR+": "hr=HR+", "HR-": "hr=HR-"}
TERM_IN_R = {
    "her2": "her2",
    "hr": "hr",
    "her2_ihc": "ihc",
    "her2 x hr": "her2:hr",
    "her2 x her2_ihc": "her2:ihc",
    "hr x her2_ihc": "hr:ihc",
    "covariate age": "age",
    "covariate size": "size",
}


@pytest.fixture(scope="module")
def in_r(reference_folder):
    """Numbers of R: (what, quantity) -> value."""
    table = pd.read_csv(reference_folder / "ancova_reference.csv", dtype={"value": str})
    values = pd.to_numeric(table["value"].replace("NA", np.nan))
    return dict(zip(zip(table["what"], table["quantity"], strict=True), values, strict=True))


@pytest.fixture(scope="module")
def r_set(reference_folder, ancova_set_of):
    """The tumours that R saw, with or without covariates."""
    rows = pd.read_csv(reference_folder / "ancova.csv", dtype={"hr": str, "ihc": str})

    def make(covariates=False, keep=None):
        chosen = rows if keep is None else rows[keep(rows)]
        sizes = {("A", hr): int((chosen["hr"] == hr).sum()) for hr in ("HR+", "HR-")}
        data = ancova_set_of(sizes)
        ordered = chosen.sort_values("hr", ascending=True)  # HR+ first, as the set is made
        index = data.tumours.index
        assert list(ordered["hr"]) == list(data.tumours["hr"])
        tumours = data.tumours.assign(her2_sd=ordered["her2"].to_numpy(), her2_ihc=ordered["ihc"].to_numpy())
        wanted = ordered[["age", "size"]] if covariates else ordered[[]]
        return replace(
            data,
            tumours=tumours,
            outcome=pd.DataFrame({"Alpha cells": ordered["y"].to_numpy()}, index=index),
            covariates=wanted.set_axis(index),
            adjustment="age, size" if covariates else "none",
        )

    return make


def only(table, **equal):
    for column, value in equal.items():
        table = table[table[column] == value]
    assert len(table) == 1, equal
    return table.iloc[0]  # one row, checked above


def check(row, in_r, what):
    for ours, theirs in (("point", "estimate"), ("lower", "lower"), ("upper", "upper")):
        assert row[ours] == pytest.approx(in_r[what, theirs], rel=1e-6, abs=1e-9), (what, ours)
    if row["estimand"] == "marginal_slope":
        assert row["p_value"] == pytest.approx(in_r[what, "p_value"], rel=1e-6), what


@pytest.mark.parametrize("model", ["no_covariates", "covariates"])
@pytest.mark.parametrize("weighting", ["equal", "observed"])
def test_marginal_slopes_and_means_equal_emmeans(r_set, in_r, model, weighting):
    twin = marginal_effect_twin(r_set(model == "covariates")).table
    slopes = twin[(twin["estimand"] == "marginal_slope") & (twin["outcome"] == "Alpha cells")]
    contrast = f"h + 1 SD over h, {weighting} weights"
    for stratum, name in STRATUM_IN_R.items():
        # One cohort: its own regression, the one over all cohorts and the combination are the same.
        for method in (ANCOVA, COHORT_FIXED, SINGLE_COHORT):
            row = only(slopes, contrast=contrast, stratum=stratum, method=method)
            check(row, in_r, f"slope:{model}:{weighting}:{name}")
    own = " (own ihc)" if weighting == "observed" else ""
    row = only(slopes, contrast=contrast, stratum=DIFFERENCE_MINUS, method=ANCOVA)
    check(row, in_r, f"slope:{model}:{weighting}:HR- minus HR+{own}")
    means = twin[(twin["estimand"] == "marginal_mean") & (twin["method"] == COHORT_FIXED)]
    for stratum, at in product(STRATUM_IN_R, (-2.0, -1.0, 0.0, 1.0, 2.0)):
        row = only(means, contrast=f"mean at h, {weighting} weights", stratum=stratum, at=at)
        own = " (own tumours)" if weighting == "observed" and stratum != ALL else ""
        check(row, in_r, f"mean:{model}:{weighting}:{STRATUM_IN_R[stratum]}{own}:her2={at:.0f}")


@pytest.mark.parametrize("model", ["no_covariates", "covariates"])
def test_type_iii_tests_equal_car(r_set, in_r, model):
    tests = ancova_tests(r_set(model == "covariates"))
    assert set(tests["term"]) == set(TERM_IN_R) - (
        set() if model == "covariates" else {"covariate age", "covariate size"}
    )
    for _, row in tests.iterrows():
        what = f"type3:{model}:{TERM_IN_R[row['term']]}"
        for ours in ("f", "df1", "df2", "p_value"):
            assert row[ours] == pytest.approx(in_r[what, ours], rel=1e-6), (what, ours)
        assert row["note"] == ""


def without_cell(rows):
    return ~((rows["hr"] == "HR-") & (rows["ihc"] == "2+"))


def test_an_empty_cell_leaves_slopes_estimable_and_takes_the_means_that_need_it(r_set, in_r):
    data = r_set(keep=without_cell)
    twin = marginal_effect_twin(data).table
    own = twin[(twin["outcome"] == "Alpha cells") & (twin["method"] == COHORT_FIXED)]
    for stratum, name in STRATUM_IN_R.items():
        for weighting in ("equal", "observed"):
            row = only(own, contrast=f"h + 1 SD over h, {weighting} weights", stratum=stratum)
            check(row, in_r, f"empty_cell:two_way:slope:{weighting}:{name}")
        what = f"empty_cell:two_way:mean:equal:{name}:her2=0"
        row = only(own, contrast="mean at h, equal weights", stratum=stratum, at=0.0)
        if in_r[what, "estimable"]:
            check(row, in_r, what)
        else:
            assert row["status"] == "not estimable"
            assert np.isnan(row["point"])
            assert "no tumours in HR- with IHC 2+" in row["note"]
        observed = only(own, contrast="mean at h, observed weights", stratum=stratum, at=0.0)
        assert observed["status"] == "observed"


def test_an_empty_cell_takes_the_type_iii_tests_that_need_it_and_no_others(r_set, in_r):
    """car refuses all of them; the hypotheses that the tumours determine are those of complete data.

    Written out: dummy coding without the empty cell's column, and the sum-to-zero hypotheses as contrasts of it.
    """
    assert in_r["empty_cell:two_way:type3", "refused"] == 1
    data = r_set(keep=without_cell)
    tests = ancova_tests(data)
    tests = tests[tests["scope"] == "cohort"].set_index("term")
    for term in ("hr", "her2_ihc", "hr x her2_ihc"):
        assert np.isnan(tests.loc[term, "f"])
        assert tests.loc[term, "note"] == (
            "the tumours do not determine all of its coefficients (no tumours: HR- with IHC 2+)"
        )
    # intercept, h, r, 1+, 2+, h r, h 1+, h 2+, r 1+
    x = sm.add_constant(np.column_stack(dummies(data.tumours)[:8]))
    fit = sm.OLS(data.outcome["Alpha cells"].to_numpy(), x).fit()
    hypotheses = {
        "her2": [{1: 1, 5: 1 / 2, 6: 1 / 3, 7: 1 / 3}],
        "her2 x hr": [{5: 1}],
        "her2 x her2_ihc": [{6: 1}, {7: 1}],
    }
    for term, rows in hypotheses.items():
        contrast = np.array([[row.get(i, 0.0) for i in range(9)] for row in rows])
        expected = fit.f_test(contrast)
        assert tests.loc[term, "f"] == pytest.approx(float(np.squeeze(expected.fvalue)), rel=1e-8), term
        assert tests.loc[term, "p_value"] == pytest.approx(float(expected.pvalue), rel=1e-8), term
        assert (tests.loc[term, "df1"], tests.loc[term, "df2"]) == (len(rows), fit.df_resid)
        assert tests.loc[term, "note"] == ""


def test_a_regression_over_all_cohorts_that_is_not_weighted_says_so(ancova_set_of):
    data = ancova_set_of({("A", "HR+"): 60, ("A", "HR-"): 30, ("B", "HR+"): 4})
    twin = marginal_effect_twin(data).table
    row = only(
        twin,
        outcome="Zeta cells",
        method=COHORT_FIXED,
        estimand="marginal_slope",
        contrast="h + 1 SD over h, observed weights",
        stratum=ALL,
    )
    assert row["status"] == "observed"
    assert row["note"] == ("not weighted: B has no residual variance of its own, so one serves all cohorts")
    tests = ancova_tests(data)
    tests = tests[tests["cell_type"] == "Zeta cells"]
    assert tests.loc[tests["scope"] == "pooled", "note"].str.startswith("not weighted: B").all()


# --- several cohorts ---------------------------------------------------------------------------------

SIZES = {
    ("A", "HR+"): 60,
    ("A", "HR-"): 30,
    ("B", "HR+"): 55,
    ("B", "HR-"): 28,
    ("C", "HR+"): 40,
    ("C", "HR-"): 25,
}


@pytest.fixture(scope="module")
def three(ancova_set_of):
    return ancova_set_of(SIZES)


def dummies(tumours):
    h = tumours["her2_sd"].to_numpy()
    r = (tumours["hr"] == "HR-").to_numpy(float)
    one, two = ((tumours["her2_ihc"] == level).to_numpy(float) for level in ("1+", "2+"))
    return [h, r, one, two, h * r, h * one, h * two, r * one, r * two]


def test_the_regression_over_all_cohorts_is_weighted_by_their_residual_variances(three):
    """Written out with statsmodels: dummy coding, one intercept for each cohort, WLS."""
    y = three.outcome["Alpha cells"].to_numpy()
    cohort = three.tumours["cohort"].to_numpy()
    terms = np.column_stack(dummies(three.tumours))
    weights = np.empty(len(y))
    for name in "ABC":
        own = cohort == name
        weights[own] = 1 / sm.OLS(y[own], sm.add_constant(terms[own])).fit().scale
    design = np.column_stack([*((cohort == name).astype(float) for name in "ABC"), terms])
    fit = sm.WLS(y, design, weights=weights).fit()
    share = {level: (three.tumours["her2_ihc"] == level).mean() for level in ("1+", "2+")}
    contrast = np.zeros(12)
    contrast[[3, 7, 8, 9]] = 1, (three.tumours["hr"] == "HR-").mean(), share["1+"], share["2+"]
    expected = fit.t_test(contrast)
    twin = marginal_effect_twin(three).table
    row = only(
        twin,
        outcome="Alpha cells",
        method=COHORT_FIXED,
        estimand="marginal_slope",
        contrast="h + 1 SD over h, observed weights",
        stratum=ALL,
    )
    assert row["point"] == pytest.approx(float(np.squeeze(expected.effect)), rel=1e-9)
    low, high = np.squeeze(expected.conf_int(alpha=0.05))
    assert (row["lower"], row["upper"]) == pytest.approx((low, high), rel=1e-9)
    assert row["p_value"] == pytest.approx(float(np.squeeze(expected.pvalue)), rel=1e-9)


def test_cohort_slopes_are_combined_by_random_effects(three):
    twin = marginal_effect_twin(three).table
    slopes = twin[
        (twin["outcome"] == "Zeta cells")
        & (twin["contrast"] == "h + 1 SD over h, equal weights")
        & (twin["stratum"] == "HR-")
    ]
    own = slopes[slopes["scope"] == "cohort"]
    quantile = [stats.t.isf(0.025, n - 10) for n in (90, 83, 65)]
    variance = [
        ((row.upper - row.lower) / 2 / q) ** 2 for row, q in zip(own.itertuples(), quantile, strict=True)
    ]
    expected = random_effects(list(own["point"]), variance)
    row = only(slopes, method=RANDOM_EFFECTS)
    assert (row["point"], row["lower"], row["upper"]) == pytest.approx(
        (expected.estimate, expected.lower, expected.upper), rel=1e-6
    )


def test_a_cohort_where_the_cell_type_is_not_continuous_is_left_out(ancova_set_of):
    data = ancova_set_of(SIZES)
    outcome = data.outcome.copy()
    outcome.loc[data.tumours["cohort"] == "C", "Alpha cells"] = np.nan
    rules = data.rules.copy()
    lost = (rules["cell_type"] == "Alpha cells") & (rules["cohort"] == "C")
    rules.loc[lost, ["zero_share", "rule"]] = [0.31, "presence"]
    twin = marginal_effect_twin(replace(data, outcome=outcome, rules=rules)).table
    own = twin[(twin["outcome"] == "Alpha cells") & (twin["stratum"] == ALL)]
    own = own[own["contrast"] == "h + 1 SD over h, equal weights"]
    row = only(own, cohort="C")
    assert row["status"] == "not estimable"
    assert row["note"] == "not continuous: the share of zeros is 31% in C, and the limit 25 %"
    assert only(own, method=COMMON_EFFECT)["note"] == "left out: C"
    assert only(own, method=COHORT_FIXED)["n"] == 173


def test_every_cell_type_has_its_rows_and_those_that_are_continuous_nowhere_say_why(three):
    twin = marginal_effect_twin(three).table
    rare = twin[twin["outcome"] == "Rare"]
    assert set(rare["status"]) == {"not estimable"}
    assert set(rare["stratum"]) == {ALL, "HR+", "HR-", DIFFERENCE_MINUS}
    assert rare["note"].str.startswith("not continuous: the share of zeros is ").all()


def test_bonferroni_counts_the_cell_types_of_one_weighting_stratum_and_scope(three):
    twin = marginal_effect_twin(three).table
    tested = twin[twin["p_value"].notna()]
    assert set(tested["estimand"]) == {"marginal_slope"}
    assert tested["p_adjusted"].to_numpy() == pytest.approx(
        np.minimum(1.0, 2.0 * tested["p_value"].to_numpy())
    )


def test_the_order_of_rows_does_not_matter(three):
    rows = np.random.default_rng(3).permutation(len(three.tumours))
    shuffled = replace(
        three,
        tumours=three.tumours.iloc[rows],
        outcome=three.outcome.iloc[rows],
        covariates=three.covariates.iloc[rows],
    )
    pd.testing.assert_frame_equal(
        marginal_effect_twin(shuffled).table, marginal_effect_twin(three).table, rtol=1e-9
    )


def test_a_cohort_without_one_stratum_has_no_row_for_it(ancova_set_of):
    data = ancova_set_of({("A", "HR+"): 60, ("A", "HR-"): 30, ("B", "HR+"): 50})
    twin = marginal_effect_twin(data).table
    own = twin[(twin["outcome"] == "Alpha cells") & (twin["cohort"] == "B")]
    own = own[own["contrast"] == "h + 1 SD over h, observed weights"]
    assert only(own, stratum="HR-")["note"] == "no HR- tumours in B"
    assert only(own, stratum=ALL)["point"] == pytest.approx(only(own, stratum="HR+")["point"])


def test_too_few_tumours_for_the_coefficients_are_named(ancova_set_of):
    data = ancova_set_of({("A", "HR+"): 60, ("A", "HR-"): 30, ("B", "HR+"): 12, ("B", "HR-"): 10})
    few = data.tumours[data.tumours["cohort"] == "B"].groupby(["hr", "her2_ihc"]).head(1).index
    kept = data.tumours.index[(data.tumours["cohort"] == "A") | data.tumours.index.isin(few)]
    twin = marginal_effect_twin(
        replace(
            data,
            tumours=data.tumours.loc[kept],
            outcome=data.outcome.loc[kept],
            covariates=data.covariates.loc[kept],
        )
    ).table
    own = twin[(twin["outcome"] == "Alpha cells") & (twin["cohort"] == "B")]
    assert set(own["status"]) == {"not estimable"}
    assert own["note"].str.contains("B: 6 tumours for 6 coefficients leave no residual").all()


# --- residual checks ---------------------------------------------------------------------------------


def test_residual_checks_find_what_is_planted(three):
    rng = np.random.default_rng(8)
    outcome = three.outcome.copy()
    outcome["Alpha cells"] = rng.normal(size=len(outcome))
    outcome["Zeta cells"] = rng.exponential(size=len(outcome)) ** 2 * np.exp(three.tumours["her2_sd"])
    outcome.loc["A/003", "Alpha cells"] = 9.0
    outcome.loc[three.tumours["cohort"] == "C", "Alpha cells"] += 1.5 * three.tumours["her2_sd"] ** 2
    checks = ancova_residual_checks(replace(three, outcome=outcome)).set_index(["cell_type", "cohort"])
    assert checks.loc[("Alpha cells", "B"), "shapiro_p"] > 0.01
    assert checks.loc[("Zeta cells", "B"), "shapiro_p"] < 1e-6
    assert checks.loc[("Zeta cells", "B"), "skewness"] > 1
    assert checks.loc[("Alpha cells", "A"), "cooks_tumour"] == "A/003"
    assert checks.loc[("Alpha cells", "C"), "spline_p"] < 1e-4
    assert checks.loc[("Alpha cells", "B"), "spline_p"] > 0.01
    assert (checks["spline_df1"] == 2).all()


def test_breusch_pagan_is_that_of_squared_residuals_on_the_terms_and_survives_an_empty_cell(r_set):
    for keep, n_terms in ((None, 9), (without_cell, 8)):
        data = r_set(keep=keep)
        x = sm.add_constant(np.column_stack(dummies(data.tumours)[:n_terms]))  # the last is the empty cell's
        squares = sm.OLS(data.outcome["Alpha cells"].to_numpy(), x).fit().resid ** 2
        lm = len(squares) * sm.OLS(squares, x).fit().rsquared
        (row,) = ancova_residual_checks(data).to_dict("records")
        assert row["breusch_pagan_p"] == pytest.approx(stats.chi2.sf(lm, n_terms), rel=1e-8)


def test_cooks_distance_is_that_of_leaving_the_tumour_out(three):
    checks = ancova_residual_checks(three).set_index(["cell_type", "cohort"])
    row = checks.loc[("Zeta cells", "B")]
    own = three.tumours["cohort"] == "B"
    x = sm.add_constant(np.column_stack(dummies(three.tumours[own])))
    y = three.outcome.loc[own, "Zeta cells"].to_numpy()
    full = sm.OLS(y, x).fit()
    keep = three.tumours.index[own] != row["cooks_tumour"]
    left = sm.OLS(y[keep], x[keep]).fit()
    moved = full.fittedvalues - x @ left.params
    assert row["cooks_max"] == pytest.approx((moved**2).sum() / (10 * full.scale), rel=1e-9)


# --- splines -----------------------------------------------------------------------------------------


def test_natural_splines_are_the_interpolating_ones():
    """Any natural cubic spline through values at the knots is a combination of intercept, line and columns."""
    rng = np.random.default_rng(2)
    values = np.sort(rng.normal(size=200))
    knots = knots_of(values)
    inside = values[(values >= knots[0]) & (values <= knots[-1])]
    curve = CubicSpline(knots, rng.normal(size=4), bc_type="natural")(inside)
    basis = np.column_stack([np.ones_like(inside), inside, natural_spline(inside, knots)])
    fitted = basis @ np.linalg.lstsq(basis, curve, rcond=None)[0]
    np.testing.assert_allclose(fitted, curve, atol=1e-10)


def test_natural_splines_are_straight_beyond_the_outer_knots():
    knots = np.array([-1.0, -0.3, 0.4, 1.2])
    for outside in (np.linspace(-4, -1, 7), np.linspace(1.2, 5, 7)):
        np.testing.assert_allclose(np.diff(natural_spline(outside, knots), n=2, axis=0), 0.0, atol=1e-12)


def test_the_curve_is_asked_where_the_report_draws_it():
    assert CURVE_AT == (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
