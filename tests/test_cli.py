"""Commands: what they print and the code they exit with."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulated_studies import small_study

from bayes_her2 import __version__
from bayes_her2.cli import exit_code
from bayes_her2.simulation.demo import write_study


@pytest.fixture(scope="module")
def study_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study"), small_study(), seed=1)


def test_check_shows_flow_and_exclusions_and_writes_nothing(study_file, capsys):
    before = sorted(study_file.parent.iterdir())
    assert exit_code(["check", str(study_file)]) == 0
    printed = capsys.readouterr().out
    assert "320 tumours, 4 cell types" in printed
    assert "HER2-positive" in printed
    assert "stage IV" in printed
    assert "Two cohorts" in printed
    assert "The study can be run." in printed
    assert sorted(study_file.parent.iterdir()) == before


def test_quiet_prints_nothing(study_file, capsys):
    assert exit_code(["check", str(study_file), "--quiet"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_missing_study_file_is_bad_input(tmp_path, capsys):
    assert exit_code(["check", str(tmp_path / "nowhere.toml")]) == 2
    assert "nowhere.toml: study file not found" in capsys.readouterr().err


def test_an_unknown_option_is_bad_input(study_file, capsys):
    assert exit_code(["check", str(study_file), "--colour"]) == 2
    assert "--colour" in capsys.readouterr().err


def test_run_without_a_folder_says_what_is_missing(study_file, capsys):
    assert exit_code(["run", str(study_file)]) == 2
    assert "--out" in capsys.readouterr().err


def test_report_on_a_folder_without_results_says_what_to_do(tmp_path, capsys):
    assert exit_code(["report", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "missing" in message
    assert "bayes-her2 run" in message


def test_help_names_every_command(capsys):
    assert exit_code(["--help"]) == 0
    printed = capsys.readouterr().out
    for command in ("demo", "check", "run", "report", "audit"):
        assert command in printed


def test_version_is_the_package_version(capsys):
    assert exit_code(["--version"]) == 0
    assert __version__ in capsys.readouterr().out
