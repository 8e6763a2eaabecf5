"""The section of the rank correlations: every number where its label says, and no tumour named.

The posterior is planted (normal draws in place of sampled ones); the twin is computed from a small data set.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bayes_her2.models import rank_correlation as model
from rank_studies import planted_posterior, simulated_set

from bayes_her2.comparison import concordance
from bayes_her2.estimates import Estimates
from bayes_her2.frequentist import rank_correlation_twin
from bayes_her2.report import formats, render_report

LABEL = "ERBB2 mRNA, log2(FPKM + 1)"
CELLS = ("B cells naive", "T cells CD8", "Monocytes")
SIZES = {("Discovery", "HR+"): 60, ("Discovery", "HR-"): 40, ("External", "HR+"): 70, ("External", "HR-"): 45}


@pytest.fixture(scope="module")
def data():
    rho = {"B cells naive": [0.4, 0.1], "T cells CD8": [-0.2, 0.3], "Monocytes": [0.0, 0.0]}
    made = simulated_set(
        71,
        SIZES,
        rho,
        {"T cells CD8": 0.3, "Monocytes": 0.9},
        between=0.4,
        measures=["ESR1"],
        infiltrate=True,
        label=LABEL,
    )
    assert made.measure == LABEL
    return made


def answered(data: Any) -> Any:
    posterior = planted_posterior(data)
    draws = model.estimand_draws(posterior, data, model.PRIORS, np.random.default_rng(1))
    tables = model.tables(posterior, draws, data, model.PRIORS, interval=0.95)
    return model.estimates(draws, data), rank_correlation_twin(data), tables


@pytest.fixture(scope="module")
def answer(data):
    return answered(data)


def add(folder: Path, data: Any, answer: Any) -> None:
    """Write the model's rows beside those of the main model."""
    ours, twin, made = answer
    tables = folder / "tables"

    def append(table: str, frame: pd.DataFrame) -> None:
        path = tables / f"{table}.csv"
        frame.to_csv(path, mode="a", header=not path.exists(), index=False, lineterminator="\n")

    append("estimates", Estimates.concat([ours, twin]).table)
    columns = pd.read_csv(tables / "concordance.csv", nrows=0).columns
    append("concordance", concordance(ours, twin).reindex(columns=columns))
    for table in ("priors", "prior_predictive", "diagnostics", "sampling"):
        rows = pd.read_csv(tables / f"{table}.csv", keep_default_na=False)
        append(table, rows[rows["model"] == "abundance"].assign(model="rank_correlation"))
    for name, frame in made.items():
        append(f"rank_correlation_{name}", frame)
    content = json.loads((folder / "provenance.json").read_text())
    content["models"]["rank_correlation"] = content["models"]["abundance"] | {
        "question": model.QUESTION,
        "n_tumours": len(data.tumours),
        "cohorts": list(data.cohorts),
    }
    (folder / "provenance.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def folder(builder_in, tmp_path_factory, data, answer):
    made = builder_in(tmp_path_factory.mktemp("ranks") / "results").build()
    add(made, data, answer)
    render_report(made)
    return made


@pytest.fixture(scope="module")
def page(read_page, folder):
    return read_page(folder / "report.html")


def text_of(table: pd.DataFrame, **equal: str) -> str:
    for column, value in equal.items():
        table = table[table[column] == value]
    assert len(table) == 1
    row = table.iloc[0]
    return formats.interval(row["point"], row["lower"], row["upper"], row["estimand"])


def test_figures_and_tables_stand_under_their_labels(page, answer, data, folder):
    assert "rank_correlation" in page.ids
    for name in ("bars", "scatter", "matrix"):
        assert f"figure-rank_correlation_{name}" in page.ids
    ours, twin, tables = answer
    grid = page.tables["rank_correlation_all"]
    for stratum in ("HR+", "HR-", "all"):
        where = {"outcome": "T cells CD8", "exposure": LABEL, "stratum": stratum, "scope": "pooled"}
        row = next(r for r in grid if r[:2] == ["T cells CD8", stratum])
        assert row[4].startswith(text_of(ours.table, **where, estimand="spearman"))
        assert row[6].startswith(text_of(twin.table, **where, estimand="spearman"))
        assert row[9].startswith(text_of(ours.table, **where, estimand="latent_spearman"))
    comparison = page.tables["rank_correlation_comparison"]
    known = tables["comparison"].query(
        "scope == 'pooled' and outcome == 'B cells naive' and stratum == 'HR-'"
    )
    row = next(r for r in comparison if r[:3] == ["B cells naive", "ESR1", "HR-"])
    assert row[6] == formats.probability(float(known["probability_stronger"].iloc[0]))
    # The infiltrate, which the seed study's claim is about, comes first.
    assert next(r[0] for r in comparison if r and r[0] in (*CELLS, "tils")) == "tils"
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert not [name for name in data.tumours.index if name in text]


def test_spreads_between_cohorts_stand_beside_their_priors(page, answer):
    grid = page.tables["rank_correlation_heterogeneity"]
    known = answer[2]["heterogeneity"].query("exposure == @LABEL and strata == 'all'").iloc[0]
    row = next(r for r in grid if r[:2] == [LABEL, "all tumours"])
    assert row[3] == formats.interval(known["between_sd_point"], known["lower"], known["upper"], "between_sd")
    assert row[4] == formats.signed(known["prior_median"])


def test_borrowed_numbers_are_marked_and_have_no_n(builder, read_page):
    sizes = {key: n for key, n in SIZES.items() if key != ("External", "HR-")}
    lent = simulated_set(
        73, sizes, {cell: [0.3, 0.1] for cell in CELLS}, measures=["ESR1"], infiltrate=True, label=LABEL
    )
    folder = builder.build()
    add(folder, lent, answered(lent))
    render_report(folder)
    page = read_page(folder / "report.html")
    rows = {tuple(r[:2]): r for r in page.tables["rank_correlation_all"] if r[0] == CELLS[0]}
    assert (rows[CELLS[0], "HR+"][2], rows[CELLS[0], "HR-"][2]) == ("130", formats.MISSING)
    assert rows[CELLS[0], "HR-"][4].endswith("borrowed")
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "Grey italics: borrowed" in text
    assert "Borrowed: the two strata are averaged over different cohorts: only Discovery has both." in text


def test_cell_types_without_any_correlation_are_left_out(page):
    assert not [r for r in page.tables["rank_correlation_all"] if r and r[0] == "Monocytes"]
