"""The twin of the rank correlations: against R, and row by row against scipy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rank_studies import MEASURE, simulated_set
from scipy import stats

from bayes_her2.estimates import ALL, BOOTSTRAP
from bayes_her2.frequentist import rank_correlation_twin
from bayes_her2.frequentist.correlations import (
    Limits,
    bonett_wright,
    bootstrap_limits,
    independent_difference,
    independent_p_value,
    meng_p_value,
    overlapping_difference,
    steiger_p_value,
)
from bayes_her2.frequentist.pooling import common_effect

FOLDER = Path(__file__).parent / "reference"


@pytest.fixture(scope="module")
def r_numbers():
    """Numbers made once with R (reference/make_correlations.R), by what and quantity."""
    table = pd.read_csv(FOLDER / "correlations_reference.csv").set_index(["what", "quantity"])["value"]
    return lambda what, quantity: float(table.loc[(what, quantity)])


@pytest.mark.parametrize("pair", ["tils~her2", "tils~esr1", "her2~erbb2"])
def test_spearman_and_its_interval_are_those_of_r(r_numbers, pair):
    table = pd.read_csv(FOLDER / "correlations.csv")
    one, other = pair.split("~")
    rho = float(stats.spearmanr(table[one], table[other]).statistic)
    found = bonett_wright(rho, len(table))
    for name in ("lower", "upper"):
        assert getattr(found, name) == pytest.approx(r_numbers(f"spearman:{pair}", name), abs=1e-12)
    assert rho == pytest.approx(r_numbers(f"spearman:{pair}", "rho"), abs=1e-12)


@pytest.mark.parametrize("pair", ["tils~her2 against tils~erbb2", "tils~her2 against tils~esr1"])
def test_comparisons_of_dependent_correlations_are_those_of_r(r_numbers, pair):
    what = f"compare:spearman:{pair}"
    r = [r_numbers(what, name) for name in ("r_jk", "r_jh", "r_kh")]
    assert steiger_p_value(*r, 150) == pytest.approx(r_numbers(what, "steiger_p_value"), rel=1e-9)
    assert meng_p_value(*r, 150) == pytest.approx(r_numbers(what, "meng_p_value"), rel=1e-9)
    found = overlapping_difference(*r, 150)
    assert found.point == pytest.approx(r_numbers(what, "difference"), abs=1e-12)
    assert found.lower == pytest.approx(r_numbers(what, "zou_bonett_wright_lower"), abs=1e-9)
    assert found.upper == pytest.approx(r_numbers(what, "zou_bonett_wright_upper"), abs=1e-9)


def test_independent_correlations_are_compared_on_fishers_z():
    # By hand: z = (atanh 0.5 - atanh 0.2) / sqrt((1 + 0.125) / 97 + (1 + 0.02) / 47).
    z = (0.5493061443 - 0.2027325541) / np.sqrt(1.125 / 97 + 1.02 / 47)
    assert independent_p_value((0.5, 0.2), (100, 50)) == pytest.approx(2 * stats.norm.sf(z), rel=1e-7)
    # Zou 2007: independent intervals combine as the root of squared distances.
    found = independent_difference(Limits(0.5, 0.3, 0.6), Limits(0.2, 0.1, 0.4))
    assert found.lower == pytest.approx(0.3 - np.hypot(0.2, 0.2))
    assert found.upper == pytest.approx(0.3 + np.hypot(0.1, 0.1))


def test_the_bootstrap_ranks_each_resample_anew():
    rng = np.random.default_rng(4)
    x = rng.normal(size=40)
    y = np.where(rng.uniform(size=40) < 0.4, 0.0, 0.5 * x + rng.normal(size=40))
    found = bootstrap_limits(x, y, np.random.default_rng(9), resamples=300)
    times = np.random.default_rng(9).multinomial(40, np.full(40, 1 / 40), size=300)
    rho = [stats.spearmanr(np.repeat(x, t), np.repeat(y, t)).statistic for t in times]
    assert (found.lower, found.upper) == pytest.approx(tuple(np.quantile(rho, [0.025, 0.975])))
    assert found.point == pytest.approx(stats.spearmanr(x, y).statistic)


SIZES = {("A", "HR+"): 60, ("A", "HR-"): 40, ("B", "HR+"): 50, ("B", "HR-"): 9, ("C", "HR+"): 45}


@pytest.fixture(scope="module")
def data():
    rho = {"X": [0.5, 0.2], "Y": [-0.3, 0.3], "Rare": [0.0, 0.0]}
    shares = {"X": 0.3, "Rare": 0.9}
    return simulated_set(12, SIZES, rho, shares, between=0.4, measures=["ESR1"], infiltrate=True)


@pytest.fixture(scope="module")
def twin(data):
    return rank_correlation_twin(data)


def one(twin, **where):
    rows = twin.select(**where)
    rows = rows[rows["method"] != BOOTSTRAP]
    assert len(rows) == 1
    return rows.iloc[0]


@pytest.mark.parametrize("stratum", ["HR+", "HR-", ALL])
def test_a_cohorts_row_is_scipys(data, twin, stratum):
    frame = data.tumours[data.tumours["cohort"] == "A"]
    if stratum != ALL:
        frame = frame[frame["hr"] == stratum]
    expected = stats.spearmanr(data.measures.loc[frame.index, "ESR1"], data.abundance.loc[frame.index, "X"])
    found = one(
        twin, outcome="X", exposure="ESR1", stratum=stratum, scope="cohort", cohort="A", estimand="spearman"
    )
    assert (found["point"], found["p_value"]) == pytest.approx((expected.statistic, expected.pvalue))
    assert found["n"] == len(frame)


def test_pooled_rows_combine_fishers_z(twin):
    where = {"outcome": "Y", "exposure": MEASURE, "estimand": "spearman", "scope": "pooled"}
    assert one(twin, stratum="HR+", **where)["method"].startswith("random-effects")
    assert one(twin, stratum="HR-", **where)["method"] == "single cohort"
    assert (
        "9 tumours"
        in one(
            twin,
            outcome="Y",
            exposure=MEASURE,
            estimand="spearman",
            scope="cohort",
            cohort="B",
            stratum="HR-",
        )["note"]
    )


def test_two_cohorts_are_pooled_by_a_common_effect(data):
    sizes = {k: n for k, n in SIZES.items() if k[1] == "HR+" and k[0] != "C"}
    two = simulated_set(12, sizes, {"X": [0.5]})
    twin = rank_correlation_twin(two)
    own = twin.select(outcome="X", scope="cohort", stratum="HR+", estimand="spearman")
    own = own[own["method"] != BOOTSTRAP]
    variance = (1 + own["point"] ** 2 / 2) / (own["n"].astype(float) - 3)
    expected = common_effect(np.arctanh(own["point"]).tolist(), variance.tolist())
    found = one(twin, outcome="X", scope="pooled", stratum="HR+", estimand="spearman")
    assert found["point"] == pytest.approx(np.tanh(expected.estimate))
    assert (found["lower"], found["upper"]) == pytest.approx(
        (np.tanh(expected.lower), np.tanh(expected.upper))
    )


def test_strength_has_no_sign(data, twin):
    # Y goes down with the HER2 measure and up with ESR1: strengths are compared, not signed correlations.
    where = {"outcome": "Y", "scope": "cohort", "cohort": "A", "stratum": "HR+"}
    rho = [one(twin, exposure=e, estimand="spearman", **where)["point"] for e in (MEASURE, "ESR1")]
    found = one(twin, exposure=f"{MEASURE} against ESR1", estimand="strength_difference", **where)
    assert rho[0] < 0 < rho[1]
    assert found["point"] == pytest.approx(abs(rho[0]) - abs(rho[1]))
    index = data.tumours.index[(data.tumours["cohort"] == "A") & (data.tumours["hr"] == "HR+")]
    between = stats.spearmanr(data.measures.loc[index, MEASURE], data.measures.loc[index, "ESR1"]).statistic
    assert found["p_value"] == pytest.approx(steiger_p_value(-rho[0], rho[1], -between, len(index)))


def test_rows_that_cannot_be_had_say_why(twin):
    found = one(twin, outcome="Rare", exposure=MEASURE, estimand="spearman", scope="pooled", stratum="HR+")
    assert found["status"] == "not estimable"
    assert "ties beyond 80%" in found["note"]
    gap = one(twin, outcome="X", exposure=MEASURE, estimand="spearman_difference", scope="cohort", cohort="C")
    assert gap["status"] == "not estimable"
    assert "no tumours" in gap["note"]


def test_families_are_the_outcomes_of_one_exposure_stratum_and_cohort(twin):
    rows = twin.select(exposure=MEASURE, estimand="spearman", scope="cohort", cohort="A", stratum="HR+")
    rows = rows[rows["p_value"].notna()]
    assert len(rows) == 3  # X, Y and the infiltrate; the rare type cannot be tested
    assert rows["p_adjusted"].astype(float).to_numpy() == pytest.approx(
        np.minimum(1, 3 * rows["p_value"].astype(float))
    )


def test_the_bootstrap_stands_beside_and_is_reproducible(data, twin):
    again = rank_correlation_twin(data)
    pd.testing.assert_frame_equal(again.table, twin.table)
    rows = twin.table[twin.table["method"] == BOOTSTRAP]
    assert set(rows["exposure"]) == {MEASURE, "tils"}
    assert rows["p_value"].isna().all()
