"""The demo: the seed study's cohorts simulated, analysed from files, and held against the truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import WITHOUT_CHROMIUM, browser, chromium
from pages import numbered_in_order
from site_pages import listed_columns

from bayes_her2.bayesian.model import MODELS, MODELS_OF_RESULTS
from bayes_her2.cli import exit_code
from bayes_her2.simulation import write_demo
from bayes_her2.workflow.check import check_study
from bayes_her2.workflow.run import DEMO_SEED

pytestmark = pytest.mark.sampling


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole_demo")
    assert exit_code(["demo", "--out", str(out), "--quiet"]) == 0
    return out


def test_the_cohorts_have_the_sizes_of_the_seed_study(tmp_path):
    # Pizzamiglio 2025, Table 1 (discovery, confirmatory) and Methods (external)
    tumours = check_study(write_demo(tmp_path, DEMO_SEED)).sets["abundance"].tumours
    assert tumours["cohort"].value_counts().to_dict() == {
        "external": 318,
        "discovery": 104,
        "confirmatory": 81,
    }
    hr = tumours.groupby(["cohort", "hr"]).size()
    assert (hr["discovery", "HR+"], hr["confirmatory", "HR-"]) == (82, 13)


def test_the_command_goes_from_files_to_a_report_that_says_simulated(tmp_path, capsys):
    """Published results alone, which are fitted in seconds; the whole demo is slow."""
    formats = ["--format", "docx", "--format", "latex"]
    out = tmp_path / "demo"
    assert exit_code(["demo", "--out", str(out), "--only", "evidence_synthesis", *formats]) == 0
    said = "".join(capsys.readouterr().out.split())  # without the breaks of a narrow terminal
    for file in ("report.docx", "latex/report.tex"):
        assert (out / file).is_file()
        assert str(out / file) in said
    assert "SIMULATED DATA" in (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    assert of_the_first_attempt(tmp_path / "demo") == {"evidence_synthesis"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Table", "Figure"])
def test_exhibits_of_all_models_are_numbered_in_reading_order(whole, kind):
    assert numbered_in_order((whole / "report.html").read_text(encoding="utf-8"), kind) > 20


@pytest.mark.slow
def test_the_documentation_lists_every_table_and_column(whole):
    listed = listed_columns()
    found = {p.name: list(pd.read_csv(p, nrows=0).columns) for p in (whole / "tables").glob("*.csv")}
    assert found == listed


def of_the_first_attempt(folder: Path) -> set[str]:
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["status"] == "complete"
    assert not any(model["sampler"]["retried"] for model in provenance["models"].values())
    return set(provenance["models"])


@pytest.mark.slow
def test_the_first_attempt_of_every_model_passes_the_gate(whole):
    assert of_the_first_attempt(whole) == {*MODELS, *MODELS_OF_RESULTS}


@pytest.mark.slow
def test_the_report_is_light_enough_to_be_sent(whole):
    assert (whole / "report.html").stat().st_size < 5_000_000


@pytest.mark.slow
@pytest.mark.skipif(chromium() is None, reason=WITHOUT_CHROMIUM)
def test_every_place_of_the_page_is_reached_in_a_browser_without_complaint(whole, tmp_path):
    with browser(tmp_path) as tab:
        for width in (1400, 390):
            tab.open((whole / "report.html").as_uri(), width=width)
            places = tab.run(
                "[...document.querySelectorAll('#contents a')].map((link) => link.hash.slice(1))"
            )
            assert len(places) > 150
            for place in places:
                tab.run(f"document.querySelector('#contents a[href=\"#{place}\"]').click()")
                assert tab.run(f"document.getElementById('{place}').checkVisibility()"), place
            tab.run("document.querySelectorAll('main details').forEach((box) => { box.open = true; })")
            tab.settle()
            assert tab.run("document.documentElement.scrollWidth") == width
            assert tab.complaints == []
            assert {address.partition("#")[0] for address in tab.requests} == {
                (whole / "report.html").as_uri()
            }


@pytest.mark.slow
def test_truth_is_covered_as_often_as_the_intervals_say(whole):
    recovered = pd.read_csv(whole / "tables" / "recovery.csv")
    assert len(recovered) > 800
    # Rows share draws and tumours: at most one independent row for each cell type and stratum and part (100).
    assert abs(recovered["covered"].mean() - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 100)


@pytest.mark.slow
def test_the_planted_interaction_of_neutrophils_and_mast_cells_is_found(whole):
    table = pd.read_csv(whole / "tables" / "recovery.csv", keep_default_na=False)
    pooled = table[(table["scope"] == "pooled") & (table["estimand"] == "overall")].set_index(
        ["outcome", "stratum"]
    )
    for outcome, sign in (("Mast cells resting", 1), ("Neutrophils", -1)):
        row = pooled.loc[(outcome, "HR- over HR+")]
        assert np.sign(np.log(row["truth"])) == sign
        assert np.sign(np.log(row["point"])) == sign
