"""The HER2 measurement of a study by the command line: tables, resuming, refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayes_her2.cli import exit_code

MEASURES = '[her2_measurement]\nmeasures = [{ field = "erbb2", label = "ERBB2" }]\n\n[clinical]'


def with_measures(study_file: Path, name: str, block: str = MEASURES) -> Path:
    text = study_file.read_text(encoding="utf-8").replace("[clinical]", block, 1)
    path = study_file.with_name(name)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def study(study_file: Path) -> Path:
    return with_measures(study_file, "measured.toml")


@pytest.fixture(scope="module")
def measured(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("measured") / "out"
    arguments = ["measurement", str(study), "--out", str(out), "--imputations", "2", "--quiet"]
    assert exit_code(arguments) == 0
    return out


@pytest.mark.sampling
def test_the_tables_set_every_treatment_beside_the_score_as_it_is(measured):
    tables_are_whole(measured, ("cut", "latent drawn"))


@pytest.mark.slow
@pytest.mark.sampling
def test_the_joint_posterior_is_a_treatment_of_its_own_and_is_taken_up_again(study, tmp_path):
    out = tmp_path / "out"
    arguments = ["measurement", str(study), "--out", str(out), "--imputations", "2", "--joint", "--quiet"]
    assert exit_code(arguments) == 0
    tables_are_whole(out, ("cut", "latent drawn", "joint"))
    before = {p: p.stat().st_mtime_ns for p in (out / "posterior").iterdir()}
    assert "joint.nc" in {p.name for p in before}
    assert exit_code(arguments) == 0
    assert {p: p.stat().st_mtime_ns for p in (out / "posterior").iterdir()} == before


def tables_are_whole(measured: Path, treatments: tuple[str, ...]) -> None:
    slopes = pd.read_csv(measured / "tables" / "immune_slopes.csv")
    assert set(slopes["treatment"]) == set(treatments)
    assert set(slopes["estimand"]) == {"presence", "amount", "overall"}
    told = slopes["plug_in_says"] != "open"
    stretch = np.log(slopes["point"]) / np.log(slopes["plug_in_point"])
    assert slopes.loc[told, "stretch"].to_numpy() == pytest.approx(stretch[told].to_numpy())
    assert slopes.loc[~told, "stretch"].isna().all()
    imputed = slopes["treatment"] != "joint"
    assert slopes.loc[imputed, "between_share"].between(0, 1).all()
    assert slopes.loc[~imputed, "between_share"].isna().all()
    changed = slopes["side_changes"]
    assert (slopes["says"] == slopes["plug_in_says"]).to_numpy().tolist() == (~changed).tolist()
    estimates = pd.read_csv(measured / "tables" / "estimates.csv")
    assert set(estimates["treatment"]) == {"plug-in", *treatments}
    score = estimates["treatment"] == "plug-in"
    assert set(estimates.loc[score, "exposure"]) == {"simulated HER2 score (20-gene like)"}
    assert set(estimates.loc[~score, "exposure"]) == {"latent HER2"}
    rows = pd.read_csv(measured / "tables" / "measurement.csv")
    assert rows[["lower", "point", "upper"]].stack().between(0, 1).all()
    moved = measured / "tables" / "reliability_by_treatment.csv"
    assert moved.exists() == ("joint" in treatments)  # the others leave the measurement as it is
    if moved.exists():
        assert set(pd.read_csv(moved)["treatment"]) == {"cut", "joint"}
    record = json.loads((measured / "provenance.json").read_text(encoding="utf-8"))
    assert record["treatments"] == ["plug-in", *treatments]
    assert record["imputations"] == 2
    diagnostics = pd.read_csv(measured / "tables" / "diagnostics.csv")
    assert diagnostics.groupby("treatment")["imputation"].nunique()["cut"] == 2
    assert not list(measured.rglob(".*"))


@pytest.mark.sampling
def test_the_factors_follow_from_reliability_and_from_what_is_known(measured):
    rows = pd.read_csv(measured / "tables" / "measurement.csv").set_index(["estimand", "outcome"])
    score = rows.loc[("reliability", "simulated HER2 score (20-gene like)")]
    factor = rows.loc[("slope_factor", "plug-in")]
    # Quantiles of a monotone function are its values at the quantiles, but for interpolation between draws.
    for limit in ("lower", "point", "upper"):
        assert factor[limit] == pytest.approx(np.sqrt(score[limit]), rel=1e-3)
    drawn, known = rows.loc[("slope_factor", "latent drawn")], rows.loc[("latent_known", "all")]
    assert drawn["point"] == known["point"]


@pytest.mark.sampling
def test_the_same_command_again_takes_up_every_fit(measured, study, capsys):
    before = {p: p.stat().st_mtime_ns for p in (measured / "posterior").iterdir()}
    assert {p.name for p in before} >= {"her2_measurement.nc", "plug-in_01.nc", "cut_02.nc"}
    assert exit_code(["measurement", str(study), "--out", str(measured), "--imputations", "2"]) == 0
    assert {p: p.stat().st_mtime_ns for p in (measured / "posterior").iterdir()} == before
    said = " ".join(capsys.readouterr().out.split())
    assert "cut: 2 of 2 finished fits are reused" in said
    assert "slopes lie on another side of no association than for the score as it is" in said


@pytest.mark.sampling
def test_a_measurement_that_does_not_pass_its_gate_is_refused(short, tmp_path, capsys):
    out = tmp_path / "out"
    path = with_measures(short, "short_measured.toml")
    assert exit_code(["measurement", str(path), "--out", str(out), "--quiet"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "her2_measurement did not pass its gates" in said
    assert "ESS" in said
    assert {p.name for p in out.iterdir()} == {"posterior", "decisions.json"}


def test_a_single_indicator_is_bad_input_and_nothing_is_written(study_file, tmp_path, capsys):
    text = study_file.read_text(encoding="utf-8").replace('her2_ihc = "HER2 IHC"\n', 'her2_call = "Call"\n')
    clinical = next(study_file.parent.glob("*_clinical.csv"))
    folder = tmp_path / "study"
    folder.mkdir()
    for file in study_file.parent.iterdir():
        if file.suffix in (".csv", ".tsv"):
            (folder / file.name).write_bytes(file.read_bytes())
    table = pd.read_csv(clinical, dtype=str, keep_default_na=False)
    table["Call"] = np.where(table["HER2 IHC"] == "3+", "positive", "negative")
    table.to_csv(folder / clinical.name, index=False)
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    out = tmp_path / "out"
    assert exit_code(["measurement", str(path), "--out", str(out), "--quiet"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    # One tumour more than with levels: 2+ without ISH was no negative, a call of negative is.
    assert re.search(
        r"is the only indicator of HER2 in its \d+ tumours \(the HER2 IHC level in 0; 30 needed", said
    )
    assert not out.exists()


def test_a_single_imputation_is_bad_input(study, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["measurement", str(study), "--out", str(out), "--imputations", "1", "--quiet"]
    assert exit_code(arguments) == 2
    assert "--imputations 1: at least 2" in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def test_the_score_is_no_further_measure_of_itself(study_file, tmp_path, capsys):
    block = '[her2_measurement]\nmeasures = ["her2"]\n\n[clinical]'
    path = with_measures(study_file, "itself.toml", block)
    assert exit_code(["measurement", str(path), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert "'her2' is the HER2 measure already" in " ".join(capsys.readouterr().err.split())
