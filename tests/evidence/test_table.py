"""A user's evidence table: what is read, and every fault by the row that causes it."""

from __future__ import annotations

import pandas as pd
import pytest

from bayes_her2.errors import DataError
from bayes_her2.evidence.schema import COLUMNS, DOI, MEASURES_OF, OUTCOMES, PMID, documented
from bayes_her2.evidence.table import read_evidence, shipped_evidence

from .conftest import RATIO, RESPONSE, other


def faults_of(read, *rows: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(DataError) as caught:
        read(*rows)
    return caught.value.faults


def test_a_row_without_faults_gets_its_types(read):
    table = read(RESPONSE, RATIO)
    dtypes = {"text": "str", "number": "float64", "whole number": "Int64", "yes or no": "bool"}
    assert {name: str(dtype) for name, dtype in table.frame.dtypes.items()} == {
        column.name: dtypes[column.kind] for column in COLUMNS
    }
    row = table.frame.loc["smith_pcr"]
    assert (row["n_exposed"], row["events_exposed"], row["role"], row["pooled"]) == (100, 20, "main", False)
    assert row["pmid"] == ""
    assert len(table) == 2
    assert table.notices == ()


@pytest.mark.parametrize(
    ("base", "changes", "expected"),
    [
        (
            RATIO,
            {"estimate": "1.2"},
            "estimate: the interval 0.64 to 1 does not contain 1.2; check the source",
        ),
        (RATIO, {"ci_low": "1.1", "ci_high": "0.7"}, "ci_low and ci_high: 1.1 is above 0.7; exchange them"),
        (RATIO, {"ci_low": ""}, "ci_low and ci_high: an interval needs both limits"),
        (RATIO, {"ci_level": "95"}, "ci_level: 95 is not between 0 and 1; write 0.95 for a 95 % interval"),
        (RATIO, {"ci_level": ""}, "ci_level: is missing; write 0.95"),
        (
            RATIO,
            {"estimate": "-0.22", "ci_low": "-0.5", "ci_high": "0.1"},
            "estimate: -0.22: a hazard ratio is above 0",
        ),
        (
            RATIO,
            {"estimate": "-0.22", "ci_low": "-0.5", "ci_high": "0.1"},
            "ci_low: -0.5: limits of a ratio are above 0",
        ),
        (
            RATIO,
            {"estimate": "", "ci_low": "", "ci_high": "", "ci_level": ""},
            "estimate: a hazard ratio needs its value",
        ),
        (RATIO, {"estimate": "0,8"}, "estimate: '0,8' is not a number; correct it"),
        (
            RATIO,
            {"measure": "odds ratio"},
            "measure: 'odds ratio' is no measure of overall survival; possible: hazard ratio, median",
        ),
        (
            RESPONSE,
            {"events_exposed": "16.3"},
            "events_exposed: 16.3 is not a count; give the whole number of patients",
        ),
        (
            RESPONSE,
            {"events_exposed": "16 %"},
            "events_exposed: '16 %' is a percentage; give the count of patients",
        ),
        (RESPONSE, {"events_exposed": "-1"}, "events_exposed: -1 is not a count"),
        (
            RESPONSE,
            {"events_reference": "90"},
            "events_reference: 90 events among 80 patients; is it a percentage?",
        ),
        (
            RESPONSE,
            {"n_exposed": "0", "events_exposed": "0"},
            "n_exposed: 0 patients: an empty group is no group",
        ),
        (
            RESPONSE,
            {"n_exposed": ""},
            "n_exposed: is missing beside 20 events; a count needs its denominator",
        ),
        (RESPONSE, {"events_reference": ""}, "(smith_pcr): counts need events_reference"),
        (RESPONSE, {"n": "181"}, "n: 181 is not the sum of the groups (180)"),
        (RESPONSE, {"counts": ""}, "counts: say whether the counts are printed or derived"),
        (
            RESPONSE,
            {"estimate": "0.6"},
            "estimate: counts have none; give the study's own ratio as a row of its own",
        ),
        (
            RESPONSE,
            {"adjustment": "adjusted"},
            "adjustment: counts are crude; give the adjusted estimate as a row",
        ),
        (RESPONSE, {"adjusted_for": "age"}, "adjusted_for: names variables, but the row is 'crude'"),
        (
            RESPONSE,
            {"overlap_group": ""},
            "overlap_group: is needed: studies that share patients share a name",
        ),
        (
            RESPONSE,
            {"verified": ""},
            "verified: is needed: 'source text' if you checked the number in the study itself",
        ),
        (RESPONSE, {"verified": "yes"}, "verified: 'yes' is not one of 'source text', 'second-hand'"),
        (RESPONSE, {"doi": ""}, "(smith_pcr): has neither doi nor pmid; give one of them"),
        (
            RESPONSE,
            {"doi": "https://doi.org/10.1000/1"},
            "doi: 'https://doi.org/10.1000/1' has not the form 10.NNNN/suffix",
        ),
        (RESPONSE, {"pmid": "PMC123"}, "pmid: 'PMC123' is not a PubMed number"),
        (RESPONSE, {"p_value": "n.s."}, "p_value: 'n.s.' is not a P value; write 0.042 or <0.001"),
        (RESPONSE, {"outcome": "pCR"}, "outcome: 'pCR' is not one of 'pathological complete response'"),
        (
            RESPONSE,
            {"hr_stratum": "HR positive"},
            "hr_stratum: 'HR positive' is not one of 'all', 'HR+', 'HR-'",
        ),
        (RESPONSE, {"reference": ""}, "reference: a contrast needs the group that it is compared with"),
        (RESPONSE, {"design": "single arm"}, "reference: a single arm has none; write design = contrast"),
        (RATIO, {"design": "single arm", "reference": ""}, "design: a hazard ratio compares two groups"),
        (RESPONSE, {"pooled": "maybe"}, "pooled: 'maybe': write yes or no"),
        (
            RESPONSE,
            {"pooled_components": "9 studies"},
            "(smith_pcr): pooled_components is for a meta-analysis",
        ),
        (RESPONSE, {"year": "soon"}, "year: 'soon' is not a number; give the count of patients"),
    ],
)
def test_each_fault_is_named_with_its_row_and_column(read, base, changes, expected):
    assert any(expected in fault for fault in faults_of(read, base | changes)), faults_of(
        read, base | changes
    )


def test_a_proportion_in_per_cent_and_a_median_without_unit(read):
    arm = RESPONSE | {"design": "single arm", "reference": "", "measure": "proportion", "estimate": "16.3"}
    arm |= dict.fromkeys(("events_exposed", "n_reference", "events_reference", "counts"), "")
    (fault,) = faults_of(read, arm)
    assert fault.endswith("estimate: 16.3 is not a proportion; divide a percentage by 100")
    median = arm | {
        "outcome": "overall survival",
        "measure": "median",
        "estimate": "23.4",
        "adjustment": "not applicable",
    }
    (fault,) = faults_of(read, median)
    assert fault.endswith("unit: a median needs a unit ('months')")


def test_a_result_in_words_needs_its_direction(read):
    words = (
        RESPONSE
        | {"measure": "statement"}
        | dict.fromkeys(("events_exposed", "events_reference", "counts"), "")
    )
    (fault,) = faults_of(read, words)
    assert fault.endswith("direction: a result in words needs its direction: lower, higher or no difference")
    assert len(read(words | {"direction": "lower"})) == 1


def test_a_workbook_gives_the_same_table_as_a_csv(read, tmp_path):
    cells = pd.DataFrame([RESPONSE]).assign(
        n_exposed=100, events_exposed=20.0, n_reference=80, events_reference=24
    )
    cells.assign(year=2024).to_excel(tmp_path / "mine.xlsx", index=False)
    assert read_evidence(tmp_path / "mine.xlsx").fingerprint == read(RESPONSE).fingerprint


def test_all_faults_of_all_rows_come_at_once(read):
    rows = [RESPONSE | {"doi": "x", "overlap_group": ""}, RATIO | {"estimate": "2"}]
    faults = faults_of(read, *rows)
    assert [fault.split(":")[0] for fault in faults] == [
        "mine.csv, row 1 (smith_pcr), overlap_group",
        "mine.csv, row 1 (smith_pcr), doi",
        "mine.csv, row 2 (smith_os), estimate",
    ]


def test_unknown_and_absent_columns_are_named(read):
    row = {name: value for name, value in RESPONSE.items() if name != "verified"} | {"verifed": "source text"}
    faults = faults_of(read, row)
    assert faults[0] == "mine.csv: no column 'verifed' in an evidence table; did you mean 'verified'?"
    assert faults[1] == "mine.csv: needed and absent: 'verified'; add the columns"


def test_a_zero_cell_is_allowed_and_remarked(read):
    table = read(RESPONSE | {"events_exposed": "0"})
    (notice,) = table.notices
    assert "no events in the exposed group" in notice
    assert "nothing is added to it" in notice
    assert table.frame["events_exposed"].to_list() == [0]


def test_the_same_result_twice_is_a_fault(read):
    (fault,) = faults_of(read, RESPONSE, RESPONSE | {"row_id": "again", "events_exposed": "21"})
    assert (
        "Smith 2024 is listed twice with the same result (pathological complete response, all, counts)"
        in fault
    )
    assert "the other is mine.csv, row 1 (smith_pcr)" in fault
    assert len(read(RESPONSE, RESPONSE | {"row_id": "again", "part": "stage III"})) == 2


def test_one_publication_under_two_names_is_a_fault(read):
    twice = other(RESPONSE, "Jones", doi=RESPONSE["doi"])
    (fault,) = faults_of(read, RESPONSE, twice)
    assert (
        "10.1000/smith.2024 is listed twice: as 'Jones 2024' here, as 'Smith 2024' in mine.csv, row 1"
        in fault
    )


def test_a_row_name_used_twice_and_two_overlap_groups_of_a_study(read):
    (fault,) = faults_of(read, RESPONSE, RATIO | {"row_id": "smith_pcr"})
    assert "row_id: 'smith_pcr' is also the name of mine.csv, row 1 (smith_pcr)" in fault
    (fault,) = faults_of(read, RESPONSE, RATIO | {"overlap_group": "NCDB"})
    assert "Smith 2024 is in 'NCDB' here and in 'Smith 2024' in mine.csv, row 1 (smith_pcr)" in fault


def test_a_table_is_joined_to_the_shipped_one_and_checked_again(read):
    shipped = shipped_evidence()
    joined = shipped.joined(read(RESPONSE))
    assert len(joined) == len(shipped) + 1
    assert joined.fingerprint != shipped.fingerprint
    known = shipped.frame.iloc[0]  # any row: its DOI is in the table already
    with pytest.raises(DataError, match=r"is listed twice: as 'Smith 2024' here"):
        shipped.joined(read(RESPONSE | {"doi": known["doi"]}))


@pytest.mark.parametrize(
    ("column", "written", "usual"),
    [
        ("exposure", "HER2 low", "HER2-low"),
        ("exposure", "her2-Low", "HER2-low"),
        ("reference", "HER2 0", "HER2-0"),
        ("reference", "HER20", "HER2-0"),
        ("exposure", "T‑DXd", "T-DXd"),
    ],
)
def test_a_shipped_group_under_another_spelling_is_a_fault(read, column, written, usual):
    (fault,) = faults_of(read, RESPONSE | {column: written})
    assert fault.startswith(
        f"mine.csv, row 1 (smith_pcr), {column}: {written!r} differs from {usual!r} only in"
    )
    assert fault.endswith(f"did you mean {usual!r}?")


def test_a_group_of_the_users_own_has_one_spelling_and_any_name(read):
    own = RESPONSE | {"exposure": "Luminal A"}
    (fault,) = faults_of(read, own, other(own, "Jones", exposure="luminal-A"))
    assert "row 2" in fault
    assert "'luminal-A' differs from 'Luminal A'" in fault
    assert len(read(own, other(own, "Jones", exposure="Luminal B"))) == 2
    assert len(read(own | {"exposure": "HR+"}, other(own, "Jones", exposure="HR-"))) == 2


def test_rows_are_found_by_column(read):
    table = read(RESPONSE, RATIO)
    assert table.rows(outcome="overall survival", pooled=False)["row_id"].to_list() == ["smith_os"]
    with pytest.raises(DataError, match=r"no column 'outcom'"):
        table.rows(outcom="overall survival")


def test_the_fingerprint_does_not_depend_on_the_order_of_rows(read):
    assert read(RESPONSE, RATIO).fingerprint == read(RATIO, RESPONSE).fingerprint


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("10.1016/S1470-2045(21)00301-6", True),
        ("10.21203/rs.3.rs-6741803/v1", True),
        ("10.1056/NEJMoa2203690", True),
        ("10.1056/NEJMoa2203690.", False),
        ("doi:10.1056/NEJMoa2203690", False),
        ("10.12/x", False),
        ("10.1056/", False),
    ],
)
def test_form_of_a_doi(text, valid):
    assert (DOI.fullmatch(text) is not None) is valid


@pytest.mark.parametrize(
    ("text", "valid"), [("35113160", True), ("0123", False), ("123456789", False), ("1a", False)]
)
def test_form_of_a_pmid(text, valid):
    assert (PMID.fullmatch(text) is not None) is valid


def test_every_outcome_has_its_measures_and_hazard_ratios_need_a_time():
    assert set(MEASURES_OF) == set(OUTCOMES)
    assert len(OUTCOMES) == len(set(OUTCOMES))
    assert not [o for o, measures in MEASURES_OF.items() if {"hazard ratio", "odds ratio"} <= set(measures)]


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"file not found"):
        read_evidence(tmp_path / "none.csv")


def test_the_documented_table_has_every_column():
    lines = documented().splitlines()
    assert [line.split("`")[1] for line in lines[2:]] == [column.name for column in COLUMNS]
