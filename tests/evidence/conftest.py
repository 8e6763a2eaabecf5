"""Evidence tables and tables of claims written as a user would write them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest

from bayes_her2.evidence.table import EvidenceTable, read_evidence

RESPONSE = {
    "row_id": "smith_pcr",
    "study": "Smith 2024",
    "citation": "Smith J. A study. Journal 2024",
    "doi": "10.1000/smith.2024",
    "year": "2024",
    "setting": "neoadjuvant",
    "hr_stratum": "all",
    "exposure": "HER2-low",
    "reference": "HER2-0",
    "outcome": "pathological complete response",
    "design": "contrast",
    "measure": "counts",
    "adjustment": "crude",
    "n_exposed": "100",
    "events_exposed": "20",
    "n_reference": "80",
    "events_reference": "24",
    "counts": "printed",
    "overlap_group": "Smith 2024",
    "verified": "source text",
    "source": "Table 2",
}
"""A row without faults; counts of a pathological response."""

RATIO = {
    **{
        name: value
        for name, value in RESPONSE.items()
        if name not in ("events_exposed", "events_reference", "counts")
    },
    "row_id": "smith_os",
    "outcome": "overall survival",
    "measure": "hazard ratio",
    "adjustment": "adjusted",
    "adjusted_for": "age, stage",
    "estimate": "0.80",
    "ci_low": "0.64",
    "ci_high": "1.00",
    "ci_level": "0.95",
}
"""A row without faults; an adjusted hazard ratio."""


def other(row: dict[str, str], name: str, **changes: str) -> dict[str, str]:
    """The same result of another study."""
    own = {
        "row_id": f"{name}_{changes.get('row_id', '1')}",
        "study": f"{name} 2024",
        "doi": f"10.1000/{name}.2024",
        "overlap_group": f"{name} 2024",
    }
    return row | own | {key: value for key, value in changes.items() if key != "row_id"}


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., EvidenceTable]:
    """Write rows to a CSV and read it as a user does."""

    def write_and_read(*rows: dict[str, str]) -> EvidenceTable:
        columns = list(dict.fromkeys(name for row in rows for name in row))
        path = tmp_path / "mine.csv"
        with path.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, columns)
            writer.writeheader()
            writer.writerows(rows)
        return read_evidence(path)

    return write_and_read


CLAIM = {
    "claim": "A raises B",
    "family": "",
    "cohort": "First",
    "measure": "odds ratio",
    "estimate": "1.60",
    "ci_low": "1.07",
    "ci_high": "2.39",
    "place": "Results",
}
"""A sound claim; tests change it."""

WriteClaims = Callable[..., Path]


@pytest.fixture
def write_claims(tmp_path: Path) -> WriteClaims:
    """Write rows (each changes the sound claim) as a CSV and return its path."""

    def write(*rows: Mapping[str, str]) -> Path:
        path = tmp_path / "claims.csv"
        pd.DataFrame([CLAIM | dict(row) for row in rows]).fillna("").to_csv(path, index=False)
        return path

    return write
