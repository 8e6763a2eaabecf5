"""Zero counts, the seed study's rule at its edges, high abundance, and what each part needs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayes_her2.preprocessing.cell_types import high_abundance, modelled_parts, seed_rules, zero_counts


def cohort_of(n_zero: int, n: int, cohort: str = "A") -> tuple[pd.DataFrame, pd.Series]:
    index = pd.Index([f"{cohort}/{i}" for i in range(n)])
    values = np.where(np.arange(n) < n_zero, 0.0, 0.01 * np.arange(1, n + 1))
    return pd.DataFrame({"c": values}, index=index), pd.Series(cohort, index=index)


@pytest.mark.parametrize(
    ("n_zero", "n", "rule", "high_rule"),
    [
        (0, 20, "continuous", "median"),
        (4, 20, "continuous", "median"),
        (5, 20, "presence", "presence"),  # exactly 25 %: inclusive
        (15, 20, "presence", "presence"),  # exactly 75 %: inclusive
        (16, 20, "excluded", "presence"),
        (20, 20, "excluded", "presence"),
        (1, 4, "presence", "presence"),
        (3, 4, "presence", "presence"),
        (249, 1000, "continuous", "median"),
        (751, 1000, "excluded", "presence"),
    ],
)
def test_the_seed_rule_at_its_edges(n_zero, n, rule, high_rule):
    row = seed_rules(*cohort_of(n_zero, n)).loc[0]
    assert (row["rule"], row["high_rule"]) == (rule, high_rule)
    assert row["zero_share"] == n_zero / n


def test_the_seed_rule_is_taken_cohort_by_cohort():
    one, other = cohort_of(1, 10, "A"), cohort_of(9, 10, "B")
    rules = seed_rules(pd.concat([one[0], other[0]]), pd.concat([one[1], other[1]])).set_index("cohort")
    assert rules["rule"].to_dict() == {"A": "continuous", "B": "excluded"}


def test_high_abundance_is_at_or_above_the_median_of_the_own_cohort():
    abundance = pd.DataFrame({"c": [0.1, 0.2, 0.3, 0.2, 0.0, 10.0, 20.0, 30.0, 40.0, 0.0]})
    cohort = pd.Series(["A"] * 5 + ["B"] * 5)
    high, cutoffs = high_abundance(abundance, cohort, seed_rules(abundance, cohort))
    assert cutoffs["c"].to_dict() == {"A": 0.2, "B": 20.0}  # zeros (20 %) count in the median
    assert list(high["c"]) == [False, True, True, True, False, False, True, True, True, False]


def test_high_abundance_is_presence_from_25_percent_zeros_on():
    abundance = pd.DataFrame({"c": [0.0, 0.1, 0.2, 0.3], "mostly zero": [0.0, 0.0, 0.0, 0.4]})
    cohort = pd.Series(["A"] * 4)
    high, cutoffs = high_abundance(abundance, cohort, seed_rules(abundance, cohort))
    assert cutoffs.loc["A"].to_dict() == {"c": 0.0, "mostly zero": 0.0}
    assert list(high["c"]) == [False, True, True, True]
    # The median is 0 here: '>= median' alone would call every tumour high.
    assert list(high["mostly zero"]) == [False, False, False, True]


def test_zero_counts_by_hand():
    abundance = pd.DataFrame({"x": [0.0, 0.2, 0.4, 0.0, 0.0], "y": [1.0, 0.0, 2.0, 5.0, 0.0]})
    cohort, hr = pd.Series(list("AAABB")), pd.Series(["HR+", "HR+", "HR-", "HR+", "HR+"])
    counts = zero_counts(abundance, cohort, hr).set_index(["cell_type", "cohort", "hr"])
    assert list(counts.loc[("x", "A", "HR+"), ["n", "n_zero", "n_positive"]]) == [2, 1, 1]
    assert counts.loc[("x", "A", "HR-"), "median_positive"] == 0.4
    assert pd.isna(counts.loc[("x", "B", "HR+"), "median_positive"])
    assert list(counts.loc[("y", "B", "HR+"), ["n", "n_zero", "n_positive"]]) == [2, 1, 1]
    assert len(counts) == 6  # no row for a stratum that a cohort does not have


@pytest.mark.parametrize(
    ("n_zero", "n_positive", "presence", "amount", "reason"),
    [
        (10, 10, True, True, ""),
        (9, 10, False, True, "HR+: 9 zeros among 19 tumours (10 needed)"),
        (10, 9, False, False, "HR+: 9 positives among 19 tumours (10 needed)"),
        (9, 9, False, False, "HR+: 9 zeros and 9 positives among 18 tumours (10 needed)"),
        (0, 300, False, True, "HR+: 0 zeros among 300 tumours (10 needed)"),
    ],
)
def test_presence_needs_10_zeros_and_10_positives_and_amount_10_positives(
    n_zero, n_positive, presence, amount, reason
):
    counts = pd.DataFrame(
        {"cell_type": "c", "cohort": "A", "hr": "HR+", "n": [n_zero + n_positive], "n_zero": n_zero}
    ).assign(n_positive=n_positive)
    row = modelled_parts(counts, ("HR+",)).loc[0]
    assert (row["presence_modelled"], row["amount_modelled"], row["reason"]) == (presence, amount, reason)


def test_zeros_and_positives_of_all_cohorts_count_together_stratum_by_stratum():
    counts = pd.DataFrame(
        {
            "cell_type": "c",
            "cohort": ["A", "B", "A"],
            "hr": ["HR+", "HR+", "HR-"],
            "n": [11, 10, 40],
            "n_zero": [6, 4, 3],
            "n_positive": [5, 6, 37],
        }
    )
    parts = modelled_parts(counts, ("HR+", "HR-")).set_index("stratum")
    assert parts["presence_modelled"].to_dict() == {"HR+": True, "HR-": False}
    assert parts["amount_modelled"].to_dict() == {"HR+": True, "HR-": True}
    assert parts["n_zero"].to_dict() == {"HR+": 10, "HR-": 3}
