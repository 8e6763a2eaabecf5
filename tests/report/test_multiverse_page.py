"""The page and the figure of a multiverse, from tables with known contents; nothing is sampled."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest
from pages import asked_elsewhere_by_scripts, code_left_in, numbered_in_order
from scipy.stats import norm

from bayes_her2.comparison.multiverse import against_main, changed_conclusions, stability, summary
from bayes_her2.data import LM22_CELL_TYPES
from bayes_her2.report import multiverse_page as page_module
from bayes_her2.report.figures import FigureError
from bayes_her2.report.multiverse_page import multiverse_page
from bayes_her2.report.standalone import About, rows_of
from bayes_her2.workflow.universes import UNIVERSES

STRATA = ("HR+", "HR-", "HR- over HR+")
SD = 0.08


def sides(shift: float, *, cells=LM22_CELL_TYPES, seed: int = 1) -> pd.DataFrame:
    """Rows of posterior and twin; each log ratio is the cell type's own plus `shift` times its rank."""
    rng = np.random.default_rng(seed)
    rows = []
    half = norm.ppf(0.975) * SD
    for place, cell in enumerate(cells):
        for stratum in STRATA:
            base = rng.normal(0.0, 0.22)
            for estimand in ("overall", "presence", "amount", "high_abundance"):
                value = base + shift * (place - 10) / 20
                theirs = value + 0.03
                out = place == 4 and estimand != "overall"
                rows.append(
                    {
                        "outcome": cell,
                        "estimand": estimand,
                        "stratum": stratum,
                        "scope": "pooled",
                        "cohort": "",
                        "n": 700,
                        "n_zero": 30 * place,
                        "status": "not estimable" if out else "observed",
                        "posterior_point": math.nan if out else math.exp(value),
                        "posterior_lower": math.nan if out else math.exp(value - half),
                        "posterior_upper": math.nan if out else math.exp(value + half),
                        "pd": 0.9,
                        "s_value": 0.1,
                        "discovery_bayes": False,
                        "twin_method": "single cohort",
                        "twin_status": "not estimable" if out else "observed",
                        "twin_point": math.exp(theirs),
                        "twin_lower": math.exp(theirs - half),
                        "twin_upper": math.exp(theirs + half),
                        "twin_p": 0.02,
                        "twin_p_bonferroni": 0.4,
                        "discovery_bonferroni": False,
                        "verdict": "agrees",
                        "note": "",
                    }
                )
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def tables():
    """Every universe but the Tobit, the P filter refused."""
    fitted = [u for u in UNIVERSES if u.name not in ("tobit", "p_filter")]
    found = {u.name: sides(0.12 * i) for i, u in enumerate(fitted)}
    reads = {u.name: [(r.estimand, r.main_estimand) for r in u.reads] for u in fitted}
    table = against_main(found, reads, main="main", interval=0.95, alpha=0.05)
    about = pd.DataFrame(
        [
            {
                "universe": u.name,
                "title": u.title,
                "what": u.what,
                "model": u.model,
                "estimand": u.reads[0].estimand,
                "reading": u.reading,
                "status": {"tobit": "left out", "p_filter": "refused"}.get(u.name, "fitted"),
                "reason": {
                    "tobit": "there is no model file abundance_tobit.py.",
                    "p_filter": "r_hat 1.2",
                }.get(u.name, ""),
                **(
                    {}
                    if u.name == "tobit"
                    else {
                        "fit": "main" if u.name == "drop_zeros" else u.name,
                        "n_tumours": 700,
                        "n_lost": 0,
                        "n_cell_types": 22,
                        "her2_sd": "0.806 (RNA-seq)",
                        "adjustment": "none",
                        "r_hat_max": 1.004,
                        "ess_min": 1500.0,
                    }
                ),
            }
            for u in UNIVERSES
        ]
    )
    values = pd.DataFrame(
        [
            {
                "universe": universe,
                "cohort": "A",
                "cell_type": cell,
                "n": 700,
                "n_changed": changed,
                "n_zero_before": 3,
                "n_zero_after": 0,
                "value_used": used,
            }
            for universe, changed, used in (("smallest_positive", 3, 0.0002), ("scale", 700, math.nan))
            for cell in LM22_CELL_TYPES
        ]
    )
    exclusions = pd.DataFrame(
        {
            "universe": ["scale"] * 3,
            "tumour": ["A/1", "A/2", "A/3"],
            "change": "lost",
            "step": "eligibility",
            "reason": "multiplier leukocyte_fraction missing",
        }
    )
    return {
        "multiverse": table,
        "multiverse_changed": changed_conclusions(table),
        "multiverse_summary": summary(table, about, values),
        "multiverse_stability": stability(table, main="main"),
        "multiverse_values": values,
        "multiverse_exclusions": exclusions,
    }


