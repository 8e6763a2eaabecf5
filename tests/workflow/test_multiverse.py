"""A small study in three universes by the command line: tables, page, resuming, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from simulated_studies import ALONE

from bayes_her2.bayesian.fit import read_fit
from bayes_her2.cli import exit_code
from bayes_her2.workflow.multiverse import MULTIVERSE

UNIVERSES = ["smallest_positive", "drop_zeros"]


def arguments(study: Path, out: Path) -> list[str]:
    return [
        "multiverse",
        str(study),
        "--out",
        str(out),
        *ALONE,
        *(a for u in UNIVERSES for a in ("--only", u)),
    ]


@pytest.fixture(scope="module")
def folder(study_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small study, its zeros replaced, and dropped: two fits."""
    out = tmp_path_factory.mktemp("multiverse") / "out"
    assert exit_code([*arguments(study_file, out), "--quiet"]) == 0
    return out


def said(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.sampling
def test_the_folder_holds_every_part_and_nothing_half_written(folder):
    assert {p.name for p in folder.iterdir()} == {*MULTIVERSE.parts, "posterior", "decisions.json"}
    assert {p.name for p in (folder / "posterior").iterdir()} == {"main.nc", "smallest_positive.nc"}
    assert {p.suffix for p in (folder / "figures").iterdir()} == {".svg", ".pdf"}
    assert not list(folder.rglob(".*"))
    record = json.loads((folder / "provenance.json").read_text("utf-8"))
    assert record["universes"]["drop_zeros"]["fit"] == "main"
    assert record["refused"] == record["left_out"] == {}
    assert "SIMULATED DATA" in (folder / "multiverse.html").read_text("utf-8")


@pytest.mark.sampling
def test_rows_are_those_of_the_fits_read_by_label(folder):
    table = pd.read_csv(folder / "tables" / "multiverse.csv", keep_default_na=False, na_values=[""])
    fit = read_fit(folder / "posterior" / "main.nc")
    draws = fit.estimand_draws
    for universe, estimand in (("main", "overall"), ("drop_zeros", "amount")):
        own = table[(table["universe"] == universe) & table["headline"]]
        assert set(own["estimand"]) == {estimand}
        own = own[(own["posterior_side"] != "not estimable") & (own["main_side"] != "not estimable")]
        assert len(own) >= 9
        for _, row in own.iterrows():
            cell = draws[estimand, "pooled"].sel(cell_type=row["cell_type"], stratum=row["stratum"])
            assert row["posterior_point"] == pytest.approx(float(np.exp(cell.median())), rel=1e-6)
            # The main analysis stands beside it, by its own estimand.
            beside = draws["overall", "pooled"].sel(cell_type=row["cell_type"], stratum=row["stratum"])
            assert row["main_point"] == pytest.approx(float(np.exp(beside.median())), rel=1e-6)
    main = table[table["universe"] == "main"]
    assert (main["log_shift"].dropna() == 0).all()
    assert main[["posterior_change", "twin_change"]].isna().all(axis=None)


@pytest.mark.sampling
def test_a_cell_type_without_zeros_is_untouched_by_their_replacement(folder):
    table = pd.read_csv(folder / "tables" / "multiverse.csv")
    own = table[(table["universe"] == "smallest_positive") & (table["cell_type"] == "T cells CD8")]
    np.testing.assert_allclose(own["twin_point"], own["main_twin_point"], rtol=1e-9)
    # The posterior pools over the other cell types, which moved; the likelihood did not, so the sides are not opposite.
    assert not own["posterior_change"].isin(["reversed"]).any()
    values = pd.read_csv(folder / "tables" / "multiverse_values.csv").set_index(["universe", "cell_type"])
    replaced = values.loc["smallest_positive"]
    assert replaced.loc["T cells CD8", "n_changed"] == 0
    assert (replaced["n_changed"] == replaced["n_zero_before"]).all()
    assert (replaced["n_zero_after"] == 0).all()
    assert replaced.loc["Neutrophils", "n_changed"] > 40


@pytest.mark.sampling
def test_the_summary_agrees_with_the_rows(folder):
    summary = pd.read_csv(folder / "tables" / "multiverse_summary.csv").set_index("universe")
    table = pd.read_csv(folder / "tables" / "multiverse.csv")
    for universe, row in summary.iterrows():
        own = table[(table["universe"] == universe) & table["headline"]]
        for kind in ("lost", "gained", "reversed"):
            assert row[f"posterior_{kind}"] == (own["posterior_change"] == kind).sum()
            assert row[f"twin_{kind}"] == (own["twin_change"] == kind).sum()
    assert (summary["status"] == "fitted").all()
    assert summary.loc["drop_zeros", "ess_min"] >= 1_200
    assert len(pd.read_csv(folder / "tables" / "multiverse_stability.csv")) == 4 * 3


@pytest.mark.sampling
def test_the_same_command_again_takes_up_the_fits(folder, study_file, capsys):
    before = {p: p.stat().st_mtime_ns for p in (folder / "posterior").iterdir()}
    assert exit_code(arguments(study_file, folder)) == 0
    assert {p: p.stat().st_mtime_ns for p in (folder / "posterior").iterdir()} == before
    printed = said(capsys.readouterr().out)
    assert "main: a finished fit with the same data" in printed
    assert "smallest_positive: a finished fit" in printed
    assert "Conclusions that differ from the main analysis" in printed


@pytest.mark.sampling
def test_the_report_of_a_run_is_not_made_from_a_multiverse(folder, capsys):
    assert exit_code(["report", str(folder)]) == 2
    assert "holds the results of `bayes-her2 multiverse`, whose page is made with them" in said(
        capsys.readouterr().err
    )


@pytest.mark.sampling
def test_fits_that_do_not_pass_their_gate_are_refused(short, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["multiverse", str(short), "--out", str(out), "--only", "drop_zeros", "--quiet", *ALONE]
    assert exit_code(arguments) == 1
    printed = said(capsys.readouterr().err)
    assert "A multiverse needs the main analysis and another universe that passed their gates" in printed
    assert {p.name for p in out.iterdir()} == {"posterior", "decisions.json"}


def test_an_unknown_universe_is_named_and_nothing_is_written(study_file, tmp_path, capsys):
    out = tmp_path / "out"
    assert exit_code(["multiverse", str(study_file), "--out", str(out), "--only", "imputed"]) == 2
    assert "no universe is named imputed; known: main, tobit" in said(capsys.readouterr().err)
    assert not out.exists()


def test_a_universe_that_this_study_cannot_have_is_refused_with_the_reason(study_file, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["multiverse", str(study_file), "--out", str(out), "--only", "leukocyte_covariate"]
    assert exit_code(arguments) == 2
    assert "leukocyte_covariate: discovery has no field leukocyte_fraction" in said(capsys.readouterr().err)
    assert not out.exists()


def test_a_file_is_no_folder_for_results(study_file, tmp_path, capsys):
    out = tmp_path / "out"
    out.write_text("mine", encoding="utf-8")
    assert exit_code(["multiverse", str(study_file), "--out", str(out), "--only", "drop_zeros"]) == 2
    assert "is a file. Give a folder" in said(capsys.readouterr().err)
    assert out.read_text(encoding="utf-8") == "mine"


def test_a_study_file_that_is_not_there_is_an_error(tmp_path, capsys):
    assert exit_code(["multiverse", str(tmp_path / "none.toml"), "--out", str(tmp_path / "out")]) == 2
    assert "study file not found" in said(capsys.readouterr().err)


def test_a_study_without_cohorts_has_no_universes(tmp_path, capsys):
    path = tmp_path / "study.toml"
    path.write_text('[study]\nname = "S"\nseed = 1\n[published]\nevidence = true\n', encoding="utf-8")
    assert exit_code(["multiverse", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "the study has no [[cohort]]" in said(capsys.readouterr().err)
    assert not (tmp_path / "out").exists()
