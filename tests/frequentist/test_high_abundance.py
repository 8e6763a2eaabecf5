"""The twin of high abundance: Wald and profile limits, both P values for interaction, separation named."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bayes_her2.comparison.concordance import matched_twins
from bayes_her2.data import DIFFERENCE, STRATA
from bayes_her2.estimates import COHORT_FIXED, PROFILE_LIKELIHOOD
from bayes_her2.frequentist import abundance_twin, high_abundance_twin
from bayes_her2.frequentist.design import design_matrix, stratum_contrast
from bayes_her2.frequentist.pooling import RANDOM_EFFECTS
from bayes_her2.frequentist.profile import profile_likelihood
from bayes_her2.frequentist.regression import logistic_regression

CONDITIONAL, MARGINAL = "high_abundance_conditional", "high_abundance"
NUMBERS = ["point", "lower", "upper", "p_value", "p_adjusted"]
LABELS = ["method", "outcome", "estimand", "stratum", "scope", "cohort"]
PLANTED = {
    "A": {"HR+": (0.8, 0.3), "HR-": (-0.8, -0.3)},
    "B": {"HR+": (0.0, 0.1), "HR-": (0.4, 0.0)},
}
THREE = {
    ("K1", "HR+"): 90,
    ("K1", "HR-"): 50,
    ("K2", "HR+"): 80,
    ("K2", "HR-"): 40,
    ("K3", "HR+"): 85,
    ("K3", "HR-"): 45,
}
TIGHT = 2e-6
"""R's numbers are printed with 15 digits; both sides iterate to about 1e-8."""


def _row(table: pd.DataFrame, **equal: str) -> pd.Series:
    for column, value in equal.items():
        table = table[table[column] == value]
    assert len(table) == 1, f"{len(table)} rows for {equal}"
    return table.squeeze(axis=0)


@pytest.fixture(scope="module")
def r_data(reference_folder: Path) -> pd.DataFrame:
    table = pd.read_csv(reference_folder / "logistic.csv")
    return table.set_index(pd.Index([f"K1/{i:03d}" for i in range(len(table))], name="tumour"))


@pytest.fixture(scope="module")
def r_number(reference_folder: Path):
    table = pd.read_csv(reference_folder / "logistic_reference.csv").set_index(["what", "quantity"])["value"]
    return lambda what, quantity: float(table.loc[(what, quantity)])


@pytest.fixture(scope="module")
def r_twin(r_data, make_set):
    """The tumours of the R reference; abundance is 1 where R's outcome is 1, so that high = present = R's outcome."""
    tumours = r_data[["hr"]].assign(cohort="K1", her2_sd=r_data["her2"])
    abundance = pd.DataFrame({"A": r_data["high"].astype(float)})

    def of(model: str) -> pd.DataFrame:
        age = pd.DataFrame({"age": r_data["age"]})
        data = make_set(tumours, abundance, covariates=age if model == "covariates" else None)
        return high_abundance_twin(replace(data, model="high_abundance")).table

    return of


@pytest.mark.parametrize("model", ["no_covariates", "covariates"])
@pytest.mark.parametrize("stratum", [*STRATA, DIFFERENCE])
def test_estimates_limits_and_p_values_are_those_of_r(r_twin, r_number, model, stratum) -> None:
    # R 4.2: glm, confint.default, profile limits solved to 1e-12 on glm.fit, anova(test = "LRT").
    what = f"interaction:{model}:{'HR- minus HR+' if stratum == DIFFERENCE else stratum}"
    labels = {"estimand": CONDITIONAL, "stratum": stratum, "scope": "cohort"}
    wald = _row(r_twin(model), **labels, method="logistic regression")
    profile = _row(r_twin(model), **labels, method=PROFILE_LIKELIHOOD)
    for row in (wald, profile):
        assert math.log(row["point"]) == pytest.approx(r_number(what, "estimate"), rel=TIGHT)
    assert math.log(wald["lower"]) == pytest.approx(r_number(what, "wald_lower"), rel=TIGHT)
    assert math.log(wald["upper"]) == pytest.approx(r_number(what, "wald_upper"), rel=TIGHT)
    assert wald["p_value"] == pytest.approx(r_number(what, "wald_p_value"), rel=TIGHT)
    assert math.log(profile["lower"]) == pytest.approx(r_number(what, "exact_profile_lower"), rel=TIGHT)
    assert math.log(profile["upper"]) == pytest.approx(r_number(what, "exact_profile_upper"), rel=TIGHT)
    assert profile["p_value"] == pytest.approx(r_number(what, "lr_p_value"), rel=TIGHT)
    # confint() of MASS interpolates a grid of refits: the same to three digits.
    assert math.log(profile["lower"]) == pytest.approx(r_number(what, "profile_lower"), abs=5e-3)


