"""Composition and M1/M2 ratio of a handful of tumours, by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from bayes_her2.preprocessing import cell_composition, macrophage_ratio

M1, M2 = "Macrophages M1", "Macrophages M2"


@pytest.fixture
def tumours() -> pd.DataFrame:
    rows = {
        "A/1": ("A", "HR+", "0"),
        "A/2": ("A", "HR+", "1+"),
        "A/3": ("A", "HR-", None),
        "B/1": ("B", "HR+", None),
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["cohort", "hr", "her2_ihc"])


@pytest.fixture
def abundance(tumours) -> pd.DataFrame:
    return pd.DataFrame(
        {M1: [0.1, 0.0, 0.2, 0.3], M2: [0.4, 0.5, 0.0, 0.1], "Other": [0.5, 0.5, 0.8, 0.6]},
        index=tumours.index,
    )


def test_means_are_over_all_tumours_and_ranks_by_mean(tumours, abundance) -> None:
    table = cell_composition(tumours, abundance).set_index(["cohort", "stratum", "cell_type"])
    row = table.loc[("A", "HR+", M1)]
    assert row[["n", "mean", "share_present", "rank"]].tolist() == [2, 0.05, 0.5, 3]
    assert table.loc[("all cohorts", "all", "Other"), "rank"] == 1
    assert table.loc[("all cohorts", "all", "Other"), "mean"] == pytest.approx(0.6)
    assert ("B", "HR-", M1) not in table.index


def test_a_single_cohort_is_not_repeated_as_all_of_them(tumours, abundance) -> None:
    own = tumours[tumours["cohort"] == "A"]
    assert set(cell_composition(own, abundance.loc[own.index])["cohort"]) == {"A"}


def test_tumours_without_m2_are_named_and_not_in_the_quartiles(tumours, abundance) -> None:
    table = macrophage_ratio(tumours, abundance).set_index(["cohort", "stratum", "her2_ihc"])
    row = table.loc[("A", "all", "all")]
    assert row[["n", "n_undefined", "n_zero", "undefined"]].tolist() == [3, 1, 1, "A/3"]
    assert row["median"] == pytest.approx(0.125)  # of 0.25 and 0
    assert math.isnan(table.loc[("A", "HR-", "all"), "median"])
    assert table.loc[("A", "HR+", "1+"), "median"] == 0
    assert table.loc[("A", "all", "not recorded"), "n"] == 1
    # no level in the whole cohort: one row, not two that are the same
    assert ("B", "all", "not recorded") not in table.index


def test_a_signature_without_macrophages_has_no_ratio(tumours, abundance) -> None:
    assert macrophage_ratio(tumours, abundance[["Other"]]) is None
