"""Builders of small simulated studies, written into a temporary folder."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayes_her2.data import LM22_CELL_TYPES, CohortTable
from bayes_her2.errors import DataError, StudyError
from bayes_her2.inputs import Study, read_cohorts, read_study

N_TUMOURS = 12


def simulated_fractions(ids: list[str], seed: int = 7) -> pd.DataFrame:
    """Fractions with exact zeros, rows summing to 1, as a CIBERSORTx web result."""
    rng = np.random.default_rng(seed)
    weights = rng.gamma(1.0, size=(len(ids), len(LM22_CELL_TYPES)))
    weights[rng.random(weights.shape) < 0.3] = 0.0
    weights[:, -2] += 0.1
    frame = pd.DataFrame(weights / weights.sum(axis=1, keepdims=True), columns=list(LM22_CELL_TYPES))
    frame.insert(0, "Mixture", ids)
    frame["P-value"] = rng.uniform(0, 0.04, len(ids)).round(3)
    frame["Correlation"] = rng.uniform(0.2, 0.8, len(ids))
    frame["RMSE"] = rng.uniform(0.6, 1.0, len(ids))
    return frame


def simulated_clinical(ids: list[str]) -> pd.DataFrame:
    n = len(ids)
    return pd.DataFrame(
        {
            "Patient": ids,
            "Age": [40.0 + i for i in range(n)],
            "ER": ["Positive", "Negative"] * (n // 2),
            "PR": ["Positive", "Negative"] * (n // 2),
            "HER2 IHC": ["0", "1+", "2+", "1"] * (n // 4),
            "Sex": ["FEMALE"] * n,
            "Stage": ["Stage IIA", "Stage I", "IIIB", "2.0"] * (n // 4),
            "Leukocytes": [0.1 + 0.01 * i for i in range(n)],
        }
    )


def simulated_expression(ids: list[str]) -> pd.DataFrame:
    """Genes in rows."""
    values = {i: [5.0 + 0.1 * k, 1.0 + 0.1 * k] for k, i in enumerate(ids)}
    return pd.DataFrame({"gene": ["ERBB2", "ESR1"], **values})


def cohort_settings(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "platform": "RNA-seq",
        "cibersort": {"files": [f"{name}_cibersort.csv"]},
        "clinical": {
            "file": f"{name}_clinical.csv",
            "fields": {
                "age": "Age",
                "er": "ER",
                "pgr": "PR",
                "her2_ihc": "HER2 IHC",
                "sex": "Sex",
                "stage": "Stage",
                "leukocyte_fraction": "Leukocytes",
            },
        },
        "expression": {"file": f"{name}_expression.csv", "genes_in": "rows"},
    }


def to_toml(settings: dict[str, Any]) -> str:
    """TOML of nested tables: tables of the top level and cohorts as headers, the rest inline."""
    lines: list[str] = []
    for key, value in settings.items():
        tables = value if isinstance(value, list) else [value]
        for table in tables:
            lines.append(f"[[{key}]]" if isinstance(value, list) else f"[{key}]")
            if key == "cohort":
                inner = {k: v for k, v in table.items() if isinstance(v, dict)}
                lines += [f"{k} = {_inline(v)}" for k, v in table.items() if k not in inner]
                for name, sub in inner.items():
                    lines.append(f"[cohort.{name}]")
                    lines += [f"{_key(k)} = {_inline(v)}" for k, v in sub.items()]
            else:
                lines += [f"{_key(k)} = {_inline(v)}" for k, v in table.items()]
            lines.append("")
    return "\n".join(lines)


def _key(key: str) -> str:
    return json.dumps(key)


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(k)} = {_inline(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a table in the format of its suffix."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".xlsx"):
        frame.to_excel(path, index=False)
    elif name.endswith(".parquet"):
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False, sep="," if name.endswith(".csv") else "\t")


@dataclass
class Builder:
    """A study on disk; change `settings` and `frames`, then read it."""

    folder: Path
    settings: dict[str, Any]
    frames: dict[str, pd.DataFrame] = field(default_factory=dict)

    def cohort(self, name: str = "A") -> dict[str, Any]:
        return next(c for c in self.settings["cohort"] if c["name"] == name)

    def write(self) -> Path:
        for file, frame in self.frames.items():
            write_frame(frame, self.folder / file)
        path = self.folder / "study.toml"
        path.write_text(to_toml(self.settings), encoding="utf-8")
        return path

    def study(self) -> Study:
        return read_study(self.write())

    def cohorts(self) -> tuple[CohortTable, ...]:
        return read_cohorts(self.study())

    def one(self) -> CohortTable:
        return self.cohorts()[0]

    def study_faults(self) -> tuple[str, ...]:
        with pytest.raises(StudyError) as caught:
            self.study()
        return caught.value.faults

    def faults(self) -> tuple[str, ...]:
        study = self.study()
        with pytest.raises(DataError) as caught:
            read_cohorts(study)
        return caught.value.faults

    def fault(self) -> str:
        """The only fault."""
        found = self.faults()
        assert len(found) == 1, "\n".join(found)
        return found[0]


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Builder]:
    """Make a valid study of one or more cohorts of 12 tumours each."""

    def make(*names: str) -> Builder:
        settings: dict[str, Any] = {
            "study": {"name": "Test", "seed": 1},
            "her2": {"measure": "ERBB2", "label": "ERBB2 mRNA"},
            "cohort": [cohort_settings(name) for name in (names or ("A",))],
        }
        builder = Builder(tmp_path, copy.deepcopy(settings))
        for k, name in enumerate(names or ("A",)):
            ids = [f"{name}-{i:02d}" for i in range(1, N_TUMOURS + 1)]
            builder.frames |= {
                f"{name}_cibersort.csv": simulated_fractions(ids, seed=k),
                f"{name}_clinical.csv": simulated_clinical(ids),
                f"{name}_expression.csv": simulated_expression(ids),
            }
        return builder

    return make


@pytest.fixture
def simple(build: Callable[..., Builder]) -> Builder:
    """A valid study of one cohort, A."""
    return build("A")


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = os.environ.get("BAYES_HER2_DATA")
    if not folder:
        pytest.skip("BAYES_HER2_DATA is not set: the public cohorts are not shipped")
    return Path(folder)
