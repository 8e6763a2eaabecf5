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


@pytest.fixture(scope="module")
def nearly_separated(make_set):
    """22 HR- tumours of which HER2 parts all but two pairs, beside 60 HR+ tumours without an effect."""
    rng = np.random.default_rng(5)
    negative = np.sort(rng.normal(size=22))
    high = np.arange(22) >= 11
    high[[9, 12]] = high[[12, 9]]
    her2 = np.concatenate([rng.normal(size=60), negative])
    tumours = pd.DataFrame({"cohort": "K1", "hr": ["HR+"] * 60 + ["HR-"] * 22, "her2_sd": her2})
    tumours.index = pd.Index([f"K1/{i:03d}" for i in range(82)], name="tumour")
    present = np.concatenate([rng.uniform(size=60) < 0.5, high])
    abundance = pd.DataFrame({"A": np.where(present, 0.1, 0.0)}, index=tumours.index)
    return replace(make_set(tumours, abundance), model="high_abundance")


@pytest.mark.parametrize("stratum", [*STRATA, DIFFERENCE])
def test_the_marginal_odds_ratio_has_the_p_of_the_likelihood_ratio(nearly_separated, stratum) -> None:
    # 4,000 simulated strata without an effect, P < 0.05: delta method 14.9 % (n = 13), 11.5 % (22), 6.5 % (63);
    # likelihood ratio 8.1 %, 6.9 %, 4.9 %. Coverage of the 95 % intervals: 85.1, 88.5, 93.5 %; 91.9, 93.1, 95.2 %.
    table = high_abundance_twin(nearly_separated).table
    labels = {"stratum": stratum, "scope": "cohort"}
    marginal = _row(table, **labels, estimand=MARGINAL)
    profile = _row(table, **labels, estimand=CONDITIONAL, method=PROFILE_LIKELIHOOD)
    assert marginal["p_value"] == profile["p_value"]
    assert marginal["interval_kind"] == profile["interval_kind"]
    if stratum != DIFFERENCE:  # the marginal odds ratio is 1 exactly where the slope is 0
        outside = [row["lower"] > 1 or row["upper"] < 1 for row in (marginal, profile)]
        assert outside[0] == outside[1] == (profile["p_value"] < 0.05)
    pooled = _row(table, estimand=MARGINAL, stratum=stratum, scope="pooled", method=COHORT_FIXED)
    alone = _row(table, estimand=MARGINAL, stratum=stratum, scope="pooled", method="single cohort")
    assert pooled["p_value"] == pytest.approx(alone["p_value"], rel=1e-6)
    assert alone["lower"] == marginal["lower"]


def test_marginal_limits_are_those_of_the_fits_held_at_the_profile_limits(nearly_separated) -> None:
    import statsmodels.api as sm

    table = high_abundance_twin(nearly_separated).table
    labels = {"stratum": "HR-", "scope": "cohort"}
    profile = _row(table, **labels, estimand=CONDITIONAL, method=PROFILE_LIKELIHOOD)
    marginal = _row(table, **labels, estimand=MARGINAL)
    own = nearly_separated.tumours["hr"] == "HR-"
    h = nearly_separated.tumours.loc[own, "her2_sd"].to_numpy()
    y = nearly_separated.high.loc[own, "A"].astype(float).to_numpy()
    for side in ("lower", "upper"):
        slope = math.log(profile[side])
        fit = sm.GLM(y, np.ones((22, 1)), family=sm.families.Binomial(), offset=slope * h).fit()
        at_h, above = (fit.params[0] + slope * x for x in (h, h + 1))
        shares = [(1 / (1 + np.exp(-eta))).mean() for eta in (at_h, above)]
        odds = [p / (1 - p) for p in shares]
        assert marginal[side] == pytest.approx(odds[1] / odds[0], rel=1e-4)
    # The delta method's standard error is too small here: its P is under a thousandth of the likelihood ratio's.
    full = sm.GLM(y, sm.add_constant(h), family=sm.families.Binomial()).fit()

    def log_ratio(b: np.ndarray) -> float:
        means = [(1 / (1 + np.exp(-(b[0] + b[1] * x)))).mean() for x in (h, h + 1)]
        return float(np.diff([math.log(p / (1 - p)) for p in means])[0])

    gradient = np.array([log_ratio(full.params + d) - log_ratio(full.params - d) for d in np.eye(2) * 1e-5])
    gradient /= 2e-5
    se = math.sqrt(gradient @ full.cov_params() @ gradient)
    assert 2 * stats.norm.sf(abs(log_ratio(full.params)) / se) < marginal["p_value"] / 1_000


