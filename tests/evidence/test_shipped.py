"""The shipped table: identifiers, verification, the numbers of its sources, and what can be pooled from it."""

from __future__ import annotations

import csv
import math
import os
import re
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from bayes_her2.evidence.schema import COLUMNS, DOI, PMID, documented
from bayes_her2.evidence.selection import studies_for
from bayes_her2.evidence.table import SHIPPED, EvidenceTable, shipped_evidence

REFERENCE = Path(__file__).parent / "reference"
DOCS = Path(__file__).parents[2] / "docs"
PUBLISHED = Path(__file__).parents[2] / "bayes_her2" / "evidence" / "published"
PCR, OS, PFS = "pathological complete response", "overall survival", "progression-free survival"
TDXD = {
    "exposure": "T-DXd",
    "reference": "chemotherapy of physician's choice",
    "settings": ("metastatic",),
}
_NUMBER = re.compile(r"\d(?:[\d,]|(?<=\d) (?=\d{3}))*\.?\d*")


@cache
def table() -> EvidenceTable:
    return shipped_evidence()


def origin() -> list[dict[str, str]]:
    with (REFERENCE / "origin.csv").open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_every_row_has_a_doi_or_pmid_of_valid_form_and_says_whether_it_was_verified():
    for row in table().frame.itertuples():
        assert row.doi or row.pmid, row.row_id
        assert not row.doi or DOI.fullmatch(row.doi), row.row_id
        assert not row.pmid or PMID.fullmatch(row.pmid), row.row_id
        assert row.verified in ("source text", "second-hand"), row.row_id
        assert row.overlap_group, row.row_id


def test_one_doi_belongs_to_one_study_and_one_study_to_one_doi():
    pairs = table().frame[["study", "doi", "pmid", "citation", "year", "overlap_group"]].drop_duplicates()
    assert pairs["study"].is_unique


def test_no_note_quotes_its_source():
    text = table().frame[["note", "source", "definition", "population"]]
    assert not text.apply(lambda column: column.str.contains('["“”]')).any(axis=None)
    assert text["note"].str.len().max() < 260


def test_files_have_the_columns_in_order_and_no_other_file_lies_beside_them():
    assert {path.name for path in PUBLISHED.iterdir()} == set(SHIPPED)
    for name in SHIPPED:
        header = (PUBLISHED / name).read_text(encoding="utf-8").splitlines()[0]
        assert header.split(",") == [column.name for column in COLUMNS]


def test_the_documentation_has_the_columns_of_the_schema():
    assert "<!-- from the code: evidence-columns -->" in (DOCS / "reference" / "evidence-table.md").read_text(
        "utf-8"
    )
    assert all(f"| `{column.name}` |" in documented() for column in COLUMNS)


def test_the_example_of_the_documentation_is_read(tmp_path):
    text = (
        (DOCS / "how-to" / "published-results.md")
        .read_text(encoding="utf-8")
        .split("## A table of your own")[1]
    )
    block = re.search(r"```csv\n(.*?)```", text, re.DOTALL)
    assert block is not None
    path = tmp_path / "mine.csv"
    path.write_text(block.group(1), encoding="utf-8")
    from bayes_her2.evidence.table import read_evidence

    mine = read_evidence(path)
    data = studies_for(shipped_evidence().joined(mine), PCR, scale="odds ratio", adjustment="crude")
    assert mine.frame["study"].item() in data.studies.index


def test_the_registry_counts_give_the_crude_ratio_and_the_adjusted_one_is_apart():
    crude = studies_for(table(), PCR, scale="odds ratio", adjustment="crude")
    row = crude.studies.loc["Peiffer 2023"]
    assert math.exp(row["log_ratio"]) == pytest.approx(0.631, abs=5e-4)
    adjusted = studies_for(table(), PCR, scale="odds ratio", adjustment="adjusted")
    assert math.exp(adjusted.studies.loc["Peiffer 2023", "log_ratio"]) == pytest.approx(0.89)
    assert not set(crude.studies["row_id"]) & set(adjusted.studies["row_id"])


def test_the_seed_studys_counts_give_its_odds_ratios():
    """Table 2 of Pizzamiglio 2025: 0.5064 (Wald 0.187 to 1.373) and 0.6880 (0.275 to 1.724)."""
    for outcome, known in (
        ("midcourse complete response", (0.5064, 0.187, 1.373)),
        (PCR, (0.6880, 0.275, 1.724)),
    ):
        data = studies_for(table(), outcome, scale="odds ratio", adjustment="crude", hr_stratum="HR-")
        row = data.studies.loc["Pizzamiglio 2025"]
        limits = [math.exp(row["log_ratio"] + z * row["se"]) for z in (0.0, -1.959964, 1.959964)]
        assert limits == pytest.approx(known, abs=6e-4)


def test_each_patient_of_a_pool_is_counted_once():
    for outcome, scale in ((PCR, "odds ratio"), (OS, "hazard ratio"), ("HR positivity", "odds ratio")):
        for adjustment in ("crude", "adjusted"):
            if (outcome, adjustment) in (("HR positivity", "adjusted"), (OS, "crude")):
                continue
            stratum = ("HR+", "HR-") if outcome == OS else "all"
            data = studies_for(table(), outcome, scale=scale, adjustment=adjustment, hr_stratum=stratum)
            assert not data.studies.duplicated(["overlap_group", "hr"]).any()
            chosen = table().frame.loc[[r for names in data.studies["row_id"] for r in names.split(" + ")]]
            assert not chosen["pooled"].any()
            assert (chosen["adjustment"] == "crude").all() == (adjustment == "crude")


