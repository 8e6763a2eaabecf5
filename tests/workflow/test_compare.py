"""Rival models of a study compared by the command line: tables, resuming, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from bayes_her2.cli import exit_code

pytestmark = pytest.mark.sampling


@pytest.fixture(scope="module")
def compared(study_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small study's gamma amounts, which generated it, beside the two alternatives."""
    out = tmp_path_factory.mktemp("compared") / "out"
    assert exit_code(["compare", str(study_file), "--out", str(out), "--quiet"]) == 0
    return out


def test_the_tables_say_which_model_predicts_best_and_which_conclusions_depend_on_it(compared):
    table = pd.read_csv(compared / "tables" / "model_comparison.csv").set_index("model")
    assert set(table.index) == {"abundance", "abundance_weibull", "abundance_lognormal"}
    # The tumours were simulated with gamma amounts: the lognormal, whose left tail is another, loses clearly.
    assert (
        table.loc["abundance_lognormal", "difference"]
        < -2 * table.loc["abundance_lognormal", "difference_se"]
    )
    assert table.loc["abundance", "difference"] > -4
    assert table["weight"].sum() == pytest.approx(1)
    assert (table["n_tumours"] == 160).all()
    tumours = pd.read_csv(compared / "tables" / "model_comparison_tumours.csv", index_col="tumour")
    assert tumours["abundance"].sum() == pytest.approx(table.loc["abundance", "elpd"])
    conclusions = pd.read_csv(compared / "tables" / "conclusions.csv")
    assert set(conclusions["model"]) == set(table.index) - {"abundance"}
    # Presence shares no parameter with the amount's distribution: its rows differ by Monte Carlo error alone.
    presence = conclusions[(conclusions["estimand"] == "presence") & (conclusions["scope"] == "pooled")]
    assert (presence["point"] / presence["main_point"] - 1).abs().max() < 0.05
    record = json.loads((compared / "provenance.json").read_text(encoding="utf-8"))
    assert record["models"] == ["abundance", "abundance_weibull", "abundance_lognormal"]
    assert record["refused"] == {}
    assert not list(compared.rglob(".*"))


def test_the_same_command_again_takes_up_the_fits(compared, study_file, capsys):
    before = {p: p.stat().st_mtime_ns for p in (compared / "posterior").iterdir()}
    arguments = ["compare", str(study_file), "--out", str(compared), "--model", "abundance_weibull"]
    assert exit_code(arguments) == 0
    assert {p: p.stat().st_mtime_ns for p in (compared / "posterior").iterdir()} == before
    said = capsys.readouterr().out
    assert "abundance_weibull: a finished fit" in said
    assert "lognormal" not in said
    assert len(pd.read_csv(compared / "tables" / "model_comparison.csv")) == 2


def test_an_unknown_alternative_is_named_and_nothing_is_written(study_file, tmp_path, capsys):
    out = tmp_path / "out"
    assert exit_code(["compare", str(study_file), "--out", str(out), "--model", "abundance_gumbel"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "abundance_gumbel: not an alternative to abundance; known: abundance_weibull, abundance_lognormal"
        in said
    )
    assert not out.exists()


def test_the_folder_of_a_run_is_not_overwritten(study_file, results, capsys):
    before = {p: p.stat().st_mtime_ns for p in results.rglob("*") if p.is_file()}
    assert exit_code(["compare", str(study_file), "--out", str(results), "--quiet"]) == 2
    assert "rival models' would overwrite" in " ".join(capsys.readouterr().err.split())
    assert {p: p.stat().st_mtime_ns for p in results.rglob("*") if p.is_file()} == before


def test_a_study_without_cohorts_has_nothing_to_compare(tmp_path, capsys):
    path = tmp_path / "study.toml"
    path.write_text('[study]\nname = "S"\nseed = 1\n[published]\nevidence = true\n')
    assert exit_code(["compare", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "the study has no [[cohort]]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_main_model_alone_is_no_comparison(study_file, tmp_path, capsys):
    arguments = ["compare", str(study_file), "--out", str(tmp_path / "out"), "--model", "abundance"]
    assert exit_code(arguments) == 2
    assert "Name an alternative" in " ".join(capsys.readouterr().err.split())


def test_models_that_do_not_pass_their_gate_are_not_compared(short, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["compare", str(short), "--out", str(out), "--model", "abundance_weibull", "--quiet"]
    assert exit_code(arguments) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "A comparison needs the main model and an alternative that passed their gates" in said
    assert "abundance_weibull: " in said
    assert {p.name for p in out.iterdir()} == {"posterior", "decisions.json"}