def test_a_regression_over_cohorts_counts_the_tumours_that_inform_it(three, make_set) -> None:
    # No HR- tumour of K3 is high: its HR- term is infinite, and they say nothing of the common slope.
    tumours, abundance = three
    own = (tumours["cohort"] == "K3") & (tumours["hr"] == "HR-")
    data = make_set(tumours, abundance.assign(A=abundance["A"].mask(own, 0.0)))
    table = high_abundance_twin(replace(data, model="high_abundance")).table
    labels = {"outcome": "A", "scope": "pooled", "method": COHORT_FIXED}
    for estimand in (CONDITIONAL, MARGINAL):
        negative = _row(table, **labels, estimand=estimand, stratum="HR-")
        assert negative["n"] == THREE["K1", "HR-"] + THREE["K2", "HR-"]
        assert "no information from K3 (its tumours are predicted without error)" in negative["note"]
        both = _row(table, **labels, estimand=estimand, stratum=DIFFERENCE)
        assert both["n"] == sum(THREE.values()) - THREE["K3", "HR-"]
        assert "K3 by its HR+ tumours alone" in both["note"]
    profile = _row(
        table, outcome="A", scope="pooled", method=PROFILE_LIKELIHOOD, estimand=CONDITIONAL, stratum="HR-"
    )
    assert profile["n"] == THREE["K1", "HR-"] + THREE["K2", "HR-"]
    pooled = _row(
        table, outcome="A", scope="pooled", method="common effect", estimand=CONDITIONAL, stratum="HR-"
    )
    assert pooled["n"] == profile["n"]
    assert "left out: K3 (0 of 45 HR- tumours in K3 are high" in pooled["note"]


def test_a_t_of_two_degrees_of_freedom_says_that_it_hardly_passes_bonferroni(three_twin) -> None:
    row = _row(
        three_twin, outcome="A", estimand=CONDITIONAL, stratum="HR+", method=RANDOM_EFFECTS, scope="pooled"
    )
    # t on 2 df in closed form: P = 1 - t / sqrt(2 + t^2), so t^2 = 2 (1 - P)^2 / (1 - (1 - P)^2).
    share = (1 - 0.0025) ** 2
    assert (
        f"t on 2 df: P of 0.05 over 20 tests needs |t| of {math.sqrt(2 * share / (1 - share)):.1f}"
        in row["note"]
    )
    assert "compare cohort fixed" in row["note"]


def test_a_separated_cohort_of_one_stratum_has_no_contrast(make_set) -> None:
    her2 = np.linspace(-2, 2, 40)
    tumours = pd.DataFrame({"cohort": "K1", "hr": "HR+", "her2_sd": her2})
    tumours.index = pd.Index([f"K1/{i:03d}" for i in range(40)], name="tumour")
    abundance = pd.DataFrame({"A": np.where(her2 > 0, 0.1, 0.0)}, index=tumours.index)
    table = high_abundance_twin(replace(make_set(tumours, abundance), model="high_abundance")).table
    rows = table[table["stratum"] == DIFFERENCE]
    assert rows["p_value"].isna().all()
    assert set(table.loc[table["stratum"] == "HR+", "status"]) >= {"separated"}


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
