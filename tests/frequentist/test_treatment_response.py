"""The twin of the treatment response model against published counts, closed forms and statsmodels; sample sizes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from response_sets import PCR, one_row, response_set, simulated_arms
from scipy import stats

from bayes_her2.data import HER2_LOW, HER2_ZERO
from bayes_her2.estimates import COMMON_TO_ARMS, CONDITIONAL, PROFILE_LIKELIHOOD, SECOND_OPINIONS
from bayes_her2.evidence.response import seed_study_response
from bayes_her2.frequentist import sample_size, treatment_response_twin
from bayes_her2.frequentist.meta_regression import meta_regression

MID = "midcourse complete response"
CONTROLLED = response_set(
    {
        (PCR, "HR+", "new"): (24, 8, 6, 1), (PCR, "HR-", "new"): (10, 7, 13, 7), (PCR, "HR+", "old"): (51, 6, 24, 3),
        (PCR, "HR-", "old"): (26, 6, 42, 7),
    },
    control="old",
)  # fmt: skip


@pytest.fixture(scope="module")
def table_2() -> pd.DataFrame:
    return treatment_response_twin(seed_study_response()).table


@pytest.mark.parametrize(
    ("outcome", "expected"), [(MID, (0.5064, 0.187, 1.373)), (PCR, (0.6880, 0.275, 1.724))]
)
def test_the_seed_study_s_odds_ratios(table_2, outcome, expected):
    # 9/32 against 17/39 and 23/36 against 36/50 (Pizzamiglio 2025, Table 2): cross products and Woolf's limits.
    found = one_row(table_2, outcome=outcome, estimand="response_odds", method="logistic regression")
    assert found["point"] == pytest.approx(expected[0], abs=5e-5)
    assert found["lower"] == pytest.approx(expected[1], abs=5e-4)
    assert found["upper"] == pytest.approx(expected[2], abs=5e-4)
    assert found["interval_kind"] == "confidence (Wald)"


def test_no_method_gives_the_interval_that_is_printed_for_pathological_response(table_2):
    # The paper prints 0.28 to 1.74 beside an odds ratio of 0.688 (0.67 in the text).
    own = table_2[(table_2["outcome"] == PCR) & (table_2["estimand"] == "response_odds")]
    assert len(own) == 3
    assert not ((own["lower"].round(2) == 0.28) & (own["upper"].round(2) == 1.74)).any()


def test_second_opinions_are_those_of_scipy_and_of_the_likelihood(table_2):
    fisher = one_row(table_2, outcome=MID, method=CONDITIONAL)
    assert fisher["p_value"] == pytest.approx(stats.fisher_exact([[9, 23], [17, 22]]).pvalue, rel=1e-12)
    # The conditional estimate solves E[x | margins, odds ratio] = 9.
    distribution = stats.nchypergeom_fisher(71, 26, 32, fisher["point"])
    assert distribution.mean() == pytest.approx(9.0, abs=1e-6)
    assert stats.nchypergeom_fisher(71, 26, 32, fisher["upper"]).cdf(9) == pytest.approx(0.025, abs=1e-6)
    assert stats.nchypergeom_fisher(71, 26, 32, fisher["lower"]).sf(8) == pytest.approx(0.025, abs=1e-6)
    profile = one_row(table_2, outcome=MID, method=PROFILE_LIKELIHOOD)

    def deviance(log_odds_ratio: float) -> float:
        logits = np.linspace(-3, 3, 600_001)
        other = logits + log_odds_ratio
        log = 17 * logits - 39 * np.logaddexp(0, logits) + 9 * other - 32 * np.logaddexp(0, other)
        return float(-2 * log.max())

    for limit in (profile["lower"], profile["upper"]):
        above = deviance(math.log(limit)) - deviance(math.log(9 * 22 / (23 * 17)))
        assert above == pytest.approx(stats.chi2.ppf(0.95, 1), abs=1e-5)


def test_the_risk_difference_has_newcombe_s_limits(table_2):
    found = one_row(table_2, outcome=MID, estimand="response_difference")

    def wilson(x: int, n: int) -> tuple[float, float]:
        z = stats.norm.ppf(0.975)
        middle, half = x + z**2 / 2, z * math.sqrt(x * (n - x) / n + z**2 / 4)
        return (middle - half) / (n + z**2), (middle + half) / (n + z**2)

    (l1, u1), (l0, u0), p1, p0 = wilson(9, 32), wilson(17, 39), 9 / 32, 17 / 39
    assert found["point"] == pytest.approx(p1 - p0)
    assert found["lower"] == pytest.approx(p1 - p0 - math.hypot(p1 - l1, u0 - p0), abs=1e-9)
    assert found["upper"] == pytest.approx(p1 - p0 + math.hypot(u1 - p1, p0 - l0), abs=1e-9)
    words = one_row(table_2, outcome=MID, estimand="number_needed")
    assert words["status"] == "not estimable"
    assert words["note"] == "the interval of the risk difference contains 0"


def test_the_ratio_of_odds_ratios_is_the_interaction_of_statsmodels():
    rows = CONTROLLED.rows
    patients = rows.loc[rows.index.repeat(rows["n"]), ["hr", "arm", "her2"]].reset_index(drop=True)
    patients["y"] = np.concatenate(
        [np.repeat([1, 0], [e, n - e]) for e, n in zip(rows["events"], rows["n"], strict=True)]
    )
    patients = patients.assign(new=1.0 * (patients["arm"] == "new"), low=1.0 * (patients["her2"] == HER2_LOW))
    fit = smf.logit("y ~ new * hr + low + new:low", patients).fit(disp=0)
    table = treatment_response_twin(CONTROLLED).table
    found = one_row(table, estimand="ratio_of_odds_ratios", method="logistic regression")
    low, high = fit.conf_int().loc["new:low"]
    assert [found[c] for c in ("point", "lower", "upper")] == pytest.approx(
        np.exp([fit.params["new:low"], low, high]).tolist(), rel=1e-6
    )
    assert found["p_value"] == pytest.approx(fit.pvalues["new:low"], rel=1e-6)
    # Standardised differences: averaged predictions of the same regression.
    for level, code in ((HER2_LOW, 1.0), (HER2_ZERO, 0.0)):
        own = patients[patients["her2"] == level]
        expected = (
            fit.predict(own.assign(new=1.0, low=code)) - fit.predict(own.assign(new=0.0, low=code))
        ).mean()
        row = one_row(table, estimand="treatment_difference", contrast=f"new minus old, {level}")
        assert row["point"] == pytest.approx(expected, rel=1e-6)
        assert row["n"] == len(own)


def test_the_difference_over_several_arms_averages_the_fitted_probabilities():
    data = response_set({(PCR, "HR-", "A"): (20, 8, 30, 18), (PCR, "HR-", "B"): (25, 5, 15, 5)})
    rows = data.rows
    patients = rows.loc[rows.index.repeat(rows["n"]), ["arm", "her2"]].reset_index(drop=True)
    events = zip(rows["events"], rows["n"], strict=True)
    patients["y"] = np.concatenate([np.repeat([1, 0], [e, n - e]) for e, n in events])
    fit = smf.logit("y ~ arm + her2", patients).fit(disp=0)

    def averaged(coefficients: np.ndarray) -> float:
        low, zero = (
            fit.model.predict(
                coefficients, np.column_stack([np.ones(90), patients["arm"] == "B", code * np.ones(90)])
            ).mean()
            for code in (1.0, 0.0)
        )
        return float(low - zero)

    at = fit.params.to_numpy()
    assert list(fit.params.index) == ["Intercept", "arm[T.B]", "her2[T.HER2-low]"]
    steps = np.eye(3) * 1e-6
    gradient = np.array([(averaged(at + s) - averaged(at - s)) / 2e-6 for s in steps])
    se = math.sqrt(gradient @ fit.cov_params().to_numpy() @ gradient)
    found = one_row(treatment_response_twin(data).table, estimand="response_difference", scope="pooled")
    assert found["point"] == pytest.approx(averaged(at), rel=1e-6)
    assert found["upper"] - found["point"] == pytest.approx(stats.norm.ppf(0.975) * se, rel=1e-5)
    assert found["interval_kind"] == "confidence (delta method)"
    assert found["note"] == "arms fixed, one odds ratio common to them"


def test_the_pooled_odds_ratio_of_several_arms_is_the_meta_analysis_of_their_tables():
    data = simulated_arms(4, n=30, slopes={"HR+": 0.3, "HR-": -0.5}, arms=5)
    table = treatment_response_twin(data).table
    cells = data.rows.set_index(["hr", "arm", "her2"]).sort_index()[["n", "events"]]
    effect, variance, design = [], [], []
    for hr in data.strata:
        for arm in data.arms:
            (n, r), (m, s) = (cells.loc[(hr, arm, level)] for level in (HER2_LOW, HER2_ZERO))
            effect.append(math.log(r * (m - s) / ((n - r) * s)))  # Woolf
            variance.append(1 / r + 1 / (n - r) + 1 / s + 1 / (m - s))
            design.append([hr == "HR+", hr == "HR-"])
    fit = meta_regression(np.array(effect), np.array(variance), np.array(design, dtype=float))
    method = "meta-analysis (REML, modified Hartung-Knapp)"
    asked = {"HR+": [1.0, 0.0], "HR-": [0.0, 1.0], "HR- over HR+": [-1.0, 1.0]}
    for stratum, contrast in asked.items():
        mean, lower, upper, p = fit.contrast(np.array(contrast), 0.95)
        row = one_row(table, estimand="response_odds", scope="pooled", stratum=stratum, method=method)
        found = row[["point", "lower", "upper"]].astype(float)
        assert np.log(found).tolist() == pytest.approx([mean, lower, upper], abs=1e-6)
        assert row["p_value"] == pytest.approx(p, abs=1e-6)
    new = one_row(table, estimand="response_odds", scope="new cohort", stratum="HR-")
    assert np.log(new["upper"]) == pytest.approx(fit.prediction(np.array([0.0, 1.0]), 0.95)[2], abs=1e-6)
    beside = one_row(table, estimand="response_odds", stratum="HR-", scope="pooled", method=COMMON_TO_ARMS)
    assert beside["note"].startswith("arms fixed, one odds ratio common to them; the posterior's is the mean")


def test_an_arm_that_is_separated_takes_the_mean_over_arms_of_its_own_stratum_alone():
    counts = {(PCR, hr, arm): (20, 5 + i, 20, 9) for i, arm in enumerate("ABC") for hr in ("HR+", "HR-")}
    whole = counts | {(PCR, "HR+", "D"): (20, 7, 20, 9), (PCR, "HR-", "D"): (20, 0, 20, 9)}
    table = treatment_response_twin(response_set(whole)).table
    asked = table[(table["estimand"] == "response_odds") & (table["scope"] == "pooled")]
    means = asked[asked["method"].str.startswith("meta-analysis")].set_index("stratum")
    assert means["status"].to_dict() == {
        "HR+": "observed",
        "HR-": "not estimable",
        "HR- over HR+": "not estimable",
    }
    assert (
        means.loc["HR-", "note"] == "no odds ratio in D, where a level has no responder, or only responders"
    )
    assert means.loc["HR- over HR+", "note"].startswith("HR-: no odds ratio in D")
    # The mean of HR+ is that of HR+ alone.
    alone = treatment_response_twin(response_set({k: v for k, v in whole.items() if k[1] == "HR+"})).table
    own = one_row(
        alone, estimand="response_odds", scope="pooled", method="meta-analysis (REML, modified Hartung-Knapp)"
    )
    assert means.loc["HR+", "point"] == pytest.approx(own["point"], rel=1e-6)
    # One odds ratio for all arms is another estimand: it is there, and matches nothing.
    others = asked[~asked["method"].str.startswith("meta-analysis")]
    assert set(others["method"]) <= SECOND_OPINIONS
    assert COMMON_TO_ARMS in set(others["method"])


def test_a_group_that_is_in_one_arm_alone_has_no_difference_between_the_arms():
    data = response_set(
        {
            (PCR, "HR+", "Ctr"): (30, 6, 30, 4),
            (PCR, "HR+", "T"): (30, 10, 30, 8),
            (PCR, "HR-", "T"): (30, 20, 30, 22),
        },
        control="Ctr",
    )
    table = treatment_response_twin(data).table
    rows = table[table["estimand"] == "treatment_difference"]
    assert set(rows["status"]) == {"not estimable"}
    assert set(rows["note"]) == {"no patients of Ctr, HR-"}
    assert rows["point"].isna().all()
    assert (
        one_row(table, estimand="ratio_of_odds_ratios", method="logistic regression")["status"] == "observed"
    )


def test_a_level_that_is_in_one_arm_alone_has_no_difference_between_the_arms():
    data = response_set(
        {(PCR, "HR-", "Ctr"): (30, 6, 0, 0), (PCR, "HR-", "T"): (30, 15, 30, 12)}, control="Ctr"
    )
    table = treatment_response_twin(data).table
    lacking = one_row(table, estimand="treatment_difference", contrast="T minus Ctr, HER2-0")
    assert (lacking["status"], lacking["note"]) == ("not estimable", "no HER2-0 patients in Ctr")
    there = one_row(table, estimand="treatment_difference", contrast="T minus Ctr, HER2-low")
    assert there["point"] == pytest.approx(15 / 30 - 6 / 30)


def test_separated_and_empty_rows_say_so():
    data = response_set({(PCR, "HR+", "all"): (15, 0, 20, 6), (PCR, "HR-", "all"): (12, 5, 0, 0)})
    table = treatment_response_twin(data).table
    apart = one_row(table, stratum="HR+", estimand="response_odds", method="logistic regression")
    assert apart["status"] == "separated"
    assert apart["note"] == "no HER2-low patient of 15 responded"
    likelihood = one_row(table, stratum="HR+", estimand="response_odds", method=PROFILE_LIKELIHOOD)

    # Against the same rate in both: twice the log likelihood ratio in closed form.
    def log(x: int, n: int, p: float) -> float:
        return (x * math.log(p) if x else 0.0) + ((n - x) * math.log1p(-p) if n > x else 0.0)

    ratio = 2 * (log(6, 20, 0.3) - log(0, 15, 6 / 35) - log(6, 20, 6 / 35))
    assert likelihood["p_value"] == pytest.approx(stats.chi2.sf(ratio, 1), rel=1e-4)
    empty = one_row(table, stratum="HR-", estimand="response_odds", method="logistic regression")
    assert empty["status"] == "not estimable"
    assert empty["note"] == "no HER2-0 patients in HR-"


def test_the_order_of_rows_does_not_matter():
    data = simulated_arms(4, n=20, slopes={"HR+": -0.5, "HR-": 0.4}, arms=3)
    turned = replace(data, rows=data.rows[::-1], covariates=data.covariates[::-1])
    one_, other = (
        treatment_response_twin(d).table.sort_values(["method", "estimand", "stratum", "cohort"])
        for d in (data, turned)
    )
    np.testing.assert_allclose(one_["point"].to_numpy(), other["point"].to_numpy(), rtol=1e-8)
    assert set(one_["fingerprint"]) == set(other["fingerprint"])


def test_the_sample_size_of_one_table_is_woolf_s():
    data = seed_study_response()
    table = sample_size(data, ratios=(2.0,), powers=(0.8,), factors=(1.5,))
    own = table[(table["outcome"] == PCR) & (table["design"] == "as observed")].set_index("aim")
    v = 86 * (1 / 23 + 1 / 13 + 1 / 36 + 1 / 14)
    n = v * (stats.norm.ppf(0.975) / math.log(1.5)) ** 2
    assert own.loc["interval within a factor of 1.5 of the estimate", "patients"] == math.ceil(n)
    assert own.loc["interval within a factor of 1.5 of the estimate", "se_now"] == pytest.approx(
        math.sqrt(v / 86)
    )
    # A ratio of 1/2 (the estimate is below 1), the log odds midway between the levels kept.
    assert own["ratio"].tolist()[0] == pytest.approx(0.5)


def test_covariates_play_no_part_in_a_sample_size():
    age = pd.DataFrame({"age": np.linspace(-1, 1, len(CONTROLLED.rows))}, index=CONTROLLED.rows.index)
    pd.testing.assert_frame_equal(sample_size(CONTROLLED), sample_size(replace(CONTROLLED, covariates=age)))


def test_the_power_is_reached_by_simulation():
    design = response_set(
        {(PCR, "all", "old"): (60, 24, 60, 30), (PCR, "all", "new"): (60, 36, 60, 30)}, control="old"
    )
    table = sample_size(design, ratios=(3.0,), powers=(0.8,), factors=())
    n = int(table.loc[table["design"] == "equal arms and levels", "patients"].item())
    # The alternative keeps the log odds midway between the levels in the treated arm, and the control arm.
    b_old = (24 * 30) / (36 * 30)
    middle = 0.5 * (math.log(36 / 24) + math.log(30 / 30))
    slope = math.log(b_old) + math.log(3.0)
    rates = np.array(
        [24 / 60, 30 / 60, *(1 / (1 + np.exp(-(middle + half * slope))) for half in (0.5, -0.5))]
    )
    draws = np.random.default_rng(1).binomial(round(n / 4), rates, size=(4_000, 4))
    log = np.log(draws / (round(n / 4) - draws))
    estimate = log[:, 2] - log[:, 3] - log[:, 0] + log[:, 1]
    se = np.sqrt((1 / draws + 1 / (round(n / 4) - draws)).sum(axis=1))
    power = (np.abs(estimate) > stats.norm.ppf(0.975) * se).mean()
    # Monte Carlo SE 0.0063; the normal approximation itself is good to about 0.01 at these counts.
    assert power == pytest.approx(0.8, abs=0.03)
