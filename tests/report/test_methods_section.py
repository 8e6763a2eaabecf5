"""The methods text: every sentence from a record of the run, none without one, and the same text as a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bayes_her2.report import render_report
from bayes_her2.report.load import load_results
from bayes_her2.report.manuscript import as_markdown
from bayes_her2.report.methods import methods

TOLD = ["Presence was what this sentence says.", "Amounts were what that one says."]


def with_methods(folder: Path, model: str = "abundance", **changed: Any) -> Path:
    path = folder / "provenance.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["models"][model] |= {"methods": TOLD} | changed
    path.write_text(json.dumps(content), encoding="utf-8")
    return folder


def paragraph(folder: Path, heading: str) -> str:
    found = [p.text for p in methods(load_results(folder)) if p.heading == heading]
    assert len(found) == 1, heading
    return found[0]


def edited(folder: Path, table: str, change: Callable[[list[dict[str, str]]], None]) -> None:
    path = folder / "tables" / f"{table}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    change(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def test_it_stands_before_the_provenance_and_is_a_file_too(builder, read_page):
    folder = with_methods(builder.build())
    page = read_page(render_report(folder))
    assert page.visible.rindex("Methods in words") < page.visible.rindex("Limits, provenance")
    assert " ".join(TOLD) in page.visible
    text = (folder / "methods.md").read_text(encoding="utf-8")
    results = load_results(folder)
    assert text == as_markdown("Methods", results, methods(results))
    for p in methods(load_results(folder)):
        assert f"## {p.heading}\n\n{p.text}\n" in text
        assert p.text in page.visible


def test_without_what_the_run_did_there_is_no_text_and_an_earlier_one_goes(builder, read_page):
    folder = with_methods(builder.build())
    render_report(folder)
    with_methods(folder, methods=[])
    page = read_page(render_report(folder))
    assert "Methods in words" not in page.visible
    assert not (folder / "methods.md").exists()


def test_a_run_that_refused_has_none(builder, read_page):
    folder = with_methods(builder.build(refused=True))
    assert "Methods in words" not in read_page(render_report(folder)).visible


def test_numbers_are_those_of_the_tables(builder):
    folder = with_methods(builder.build())
    results = load_results(folder)
    flow = results.rows("flow")
    data = paragraph(folder, "Data")
    assert (
        f"Of {sum(r['read'] for r in flow)} tumours, {sum(r['analysed'] for r in flow)} were analysed" in data
    )
    assert all(f"{r['cohort']} ({r['analysed']})" in data for r in flow)
    for reason in {r["reason"] for r in results.rows("exclusion_counts")}:
        n = sum(r["n"] for r in results.rows("exclusion_counts") if r["reason"] == reason)
        assert f"{n} ({reason})" in data
    sampled = paragraph(folder, "Sampling and diagnostics")
    assert "4 chains of 1,500 draws after 500 warm-up draws" in sampled
    assert "second attempt" not in sampled
    assert (
        "has an R-hat of at most 1.01 and bulk and tail effective sample sizes (ESS) of at least 1,200."
        in sampled
    )
    highest = max(r["r_hat_max"] for r in results.rows("diagnostics"))
    assert f"The highest R-hat was {highest:.3f}" in sampled
    inside = [r["inside"] for r in results.rows("posterior_predictive")]
    assert f"{sum(inside)} of {len(inside)} statistics" in paragraph(folder, "Checks of the model").replace(
        ",", ""
    )
    assert "0.9 and 1.11" in paragraph(folder, "Inference")
    beside = paragraph(folder, "Frequentist estimates beside the posterior")
    used = {r["twin_method"] for r in results.rows("concordance") if r["twin_method"] and r["verdict"]}
    assert all(method in beside for method in used)


def test_a_second_attempt_divergences_and_changed_priors_are_said(builder):
    sampler = {
        "name": "nutpie",
        "chains": 4,
        "tune": 500,
        "draws": 3000,
        "retried": True,
        "target_accept": 0.95,
    }
    folder = with_methods(builder.build(), sampler=sampler)

    def default(rows: list[dict[str, str]]) -> None:
        for row in rows:
            row["overridden"] = "False"

    def change(rows: list[dict[str, str]]) -> None:
        rows[0] |= {"overridden": "True", "distribution": "Normal(0, 9)", "why": "we know better"}

    def diverge(rows: list[dict[str, str]]) -> None:
        next(r for r in rows if r["setting"] == "divergences")["value"] = "3"

    edited(folder, "priors", default)
    assert "All are the defaults" in paragraph(folder, "Priors")
    edited(folder, "priors", change)
    edited(folder, "sampling", diverge)
    priors = paragraph(folder, "Priors")
    assert "The study changed defaults: " in priors
    assert "Normal(0, 9) (we know better)" in priors
    assert "All are the defaults" not in priors
    sampled = paragraph(folder, "Sampling and diagnostics")
    assert "target acceptance 0.95, after an automatic second attempt" in sampled
    assert "Divergent transitions: 3." in sampled


def test_a_simulated_study_says_so_first(builder):
    folder = with_methods(builder.build(simulated=True))
    render_report(folder)
    assert "**Simulated data" in (folder / "methods.md").read_text(encoding="utf-8").splitlines()[2]


@pytest.mark.parametrize("heading", ["Data", "Model: abundance", "Priors", "Inference", "Software"])
def test_paragraphs_are_whole_sentences(builder, heading):
    text = paragraph(with_methods(builder.build()), heading)
    assert text.endswith(".")
    assert "  " not in text
    assert "None" not in text
