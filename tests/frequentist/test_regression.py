"""The regressions agree with closed forms and with R's glm, and know what they cannot estimate."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from bayes_her2.data import DIFFERENCE
from bayes_her2.frequentist import abundance_twin
from bayes_her2.frequentist.design import design_matrix
from bayes_her2.frequentist.regression import gamma_regression, logistic_regression

SCOPE_COHORT = {"scope": "cohort", "cohort": "K1"}


def _row(table: pd.DataFrame, **equal: str) -> pd.Series:
    for column, value in equal.items():
        table = table[table[column] == value]
    assert len(table) == 1, f"{len(table)} rows for {equal}"
    return table.squeeze(axis=0)


def test_binary_her2_gives_the_odds_ratio_of_the_two_by_two_table(make_set) -> None:
    # a, b, c, d = present/absent by h = 1/0; the logistic slope is log(ad/bc), its SE Woolf's
    cells = {"HR+": (30, 20, 15, 35), "HR-": (12, 18, 22, 11)}
    rows = []
    for hr, (a, b, c, d) in cells.items():
        rows += [(hr, 1.0, 1)] * a + [(hr, 1.0, 0)] * b + [(hr, 0.0, 1)] * c + [(hr, 0.0, 0)] * d
    tumours = pd.DataFrame(rows, columns=["hr", "her2_sd", "present"]).assign(cohort="K1")
    tumours.index = [f"K1/{i}" for i in range(len(tumours))]
    spread = 1.0 + 0.5 * (np.arange(len(tumours)) % 3)
    data = make_set(tumours.drop(columns="present"), pd.DataFrame({"A": tumours["present"] * 0.1 * spread}))
    table = abundance_twin(data).table
    log_ratio, variance = {}, {}
    for hr, counts in cells.items():
        a, b, c, d = counts
        log_ratio[hr] = math.log(a * d / (b * c))
        variance[hr] = sum(1 / x for x in counts)
    log_ratio[DIFFERENCE] = log_ratio["HR-"] - log_ratio["HR+"]
    variance[DIFFERENCE] = variance["HR-"] + variance["HR+"]
    for stratum, expected in log_ratio.items():
        row = _row(table, outcome="A", estimand="presence", stratum=stratum, **SCOPE_COHORT)
        reach = 1.959963984540054 * math.sqrt(variance[stratum])
        assert math.log(row["point"]) == pytest.approx(expected, abs=1e-7)
        assert math.log(row["lower"]) == pytest.approx(expected - reach, abs=1e-6)
        assert math.log(row["upper"]) == pytest.approx(expected + reach, abs=1e-6)
        assert row["p_value"] == pytest.approx(
            math.erfc(abs(expected) / math.sqrt(2 * variance[stratum])), rel=1e-5
        )


def test_binary_her2_gives_the_ratio_of_group_means_in_the_gamma_part(make_set) -> None:
    # saturated gamma regression: slope = log(mean at 1 / mean at 0), variance = phi (1/n1 + 1/n0) by Pearson
    rng = np.random.default_rng(3)
    h = np.repeat([0.0, 1.0], [25, 35])
    y = rng.gamma(2.0, 1.0, size=60)
    tumours = pd.DataFrame({"cohort": "K1", "hr": "HR+", "her2_sd": h}, index=[f"K1/{i}" for i in range(60)])
    table = abundance_twin(make_set(tumours, pd.DataFrame({"A": y}, index=tumours.index))).table
    row = _row(table, outcome="A", estimand="amount", stratum="HR+", **SCOPE_COHORT)
    means = {0.0: y[h == 0].mean(), 1.0: y[h == 1].mean()}
    fitted = np.array([means[v] for v in h])
    phi = (((y - fitted) / fitted) ** 2).sum() / 58
    assert row["point"] == pytest.approx(means[1.0] / means[0.0], rel=1e-7)
    se = math.log(row["upper"] / row["lower"]) / (2 * 1.959963984540054)
    assert se == pytest.approx(math.sqrt(phi * (1 / 25 + 1 / 35)), rel=1e-6)


@pytest.fixture(scope="module")
def r_data(reference_folder) -> pd.DataFrame:
    data = pd.read_csv(reference_folder / "regressions.csv")
    data.index = pd.Index([f"K1/{i}" for i in range(len(data))], name="tumour")
    return data.assign(cohort="K1", hr=np.where(data["hr_negative"] == 1, "HR-", "HR+"))


@pytest.mark.parametrize("part", ["presence", "amount"])
@pytest.mark.parametrize("reference_stratum", ["HR+", "HR-"])
def test_r_glm_gives_the_same_slopes_with_a_covariate(
    r_data, make_set, reference, part, reference_stratum
) -> None:
    data = make_set(
        r_data[["cohort", "hr", "her2_sd"]],
        r_data[["abundance"]].rename(columns={"abundance": "A"}),
        covariates=r_data[["age"]],
        reference=reference_stratum,
    )
    table = abundance_twin(data).table
    names = {"HR+": "reference", "HR-": "other", DIFFERENCE: "difference"}
    for stratum, name in names.items():
        row = _row(table, outcome="A", estimand=part, stratum=stratum, **SCOPE_COHORT)
        se = math.log(row["upper"] / row["lower"]) / (2 * 1.959963984540054)
        assert math.log(row["point"]) == pytest.approx(reference(part, f"slope_{name}"), abs=2e-6)
        assert se == pytest.approx(reference(part, f"se_{name}"), rel=1e-5)


def test_without_covariates_the_strata_are_univariate_regressions(simulated, make_set) -> None:
    # what the seed paper printed: one logistic regression per HR stratum
    tumours, abundance = simulated(
        4, {("K1", "HR+"): 120, ("K1", "HR-"): 70}, {"A": {"HR+": (0.6, 0.2), "HR-": (-0.4, 0.1)}}
    )
    both = abundance_twin(make_set(tumours, abundance)).table
    for stratum in ("HR+", "HR-"):
        own = tumours["hr"] == stratum
        alone = abundance_twin(make_set(tumours[own], abundance[own], reference=stratum)).table
        for estimand in ("presence", "overall"):
            joint = _row(both, estimand=estimand, stratum=stratum, **SCOPE_COHORT)
            single = _row(alone, estimand=estimand, stratum=stratum, **SCOPE_COHORT)
            assert joint["point"] == pytest.approx(single["point"], rel=1e-6)
        presence = _row(both, estimand="presence", stratum=stratum, **SCOPE_COHORT)
        univariate = _row(alone, estimand="presence", stratum=stratum, **SCOPE_COHORT)
        assert presence["p_value"] == pytest.approx(univariate["p_value"], rel=1e-5)


def test_a_contrast_confounded_with_a_covariate_is_not_estimable(simulated, make_set) -> None:
    tumours, abundance = simulated(
        9, {("K1", "HR+"): 80, ("K1", "HR-"): 40}, {"A": {"HR+": (0.3, 0.2), "HR-": (0.3, 0.2)}}
    )
    copy = pd.DataFrame({"copy": tumours["her2_sd"] * (tumours["hr"] == "HR-")})
    table = abundance_twin(make_set(tumours, abundance, covariates=copy)).table
    row = _row(table, estimand="amount", stratum="HR-", **SCOPE_COHORT)
    assert row["status"] == "not estimable"
    assert "rank-deficient design in K1: 4 independent columns of 5" in row["note"]
    assert _row(table, estimand="amount", stratum="HR+", **SCOPE_COHORT)["status"] == "observed"


def test_covariates_constant_in_a_cohort_and_single_centres_add_no_column(simulated) -> None:
    tumours, _ = simulated(
        2, {("K1", "HR+"): 20, ("K2", "HR+"): 20, ("K2", "HR-"): 10}, {"A": {"HR+": (0, 0), "HR-": (0, 0)}}
    )
    tumours["centre"] = np.where(tumours["cohort"] == "K2", np.where(np.arange(50) % 2, "x", "y"), "only")
    covariates = pd.DataFrame({"grade": (tumours["cohort"] == "K2") * tumours["her2_sd"] ** 2})
    first = tumours[tumours["cohort"] == "K1"]
    alone = design_matrix(first, covariates.loc[first.index], reference="HR+", use_centre=True)
    assert list(alone.columns) == ["cohort: K1", "exposure"]
    together = design_matrix(tumours, covariates, reference="HR+", use_centre=True)
    assert list(together.columns) == [
        "cohort: K1",
        "cohort: K2",
        "hr: K2",
        "exposure",
        "exposure x hr",
        "covariate: grade",
        "centre: K2/y",
    ]


def test_no_statsmodels_warning_escapes_from_a_hopeless_fit() -> None:
    # filterwarnings = error: anything that escaped would fail the test
    design = pd.DataFrame({"intercept": 1.0, "h": np.linspace(-1, 1, 8)})
    fit = logistic_regression(design, pd.Series(np.linspace(-1, 1, 8) > 0))
    assert fit.separation.kind == "complete"
    assert not fit.estimable(pd.Series({"intercept": 0.0, "h": 1.0}))
    two = gamma_regression(design.iloc[:2], pd.Series([0.1, 0.2]))  # by position: any two rows
    assert "leave no dispersion" in two.problem
