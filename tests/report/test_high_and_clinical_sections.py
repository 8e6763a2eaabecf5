"""The sections of high abundance and of the clinical models: every number where its label says, separation named.

Posteriors are planted (normal draws in place of sampled ones); twins are fitted to a small data set.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from bayes_her2.models import clinical, high_abundance

from bayes_her2.bayesian.predictive import predictive_row, predictive_table
from bayes_her2.comparison import concordance
from bayes_her2.data import ClinicalOutcome, ModelChoices
from bayes_her2.estimates import PROFILE_LIKELIHOOD, Estimates
from bayes_her2.frequentist import clinical_twin, high_abundance_twin
from bayes_her2.report import formats, render_report
from bayes_her2.report.high import mark_notes, marked, rules_of

CELLS = ("B cells naive", "T cells CD8", "Monocytes")
OUTCOMES = (
    ClinicalOutcome("age > 50 years", "age", above=50.0),
    ClinicalOutcome("tumour > 2 cm", "size_cm", above=2.0),
)
SIZES = {("Discovery", "HR+"): 60, ("Discovery", "HR-"): 40, ("External", "HR+"): 70, ("External", "HR-"): 45}


@pytest.fixture(scope="module")
def sets(tumours_of, data_of):
    tumours, abundance = tumours_of(81, SIZES, dict.fromkeys(CELLS, 0.5))
    rng = np.random.default_rng(82)
    tumours["age"] = rng.integers(35, 70, size=len(tumours)).astype(float)
    tumours["size_cm"] = rng.uniform(0.5, 4.0, size=len(tumours))
    tumours.loc[tumours["cohort"] == "External", "size_cm"] = np.nan
    own = (tumours["cohort"] == "Discovery") & (tumours["hr"] == "HR-")
    abundance.loc[own, "Monocytes"] = np.where(tumours.loc[own, "her2"] > 7.2, 0.03, 0.0)  # separated
    data = data_of(tumours, abundance, settings=ModelChoices(clinical=OUTCOMES))
    return {name: data.for_model(name) for name in ("high_abundance", "clinical")}


def planted(model: Any, data: Any) -> xr.Dataset:
    graph, rng = model.build(data, model.PRIORS), np.random.default_rng(83)
    variables = {}
    for variable in graph.free_RVs:
        dims = graph.named_vars_to_dims.get(variable.name, ())
        labels = {d: list(graph.coords[d]) for d in dims}
        centre = rng.normal(0, 0.5, size=[len(v) for v in labels.values()])
        values = centre + rng.normal(0, 0.1, size=(2, 100, *centre.shape))
        if variable.name.endswith("_sd"):
            values = 0.1 + np.abs(values)
        variables[variable.name] = (("chain", "draw", *dims), values)
    coords = {d: list(graph.coords[d]) for v in variables.values() for d in v[0] if d in graph.coords}
    return xr.Dataset(variables, coords=coords)


@pytest.fixture(scope="module")
def answers(sets):
    """Posterior, twin and counts of both models."""
    found = {}
    for model, twin in ((high_abundance, high_abundance_twin), (clinical, clinical_twin)):
        data = sets[model.__name__.rsplit(".", 1)[-1]]
        posterior = planted(model, data)
        draws = model.estimand_draws(posterior, data, model.PRIORS, np.random.default_rng(1))
        tables = model.tables(posterior, draws, data, model.PRIORS, interval=0.95)
        rng = np.random.default_rng(2)
        keys = (
            data.tumours[["cohort", "hr"]].drop_duplicates().astype("str").itertuples(index=False, name=None)
        )
        tables["posterior_predictive"] = predictive_table(
            [
                predictive_row(CELLS[0], c, s, "share high", 0.5, rng.uniform(0.6, 1, 50), 0.95)
                for c, s in keys
            ]
        )
        found[data.model] = (model.estimates(draws, data), twin(data), tables, data)
    return found


def add(folder: Path, name: str, answer: Any) -> None:
    """Write a model's rows beside those of the main model."""
    ours, twin, made, data = answer
    tables = folder / "tables"

    def append(table: str, frame: pd.DataFrame) -> None:
        path = tables / f"{table}.csv"
        frame.to_csv(path, mode="a", header=not path.exists(), index=False, lineterminator="\n")

    append("estimates", Estimates.concat([ours, twin]).table)
    columns = pd.read_csv(tables / "concordance.csv", nrows=0).columns
    append("concordance", concordance(ours, twin).reindex(columns=columns))
    for table in ("priors", "prior_predictive", "diagnostics", "sampling"):
        rows = pd.read_csv(tables / f"{table}.csv", keep_default_na=False)
        append(table, rows[rows["model"] == "abundance"].assign(model=name))
    predicted = made["posterior_predictive"]
    append("posterior_predictive", predicted.assign(model=name)[["model", *predicted.columns]])
    for table, frame in made.items():
        if table != "posterior_predictive":
            append(f"{name}_{table}", frame)
    content = json.loads((folder / "provenance.json").read_text())
    content["models"][name] = content["models"]["abundance"] | {
        "question": f"The question of {name}?",
        "n_tumours": len(data.tumours),
        "cohorts": list(data.cohorts),
    }
    (folder / "provenance.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def folder(builder_in, tmp_path_factory, answers) -> Path:
    made = builder_in(tmp_path_factory.mktemp("sections") / "results").build()
    for name, answer in answers.items():
        add(made, name, answer)
    return made


@pytest.fixture(scope="module")
def page(folder, read_page):
    render_report(folder)
    return read_page(folder / "report.html")


def text_of(table: pd.DataFrame, **equal: str) -> str:
    for column, value in equal.items():
        table = table[table[column] == value]
    assert len(table) == 1
    row = table.iloc[0]
    return formats.interval(row["point"], row["lower"], row["upper"], row["estimand"])


def test_each_model_has_its_section_figure_and_tables(page, folder):
    for name in ("high_abundance", "clinical"):
        assert name in page.ids
        assert f"The question of {name}?" in page.visible
        assert f"figure-{name}_odds" in page.ids
        assert (folder / "figures" / f"{name}_odds.svg").stat().st_size > 10_000
    assert {"high_abundance_interaction", "high_abundance_separated", "high_abundance_odds"} <= set(
        page.tables
    )
    assert {"clinical_found", "clinical_odds"} <= set(page.tables)
    assert page.visible.index("Odds of high abundance") < page.visible.index(
        "Clinical variables and abundance"
    )


def test_odds_ratios_stand_under_their_labels(page, answers):
    ours, twin, _, _ = answers["high_abundance"]
    grid = page.tables["high_abundance_odds"]
    for cell in CELLS:
        for stratum in ("HR+", "HR-", "HR- over HR+"):
            labels = {"outcome": cell, "stratum": stratum, "scope": "pooled"}
            row = next(r for r in grid if r[0].startswith(cell) and r[1] == stratum)
            assert text_of(ours.table, **labels, estimand="high_abundance_conditional") == row[4]
            assert text_of(ours.table, **labels, estimand="high_abundance") == row[9]
            marginal = text_of(twin.table, **labels, estimand="high_abundance", method="cohort fixed")
            assert marginal == row[10]


def test_p_for_interaction_is_shown_by_wald_and_by_likelihood_ratio(page, answers):
    twin = answers["high_abundance"][1].table
    labels = {"estimand": "high_abundance_conditional", "stratum": "HR- over HR+", "scope": "pooled"}
    for cell in CELLS:
        row = next(r for r in page.tables["high_abundance_interaction"] if r[0].startswith(cell))
        rows = twin[(twin["outcome"] == cell)]
        for column, value in labels.items():
            rows = rows[rows[column] == value]
        p = rows.set_index("method")["p_value"]
        assert row[11] == formats.p_value(float(p["cohort fixed"]))
        assert row[12] == formats.p_value(float(p[PROFILE_LIKELIHOOD]))


def test_separated_rows_are_named(page):
    grid = page.tables["high_abundance_separated"]
    rows = [row for row in grid if row[0] == "Monocytes"]
    assert [(row[1], row[2]) for row in rows] == [("Discovery", "HR-"), ("Discovery", "HR- over HR+")]
    assert all("no finite slope maximises the likelihood" in row[-1] for row in rows)


def test_clinical_rows_stand_under_outcome_and_cell_type(page, answers):
    ours, twin, _, _ = answers["clinical"]
    grid = page.tables["clinical_odds"]
    for outcome in ("age > 50 years", "tumour > 2 cm"):
        for cell in CELLS:
            row = next(r for r in grid if r[0] == outcome and r[1].startswith(cell))
            labels = {"outcome": outcome, "exposure": f"high abundance of {cell}", "scope": "pooled"}
            assert text_of(ours.table, **labels, stratum="HR+") == row[3]
            assert text_of(ours.table, **labels, stratum="HR- over HR+") == row[9]
            method = "single cohort" if outcome == "tumour > 2 cm" else "common effect"
            assert text_of(twin.table, **labels, stratum="HR-", method=method) == row[7]
    assert "'tumour > 2 cm' leaves out External" in page.visible


def test_no_two_columns_of_the_interactions_share_a_name_and_only_one_p_is_called_wald(page, folder):
    header = page.tables["high_abundance_interaction"][1]
    named = [text for text in header if text.startswith("P, ")]
    assert named == ["P, twin", "P, Wald", "P, LR", "P, LR, Bonferroni"]


def test_numbers_high_and_the_two_meanings_of_high_are_shown(page, answers, sets):
    # In Discovery Monocytes are absent from many tumours (presence), in External the fixture decides.
    data = sets["high_abundance"]
    grid = page.tables["high_abundance_odds"]
    rules = data.rules.groupby("cell_type")["high_rule"].nunique()
    for cell in CELLS:
        row = next(r for r in grid if r[0].startswith(cell) and r[1] == "HR-")
        assert row[3] == str(int(data.high.loc[data.tumours["hr"] == "HR-", cell].sum()))
        assert ("\u2020" in row[0]) == (rules[cell] > 1)
    cutoffs = page.tables["high_abundance_cutoffs"]
    assert len([r for r in cutoffs if r[1] in ("Discovery", "External")]) == 2 * len(CELLS)


def test_critical_sds_of_both_published_interactions_stand_beside_the_prior_sd(page):
    assert "before other cell types speak: 0.71." in page.visible
    assert "0.775 (mast cells resting) and 0.568 (neutrophils)" in page.visible
    assert "an interval that includes 1; neutrophils 0.10" in page.visible


def test_spreads_sweep_and_predictive_misses_are_shown(page):
    assert [r[0] for r in page.tables["high_abundance_spreads"]][1:] == ["slope", "hr", "interaction"]
    assert len(page.tables["high_abundance_sweep"]) == 1 + 4
    for name in ("high_abundance", "clinical"):
        assert len(page.tables[f"{name}_misses"]) >= 4
    assert "4 of 4 observed shares" in page.visible


def test_the_clinical_section_calls_no_sign_and_counts_what_it_cannot_judge(page, answers):
    ours, twin, _, _ = answers["clinical"]
    assert ours.table["s_value"].isna().all()
    beside = concordance(ours, twin)
    assert not beside["discovery_bayes"].any()
    text = page.visible[page.visible.index("Clinical variables and abundance") :]
    assert "so no sign is called and no s-value given" in text
    assert "s-value" not in page.tables["clinical_found"][0]
    assert "High: at or above the cohort's median" in text
    unjudged = ours.table[(ours.table["scope"] == "pooled") & (ours.table["status"] != "observed")]
    if len(unjudged):
        assert f"{len(unjudged)} pooled row" in text


def test_a_refused_model_prints_its_reasons_and_no_number(builder, answers, read_page):
    folder = builder.build()
    add(folder, "clinical", answers["clinical"])
    content = json.loads((folder / "provenance.json").read_text())
    content["status"] = "partly refused"
    content["models"]["clinical"] |= {"status": "refused", "reasons": ["3 divergent transitions"]}
    (folder / "provenance.json").write_text(json.dumps(content))
    render_report(folder)
    page = read_page(folder / "report.html")
    assert "3 divergent transitions" in page.visible
    assert not {"clinical_found", "clinical_odds"} & set(page.tables)
    assert not (folder / "figures" / "clinical_odds.svg").exists()


def test_a_run_without_the_main_model_has_the_sections_too(builder, answers, read_page):
    folder = builder.build()
    add(folder, "high_abundance", answers["high_abundance"])
    content = json.loads((folder / "provenance.json").read_text())
    del content["models"]["abundance"]
    (folder / "provenance.json").write_text(json.dumps(content))
    render_report(folder)
    page = read_page(folder / "report.html")
    assert "high_abundance" in page.ids
    assert "high_abundance_odds" in page.tables
    assert "results" not in page.ids


def test_cohorts_stand_where_a_pooled_clinical_row_is_borrowed(builder, tumours_of, data_of, read_page):
    # External has no HR- tumours, so pooled HR- rows are borrowed; Discovery's own are observed, and are shown.
    sizes = {key: n for key, n in SIZES.items() if key != ("External", "HR-")}
    tumours, abundance = tumours_of(91, sizes, dict.fromkeys(CELLS, 0.5))
    tumours["age"] = np.random.default_rng(92).integers(35, 70, size=len(tumours)).astype(float)
    tumours["size_cm"] = np.random.default_rng(93).uniform(0.5, 4.0, size=len(tumours))
    data = data_of(tumours, abundance, settings=ModelChoices(clinical=OUTCOMES)).for_model("clinical")
    posterior = planted(clinical, data)
    draws = clinical.estimand_draws(posterior, data, clinical.PRIORS, np.random.default_rng(1))
    made = clinical.tables(posterior, draws, data, clinical.PRIORS, interval=0.95)
    made["posterior_predictive"] = predictive_table(
        [predictive_row(CELLS[0], "Discovery", "HR-", "share", 0.5, np.linspace(0.4, 0.6, 50), 0.95)]
    )
    folder, ours = builder.build(), clinical.estimates(draws, data)
    add(folder, "clinical", (ours, clinical_twin(data), made, data))
    render_report(folder)
    page = read_page(folder / "report.html")
    grid = page.tables["clinical_by_cohort"]
    for outcome in ("age > 50 years", "tumour > 2 cm"):
        for cell in CELLS:
            labels = {"outcome": outcome, "exposure": f"high abundance of {cell}", "stratum": "HR-"}
            text = text_of(ours.table, **labels, scope="cohort", cohort="Discovery")
            row = next(r for r in grid if r[0] == outcome and r[1].startswith(cell) and r[2] == "HR-")
            assert (row[3], row[5]) == ("Discovery", text)
    assert "6 pooled rows cannot be judged (6 borrowed); the observed rows of single cohorts stand for 6" in (
        page.visible
    )


def test_marks_of_cell_types_say_where_high_means_what():
    rules = rules_of(
        [
            {"cell_type": "A", "cohort": "K1", "rule": "continuous", "high_rule": "median"},
            {"cell_type": "A", "cohort": "K2", "rule": "excluded", "high_rule": "presence"},
            {"cell_type": "B", "cohort": "K1", "rule": "presence", "high_rule": "presence"},
        ]
    )
    assert (marked("A", rules), marked("B", rules)) == ("A \u2020 \u2021", "B")
    mixed, left_out = mark_notes(["A", "B"], rules)
    assert mixed.endswith("A: at or above the median in K1, present in K2.")
    assert left_out.endswith("A (K2).")
    assert mark_notes(["B"], rules) == ()
