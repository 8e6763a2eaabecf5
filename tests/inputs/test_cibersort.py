"""CIBERSORT results: forms they come in, and files that must not pass."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from bayes_her2.data import LM22_CELL_TYPES
from bayes_her2.inputs.cibersort import IMMUNEDECONV_NAMES

FILE = "A_cibersort.csv"
CELLS = list(LM22_CELL_TYPES)


def expected(simple):
    return simple.frames[FILE].set_index("Mixture")[CELLS]


def assert_read_as(simple, wanted):
    got = simple.one().abundance
    assert list(got.columns) == CELLS
    pd.testing.assert_frame_equal(got, wanted, check_names=False, check_exact=True)


def absolute(frame, seed=3):
    """The same tumours as CIBERSORTx absolute mode writes them: scaled cells, and their sum."""
    score = np.random.default_rng(seed).uniform(0.3, 3.0, len(frame))
    scaled = frame.copy()
    scaled[CELLS] = frame[CELLS].mul(score, axis=0)
    scaled["Absolute score (sig.score)"] = scaled[CELLS].sum(axis=1)
    return scaled


# --- accepted forms --------------------------------------------------------------------------


def test_web_result_is_read_with_its_quality_columns(simple):
    table = simple.one()
    wanted = simple.frames[FILE].set_index("Mixture")
    assert_read_as(simple, wanted[CELLS])
    assert list(table.quality["p_value"]) == list(wanted["P-value"])
    assert list(table.quality["correlation"]) == list(wanted["Correlation"])
    assert list(table.quality["n_aliquots"]) == [1] * 12
    assert table.abundance.index.name == "tumour"


def test_exact_zeros_stay_exact_zeros(simple):
    zeros = (expected(simple) == 0).to_numpy()
    assert zeros.sum() > 20
    assert ((simple.one().abundance == 0).to_numpy() == zeros).all()


def test_names_mangled_by_r(simple):
    wanted = expected(simple)
    mangled = {c: re.sub(r"[^A-Za-z0-9._]", ".", c) for c in simple.frames[FILE].columns}
    assert mangled["T cells regulatory (Tregs)"] == "T.cells.regulatory..Tregs."
    simple.frames[FILE] = simple.frames[FILE].rename(columns=mangled | {"Mixture": "SampleID"})
    assert_read_as(simple, wanted)
    assert simple.one().quality["p_value"].notna().all()


def test_cibersort_suffix(simple):
    wanted = expected(simple)
    renamed = {c: f"{c}_CIBERSORT" for c in simple.frames[FILE].columns if c != "Mixture"}
    simple.frames[FILE] = simple.frames[FILE].rename(columns=renamed | {"Mixture": "ID"})
    assert_read_as(simple, wanted)
    assert simple.one().quality["rmse"].notna().all()


def test_timer_table_with_both_modes_gives_the_scale_of_the_study(simple):
    wanted = expected(simple)
    other = {name: alias for alias, name in IMMUNEDECONV_NAMES.items()}
    relative = simple.frames[FILE].drop(columns=["P-value", "Correlation", "RMSE"])
    both = relative.rename(columns={n: f"{other[n]}_CIBERSORT" for n in CELLS})
    for name in CELLS:
        both[f"{other[name]}_CIBERSORT-ABS"] = 2.5 * relative[name]
    simple.frames[FILE] = both
    assert_read_as(simple, wanted)


@pytest.mark.parametrize("name", ["Mixture", "ID", "Input Sample", "SampleID", "", "patient"])
def test_id_column_under_any_name(simple, name):
    wanted = expected(simple)
    simple.frames[FILE] = simple.frames[FILE].rename(columns={"Mixture": name})
    assert_read_as(simple, wanted)


def test_id_column_that_is_not_the_first(simple):
    wanted = expected(simple)
    simple.frames[FILE].insert(0, "Unnamed: 0", range(12))
    assert_read_as(simple, wanted)
    assert any("ids are read from the column 'Mixture'" in n for n in simple.one().notices)


def test_other_columns_are_tolerated_and_named(simple):
    simple.frames[FILE]["CancerType"] = "BRCA"
    assert any("1 column is not used: 'CancerType'" in n for n in simple.one().notices)


@pytest.mark.parametrize("suffix", ["tsv", "txt", "xlsx", "parquet", "csv.gz"])
def test_other_file_formats(simple, suffix):
    wanted = expected(simple)
    simple.frames[f"A.{suffix}"] = simple.frames.pop(FILE)
    simple.cohort()["cibersort"]["files"] = [f"A.{suffix}"]
    got = simple.one().abundance
    # openpyxl writes 16 digits, one short of a float
    pd.testing.assert_frame_equal(got, wanted, check_names=False, check_exact=False, rtol=1e-15, atol=0)


def test_quoted_numbers(simple):
    wanted = expected(simple)
    simple.write()
    simple.frames.pop(FILE).astype(str).to_csv(simple.folder / FILE, index=False, quoting=1)
    assert '"0.0"' in (simple.folder / FILE).read_text()
    got = simple.one().abundance
    pd.testing.assert_frame_equal(got, wanted, check_names=False, check_exact=True)


def test_transposed_layout_is_recognised_and_can_be_read(simple):
    wanted = expected(simple)
    other = {name: alias for alias, name in IMMUNEDECONV_NAMES.items()}
    turned = wanted.rename(columns=other).T.rename_axis("cell_type").reset_index()
    simple.frames[FILE] = turned
    fault = simple.fault()
    assert fault.startswith("cohort 'A', cibersort (A_cibersort.csv): ")
    assert "the table is transposed: 22 of 22 cell types are rows" in fault
    assert 'layout = "cells_in_rows"' in fault
    simple.cohort()["cibersort"]["layout"] = "cells_in_rows"
    assert_read_as(simple, wanted)


def test_layout_set_for_a_table_that_is_not_transposed(simple):
    simple.cohort()["cibersort"]["layout"] = "cells_in_rows"
    assert "the first column names no cell type" in simple.fault()


def test_custom_signature(simple):
    frame = simple.frames[FILE][["Mixture", "Neutrophils"]].assign(**{"CD4+ T": 0.25, "CD4- T": 0.5})
    frame["Neutrophils"] = 0.25
    simple.frames[FILE] = frame
    simple.settings["abundance"] = {"cell_types": ["CD4+ T", "CD4- T", "Neutrophils"]}
    assert list(simple.one().abundance.columns) == ["CD4+ T", "CD4- T", "Neutrophils"]
    assert list(simple.one().abundance.loc["A-01"]) == [0.25, 0.5, 0.25]


def test_exact_duplicates_are_dropped_and_counted(simple):
    wanted = expected(simple)
    frame = simple.frames[FILE]
    simple.frames[FILE] = pd.concat([frame, frame.iloc[[2]]])
    assert_read_as(simple, wanted)
    assert any("1 exact duplicate row dropped (A-03)" in n for n in simple.one().notices)


def aliquots(simple, replicates):
    """A-01 twice, with different values."""
    frame = simple.frames[FILE]
    second = frame.iloc[[1]].assign(Mixture="A-01")
    simple.frames[FILE] = pd.concat([frame, second])
    simple.cohort()["cibersort"]["replicates"] = replicates
    return frame.set_index("Mixture").loc[["A-01", "A-02"]]


def test_aliquots_are_averaged(simple):
    both = aliquots(simple, "mean")
    table = simple.one()
    np.testing.assert_allclose(table.abundance.loc["A-01"], both[CELLS].mean(), rtol=1e-15)
    assert table.quality.loc["A-01", "n_aliquots"] == 2
    assert table.quality.loc["A-01", "p_value"] == pytest.approx(both["P-value"].mean())
    assert abs(table.abundance.loc["A-01"].sum() - 1) < 1e-12
    assert any("1 tumour with more than one row (A-01): the mean is used" in n for n in table.notices)


def test_first_aliquot(simple):
    both = aliquots(simple, "first")
    table = simple.one()
    assert list(table.abundance.loc["A-01"]) == list(both.loc["A-01", CELLS])
    assert table.quality.loc["A-01", "n_aliquots"] == 1


def test_a_sample_that_was_run_again_counts_once_in_the_mean(simple):
    frame = simple.frames[FILE]
    again = frame.iloc[[1]].assign(Mixture="A-01x")
    other = frame.iloc[[2]].assign(Mixture="A-01y")
    simple.frames[FILE] = pd.concat([frame.iloc[1:], again, frame.iloc[[0]].assign(Mixture="A-01x"), other])
    simple.cohort()["cibersort"] |= {"replicates": "mean", "ids": {"prefix_length": 4}}
    rows = frame.set_index("Mixture")[CELLS]
    first, second, third = rows.loc["A-02"], rows.loc["A-01"], rows.loc["A-03"]
    expected_means = {
        None: (first + second + third) / 3,
        "first": (first + third) / 2,
        "mean": ((first + second) / 2 + third) / 2,
    }
    for repeated_samples, mean in expected_means.items():
        if repeated_samples is not None:
            simple.cohort()["cibersort"]["repeated_samples"] = repeated_samples
        table = simple.one()
        np.testing.assert_allclose(table.abundance.loc["A-01"], mean, rtol=1e-14)
        assert table.quality.loc["A-01", "n_aliquots"] == (3 if repeated_samples is None else 2)
    assert any("1 row repeats a sample id with other values, in 1 sample (A-01x)" in n for n in table.notices)


def test_duplicated_ids_are_a_fault_by_default(simple):
    aliquots(simple, "error")
    fault = simple.fault()
    assert "1 tumour has more than one row: A-01 (2 rows)" in fault
    assert 'replicates = "mean" or "first"' in fault


def test_several_files_are_batches(simple):
    wanted = expected(simple)
    frame = simple.frames.pop(FILE)
    simple.frames |= {"one.csv": frame.iloc[:5], "two.txt": frame.iloc[5:]}
    simple.cohort()["cibersort"] |= {"files": ["one.csv", "two.txt"], "batches": ["job 1", "job 2"]}
    simple.settings["model"] = {"batch": True}
    assert_read_as(simple, wanted)
    table = simple.one()
    assert list(table.tumours["batch"]) == ["job 1"] * 5 + ["job 2"] * 7
    assert [f.path for f in table.files][:2] == ["one.csv", "two.txt"]


def test_a_mean_over_batches_has_no_batch(simple):
    frame = simple.frames.pop(FILE)
    simple.frames |= {"one.csv": frame, "two.csv": frame.iloc[[1]].assign(Mixture="A-01")}
    simple.cohort()["cibersort"] |= {
        "files": ["one.csv", "two.csv"],
        "batches": ["x", "y"],
        "replicates": "mean",
    }
    assert "1 tumour is in files of different batches (A-01)" in simple.fault()


def test_samples_left_out_by_keep_matching_are_logged(simple):
    frame = simple.frames[FILE]
    frame.loc[0, "Mixture"] = "A-normal"
    simple.cohort()["cibersort"]["ids"] = {"keep_matching": r"-\d\d$"}
    table = simple.one()
    assert len(table.tumours) == 11
    (exclusion,) = table.exclusions
    assert (exclusion.tumour, exclusion.step) == ("A-normal", "reading")
    assert exclusion.reason == r"sample id does not match '-\d\d$'"


def test_keep_matching_that_keeps_nothing(simple):
    simple.frames[FILE]["Mixture"] = simple.frames[FILE]["Mixture"].str.replace("-", ".")
    simple.cohort()["cibersort"]["ids"] = {"keep_matching": "^A-"}
    faults = simple.faults()
    assert any(
        "keep_matching = '^A-' keeps none of the 12 ids (the first are A.01, A.02, A.03)" in f for f in faults
    )
    assert any("with dots_to_dashes = true it would keep 12" in f for f in faults)


# --- files that must not pass ----------------------------------------------------------------


def test_fractions_above_one(simple):
    frame = simple.frames[FILE]
    frame.loc[[0, 3], "T cells CD8"] = 1.5
    text = simple.fault()
    assert "'T cells CD8' has 2 values above 1 (A-01, A-04; highest 1.5) on the relative scale" in text
    assert "divide percentages by 100" in text


def test_percentages(simple):
    simple.frames[FILE][CELLS] *= 100
    fault = simple.fault()
    assert "percentages: the rows sum to 100, about 100. Divide the abundances by 100" in fault


def test_row_sums_that_are_not_one(simple):
    simple.frames[FILE].loc[4, CELLS] *= 0.5
    fault = simple.fault()
    assert "1 row does not sum to 1 (A-05; sums 0.5" in fault


def test_negative_values(simple):
    simple.frames[FILE].loc[1, "Monocytes"] = -0.2
    assert any(
        "'Monocytes' has 1 negative value (A-02; lowest -0.2). CIBERSORT sets negative weights to 0" in f
        for f in simple.faults()
    )


def test_text_and_decimal_commas_in_a_cell_type(simple):
    simple.frames[FILE]["Monocytes"] = simple.frames[FILE]["Monocytes"].astype(object)
    simple.frames[FILE].loc[1, "Monocytes"] = "low"
    simple.frames[FILE].loc[2, "Monocytes"] = "0,25"
    fault = simple.fault()
    assert "'Monocytes': 2 cells are not a number: 'low' (1), '0,25' (1) (in A-02, A-03)" in fault
    assert "1 has a decimal comma: save with decimal points" in fault


def test_missing_abundances(simple):
    simple.frames[FILE].loc[[1, 2], "Monocytes"] = np.nan
    simple.frames[FILE].loc[1, "Neutrophils"] = np.nan
    fault = simple.fault()
    assert (
        "3 abundances are missing, in 2 tumours (A-02, A-03) and 2 cell types (Monocytes, Neutrophils)"
        in fault
    )


def test_cell_type_missing_in_one_cohort(build):
    two = build("A", "B")
    two.frames["B_cibersort.csv"] = two.frames["B_cibersort.csv"].rename(
        columns={"Neutrophils": "Neutrofils"}
    )
    fault = two.fault()
    assert "cohort 'B'" in fault
    assert "1 cell type is missing: 'Neutrophils' (a column is called 'Neutrofils')" in fault


def test_table_of_something_else(simple):
    simple.frames[FILE] = simple.frames["A_clinical.csv"]
    fault = simple.fault()
    assert "no cell type was found. Wanted: the 22 of LM22; columns: 'Patient', 'Age'" in fault


def test_no_column_of_ids(simple):
    simple.frames[FILE] = simple.frames[FILE].drop(columns="Mixture")
    assert "no column of ids: the first column is the cell type 'B cells naive'" in simple.fault()


def test_p_value_9999_is_a_notice(simple):
    simple.frames[FILE]["P-value"] = 9999
    table = simple.one()
    assert len(table.tumours) == 12
    assert any("P-value 9999 in 12 rows: no permutations were run" in n for n in table.notices)


def test_p_value_9999_cannot_be_filtered_on(simple):
    simple.frames[FILE]["P-value"] = 9999
    simple.cohort()["cibersort"]["max_p_value"] = 0.05
    fault = simple.fault()
    assert "max_p_value = 0.05, but 12 of 12 P-values are 9999: no permutations were run" in fault


def test_max_p_value_excludes_with_a_reason(simple):
    simple.frames[FILE].loc[[0, 5], "P-value"] = 0.2
    simple.cohort()["cibersort"]["max_p_value"] = 0.05
    table = simple.one()
    assert [(e.tumour, e.step, e.reason) for e in table.exclusions] == [
        ("A-01", "reading", "deconvolution P-value above 0.05"),
        ("A-06", "reading", "deconvolution P-value above 0.05"),
    ]
    assert len(table.abundance) == len(table.tumours) == len(table.quality) == 10


# --- scales ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "score", ["Absolute score (sig.score)", "Absolute.score..sig.score.", "Absolute score (no.sumto1)"]
)
def test_absolute_result(simple, score):
    frame = absolute(simple.frames[FILE]).rename(columns={"Absolute score (sig.score)": score})
    simple.frames[FILE] = frame
    simple.settings["abundance"] = {"scale": "absolute"}
    table = simple.one()
    assert table.scale == "absolute"
    assert not any("not used" in n for n in table.notices)
    pd.testing.assert_frame_equal(
        table.abundance, frame.set_index("Mixture")[CELLS], check_names=False, check_exact=True
    )


def test_absolute_table_scaled_twice(simple):
    frame = absolute(simple.frames[FILE])
    score = frame["Absolute score (sig.score)"]
    frame[CELLS] = frame[CELLS].mul(score, axis=0)
    simple.frames[FILE] = frame
    simple.settings["abundance"] = {"scale": "absolute"}
    fault = simple.fault()
    assert "the absolute table is scaled twice: row sums are the square of the Absolute score" in fault
    assert f"median factor {score.median():.4g} too much" in fault
    assert "do not multiply them by it again" in fault


def test_absolute_table_with_changed_cells(simple):
    frame = absolute(simple.frames[FILE])
    frame[CELLS] *= 0.7
    simple.frames[FILE] = frame
    simple.settings["abundance"] = {"scale": "absolute"}
    assert "row sums differ from the Absolute score in 12 rows" in simple.fault()
    assert ", 0.7 times the score" in simple.fault()


def test_study_says_relative_and_the_file_is_absolute(simple):
    simple.frames[FILE] = absolute(simple.frames[FILE])
    fault = simple.fault()
    assert (
        "the study says scale = \"relative\", but the files are absolute: cohort 'A', A_cibersort.csv"
        in fault
    )
    assert 'Set scale = "absolute"' in fault


def test_study_says_absolute_and_the_file_is_relative(simple):
    simple.settings["abundance"] = {"scale": "absolute"}
    fault = simple.fault()
    assert 'the study says scale = "absolute", but the files are relative' in fault
    assert "(rows sum to 1)" in fault


def test_mixed_scales_between_cohorts(build):
    two = build("A", "B")
    two.frames["B_cibersort.csv"] = absolute(two.frames["B_cibersort.csv"])
    fault = two.fault()
    assert fault.startswith("mixed abundance scales: relative: cohort 'A', A_cibersort.csv (rows sum to 1);")
    assert "absolute: cohort 'B', B_cibersort.csv (rows sum to the Absolute score" in fault


def test_mixed_scales_between_files_of_a_cohort(simple):
    frame = simple.frames.pop(FILE)
    simple.frames |= {"one.csv": frame.iloc[:6], "two.csv": absolute(frame.iloc[6:])}
    simple.cohort()["cibersort"]["files"] = ["one.csv", "two.csv"]
    assert "mixed abundance scales" in simple.fault()
