"""From files to cohort tables: joins, values of fields, and what is said when they do not fit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayes_her2.errors import DataError
from bayes_her2.inputs import read_cohorts
from bayes_her2.inputs.fields import look_up, suggestion

CLINICAL = "A_clinical.csv"
EXPRESSION = "A_expression.csv"


# --- what a cohort table holds ---------------------------------------------------------------


def test_standard_fields_take_their_values(simple):
    tumours = simple.one().tumours
    assert list(tumours["er"][:2]) == ["positive", "negative"]
    assert list(tumours["her2_ihc"][:4]) == ["0", "1+", "2+", "1+"]
    assert list(tumours["stage"][:4]) == ["II", "I", "III", "II"]
    assert set(tumours["sex"]) == {"female"}
    assert tumours["age"].dtype == np.float64
    assert tumours.index.name == "tumour"


@pytest.mark.parametrize(
    ("field", "words", "value"),
    [
        ("er", ["Positive", "POS", "+", "1", "1.0", "ER+"], "positive"),
        ("pgr", ["negative", "neg", "-", "0", "0.0", "PR-"], "negative"),
        ("her2_ihc", ["1", "1+", "1.0"], "1+"),
        ("her2_ish", ["Negative", "not amplified", "Non-amplified", "NOT  AMPLIFIED"], "not amplified"),
        ("her2_call", ["Equivocal"], "equivocal"),
        ("sex", ["F", "female", "FEMALE"], "female"),
        ("stage", ["Stage IIA", "IIA", "2", "2.0", "stage ii", "IIB", "2a"], "II"),
        ("stage", ["IV", "Stage IV", "4.0"], "IV"),
        ("stage", ["IIIC1"], "III"),
        ("stage", ["0", "0.0", "Stage 0"], "0"),
        ("her2_call", ["1", "0", "1+"], None),
        ("stage", ["Stage X", "V", "5", "IIII"], None),
    ],
)
def test_vocabulary(field, words, value):
    assert [look_up(field, word) for word in words] == [value] * len(words)


def test_measure_is_under_its_name_and_under_her2(simple):
    tumours = simple.one().tumours
    assert list(tumours["her2"]) == pytest.approx([5 + 0.1 * k for k in range(12)])
    assert list(tumours["ERBB2"]) == list(tumours["her2"])
    assert "ESR1" not in tumours


def test_genes_in_columns(simple):
    turned = simple.frames[EXPRESSION].set_index("gene").T.rename_axis("id").reset_index()
    before = simple.one().tumours["her2"]
    simple.frames[EXPRESSION] = turned
    simple.cohort()["expression"]["genes_in"] = "columns"
    pd.testing.assert_series_equal(simple.one().tumours["her2"], before)


def test_gene_under_another_name(simple):
    simple.frames[EXPRESSION]["gene"] = ["ERBB2|HER2", "ESR1"]
    simple.cohort()["expression"]["fields"] = {"her2_protein": "ERBB2|HER2"}
    simple.settings["her2"] = {"measure": "her2_protein"}
    assert simple.one().tumours.loc["A-01", "her2"] == 5.0


def test_table_without_a_header(simple):
    path = simple.folder / "leukocytes.tsv"
    path.write_text("".join(f"BRCA\tA-{i:02d}\t0.{i:02d}5\n" for i in range(1, 13)))
    del simple.cohort()["clinical"]["fields"]["leukocyte_fraction"]
    simple.cohort()["tables"] = [
        {
            "file": "leukocytes.tsv",
            "column_names": ["type", "id", "fraction"],
            "ids": {"column": "id"},
            "fields": {"leukocyte_fraction": "fraction"},
        }
    ]
    simple.settings["abundance"] = {"multiplier": "leukocyte_fraction"}
    table = simple.one()
    assert table.tumours.loc["A-07", "leukocyte_fraction"] == 0.075
    assert table.scale == "relative"
    assert table.abundance.sum(axis=1).to_numpy() == pytest.approx(np.ones(12))  # not multiplied here
    del simple.cohort()["tables"][0]["column_names"]
    fault = simple.fault()
    assert (
        "tables[1] (leukocytes.tsv): no column 'id' for the ids; the file has 3 columns: 'BRCA', 'A-01'"
        in fault
    )
    assert "if the file has no header, set column_names = [...]" in fault


def test_tumours_without_a_clinical_row_are_logged(simple):
    simple.frames[CLINICAL] = simple.frames[CLINICAL].iloc[2:]
    table = simple.one()
    assert [(e.tumour, e.step) for e in table.exclusions] == [("A-01", "join"), ("A-02", "join")]
    assert table.exclusions[0].reason == "no row in the clinical table (A_clinical.csv)"
    assert list(table.tumours.index) == list(table.abundance.index) == list(table.quality.index)
    assert len(table.tumours) == 10


def test_tumours_missing_from_another_table_stay_with_na(simple):
    simple.frames[EXPRESSION] = simple.frames[EXPRESSION].drop(columns=["A-01"])
    table = simple.one()
    assert np.isnan(table.tumours.loc["A-01", "her2"])
    assert "expression (A_expression.csv): 1 of 12 tumours has no row" in table.notices


def test_missing_words_are_missing(simple):
    simple.frames[CLINICAL]["ER"] = ["NA", "N/A", "[Not Available]", "", " nan ", "Unsure"] + ["Positive"] * 6
    simple.cohort()["clinical"]["fields"]["er"] = {"column": "ER", "missing": ["unsure"]}
    assert list(simple.one().tumours["er"].isna()) == [True] * 6 + [False] * 6


def test_own_values_replace_the_vocabulary(simple):
    simple.frames[CLINICAL]["ER"] = ["low", "high"] * 6
    simple.cohort()["clinical"]["fields"]["er"] = {
        "column": "ER",
        "values": {"LOW": "negative", "high": "positive"},
    }
    assert list(simple.one().tumours["er"][:2]) == ["negative", "positive"]


def test_centre_is_a_label_also_when_it_is_written_as_a_number(simple):
    simple.frames[CLINICAL]["Site"] = [1.0, 2.0, 3.0] * 4
    simple.cohort()["clinical"]["fields"]["centre"] = "Site"
    simple.settings["model"] = {"centre": True}
    assert list(simple.one().tumours["centre"][:3]) == ["1", "2", "3"]


def test_cohorts_without_centre_get_an_empty_column(build):
    two = build("A", "B")
    two.frames[CLINICAL]["Site"] = ["x", "y"] * 6
    two.cohort("A")["clinical"]["fields"]["centre"] = "Site"
    two.settings["model"] = {"centre": True}
    a, b = two.cohorts()
    assert a.tumours["centre"].notna().all()
    assert b.tumours["centre"].isna().all()


def test_other_fields_are_numbers_or_text(simple):
    simple.frames[CLINICAL]["Grade"] = [1, 2, 3] * 4
    simple.frames[CLINICAL]["Histology"] = ["ductal", "lobular", "3"] * 4
    simple.cohort()["clinical"]["fields"] |= {"grade": "Grade", "histology": "Histology"}
    tumours = simple.one().tumours
    assert tumours["grade"].dtype == np.float64
    assert tumours["histology"].dtype == "str"


def test_replicates_of_a_table(simple):
    frame = simple.frames[CLINICAL]
    simple.frames[CLINICAL] = pd.concat([frame, frame.iloc[[0]].assign(Age=60.0)])
    assert "1 tumour has more than one row: A-01 (2 rows)" in simple.fault()
    simple.cohort()["clinical"]["replicates"] = "first"
    assert simple.one().tumours.loc["A-01", "age"] == 40
    simple.cohort()["clinical"]["replicates"] = "mean"
    assert simple.one().tumours.loc["A-01", "age"] == 50
    assert any("1 tumour with more than one row (A-01): the mean is used" in n for n in simple.one().notices)


def test_there_is_no_mean_of_different_words(simple):
    frame = simple.frames[CLINICAL]
    simple.frames[CLINICAL] = pd.concat([frame, frame.iloc[[0]].assign(ER="Negative")])
    simple.cohort()["clinical"]["replicates"] = "mean"
    fault = simple.fault()
    assert "field 'er' (column 'ER'): 1 tumour has rows with different text (A-01)" in fault


def test_the_users_files_are_unchanged(simple):
    path = simple.write()
    before = {p.name: p.read_bytes() for p in path.parent.iterdir()}
    simple.cohorts()
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == before


# --- ids that do not meet --------------------------------------------------------------------


def barcodes(simple, change):
    """Barcodes in the CIBERSORT file, patients elsewhere."""
    for name, frame in simple.frames.items():
        if name == "A_cibersort.csv":
            frame["Mixture"] = [change(i) for i in frame["Mixture"]]
    return simple


def test_no_overlap_shows_ids_of_both_sides(simple):
    barcodes(simple, lambda i: i.replace("A", "patient"))
    faults = simple.faults()
    assert len(faults) == 2  # clinical and expression
    assert "cohort 'A', clinical (A_clinical.csv): no id in common with cibersort" in faults[0]
    assert "cibersort has 'patient-01', 'patient-02', 'patient-03' and 9 more" in faults[0]
    assert "clinical has 'A-01', 'A-02', 'A-03' and 9 more" in faults[0]
    assert "No combination of dots_to_dashes and prefix_length joins them" in faults[0]


def test_no_overlap_suggests_dots_to_dashes(simple):
    barcodes(simple, lambda i: i.replace("-", "."))
    assert "With dots_to_dashes = true in cibersort.ids, 12 of 12 would join" in simple.faults()[0]
    simple.cohort()["cibersort"]["ids"] = {"dots_to_dashes": True}
    assert len(simple.one().tumours) == 12


def test_no_overlap_suggests_a_prefix(simple):
    barcodes(simple, lambda i: f"{i}-01A-11R")
    assert "With prefix_length = 4 in cibersort.ids, 12 of 12 would join" in simple.faults()[0]
    simple.cohort()["cibersort"]["ids"] = {"prefix_length": 4}
    assert len(simple.one().tumours) == 12


def test_no_overlap_suggests_both(simple):
    barcodes(simple, lambda i: f"{i}-01A".replace("-", "."))
    assert (
        "With dots_to_dashes = true in cibersort.ids and prefix_length = 4 in cibersort.ids"
        in simple.faults()[0]
    )
    simple.cohort()["cibersort"]["ids"] = {"dots_to_dashes": True, "prefix_length": 4}
    assert len(simple.one().tumours) == 12


def test_no_overlap_because_of_a_prefix_that_is_too_short(simple):
    simple.cohort()["cibersort"]["ids"] = {"prefix_length": 3}
    simple.cohort()["cibersort"]["replicates"] = "mean"
    assert "With no prefix_length in cibersort.ids, 12 of 12 would join" in simple.faults()[0]


def test_empty_ids(simple):
    simple.frames[CLINICAL].loc[0, "Patient"] = np.nan
    assert "1 row has no id" in simple.fault()


# --- fields that are not there ---------------------------------------------------------------


def test_column_that_is_not_in_the_table(simple):
    simple.cohort()["clinical"]["fields"]["age"] = "age"
    assert "clinical (A_clinical.csv): field 'age': no column 'age'; did you mean 'Age'?" in simple.fault()


def test_measure_that_is_nowhere(simple):
    simple.settings["her2"] = {"measure": "ERBB3"}
    fault = simple.fault()
    assert "cohort 'A': HER2 measure 'ERBB3' was not found, neither as a field nor as a gene" in fault
    assert "expression (no fields, 2 genes)" in fault
    assert "Close to it: 'ERBB2'" in fault


def test_covariate_absent_from_a_whole_cohort(build):
    two = build("A", "B")
    two.frames[CLINICAL]["Grade"] = [1, 2, 3] * 4
    two.cohort("A")["clinical"]["fields"]["grade"] = "Grade"
    two.settings["model"] = {"covariates": ["grade"]}
    fault = two.fault()
    assert "cohort 'B': covariate 'grade' was not found" in fault
    assert "It is recorded in A." in fault
    assert "or remove it from the covariates" in fault


def test_covariate_that_is_empty_in_a_whole_cohort(build):
    two = build("A", "B")
    two.frames["B_clinical.csv"]["Age"] = ""
    two.settings["model"] = {"covariates": ["age"]}
    fault = two.fault()
    assert (
        "cohort 'B': covariate 'age' is missing in all of its 12 tumours (column 'Age'). It is recorded in A"
        in fault
    )


def test_covariate_of_two_kinds(build):
    two = build("A", "B")
    two.frames[CLINICAL]["Size"] = [10, 20] * 6
    two.frames["B_clinical.csv"]["Size"] = ["T1", "T2"] * 6
    for name in "AB":
        two.cohort(name)["clinical"]["fields"]["size"] = "Size"
    two.settings["model"] = {"covariates": ["size"]}
    assert "covariate 'size': a number in A and text in B" in two.fault()


def test_text_in_a_numeric_column(simple):
    simple.frames[CLINICAL]["Age"] = [*("41", "> 90", "about 50", "> 90"), *["60"] * 8]
    fault = simple.fault()
    assert (
        "cohort 'A', clinical (A_clinical.csv), field 'age' (column 'Age'): text in a numeric column" in fault
    )
    assert "3 cells are not a number: '> 90' (2), 'about 50' (1) (in A-02, A-03, A-04)" in fault
    assert 'missing = ["> 90", "about 50"]' in fault


def test_text_in_a_numeric_covariate(simple):
    simple.frames[CLINICAL]["Grade"] = ["1", "2", "unknown"] * 4
    simple.cohort()["clinical"]["fields"]["grade"] = "Grade"
    simple.settings["model"] = {"covariates": ["grade"]}
    fault = simple.fault()
    assert "text in a numeric column: 4 cells are not a number: 'unknown' (4)" in fault
    assert "If the field is a category, map every value" in fault


def test_decimal_commas(simple):
    simple.frames[CLINICAL]["Leukocytes"] = ["0,1"] * 12
    simple.settings["abundance"] = {"multiplier": "leukocyte_fraction"}
    assert "12 have decimal commas: save with decimal points" in simple.fault()


def test_negative_multiplier(simple):
    simple.frames[CLINICAL].loc[3, "Leukocytes"] = -0.1
    simple.settings["abundance"] = {"multiplier": "leukocyte_fraction"}
    assert "multiplier 'leukocyte_fraction' is negative in 1 tumour (A-04; lowest -0.1)" in simple.fault()


def test_value_outside_the_vocabulary(simple):
    simple.frames[CLINICAL]["ER"] = ["Positive"] * 8 + ["Indeterminate"] * 3 + ["?"]
    fault = simple.fault()
    assert "field 'er' (column 'ER'): 2 values are not understood: 'Indeterminate' (3), '?' (1)" in fault
    assert 'missing = ["Indeterminate", "?"]' in fault


def test_value_outside_the_studys_own_values(simple):
    simple.cohort()["clinical"]["fields"]["er"] = {"column": "ER", "values": {"Positive": "positive"}}
    fault = simple.fault()
    assert "1 value is not understood: 'Negative' (6); `values` maps only 'Positive'" in fault


def test_the_proposed_mapping_gives_no_meaning(simple):
    simple.frames[CLINICAL]["HER2 IHC"] = ["weird"] + ["0"] * 11
    proposed = "<one of: 0, 1+, 2+, 3+>"
    assert f'values = {{ "weird" = "{proposed}", ... }} with every word of the column' in simple.fault()
    values = {"0": "0", "1+": "1+"}
    simple.cohort()["clinical"]["fields"]["her2_ihc"] = {"column": "HER2 IHC", "values": values}
    assert f'values = {{ ..., "weird" = "{proposed}" }}' in simple.fault()


def test_the_proposed_mapping_is_refused_as_it_stands(simple):
    values = {"0": "0", "weird": "<one of: 0, 1+, 2+, 3+>"}
    simple.cohort()["clinical"]["fields"]["her2_ihc"] = {"column": "HER2 IHC", "values": values}
    (fault,) = simple.study_faults()
    assert "which 'her2_ihc' does not take; values: 0, 1+, 2+, 3+" in fault


def test_the_proposed_mapping_of_a_field_without_a_vocabulary(simple):
    values = {"Positive": "high"}
    simple.cohort()["clinical"]["fields"]["immune"] = {"column": "ER", "values": values}
    assert 'values = { ..., "Negative" = "<its meaning>" }' in simple.fault()


@pytest.mark.parametrize(
    ("written", "names", "meant"),
    [
        ("stage", ["age", "er", "pgr"], None),
        ("hr", ["er", "sex"], None),
        ("CD8A", ["CD8B"], None),
        ("grade", ["age", "stage"], None),
        ("satge", ["age", "stage"], "stage"),
        ("nmae", ["name", "platform"], "name"),
        ("tume", ["tune", "draws"], "tune"),
        ("flie", ["file", "fields"], "file"),
        ("pr", ["pgr", "er"], "pgr"),
        ("her2_ich", ["her2_ihc", "stage"], "her2_ihc"),
        ("age", ["Age at diagnosis"], "Age at diagnosis"),
    ],
)
def test_hints_are_for_typing_errors(written, names, meant):
    assert suggestion(written, names) == ("" if meant is None else f"; did you mean '{meant}'?")


def test_rule_on_a_field_that_only_sounds_like_another(simple):
    del simple.cohort()["clinical"]["fields"]["stage"]
    simple.settings["exclude"] = [{"field": "stage", "drop": ["IV"], "reason": "stage IV"}]
    fault = simple.fault()
    assert "no cohort maps the field 'stage'; map it under fields" in fault
    assert "did you mean" not in fault


def test_gene_with_two_rows(simple):
    frame = simple.frames[EXPRESSION]
    simple.frames[EXPRESSION] = pd.concat([frame, frame.iloc[[0]]])
    assert "1 gene has more than one row: ERBB2" in simple.fault()


def test_gene_in_two_tables(simple):
    simple.frames["second.csv"] = simple.frames[EXPRESSION]
    simple.cohort()["tables"] = [{"file": "second.csv", "genes_in": "rows"}]
    assert "'ERBB2' is a gene of expression and of tables[1]; say which one" in simple.fault()


# --- exclusion rules -------------------------------------------------------------------------


def test_rule_on_a_field_that_no_cohort_has(simple):
    simple.settings["exclude"] = [{"field": "histolgy", "drop": ["mucinous"], "reason": "mucinous"}]
    assert "exclude rule 'mucinous': no cohort maps the field 'histolgy'" in simple.fault()


def test_drop_on_a_field_that_one_cohort_lacks_is_a_notice(build):
    two = build("A", "B")
    del two.cohort("B")["clinical"]["fields"]["stage"]
    two.settings["exclude"] = [{"field": "stage", "drop": ["IV"], "reason": "stage IV"}]
    table = two.cohorts()[1]
    assert table.tumours["stage"].isna().all()
    assert "'stage' is not recorded in this cohort: the rule 'stage IV' excludes nobody here" in table.notices


def test_keep_on_a_field_that_one_cohort_lacks_is_a_fault(build):
    two = build("A", "B")
    del two.cohort("B")["clinical"]["fields"]["sex"]
    two.settings["exclude"] = [{"field": "sex", "keep": ["female"], "reason": "not female"}]
    assert "cohort 'B' does not map 'sex', so `keep` would exclude all of its tumours" in two.fault()


def test_rule_that_keeps_nobody(simple):
    simple.frames[CLINICAL]["Type"] = ["ductal", "lobular"] * 6
    simple.cohort()["clinical"]["fields"]["histology"] = "Type"
    simple.settings["exclude"] = [{"field": "histology", "keep": ["Ductal"], "reason": "not ductal"}]
    assert (
        "keeps no tumour of cohort 'A': keep = ['Ductal'], values there: 'ductal', 'lobular'"
        in simple.fault()
    )


def test_rule_with_text_for_numbers(simple):
    simple.frames[CLINICAL]["Grade"] = [1, 2, 3] * 4
    simple.cohort()["clinical"]["fields"]["grade"] = "Grade"
    simple.settings["exclude"] = [{"field": "grade", "drop": ["3"], "reason": "grade 3"}]
    assert "'grade' holds numbers in cohort 'A', but the rule has the text '3'" in simple.fault()


# --- all faults together ---------------------------------------------------------------------


def test_faults_of_all_cohorts_are_raised_once(build):
    two = build("A", "B")
    two.frames["A_cibersort.csv"].loc[0, "T cells CD8"] = 1.5
    two.frames[CLINICAL]["ER"] = "maybe"
    two.frames["B_clinical.csv"]["Age"] = "old"
    study = two.study()
    (two.folder / "B_expression.csv").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        read_cohorts(study)
    text = str(caught.value)
    assert text.startswith("4 faults:")
    assert "'T cells CD8' has 1 value above 1 (A-01" in text
    assert "'maybe' (12)" in text
    assert "text in a numeric column" in text
    assert "cohort 'B', expression: B_expression.csv: the file is empty (0 bytes)" in text


def test_reading_twice_gives_the_same(build):
    two = build("A", "B")
    for first, second in zip(two.cohorts(), two.cohorts(), strict=True):
        pd.testing.assert_frame_equal(first.tumours, second.tumours)
        pd.testing.assert_frame_equal(first.abundance, second.abundance)
        assert first.files == second.files
