"""Commands: what they print and the code they exit with."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cyclopts.completion.detect import ShellDetectionError
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


def test_report_takes_formats_and_says_where_they_are(tmp_path, capsys, monkeypatch):
    asked = {}

    def rendered(folder, *, formats, at_once):
        asked["formats"] = formats
        return folder / "report.html"

    monkeypatch.setattr("bayes_her2.cli.render_report", rendered)
    command = ["report", str(tmp_path), "--format", "docx", "--format", "latex", "--format", "pdf"]
    assert exit_code(command) == 0
    assert asked["formats"] == ("docx", "latex", "pdf")
    printed = capsys.readouterr().out.replace("\n", "")
    for name in ("report.html", "report.docx", "latex/report.tex", "report.pdf"):
        assert name in printed
    assert exit_code(["report", str(tmp_path)]) == 0
    assert asked["formats"] == ("html",)
    assert "docx" not in capsys.readouterr().out


def test_an_unknown_format_of_a_report_is_refused_by_the_parser(tmp_path, capsys):
    assert exit_code(["report", str(tmp_path), "--format", "odt"]) == 2
    said = capsys.readouterr()
    assert "odt" in said.err + said.out
    assert "docx" in said.err + said.out


def test_help_names_every_command(capsys):
    assert exit_code(["--help"]) == 0
    printed = capsys.readouterr().out
    for command in ("demo", "check", "run", "report", "audit"):
        assert command in printed


def test_version_is_the_package_version(capsys):
    assert exit_code(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed_where_the_shell_looks_for_it(shell, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for _ in range(2):  # a second time changes nothing
        assert exit_code(["completion", "--shell", shell]) == 0
    script = Path(capsys.readouterr().out.splitlines()[-1].split("Script: ")[1])
    assert script.is_relative_to(tmp_path)
    assert {"measurement", "--imputations"} <= set(re.findall(r"[\w-]+", script.read_text()))
    started = [p.read_text() for p in (tmp_path / ".bashrc", tmp_path / ".zshrc") if p.exists()]
    assert [text.count(str(script.parent)) > 0 for text in started] == [True] * (shell != "fish")


def test_a_shell_that_is_not_known_is_asked_for(tmp_path, capsys, monkeypatch):
    def unknown() -> None:
        raise ShellDetectionError

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("cyclopts.completion.detect.detect_shell", unknown)
    assert exit_code(["completion"]) == 2
    assert "say --shell bash or zsh or fish or powershell" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_script_that_cannot_be_written_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".local").write_text("a file, not a folder")
    assert exit_code(["completion", "--shell", "bash"]) == 2
    said = capsys.readouterr().err
    assert str(tmp_path / ".local") in said
    assert "the script for the shell cannot be written (Not a directory)" in said
    assert [p.name for p in tmp_path.iterdir()] == [".local"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_a_command(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert exit_code(["completion", "--shell", "bash", "-q"]) == 0
    script = next((tmp_path / ".local").rglob("bayes-her2"))
    ask = f'source {script}; COMP_WORDS=(bayes-her2 mea); COMP_CWORD=1; _bayes_her2; echo "${{COMPREPLY[@]}}"'
    told = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["measurement"]


def test_a_format_that_cannot_be_written_is_said_before_anything_is(
    study_file, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("bayes_her2.report.printed.BROWSERS", ("no-such-browser",))
    out = tmp_path / "results"
    assert exit_code(["run", str(study_file), "--out", str(out), "--format", "pdf"]) == 2
    assert "none of no-such-browser is on the PATH" in " ".join(capsys.readouterr().err.split())
    assert not out.exists()
