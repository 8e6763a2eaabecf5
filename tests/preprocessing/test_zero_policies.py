"""Zero policies and the P filter on a table small enough to read: what changes, what does not, and how many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bayes_her2.data import Exclusion
from bayes_her2.errors import DataError
from bayes_her2.preprocessing.zero_policies import (
    POLICY,
    add_pseudocount,
    changed_values,
    deconvolution_filter,
    replace_zeros,
    shares,
    small_to_zero,
    without_rare,
)

COHORTS = ("A", "A", "A", "A", "B", "B", "B", "B")
ABUNDANCE = {
    "Common": [0.5, 0.4, 0.0, 0.3, 0.6, 0.5, 0.4, 0.7],
    "Rare": [0.0, 0.0, 0.0, 0.0005, 0.0, 0.0, 0.0, 0.0],
    "Tiny": [0.0009, 0.001, 0.0011, 0.0, 0.2, 0.0, 0.0004, 0.1],
}


@pytest.fixture
def data(data_of):
    index = pd.Index([f"{c}/{i}" for i, c in enumerate(COHORTS)], name="tumour")
    tumours = pd.DataFrame({"cohort": COHORTS, "hr": "HR+", "her2": np.arange(8.0)}, index=index)
    return data_of(tumours, pd.DataFrame(ABUNDANCE, index=index))


def test_a_zero_becomes_the_smallest_positive_of_its_cell_type_in_its_cohort(data):
    changed = replace_zeros(data)
    after = changed.data.abundance
    assert after["Common"].tolist() == [0.5, 0.4, 0.3, 0.3, 0.6, 0.5, 0.4, 0.7]
    assert after["Tiny"].tolist() == [0.0009, 0.001, 0.0011, 0.0009, 0.2, 0.0004, 0.0004, 0.1]
    # Cohort B has no positive value of the rare cell type, so there is nothing to put in its zeros' place.
    assert after["Rare"].tolist() == [0.0005] * 4 + [0.0] * 4
    assert "B: Rare without any positive value; zeros there stay zeros." in changed.data.notices
    assert changed.used.loc["A", "Tiny"] == 0.0009
    assert np.isnan(changed.used.loc["B", "Rare"])


def test_a_pseudocount_is_added_to_every_value_zero_or_not(data):
    changed = add_pseudocount(data)
    difference = changed.data.abundance - data.abundance
    np.testing.assert_allclose(difference.to_numpy(), 0.001, rtol=0, atol=1e-15)
    assert (changed.used == 0.001).all(axis=None)


def test_on_the_absolute_scale_a_pseudocount_is_a_share_of_the_cohorts_typical_total(data):
    absolute = replace(data, scale="absolute", abundance=10 * data.abundance)
    used = add_pseudocount(absolute).used
    totals = absolute.abundance.sum(axis=1).groupby(absolute.tumours["cohort"]).median()
    assert used["Rare"].to_dict() == pytest.approx((0.001 * totals).to_dict())
    assert used.loc["A", "Rare"] != used.loc["B", "Rare"]
    # Ten times the scale, ten times the number: what is small does not depend on the unit.
    same = add_pseudocount(replace(data, scale="absolute")).used
    np.testing.assert_allclose(used, 10 * same)


def test_only_positives_under_a_thousandth_become_zero(data):
    after = small_to_zero(data).data.abundance
    assert after["Tiny"].tolist() == [0.0, 0.001, 0.0011, 0.0, 0.2, 0.0, 0.0, 0.1]
    assert (after["Rare"] == 0).all()
    pd.testing.assert_series_equal(after["Common"], data.abundance["Common"])


def test_the_seed_studys_dichotomy_leaves_out_what_is_rare_in_every_cohort(data):
    # Rare: 3 of 4 zeros in A is exactly 75 %, which the rule keeps; all of B are zeros.
    assert list(without_rare(data).data.abundance.columns) == ["Common", "Rare", "Tiny"]
    rarer = replace(data, abundance=data.abundance.assign(Rare=0.0))
    changed = without_rare(rarer)
    assert list(changed.data.abundance.columns) == ["Common", "Tiny"]
    assert "left out: Rare." in changed.data.notices[-1]
    with pytest.raises(DataError, match="no cell type is left"):
        without_rare(replace(data, abundance=data.abundance[["Rare"]] * 0.0))


@pytest.mark.parametrize("policy", [replace_zeros, add_pseudocount, small_to_zero, without_rare])
def test_a_policy_does_not_depend_on_the_order_of_rows_or_columns_and_leaves_its_input_alone(data, policy):
    before = data.abundance.copy(deep=True)
    changed = policy(data)
    pd.testing.assert_frame_equal(data.abundance, before)
    order = data.abundance.index[[5, 2, 7, 0, 1, 6, 3, 4]]
    shuffled = replace(
        data, tumours=data.tumours.loc[order], abundance=data.abundance.loc[order, ["Tiny", "Rare", "Common"]]
    )
    again = policy(shuffled)
    assert again.data.fingerprint == changed.data.fingerprint
    pd.testing.assert_frame_equal(again.used[changed.used.columns], changed.used)
    # Nothing but the abundance is touched.
    assert again.data.exclusions == data.exclusions
    pd.testing.assert_frame_equal(changed.data.tumours, data.tumours)


def test_changed_values_are_counted_by_cohort_and_cell_type(data):
    changed = replace_zeros(data)
    table = changed_values(
        data.abundance, changed.data.abundance, data.tumours["cohort"], changed.used
    ).set_index(["cohort", "cell_type"])
    assert table["n_changed"].to_dict() == {
        ("A", "Common"): 1,
        ("A", "Rare"): 3,
        ("A", "Tiny"): 1,
        ("B", "Common"): 0,
        ("B", "Rare"): 0,
        ("B", "Tiny"): 1,
    }
    assert table.loc[("B", "Rare"), "n_zero_after"] == 4
    assert table.loc[("A", "Rare"), ["n", "n_zero_before", "n_zero_after"]].tolist() == [4, 3, 0]


def test_changed_values_leave_out_tumours_and_cell_types_that_are_gone(data):
    after = data.abundance.drop(columns="Rare").drop(index="A/0") * 2
    used = pd.DataFrame(np.nan, index=["A", "B"], columns=data.abundance.columns)
    table = changed_values(data.abundance, after, data.tumours["cohort"], used).set_index(
        ["cohort", "cell_type"]
    )
    assert table.loc[("A", "Common"), ["n", "n_changed"]].tolist() == [3, 2]  # a doubled zero is a zero
    assert table.loc[("A", "Rare"), "n_changed"] == 0
    assert pd.isna(table.loc[("A", "Rare"), "n_zero_after"])


def with_p(table_of, data, p_values):
    """Cohorts as read, with the P-values given by tumour label."""
    cohorts = []
    for name, own in data.tumours.groupby("cohort"):
        ids = [str(label).removeprefix(f"{name}/") for label in own.index]
        cohort = table_of(str(name), pd.DataFrame({"her2": 1.0}, index=pd.Index(ids, name="tumour")))
        quality = pd.DataFrame(
            {"p_value": [p_values.get(str(label), 0.01) for label in own.index]}, index=ids
        )
        cohorts.append(replace(cohort, quality=quality))
    return cohorts


def test_the_p_filter_keeps_what_is_below_its_limit_and_logs_the_others(data, table_of):
    p_values = {"A/1": 0.05, "A/2": 0.049, "A/3": np.nan, "B/4": 9999.0, "B/5": 0.0, "B/6": 0.6}
    filtered = deconvolution_filter(data, with_p(table_of, data, p_values))
    assert list(filtered.tumours.index) == ["A/0", "A/2", "B/5", "B/7"]
    assert list(filtered.abundance.index) == list(filtered.tumours.index)
    # 0.05 is not below 0.05; a missing P and CIBERSORT's 9999 (no permutations) are no P-values.
    assert filtered.exclusions == (
        Exclusion("A", "1", POLICY, "deconvolution P not below 0.05"),
        Exclusion("A", "3", POLICY, "no deconvolution P-value"),
        Exclusion("B", "4", POLICY, "no deconvolution P-value"),
        Exclusion("B", "6", POLICY, "deconvolution P not below 0.05"),
    )
    assert len(data.tumours) == 8


def test_the_p_filter_does_not_depend_on_the_order_of_tumours_and_cohorts(data, table_of):
    cohorts = with_p(table_of, data, {"A/1": 0.2, "B/6": 0.3})
    filtered = deconvolution_filter(data, cohorts)
    order = data.tumours.index[::-1]
    again = deconvolution_filter(
        replace(data, tumours=data.tumours.loc[order], abundance=data.abundance.loc[order]), cohorts[::-1]
    )
    assert again.fingerprint == filtered.fingerprint
    assert again.exclusions == filtered.exclusions


@pytest.mark.parametrize(
    ("p_values", "said"),
    [
        (dict.fromkeys(["B/4", "B/5", "B/6", "B/7"], 9999.0), r"4 are 9999 \(no permutations were run\)"),
        (dict.fromkeys(["B/4", "B/5", "B/6", "B/7"], np.nan), "none is given"),
        (
            dict.fromkeys(["B/4", "B/5", "B/6", "B/7"], 0.5),
            "none of its 4 tumours has a deconvolution P below 0.05",
        ),
    ],
)
def test_a_p_filter_that_would_take_a_whole_cohort_is_refused(data, table_of, p_values, said):
    with pytest.raises(DataError, match=said) as raised:
        deconvolution_filter(data, with_p(table_of, data, p_values))
    assert str(raised.value).startswith("B: ")


def test_shares_of_an_absolute_cohort_sum_to_one_and_a_tumour_without_any_is_logged(table_of):
    index = pd.Index(["x", "y", "z"], name="tumour")
    abundance = pd.DataFrame({"P": [2.0, 0.0, 1.0], "Q": [6.0, 0.0, 0.0]}, index=index)
    cohort = table_of("A", pd.DataFrame({"her2": 1.0}, index=index), abundance, scale="absolute")
    cohort = replace(cohort, quality=pd.DataFrame({"p_value": 0.01}, index=index))
    relative = shares(cohort)
    assert relative.scale == "relative"
    assert relative.abundance.to_dict("index") == {"x": {"P": 0.25, "Q": 0.75}, "z": {"P": 1.0, "Q": 0.0}}
    assert relative.exclusions == (Exclusion("A", "y", POLICY, "sum of abundances is 0"),)
    assert list(relative.tumours.index) == list(relative.quality.index) == ["x", "z"]
    assert cohort.scale == "absolute"
    assert len(cohort.abundance) == 3
