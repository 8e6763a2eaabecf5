"""Planning precision: closed forms, agreement with fits under a null slope, blind to the association."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bayes_her2.data import DIFFERENCE, STRATA
from bayes_her2.frequentist import abundance_twin, precision
from bayes_her2.frequentist.precision import gamma_shape

NULL = {"A": {"HR+": (0.0, 0.0), "HR-": (0.0, 0.0)}}
SIZES = {("K1", "HR+"): 900, ("K1", "HR-"): 500, ("K2", "HR+"): 700}


@pytest.fixture(scope="module")
def null_data(simulated):
    return simulated(31, SIZES, NULL)


@pytest.fixture(scope="module")
def planned(null_data, make_set) -> pd.DataFrame:
    return precision(make_set(*null_data)).set_index(["cell_type", "stratum", "estimand"])


def test_presence_follows_the_information_of_a_null_logistic_slope(null_data, planned) -> None:
    tumours, abundance = null_data
    information = 0.0
    for cohort in ("K1", "K2"):
        own = (tumours["cohort"] == cohort) & (tumours["hr"] == "HR+")
        share = (abundance.loc[own, "A"] > 0).mean()
        information += own.sum() * share * (1 - share) * tumours.loc[own, "her2_sd"].var(ddof=0)
    row = planned.loc[("A", "HR+", "presence")]
    assert row["expected_se_log"] == pytest.approx(1 / math.sqrt(information))
    assert row["interval_factor"] == pytest.approx(math.exp(2 * 1.959963984540054 * row["expected_se_log"]))
    assert row["detectable_ratio"] == pytest.approx(
        math.exp((1.959963984540054 + 0.8416212335729143) * row["expected_se_log"])
    )
    assert row["n"] == 1600


def test_fits_under_a_null_slope_are_as_precise_as_planned(null_data, make_set, planned) -> None:
    table = abundance_twin(make_set(*null_data)).table
    rows = table[(table["scope"] == "pooled") & (table["method"] != "cohort fixed")]
    rows = rows[rows["estimand"].isin(["presence", "amount"])].set_index(["outcome", "stratum", "estimand"])
    for label in rows.index:
        se = math.log(rows.loc[label, "upper"] / rows.loc[label, "lower"]) / (2 * stats.norm.isf(0.025))
        assert planned.loc[label, "expected_se_log"] == pytest.approx(se, rel=0.08), label


def test_only_cohorts_with_both_strata_inform_the_ratio(planned) -> None:
    row = planned.loc[("A", DIFFERENCE, "amount")]
    assert row["n"] == 1400
    assert row["expected_se_log"] > planned.loc[("A", "HR-", "amount"), "expected_se_log"]


def test_the_association_is_not_looked_at(null_data, make_set) -> None:
    tumours, abundance = null_data
    rng = np.random.default_rng(32)
    shuffled = tumours.copy()
    shuffled["her2_sd"] = tumours.groupby(["cohort", "hr"])["her2_sd"].transform(
        lambda h: rng.permutation(h.to_numpy())
    )
    pd.testing.assert_frame_equal(
        precision(make_set(tumours, abundance)), precision(make_set(shuffled, abundance)), rtol=1e-9
    )


def test_a_part_that_is_not_modelled_has_no_precision(null_data, make_set) -> None:
    tumours, abundance = null_data
    table = precision(make_set(tumours, abundance + 0.01)).set_index(["stratum", "estimand"])
    for stratum in (*STRATA, DIFFERENCE):
        assert math.isnan(table.loc[(stratum, "presence"), "expected_se_log"])
        assert table.loc[(stratum, "amount"), "expected_se_log"] > 0


def test_the_gamma_shape_is_scipys_maximum_likelihood() -> None:
    y = pd.Series(stats.gamma.rvs(3.0, scale=0.1, size=400, random_state=np.random.default_rng(33)))
    shape, _, _ = stats.gamma.fit(y.to_numpy(), floc=0)
    assert gamma_shape(y, pd.Series("HR+", index=y.index)) == pytest.approx(shape, rel=1e-6)
    assert math.isnan(gamma_shape(y[:1], pd.Series("HR+", index=y.index[:1])))
    assert math.isnan(gamma_shape(y * 0 + 1.0, pd.Series("HR+", index=y.index)))
