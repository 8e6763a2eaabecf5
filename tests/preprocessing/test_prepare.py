"""From cohort tables to eligible tumours: order and reasons of exclusions, the scale, what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayes_her2.data import Exclusion
from bayes_her2.errors import DataError
from bayes_her2.preprocessing import prepare

RULES = """
[[exclude]]
field = "sex"
keep = ["female"]
reason = "not recorded as female"
[[exclude]]
field = "stage"
drop = ["IV"]
reason = "stage IV"
"""


def tumours(**columns: list[object]) -> pd.DataFrame:
    """Eligible unless a column says otherwise."""
    n = len(next(iter(columns.values())))
    defaults = {"er": ["positive"] * n, "pgr": ["negative"] * n, "her2_ihc": ["0"] * n, "her2": [5.0] * n}
    frame = pd.DataFrame(defaults | columns, index=pd.Index([f"T{i}" for i in range(n)], name="tumour"))
    return frame.astype({c: "str" for c in frame.columns if frame[c].dtype == object})


def reasons(data) -> dict[str, str]:
    return {e.tumour: e.reason for e in data.exclusions}


def test_a_tumour_gets_the_first_reason_that_applies(study_of, table_of):
    cohort = table_of(
        "A",
        tumours(
            sex=["male", "male", "female", "female", "female", "female"],
            stage=["IV", "I", "IV", "I", "II", "II"],
            her2_ihc=["3+", "3+", "3+", "3+", None, "1+"],
        ),
    )
    data = prepare([cohort], study_of(RULES))
    assert reasons(data) == {
        "T0": "not recorded as female",
        "T1": "not recorded as female",
        "T2": "stage IV",
        "T3": "HER2-positive",
        "T4": "HER2 status unknown (no usable IHC level, ISH or call)",
    }
    assert {(e.cohort, e.step) for e in data.exclusions} == {("A", "eligibility")}
    assert list(data.tumours.index) == ["A/T5"]
    assert list(data.abundance.index) == ["A/T5"]


def test_rules_apply_in_the_order_of_the_study(study_of, table_of):
    swapped = RULES.split("[[exclude]]")
    study = study_of("[[exclude]]" + swapped[2] + "[[exclude]]" + swapped[1])
    cohort = table_of("A", tumours(sex=["male", "female"], stage=["IV", "I"]))
    assert reasons(prepare([cohort], study)) == {"T0": "stage IV"}


def test_keep_excludes_what_is_missing_and_drop_keeps_it(study_of, table_of):
    cohort = table_of("A", tumours(sex=["female", None, "female"], stage=["I", "I", None]))
    data = prepare([cohort], study_of(RULES))
    assert reasons(data) == {"T1": "not recorded as female"}
    assert list(data.tumours.index) == ["A/T0", "A/T2"]


def test_a_rule_on_numbers_compares_numbers(study_of, table_of):
    # Numbers of a column are 3.0, never the text '3.0' or '3'.
    cohort = table_of("A", tumours(grade=[1.0, 2.0, 3.0, np.nan]))
    rule = '[[exclude]]\nfield = "grade"\n{}\nreason = "grade"'
    dropped = prepare([cohort], study_of(rule.format("drop = [3]")))
    assert reasons(dropped) == {"T2": "grade"}
    kept = prepare([cohort], study_of(rule.format("keep = [1, 2.0]")))
    assert reasons(kept) == {"T2": "grade", "T3": "grade"}


def test_a_rule_for_a_field_that_one_cohort_lacks_is_a_notice(study_of, table_of):
    one = table_of("A", tumours(sex=["male", "female"], stage=["I", "I"]))
    other = table_of("B", tumours(stage=["IV", "I"]))
    data = prepare([one, other], study_of(RULES))
    assert list(data.tumours.index) == ["A/T1", "B/T1"]
    assert data.notices == (
        "B: has no field sex, so the exclusion 'not recorded as female' is not applied to it.",
    )


def test_exclusions_and_notices_of_reading_stay_and_carry_their_cohort(study_of, table_of):
    lost = Exclusion("A", "T9", "join", "no row in the clinical table")
    cohort = table_of("A", tumours(her2_ihc=["0"]), exclusions=(lost,), notices=("one row dropped",))
    data = prepare([cohort], study_of())
    assert data.exclusions == (lost,)
    assert data.notices == ("A: one row dropped",)


def test_hr_and_measure_may_be_missing_at_this_stage(study_of, table_of):
    frame = tumours(her2_ihc=["0", "1+"], er=["negative", "positive"], pgr=[None, None], her2=[np.nan, 2.5])
    data = prepare([table_of("A", frame)], study_of())
    assert data.exclusions == ()
    assert pd.isna(data.tumours.loc["A/T0", "hr"])
    assert data.tumours.loc["A/T1", ["hr", "her2", "her2_class"]].to_list() == ["HR+", 2.5, "low"]


MULTIPLIER = '[abundance]\nscale = "relative"\nmultiplier = "leukocyte_fraction"'


def test_the_multiplier_turns_shares_into_absolute_abundances(study_of, table_of):
    frame = tumours(leukocyte_fraction=[0.5, np.nan, 0.0, 0.1])
    shares = pd.DataFrame({"x": [0.25, 0.5, 0.5, 0.0], "y": [0.75, 0.5, 0.5, 1.0]}, index=frame.index)
    data = prepare([table_of("A", frame, shares)], study_of(MULTIPLIER))
    expected = pd.DataFrame({"x": [0.125, 0.0], "y": [0.375, 0.1]}, index=["A/T0", "A/T3"])
    pd.testing.assert_frame_equal(data.abundance, expected, check_names=False)
    assert data.scale == "absolute"
    assert data.scale_label == "share of immune cells times leukocyte_fraction"
    assert reasons(data) == {
        "T1": "multiplier leukocyte_fraction missing",
        "T2": "multiplier leukocyte_fraction is exactly 0",
    }
    assert list(data.tumours.index) == ["A/T0", "A/T3"]


def test_a_negative_multiplier_is_an_error_that_names_the_tumours(study_of, table_of):
    cohort = table_of("A", tumours(leukocyte_fraction=[0.5, -0.1]))
    with pytest.raises(DataError, match=r"leukocyte_fraction is negative in 1 tumours \(T1\)"):
        prepare([cohort], study_of(MULTIPLIER))


def test_a_cohort_that_the_multiplier_leaves_empty_is_an_error(study_of, table_of):
    full = table_of("A", tumours(leukocyte_fraction=[0.5, 0.2]))
    empty = table_of("B", tumours(leukocyte_fraction=[np.nan, 0.0]))
    with pytest.raises(DataError, match=r"B: no tumour is left of 2.*multiplier leukocyte_fraction"):
        prepare([full, empty], study_of(MULTIPLIER))


def test_a_cohort_that_the_rules_leave_empty_is_an_error_with_its_reasons(study_of, table_of):
    cohort = table_of("A", tumours(sex=["male", "female"], stage=["I", "IV"]))
    with pytest.raises(
        DataError, match=r"A: no tumour is left of 2. Reasons: not recorded as female, stage IV"
    ):
        prepare([cohort], study_of(RULES))


def test_scales_are_never_mixed(study_of, table_of):
    one = table_of("A", tumours(her2_ihc=["0"]))
    other = table_of("B", tumours(her2_ihc=["0"]), scale="absolute")
    with pytest.raises(DataError, match="B: abundances are on the absolute scale, the study says relative"):
        prepare([one, other], study_of())


def test_a_covariate_absent_from_a_whole_cohort_is_an_error_and_not_a_lost_cohort(study_of, table_of):
    cohorts = [
        table_of("A", tumours(age=[50.0, 60.0], grade=["I", "II"])),
        table_of("B", tumours(age=[50.0, 60.0])),  # no column
        table_of("C", tumours(age=[np.nan, np.nan], grade=["I", None])),  # a column without any value
    ]
    with pytest.raises(DataError) as caught:
        prepare(cohorts, study_of('[model]\ncovariates = ["age", "grade"]'))
    assert [fault.split(".")[0] for fault in caught.value.faults] == [
        "B: no value of the covariate grade in the whole cohort",
        "C: no value of the covariate age in the whole cohort",
    ]


def test_cell_types_must_be_the_same_everywhere_and_are_matched_by_name(study_of, table_of):
    frame = tumours(her2_ihc=["0"])
    one = pd.DataFrame({"x": [0.4], "y": [0.6]}, index=frame.index)
    data = prepare([table_of("A", frame, one), table_of("B", frame, one[["y", "x"]] / 2)], study_of())
    assert data.abundance["x"].to_dict() == {"A/T0": 0.4, "B/T0": 0.2}
    with pytest.raises(DataError, match="B: cell types missing that other cohorts have: y"):
        prepare([table_of("A", frame, one), table_of("B", frame, one[["x"]])], study_of())


def test_the_study_decides_what_the_models_adjust_for(study_of, table_of):
    frame = tumours(age=[50.0, 60.0], centre=["1", "2"], batch=["x", None])
    study = study_of('[model]\ncovariates = ["age"]\ncentre = true\nbatch = true')
    data = prepare([table_of("A", frame)], study)
    assert (data.covariates, data.use_centre, data.use_batch) == (("age",), True, True)
    assert data.tumours["age"].to_dict() == {"A/T0": 50.0, "A/T1": 60.0}
    assert data.measure == "ERBB2 mRNA"


def test_the_callers_tables_are_left_as_they_were(study_of, table_of):
    cohort = table_of(
        "A", tumours(sex=["male", "female", "female"], stage=["I"] * 3, leukocyte_fraction=[0.2, 0.0, 0.4])
    )
    before = cohort.tumours.copy(deep=True), cohort.abundance.copy(deep=True)
    data = prepare([cohort], study_of(MULTIPLIER + RULES))
    data.tumours.loc[:, "her2"] = -1.0
    data.abundance.loc[:, :] = -1.0
    pd.testing.assert_frame_equal(cohort.tumours, before[0])
    pd.testing.assert_frame_equal(cohort.abundance, before[1])
