"""Leave-one-cohort-out in tables: whether the first cohorts would have predicted the last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bayes_her2.comparison.models import MIN_DIFFERENCE

COLUMNS = [
    "model",
    "cohort",
    "n_calibration",
    "n_scored",
    "strata",
    "elpd",
    "elpd_without",
    "gain",
    "gain_se",
    "difference",
    "difference_se",
    "reading",
]


def cohorts_predicted(
    refits: Mapping[tuple[str, str], tuple[pd.DataFrame, Sequence[str]]],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sum scores over the tumours of each cohort that was left out.

    Parameters
    ----------
    refits
        (model, cohort) -> rows of tumours and cell types as `bayes_her2.workflow.refits` makes them, and why there are
        none.

    Returns
    -------
    cohorts : pandas.DataFrame
        One row per model and cohort: ``n_calibration`` and ``n_scored`` tumours, ``strata`` scored, ``elpd`` (log
        predictive density summed over the scored half), ``elpd_without`` (HER2 slopes put to 0), ``gain`` (the
        difference) with ``gain_se``, ``difference`` to the cohort's best model with ``difference_se``, ``reading``.
    cell_types : pandas.DataFrame
        ``model``, ``cohort``, ``cell_type``, ``gain``, ``gain_se``, ``n_scored``.
    """
    rows: list[dict[str, object]] = []
    cells = []
    scored = {
        key: table[table["kind"] == "tumour"].set_index("label")
        for key, (table, _) in refits.items()
        if len(table)
    }
    best: dict[str, str] = {}
    for model, cohort in scored:
        total = float(scored[model, cohort]["elpd"].sum())
        if cohort not in best or total > float(scored[best[cohort], cohort]["elpd"].sum()):
            best[cohort] = model
    for (model, cohort), (table, reasons) in refits.items():
        if not len(table):
            rows.append({"model": model, "cohort": cohort, "reading": "; ".join(reasons)})
            continue
        own, n = scored[model, cohort], len(scored[model, cohort])
        gap = own["elpd"] - scored[best[cohort], cohort]["elpd"].loc[own.index]
        gain, gain_se = _total(own["gain"])
        difference, difference_se = _total(gap)
        rows.append(
            {
                "model": model,
                "cohort": cohort,
                "n_calibration": int(table["n_calibration"].iloc[0]),  # by position: the same in all rows
                "n_scored": n,
                "strata": " and ".join(sorted(set(own["hr"]), reverse=True)),
                "elpd": float(own["elpd"].sum()),
                "elpd_without": float(own["elpd_without"].sum()),
                "gain": gain,
                "gain_se": gain_se,
                "difference": difference,
                "difference_se": difference_se,
                "reading": reading(gain, gain_se),
            }
        )
        parts = table.loc[table["kind"] == "cell type", ["label", "gain", "gain_se", "n"]]
        parts = parts.rename(columns={"label": "cell_type", "n": "n_scored"})
        cells.append(parts.assign(model=model, cohort=cohort))
    found = pd.DataFrame(rows).reindex(columns=COLUMNS)
    columns = ["model", "cohort", "cell_type", "gain", "gain_se", "n_scored"]
    return found, pd.concat(cells, ignore_index=True)[columns] if cells else pd.DataFrame(columns=columns)


def reading(gain: float, se: float) -> str:
    """Say in words what the slopes of other cohorts tell about a cohort's tumours."""
    if gain > max(MIN_DIFFERENCE, 2 * se):
        return "HER2 slopes learned in the other cohorts predict its tumours better than none"
    if gain < -max(MIN_DIFFERENCE, 2 * se):
        return "HER2 slopes learned in the other cohorts predict its tumours worse than none"
    return "HER2 slopes learned in the other cohorts are not told from none by its tumours"


def _total(values: pd.Series) -> tuple[float, float]:
    """Sum over tumours, and its standard error."""
    return float(values.sum()), float(np.sqrt(len(values)) * values.std(ddof=0))
