"""The reporting checklist: each item present because of rows that are there, absent without them; nothing claimed."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bayes_her2.cli import exit_code
from bayes_her2.errors import AnalysisRefusedError
from bayes_her2.report import render_report, require_every_item
from bayes_her2.report.checklist import FLAT, ITEMS, SOURCES, SPREADS, Checked
from bayes_her2.report.load import Results, load_results
from bayes_her2.report.render import checked, outline
from bayes_her2.report.sections import descriptives
from bayes_her2.report.sections.registry import SECTIONS
from bayes_her2.workflow.universes import PRIOR_UNIVERSES


def loaded(folder: Path) -> Results:
    return load_results(folder, [s.reads for s in SECTIONS])


def recorded(folder: Path, **changed: Any) -> Path:
    """Complete the builder's provenance to what a run leaves."""
    path = folder / "provenance.json"
    content = json.loads(path.read_text(encoding="utf-8")) | {"study_hash": "12" * 32} | changed
    content["models"]["abundance"]["methods"] = ["Presence was Bernoulli."]
    content["models"]["abundance"]["sampler"]["seed"] = 7
    path.write_text(json.dumps(content), encoding="utf-8")
    return folder


def under_other_priors(folder: Path, name: str = "sensitivity", **changed: Any) -> None:
    """Write what `bayes-her2 sensitivity` leaves in a folder of the run's."""
    own = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    (folder / name).mkdir()
    content = (
        {k: own[k] for k in ("study_hash", "files")}
        | {"kind": "sensitivity", "universes": {"main": {}, "flat": {}, "cohorts_half": {}}}
        | changed
    )
    (folder / name / "provenance.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / name / "sensitivity.html").write_text("<html></html>", encoding="utf-8")


def item(results: Results, guideline: str, number: str) -> Checked:
    found = [c for c in checked(results) if (c.guideline, c.number) == (guideline, number)]
    assert found, (guideline, number)
    return found[0]


def states(results: Results) -> dict[tuple[str, str, str], str]:
    return {(c.guideline, c.number, c.asks): c.found.state for c in checked(results)}


@pytest.fixture
def results(builder) -> Results:
    return loaded(recorded(builder.build()))


def test_every_guideline_has_items_and_every_item_one_state(results):
    found = checked(results)
    assert len(found) == len(ITEMS)
    assert list(dict.fromkeys(c.guideline for c in found)) == list(SOURCES)
    assert len(set(states(results))) == len(ITEMS)  # no item twice
    titles = set(dict(outline(results)[0]).values())
    for c in found:
        assert c.found.state in ("present", "absent", "not applicable")
        assert c.found.how
        assert bool(c.where) == (c.found.state == "present")
        for place in c.where.split("; ") if c.where else ():
            assert place in titles or (results.folder / place).exists() or place in (
                "methods.md", "results.md", "decisions.json",  # written with the page, or by the run
            )  # fmt: skip


@pytest.mark.parametrize(
    ("table", "guideline", "number"),
    [
        ("priors", "ROBUST", "1"),
        ("prior_predictive", "BARG", "1E"),
        ("diagnostics", "BARG", "2B"),
        ("diagnostics", "BARG", "2C"),
        ("sampling", "ROBUST", "5"),
        ("posterior_predictive", "BARG", "3A"),
        ("precision", "REMARK", "9"),
        ("flow", "REMARK", "12"),
        ("exclusion_counts", "STROBE", "6"),
        ("her2_scaling", "REMARK", "11"),
    ],
)
def test_an_item_is_absent_without_its_rows_and_says_which(results, table, guideline, number):
    assert item(results, guideline, number).found.state == "present"
    without = replace(results, tables=results.tables | {table: ()})
    lacking = item(without, guideline, number)
    assert lacking.found.state == "absent"
    assert f"tables/{table}.csv" in lacking.found.how


def test_a_prior_without_a_reason_is_not_justified(results):
    rows = [dict(r) for r in results.rows("priors")]
    rows[0]["why"] = ""
    bare = replace(results, tables=results.tables | {"priors": tuple(rows)})
    assert item(bare, "BARG", "1C").found.state == "absent"
    assert "not for abundance" in item(bare, "BARG", "1C").found.how
    assert item(bare, "ROBUST", "1").found.state == "present"


@pytest.mark.parametrize(
    ("record", "guideline", "number"),
    [("versions", "BARG", "2A"), ("decisions_hash", "BARG", "4"), ("files", "BARG", "6"), ("seed", "BARG", "6")],
)  # fmt: skip
def test_what_the_run_did_not_record_is_absent(results, record, guideline, number):
    before, bare = states(results), replace(results, provenance={**results.provenance, record: None})
    lost = {key for key, state in states(bare).items() if state == "absent" and before[key] == "present"}
    assert (guideline, number) in {key[:2] for key in lost}
    assert all("run again" in c.found.how for c in checked(bare) if (c.guideline, c.number, c.asks) in lost)


def test_an_interval_without_its_kind_is_found(results):
    first, *rest = results.every_estimate
    bare = replace(results, every_estimate=(replace(first, interval_kind=""), *rest))
    assert first.source == "posterior"
    assert first.has_interval
    assert item(bare, "BARG", "3B").found.state == "absent"


def test_other_priors_are_found_in_a_folder_of_this_one_if_they_are_of_this_study(builder):
    folder = recorded(builder.build())
    assert item(loaded(folder), "BARG", "5").found.state == "absent"
    assert "--out RESULTS/sensitivity`" in item(loaded(folder), "BARG", "5").found.how
    under_other_priors(
        folder, "of_other_files", files=[{"path": "other.csv", "sha256": "0" * 64, "n_rows": 3}]
    )
    under_other_priors(folder, "of_another_study", study_hash="34" * 32)
    under_other_priors(folder, "audit", kind="audit")
    (folder / "broken").mkdir()
    (folder / "broken" / "provenance.json").write_text("[", encoding="utf-8")
    assert item(loaded(folder), "BARG", "5").found.state == "absent"
    under_other_priors(folder)
    found = item(loaded(folder), "BARG", "5")
    assert found.found.state == "present"
    assert "sensitivity/sensitivity.html" in found.where
    assert {c.found.state for c in checked(loaded(folder))} == {"present", "not applicable"} | (
        {"absent"} if "table_one.csv" not in loaded(folder).files else set()
    )


def test_only_the_priors_that_were_fitted_count(builder):
    folder = recorded(builder.build())
    under_other_priors(folder, universes={"main": {}, "sceptical": {}, "flat": {}}, refused={"flat": ["ESS"]})
    results = loaded(folder)
    assert item(results, "WAMBS", "9").found.state == "present"
    assert item(results, "WAMBS", "8").found.state == "absent"
    assert (
        "sensitivity/sensitivity.html has none of these priors: flat" in item(results, "WAMBS", "8").found.how
    )
    assert item(results, "WAMBS", "7").found.state == "absent"


def test_the_names_of_priors_are_those_of_the_command():
    assert {FLAT, *SPREADS} <= {universe.name for universe in PRIOR_UNIVERSES}


def test_models_of_published_results_have_sensitivity_of_their_own(results):
    other = replace(results.models["abundance"], name="treatment_response")
    own = replace(results, models={"treatment_response": other})
    assert item(own, "BARG", "5").found.state == "absent"
    with_table = replace(own, files=(*own.files, "treatment_response_tipping_point.csv"))
    assert "tables/treatment_response_tipping_point.csv" in item(with_table, "BARG", "5").where


def test_a_run_of_which_nothing_can_be_told_has_no_results_in_words(results):
    assert item(results, "WAMBS", "10").found.state == "present"
    assert item(replace(results, every_estimate=()), "WAMBS", "10").found.state == "absent"


def test_a_run_that_refused_reports_no_item_of_inference(builder):
    results = loaded(recorded(builder.build(refused=True)))
    for guideline, number in (
        ("BARG", "3B"),
        ("BARG", "1B"),
        ("WAMBS", "10"),
        ("BARG", "5"),
        ("STROBE", "19"),
    ):
        assert item(results, guideline, number).found.state == "not applicable"
    assert item(results, "STROBE", "13").found.state == "present"


def test_page_and_file_say_the_same_and_claim_no_compliance(builder, read_page):
    folder = recorded(builder.build())
    page = read_page(render_report(folder))
    found = checked(loaded(folder))
    with (folder / "checklist.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["guideline"], r["item"], r["state"]) for r in rows] == [
        (c.guideline, c.number, c.found.state) for c in found
    ]
    n = [sum(c.found.state == s for c in found) for s in ("present", "absent", "not applicable")]
    assert (
        f"{len(found)} items of five reporting guidelines: {n[0]} present, {n[1]} absent, {n[2]} not"
        in page.visible
    )
    assert "It reports the items of these guidelines" in page.visible
    assert "complian" not in page.visible.lower()
    assert all(c.asks in page.visible for c in found)


def test_strict_fails_on_an_absent_item_alone(builder):
    folder = recorded(builder.build())
    columns = {**descriptives.SECTION.needed, **descriptives.SECTION.optional}["table_one"]
    (folder / "tables" / "table_one.csv").write_text(",".join(columns) + "\n", encoding="utf-8")
    with pytest.raises(AnalysisRefusedError, match=r"BARG 5 .*results and decisions under other priors"):
        require_every_item(folder)
    under_other_priors(folder)
    require_every_item(folder)


def test_strict_of_the_command_writes_the_report_and_ends_with_1(builder, capsys):
    folder = recorded(builder.build())
    assert exit_code(["report", str(folder), "--strict", "--quiet"]) == 1
    assert (folder / "report.html").exists()
    told = capsys.readouterr().err
    assert "bayes-her2 sensitivity STUDY" in told
    assert "Traceback" not in told
    assert exit_code(["report", str(folder), "--quiet"]) == 0
