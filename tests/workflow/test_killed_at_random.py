"""Runs ended at random moments, many times: nothing is corrupt, and the same command comes to the same answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest
from slow_studies import record

from bayes_her2.bayesian.fit import read_fit

pytestmark = [pytest.mark.slow, pytest.mark.sampling]

TRIALS = 20
SEED = 20261130
MODELS = ("abundance", "high_abundance")
"""Two, side by side: what is killed is the command and, with it, its processes."""


def begin(study: Path, out: Path) -> subprocess.Popen[bytes]:
    arguments = ["run", str(study), "--out", str(out), "--at-once", "2", "-q"]
    for model in MODELS:
        arguments += ["--only", model]
    return subprocess.Popen(
        [sys.executable, "-m", "bayes_her2", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def finish(study: Path, out: Path) -> float:
    began = monotonic()
    process = begin(study, out)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors.decode()
    return monotonic() - began


def whole(out: Path, tables: dict[str, bytes]) -> None:
    """Every file that has its final name is whole, and what the provenance stands beside is the answer."""
    for path in out.glob("posterior/*.nc"):
        read_fit(path)
    for path in (out / "decisions.json", out / "provenance.json"):
        if path.exists():
            json.loads(path.read_text())
    for path in out.glob("tables/*.csv"):
        assert path.stem == "sampling" or path.read_bytes() == tables[path.name]
    if (out / "provenance.json").exists():
        assert {path.name for path in out.glob("tables/*.csv")} == set(tables)
        assert (out / "report.html").read_text().rstrip().endswith("</html>")


def tables_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("tables/*.csv"))}


def ended_in(out: Path) -> str:
    """How far the run had come."""
    if (out / "provenance.json").exists():
        return "finished"
    if (out / "tables").exists() or (out / "report.html").exists():
        return "putting in place"
    fits = len(list(out.glob("posterior/*.nc")))
    if fits == len(MODELS):
        return "tables and report"
    return f"{fits} of {len(MODELS)} fits there" if out.exists() else "before the folder"


def test_no_moment_at_which_a_run_is_killed_loses_or_spoils_anything(study_file, tmp_path):
    """Every trial but the first few uses compiled code of the one before: the moments spread over the whole run."""
    finish(study_file, tmp_path / "first")  # compiles
    seconds = finish(study_file, tmp_path / "whole")
    expected = tables_of(tmp_path / "whole")
    rng = np.random.default_rng(SEED)
    moments = seconds * (np.arange(TRIALS) + rng.random(TRIALS)) / TRIALS
    how_far: list[str] = []
    for trial, moment in enumerate(moments):
        out = tmp_path / f"trial-{trial}"
        process = begin(study_file, out)
        sleep(float(moment))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        sleep(1.0)  # its processes notice
        how_far.append(ended_in(out))
        whole(out, expected)
        finish(study_file, out)
        whole(out, expected)
        assert [p for p in out.rglob("*") if p.suffix == ".part" or p.name in (".unfinished", ".lock")] == []
    stages = ", ".join(f"{stage} {how_far.count(stage)}" for stage in dict.fromkeys(how_far))
    record(
        "faults",
        f"run killed (SIGKILL) at a random moment, then resumed; it was at: {stages}",
        fits=TRIALS,
        seed=str(SEED),
        value=0.0,
        expected="0 trials with a lost, half-written or different result",
    )
    assert len(set(how_far)) >= 3  # not all at one stage