def test_registry_stages_are_one_row_for_each_hr_stratum():
    data = studies_for(table(), OS, scale="hazard ratio", adjustment="adjusted", hr_stratum=("HR+", "HR-"))
    rows = data.studies[data.studies["overlap_group"] == "NCDB"]
    assert rows.index.to_list() == ["Peiffer 2023, HR+", "Peiffer 2023, HR-"]
    assert all(names.count(" + ") == 2 for names in rows["row_id"])  # stages I to III; IV is metastatic


@pytest.mark.parametrize(
    ("stratum", "trials"), [("HR+", ["Modi 2022", "Bardia 2024"]), ("all", ["Modi 2022"])]
)
def test_treatment_trials_by_hr_stratum(stratum, trials):
    data = studies_for(table(), PFS, scale="hazard ratio", adjustment="crude", hr_stratum=stratum, **TDXD)
    assert data.studies.index.to_list() == trials


def test_medians_of_the_review_are_single_arms_by_hr_stratum():
    rows = table().rows(study="Modi 2022", measure="median")
    found = {(r.hr_stratum, r.outcome, r.exposure): (r.estimate, r.unit) for r in rows.itertuples()}
    chemotherapy = "chemotherapy of physician's choice"
    assert found == {
        ("HR+", PFS, "T-DXd"): (10.1, "months"),
        ("HR+", PFS, chemotherapy): (5.4, "months"),
        ("HR+", OS, "T-DXd"): (23.9, "months"),
        ("HR+", OS, chemotherapy): (17.5, "months"),
        ("all", PFS, "T-DXd"): (9.9, "months"),
        ("all", PFS, chemotherapy): (5.1, "months"),
        ("all", OS, "T-DXd"): (23.4, "months"),
        ("all", OS, chemotherapy): (16.8, "months"),
    }


def test_single_arms_have_their_place():
    arms = table().rows(design="single arm")
    assert {"disease control", "PAM50 subtype", "grade III", "HER2-low status"} <= set(arms["outcome"])
    pam50 = arms[(arms["outcome"] == "PAM50 subtype") & arms["part"].eq("discovery cohort")]
    assert pam50["n_exposed"].eq(104).all()
    assert pam50["events_exposed"].sum() == 104


READ_IN_THE_STUDY = {("ohara_til_high", "estimate")}
"""Numbers of the study's abstract, where the collected row has words alone."""


def numbers_of(record: dict[str, object]) -> set[float]:
    """Every number that a row of the sources holds, in any cell, also as a proportion if it may be a percentage."""
    found: set[float] = set()
    for cell in record.values():
        if cell is None or pd.isna(cell):
            continue
        for word in _NUMBER.findall(str(cell)):
            for text in (re.sub("[, ]", "", word), *word.replace(" ", ",").split(",")):
                if text.strip("."):
                    found |= {round(float(text.rstrip(".")), 9), round(float(text.rstrip(".")) / 100, 9)}
    return found


@pytest.mark.real_data
def test_every_number_equals_the_one_of_its_source():
    folder = os.environ.get("BAYES_HER2_DATA")
    if not folder:
        pytest.skip("BAYES_HER2_DATA is not set: the collected results are not here")
    sources = {
        name: pd.read_csv(Path(folder) / "evidence" / name, dtype=str).to_dict("records")
        for name in ("external_evidence.csv", "published_evidence.csv")
    }
    held: dict[str, set[float]] = {}
    printed: dict[str, list[dict[str, object]]] = {}
    for entry in origin():
        record = sources[entry["file"]][int(entry["row"]) - 1]
        held[entry["row_id"]] = held.get(entry["row_id"], set()) | numbers_of(record)
        printed.setdefault(entry["row_id"], []).append(record)
    checked = 0
    for row_id, numbers in held.items():
        row = table().frame.loc[row_id]
        whole = ["n_exposed", "events_exposed", "n_reference", "events_reference"]
        if pd.isna(row["n_reference"]) and not pd.isna(row["n"]):
            whole.append("n")
        for name in ("estimate", "ci_low", "ci_high", *whole):
            if not pd.isna(row[name]) and (row_id, name) not in READ_IN_THE_STUDY:
                assert round(float(row[name]), 9) in numbers, (row_id, name, row[name])
                checked += 1
        # A ratio and its limits are in columns of their own in the sources: there they are equal cell by cell.
        if row["measure"] in ("odds ratio", "hazard ratio") and not pd.isna(row["ci_low"]):
            for name in ("estimate", "ci_low", "ci_high", "ci_level"):
                assert any(float(str(record[name])) == row[name] for record in printed[row_id]), (
                    row_id,
                    name,
                )
    assert checked > 250


@pytest.mark.real_data
def test_every_collected_result_is_shipped_or_listed_as_left_out():
    folder = os.environ.get("BAYES_HER2_DATA")
    if not folder:
        pytest.skip("BAYES_HER2_DATA is not set: the collected results are not here")
    rows = pd.read_csv(Path(folder) / "evidence" / "external_evidence.csv")
    used = {int(entry["row"]) for entry in origin() if entry["file"] == "external_evidence.csv"}
    with (REFERENCE / "left_out.csv").open(encoding="utf-8") as handle:
        left_out = {int(entry["row"]): entry["reason"] for entry in csv.DictReader(handle)}
    assert not used & set(left_out)
    assert used | set(left_out) == set(range(1, len(rows) + 1))
    assert all(left_out.values())


def test_origins_name_shipped_rows_and_the_others_were_read_in_the_studys_own_text():
    known = {entry["row_id"] for entry in origin()}
    assert known <= set(table().frame.index)
    added = table().frame.drop(index=list(known))
    assert set(added["verified"][added["study"] != "Denkert 2021"]) == {"source text"}
    assert len(added) < 15
