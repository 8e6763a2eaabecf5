"""The section that describes tumours and infiltrate: planted numbers come back under their own labels."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bayes_her2.data import HR_COMPARED, HR_STATUS
from bayes_her2.report import render_report
from bayes_her2.report.load import load_results
from bayes_her2.report.sections.descriptives import variable_name

COHORTS = ("Discovery", "Confirmatory", "External")
CELLS = ("T cells CD8", "Monocytes", "Macrophages M2")
TOTALS = {"Discovery": 104, "Confirmatory": 101, "External": 251}


def comparisons(records: list[dict[str, Any]]) -> None:
    """Add planted comparisons of the strata: another number for each cell type and cohort."""
    template = records[0]
    for i, cell in enumerate(CELLS):
        for j, cohort in enumerate(COHORTS[:2]):
            base = {
                "model": "abundance",
                "outcome": cell,
                "exposure": HR_STATUS,
                "estimand": "probability_greater",
                "contrast": HR_COMPARED,
                "adjustment": "none",
                "stratum": HR_COMPARED,
                "scope": "cohort",
                "cohort": cohort,
                "unit": "probability",
                "interval_prob": 0.95,
                "n": 100,
                "n_zero": 10 * i,
                "status": "observed",
                "fingerprint": template["fingerprint"],
            }
            point = 0.3 + 0.1 * i + 0.15 * j
            ours = {"point": point, "lower": point - 0.04, "upper": point + 0.04, "pd": 0.9, "note": ""}
            credible = {"interval_kind": "credible (equal-tailed)"}
            records.append(base | ours | credible | {"source": "posterior", "method": "models/abundance.py"})
            twin = {"point": point + 0.01, "lower": point - 0.05, "upper": point + 0.06, "p_value": 0.2}
            told = {"interval_kind": "confidence (DeLong, logit)", "note": "presence rule; smallest"}
            records.append(base | twin | told | {"source": "twin", "method": "Wilcoxon rank sum"})


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    pd.DataFrame(rows).to_csv(folder / "tables" / f"{name}.csv", index=False)


def describe(folder: Path, *, ihc: bool = True) -> Path:
    """Add the section's tables to a results folder, each number its own."""
    empty = {"median": None, "q1": None, "q3": None, "n_missing": 0}
    characteristics = []
    for i, cohort in enumerate(COHORTS):
        n = TOTALS[cohort]
        age = {"variable": "age", "level": "", "cohort": cohort, "statistic": "quartiles", "n": n - i}
        characteristics.append(
            age | {"percent": None, "median": 50 + i, "q1": 40 + i, "q3": 60 + i, "n_missing": i}
        )
        missing = {"variable": "age", "level": "missing", "cohort": cohort, "statistic": "count", "n": i}
        characteristics.append(missing | empty | {"percent": 100 * i / n})
        if i == 2:
            gone = {
                "variable": "grade",
                "level": "missing",
                "cohort": cohort,
                "statistic": "field not recorded",
            }
            characteristics.append(gone | empty | {"n": n, "percent": 100.0})
            continue
        for j, level in enumerate(("II", "III")):
            k = 20 + 10 * i + 3 * j
            row = {"variable": "grade", "level": level, "cohort": cohort, "statistic": "count", "n": k}
            characteristics.append(row | empty | {"percent": 100 * k / n})
        row = {"variable": "grade", "level": "missing", "cohort": cohort, "statistic": "count", "n": 0}
        characteristics.append(row | empty | {"percent": 0.0})
    write(folder, "table_one", characteristics)
    composition = [
        {
            "cohort": cohort,
            "stratum": stratum,
            "cell_type": cell,
            "n": 500,
            "mean": 0.4 - 0.1 * c + 0.01 * s,
            "median": 0.1,
            "q1": 0.05,
            "q3": 0.2,
            "share_present": (0.998, 0.7, 1.0)[c],
            "rank": c + 1,
        }
        for cohort in (*COHORTS, "all cohorts")
        for s, stratum in enumerate(("HR+", "HR-", "all"))
        for c, cell in enumerate(CELLS)
    ]
    write(folder, "cell_composition", composition)
    ratio = {
        "her2_ihc": "all",
        "n": 40,
        "n_undefined": 3,
        "n_zero": 5,
        "q1": 0.1,
        "q3": 0.4,
        "undefined": "A/1",
    }
    medians = {"HR+": 0.21, "HR-": 0.33}
    ratios = [ratio | {"cohort": "Discovery", "stratum": s, "median": m} for s, m in medians.items()]
    write(folder, "m1_m2", ratios)
    if ihc:
        write(folder, "her2_by_ihc", measure_rows())
    return folder


def measure_rows() -> list[dict[str, Any]]:
    names = (
        "level other_level shape text n mean sd lowest q1 median q3 highest point lower upper interval_prob"
    )
    blank = dict.fromkeys([*names.split(), "p_value", "p_adjusted"])
    rows = []
    for stratum in ("HR+", "HR-", "all"):
        base = blank | {"cohort": "Discovery", "stratum": stratum}
        for i, level in enumerate(("0", "1+")):
            numbers = {
                "mean": 5.1 + i,
                "lowest": 3,
                "q1": 4.5 + i,
                "median": 5.2 + i,
                "q3": 5.9 + i,
                "highest": 9,
            }
            rows.append(base | numbers | {"row": "level", "level": level, "n": 20 + i})
        pair = {
            "point": 0.71,
            "lower": 0.6,
            "upper": 0.8,
            "interval_prob": 0.95,
            "p_value": 0.01,
            "p_adjusted": 0.03,
        }
        rows.append(base | pair | {"row": "pair", "level": "1+", "other_level": "0", "n": 41})
        rows.append(base | {"row": "all levels", "p_value": 0.013, "n": 41})
        rows.append(
            base | {"row": "verdict", "level": "1+", "shape": "rising", "text": f"Verdict of {stratum}."}
        )
    return rows


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """What the module renders once: 'folder' and 'page'."""
    return {}


