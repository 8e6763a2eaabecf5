"""A small study under two other priors by the command line: tables, page, resuming, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bayes_her2.models import abundance
from simulated_studies import ALONE

from bayes_her2.bayesian import power_scaling
from bayes_her2.bayesian.fit import read_fit
from bayes_her2.bayesian.power_scaling import ALL, READINGS
from bayes_her2.cli import exit_code
from bayes_her2.report import sensitivity_page
from bayes_her2.workflow.sensitivity import SENSITIVITY

OTHERS = ["sceptical", "interaction_double"]


def arguments(study: Path, out: Path) -> list[str]:
    return ["sensitivity", str(study), "--out", str(out), *ALONE, *(a for u in OTHERS for a in ("--only", u))]


@pytest.fixture(scope="module")
def folder(study_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sensitivity") / "out"
    assert exit_code([*arguments(study_file, out), "--quiet"]) == 0
    return out


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / "tables" / f"{name}.csv", keep_default_na=False, na_values=[""])


@pytest.mark.sampling
def test_the_folder_holds_every_part_and_a_fit_for_each_prior(folder):
    assert {p.name for p in folder.iterdir()} == {*SENSITIVITY.parts, "posterior", "decisions.json"}
    fits = {"main.nc", "sceptical.nc", "interaction_double.nc"}
    assert {p.name for p in (folder / "posterior").iterdir()} == fits
    record = json.loads((folder / "provenance.json").read_text("utf-8"))
    assert record["kind"] == "sensitivity"
    assert len({u["priors_hash"] for u in record["universes"].values()}) == 3
    assert len({u["fingerprint"] for u in record["universes"].values()}) == 1


@pytest.mark.sampling
def test_a_sceptical_prior_pulls_ratios_towards_no_association(folder):
    rows = table(folder, "multiverse")
    rows = rows[(rows["estimand"] == "overall") & rows["stratum"].isin(["HR+", "HR-"])]
    size = np.log(rows["posterior_point"]).abs().groupby(rows["universe"]).sum()
    assert size["sceptical"] < size["main"]
    assert rows.loc[rows["universe"] == "sceptical", "shift_sd"].abs().max() > 0.2
    both = rows[rows["universe"] == "sceptical"]
    np.testing.assert_allclose(both["twin_point"], both["main_twin_point"])  # the twin has no priors
    fit = read_fit(folder / "posterior" / "sceptical.nc")
    assert float(fit.posterior["amount_slope_between_cells_sd"].quantile(0.99)) < 0.3


@pytest.mark.sampling
def test_power_scaling_has_every_pooled_row_that_is_estimable(folder):
    found, rows = table(folder, "power_scaling"), table(folder, "multiverse")
    groups = [ALL, *abundance.PRIOR_GROUPS]
    assert list(dict.fromkeys(found["priors"])) == groups
    main = rows[(rows["universe"] == "main") & (rows["posterior_side"] != "not estimable")]
    own = found[(found["priors"] == ALL) & (found["estimand"] == "overall")]
    assert len(own) == (main["estimand"] == "overall").sum()
    assert set(found["reading"]) <= set(READINGS.values())
    assert own["likelihood"].median() > 3 * own["prior"].median()  # 160 tumours say more than the priors


@pytest.mark.sampling
def test_the_page_says_what_rests_on_the_priors(folder):
    page = (folder / "sensitivity.html").read_text("utf-8")
    assert "Do the priors decide it?" in page
    assert "under every one of 2 other priors" in page
    assert "SIMULATED DATA" in page
    scaled = table(folder, "power_scaling")
    headline = scaled[(scaled["priors"] == ALL) & (scaled["estimand"] == "overall")]
    moved = int((headline["prior"] >= power_scaling.THRESHOLD).sum())
    assert f"Power-scaling: {moved or 'none'} of {len(headline)} pooled ratios" in page
    assert ("Numbered: the most sensitive" in page) == (moved > 0)
    assert "mathdefault" not in page  # numbers on axes are text
    assert {p.name for p in (folder / "figures").glob("*.svg")} == {"sensitivity.svg", "power_scaling.svg"}


@pytest.mark.sampling
def test_finished_fits_are_reused(folder, study_file, capsys):
    before = {p: p.stat().st_mtime_ns for p in (folder / "posterior").iterdir()}
    assert exit_code(arguments(study_file, folder)) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count("finished fit") == 3
    assert {p: p.stat().st_mtime_ns for p in (folder / "posterior").iterdir()} == before


def test_the_page_has_the_limit_and_the_name_of_the_tables():
    assert (sensitivity_page.THRESHOLD, sensitivity_page.ALL) == (power_scaling.THRESHOLD, power_scaling.ALL)


def test_priors_that_are_not_there_are_named_with_those_that_are(study_file, tmp_path, capsys):
    out = tmp_path / "out"
    assert exit_code(["sensitivity", str(study_file), "--out", str(out), "--only", "flatt"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "no universe is named flatt; known: main, cohorts_half" in said
    assert not out.exists()


def test_priors_of_what_one_cohort_does_not_have_are_left_out_with_the_reason(study_file, tmp_path, capsys):
    out = tmp_path / "out"
    assert exit_code(["sensitivity", str(study_file), "--out", str(out), "--only", "cohorts_half"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "cohorts_half: these tumours have no parameter with a prior that it changes." in said
    assert not out.exists()


@pytest.mark.sampling
def test_fits_that_do_not_pass_their_gate_are_refused(short, tmp_path, capsys):
    out = tmp_path / "out"
    assert exit_code(["sensitivity", str(short), "--out", str(out), "--only", "sceptical", "--quiet"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "A sensitivity analysis needs the main analysis and another universe that passed their gates" in said
    )
    assert not (out / "sensitivity.html").exists()
