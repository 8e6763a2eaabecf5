"""Estimates: the one table that either side returns, posterior or twin.

A row is one estimand for one outcome, stratum and scope. Rows of the two sides that share
``KEY`` are about the same quantity in the same tumours, and may be set side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from bayes_her2.files import write_text

Status = Literal["observed", "borrowed", "prior-only", "not estimable", "separated"]
STATUSES = ("observed", "borrowed", "prior-only", "not estimable", "separated")
SCOPES = ("pooled", "cohort", "new cohort")

KEY = (
    "model",
    "outcome",
    "exposure",
    "estimand",
    "contrast",
    "adjustment",
    "stratum",
    "scope",
    "cohort",
    "at",
    "fingerprint",
)
"""Columns that identify a quantity; posterior and twin are matched on them."""

DTYPES: dict[str, str] = {
    "source": "str",  # 'posterior' or 'twin'
    "method": "str",  # the model file, or the name of the frequentist method
    "model": "str",
    "outcome": "str",  # cell type, or clinical outcome
    "exposure": "str",  # HER2 measure in words
    "estimand": "str",  # presence, amount, overall, high_abundance, ...
    "contrast": "str",  # 'h + 1 SD over h'
    "adjustment": "str",  # 'none' or the covariates
    "stratum": "str",  # 'HR+', 'HR-', 'HR- over HR+', 'all'
    "scope": "str",  # pooled, cohort, new cohort
    "cohort": "str",  # '' unless scope is cohort
    "at": "Float64",  # for curves; NA otherwise
    "unit": "str",  # 'odds ratio per SD', 'ratio of means per SD', 'Spearman rho', ...
    "point": "float64",
    "lower": "float64",
    "upper": "float64",
    "interval_kind": "str",  # 'credible (equal-tailed)' or 'confidence (Wald)', ...
    "interval_prob": "float64",
    "n": "Int64",  # tumours behind the row
    "n_zero": "Int64",  # of them, with abundance exactly 0
    "status": "str",
    "note": "str",  # why not estimable, what was borrowed, how pooled
    "pd": "Float64",  # posterior probability of the more probable direction
    "p_in_rope": "Float64",
    "lfsr": "Float64",  # local false sign rate
    "s_value": "Float64",  # Stephens (2017): mean lfsr of the claims up to this one
    "p_value": "Float64",
    "p_adjusted": "Float64",
    "fingerprint": "str",
}
COLUMNS = tuple(DTYPES)

STANDARDISED = ("overall", "high_abundance")
"""Estimands that average over the tumours of a stratum."""

COHORT_FIXED = "cohort fixed"
"""Method of the twin that treats cohorts as fixed: shown beside the main twin, never given a verdict."""

RATIO_ESTIMANDS = frozenset({"presence", "amount", "overall", "high_abundance", "high_abundance_conditional"})
"""Estimands on a ratio scale: null value 1, symmetric on the log scale."""


def is_ratio(estimand: str) -> bool:
    """Whether an estimand is a ratio (null 1, compared on the log scale)."""
    return estimand in RATIO_ESTIMANDS


def null_value(estimand: str) -> float:
    """Return the value of no association: 1 for ratios, 0 for differences, 0.5 for P(X > Y)."""
    if is_ratio(estimand):
        return 1.0
    return 0.5 if estimand == "probability_greater" else 0.0


@dataclass(frozen=True)
class Estimates:
    """A tidy table of estimates with fixed columns and types (see ``DTYPES``)."""

    table: pd.DataFrame

    def __post_init__(self) -> None:
        if tuple(self.table.columns) != COLUMNS:
            raise ValueError(f"Estimates needs the columns {COLUMNS}, got {tuple(self.table.columns)}")
        unknown = set(self.table["status"]) - set(STATUSES)
        if unknown:
            raise ValueError(f"unknown status {sorted(unknown)}; known: {STATUSES}")
        repeated = self.table.duplicated(subset=["source", "method", *KEY])
        if repeated.any():
            first = self.table.loc[repeated, ["method", "outcome", "estimand", "stratum"]].iloc[0]
            raise ValueError(f"{int(repeated.sum())} repeated estimates, first: {first.to_dict()}")

    @classmethod
    def from_records(cls, records: Iterable[Mapping[str, Any]]) -> Estimates:
        """Build from dictionaries; columns left out are NA (or '' for text)."""
        return cls(_typed(pd.DataFrame(list(records))))

    @classmethod
    def concat(cls, parts: Iterable[Estimates]) -> Estimates:
        """Stack several tables."""
        tables = [part.table for part in parts if len(part.table)]
        if not tables:
            return cls.from_records([])
        return cls(_typed(pd.concat(tables, ignore_index=True)))

    @classmethod
    def read_csv(cls, path: Path) -> Estimates:
        """Read a table written by `write_csv`."""
        return cls(_typed(pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=object)))

    def write_csv(self, path: Path) -> None:
        """Write to `path`, whole or not at all."""
        write_table(self.table, path)

    def select(self, **equal: str) -> pd.DataFrame:
        """Rows whose columns equal the values given, e.g. ``select(estimand='amount')``."""
        rows = self.table
        for column, value in equal.items():
            rows = rows[rows[column] == value]
        return rows

    def __len__(self) -> int:
        return len(self.table)


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    unknown = [c for c in frame.columns if c not in DTYPES]
    if unknown:
        raise ValueError(f"unknown columns {unknown}; known: {COLUMNS}")
    typed: dict[str, pd.Series[Any]] = {}
    for column, dtype in DTYPES.items():
        values = (
            frame[column]
            if column in frame.columns
            else pd.Series([None] * len(frame), index=frame.index, dtype=object)
        )
        if dtype == "str":
            typed[column] = values.astype(object).where(values.notna(), "").astype("str")
        elif dtype == "Int64":
            typed[column] = pd.to_numeric(values, errors="raise").astype("Float64").astype("Int64")
        elif dtype == "Float64":
            typed[column] = pd.to_numeric(values, errors="raise").astype("Float64")
        else:
            typed[column] = pd.to_numeric(values, errors="raise").astype("float64")
    return pd.DataFrame(typed, columns=list(COLUMNS)).reset_index(drop=True)


def write_table(table: pd.DataFrame, path: Path, *, index: bool = False) -> None:
    """Write a CSV under a temporary name, then rename: whole or not at all."""
    write_text(path, table.to_csv(index=index, lineterminator="\n"))
