"""A results folder is one study's, and a refusal leaves it as it was."""

from __future__ import annotations

import json

import pytest

from bayes_her2.errors import DataError
from bayes_her2.workflow.results import ResultsFolder


def test_another_study_does_not_overwrite_a_folder(tmp_path):
    out = tmp_path / "out"
    folder = ResultsFolder(out)
    folder.open("rule", {"abundance": "a"}, "My trial")
    (out / "report.html").write_text("whole")
    with pytest.raises(
        DataError, match=r"holds the results of another study, 'My trial', which those of 'Theirs'"
    ):
        ResultsFolder(out).open("rule", {"abundance": "a"}, "Theirs")
    assert (out / "report.html").read_text() == "whole"
    ResultsFolder(out).open("rule", {"abundance": "a", "clinical": "b"}, "My trial")
    kept = json.loads((out / "decisions.json").read_text())
    assert kept == {
        "study": "My trial",
        "decisions_hash": "rule",
        "priors": {"abundance": "a", "clinical": "b"},
    }


def test_what_was_written_aside_can_be_abandoned(tmp_path):
    folder = ResultsFolder(tmp_path / "out")
    folder.open("rule", {}, "My trial")
    folder.text("study.toml", "x")
    folder.abandon()
    assert {p.name for p in folder.out.iterdir()} == {"decisions.json"}
