"""A study of responses alone: patients of the user's, no cohort, from its file to its page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from pages import code_left_in, numbered_in_order
from response_sets import ISPY2

from bayes_her2.bayesian.model import load_model
from bayes_her2.cli import exit_code
from bayes_her2.errors import DataError, StudyError
from bayes_her2.evidence.response import seed_study_response
from bayes_her2.evidence.table import shipped_evidence
from bayes_her2.inputs import read_response_patients, read_study
from bayes_her2.workflow import check_study
from bayes_her2.workflow.response import borrowing_tables

STUDIES = Path(__file__).parents[2] / "studies"
COUNTS = """outcome,hr,her2,n,events
pathological complete response,HR+,HER2-low,80,8
pathological complete response,HR+,HER2-0,40,6
pathological complete response,HR-,HER2-low,30,14
pathological complete response,HR-,HER2-0,45,25
"""
STUDY = """[study]
name = "Two wards"
seed = 5

[response]
file = "counts.csv"
name = "Two wards, 2019 to 2024"
citation = "made up for a test"
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "counts.csv").write_text(COUNTS)
    path = tmp_path / "wards.toml"
    path.write_text(STUDY)
    return path


def test_another_report_of_the_same_patients_is_not_borrowed_from():
    data, table = seed_study_response(), shipped_evidence()
    own = table.frame[
        table.frame["doi"].eq("10.1038/s41523-025-00867-z")
        & table.frame["outcome"].eq("pathological complete response")
    ]
    later = own.assign(
        study="Later report",
        doi="10.1000/later",
        year=2026,
        n_exposed=100,
        events_exposed=60,
        n_reference=120,
        events_reference=90,
    )
    later.index = pd.Index([f"{label}_later" for label in later.index], name=table.frame.index.name)
    later["row_id"] = later.index
    more = replace(table, frame=pd.concat([table.frame, later]))
    priors = load_model("treatment_response").priors_for(data)
    one, two = (borrowing_tables(data, t, priors, interval=0.95) for t in (table, more))
    name = "treatment_response_borrowing"
    pd.testing.assert_frame_equal(one[name], two[name])
    said = two["treatment_response_borrowing_notices"]["text"]
    assert not said.str.contains("Later report").any()


def faults_of(path: Path, text: str) -> str:
    path.write_text(text)
    with pytest.raises(StudyError) as caught:
        read_study(path)
    return str(caught.value)


def test_a_study_of_responses_needs_no_cohort(study):
    checked = check_study(study)
    assert checked.prepared is None
    assert checked.sets == {}
    assert checked.response.n_patients == 195
    assert checked.response.citation == "made up for a test"
    assert "counts.csv" in {Path(f.path).name for f in checked.files}


def test_what_such_a_study_cannot_have_is_refused(study):
    assert "no cohort is given" in faults_of(study, STUDY.split("[response]", maxsplit=1)[0])
    assert "[her2] is about tumours, but the study has no [[cohort]]" in faults_of(
        study, STUDY + '[her2]\nmeasure = "x"\n'
    )
    assert "one study has one set of responses" in faults_of(study, STUDY + "[published]\nresponse = true\n")
    assert "wards.toml, line 6, response.file: file not found" in faults_of(
        study, STUDY.replace("counts.csv", "count.csv")
    )
    assert "`arms` chooses among single patients" in faults_of(study, STUDY + 'arms = ["A"]\n')
    (study.parent / "counts.csv").write_text("id,pCR,HER2\n1,1,low\n")
    study.write_text(STUDY)
    with pytest.raises(DataError, match=r"one row for each patient needs \[response.patients\]"):
        check_study(study)
    (study.parent / "counts.csv").write_text(COUNTS)
    study.write_text(STUDY.replace("citation", 'control = "C"\ncitation'))
    with pytest.raises(DataError, match="the control arm 'C' needs two arms"):
        check_study(study)
    study.write_text(STUDY)
    with pytest.raises(DataError, match=r"abundance: the study has no \[\[cohort\]\] to fit it to"):
        check_study(study, only=("abundance",))


def test_words_of_patients_need_a_meaning(study):
    patients = '\n[response.patients]\npatient = "id"\noutcomes = { pcr = "pCR" }\n'
    told = faults_of(study, STUDY + patients + 'her2 = "HER2"\n')
    assert "`her2` has no `values`; say what its words mean" in told
    told = faults_of(study, STUDY + patients + 'her2 = { column = "HER2", values = { "1" = "low" } }\n')
    assert "`her2`: low is not one of HER2-low, HER2-0" in told
    levels = 'her2 = { column = "HER2", values = { "1" = "HER2-low", "0" = "HER2-0" } }\n'
    with_control = STUDY.replace("citation", 'control = "A"\ncitation')
    told = faults_of(study, with_control + patients + levels)
    assert "`arms` or `control` is given, but [response.patients] has no `arm` column" in told