@pytest.mark.parametrize("stratum", STRATA)
def test_without_covariates_the_interaction_model_is_one_regression_in_each_stratum(
    r_twin, r_number, stratum
) -> None:
    row = _row(
        r_twin("no_covariates"),
        estimand=CONDITIONAL,
        stratum=stratum,
        scope="cohort",
        method=PROFILE_LIKELIHOOD,
    )
    what = f"stratum:no_covariates:{stratum}"
    assert math.log(row["point"]) == pytest.approx(r_number(what, "estimate"), rel=TIGHT)
    assert math.log(row["upper"]) == pytest.approx(r_number(what, "exact_profile_upper"), rel=TIGHT)
    assert row["p_value"] == pytest.approx(r_number(what, "lr_p_value"), rel=TIGHT)


@pytest.fixture(scope="module")
def three(simulated):
    return simulated(31, THREE, PLANTED)


@pytest.fixture(scope="module")
def three_set(three, make_set):
    return replace(make_set(*three), model="high_abundance")


@pytest.fixture(scope="module")
def three_twin(three_set) -> pd.DataFrame:
    return high_abundance_twin(three_set).table


def test_wald_rows_are_those_that_the_abundance_twin_shows(three, make_set, three_twin) -> None:
    beside = abundance_twin(make_set(*three)).table
    beside = beside[beside["estimand"].isin([CONDITIONAL, MARGINAL])].set_index(LABELS)
    ours = three_twin[three_twin["method"] != PROFILE_LIKELIHOOD].set_index(LABELS)
    shared = ours.index
    assert set(beside.index) - set(shared) == {
        key for key in beside.index if key[2] == MARGINAL and key[4] == "new cohort"
    }
    pd.testing.assert_frame_equal(ours[NUMBERS], beside.loc[shared, NUMBERS], rtol=1e-9)


def test_the_pooled_second_opinion_is_the_regression_with_cohort_fixed(three_twin, three_set) -> None:
    labels = {"outcome": "A", "estimand": CONDITIONAL, "stratum": DIFFERENCE, "scope": "pooled"}
    fixed = _row(three_twin, **labels, method=COHORT_FIXED)
    profile = _row(three_twin, **labels, method=PROFILE_LIKELIHOOD)
    assert profile["point"] == fixed["point"]
    assert profile["interval_kind"] == "confidence (profile likelihood)"
    # P: twice the difference of log likelihoods of statsmodels' Logit with and without the interaction.
    import statsmodels.api as sm

    tumours = three_set.tumours
    x = design_matrix(tumours, three_set.covariates, reference="HR+", use_centre=False)
    y = three_set.high["A"].astype(float)
    llf = [sm.Logit(y, m).fit(disp=0).llf for m in (x, x.drop(columns="exposure x hr"))]
    assert profile["p_value"] == pytest.approx(stats.chi2.sf(2 * (llf[0] - llf[1]), 1), rel=1e-6)
    own = three_twin[(three_twin["method"] == PROFILE_LIKELIHOOD) & (three_twin["scope"] == "cohort")]
    assert len(own) == 2 * 3 * 3


def test_profile_limits_are_where_the_likelihood_ratio_rejects(three_set) -> None:
    tumours, y = three_set.tumours, three_set.high["A"]
    design = design_matrix(tumours, three_set.covariates, reference="HR+", use_centre=False)
    fit = logistic_regression(design, y)
    contrast = stratum_contrast(design, "HR-", reference="HR+")
    found = profile_likelihood(fit, design, contrast, interval=0.9)
    import statsmodels.api as sm

    # HR- slope fixed at each limit: offset limit x h in HR-, and the slope of HR+ tumours alone is left to fit.
    negative = (tumours["hr"] == "HR-").astype(float)
    others = design.drop(columns="exposure x hr").assign(exposure=tumours["her2_sd"] * (1 - negative))
    for limit in (found.lower, found.upper):
        offset = limit * tumours["her2_sd"] * negative
        deviance = (
            sm.GLM(y.astype(float), others, family=sm.families.Binomial(), offset=offset).fit().deviance
        )
        assert deviance - fit.deviance == pytest.approx(stats.chi2.isf(0.1, 1), rel=1e-6)