@pytest.fixture
def page(builder: Any, read_page: Callable[[Path], Any], made: dict[str, Any]) -> Any:
    if not made:
        folder = describe(builder.build(change=comparisons))
        made |= {"page": read_page(render_report(folder)), "folder": folder}
    return made["page"]


def test_table_one_prints_counts_quartiles_and_what_is_missing(page: Any) -> None:
    grid = page.tables["table_one"]
    assert grid[0][2:] == ["Discovery, n = 104", "Confirmatory, n = 101", "External, n = 251"]
    ages = ["50.0 (40.0 to 60.0)", "51.0 (41.0 to 61.0)", "52.0 (42.0 to 62.0)"]
    assert ["Age, years", "median (quartiles)", *ages] in grid
    assert ["Age, years", "missing", "0 (0)", "1 (1)", "2 (1)"] in grid
    assert ["Grade", "III", "23 (22)", "33 (33)", "not recorded"] in grid


def test_the_measure_by_level_has_its_verdict_and_its_numbers(page: Any) -> None:
    assert "Verdict of all." in page.visible
    assert "Verdict of HR+." not in page.visible
    grid = page.tables["her2_by_ihc"]
    assert [
        "Discovery, HR-",
        "1+",
        "21",
        "6.10",
        "6.20 (5.50 to 6.90)",
        "over 0: 0.71 (0.60 to 0.80), adjusted P 0.030",
        "",
    ] in grid
    assert any(row[0] == "Discovery, all tumours" and row[-1] == "0.013" for row in grid)


def test_composition_and_macrophages_stand_under_their_labels(page: Any) -> None:
    grid = page.tables["cell_composition"]
    row = next(row for row in grid if row[0] == "Monocytes")
    assert row[1:4] == ["0.30 70 %", "0.31 70 %", "0.32 70 %"]
    assert [row[0] for row in grid[2:]] == list(CELLS)
    # 499 of 500 is not all of them
    assert {row[0]: row[1].split(" ", 1)[1] for row in grid[2:]} == {
        "T cells CD8": ">99 %",
        "Monocytes": "70 %",
        "Macrophages M2": "100 %",
    }
    assert ["Discovery, HR-", "all levels", "40", "0.330 (0.100 to 0.400)", "5", "3"] in page.tables["m1_m2"]


@pytest.mark.usefixtures("page")
def test_units_and_fields_are_named_as_the_study_has_them(made: dict[str, Any]) -> None:
    results = load_results(made["folder"])
    scaled = replace(results.study, scale="absolute", multiplier="leukocyte_fraction")
    assert scaled.unit == "share of immune cells times leukocyte_fraction"
    assert replace(scaled, multiplier="").unit == "score"
    named = replace(results, study=replace(results.study, labels={"ki67": "Ki-67, % of cells"}))
    assert variable_name(named, "ki67") == "Ki-67, % of cells"
    assert variable_name(named, "total_til") == "Total TIL score, mean log2 expression"
    assert variable_name(named, "my_field") == "My field"


def test_comparisons_of_the_strata_stand_beside_their_twin(page: Any) -> None:
    grid = page.tables["compared_probability_greater"]
    row = next(row for row in grid if row[:2] == ["Monocytes", "Confirmatory"])
    assert row[2:8] == ["100", "10", "0.55 (0.51 to 0.59)", "0.56 (0.50 to 0.61)", "0.200", "–"]
    assert row[8] == "presence"
    assert "compared_presence_difference" not in page.tables


def test_the_strata_are_not_in_the_tables_of_the_main_model(page: Any) -> None:
    for name, grid in page.tables.items():
        if not name.startswith("compared"):
            assert not any(HR_COMPARED in cell for row in grid for cell in row), name


@pytest.mark.usefixtures("page")
def test_figures_are_there_with_every_cell_type(made: dict[str, Any]) -> None:
    folder = made["folder"]
    comparison = (folder / "figures" / "hr_comparison.svg").read_text(encoding="utf-8")
    for word in (*CELLS, "Discovery", "Confirmatory", "higher in HR-"):
        assert word in comparison
    assert "External" not in re.findall(r">([^<]+)</text>", comparison)
    assert (folder / "figures" / "her2_by_ihc.svg").exists()
    assert (folder / "figures" / "cell_composition.svg").exists()


def test_without_levels_and_with_a_refused_model_the_rest_is_still_described(
    new_builder: Callable[..., Any], read_page: Callable[[Path], Any]
) -> None:
    folder = describe(new_builder("plain").build(refused=True), ihc=False)
    page = read_page(render_report(folder))
    assert {"table_one", "cell_composition", "m1_m2"} <= set(page.tables)
    assert not {"her2_by_ihc", "compared_probability_greater"} & set(page.tables)
    assert not (folder / "figures" / "hr_comparison.svg").exists()


def test_a_folder_without_these_tables_has_no_such_section(finished: tuple[Path, Any]) -> None:
    assert "Tumours and infiltrate described" not in finished[1].visible
