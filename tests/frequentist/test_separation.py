"""Separation is found by linear programming, and named by kind and stratum."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayes_her2.data import DIFFERENCE
from bayes_her2.frequentist import abundance_twin
from bayes_her2.frequentist.regression import logistic_regression
from bayes_her2.frequentist.separation import separation


def _design(*columns: list[float]) -> pd.DataFrame:
    return pd.DataFrame({f"x{i}": c for i, c in enumerate(([1.0] * len(columns[0]), *columns))})


@pytest.mark.parametrize(
    ("x", "y", "kind", "rows"),
    [
        ([-2, -1, 1, 2], [0, 0, 1, 1], "complete", [1, 1, 1, 1]),
        ([-2, -1, 0, 0, 1, 2], [0, 0, 0, 1, 1, 1], "quasi", [1, 1, 0, 0, 1, 1]),
        ([-2, -1, 1, 2], [0, 1, 0, 1], "none", [0, 0, 0, 0]),
        ([-2, -1, 1, 2], [1, 1, 1, 1], "complete", [1, 1, 1, 1]),
    ],
)
def test_planted_separation_is_found_tumour_by_tumour(
    x: list[float], y: list[int], kind: str, rows: list[int]
) -> None:
    found = separation(_design(x), pd.Series(y).astype(bool))
    assert found.kind == kind
    assert found.rows.astype(int).tolist() == rows


def test_separation_by_a_combination_of_columns_is_found() -> None:
    # neither column separates alone; their sum does
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=40), rng.normal(size=40)
    y = a + b > 0.1
    assert separation(_design(list(a), list(b)), pd.Series(y)).kind == "complete"
    assert separation(_design(list(a)), pd.Series(y)).kind == "none"
    assert separation(_design(list(b)), pd.Series(y)).kind == "none"


def test_the_scale_of_a_column_does_not_matter() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=60)
    overlapping = pd.Series(rng.uniform(size=60) < 1 / (1 + np.exp(-3 * x)))
    for factor in (1e-5, 1.0, 1e5):
        assert separation(_design(list(x * factor)), overlapping).kind == "none"
        assert separation(_design(list(x * factor)), pd.Series(x > 0)).kind == "complete"


def test_large_overlapping_samples_are_never_called_separated() -> None:
    rng = np.random.default_rng(7)
    for _ in range(20):
        x = rng.normal(size=300)
        y = rng.uniform(size=300) < 1 / (1 + np.exp(-(0.5 + 2 * x)))
        assert separation(_design(list(x)), pd.Series(y)).kind == "none"


def test_a_separated_nuisance_column_leaves_the_slope_estimable() -> None:
    # a centre without events: its indicator is infinite, the slope is that of the other centre alone
    rng = np.random.default_rng(8)
    h = rng.normal(size=120)
    centre = np.arange(120) % 3 == 0
    y = (rng.uniform(size=120) < 1 / (1 + np.exp(-h))) & ~centre
    design = pd.DataFrame({"intercept": 1.0, "h": h, "centre": centre.astype(float)})
    fit = logistic_regression(design, pd.Series(y))
    rest = logistic_regression(design.loc[~centre, ["intercept", "h"]], pd.Series(y)[~centre])
    slope = pd.Series({"intercept": 0.0, "h": 1.0, "centre": 0.0})
    assert fit.separation.kind == "quasi"
    assert fit.estimable(slope)
    assert not fit.estimable(pd.Series({"intercept": 0.0, "h": 0.0, "centre": 1.0}))
    assert fit.value(slope) == pytest.approx(rest.coefficients["h"], rel=1e-8)
    assert fit.variance(slope) == pytest.approx(rest.covariance.loc["h", "h"], rel=1e-8)
    assert (fit.probability(design)[0][centre] == 0.0).all()


@pytest.fixture
def separated_in_hr_negative(make_set, simulated):
    """Presence in HR- follows the sign of HER2 without error; HR+ overlaps."""
    planted = {"A": {"HR+": (0.4, 0.2), "HR-": (0.4, 0.2)}}
    tumours, abundance = simulated(1, {("K1", "HR+"): 150, ("K1", "HR-"): 60}, planted)
    negative = tumours["hr"] == "HR-"
    follows = np.where(tumours["her2_sd"] > 0, abundance["A"].where(abundance["A"] > 0, 0.05), 0.0)
    abundance["A"] = abundance["A"].where(~negative, follows)
    return make_set(tumours, abundance), make_set(tumours[~negative], abundance[~negative])


def test_the_twin_names_the_stratum_and_still_reports_the_other(separated_in_hr_negative) -> None:
    both, positive_only = separated_in_hr_negative
    table = abundance_twin(both).table
    rows = table[(table["estimand"] == "presence") & (table["scope"] == "cohort")].set_index("stratum")
    assert rows.loc["HR-", "status"] == "separated"
    assert "complete separation in HR- of K1: 60 of 60 tumours" in rows.loc["HR-", "note"]
    assert rows.loc[DIFFERENCE, "status"] == "separated"
    assert rows.loc["HR+", "status"] == "observed"
    alone = abundance_twin(positive_only).table
    alone = alone[(alone["estimand"] == "presence") & (alone["scope"] == "cohort")].set_index("stratum")
    for column in ("point", "lower", "upper", "p_value"):
        assert rows.loc["HR+", column] == pytest.approx(alone.loc["HR+", column], rel=1e-7)


def test_separated_rows_have_no_numbers_and_overall_follows_presence(separated_in_hr_negative) -> None:
    table = abundance_twin(separated_in_hr_negative[0]).table
    separated = table[table["status"] == "separated"]
    assert set(separated["estimand"]) >= {"presence", "overall", "high_abundance"}
    assert separated[["point", "lower", "upper", "p_value", "p_adjusted"]].isna().all(axis=None)
    amount = table[
        (table["estimand"] == "amount") & (table["scope"] == "cohort") & (table["stratum"] == "HR-")
    ]
    assert amount["status"].tolist() == ["observed"]
