"""Equations and graph of a model in every format, from the outline that its run recorded."""

from __future__ import annotations

import json
import re
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from bayes_her2.models import abundance, marginal_effect
from conftest import ancova_set, structured_set

from bayes_her2.bayesian.outline import as_table
from bayes_her2.errors import DataError
from bayes_her2.report import render_report
from bayes_her2.report.maths import MAXIMUM, checked, length, mathml, omml, spoken
from bayes_her2.report.model_graph import laid_out, nodes_of

MATHS = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"


def outline_of(model: Any, data: Any) -> pd.DataFrame:
    return as_table(model.outline(data, model.priors_for(data)))


@pytest.fixture(scope="module")
def main_outline() -> pd.DataFrame:
    return outline_of(abundance, structured_set("three cohorts")).assign(model="abundance")


def written(builder: Any, table: pd.DataFrame) -> Path:
    folder = builder().build()
    table.to_csv(folder / "tables" / "outline.csv", index=False)
    path = folder / "provenance.json"
    provenance = json.loads(path.read_text(encoding="utf-8"))
    provenance["models"]["abundance"] |= {
        "methods": ["It was fitted."],
        "estimands": {"overall": "ratio of means"},
    }
    path.write_text(json.dumps(provenance), encoding="utf-8")
    return Path(folder)


def test_the_page_has_every_line_of_the_model_and_its_graph(new_builder, main_outline, read_page):
    folder = written(new_builder, main_outline)
    page = read_page(render_report(folder, formats=("docx", "latex")))
    html = (folder / "report.html").read_text(encoding="utf-8")
    table = html[html.index('id="table-equations"') :]
    table = table[: table.index("</table>")]
    assert table.count("<math") == len(main_outline)
    assert "HalfNormal" in table
    assert "\\" not in re.sub(r"<[^>]+>", "", table)
    assert 'id="figure-graph"' in html
    assert (folder / "figures" / "graph.svg").is_file()
    assert "Graph of the model. z, ic (data) depends on pi, ic" in html
    assert "equations" in page.tables
    assert "<dt>Overall</dt><dd>ratio of means</dd>" in html

    # The manuscript has likelihood, predictor and hierarchy; numbers of priors are in the tables.
    methods = (folder / "methods.md").read_text(encoding="utf-8")
    assert methods.count("$$") == 2 * (main_outline["parents"] != "").sum()
    assert r"$$z_{ic} \sim \mathrm{Bernoulli}(\pi_{ic})$$" in methods
    assert "In the linear predictor, h is HER2 per SD" in methods

    tex = (folder / "latex" / "report.tex").read_text(encoding="ascii")
    assert r"$z_{ic} \sim \mathrm{Bernoulli}(\pi_{ic})$" in tex
    with zipfile.ZipFile(folder / "report.docx") as archive:
        root = ET.fromstring(archive.read("word/document.xml"))
    formulas = ["".join(found.itertext()) for found in root.iter(f"{MATHS}oMath")]
    assert len(formulas) == len(main_outline) + (main_outline["parents"] != "").sum()
    assert "zic∼Bernoulli(πic)" in formulas


def test_a_folder_without_an_outline_has_no_card(finished):
    html = (finished[0] / "report.html").read_text(encoding="utf-8")
    assert "table-equations" not in html
    assert "figure-graph" not in html


@pytest.mark.parametrize(
    "law",
    [
        r"\href{javascript:alert(1)}{x}",
        r"\input{/etc/passwd}",
        r"\write18{ls}",
        "x & y",
        "a % b",
        "$x$",
        r"\mathrm{x",
        "}x{",
        "x" * (MAXIMUM + 1),
    ],
)
def test_what_is_no_formula_of_a_model_is_refused(new_builder, main_outline, law):
    with pytest.raises(DataError, match="formula"):
        checked(law)
    rows = main_outline.copy()
    rows.loc[3, "law"] = law
    folder = written(new_builder, rows)
    with pytest.raises(DataError, match=r"tables/outline\.csv"):
        render_report(folder)
    assert not (folder / "report.html").exists()


def test_a_word_is_one_thing_to_read():
    assert "<mi>Normal</mi>" in mathml(r"\mathrm{Normal}(\mu,\, \sigma)")
    assert '<m:nor/></m:rPr><m:t xml:space="preserve">Normal</m:t>' in omml(r"\mathrm{Normal}(\mu,\, \sigma)")
    assert spoken(r"\mathbf{v}_{gc}") == "v, gc"
    assert spoken(r"\theta^{q}_{kc}") == "theta, q, kc"
    assert length(r"\mathrm{Normal}(\mu,\, \sigma)") == len("Normal(m, s)")
    assert "<script" not in mathml("<script>")
    assert "<script" not in omml("<script>")


@pytest.mark.parametrize(
    "table",
    [
        outline_of(abundance, structured_set("centres")),
        outline_of(marginal_effect, ancova_set({("A", "HR+"): 22, ("A", "HR-"): 14, ("B", "HR+"): 18})),
    ],
    ids=["abundance", "marginal_effect"],
)
def test_nodes_stand_below_their_parents_and_never_on_each_other(table):
    nodes = nodes_of(table.to_dict("records"))
    laid = laid_out(nodes)
    assert set(laid.x) == set(nodes)
    for name, node in nodes.items():
        assert all(laid.row[parent] < laid.row[name] for parent in node.parents)
    by_row: dict[int, list[float]] = {}
    for name, row in laid.row.items():
        by_row.setdefault(row, []).append(laid.x[name])
    for places in by_row.values():
        ordered = sorted(places)
        assert all(b - a >= 1 - 1e-9 for a, b in pairwise(ordered))
    assert laid_out(nodes_of(table.to_dict("records"))) == laid
