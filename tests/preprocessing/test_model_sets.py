"""Analysis sets of the single models: whom each takes, and what it refuses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayes_her2.data import ClinicalOutcome, Exclusion, Measure, ModelChoices
from bayes_her2.errors import DataError

SIZES = {("A", "HR+"): 22, ("A", "HR-"): 21, ("B", "HR+"): 23, ("B", "HR-"): 20}
CELLS = {"Zeta cells": 0.5, "Never zero": 0.0}


@pytest.fixture
def two(tumours_of):
    """Two cohorts with both strata, an oestrogen receptor gene and an age."""
    tumours, abundance = tumours_of(3, SIZES, CELLS)
    rng = np.random.default_rng(4)
    tumours["ESR1"] = rng.normal(10.0, 2.0, size=len(tumours))
    tumours["age"] = rng.integers(30, 80, size=len(tumours)).astype(float)
    tumours["grade"] = rng.integers(1, 4, size=len(tumours)).astype(float)
    return tumours, abundance


def test_cohorts_that_a_model_does_not_take_are_logged_tumour_by_tumour(two, data_of):
    choices = ModelChoices(cohorts={"high_abundance": ("A",)})
    data = data_of(*two, settings=choices).for_model("high_abundance")
    assert data.cohorts == ("A",)
    assert len(data.exclusions) == 43
    step = "analysis set: high_abundance"
    assert set(e.reason for e in data.exclusions) == {"cohort not among those of [high_abundance]"}
    assert all(e.cohort == "B" and e.step == step for e in data.exclusions)
    assert data_of(*two, settings=choices).for_model("abundance").cohorts == ("A", "B")


def test_measures_are_compared_on_the_same_tumours(two, data_of):
    tumours, abundance = two
    tumours.loc["A/003", "ESR1"] = np.nan
    choices = ModelChoices(measures=(Measure("ESR1", "ESR1 mRNA"),))
    data = data_of(tumours, abundance, settings=choices).for_model("rank_correlation")
    assert list(data.measures.columns) == ["ERBB2 mRNA", "ESR1 mRNA"]
    assert data.measures.notna().all(axis=None)
    assert data.measures["ERBB2 mRNA"].equals(data.tumours["her2"].rename("ERBB2 mRNA"))
    lost = Exclusion("A", "003", "analysis set: rank_correlation", "measure ESR1 mRNA missing")
    assert data.exclusions == (lost,)


def test_a_measure_absent_from_one_cohort_is_refused_with_the_remedy(two, data_of):
    tumours, abundance = two
    tumours.loc[tumours["cohort"] == "B", "ESR1"] = np.nan
    choices = ModelChoices(measures=(Measure("ESR1", "ESR1 mRNA"),))
    with pytest.raises(DataError) as error:
        data_of(tumours, abundance, settings=choices).for_model("rank_correlation")
    assert str(error.value) == (
        "rank_correlation, B: the measure ESR1 mRNA is not recorded in any of its 43 tumours. Map the field, or "
        'name the cohorts to use: [rank_correlation] cohorts = ["A"].'
    )
    alone = ModelChoices(cohorts={"rank_correlation": ("A",)}, measures=choices.measures)
    assert data_of(tumours, abundance, settings=alone).for_model("rank_correlation").cohorts == ("A",)


def test_rank_correlation_does_not_lose_tumours_for_a_covariate_it_does_not_use(two, data_of):
    tumours, abundance = two
    tumours.loc["A/000", "age"] = np.nan
    data = data_of(tumours, abundance, ["age"]).for_model("rank_correlation")
    assert (data.adjustment, len(data.exclusions)) == ("none", 0)
    assert data.covariates.shape[1] == 0


def test_clinical_outcomes_are_cut_where_the_rule_says_and_gaps_stay_gaps(two, data_of):
    tumours, abundance = two
    tumours.loc["A/000", "age"] = np.nan
    tumours.loc[["A/001", "A/002"], "age"] = [50.0, 51.0]
    choices = ModelChoices(
        clinical=(
            ClinicalOutcome("age > 50 years", "age", above=50.0),
            ClinicalOutcome("grade III", "grade", values=("3",)),
        )
    )
    data = data_of(tumours, abundance, settings=choices).for_model("clinical")
    age = data.clinical["age > 50 years"]
    assert pd.isna(age["A/000"])
    assert (age["A/001"], age["A/002"]) == (0.0, 1.0)
    assert (data.clinical["grade III"] == (tumours["grade"] == 3)).all()


def test_a_cohort_without_a_clinical_variable_is_left_out_of_it_with_a_notice(two, data_of):
    tumours, abundance = two
    tumours.loc[tumours["cohort"] == "B", "grade"] = np.nan
    choices = ModelChoices(clinical=(ClinicalOutcome("grade III", "grade", values=("3",)),))
    data = data_of(tumours, abundance, settings=choices).for_model("clinical")
    assert "B: grade is not recorded, so 'grade III' leaves it out." in data.notices
    assert data.clinical["grade III"].groupby(data.tumours["cohort"]).count().to_dict() == {"A": 43, "B": 0}


def test_a_rule_of_words_on_a_column_of_numbers_is_refused(two, data_of):
    choices = ModelChoices(clinical=(ClinicalOutcome("grade III", "grade", values=("III",)),))
    with pytest.raises(DataError, match=r"no tumour has grade III; recorded are 1, 2, 3"):
        data_of(*two, settings=choices).for_model("clinical")


def test_a_grade_that_cohorts_write_differently_is_compared_label_by_label(two, data_of):
    """Numbers in one cohort and text in the other: 3.0 is '3', and both are grade III."""
    tumours, abundance = two
    in_b = tumours["cohort"] == "B"
    roman = tumours["grade"].map({1.0: "I", 2.0: "II", 3.0: "III"})
    expected = (tumours["grade"] == 3).astype(float)
    tumours["grade"] = tumours["grade"].astype(object).mask(in_b, roman)
    choices = ModelChoices(clinical=(ClinicalOutcome("grade III", "grade", values=("3", "III")),))
    data = data_of(tumours, abundance, settings=choices).for_model("clinical")
    assert (data.clinical["grade III"] == expected).all()
    assert not any("is the same in all tumours" in n for n in data.notices)
    words = ModelChoices(clinical=(ClinicalOutcome("grade III", "grade", values=("III",)),))
    with pytest.raises(
        DataError, match=r"grade holds numbers \(1, 2, 3\) in A, the rule names III\. Write in"
    ):
        data_of(tumours, abundance, settings=words).for_model("clinical")


def test_text_beside_a_cut_off_is_named(two, data_of):
    tumours, abundance = two
    tumours["age"] = tumours["age"].astype(object)
    tumours.loc[["B/050", "B/051"], "age"] = "old"
    choices = ModelChoices(clinical=(ClinicalOutcome("age > 50 years", "age", above=50.0),))
    with pytest.raises(DataError, match=r"age > 50 needs numbers, and 2 tumours of B have old\. Map these"):
        data_of(tumours, abundance, settings=choices).for_model("clinical")


def test_rank_correlations_do_not_ask_for_zeros(two, data_of):
    notices = data_of(*two).for_model("rank_correlation").notices
    assert not any("zeros" in n for n in notices)
    assert not any("shown beside its prior" in n for n in notices)


def test_clinical_without_outcomes_says_how_to_define_one(two, data_of):
    with pytest.raises(DataError, match=r"no clinical outcome is defined\. Give \[clinical\] outcomes"):
        data_of(*two).for_model("clinical")


def test_clinical_does_not_need_the_her2_measure(two, data_of):
    tumours, abundance = two
    tumours["her2"] = np.nan
    choices = ModelChoices(clinical=(ClinicalOutcome("age > 50 years", "age", above=50.0),))
    assert len(data_of(tumours, abundance, settings=choices).for_model("clinical").tumours) == 86


def test_the_fingerprint_covers_what_a_model_sees_of_its_own(two, data_of):
    plain = data_of(*two).for_model("rank_correlation").fingerprint
    choices = ModelChoices(measures=(Measure("ESR1", "ESR1 mRNA"),))
    assert data_of(*two, settings=choices).for_model("rank_correlation").fingerprint != plain
    tumours, abundance = two
    tumours["her2_ihc"] = pd.Series(["0", "1+"] * 43, index=tumours.index, dtype="str")
    scales = [
        data_of(tumours, abundance, settings=ModelChoices(outcome_scale=scale)).for_model("marginal_effect")
        for scale in ("raw", "log1p")
    ]
    assert scales[0].fingerprint != scales[1].fingerprint
