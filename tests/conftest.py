"""Fixtures that several folders share: studies without files, tumours by label, the public cohorts."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from bayes_her2.data import AnalysisSet, CohortTable, ModelChoices, TumourData
from bayes_her2.inputs.study import Study, parse_study

LONGEST = (
    "workflow/test_calibrate.py",
    "workflow/test_run.py",
    "workflow/test_compare.py",
    "notebooks/test_notebooks.py",
    "models/test_marginal_effect.py",
    "workflow/test_side_by_side.py",
    "report/test_report.py",
    "bayesian/test_compilation.py",
    "workflow/test_sensitivity.py",
    "report/test_bundle.py",
    "bayesian/test_gates_with_teeth.py",
    "models/test_evidence_synthesis.py",
    "models/test_structures_graph.py",
)
"""Files that take more than a minute: begun first, so that none of them is left to one process at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, and leave the rest as it is."""
    place = {Path(__file__).parent / name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


def pytest_configure() -> None:
    """Look for garbage as seldom as the command does: graphs and figures are many objects that stay."""
    gc.set_threshold(100_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def interrupts_are_heard() -> None:
    """A shell that starts the tests in its background has them, and the commands that they start, ignore interrupts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


STUDY = """
[study]
name = "Test"
seed = 1
[her2]
measure = "ERBB2"
label = "ERBB2 mRNA"
{blocks}
[[cohort]]
name = "A"
platform = "RNA-seq"
[cohort.cibersort]
files = ["a.csv"]
[cohort.clinical]
file = "c.csv"
fields = {{ er = "er", pgr = "pgr", her2_ihc = "ihc", centre = "centre", batch = "batch" }}
"""

Sizes = Mapping[tuple[str, str], int]


def make_study(blocks: str = "") -> Study:
    """A study whose files are not looked for; `blocks` is TOML between [her2] and the cohort."""
    return parse_study(STUDY.format(blocks=blocks), path=Path("study.toml"), check_files=False)


def cohort_table(
    name: str,
    tumours: pd.DataFrame,
    abundance: pd.DataFrame | None = None,
    *,
    platform: str = "RNA-seq",
    **settings: Any,
) -> CohortTable:
    """A cohort as the readers return it; without `abundance`, two cell types that every tumour has."""
    if abundance is None:
        abundance = pd.DataFrame({"T cells CD8": 0.4, "Macrophages M2": 0.6}, index=tumours.index)
    quality = pd.DataFrame(index=tumours.index)
    return CohortTable(
        name, platform, tumours, abundance, quality, settings.pop("scale", "relative"), **settings
    )


def tumour_data(
    tumours: pd.DataFrame, abundance: pd.DataFrame, covariates: Sequence[str] = (), **settings: Any
) -> TumourData:
    """Eligible tumours; columns that a test does not care about get one value."""
    filled = tumours.copy()
    for column, value in {"platform": "RNA-seq", "her2_class": "0"}.items():
        if column not in filled:
            filled[column] = value
    for column in ("her2_ihc", "centre", "batch"):
        if column not in filled:
            filled[column] = pd.Series(pd.NA, index=filled.index, dtype="str")
    scale = settings.pop("scale", "relative")
    return TumourData(
        filled, abundance, "ERBB2 mRNA", scale, "share of all immune cells", tuple(covariates), **settings
    )


