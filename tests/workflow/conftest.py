"""A small study run once through the command line, for every test of this folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import LocalCluster
from simulated_studies import small_study, write_small_study

from bayes_her2.cli import exit_code


@pytest.fixture(scope="session")
def study_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cohort of 160 tumours, four cell types, written as files."""
    return write_small_study(tmp_path_factory.mktemp("study"), small_study(seed=21, n_cohorts=1), seed=21)


@pytest.fixture(scope="session")
def results(study_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results folder of that study, main model alone: the demo runs every model."""
    out = tmp_path_factory.mktemp("runs") / "small"
    assert exit_code(["run", str(study_file), "--out", str(out), "--only", "abundance", "--quiet"]) == 0
    return out


@pytest.fixture(scope="session")
def short(study_file: Path) -> Path:
    """The small study with so few draws that no model passes the gate."""
    text = study_file.read_text(encoding="utf-8")
    text = re.sub(r"^draws = \d+$", "draws = 40", text, flags=re.MULTILINE)
    text = re.sub(r"^tune = \d+$", "chains = 2\ntune = 60", text, count=1, flags=re.MULTILINE)
    path = study_file.with_name("short.toml")
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """A Dask cluster of two worker processes on this machine."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit=0
    ) as started:
        yield started
