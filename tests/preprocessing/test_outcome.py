"""The tumours and outcomes of the analysis of covariance: scales, what counts as continuous, what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayes_her2.data import Exclusion, ModelChoices
from bayes_her2.errors import DataError
from bayes_her2.preprocessing.outcome import empty_cells

SIZES = {("A", "HR+"): 22, ("A", "HR-"): 21, ("B", "HR+"): 23, ("B", "HR-"): 20}
CELLS = {"Zeta cells": 0.5, "Alpha cells": 0.2, "Never zero": 0.0}


@pytest.fixture
def two(tumours_of):
    """Two cohorts with both strata, IHC levels in turn."""
    tumours, abundance = tumours_of(3, SIZES, CELLS)
    levels = np.array(["0", "1+", "2+", "1+"])[np.arange(len(tumours)) % 4]
    tumours["her2_ihc"] = pd.Series(levels, index=tumours.index, dtype="str")
    return tumours, abundance


def made(data_of, tumours, abundance, covariates=(), **choices):
    return data_of(tumours, abundance, covariates, settings=ModelChoices(**choices)).for_model(
        "marginal_effect"
    )


def test_outcomes_are_the_continuous_cell_types_as_they_are(two, data_of):
    data = made(data_of, *two)
    assert list(data.outcome.columns) == ["Alpha cells", "Never zero"]
    pd.testing.assert_frame_equal(data.outcome, two[1].loc[data.tumours.index, ["Alpha cells", "Never zero"]])
    assert data.outcome_label == "share of all immune cells"


def test_a_cohort_with_too_many_zeros_is_left_out_of_that_cell_type_and_named(two, data_of):
    tumours, abundance = two
    inside = abundance.index[tumours["cohort"] == "B"]
    abundance.loc[inside[:11], "Never zero"] = 0.0  # 11 of 43: 25.6 %
    data = made(data_of, tumours, abundance)
    assert data.outcome.loc[inside, "Never zero"].isna().all()
    assert data.outcome.loc[data.tumours["cohort"] == "A", "Never zero"].notna().all()
    assert (
        "Never zero: not continuous in B (26% zeros), so the analysis of covariance leaves it out there."
        in data.notices
    )
    assert data.why_not_continuous("Never zero", "B") == (
        "not continuous: the share of zeros is 26% in B, and the limit 25 %"
    )


def test_the_scale_is_applied_once_for_both_sides(two, data_of):
    tumours, abundance = two
    logged = made(data_of, tumours, abundance, outcome_scale="log1p")
    values = abundance.loc[logged.tumours.index, "Never zero"]
    np.testing.assert_allclose(logged.outcome["Never zero"], np.log(1 + values))
    assert logged.outcome_label == "log(1 + share of all immune cells)"
    ranked = made(data_of, tumours, abundance, outcome_scale="rank")
    for _, own in ranked.outcome.groupby(ranked.tumours["cohort"]):
        assert own["Never zero"].mean() == pytest.approx(0.5)
        assert sorted(own["Never zero"]) == pytest.approx(list((np.arange(len(own)) + 0.5) / len(own)))
        zeros = own["Alpha cells"][abundance.loc[own.index, "Alpha cells"] == 0]
        assert zeros.nunique() == 1  # ties share their mean rank
    assert ranked.outcome_label == "rank within the cohort (0 to 1)"
    assert len({logged.fingerprint, ranked.fingerprint, made(data_of, *two).fingerprint}) == 3


def test_the_sd_of_an_outcome_is_the_one_within_cohorts(two, data_of):
    tumours, abundance = two
    abundance.loc[tumours["cohort"] == "B", "Never zero"] += 10.0
    data = made(data_of, tumours, abundance)
    squares = sum(
        ((own - own.mean()) ** 2).sum()
        for _, own in data.outcome["Never zero"].groupby(data.tumours["cohort"])
    )
    assert data.outcome_sd["Never zero"] == pytest.approx(np.sqrt(squares / (len(tumours) - 2)))
    assert data.outcome_sd["Never zero"] < 1


def test_other_models_have_no_outcome(two, data_of):
    data = data_of(*two).for_model("abundance")
    assert data.outcome.shape[1] == 0


def test_no_continuous_cell_type_is_an_error(tumours_of, data_of):
    tumours, abundance = tumours_of(3, SIZES, {"Zeta cells": 0.5, "Beta cells": 0.3})
    tumours["her2_ihc"] = np.where(np.arange(len(tumours)) % 2, "0", "1+")
    with pytest.raises(
        DataError, match=r"no cell type is continuous .* the nearest is Beta cells with \d\d% zeros in"
    ):
        made(data_of, tumours, abundance)


def test_a_cohort_without_ihc_levels_is_refused_and_the_remedy_named(two, data_of):
    tumours, abundance = two
    tumours.loc[tumours["cohort"] == "B", "her2_ihc"] = pd.NA
    with pytest.raises(DataError) as error:
        made(data_of, tumours, abundance)
    assert error.value.faults == (
        "marginal_effect, B: the HER2 IHC level is not recorded in any of its 43 tumours. Map the field, or name the "
        'cohorts to use: [marginal_effect] cohorts = ["A"].',
    )
    data = made(data_of, tumours, abundance, cohorts={"marginal_effect": ("A",)})
    assert data.cohorts == ("A",)


def test_ihc_levels_recorded_nowhere_leave_the_model_out(two, data_of):
    tumours, abundance = two
    tumours["her2_ihc"] = pd.Series(pd.NA, index=tumours.index, dtype="str")
    with pytest.raises(DataError, match="no cohort has it: leave it or the model out"):
        made(data_of, tumours, abundance)


def test_a_further_covariate_that_a_cohort_lacks_is_refused(two, data_of):
    tumours, abundance = two
    tumours["tumour_size_cm"] = np.where(tumours["cohort"] == "A", 2.0, np.nan)
    with pytest.raises(
        DataError, match="marginal_effect, B: the covariate tumour_size_cm is not recorded in any of its 43"
    ):
        made(data_of, tumours, abundance, further_covariates=("tumour_size_cm",))


def test_one_level_alone_is_refused(two, data_of):
    tumours, abundance = two
    tumours["her2_ihc"] = "1+"
    with pytest.raises(
        DataError, match=r"HER2 IHC level is 1\+ in every tumour: an effect of the level needs at least two"
    ):
        made(data_of, tumours, abundance)


def test_a_level_that_never_occurs_has_its_notice(two, data_of):
    tumours, abundance = two
    tumours["her2_ihc"] = tumours["her2_ihc"].replace("2+", "0")
    data = made(data_of, tumours, abundance)
    assert data.ihc_levels == ("0", "1+")
    assert "No tumour with HER2 IHC 2+: the analysis of covariance uses the levels 0, 1+." in data.notices


def test_a_level_that_is_not_her2_negative_is_left_out_and_logged(two, data_of):
    tumours, abundance = two
    tumours.loc["A/003", "her2_ihc"] = "3+"
    data = made(data_of, tumours, abundance)
    assert data.exclusions == (
        Exclusion("A", "003", "analysis set: marginal_effect", "HER2 IHC level 3+ is not one of 0, 1+, 2+"),
    )


def test_a_tumour_without_a_level_is_left_out_and_logged(two, data_of):
    tumours, abundance = two
    tumours.loc["B/050", "her2_ihc"] = pd.NA
    data = made(data_of, tumours, abundance)
    assert data.exclusions == (
        Exclusion("B", "050", "analysis set: marginal_effect", "HER2 IHC level missing"),
    )


def test_an_empty_cell_has_its_notice(two, data_of):
    tumours, abundance = two
    negative = tumours["hr"] == "HR-"
    tumours.loc[negative, "her2_ihc"] = tumours.loc[negative, "her2_ihc"].replace("2+", "1+")
    data = made(data_of, tumours, abundance)
    assert empty_cells(data.tumours) == ["HR- with IHC 2+"]
    assert any(
        n.startswith("No tumours in HR- with IHC 2+: means with equal weights need") for n in data.notices
    )
    tumours.loc["B/085", "her2_ihc"] = "2+"
    notices = made(data_of, tumours, abundance).notices
    assert "A: no tumours in HR- with IHC 2+." in notices
    assert not any(n.startswith("No tumours in") for n in notices)


def test_a_level_that_a_cohort_lacks_has_its_notice(two, data_of):
    tumours, abundance = two
    in_b = tumours["cohort"] == "B"
    tumours["her2_ihc"] = tumours["her2_ihc"].mask(in_b & (tumours["her2_ihc"] == "2+"), "1+")
    assert (
        "B: no tumours with IHC 2+, so its rows with equal weights are borrowed and its own regression has none."
        in made(data_of, tumours, abundance).notices
    )


def test_notices_name_no_part_and_no_spread_that_the_model_does_not_have(tumours_of, data_of):
    """Zeros are needed for presence, which the analysis of covariance does not model; HR terms have no spread."""
    tumours, abundance = tumours_of(3, SIZES | {("A", "HR-"): 8, ("B", "HR-"): 8}, CELLS)
    tumours["her2_ihc"] = np.where(np.arange(len(tumours)) % 2, "0", "1+")
    notices = made(data_of, tumours, abundance).notices
    assert not any("(10 needed)" in n or "spread between cohorts on the prior" in n for n in notices)
    assert any(n.startswith("A, B have fewer than 10 tumours in one HR stratum") for n in notices)
    assert any(
        n.startswith("Never zero: HR+: 0 zeros")
        for n in data_of(tumours, abundance).for_model("abundance").notices
    )


def test_a_further_covariate_of_two_kinds_is_refused(two, data_of):
    tumours, abundance = two
    in_b = tumours["cohort"] == "B"
    tumours["grade"] = pd.Series(3.0, index=tumours.index, dtype=object).mask(in_b, "III")
    with pytest.raises(DataError, match="the covariate grade is a number in A and text in B; map the values"):
        made(data_of, tumours, abundance, further_covariates=("grade",))


def test_few_tumours_of_a_stratum_have_their_notice(tumours_of, data_of):
    tumours, abundance = tumours_of(3, SIZES | {("B", "HR-"): 8}, CELLS)
    tumours["her2_ihc"] = np.where(np.arange(len(tumours)) % 2, "0", "1+")
    data = made(data_of, tumours, abundance)
    assert any(
        n.startswith(
            "B has fewer than 10 tumours in one HR stratum: HR difference and interactions are common to the cohorts"
        )
        for n in data.notices
    )