def random_tumours(
    seed: int, sizes: Sizes, zero_shares: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tumours and abundances without any effect.

    `sizes`: (cohort, HR stratum) -> n. `zero_shares`: cell type -> share of exact zeros, or one share for
    each stratum. Zeros are dealt out, not drawn, so that counts are known.
    """
    rng = np.random.default_rng(seed)
    rows = [(cohort, hr) for (cohort, hr), n in sizes.items() for _ in range(n)]
    tumours = pd.DataFrame(rows, columns=["cohort", "hr"], dtype="str")
    tumours.index = pd.Index([f"{c}/{i:03d}" for i, c in enumerate(tumours["cohort"])], name="tumour")
    tumours["platform"] = tumours["cohort"]
    tumours["her2"] = rng.normal(7.0, 1.3, size=len(tumours))
    abundance = {}
    for cell_type, share in zero_shares.items():
        values = rng.gamma(2.0, 0.04, size=len(tumours))
        for hr in ("HR+", "HR-"):
            inside = np.flatnonzero(tumours["hr"] == hr)
            own = share[hr] if isinstance(share, Mapping) else share
            values[rng.permutation(inside)[: round(own * len(inside))]] = 0.0
        abundance[cell_type] = values
    return tumours, pd.DataFrame(abundance, index=tumours.index)


THREE = {
    ("A", "HR+"): 14,
    ("A", "HR-"): 12,
    ("B", "HR+"): 13,
    ("B", "HR-"): 11,
    ("C", "HR+"): 15,
    ("C", "HR-"): 12,
}
CELLS = {
    "Zeta cells": 0.5,  # not in alphabetical order, so that a position taken for a label shows
    "Alpha cells": 0.4,
    "Masked in HR-": {"HR+": 0.4, "HR-": 0.15},  # presence: too few zeros in HR-
    "Never zero": 0.0,
}


def structured_set(kind: str, names_of_cells: Mapping[str, str] | None = None) -> AnalysisSet:
    """Small analysis set of each structure that the main model can take.

    Cell types: two with everything, one whose presence is masked in HR-, one without any zero, one whose
    amounts are masked in HR- as well. `names_of_cells` gives them other names.
    """
    sizes: Sizes = {
        "three cohorts": THREE,
        "covariates": THREE,
        "HR+ only beside both": {("A", "HR+"): 22, ("A", "HR-"): 24, ("B", "HR+"): 26},
        "HR- as reference": {("A", "HR+"): 24, ("A", "HR-"): 22, ("B", "HR-"): 26},
        "one cohort": {("A", "HR+"): 26, ("A", "HR-"): 25},
        "one cohort, HR+ only": {("A", "HR+"): 40},
        "centres": {("A", "HR+"): 24, ("A", "HR-"): 26, ("B", "HR+"): 30},
    }[kind]
    strata = {hr for _, hr in sizes}
    n_negative = sum(n for (_, hr), n in sizes.items() if hr == "HR-")
    cells: dict[str, Any] = dict(CELLS)
    if len(strata) == 2:
        cells["Rare in HR-"] = {"HR+": 0.5, "HR-": (n_negative - 4) / n_negative}  # 4 positives there
    tumours, abundance = random_tumours(7, sizes, cells)
    abundance = abundance.rename(columns=dict(names_of_cells or {}))
    rng = np.random.default_rng(8)
    names: tuple[str, ...] = ()
    settings: dict[str, Any] = {}
    if kind == "covariates":
        tumours["purity"] = rng.uniform(0.2, 0.9, size=len(tumours))
        tumours["grade"] = pd.Series(rng.choice(["I", "II", "III"], size=len(tumours)), index=tumours.index)
        names = ("purity", "grade")
    if kind == "centres":
        inside = tumours["cohort"] == "B"
        tumours["centre"] = pd.Series(pd.NA, index=tumours.index, dtype="str")
        tumours.loc[inside, "centre"] = rng.choice(["2", "1", "10"], size=int(inside.sum()))
        tumours["batch"] = pd.Series(pd.NA, index=tumours.index, dtype="str")
        tumours.loc[inside, "batch"] = rng.choice(["job 2", "job 1"], size=int(inside.sum()))
        settings = {"use_centre": True, "use_batch": True}
    return tumour_data(tumours, abundance, names, **settings).for_model("abundance")


def ancova_set(
    sizes: Sizes,
    *,
    seed: int = 5,
    cells: Mapping[str, Any] | None = None,
    levels: Mapping[str, Sequence[float]] | None = None,
    covariates: Sequence[str] = (),
    **choices: Any,
) -> AnalysisSet:
    """Analysis set of `marginal_effect` without any effect.

    `cells`: cell type -> share of zeros (under a quarter is continuous). `levels`: HR stratum -> odds of IHC
    0, 1+ and 2+; `choices`: fields of `ModelChoices`.
    """
    tumours, abundance = random_tumours(
        seed, sizes, cells or {"Alpha cells": 0.1, "Zeta cells": 0.0, "Rare": 0.5}
    )
    rng = np.random.default_rng(seed + 1)
    odds = levels or {"HR+": (2, 3, 2), "HR-": (3, 3, 2)}
    share = {hr: np.array(weights, dtype=float) / sum(weights) for hr, weights in odds.items()}
    tumours["her2_ihc"] = [str(rng.choice(["0", "1+", "2+"], p=share[hr])) for hr in tumours["hr"]]
    tumours["age"] = rng.normal(58.0, 11.0, size=len(tumours))
    settings = ModelChoices(**choices)
    return tumour_data(tumours, abundance, covariates, settings=settings).for_model("marginal_effect")


STRUCTURES = (
    "three cohorts",
    "covariates",
    "HR+ only beside both",
    "HR- as reference",
    "one cohort",
    "one cohort, HR+ only",
    "centres",
)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Folder that the first process of a session to ask for it makes, for all of them to read and none to change."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def get(name: str, make: Callable[[Path], object]) -> Path:
        folder, unfinished = shared / f"once_{name}", shared / f"once_{name}.part"
        with FileLock(f"{folder}.lock"):
            if not folder.exists():
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir()
                make(unfinished)
                unfinished.rename(folder)
        return folder

    return get


@pytest.fixture(scope="session")
def study_of() -> Callable[[str], Study]:
    """`make_study`."""
    return make_study


@pytest.fixture(scope="session")
def table_of() -> Callable[..., CohortTable]:
    """`cohort_table`."""
    return cohort_table


@pytest.fixture(scope="session")
def data_of() -> Callable[..., TumourData]:
    """`tumour_data`."""
    return tumour_data


@pytest.fixture(scope="session")
def tumours_of() -> Callable[..., tuple[pd.DataFrame, pd.DataFrame]]:
    """`random_tumours`."""
    return random_tumours


@pytest.fixture(scope="session")
def ancova_set_of() -> Callable[..., AnalysisSet]:
    """`ancova_set`."""
    return ancova_set


@pytest.fixture(scope="session")
def structured() -> Callable[[str], AnalysisSet]:
    """`structured_set`, made once for each kind."""
    made: dict[str, AnalysisSet] = {}

    def get(kind: str) -> AnalysisSet:
        if kind not in made:
            made[kind] = structured_set(kind)
        return made[kind]

    return get


@pytest.fixture(scope="session", params=STRUCTURES)
def structure_kind(request: pytest.FixtureRequest) -> str:
    """Each structure that the main model can take, by name."""
    return str(request.param)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the public cohorts."""
    folder = os.environ.get("BAYES_HER2_DATA")
    if not folder:
        pytest.skip("BAYES_HER2_DATA is not set: the public cohorts are not shipped")
    return Path(folder)
