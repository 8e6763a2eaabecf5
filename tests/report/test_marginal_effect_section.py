"""The section of the analysis of covariance: numbers of a made-up posterior come back under their own labels."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from bayes_her2.models import marginal_effect as model_file

from bayes_her2.bayesian.ancova import ancova
from bayes_her2.comparison import concordance
from bayes_her2.data import AnalysisSet
from bayes_her2.estimates import ALL, Estimates
from bayes_her2.frequentist import TWIN_TABLES, marginal_effect_twin
from bayes_her2.report import render_report
from bayes_her2.report.sections.marginal_effect import factor, fixed

SIZES = {("A", "HR+"): 40, ("A", "HR-"): 24, ("B", "HR+"): 36, ("B", "HR-"): 22}
CELLS = {"Monocytes": 0.1, "B cells naive": 0.0, "Neutrophils": 0.6}


def made_up_posterior(data: AnalysisSet) -> xr.Dataset:
    """Draws of every coefficient, normal around nothing in particular: no sampler is needed to lay out a page."""
    rng = np.random.default_rng(3)
    design = ancova(data)
    sizes = {
        "cohort": list(design.shape.cohorts),
        "cell_type": list(design.cell_types),
        "step": list(design.steps),
    }
    several = design.shape.several_cohorts
    dims: dict[str, tuple[str, ...]] = {"slope": ("cell_type",), "intercept": ("cell_type",)}
    dims |= {"hr": ("cell_type",), "her2_x_hr": ("cell_type",)}
    dims |= {term: ("cell_type",) for term in ("ihc", "her2_x_ihc", "hr_x_ihc")}
    dims["log_residual_sd"] = ("cohort", "cell_type")
    if several:
        dims |= {f"{t}_by_cohort": ("cohort", "cell_type") for t in ("slope", "intercept")}
    made = {
        name: (("chain", "draw", *own), rng.normal(0.0, 0.1, size=(2, 60, *(len(sizes[d]) for d in own))))
        for name, own in dims.items()
    }
    shares = rng.dirichlet([1.0, 1.0], size=(2, 60, len(design.cell_types)))
    for term in ("ihc", "her2_x_ihc", "hr_x_ihc"):
        made[f"{term}_step_shares"] = (("chain", "draw", "cell_type", "step"), shares)
    if several:
        made["slope_between_cohorts_sd"] = (("chain", "draw"), np.abs(rng.normal(0.0, 0.1, size=(2, 60))))
    return xr.Dataset(made, coords={"chain": [0, 1], "draw": range(60), **sizes})


def add_model(folder: Path, data: AnalysisSet) -> Estimates:
    """Write everything that a run writes of this model into a results folder."""
    posterior = made_up_posterior(data)
    draws = model_file.estimand_draws(posterior, data, model_file.PRIORS, np.random.default_rng(1))
    ours, twin = model_file.estimates(draws, data), marginal_effect_twin(data)
    tables = folder / "tables"

    def append(name: str, rows: pd.DataFrame) -> None:
        path = tables / f"{name}.csv"
        rows = rows if "model" in rows else rows.assign(model="marginal_effect")
        kept = pd.read_csv(path, dtype=object, keep_default_na=False)
        pd.concat([kept, rows.astype(object).where(rows.notna(), "")]).to_csv(path, index=False)

    append("estimates", Estimates.concat([ours, twin]).table)
    append("concordance", concordance(ours, twin))
    checks = model_file.predictive_checks(None, posterior, data, 1, 0.95)
    append("posterior_predictive", checks)
    for name, table in model_file.tables(posterior, draws, data, model_file.PRIORS, interval=0.95).items():
        table.to_csv(tables / f"marginal_effect_{name}.csv", index=False)
    for name, make in TWIN_TABLES["marginal_effect"].items():
        make(data).to_csv(tables / f"marginal_effect_{name}.csv", index=False)
    for name in ("priors", "prior_predictive", "diagnostics", "sampling"):
        rows = pd.read_csv(tables / f"{name}.csv")
        append(name, rows.assign(model="marginal_effect"))
    content = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    record = dict(content["models"]["abundance"])
    record |= {"question": model_file.QUESTION, "n_tumours": len(data.tumours), "cohorts": list(data.cohorts)}
    content["models"]["marginal_effect"] = record
    content["left_out"] = {}
    (folder / "provenance.json").write_text(json.dumps(content), encoding="utf-8")
    return Estimates.concat([ours, twin])


type Made = tuple[Any, Estimates, Path]


@pytest.fixture(scope="module")
def make(
    tmp_path_factory: pytest.TempPathFactory,
    builder_in: Callable[[Path], Any],
    read_page: Callable[[Path], Any],
) -> Callable[[AnalysisSet], Made]:
    """Folder with this model's results, rendered: page, estimates, folder."""

    def of(data: AnalysisSet) -> Made:
        folder = builder_in(tmp_path_factory.mktemp("ancova") / "results").build()
        estimates = add_model(folder, data)
        return read_page(render_report(folder)), estimates, folder

    return of


