"""The worked scripts run from end to end, as a reader would run them, and show what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.sampling


def run(name: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "notebooks" / f"{name}.py"), str(folder)],
        cwd=ROOT,
        env=os.environ | {"PYTHONWARNINGS": "default"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_rival_models(tmp_path):
    run("rival_models", tmp_path)
    for table in ("compared", "refitted"):
        # The tumours have gamma amounts: the main model is not told from the best, or is it.
        found = pd.read_csv(tmp_path / f"{table}.csv").set_index("model")
        assert found.loc["abundance", "difference"] > -4
    assert set(pd.read_csv(tmp_path / "scores.csv")["model"]) == {"abundance", "abundance_weibull"}


def test_zero_policies(tmp_path):
    run("zero_policies", tmp_path)
    sides = pd.read_csv(tmp_path / "sides.csv", index_col="cell_type")
    # Presence alone was planted in plasma cells: with the zeros dropped nothing of it is left.
    assert sides.loc["Plasma cells", "main"] == "above"
    assert sides.loc["Plasma cells", "drop_zeros"] == "open"
    assert sides.loc["T cells CD8", "drop_zeros"] == "above"
