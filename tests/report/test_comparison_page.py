"""The page of rival models from tables alone: what it says in words, what it leaves out, and faults that stop it."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from bayes_her2.report.comparison_page import comparison_page
from bayes_her2.report.figures import FigureError
from bayes_her2.report.standalone import About, rows_of

ABOUT = About("A study <of ours>", "0.1", "2026-11-27T10:00:00+00:00", measure="ERBB2 mRNA", seed=3)


def tables() -> dict[str, pd.DataFrame]:
    """Two rivals, of which one predicts better and changes one pooled conclusion."""
    ranked = pd.DataFrame(
        {
            "model": ["abundance_weibull", "abundance"],
            "elpd": [120.0, 80.0],
            "se": [30.0, 31.0],
            "p_loo": [40.2, 38.9],
            "difference": [0.0, -40.0],
            "difference_se": [0.0, 9.0],
            "weight": [0.9, 0.1],
            "k_max": [0.5, 0.83],
            "n_k_high": [0, 2],
            "k_limit": [0.7, 0.7],
            "n_tumours": [300, 300],
            "reading": ["predicts best", "predicts less well than abundance_weibull"],
        }
    )
    scores = pd.DataFrame({"model": ["abundance_weibull", "abundance"], "n_tumours": 300, "n_values": 900})
    for name in ("crps", "brier", "log_score"):
        scores[name] = [0.7, 0.71]
        scores[f"{name}_difference"] = [0.0, 0.01]
        scores[f"{name}_difference_se"] = [0.0, 0.002]
    cohorts = pd.DataFrame(
        {
            "model": "abundance",
            "cohort": ["A", "B"],
            "n_calibration": [75, None],
            "n_scored": [76, None],
            "strata": ["HR+ and HR-", None],
            "elpd": [60.0, None],
            "elpd_without": [50.0, None],
            "gain": [10.0, None],
            "gain_se": [3.0, None],
            "difference": [0.0, None],
            "difference_se": [0.0, None],
            "reading": [
                "HER2 slopes learned in the other cohorts predict its tumours better than none",
                "no tumour",
            ],
        }
    ).astype({"n_calibration": "Int64", "n_scored": "Int64"})
    cells = pd.DataFrame(
        {
            "model": "abundance",
            "cohort": "A",
            "cell_type": ["T cells CD8", "Plasma cells"],
            "gain": [8.0, 2.0],
            "gain_se": [2.0, 1.0],
            "n_scored": 76,
        }
    )
    row = {"estimand": "overall", "outcome": "T cells CD8", "scope": "pooled", "cohort": None}
    changed = pd.DataFrame(
        [
            row
            | {
                "model": "abundance_weibull",
                "stratum": stratum,
                "main_point": 0.95,
                "main_lower": 0.9,
                "main_upper": 1.01,
                "point": 0.94,
                "lower": 0.9,
                "upper": upper,
                "main_says": "open",
                "says": says,
                "changed": says != "open",
            }
            for stratum, upper, says in (("HR+", 0.99, "below"), ("HR-", 1.02, "open"))
        ]
    )
    models = pd.DataFrame(
        {
            "model": ["abundance", "abundance_weibull"],
            "question": "Q?",
            "outcome": "abundance",
            "measure": "length",
        }
    )
    return {
        "model_comparison": ranked,
        "k_fold": pd.DataFrame(),
        "proper_scores": scores,
        "cohorts_predicted": cohorts,
        "cohorts_predicted_cell_types": cells,
        "conclusions": changed,
        "models": models,
    }


def made(changed: dict[str, pd.DataFrame] | None = None):
    rows = {name: rows_of(table) for name, table in (tables() | (changed or {})).items()}
    return comparison_page(
        rows,
        ABOUT,
        refused={"abundance_tobit": ("3 divergent transitions",)},
        left_out={"composition": "it is a model of shares."},
    )


def test_the_page_says_what_the_tables_hold():
    page = made()
    best, depends, cohort = page.headline
    assert best == (
        "Weibull predicts a tumour best; the main model is \u221240.0 (SE 9.0) in log density over 300 tumours."
    )
    assert depends == (
        "Under weibull, 1 of 2 estimates lies on another side of the null than under the main model (1 of them pooled)."
    )
    assert cohort.startswith("A predicted from the other cohorts: 10.0 (SE 3.0) in log density")
    assert [t.number for t in page.tables.values()] == [1, 2, 3, 4, 5]
    assert set(page.figures) == {"model_differences", "cell_types_predicted"}
    assert "A study &lt;of ours&gt;" in page.html
    assert "2 above 0.70" in page.html
    assert "abundance_tobit did not pass its gates" in page.html
    assert "composition is left out: it is a model of shares." in page.html
    assert not re.search(r"(?:src|href)=.https?:", page.html)


def test_one_cohort_has_no_section_on_cohorts():
    page = made({"cohorts_predicted": pd.DataFrame(), "cohorts_predicted_cell_types": pd.DataFrame()})
    assert "cohorts_predicted" not in page.tables
    assert "3. Conclusions that depend on the model" in page.html
    assert len(page.headline) == 2


def test_the_same_tables_give_the_same_page():
    assert made().html == made().html


def test_a_figure_that_cannot_be_drawn_stops_the_page():
    broken = tables()["proper_scores"].drop(columns="crps_difference_se")
    with pytest.raises((FigureError, KeyError)):
        made({"proper_scores": broken})
