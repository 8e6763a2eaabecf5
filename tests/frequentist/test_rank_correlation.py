"""The twin of the rank correlations: against R, and row by row against scipy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rank_studies import MEASURE, rank_set, simulated_set, unrecorded_set
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
    # R's numbers have the variance of Pearson's correlation, 1 / (n - 3).
    assert steiger_p_value(*r, 150, ranks=False) == pytest.approx(
        r_numbers(what, "steiger_p_value"), rel=1e-9
    )
    assert meng_p_value(*r, 150, ranks=False) == pytest.approx(r_numbers(what, "meng_p_value"), rel=1e-9)
    found = overlapping_difference(*r, 150)
    assert found.point == pytest.approx(r_numbers(what, "difference"), abs=1e-12)
    assert found.lower == pytest.approx(r_numbers(what, "zou_bonett_wright_lower"), abs=1e-9)
    assert found.upper == pytest.approx(r_numbers(what, "zou_bonett_wright_upper"), abs=1e-9)


def test_tests_of_dependent_rank_correlations_keep_their_size():
    # Equal correlations of 0.7 with two measures that are correlated by 0.5; 4,000 sets of 100 tumours.
    rng, n, fits = np.random.default_rng(3), 100, 4_000
    r = np.array([[1.0, 0.5, 0.7], [0.5, 1.0, 0.7], [0.7, 0.7, 1.0]])
    x = rng.standard_normal((fits, n, 3)) @ np.linalg.cholesky(r).T
    ranks = np.argsort(np.argsort(x, axis=1), axis=1) - (n - 1) / 2
    rho = np.einsum("bni,bnj->bij", ranks, ranks) / (n * (n**2 - 1) / 12)
    for test in (steiger_p_value, meng_p_value):
        p = np.array([test(a[0, 2], a[1, 2], a[0, 1], n) for a in rho])
        # Three binomial SDs are 0.010; with Pearson's variance the size is 0.073.
        assert float((p < 0.05).mean()) == pytest.approx(0.05, abs=0.010)


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


def rho_set(by_cohort):
    """Tumours whose Spearman correlations are nearly those planted, by cohort and stratum."""
    parts = []
    for k, (cohort, (n, positive, negative)) in enumerate(by_cohort.items()):
        planted = {"X": {"HR+": positive, "HR-": negative}}
        measures = ["ESR1"] if len(positive) > 1 else []
        parts.append(
            simulated_set(100 + k, {(cohort, "HR+"): n, (cohort, "HR-"): n}, planted, measures=measures)
        )
    return rank_set(
        pd.concat([p.tumours[["cohort", "hr", "her2"]].join(p.measures[measures]) for p in parts]),
        pd.concat([p.abundance for p in parts]),
        measures,
    )


def test_the_pooled_difference_between_strata_is_that_within_cohorts():
    # Each cohort has its own level, and nearly the same difference between strata.
    data = rho_set({"A": (1500, [-0.6], [-0.35]), "B": (1500, [0.0], [0.3]), "C": (1500, [0.55], [0.85])})
    twin = rank_correlation_twin(data)
    where = {"estimand": "spearman_difference", "outcome": "X"}
    own = twin.select(scope="cohort", **where)
    assert (own["p_value"] < 0.011).all()
    pooled = one(twin, scope="pooled", **where)
    # A level that differs between cohorts has no part in it: interval and P say the same.
    assert pooled["point"] == pytest.approx(0.28, abs=0.03)
    assert 0.1 < pooled["lower"] < pooled["upper"] < 0.5
    assert pooled["p_value"] < 0.05
    reach = stats.t.isf(0.025, 2)
    se = (pooled["upper"] - pooled["lower"]) / 2 / reach
    assert pooled["p_value"] == pytest.approx(2 * stats.t.sf(pooled["point"] / se, 2), rel=1e-6)
    assert pooled["interval_kind"] == "confidence (Hartung-Knapp)"
    assert "differences within cohorts pooled" in pooled["note"]


def test_pooled_strength_is_that_of_the_pooled_correlations():
    # +0.37 in A and -0.37 in B with the HER2 measure, 0 with the other: strong in each cohort, and nothing pooled.
    data = rho_set({"A": (800, [0.37, 0.0], [0.37, 0.0]), "B": (800, [-0.37, 0.0], [-0.37, 0.0])})
    twin = rank_correlation_twin(data)
    where = {"estimand": "strength_difference", "outcome": "X", "stratum": "HR+"}
    own = twin.select(scope="cohort", **where)
    assert (own["point"] > 0.25).all()
    rho = [
        one(twin, estimand="spearman", outcome="X", stratum="HR+", scope="pooled", exposure=e)["point"]
        for e in (MEASURE, "ESR1")
    ]
    pooled = one(twin, scope="pooled", **where)
    assert pooled["point"] == pytest.approx(abs(rho[0]) - abs(rho[1]), abs=0.02)
    assert pooled["lower"] < 0 < pooled["upper"]
    assert "signs of the pooled rho" in pooled["note"]


def test_a_measure_tied_in_one_group_leaves_the_others_there():
    data = simulated_set(9, {("A", "HR+"): 60, ("A", "HR-"): 50}, {"X": [0.3, 0.1]}, measures=["ESR1"])
    tied = data.tumours.index[data.tumours["hr"] == "HR-"][:45]
    tumours = data.tumours[["cohort", "hr", "her2"]].join(data.measures[["ESR1"]])
    tumours.loc[tied, "ESR1"] = 0.0
    twin = rank_correlation_twin(rank_set(tumours, data.abundance, ["ESR1"]))
    where = {"outcome": "X", "scope": "cohort", "cohort": "A", "stratum": "HR-"}
    assert one(twin, exposure=MEASURE, estimand="spearman", **where)["status"] == "observed"
    gone = one(twin, exposure="ESR1", estimand="spearman", **where)
    assert (gone["status"], gone["note"]) == (
        "not estimable",
        "ESR1: 90% of 50 tumours share one value: ties beyond 80%",
    )
    gap = one(twin, exposure=f"{MEASURE} against ESR1", estimand="strength_difference", **where)
    assert gap["status"] == "not estimable"


def test_a_cohort_without_the_infiltrate_says_so():
    data = unrecorded_set()
    twin = rank_correlation_twin(data)
    where = {"estimand": "spearman", "scope": "cohort", "cohort": "B", "stratum": "HR+"}
    for pair in ({"exposure": "tils", "outcome": "X"}, {"exposure": MEASURE, "outcome": "tils"}):
        assert one(twin, **pair, **where)["note"] == "tils is not recorded"
