"""Every model that can be: 200 data sets of the seed study's design, stored as small tables with date and versions."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from bayes_her2.comparison.calibration import verdict
from bayes_her2.files import write_text
from bayes_her2.hashing import versions
from bayes_her2.workflow.calibrate import (
    REPLICATES,
    SEED,
    Calibrated,
    calibrate_model,
    calibrated_models,
    troubled,
)

ROOT = Path(__file__).parents[2]
STORED = ROOT / "tests" / "reference" / "calibration"
FIGURES = ("rank_ecdf.pdf", "coverage.pdf")
TABLES = ("ranks", "coverage", "errors_of_claims", "discoveries", "power")


def store(made: Calibrated) -> None:
    """Write the tables and figures of a calibration, and what it was made with."""
    folder = STORED / made.model
    folder.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        text = made.tables[name].to_csv(index=False, lineterminator="\n", float_format="%.4g")
        write_text(folder / f"{name}.csv", text)
    for name in FIGURES:
        shutil.copyfile(made.folder / "figures" / name, folder / name)
    fits = made.tables["fits"]
    about = {
        "model": made.model,
        "data_sets": made.n,
        "seed": SEED,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "versions": versions(),
        "against": list(made.against),
        "fits with a divergent transition or a high R-hat": len(troubled(fits)),
        "fits after a second attempt": int(fits["retried"].sum()),
        "seconds of a data set (median)": round(float(fits["seconds"].median()), 1),
        "lowest effective sample size (median over data sets)": round(float(fits["ess"].median())),
    }
    write_text(folder / "about.json", json.dumps(about, indent=1, sort_keys=True) + "\n")


def _check(folder: Path) -> None:
    """What is stored says what its tables say, and with which versions."""
    about = json.loads((folder / "about.json").read_text())
    assert about["model"] == folder.name
    assert folder.name in calibrated_models()
    assert about["data_sets"] >= REPLICATES
    assert {"pymc", "nutpie", "numba"} <= set(about["versions"])
    assert all((folder / name).read_bytes().startswith(b"%PDF") for name in FIGURES)
    tables = {
        name: pd.read_csv(folder / f"{name}.csv", keep_default_na=False, na_values=[""]) for name in TABLES
    }
    said = verdict(tables["ranks"], tables["coverage"])
    assert len(said) == len(about["against"])
    assert tables["coverage"]["n_replicates"].max() == about["data_sets"]


@pytest.mark.parametrize("model", sorted(p.name for p in STORED.iterdir()))
def test_what_is_stored_agrees_with_itself_and_nothing_speaks_against_it(model):
    _check(STORED / model)
    assert json.loads((STORED / model / "about.json").read_text())["against"] == []


@pytest.mark.slow
@pytest.mark.parametrize("model", calibrated_models())
def test_two_hundred_data_sets_do_not_speak_against_the_model(model):
    """Resumable: data sets that were finished before, in the results folder, are reused."""
    at_once = os.cpu_count() or 1
    made = calibrate_model(model, ROOT / "results" / "calibration" / model, at_once=at_once, say=print)
    store(made)
    _check(STORED / model)
    assert made.n == REPLICATES
    assert made.against == ()
    assert len(troubled(made.tables["fits"])) <= 0.05 * REPLICATES