@pytest.fixture(scope="module")
def two(ancova_set_of: Any) -> AnalysisSet:
    return ancova_set_of(SIZES, cells=CELLS)


@pytest.fixture(scope="module")
def made(make: Any, two: AnalysisSet) -> Made:
    """Two cohorts. Read it, do not change it."""
    return make(two)


@pytest.fixture(scope="module")
def alone(make: Any, ancova_set_of: Any) -> Made:
    """One cohort without a tumour in HR- with IHC 2+, on ranks."""
    levels = {"HR+": (1, 1, 1), "HR-": (1, 1, 0)}
    sizes = {("A", "HR+"): 50, ("A", "HR-"): 30}
    return make(ancova_set_of(sizes, cells=CELLS, levels=levels, outcome_scale="rank"))


def one(table: pd.DataFrame, **equal: str) -> pd.Series:
    for column, value in equal.items():
        table = table[table[column] == value]
    assert len(table) == 1, equal
    return table.iloc[0]  # one row, checked above


def test_slopes_stand_under_their_own_cell_type_and_weights(made: Made) -> None:
    page, estimates, folder = made
    rows = [r for r in page.tables["marginal_slopes"] if r[0] in CELLS]
    # The seed study's cell types come first, and only continuous ones are shown.
    assert [r[:2] for r in rows] == [
        ["B cells naive", "observed"],
        ["B cells naive", "equal"],
        ["Monocytes", "observed"],
        ["Monocytes", "equal"],
    ]
    for cell, weighting, posterior, twin, *_ in rows:
        own = estimates.table[
            (estimates.table["outcome"] == cell)
            & (estimates.table["contrast"] == f"h + 1 SD over h, {weighting} weights")
        ]
        ours = one(own, source="posterior", stratum=ALL, scope="pooled")
        theirs = one(own[own["method"] == "cohort fixed"], source="twin", stratum=ALL, scope="pooled")
        assert posterior == fixed(ours["point"], ours["lower"], ours["upper"])
        assert twin == fixed(theirs["point"], theirs["lower"], theirs["upper"])
    assert "have none of the cell type: Neutrophils." in page.visible
    for name in ("marginal_means_observed", "marginal_means_equal", "marginal_slopes_observed", "linearity"):
        assert (folder / "figures" / f"{name}.svg").exists()
        assert f"figure-{name}" in page.ids


def test_type_iii_tests_and_checks_are_those_of_the_twin(made: Made, two: AnalysisSet) -> None:
    page, _, _ = made
    assert page.tables["ancova_tests"][0][1:] == [
        "cohort",
        "HER2",
        "HR",
        "IHC",
        "HER2 x HR",
        "HER2 x IHC",
        "HR x IHC",
    ]
    assert {r[1] for r in page.tables["ancova_tests_by_cohort"][1:]} == {"A", "B"}
    row = one(
        TWIN_TABLES["marginal_effect"]["tests"](two), cell_type="Monocytes", scope="pooled", term="her2 x hr"
    )
    shown = next(r for r in page.tables["ancova_tests"] if r[0] == "Monocytes")[5]
    assert shown.startswith(f"{row['p_value']:.3f} F(1, ")
    assert {r[0] for r in page.tables["ancova_residuals"][1:]} == {"B cells naive", "Monocytes"}
    assert {r[0] for r in page.tables["linearity"][2:]} == {"B cells naive", "Monocytes"}


