"""A small study run once through the command line, for every test of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dask
import pytest
from distributed import LocalCluster
from simulated_studies import ALONE, small_study, with_few_draws, write_small_study

from bayes_her2.cli import exit_code


@pytest.fixture(scope="session")
def study_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cohort of 160 tumours, four cell types, written as files."""
    return write_small_study(tmp_path_factory.mktemp("study"), small_study(seed=21, n_cohorts=1), seed=21)


@pytest.fixture(scope="session")
def results(study_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results folder of that study, main model alone: the demo runs every model."""
    out = tmp_path_factory.mktemp("runs") / "small"
    arguments = ["run", str(study_file), "--out", str(out), "--only", "abundance", "--quiet", *ALONE]
    assert exit_code(arguments) == 0
    return out


@pytest.fixture(scope="session")
def short(study_file: Path) -> Path:
    """The small study with so few draws that no model passes the gate."""
    return with_few_draws(study_file)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """A Dask cluster of two worker processes on this machine; a job that ends two of them is given up."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),  # each worker takes seconds to start
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit=0
        ) as started,
    ):
        yield started
