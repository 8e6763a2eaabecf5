"""Bonferroni adjustment within declared families."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from statsmodels.stats.multitest import multipletests


def bonferroni(table: pd.DataFrame, families: Sequence[str]) -> pd.Series[float]:
    """Bonferroni-adjusted P values, each family being the rows that share the columns `families`.

    Parameters
    ----------
    table
        One row per test, with ``p_value`` (missing where nothing was estimable).
    families
        Columns whose values define a family. Its size is the number of rows with a P value: an outcome
        that could not be tested does not count as a test.

    Returns
    -------
    pandas.Series
        min(1, size x P), missing where P is.
    """
    adjusted = pd.Series(float("nan"), index=table.index, dtype=float)
    tested = table[table["p_value"].notna()]
    for _, rows in tested.groupby(list(families), sort=False):
        corrected = multipletests(rows["p_value"].to_numpy(dtype=float), method="bonferroni")[1]
        adjusted.loc[rows.index] = corrected
    return adjusted


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table as dictionaries with text keys."""
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