def test_spreads_stand_beside_their_priors_on_the_page(made: Made, two: AnalysisSet) -> None:
    page, _, folder = made
    written = pd.read_csv(folder / "tables" / "marginal_effect_heterogeneity.csv", keep_default_na=False)
    shown = page.tables["ancova_spreads"][1:]
    assert len(shown) == len(written)
    row = one(written, term="slope", between="cohorts")
    line = next(r for r in shown if "two cohorts: one difference for each cell type informs it" in r)
    assert fixed(row["point"], row["lower"], row["upper"]) in line
    assert "0.17" in line  # the median of a half-normal distribution with scale 0.25


def test_overwhelming_evidence_against_the_line_is_not_printed_as_a_number() -> None:
    assert factor(21708.0) == "over 1,000,000"
    assert factor(np.log10(2.5)) == "2.5"
    assert factor(-1.0) == "0.10"


def test_one_cohort_has_no_tables_by_cohort(alone: Made) -> None:
    page, _, _ = alone
    assert "marginal_slopes_by_cohort" not in page.tables
    assert "ancova_tests_by_cohort" not in page.tables
    assert "marginal_slopes" in page.tables


def test_an_empty_cell_is_said_where_there_is_no_number(alone: Made) -> None:
    page, estimates, _ = alone
    assert (
        "no test of HR, IHC and HR x IHC, since the tumours do not determine all of its coefficients (no tumours: HR- "
        "with IHC 2+)" in page.visible
    )
    means = estimates.select(estimand="marginal_mean", source="posterior", stratum=ALL, scope="pooled")
    assert set(means[means["contrast"] == "mean at h, equal weights"]["status"]) == {"prior-only"}
    assert "Pale band and dashed posterior: prior-only." in page.visible


def test_other_outcome_scales_name_their_unit(alone: Made) -> None:
    page, _, _ = alone
    assert "change of the mean abundance (rank within the cohort (0 to 1)) per SD of HER2" in page.visible


def changed(made: Made, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Copy of the results folder with another provenance."""
    shutil.copytree(made[2], target)
    content = json.loads((target / "provenance.json").read_text(encoding="utf-8"))
    change(content)
    (target / "provenance.json").write_text(json.dumps(content), encoding="utf-8")
    return target


def test_a_refused_fit_shows_its_reasons_and_no_numbers(
    made: Made, tmp_path: Path, read_page: Callable[[Path], Any]
) -> None:
    def refuse(content: dict[str, Any]) -> None:
        refused = {"status": "refused", "reasons": ["3 divergent transitions"]}
        content["models"]["marginal_effect"] |= refused
        content["status"] = "partly refused"

    folder = changed(made, tmp_path / "results", refuse)
    page = read_page(render_report(folder))
    assert "3 divergent transitions" in page.visible
    assert "marginal_slopes" not in page.tables
    assert not (folder / "figures" / "marginal_means_observed.svg").exists()


def test_the_section_stands_alone_when_the_main_model_was_not_fitted(
    made: Made, tmp_path: Path, read_page: Callable[[Path], Any]
) -> None:
    def leave_out(content: dict[str, Any]) -> None:
        del content["models"]["abundance"]

    page = read_page(render_report(changed(made, tmp_path / "results", leave_out)))
    assert "marginal_slopes" in page.tables


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((0.0123, 0.0051, 0.0192), "0.012 (0.005 to 0.019)"),
        ((-0.4, -1.2, 0.4), "−0.4 (−1.2 to 0.4)"),
        ((None, None, None), "–"),
        ((12.0, 3.0, 41.0), "12 (3 to 41)"),
    ],
)
def test_numbers_carry_two_digits_of_their_interval(values: tuple[Any, ...], text: str) -> None:
    assert fixed(*values) == text
