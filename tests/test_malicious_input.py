"""Input made to do harm: formulas for spreadsheets, markup for browsers, paths out of the results folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayes_her2.errors import StudyError
from bayes_her2.estimates import write_table
from bayes_her2.files import is_formula
from bayes_her2.inputs.study import parse_study
from bayes_her2.simulation import SEED_DESIGN, simulate_cohorts, write_study
from bayes_her2.workflow.check import check_study
from bayes_her2.workflow.results import ResultsFolder

FORMULAS = (
    "=1+1",
    '=HYPERLINK("http://x")',
    "+1+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1)",
    "\t=1",
    "\r=1",
)
HARMLESS = ("T1", "HR+", "-0.5", "+1e-3", "-0.44 (-0.53 to -0.34)", "", "a=1", "1+", "−1")


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_known(text: str) -> None:
    assert is_formula(text)


@pytest.mark.parametrize("text", [*HARMLESS, 1.5, None, np.nan])
def test_numbers_and_names_are_no_formulas(text: object) -> None:
    assert not is_formula(text)


def test_no_cell_of_a_table_is_a_formula_and_the_rest_is_as_it_was(tmp_path: Path) -> None:
    values = [*FORMULAS, *HARMLESS]
    table = pd.DataFrame({"tumour": values, "x": np.arange(len(values)) - 3.5}, index=values)
    for index in (False, True):
        write_table(table, tmp_path / "t.csv", index=index)
        found = pd.read_csv(tmp_path / "t.csv", keep_default_na=False, index_col=0 if index else None)
        columns = [found["tumour"], *([found.index] if index else [])]
        for cells in columns:
            assert list(cells) == [*(f"'{text}".replace("\r", " ") for text in FORMULAS), *HARMLESS]
        np.testing.assert_array_equal(found["x"], table["x"])
    assert list(table["tumour"]) == values  # what is written is changed, not what is held


STUDY = """
[study]
name = {study}
seed = 1
[her2]
measure = "ERBB2"
label = {label}
[[cohort]]
name = {cohort}
platform = "RNA-seq"
[cohort.cibersort]
files = ["a.csv"]
[cohort.clinical]
file = "c.csv"
fields = {{ er = "er", pgr = "pgr", her2_ihc = "ihc" }}
"""


@pytest.mark.parametrize("place", ["study", "label", "cohort"])
@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "@SUM(1)", "a\\nb"])
def test_a_name_that_is_a_formula_is_refused_where_it_stands(place: str, text: str) -> None:
    names = {"study": '"S"', "label": '"L"', "cohort": '"C"'} | {place: f'"{text}"'}
    with pytest.raises(StudyError, match="begin it with a letter or a digit") as caught:
        parse_study(STUDY.format(**names), path=Path("study.toml"), check_files=False)
    assert "line" in str(caught.value)


@pytest.mark.parametrize(
    "name", ["../../evil", "<script>alert(1)</script>", "..", "/etc/passwd", "a\\b", "nul\u202e"]
)
def test_a_cohort_of_any_other_name_writes_only_where_it_should(tmp_path: Path, name: str) -> None:
    design = replace(SEED_DESIGN, cohorts=(replace(SEED_DESIGN.cohorts[0], name=name),))
    inside = tmp_path / "a" / "b" / "study"
    study = write_study(inside, simulate_cohorts(np.random.default_rng(1), design), 1)
    checked = check_study(study)
    out = tmp_path / "a" / "b" / "out"
    folder = ResultsFolder(out)
    assert checked.prepared is not None
    with folder.opened("x", {}, checked.study.name):
        folder.table("tumours", checked.prepared.data.tumours, index=True)
        folder.put_in_place()
    files = {p for p in tmp_path.rglob("*") if p.is_file()}
    assert files
    assert all(p.is_relative_to(inside) or p.is_relative_to(out) for p in files)
    assert {str(c) for c in checked.prepared.data.tumours["cohort"]} == {name}