def about(*, simulated: bool = False) -> About:
    return About(
        study="A study <of ours>",
        description="Described.",
        measure="ERBB2 mRNA",
        simulated=simulated,
        interval=0.95,
        alpha=0.05,
        false_discovery=0.05,
        seed=3,
        version="0.1",
        made="2026-11-27T10:00:00+00:00",
    )


NOTICES = {"main": ("One cohort.",), "smallest_positive": ("Zeros are replaced.",)}


@pytest.fixture(scope="module")
def page(tables):
    return multiverse_page({name: rows_of(table) for name, table in tables.items()}, about(), notices=NOTICES)


def test_the_page_is_self_contained_numbered_and_free_of_code(page):
    assert not re.findall(r"(?:src|href)=\"https?:", page.html)
    assert asked_elsewhere_by_scripts(page.html) == []
    assert "A study &lt;of ours&gt;" in page.html
    assert numbered_in_order(page.html, "Table") == 7
    assert numbered_in_order(page.html, "Figure") == 1
    assert code_left_in(page.html) == []
    assert not re.search(r">(nan|NaN|None|&lt;NA&gt;)<", page.html)
    assert "SIMULATED" not in page.html


def test_the_contents_lead_to_every_section_table_and_figure(page):
    contents = page.html[page.html.index('<nav class="contents"') : page.html.index("</nav>")]
    targets = re.findall(r'<a href="#([^"]+)">', contents)
    anchors = re.findall(r'<(?:h2|figure)[^>]* id="([^"]+)"', page.html)
    assert sorted(targets) == sorted(anchors)
    assert re.findall(r'<li><a href="#changed">(.*?)</a></li>', contents) == ["2. Changed conclusions"]


def test_a_simulated_study_is_stamped(tables):
    page = multiverse_page(
        {name: rows_of(table) for name, table in tables.items()}, about(simulated=True), notices=NOTICES
    )
    assert "SIMULATED DATA. No patient" in page.html
    assert "SIMULATED DATA" in page.figures["multiverse"].svg


def test_what_is_left_out_or_refused_is_there_with_its_reason_and_not_drawn(page):
    assert "Left out: there is no model file abundance_tobit.py." in page.html
    assert "Refused: r_hat 1.2" in page.html
    assert "Zero is censored" not in page.figures["multiverse"].svg
    assert "Zero to smallest" in page.figures["multiverse"].svg


def test_the_headline_counts_what_the_tables_say(page, tables):
    made = tables["multiverse_summary"]
    own = made[made["status"] == "fitted"]
    lost, gained, turned = (int(own[f"posterior_{kind}"].sum()) for kind in ("lost", "gained", "reversed"))
    assert lost > 0
    assert gained > 0
    assert turned > 0
    directions = tables["multiverse_stability"]["main_side"].isin(["above", "below"])
    assert page.headline[0].startswith(f"Of {directions.sum()} directions that the main analysis finds, ")
    assert f"{lost} directions are lost, {gained} gained and {turned} reversed" in page.headline[0]


def test_every_changed_headline_row_is_in_the_table_of_changes(page, tables):
    changed = tables["multiverse_changed"]
    assert len(page.tables["multiverse_changed"].lines) == changed["headline"].sum()
    assert len(page.tables["multiverse_changed_other"].lines) == (~changed["headline"]).sum()


def test_the_figure_marks_every_side_by_shape_and_outlines_every_change(page, tables):
    drawing = page.figures["multiverse"]
    for cell in LM22_CELL_TYPES:
        assert cell in drawing.svg
    for colour in ("#b35806", "#542788"):
        assert colour in drawing.svg
    headline = tables["multiverse"][tables["multiverse"]["headline"]]
    kinds = ["lost", "gained", "reversed"]
    n_changed = headline[["posterior_change", "twin_change"]].isin(kinds).sum().sum()
    # One outline for each change, and two in the key.
    assert drawing.svg.count("stroke: #1a1a1a; stroke-width: 0.9") == n_changed + 2
    assert f"{headline['posterior_change'].isin(kinds).sum()} posterior conclusions differ" in drawing.alt


def test_the_figure_is_the_same_for_the_same_tables(page, tables):
    again = multiverse_page(
        {name: rows_of(table) for name, table in tables.items()}, about(), notices=NOTICES
    )
    assert again.figures["multiverse"].svg == page.figures["multiverse"].svg
    assert again.html == page.html


def test_a_figure_that_cannot_be_drawn_stops_the_page(tables, monkeypatch):
    monkeypatch.setattr(page_module, "LOOKS", {})
    with pytest.raises(FigureError, match="'multiverse' cannot be drawn"):
        multiverse_page({name: rows_of(table) for name, table in tables.items()}, about(), notices=NOTICES)
