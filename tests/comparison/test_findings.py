"""The surest results of a run: which rows they are, in which order, and how a terminal says them."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from bayes_her2.comparison import discoveries_of
from bayes_her2.terminal import as_json, show_run
from bayes_her2.workflow.run import RunResult


def pair(outcome: str, stratum: str, point: float, half: float, lfsr: float, **other) -> dict:
    """A row of the concordance: a ratio with an interval of `half` on the log scale either way."""
    row = {
        "model": "abundance", "estimand": "overall", "scope": "pooled", "status": "observed", "discovery_bayes": True,
        "outcome": outcome, "stratum": stratum, "exposure": "ERBB2 mRNA", "n": 120.0, "lfsr": lfsr, "verdict": "agrees",
    }  # fmt: skip
    for side in ("posterior", "twin"):
        ends = {"point": 0.0, "lower": -half, "upper": half}
        row |= {f"{side}_{end}": point * np.exp(off) for end, off in ends.items()}
    return row | other


PAIRS = pd.DataFrame(
    [
        pair("Unsure", "HR+", 1.3, 0.25, 0.01),
        pair("Far and narrow", "HR-", 0.6, 0.1, 0.0),
        pair("Near and narrow", "HR+", 1.2, 0.1, 0.0),
        pair("Not called", "HR+", 1.1, 0.3, 0.2, discovery_bayes=False),
        pair("Borrowed", "HR-", 2.0, 0.1, 0.0, status="borrowed"),
        pair("One cohort", "HR+", 2.0, 0.1, 0.0, scope="cohort"),
        pair("Amount", "HR+", 2.0, 0.1, 0.0, estimand="amount"),
        pair("Least sure", "HR+", 1.2, 0.2, 0.04),
    ]
)


def result_of(findings: pd.DataFrame | None) -> RunResult:
    return RunResult(Path("out"), Path("out/report.html"), (), {}, 12.3, findings, 0.95)


def printed(result: RunResult) -> str:
    console = Console(record=True, width=80, file=StringIO())
    show_run(console, result)
    return console.export_text()


def test_called_pooled_results_come_the_surest_first():
    found = discoveries_of(PAIRS)
    assert list(found["outcome"]) == ["Far and narrow", "Near and narrow", "Unsure", "Least sure"]
    shuffled = discoveries_of(PAIRS.sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(found, shuffled)


def test_three_are_shown_with_their_twins_and_how_many_there_are():
    said = printed(result_of(discoveries_of(PAIRS)))
    assert "per SD of ERBB2 mRNA, all cohorts: the surest 3 of 4 results with a sign" in " ".join(
        said.split()
    )
    assert "0.60 (0.54 to 0.66)" in said
    assert "Least sure" not in said
    assert "ratio (95 % CrI)" in said
    assert "Done in 12 s. Report: out/report.html" in said


@pytest.mark.parametrize(
    ("findings", "says"),
    [
        (discoveries_of(PAIRS.iloc[3:7]), "No pooled ratio of mean abundance has a sign"),
        (None, "Done in 12 s"),
    ],
    ids=["none called", "main model not fitted"],
)
def test_without_a_finding_that_is_said_or_nothing(findings, says):
    said = printed(result_of(findings))
    assert says in said
    assert "surest" not in said


def test_a_label_with_brackets_is_text():
    found = discoveries_of(PAIRS.assign(exposure="ERBB2 [log2]"))
    assert "per SD of ERBB2 [log2], all" in " ".join(printed(result_of(found)).split())


def test_a_program_reads_every_finding():
    read = json.loads(as_json(result_of(discoveries_of(PAIRS))))
    assert [f["outcome"] for f in read["findings"]][-1] == "Least sure"
    assert read["findings"][0]["posterior_point"] == pytest.approx(0.6)
    assert read["report"] == "out/report.html"
    assert json.loads(as_json(replace(result_of(None), reused=("abundance",))))["findings"] is None
