"""The analysis set of a model: who is in, what is standardised, and the fingerprint of both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bayes_her2.data import Exclusion
from bayes_her2.errors import DataError

SIZES = {("A", "HR+"): 22, ("A", "HR-"): 21, ("B", "HR+"): 23, ("B", "HR-"): 20}
CELLS = {"Zeta cells": 0.5, "Alpha cells": 0.2, "Never zero": 0.0}


@pytest.fixture
def two(tumours_of):
    """Two cohorts with both strata."""
    return tumours_of(3, SIZES, CELLS)


def test_incomplete_tumours_leave_with_the_first_reason_and_their_own_id(two, data_of):
    tumours, abundance = two
    tumours["age"] = np.arange(len(tumours), dtype=float)
    tumours.loc["A/000", "hr"] = None
    tumours.loc[["A/000", "A/001"], "her2"] = np.nan
    tumours.loc[["A/001", "B/050"], "age"] = np.nan
    data = data_of(tumours, abundance, ["age"]).for_model("abundance")
    step = "analysis set: abundance"
    assert data.exclusions == (
        Exclusion("A", "000", step, "hormone receptor status unknown"),
        Exclusion("A", "001", step, "HER2 measure missing"),
        Exclusion("B", "050", step, "covariate age missing"),
    )
    assert len(data.tumours) == len(tumours) - 3
    assert data.tumours.index.equals(data.abundance.index)
    assert data.tumours.index.equals(data.covariates.index)
    assert data.tumours.index.equals(data.high.index)


def test_a_missing_batch_or_centre_counts_only_where_the_cohort_records_it(two, data_of):
    tumours, abundance = two
    for column in ("batch", "centre"):
        labels = np.where(np.arange(len(tumours)) % 2, "1", "2")
        tumours[column] = pd.Series(labels, index=tumours.index, dtype="str").where(tumours["cohort"] == "A")
    tumours.loc["A/000", "batch"] = None
    tumours.loc["A/001", "centre"] = None
    data = data_of(tumours, abundance, use_batch=True, use_centre=True).for_model("abundance")
    assert [(e.tumour, e.reason) for e in data.exclusions] == [
        ("000", "batch missing"),
        ("001", "centre missing"),
    ]
    assert (data.tumours["cohort"] == "B").sum() == 43
    assert data.adjustment == "batch in A, centre"
    assert data_of(tumours, abundance).for_model("abundance").exclusions == ()


def test_the_fingerprint_does_not_depend_on_any_order(two, data_of):
    tumours, abundance = two
    rng = np.random.default_rng(5)
    tumours["grade"] = rng.choice(["I", "II"], size=len(tumours))
    tumours["age"] = rng.normal(size=len(tumours))
    one = data_of(tumours, abundance, ["age", "grade"])
    rows = rng.permutation(len(tumours))
    other = data_of(
        tumours.iloc[rows][list(tumours.columns[::-1])], abundance.iloc[rows[::-1]][list(abundance)[::-1]],
        ["grade", "age"],
    )  # fmt: skip
    cohorts_swapped = tumours.sort_values("cohort", ascending=False, kind="stable")
    third = data_of(cohorts_swapped, abundance.loc[cohorts_swapped.index], ["age", "grade"])
    assert third.cohorts == one.cohorts[::-1]
    for data in (other, third):
        assert data.fingerprint == one.fingerprint
        assert data.for_model("abundance").fingerprint == one.for_model("abundance").fingerprint
        assert data.for_model("abundance").cohorts == ("A", "B")
        # The very same rows, to the last bit: a seed then gives the same draws in any order.
        pd.testing.assert_frame_equal(
            data.for_model("abundance").tumours, one.for_model("abundance").tumours, check_exact=True
        )


@pytest.mark.parametrize("what", ["her2", "abundance", "hr", "cohort", "covariate", "zero"])
def test_the_fingerprint_changes_with_one_value(two, data_of, what):
    tumours, abundance = two
    tumours["age"] = np.linspace(40.0, 70.0, len(tumours))
    before = data_of(tumours, abundance, ["age"]).for_model("abundance").fingerprint
    if what == "her2":
        tumours.loc["A/003", "her2"] += 1e-6
    elif what == "abundance":
        abundance.loc["A/003", "Never zero"] *= 1 + 1e-9
    elif what == "zero":
        positive = abundance.index[abundance["Alpha cells"] > 0][0]
        abundance.loc[positive, "Alpha cells"] = 0.0
    elif what == "hr":
        tumours.loc["A/003", "hr"] = "HR-"
    elif what == "cohort":
        tumours.loc["A/003", "cohort"] = "B"
    else:
        tumours.loc["A/003", "age"] += 1e-6
    assert data_of(tumours, abundance, ["age"]).for_model("abundance").fingerprint != before


def test_the_fingerprint_survives_a_round_trip_through_csv(two, data_of, tmp_path):
    data = data_of(*two)
    data.abundance.to_csv(tmp_path / "abundance.csv")
    again = replace(data, abundance=pd.read_csv(tmp_path / "abundance.csv", index_col=0))
    assert again.fingerprint == data.fingerprint


def restricted(two, data_of, keep):
    tumours, abundance = two
    chosen = pd.Series([(c, h) in keep for c, h in zip(tumours["cohort"], tumours["hr"], strict=True)])
    index = tumours.index[chosen.to_numpy()]
    return data_of(tumours.loc[index], abundance.loc[index])


def test_one_cohort_has_its_notice(two, data_of):
    data = restricted(two, data_of, {("A", "HR+"), ("A", "HR-")}).for_model("abundance")
    assert data.cohorts == ("A",)
    assert data.strata == ("HR+", "HR-")
    assert any(
        n.startswith("One cohort (A): the terms that vary between cohorts drop out") for n in data.notices
    )


def test_two_cohorts_have_their_notice(two, data_of):
    data = data_of(*two).for_model("abundance")
    assert any(n.startswith("Two cohorts (A, B): the spread between cohorts") for n in data.notices)
    assert not any("informed by" in n and "alone" in n for n in data.notices)


def test_a_cohort_with_one_stratum_is_named_as_uninformative_about_the_interaction(two, data_of):
    data = restricted(two, data_of, {("A", "HR+"), ("A", "HR-"), ("B", "HR+")}).for_model("abundance")
    assert (
        "The HR interaction is informed by A alone: B has fewer than 10 tumours in one HR stratum, and rows "
        "for a stratum that a cohort lacks are borrowed." in data.notices
    )


@pytest.mark.parametrize(
    ("keep", "reference", "strata"),
    [
        ({("A", "HR+"), ("A", "HR-"), ("B", "HR+"), ("B", "HR-")}, "HR+", ("HR+", "HR-")),
        ({("A", "HR+"), ("A", "HR-"), ("B", "HR+")}, "HR+", ("HR+", "HR-")),
        ({("A", "HR+"), ("A", "HR-"), ("B", "HR-")}, "HR-", ("HR-", "HR+")),
        ({("A", "HR+"), ("B", "HR+")}, "HR+", ("HR+",)),
        ({("A", "HR-"), ("B", "HR-")}, "HR-", ("HR-",)),
    ],
)
def test_the_reference_stratum_is_the_one_that_every_cohort_has(two, data_of, keep, reference, strata):
    data = restricted(two, data_of, keep).for_model("abundance")
    assert data.reference == reference
    assert data.strata == strata
    only_one = any(
        n == f"Only {reference} tumours: no HR difference and no interaction is estimated."
        for n in data.notices
    )
    assert only_one == (len(strata) == 1)


def test_strata_that_no_cohort_shares_are_refused(two, data_of):
    data = restricted(two, data_of, {("A", "HR+"), ("B", "HR-")})
    with pytest.raises(DataError, match="HR status and cohort cannot be told apart"):
        data.for_model("abundance")


def test_strata_that_only_a_third_cohort_links_are_accepted(tumours_of, data_of):
    sizes = {("A", "HR+"): 20, ("B", "HR-"): 20, ("C", "HR+"): 20, ("C", "HR-"): 20}
    data = data_of(*tumours_of(4, sizes, CELLS)).for_model("abundance")
    assert data.reference == "HR+"
    assert any("informed by C alone: A, B have fewer than 10 tumours" in n for n in data.notices)


def test_a_cell_type_without_enough_zeros_or_positives_loses_that_part_in_that_stratum(tumours_of, data_of):
    n = {"HR+": 45, "HR-": 41}
    cells = {
        "Never zero": 0.0,
        "Nine zeros in HR-": {"HR+": 0.5, "HR-": 9 / 41},
        "Nine positives in HR+": {"HR+": 36 / 45, "HR-": 0.5},
        "Nearly absent": 0.9,
        "Both": 0.5,
    }
    data = data_of(*tumours_of(6, SIZES, cells)).for_model("abundance")
    parts = data.parts.set_index(["cell_type", "stratum"])
    expected = {
        ("Never zero", "HR+"): (False, True),
        ("Never zero", "HR-"): (False, True),
        ("Nine zeros in HR-", "HR+"): (True, True),
        ("Nine zeros in HR-", "HR-"): (False, True),
        ("Nine positives in HR+", "HR+"): (False, False),
        ("Nine positives in HR+", "HR-"): (True, True),
        ("Nearly absent", "HR+"): (False, False),
        ("Nearly absent", "HR-"): (False, False),
        ("Both", "HR+"): (True, True),
        ("Both", "HR-"): (True, True),
    }
    for key, (presence, amount) in expected.items():
        assert (parts.loc[key, "presence_modelled"], parts.loc[key, "amount_modelled"]) == (
            presence,
            amount,
        ), key
        assert parts.loc[key, "n"] == n[key[1]]
    assert list(data.abundance.columns) == [
        "Never zero", "Nine zeros in HR-", "Nine positives in HR+", "Both",
    ]  # fmt: skip
    assert "Nearly absent" in data.cell_types.index
    assert not data.cell_types.loc["Nearly absent", "amount_modelled"]
    assert any(n.startswith("Nearly absent: HR+:") for n in data.notices)
    assert "Nine zeros in HR-: HR-: 9 zeros among 41 tumours (10 needed)" in data.notices


def test_nothing_to_model_is_an_error(tumours_of, data_of):
    data = data_of(*tumours_of(6, {("A", "HR+"): 20}, {"x": 0.9}))
    with pytest.raises(DataError, match="no cell type has 10 positives"):
        data.for_model("abundance")


def test_no_tumour_left_is_an_error_with_its_reasons(two, data_of):
    tumours, abundance = two
    tumours["her2"] = np.nan
    with pytest.raises(DataError, match="no tumour is left for the model 'abundance': HER2 measure missing"):
        data_of(tumours, abundance).for_model("abundance")


def test_an_unknown_model_is_an_error(two, data_of):
    with pytest.raises(DataError, match=r"'nonsense'; known: .*abundance"):
        data_of(*two).for_model("nonsense")


def test_her2_is_standardised_over_the_tumours_of_the_set_alone(two, data_of):
    tumours, abundance = two
    tumours.loc["A/000", ["hr", "her2"]] = [None, 1e6]  # left out, so its value must not matter
    data = data_of(tumours, abundance).for_model("abundance")
    for _, own in data.tumours.groupby("platform"):
        within = own["her2_sd"] - own.groupby("hr")["her2_sd"].transform("mean")
        assert own["her2_sd"].mean() == pytest.approx(0.0, abs=1e-12)
        assert (within**2).sum() / (len(own) - 2) == pytest.approx(1.0)


def test_counts_add_up_and_high_follows_the_rules(two, data_of):
    data = data_of(*two).for_model("abundance")
    assert data.counts.groupby("cell_type")["n"].sum().eq(len(data.tumours)).all()
    rules = data.rules.set_index(["cohort", "cell_type"])
    for cohort in data.cohorts:
        own = data.tumours.index[data.tumours["cohort"] == cohort]
        for cell_type in data.abundance.columns:
            y = data.abundance.loc[own, cell_type]
            by_median = rules.loc[(cohort, cell_type), "high_rule"] == "median"
            assert by_median == ((y == 0).mean() < 0.25)
            expected = (y >= y.median()) if by_median else (y > 0)
            assert data.high.loc[own, cell_type].equals(expected)


def test_the_callers_tables_are_left_as_they_were(two, data_of):
    tumours, abundance = two
    tumours["age"] = np.linspace(40.0, 70.0, len(tumours))
    data = data_of(tumours, abundance, ["age"])
    before = data.tumours.copy(deep=True), data.abundance.copy(deep=True)
    made = data.for_model("abundance")
    made.tumours.loc[:, "her2_sd"] = 0.0
    made.abundance.loc[:, :] = 0.0
    pd.testing.assert_frame_equal(data.tumours, before[0])
    pd.testing.assert_frame_equal(data.abundance, before[1])


def test_a_part_of_the_set_keeps_scaling_cutoffs_and_what_is_modelled(two, data_of):
    tumours, abundance = two
    data = data_of(tumours, abundance).for_model("abundance")
    labels = [t for i, t in enumerate(data.tumours.index) if i % 3]
    part = data.subset(labels[::-1])
    assert list(part.tumours.index) == labels
    pd.testing.assert_frame_equal(part.tumours, data.tumours.loc[labels])
    pd.testing.assert_frame_equal(part.parts, data.parts)
    pd.testing.assert_frame_equal(part.high, data.high.loc[labels])
    pd.testing.assert_frame_equal(part.high_cutoffs, data.high_cutoffs)
    assert part.counts["n"].sum() == len(labels) * len(CELLS)
    # A stratum with 13 of 20 tumours left still informs what it informed.
    assert part.hr_informed_by == data.hr_informed_by == ("A", "B")
    assert part.fingerprint == data.subset(labels).fingerprint != data.fingerprint
    few = [t for t in labels if tumours.loc[t, "hr"] == "HR+" or t.startswith("A/")]
    few += list(tumours.index[(tumours["hr"] == "HR-") & (tumours["cohort"] == "B")][:1])
    assert data.subset(few).hr_informed_by == ("A", "B")
    assert data.subset(few, own_parts=True).hr_informed_by == ("A",)


def test_the_rest_without_a_cohort_decides_for_itself_what_it_can_model(two, data_of):
    tumours, abundance = two
    # In A alone Zeta cells have no zeros.
    abundance.loc[tumours["cohort"] == "A", "Zeta cells"] += 0.01
    data = data_of(tumours, abundance).for_model("abundance")
    rest = data.subset(list(data.tumours.index[data.tumours["cohort"] == "A"]), own_parts=True)
    assert data.part("Zeta cells", "HR+").presence_modelled
    assert not rest.part("Zeta cells", "HR+").presence_modelled
    assert rest.cohorts == ("A",)
    assert list(rest.high_cutoffs.index) == ["A"]


def test_a_part_with_one_stratum_has_that_stratum_as_reference(two, data_of):
    data = data_of(*two).for_model("abundance")
    negative = data.subset(list(data.tumours.index[data.tumours["hr"] == "HR-"]))
    assert (negative.reference, negative.strata) == ("HR-", ("HR-",))


@pytest.mark.parametrize(("labels", "said"), [(["A/000", "C/1"], "1 of 2 .*C/1"), ([], "none was named")])
def test_a_part_needs_tumours_of_the_set(two, data_of, labels, said):
    data = data_of(*two).for_model("abundance")
    with pytest.raises(DataError, match=said):
        data.subset(labels)


def test_other_abundances_of_the_same_tumours_keep_what_is_modelled_and_the_cutoffs(two, data_of):
    data = data_of(*two).for_model("abundance")
    rng = np.random.default_rng(3)
    new = data.abundance * rng.uniform(0.5, 1.5, data.abundance.shape)
    new.loc[new.index[::3], "Zeta cells"] = 0.0
    made = data.with_abundance(new.iloc[::-1, ::-1])
    pd.testing.assert_frame_equal(made.abundance, new)
    pd.testing.assert_frame_equal(made.high_cutoffs, data.high_cutoffs)
    for what in ("presence_modelled", "amount_modelled", "reason", "n"):
        pd.testing.assert_series_equal(made.parts[what], data.parts[what])
    for cell_type in new.columns:
        for stratum in ("HR+", "HR-"):
            own = new.loc[data.tumours["hr"] == stratum, cell_type]
            part = made.part(cell_type, stratum)
            assert (part.n_zero, part.n_positive) == ((own == 0).sum(), (own > 0).sum())
        assert made.cell_types.loc[cell_type, "n_zero"] == (new[cell_type] == 0).sum()
        assert made.cell_types.loc[cell_type, "zero_share"] == (new[cell_type] == 0).mean()
        for cohort in data.cohorts:
            own = new.loc[data.tumours["cohort"] == cohort, cell_type]
            expected = (own > 0) & (own >= data.high_cutoffs.loc[cohort, cell_type])
            assert made.high.loc[own.index, cell_type].tolist() == expected.tolist()
    assert made.fingerprint != data.fingerprint
    assert data.with_abundance(data.abundance).fingerprint == data.fingerprint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.iloc[1:], r"1 of its \d+ tumours are missing, 0 are not in it.*A/000"),
        (
            lambda a: a.rename(columns={a.columns[0]: "Other cells"}),
            r"1 of its \d cell types are missing, 1 are",
        ),
        (
            lambda a: pd.concat([a, a.iloc[:2]]),
            r"0 are not in it, 2 are named twice \(A/000, A/001\). Give each",
        ),
        (
            lambda a: a.mul(np.where(a.index == "A/003", np.nan, 1.0), axis=0),
            r"\d of \d+ values are missing.*tumour A/003",
        ),
        (
            lambda a: a.sub(np.where(a.index == "A/004", 1.0, 0.0), axis=0),
            r"negative \(first: tumour A/004\)",
        ),
    ],
)
def test_other_abundances_have_to_be_of_the_same_tumours_and_cell_types(two, data_of, change, said):
    data = data_of(*two).for_model("abundance")
    with pytest.raises(DataError, match=said):
        data.with_abundance(change(data.abundance))


def test_other_abundances_do_not_leave_an_outcome_behind_that_was_made_of_the_first(ancova_set_of):
    data = ancova_set_of({("A", "HR+"): 60, ("A", "HR-"): 40})
    with pytest.raises(DataError, match=r"its outcome .* is made of the abundances and would stay"):
        data.with_abundance(data.abundance)
