"""The twin of the clinical model: closed forms of the 2 x 2 table, likelihood ratios, families, separation, gaps."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit, xlogy

from bayes_her2.data import DIFFERENCE, STRATA
from bayes_her2.estimates import COHORT_FIXED, PROFILE_LIKELIHOOD
from bayes_her2.frequentist import clinical_twin
from bayes_her2.frequentist.pooling import COMMON_EFFECT, RANDOM_EFFECTS

SIZES = {
    ("K1", "HR+"): 120,
    ("K1", "HR-"): 70,
    ("K2", "HR+"): 100,
    ("K2", "HR-"): 60,
    ("K3", "HR+"): 110,
    ("K3", "HR-"): 65,
}
CELLS = {"A": {"HR+": (0.0, 0.0), "HR-": (0.0, 0.0)}, "B": {"HR+": (0.5, 0.0), "HR-": (0.0, 0.0)}}
LABELS = ["method", "outcome", "exposure", "stratum", "scope", "cohort"]
NUMBERS = ["point", "lower", "upper", "p_value", "p_adjusted"]


@pytest.fixture(scope="module")
def clinical_set(simulated, make_set):
    tumours, abundance = simulated(41, SIZES, CELLS)
    rng = np.random.default_rng(42)
    old = rng.uniform(size=len(tumours)) < 0.5 + 0.15 * (abundance["A"] > 0)
    large = rng.uniform(size=len(tumours)) < expit(0.5 - 0.6 * (tumours["hr"] == "HR-"))
    clinical = pd.DataFrame({"old": old.astype(float), "large": large.astype(float)}, index=tumours.index)
    clinical.loc[tumours["cohort"] == "K3", "large"] = np.nan  # K3 does not record size
    clinical.loc[clinical.index[::17], "old"] = np.nan
    return replace(make_set(tumours, abundance), model="clinical", clinical=clinical)


@pytest.fixture(scope="module")
def twin(clinical_set) -> pd.DataFrame:
    return clinical_twin(clinical_set).table


def _row(table: pd.DataFrame, **equal: str) -> pd.Series:
    for column, value in equal.items():
        table = table[table[column] == value]
    assert len(table) == 1, f"{len(table)} rows for {equal}"
    return table.squeeze(axis=0)


def two_by_two(data, outcome: str, cell_type: str, cohort: str, hr: str) -> np.ndarray:
    """Tumours by (high, outcome), counted without the package."""
    known = data.clinical[outcome].notna()
    inside = known & (data.tumours["cohort"] == cohort) & (data.tumours["hr"] == hr)
    high, true = data.high.loc[inside, cell_type], data.clinical.loc[inside, outcome] == 1
    return np.array(
        [[(high & true).sum(), (high & ~true).sum()], [(~high & true).sum(), (~high & ~true).sum()]]
    )


def loglik(table: np.ndarray) -> float:
    """Log likelihood of a 2 x 2 table at its own shares."""
    return float(xlogy(table, table / table.sum(axis=1, keepdims=True)).sum())


@pytest.mark.parametrize("cell_type", ["A", "B"])
def test_odds_ratios_are_those_of_the_two_by_two_tables(clinical_set, twin, cell_type) -> None:
    # Saturated in HR: each stratum is its own table, OR = ad / bc, SE = sqrt(1/a + 1/b + 1/c + 1/d).
    log_or, variance = {}, {}
    for hr in STRATA:
        (a, b), (c, d) = two_by_two(clinical_set, "old", cell_type, "K2", hr)
        log_or[hr], variance[hr] = math.log(a * d / (b * c)), 1 / a + 1 / b + 1 / c + 1 / d
    log_or[DIFFERENCE] = log_or["HR-"] - log_or["HR+"]
    variance[DIFFERENCE] = variance["HR-"] + variance["HR+"]
    for stratum, expected in log_or.items():
        row = _row(
            twin,
            outcome="old",
            exposure=f"high abundance of {cell_type}",
            stratum=stratum,
            cohort="K2",
            method="logistic regression",
        )
        reach = stats.norm.isf(0.025) * math.sqrt(variance[stratum])
        assert math.log(row["point"]) == pytest.approx(expected, rel=1e-6)
        assert math.log(row["upper"]) == pytest.approx(expected + reach, rel=1e-6)
        assert row["p_value"] == pytest.approx(
            2 * stats.norm.sf(abs(expected) / math.sqrt(variance[stratum])), rel=1e-5
        )
        strata = STRATA if stratum == DIFFERENCE else (stratum,)
        assert row["n"] == sum(two_by_two(clinical_set, "old", cell_type, "K2", s).sum() for s in strata)


def test_the_interaction_has_its_likelihood_ratio(clinical_set, twin) -> None:
    import statsmodels.api as sm

    known = clinical_set.clinical["old"].notna() & (clinical_set.tumours["cohort"] == "K1")
    y = clinical_set.clinical.loc[known, "old"]
    high = clinical_set.high.loc[known, "A"].astype(float)
    r = (clinical_set.tumours.loc[known, "hr"] == "HR-").astype(float)
    main = pd.DataFrame({"1": 1.0, "high": high, "r": r})
    # The model with interaction is saturated: its log likelihood is that of the two tables.
    saturated = sum(loglik(two_by_two(clinical_set, "old", "A", "K1", s)) for s in STRATA)
    ratio = 2 * (saturated - sm.Logit(y, main).fit(disp=0).llf)
    row = _row(
        twin,
        outcome="old",
        exposure="high abundance of A",
        stratum=DIFFERENCE,
        cohort="K1",
        method=PROFILE_LIKELIHOOD,
    )
    assert row["p_value"] == pytest.approx(stats.chi2.sf(ratio, 1), rel=1e-5)
    assert row["lower"] < row["point"] < row["upper"]


def test_cohorts_that_record_the_outcome_are_pooled_and_the_others_named(twin) -> None:
    three = _row(
        twin,
        outcome="old",
        exposure="high abundance of A",
        stratum="HR+",
        method=RANDOM_EFFECTS,
        scope="pooled",
    )
    assert "cohorts: K1, K2, K3" in three["note"]
    two = _row(twin, outcome="large", exposure="high abundance of A", stratum="HR+", method=COMMON_EFFECT)
    assert "left out: K3 (no HR+ tumours with 'large' recorded in K3)" in two["note"]
    silent = _row(
        twin,
        outcome="large",
        exposure="high abundance of A",
        stratum="HR+",
        cohort="K3",
        method="logistic regression",
    )
    assert (silent["status"], silent["n"]) == ("not estimable", 0)
    fixed = _row(twin, outcome="large", exposure="high abundance of A", stratum="HR+", method=COHORT_FIXED)
    assert "no information from K3" in fixed["note"]


def test_a_family_is_one_outcome_over_cell_types(twin) -> None:
    own = twin[(twin["outcome"] == "old") & (twin["stratum"] == "HR+") & (twin["cohort"] == "K1")]
    assert len(own) == 2
    assert own["p_adjusted"].tolist() == pytest.approx((2 * own["p_value"]).clip(upper=1).tolist())


def test_an_empty_cell_is_separation_by_name(clinical_set) -> None:
    # No old tumour with high abundance in HR- of K1, and enough on every margin over all cohorts.
    own = (clinical_set.tumours["cohort"] == "K1") & (clinical_set.tumours["hr"] == "HR-")
    clinical = clinical_set.clinical.copy()
    clinical.loc[own & clinical_set.high["A"], "old"] = 0.0
    table = clinical_twin(replace(clinical_set, clinical=clinical)).table
    labels = {"outcome": "old", "exposure": "high abundance of A", "cohort": "K1"}
    row = _row(table, **labels, stratum="HR-", method="logistic regression")
    assert row["status"] == "separated"
    assert "separation in HR- of K1" in row["note"]
    interaction = _row(table, **labels, stratum=DIFFERENCE, method=PROFILE_LIKELIHOOD)
    assert interaction["status"] == "separated"
    assert 0 < interaction["p_value"] < 0.05
    assert _row(table, **labels, stratum="HR+", method="logistic regression")["status"] == "observed"


def test_margins_under_ten_are_not_estimable(clinical_set) -> None:
    clinical = clinical_set.clinical.copy()
    negative = clinical.index[clinical_set.tumours["hr"] == "HR-"]
    clinical.loc[negative, "old"] = 0.0
    clinical.loc[negative[:9], "old"] = 1.0
    table = clinical_twin(replace(clinical_set, clinical=clinical)).table
    rows = table[(table["outcome"] == "old") & table["stratum"].isin(["HR-", DIFFERENCE])]
    assert set(rows["status"]) == {"not estimable"}
    assert rows["note"].str.contains("9 with the outcome among").any()


def test_the_order_of_rows_does_not_matter(clinical_set, twin) -> None:
    rows = np.random.default_rng(1).permutation(len(clinical_set.tumours))
    shuffled = replace(
        clinical_set,
        **{
            name: getattr(clinical_set, name).iloc[rows]
            for name in ("tumours", "abundance", "high", "clinical", "covariates")
        },
    )
    again = clinical_twin(shuffled).table.set_index(LABELS).sort_index()
    before = twin.set_index(LABELS).sort_index()
    pd.testing.assert_frame_equal(again[NUMBERS], before[NUMBERS], rtol=1e-6)
