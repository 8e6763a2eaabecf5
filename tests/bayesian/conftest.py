"""One small fit for every test of this folder that samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from simulated_studies import small_study

from bayes_her2.bayesian.fit import Fit, Sampling, fit_model, read_fit
from bayes_her2.data import AnalysisSet
from bayes_her2.simulation.demo import write_study
from bayes_her2.workflow.check import check_study

SETTINGS = Sampling(seed=11)


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> AnalysisSet:
    folder: Path = tmp_path_factory.mktemp("small")
    return check_study(write_study(folder, small_study(), seed=11)).prepared.data


@pytest.fixture(scope="session")
def small_fit(small_data: AnalysisSet, made_once: Callable[[str, Callable[[Path], object]], Path]) -> Fit:
    """Sampled by one of the processes that the tests run in, and read from its file by all."""

    def make(folder: Path) -> None:
        fit_model("abundance", small_data, sampling=SETTINGS, progress=False).to_netcdf(folder / "fit.nc")

    return read_fit(made_once("small_fit", make) / "fit.nc")