def test_separation_is_named_and_its_likelihood_ratio_is_finite(three, make_set) -> None:
    tumours, abundance = three
    own = (tumours["cohort"] == "K2") & (tumours["hr"] == "HR-")
    separated = abundance.copy()
    separated.loc[own, "A"] = np.where(tumours.loc[own, "her2_sd"] > 0.2, 0.05, 0.0)
    data = replace(make_set(tumours, separated), model="high_abundance")
    table = high_abundance_twin(data).table
    labels = {"outcome": "A", "estimand": CONDITIONAL, "scope": "cohort", "cohort": "K2"}
    for stratum in ("HR-", DIFFERENCE):
        wald = _row(table, **labels, stratum=stratum, method="logistic regression")
        profile = _row(table, **labels, stratum=stratum, method=PROFILE_LIKELIHOOD)
        for row in (wald, profile):
            assert row["status"] == "separated"
            assert math.isnan(row["point"])
            assert "no finite slope maximises the likelihood" in row["note"]
        assert pd.isna(wald["p_value"])
        # The HR- stratum is predicted without error: its likelihood is 1, against the one without a slope.
        if stratum == "HR-":
            y = data.high.loc[own, "A"]
            p = y.mean()
            null = -2 * (y.sum() * np.log(p) + (~y).sum() * np.log(1 - p))
            assert profile["p_value"] == pytest.approx(stats.chi2.sf(null, 1), rel=1e-5)
    kept = _row(table, **labels, stratum="HR+", method=PROFILE_LIKELIHOOD)
    assert kept["status"] == "observed"
    pooled = _row(
        table,
        outcome="A",
        estimand=CONDITIONAL,
        stratum="HR-",
        scope="pooled",
        method="common effect",
    )
    assert "left out: K2" in pooled["note"]


def test_strata_that_the_posterior_does_not_model_are_not_estimable(three, make_set) -> None:
    tumours, abundance = three
    few = abundance.copy()
    negative = tumours.index[tumours["hr"] == "HR-"]
    few.loc[negative, "A"] = 0.0
    few.loc[negative[:9], "A"] = 0.05
    data = replace(make_set(tumours, few), model="high_abundance")
    assert not data.high_parts.set_index(["cell_type", "stratum"]).at[("A", "HR-"), "high_modelled"]
    table = high_abundance_twin(data).table
    rows = table[(table["outcome"] == "A") & table["stratum"].isin(["HR-", DIFFERENCE])]
    assert set(rows["status"]) == {"not estimable"}
    assert rows.loc[rows["scope"] == "cohort", "note"].str.contains("10 of each needed").all()
    assert rows["p_value"].isna().all()


def test_second_opinions_are_families_of_their_own_and_get_no_verdict(three_twin) -> None:
    profile = three_twin[
        (three_twin["method"] == PROFILE_LIKELIHOOD)
        & (three_twin["scope"] == "pooled")
        & (three_twin["stratum"] == "HR+")
    ]
    assert len(profile) == 2
    expected = (2 * profile["p_value"]).clip(upper=1.0)
    assert profile["p_adjusted"].tolist() == pytest.approx(expected.tolist())
    matched = matched_twins(three_twin)
    assert PROFILE_LIKELIHOOD not in set(matched["method"])
    conditional = matched[(matched["estimand"] == CONDITIONAL) & (matched["scope"] == "pooled")]
    assert set(conditional["method"]) == {RANDOM_EFFECTS}


def test_the_order_of_rows_and_cell_types_does_not_matter(three, make_set, three_twin) -> None:
    tumours, abundance = three
    rows = np.random.default_rng(3).permutation(len(tumours))
    data = replace(make_set(tumours.iloc[rows], abundance.iloc[rows][["B", "A"]]), model="high_abundance")
    again = high_abundance_twin(data).table.set_index(LABELS).sort_index()
    before = three_twin.set_index(LABELS).sort_index()
    pd.testing.assert_frame_equal(again[NUMBERS], before[NUMBERS], rtol=1e-6)
