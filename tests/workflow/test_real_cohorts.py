"""Public cohorts: the disagreement on plasma cells is shown, not averaged away."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from bayes_her2.models import abundance

from bayes_her2.bayesian.fit import Sampling, fit_model
from bayes_her2.workflow.check import check_study

STUDIES = Path(__file__).parents[2] / "studies"
CELL_TYPES = ["Plasma cells", "T cells CD8", "Macrophages M1", "Mast cells resting", "Neutrophils"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.sampling,
    pytest.mark.real_data,
    pytest.mark.skipif(
        not os.environ.get("BAYES_HER2_DATA"),
        reason="BAYES_HER2_DATA is not set: the public cohorts are not here",
    ),
]


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    """Posterior of TCGA and METABRIC for five cell types."""
    data = check_study(STUDIES / "tcga_metabric.toml").prepared.data
    assert len(data.tumours) == 1849
    data = replace(data, abundance=data.abundance[CELL_TYPES], high=data.high[CELL_TYPES])
    fit = fit_model("abundance", data, sampling=Sampling(seed=4), progress=False)
    assert fit.diagnostics.passed, fit.diagnostics.reasons
    return abundance.estimates(fit.estimand_draws, data).table


def one(table: pd.DataFrame, **equal: str) -> pd.Series:
    rows = table
    for column, value in equal.items():
        rows = rows[rows[column] == value]
    assert len(rows) == 1, rows
    return rows.iloc[0]


def test_plasma_cells_rise_in_tcga_and_fall_in_metabric(table):
    common = {"outcome": "Plasma cells", "estimand": "overall", "stratum": "HR+"}
    tcga = one(table, scope="cohort", cohort="TCGA-BRCA", **common)
    metabric = one(table, scope="cohort", cohort="METABRIC", **common)
    assert tcga["lower"] > 1
    assert metabric["point"] < 1
    assert metabric["pd"] > 0.95


def test_pooled_and_new_cohort_rows_show_that_disagreement(table):
    common = {"outcome": "Plasma cells", "estimand": "overall", "stratum": "HR+"}
    pooled = one(table, scope="pooled", **common)
    new = one(table, scope="new cohort", **common)
    tcga = one(table, scope="cohort", cohort="TCGA-BRCA", **common)
    metabric = one(table, scope="cohort", cohort="METABRIC", **common)
    assert pooled["lower"] < 1 < pooled["upper"]
    assert new["lower"] < metabric["point"] < 1 < tcga["point"] < new["upper"]


def test_metabric_borrows_its_hr_negative_rows_and_says_so(table):
    row = one(
        table, outcome="T cells CD8", estimand="amount", stratum="HR-", scope="cohort", cohort="METABRIC"
    )
    assert row["status"] == "borrowed"
    assert row["note"].startswith("METABRIC has no HR- tumours")
    pooled = one(table, outcome="T cells CD8", estimand="amount", stratum="HR-", scope="pooled")
    assert pooled["status"] == "borrowed"
    assert pooled["note"].startswith(
        "rests on TCGA-BRCA for HR- tumours; the slope of METABRIC there is inferred"
    )
    ratio = one(table, outcome="T cells CD8", estimand="amount", stratum="HR- over HR+", scope="pooled")
    assert (ratio["status"], ratio["note"]) == ("observed", "rests on TCGA-BRCA alone")
    assert ratio["n"] == 737
    new = one(table, outcome="T cells CD8", estimand="amount", stratum="HR-", scope="new cohort")
    assert new["status"] == "prior-only"
