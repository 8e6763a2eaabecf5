"""Responses to treatment as read: counts as they stand, every fault at once, individuals equal to their counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from response_sets import ISPY2, PCR

from bayes_her2.data import DIFFERENCE, HER2_LOW, HER2_ZERO
from bayes_her2.errors import DataError
from bayes_her2.evidence.response import seed_study_response
from bayes_her2.evidence.table import shipped_evidence
from bayes_her2.inputs.response import PatientColumns, read_response_counts, read_response_patients

COLUMNS = PatientColumns(
    patient="id",
    responses={PCR: "pcr"},
    her2="level",
    her2_values={"low": HER2_LOW, "zero": HER2_ZERO, "positive": ""},
    hr="hr",
    hr_values={"1": "HR+", "0": "HR-"},
    arm="arm",
)


def written(folder: Path, text: str, name: str = "responses.csv") -> Path:
    path = folder / name
    path.write_text(text.strip() + "\n", encoding="utf-8")
    return path


def faults(path: Path, **settings: str) -> str:
    with pytest.raises(DataError) as caught:
        read_response_counts(path, **settings)
    return str(caught.value)


def test_the_seed_study_s_table_2_is_shipped_as_printed():
    data = seed_study_response()
    # Pizzamiglio 2025, Table 2, and the numbers of patients in its Results.
    printed = {
        ("midcourse complete response", HER2_LOW): (32, 9),
        ("midcourse complete response", HER2_ZERO): (39, 17),
        (PCR, HER2_LOW): (36, 23),
        (PCR, HER2_ZERO): (50, 36),
    }
    for (outcome, level), expected in printed.items():
        assert data.count(outcome, level) == expected
        assert data.count(outcome, level, hr="HR-") == expected
        assert data.count(outcome, level, hr="HR+") == (0, 0)
    assert data.not_evaluable.set_index("outcome")["n"].to_dict() == {
        "midcourse complete response": 40,
        PCR: 25,
    }
    assert set(data.not_evaluable["her2"]) == {"unknown"}
    assert data.citation == "doi 10.1038/s41523-025-00867-z"
    assert any("25 of 111 patients could not be evaluated" in notice for notice in data.notices)
    assert data.strata == ("HR-",)
    assert DIFFERENCE not in data.strata


def test_the_evidence_table_has_the_same_counts():
    table, data = shipped_evidence().frame, seed_study_response()
    for name, outcome in (
        ("pizzamiglio_pcr_counts", PCR),
        ("pizzamiglio_midcourse_counts", "midcourse complete response"),
    ):
        row = table.loc[name]
        assert (row["n_exposed"], row["events_exposed"]) == data.count(outcome, HER2_LOW)
        assert (row["n_reference"], row["events_reference"]) == data.count(outcome, HER2_ZERO)
        assert row["doi"] in data.citation


def test_the_order_of_rows_does_not_matter(tmp_path):
    header = "outcome,hr,her2,arm,n,events"
    lines = [
        "pCR,HR+,HER2-low,A,20,4", "pCR,HR+,HER2-0,A,22,5", "pCR,HR-,HER2-low,B,30,12", "pCR,HR-,HER2-0,B,31,15",
    ]  # fmt: skip
    one, other = (
        read_response_counts(written(tmp_path, "\n".join([header, *order]))) for order in (lines, lines[::-1])
    )
    assert one.fingerprint == other.fingerprint
    pd.testing.assert_frame_equal(one.rows, other.rows)
    assert one.arms == ("A", "B")
    moved = written(tmp_path, "\n".join([header, *lines]).replace("20,4", "20,5"))
    assert read_response_counts(moved).fingerprint != one.fingerprint


def test_individuals_are_the_same_data_as_their_counts(tmp_path):
    rng = np.random.default_rng(3)
    people = pd.DataFrame(
        {
            "id": [f"P{i:03d}" for i in range(120)],
            "pcr": rng.integers(0, 2, 120),
            "level": rng.choice(["low", "zero"], 120),
            "hr": rng.integers(0, 2, 120),
            "arm": rng.choice(["A", "B"], 120),
        }
    )
    path = tmp_path / "people.csv"
    people.to_csv(path, index=False)
    individual = read_response_patients(path, COLUMNS, name="people")
    named = people.assign(
        outcome=PCR, her2=people["level"].map(COLUMNS.her2_values), hr=people["hr"].map({1: "HR+", 0: "HR-"})
    )
    counts = named.groupby(["outcome", "hr", "her2", "arm"])["pcr"].agg(n="size", events="sum").reset_index()
    counts.to_csv(tmp_path / "counts.csv", index=False)
    assert read_response_counts(tmp_path / "counts.csv").fingerprint == individual.fingerprint
    assert individual.rows["n"].sum() == 120
    people.sample(frac=1, random_state=1).to_csv(path, index=False)
    assert read_response_patients(path, COLUMNS, name="people").fingerprint == individual.fingerprint


def test_patients_who_are_left_out_are_counted_with_the_reason(tmp_path):
    rows = [f"P{i},{i % 2},{'low' if i < 20 else 'zero'},1,A,{50 + i}" for i in range(40)]
    rows += [
        "Q1,1,positive,1,A,50",
        "Q2,1,,1,A,50",
        "Q3,1,low,,A,50",
        "Q4,,low,0,A,50",
        "Q5,1,low,1,A,",
        "Q6,1,low,1,,50",
    ]
    path = written(tmp_path, "id,pcr,level,hr,arm,age\n" + "\n".join(rows))
    data = read_response_patients(path, replace(COLUMNS, covariates={"age": "age"}), name="people")
    reasons = {e.tumour: e.reason for e in data.exclusions}
    assert reasons == {
        "Q1": "HER2 level not compared",
        "Q2": "HER2 level not recorded",
        "Q3": "hormone receptor status not recorded",
        "Q5": "age not recorded",
        "Q6": "arm not recorded",
    }
    assert data.not_evaluable[["her2", "n"]].to_numpy().tolist() == [[HER2_LOW, 1]]
    assert data.adjustment == "age"
    # Scaled over the 41 patients who stay: mean 0 and SD 1 of all, evaluated or not.
    assert data.covariate_scaling.loc["age", "mean"] == pytest.approx((sum(range(50, 90)) + 50) / 41)
    assert len(data.rows) == 40


def test_zero_cells_are_taken_as_they_are_with_a_notice(tmp_path):
    text = "outcome,hr,her2,n,events\npCR,all,HER2-low,15,0\npCR,all,HER2-0,18,18"
    data = read_response_counts(written(tmp_path, text))
    assert data.count("pCR", HER2_LOW) == (15, 0)
    assert any("no patient of 15 with HER2-low responded" in n for n in data.notices)
    assert any("every patient of 18 with HER2-0 responded" in n for n in data.notices)


BAD = {
    "pCR,HR+,HER2-low,20,140 %": "row 1, events: is a percentage; give the count of patients",
    "pCR,HR+,HER2-low,20,44": "row 1, events: 44 responders among 20 patients; is it a percentage?",
    "pCR,HR+,HER2-low,20,4.5": "row 1, events: 4.5 is not a count",
    "pCR,HR+,HER2-low,-20,4": "row 1, n: -20 is not a count",
    "pCR,HR+,HER2-low,many,4": "row 1, n: 'many' is not a number",
    "pCR,HR+,HER2-low,,4": "row 1, n: is empty",
    "pCR,HR+,HER2-medium,20,4": "row 1, her2: unknown HER2 level 'HER2-medium'; write HER2-low or HER2-0",
    "pCR,ER+,HER2-low,20,4": "row 1, hr: 'ER+' is not one of HR+, HR-, all",
    ",HR+,HER2-low,20,4": "row 1, outcome: is empty",
    "pCR,HR+,unknown,20,4": "row 1, her2: 20 patients evaluated without a HER2 level",
    "pCR,HR+,HER2-0,20,4": "the same group as responses.csv, row 1; add the two up",
    "pCR,all,HER2-low,20,4": "pCR: rows of 'all' patients beside HR+; patients would count twice",
}


@pytest.mark.parametrize("line", BAD)
def test_a_fault_says_what_is_wrong_where_and_what_to_do(line, tmp_path):
    text = f"outcome,hr,her2,n,events\n{line}\npCR,HR+,HER2-0,30,10"
    assert BAD[line] in faults(written(tmp_path, text))


def test_all_faults_are_reported_at_once(tmp_path):
    own = [line for line, message in BAD.items() if message.startswith("row 1")]
    message = faults(written(tmp_path, "outcome,hr,her2,n,events\n" + "\n".join(own)))
    for number, line in enumerate(own, start=1):
        assert BAD[line].replace("row 1", f"row {number}") in message


def test_one_level_only_and_too_few_patients_are_refused(tmp_path):
    one = "outcome,hr,her2,n,events\npCR,HR+,HER2-low,30,10"
    assert "pCR: no patient is HER2-0, so HER2-low has nothing to be compared with" in faults(
        written(tmp_path, one)
    )
    few = f"{one}\npCR,HR+,HER2-0,9,3"
    assert "pCR: 9 patients with HER2-0, fewer than 10" in faults(written(tmp_path, few))
    none = "outcome,hr,her2,n,events\npCR,HR+,HER2-low,0,0\npCR,HR+,HER2-0,0,0"
    assert "no patient was evaluated" in faults(written(tmp_path, none))


def test_wrong_columns_are_named_with_a_suggestion(tmp_path):
    message = faults(written(tmp_path, "outcome,hr,her2,n,event\npCR,HR+,HER2-low,30,10"))
    assert "a table of responses has no place for a column 'event'; did you mean 'events'?" in message
    assert "needed and absent: 'events'" in message


def test_a_control_arm_needs_exactly_two_arms(tmp_path):
    header, rows = "outcome,hr,her2,arm,n,events", []
    for arm in "ABC":
        rows += [f"pCR,all,{level},{arm},20,5" for level in (HER2_LOW, HER2_ZERO)]
    path = written(tmp_path, "\n".join([header, *rows]))
    message = faults(path, control="A")
    assert "needs two arms, that one and another; there are A, B, C" in message
    two = written(tmp_path, "\n".join([header, *rows[:4]]))
    assert "there are A, B" in faults(two, control="Z")
    assert read_response_counts(two, control="B").arms == ("B", "A")
    assert read_response_counts(two, control="B").treated == "A"


def test_faults_in_a_table_of_patients(tmp_path):
    rows = [f"P{i},{i % 2},{'low' if i < 20 else 'zero'},1,A,{50 + i}" for i in range(40)]
    head = "id,pcr,level,hr,arm,age\n"
    with_age = replace(COLUMNS, covariates={"age": "age"})

    def message(text: str, columns: PatientColumns = COLUMNS, **settings: object) -> str:
        with pytest.raises(DataError) as caught:
            read_response_patients(written(tmp_path, head + text), columns, name="people", **settings)
        return str(caught.value)

    good = "\n".join(rows)
    assert "id: 1 patient occurs more than once: P3" in message(f"{good}\n{rows[3]}")
    assert (
        "level: 1 value is not understood: 'ultra' (1). The study gives a meaning to low, zero, positive"
        in message(f"{good}\nX,1,ultra,1,A,50")
    )
    wrong = replace(COLUMNS, her2_values={"low": "HER2low", "zero": HER2_ZERO}, hr_values={"1": "positive"})
    assert message(good, wrong) == (
        "2 faults:\n"
        "  1. her2_values: 'HER2low' is not one of 'HER2-low', 'HER2-0', ''\n"
        "  2. hr_values: 'positive' is not one of 'HR+', 'HR-', ''"
    )
    assert "hr: 1 value is not understood: 'ER+' (1)" in message(f"{good}\nX,1,low,ER+,A,50")
    assert "pcr: pathological complete response: 'yes' (1); write 1, 0 or nothing" in message(
        f"{good}\nX,yes,low,1,A,50"
    )
    assert "age: 1 cell is not a number: 'old' (1) (in X)" in message(f"{good}\nX,1,low,1,A,old", with_age)
    same = "\n".join(row.rsplit(",", 1)[0] + ",50" for row in rows)
    assert "covariate 'age' has one value in all patients; leave it out" in message(same, with_age)
    assert "arm: no patient in B; arms: A" in message(good, arms=["A", "B"])
    assert "arm: no patient in B; arms: A" in message(good, arms=["B"])
    assert "id: 2 rows have no id; give every patient one" in message(f"{good}\n,1,low,1,A,50\n,0,low,1,A,50")
    assert "no patient was evaluated" in message("P1,1,positive,1,A,50")
    assert "no column 'HER2', which [response.patients] names" in message(good, replace(COLUMNS, her2="HER2"))


@pytest.mark.real_data
def test_ispy2_has_53_pembrolizumab_patients_with_a_level(real_data):
    path = real_data / "ispy2" / "ispy2_clinical_instaprism.csv"
    data = read_response_patients(path, ISPY2, name="I-SPY2", arms=["Ctr", "Pembro"], control="Ctr")
    sizes = {
        arm: sum(data.count(PCR, level, arm=arm)[0] for level in (HER2_LOW, HER2_ZERO)) for arm in data.arms
    }
    assert sizes == {"Ctr": 143, "Pembro": 53}
    reasons = pd.Series([e.reason for e in data.exclusions]).value_counts()
    # 987 patients: 708 in other arms; of the 279, 53 + 143 have a level, the others are without one or HER2-positive.
    assert reasons["another arm"] == 708
    assert reasons.sum() == 987 - 196