def test_patients_and_their_counts_are_the_same_data(study):
    # Words without regard to case, 1.0 as 1, and HER2-positive patients left out and logged.
    rows = []
    for _, hr, her2, n, events in pd.read_csv(study.parent / "counts.csv").itertuples(index=False):
        level = "LOW" if her2 == "HER2-low" else "0.0"
        rows += [(f"{hr}{level}{i}", int(i < events), hr[-1], level) for i in range(n)]
    rows += [("x", 1, "+", "3+"), ("y", 1, "?", "low")]
    frame = pd.DataFrame(rows, columns=["id", "pCR", "HR", "HER2"])
    frame.to_csv(study.parent / "people.csv", index=False)
    with_patients = STUDY.replace("counts.csv", "people.csv") + (
        '[response.patients]\npatient = "id"\noutcomes = { "pathological complete response" = "pCR" }\n'
        'her2 = { column = "HER2", values = { low = "HER2-low", "0" = "HER2-0" }, missing = ["3+"] }\n'
        'hr = { column = "HR", values = { "+" = "HR+", "-" = "HR-" }, missing = ["?"] }\n'
    )
    counted = check_study(study)
    study.write_text(with_patients)
    checked = check_study(study)
    assert checked.response.fingerprint == counted.response.fingerprint
    left_out = checked.exclusion_counts.set_index("reason")["n"].to_dict()
    assert left_out == {"HER2 level not compared": 1, "hormone receptor status not recorded": 1}
    assert checked.study.input_hash != counted.study.input_hash


@pytest.mark.sampling
def test_from_file_to_page(study, tmp_path, capsys):
    out = tmp_path / "out"
    assert exit_code(["check", str(study)]) == 0
    assert "195 patients" in capsys.readouterr().out
    assert exit_code(["run", str(study), "--out", str(out), "--quiet"]) == 0
    record = json.loads((out / "provenance.json").read_text())
    assert record["status"] == "complete"
    assert list(record["models"]) == ["treatment_response"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert code_left_in(page) == []
    for text in (
        "Two wards, 2019 to 2024",
        "Source: made up for a test",
        "Patients of the study",
        "195 patients",
        "plain predictive prior",
    ):
        assert text.casefold() in page.casefold()
    for text in ("cell types", "Zero shares", "SIMULATED"):
        assert text not in page
    assert numbered_in_order(page, "Table") > 5
    assert numbered_in_order(page, "Figure") == 2  # the answers, and the graph of the model
    borrowed = pd.read_csv(out / "tables" / "treatment_response_borrowing.csv")
    assert borrowed.groupby("stratum").size().to_dict() == {"HR+": 4, "HR-": 4}
    notices = " ".join(pd.read_csv(out / "tables" / "treatment_response_borrowing_notices.csv")["text"])
    assert "HR+: earlier studies: " in notices
    assert "HR-: earlier studies: " in notices


@pytest.mark.sampling
def test_random_arms_have_rows_that_can_be_told_apart_and_nothing_is_borrowed(study, tmp_path):
    rows = pd.read_csv(study.parent / "counts.csv")
    two = pd.concat([rows.assign(arm="A"), rows.assign(arm="B", n=rows["n"] + 5)])
    two[two["hr"] == "HR+"].to_csv(study.parent / "counts.csv", index=False)
    out = tmp_path / "arms"
    assert exit_code(["run", str(study), "--out", str(out), "--quiet"]) == 0
    record = json.loads((out / "provenance.json").read_text())
    assert (
        record["models"]["treatment_response"]["sampler"]["retried"] is False
    )  # two arms may not differ at all
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "odds ratio, HER2-low over HER2-0, a new arm or centre" in page
    assert "over random arms the REML meta-analysis of their odds ratios" in page
    assert "Nothing is borrowed: earlier studies tell no arms apart" in page
    assert code_left_in(page) == []
    assert numbered_in_order(page, "Table") > 3
    assert not (out / "figures" / "response_curves.svg").exists()


@pytest.mark.real_data
def test_the_study_file_of_ispy2_reads_its_53_and_143_patients(real_data):
    response = check_study(STUDIES / "ispy2.toml").response
    sizes = response.counts.groupby("arm")["n"].sum().to_dict()
    assert sizes == {"Ctr": 143, "Pembro": 53}
    assert response.treated == "Pembro"
    path = real_data / "ispy2" / "ispy2_clinical_instaprism.csv"
    read = read_response_patients(path, ISPY2, name="I-SPY2", arms=["Ctr", "Pembro"], control="Ctr")
    assert response.fingerprint == read.fingerprint
