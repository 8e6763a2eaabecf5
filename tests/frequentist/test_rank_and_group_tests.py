"""Rank and group tests agree with R, with scipy and with closed forms, and keep to the seed paper's rule."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bayes_her2.data import STRATA
from bayes_her2.frequentist import group_tests, rank_tests
from bayes_her2.frequentist.group_tests import presence_difference
from bayes_her2.frequentist.rank_tests import spearman
from bayes_her2.frequentist.two_groups import probability_greater

SEED = 21
RULES = {"continuous": 0.1, "presence": 0.5, "excluded": 0.85}  # cell type -> share of zeros


@pytest.fixture(scope="module")
def ruled(make_set):
    """One cell type under each rule."""
    rng = np.random.default_rng(SEED)
    n = 240
    tumours = pd.DataFrame(
        {"cohort": "K1", "hr": np.where(np.arange(n) % 3 == 0, "HR-", "HR+"), "her2_sd": rng.normal(size=n)},
        index=[f"K1/{i}" for i in range(n)],
    )
    abundance = {}
    for name, share in RULES.items():
        values = rng.gamma(2.0, 0.05, n) * np.exp(0.3 * tumours["her2_sd"].to_numpy())
        values[rng.permutation(n)[: int(share * n)]] = 0.0
        abundance[name] = values
    return make_set(tumours, pd.DataFrame(abundance, index=tumours.index))


@pytest.fixture(scope="module")
def r_data(reference_folder) -> pd.DataFrame:
    return pd.read_csv(reference_folder / "regressions.csv")


def test_each_cell_type_is_tested_by_its_rule(ruled) -> None:
    table = rank_tests(ruled).table
    rho = table[table["estimand"] == "spearman"].set_index(["outcome", "stratum"])
    for stratum in (*STRATA, "all"):
        assert rho.loc[("continuous", stratum), "status"] == "observed"
        assert rho.loc[("presence", stratum), ["status", "note"]].tolist() == [
            "not estimable",
            "presence rule",
        ]
        assert rho.loc[("excluded", stratum), ["status", "note"]].tolist() == [
            "not estimable",
            "excluded rule",
        ]
    greater = table[table["estimand"] == "probability_greater"]
    assert set(greater["outcome"]) == {"presence"}
    assert set(greater["status"]) == {"observed"}
    every = rank_tests(ruled, every_cell_type=True).table
    assert set(every.loc[every["estimand"] == "spearman", "status"]) == {"observed"}


def test_spearman_is_scipys_with_the_bonett_wright_interval(ruled) -> None:
    row = rank_tests(ruled).select(outcome="continuous", stratum="HR-", estimand="spearman").squeeze(axis=0)
    own = ruled.tumours["hr"] == "HR-"
    expected = stats.spearmanr(ruled.tumours.loc[own, "her2"], ruled.abundance.loc[own, "continuous"])
    assert row["point"] == pytest.approx(expected.statistic)
    assert row["p_value"] == pytest.approx(expected.pvalue)
    assert row["n"] == own.sum()
    se = math.sqrt((1 + row["point"] ** 2 / 2) / (own.sum() - 3))
    for limit, sign in (("lower", -1), ("upper", 1)):
        assert math.atanh(row[limit]) == pytest.approx(
            math.atanh(row["point"]) + sign * 1.959964 * se, rel=1e-5
        )


def test_r_gives_the_same_spearman_wilcoxon_chi_squared_and_fisher(r_data, reference) -> None:
    found = spearman(r_data["her2_sd"], r_data["abundance"])
    assert found["point"] == pytest.approx(reference("spearman", "rho"), rel=1e-8)
    present = r_data["abundance"] > 0
    wilcoxon = probability_greater(
        r_data.loc[present, "her2_sd"], r_data.loc[~present, "her2_sd"], interval=0.95
    )
    assert wilcoxon["p_value"] == pytest.approx(reference("wilcoxon", "p_value"), rel=1e-6)
    negative = r_data["hr_negative"] == 1
    table = presence_difference(present[negative], present[~negative], interval=0.95)
    assert table["p_value"] == pytest.approx(reference("chi_squared", "p_value"), rel=1e-8)
    both = pd.crosstab(r_data["hr_negative"], present).to_numpy()
    assert stats.fisher_exact(both).pvalue == pytest.approx(reference("fisher", "p_value"), rel=1e-6)


def test_probability_greater_counts_pairs_and_half_the_ties() -> None:
    x, y = pd.Series([1.0, 2.0, 3.0, 5.0]), pd.Series([2.0, 2.0, 0.5])
    pairs = [(a > b) + 0.5 * (a == b) for a in x for b in y]
    found = probability_greater(x, y, interval=0.95)
    assert found["point"] == pytest.approx(np.mean(pairs))
    # DeLong: variances of the placements of either group, over the group sizes
    psi = np.array(pairs).reshape(4, 3)
    variance = psi.mean(axis=1).var(ddof=1) / 4 + psi.mean(axis=0).var(ddof=1) / 3
    p = np.mean(pairs)
    width = math.log(found["upper"] / (1 - found["upper"])) - math.log(found["lower"] / (1 - found["lower"]))
    assert width == pytest.approx(2 * 1.959963984540054 * math.sqrt(variance) / (p * (1 - p)))
    assert found["lower"] > 0
    assert found["upper"] < 1


def test_groups_that_do_not_overlap_are_separated_and_empty_ones_not_estimable() -> None:
    apart = probability_greater(pd.Series([4.0, 5.0]), pd.Series([1.0, 2.0, 3.0]), interval=0.95)
    assert (apart["status"], apart["point"]) == ("separated", 1.0)
    assert (
        probability_greater(pd.Series([4.0]), pd.Series([1.0, 2.0]), interval=0.95)["status"]
        == "not estimable"
    )
    same = probability_greater(pd.Series([1.0, 1.0]), pd.Series([1.0, 1.0]), interval=0.95)
    assert same["status"] == "not estimable"


def test_constant_and_perfect_rank_correlations_have_no_interval() -> None:
    x = pd.Series(np.arange(6.0))
    assert spearman(x, pd.Series(np.zeros(6)))["note"] == "abundance is constant"
    assert spearman(x[:3], x[:3])["status"] == "not estimable"
    perfect = spearman(x, x**3)
    assert perfect["point"] == pytest.approx(1.0)
    assert "lower" not in perfect


def test_newcombes_own_example_is_reproduced() -> None:
    # Newcombe 1998, Table II, contrast (a), method 10: 56/70 minus 48/80 is 0.2000 (0.0524 to 0.3339)
    first, second = pd.Series([True] * 56 + [False] * 14), pd.Series([True] * 48 + [False] * 32)
    found = presence_difference(first, second, interval=0.95)
    assert found["point"] == pytest.approx(0.2)
    assert (round(found["lower"], 4), round(found["upper"], 4)) == (0.0524, 0.3339)


def test_fisher_replaces_chi_squared_where_an_expected_count_is_small() -> None:
    # the lady tasting tea: 3 of 4 against 1 of 4, two-sided P = 34/70
    first, second = pd.Series([True] * 3 + [False]), pd.Series([True] + [False] * 3)
    found = presence_difference(first, second, interval=0.95)
    assert found["method"] == "Fisher exact"
    assert found["p_value"] == pytest.approx(34 / 70)
    assert "smallest expected count 2.0" in found["note"]


def test_group_tests_compare_hr_negative_with_hr_positive_whatever_the_rule(ruled) -> None:
    table = group_tests(ruled).table.set_index(["estimand", "outcome"])
    negative = ruled.tumours["hr"] == "HR-"
    for outcome in ("presence", "continuous"):
        y = ruled.abundance[outcome]
        assert table.loc[("presence_difference", outcome), "point"] == pytest.approx(
            (y > 0)[negative].mean() - (y > 0)[~negative].mean()
        )
        u = stats.mannwhitneyu(y[negative], y[~negative])
        row = table.loc[("probability_greater", outcome)]
        assert row["point"] == pytest.approx(u.statistic / (negative.sum() * (~negative).sum()))
        assert row["p_value"] == pytest.approx(u.pvalue)
        assert row["note"] == f"{outcome} rule"
    assert table.loc[("presence_difference", "presence"), "note"].startswith("presence rule; smallest")
    assert table.loc[("probability_greater", "excluded"), "note"].startswith("excluded rule")
    assert set(table["model"]) == {"abundance"}


def test_the_seed_studys_own_group_tests_are_a_family_apart(ruled) -> None:
    table = group_tests(ruled).table
    own = table["note"].str.startswith("presence rule") == (table["estimand"] == "presence_difference")
    own &= ~table["note"].str.startswith("excluded rule")
    for estimand in ("presence_difference", "probability_greater"):
        for mine in (True, False):
            rows = table[(table["estimand"] == estimand) & (own == mine) & table["p_value"].notna()]
            expected = np.minimum(1.0, len(rows) * rows["p_value"].astype(float))
            assert np.allclose(rows["p_adjusted"].astype(float), expected)


def test_the_contrast_names_the_family(ruled) -> None:
    table = group_tests(ruled).table
    own = table[~table["contrast"].str.contains(", not the seed study's test")]
    pairs = set(zip(own["estimand"], own["outcome"], strict=True))
    assert pairs == {("probability_greater", "continuous"), ("presence_difference", "presence")}
    for _, rows in table.groupby(["estimand", "contrast"]):
        adjusted = np.minimum(1.0, len(rows) * rows["p_value"].astype(float))
        assert np.allclose(rows["p_adjusted"].astype(float), adjusted)


def test_a_cohort_with_one_stratum_has_no_group_comparison(make_set) -> None:
    tumours = pd.DataFrame(
        {"cohort": "K1", "hr": "HR+", "her2_sd": np.linspace(-1, 1, 30)}, index=[f"K1/{i}" for i in range(30)]
    )
    data = make_set(tumours, pd.DataFrame({"A": np.linspace(0.1, 0.2, 30)}, index=tumours.index))
    assert set(group_tests(data).table["note"]) == {"continuous rule; no HR- tumours in K1"}
    rows = rank_tests(data).table.set_index("stratum")
    assert rows["status"].to_dict() == {"HR+": "observed", "HR-": "not estimable", "all": "observed"}


def test_bonferroni_families_are_estimand_stratum_and_cohort(make_set) -> None:
    rng = np.random.default_rng(22)
    tumours = pd.DataFrame(
        {"cohort": "K1", "hr": np.where(np.arange(80) % 2, "HR+", "HR-"), "her2_sd": rng.normal(size=80)},
        index=[f"K1/{i}" for i in range(80)],
    )
    abundance = pd.DataFrame(rng.gamma(2.0, 1.0, (80, 3)), index=tumours.index, columns=["A", "B", "C"])
    table = rank_tests(make_set(tumours, abundance)).table
    assert np.allclose(table["p_adjusted"].astype(float), np.minimum(1.0, 3 * table["p_value"].astype(float)))


@pytest.fixture(scope="module")
def tcga_hand_joined() -> pd.DataFrame:
    folder = os.environ.get("BAYES_HER2_DATA")
    if not folder:
        pytest.skip("BAYES_HER2_DATA is not set: no real cohorts to read")
    table = pd.read_csv(Path(folder) / "tcga_brca" / "tidy.csv").set_index("patient_id")
    return table[(table["her2_negative"] == 1) & table["hr"].notna()]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("measure", "cell_type", "stratum", "rho", "n"),
    [
        ("expr_ERBB2", "T.cells.CD8", "HR-", -0.039, 158),
        ("expr_ERBB2", "T.cells.CD8", "HR+", 0.048, 603),
        ("expr_ERBB2", "Macrophages.M1", "HR-", -0.103, 158),
        ("expr_ERBB2", "Macrophages.M1", "HR+", -0.099, 603),
        ("rppa_HER2", "T.cells.CD8", "HR-", -0.218, 131),
        ("rppa_HER2", "T.cells.CD8", "HR+", -0.128, 481),
        ("rppa_HER2", "Macrophages.M1", "HR-", -0.118, 131),
        ("rppa_HER2", "Macrophages.M1", "HR+", -0.114, 481),
    ],
)
def test_tcga_correlations_before_exclusions(
    tcga_hand_joined, make_set, measure: str, cell_type: str, stratum: str, rho: float, n: int
) -> None:
    # computed once from tidy.csv with pandas' rank correlation, HER2-negative tumours with HR known
    rows = tcga_hand_joined[tcga_hand_joined[measure].notna()]
    tumours = pd.DataFrame(
        {"cohort": "TCGA-BRCA", "hr": np.where(rows["hr"] == 1, "HR+", "HR-"), "her2_sd": rows[measure]},
        index=rows.index,
    )
    found = rank_tests(make_set(tumours, rows[[cell_type]])).select(estimand="spearman", stratum=stratum)
    assert found["n"].tolist() == [n]
    assert found["point"].round(3).tolist() == [rho]
