"""The seed paper's own analysis of HER2 and abundance: Spearman and Wilcoxon, cohort by cohort."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from bayes_her2.data import STRATA, AnalysisSet
from bayes_her2.estimates import Estimates
from bayes_her2.frequentist.adjustment import bonferroni, rows_of
from bayes_her2.frequentist.two_groups import METHOD, UNIT, probability_greater

MODEL = "rank tests"
ALL = "all"
FAMILY = ("estimand", "stratum", "cohort")
"""Columns that define a Bonferroni family; the outcomes tested within it are its tests."""

_MIN_RANKED = 4  # Fisher's z needs n > 3


def rank_tests(data: AnalysisSet, *, interval: float = 0.95, every_cell_type: bool = False) -> Estimates:
    """Spearman correlation of HER2 with abundance, and HER2 by presence, per cohort and HR stratum.

    By the seed paper's rule for the cohort: cell types with under 25 % zeros ('continuous') get
    Spearman's rho (estimand ``spearman``), those with 25 to 75 % ('presence') the probability that HER2
    is higher where the cell type is present than where it is absent (estimand ``probability_greater``)
    with Wilcoxon's test. Strata are HR+, HR- and ``all`` tumours of the cohort. Bonferroni families are
    estimand x stratum x cohort; their size is the number of cell types tested.

    Parameters
    ----------
    data
        Any analysis set; its own-unit HER2 measure is ranked.
    interval
        Probability of every interval.
    every_cell_type
        Compute rho whatever the rule (zeros are then one large tie); the rule stays in the note.

    Returns
    -------
    Estimates
        ``model`` "rank tests", ``scope`` cohort. Cell types outside the continuous rule have a Spearman row
        ``not estimable`` that names the rule.
    """
    fingerprint = data.fingerprint
    records: list[dict[str, Any]] = []
    for cell_type, cohort, rule in zip(
        data.rules["cell_type"], data.rules["cohort"], data.rules["rule"], strict=True
    ):
        for stratum in (*STRATA, ALL):
            base = _base(data, fingerprint, cell_type, cohort, stratum, interval)
            her2, abundance = _pair(data, cell_type, cohort, stratum)
            if abundance is None:
                values: dict[str, Any] = {
                    "status": "not estimable",
                    "note": "no abundance in the analysis set",
                }
            elif rule == "continuous" or every_cell_type:
                values = spearman(her2, abundance, interval=interval)
                if rule != "continuous":
                    values["note"] = "; ".join(filter(None, [f"{rule} rule", values.get("note", "")]))
            else:
                values = {"status": "not estimable", "note": f"{rule} rule"}
            records.append(base | {"method": "Spearman", "estimand": "spearman"} | values)
            if rule == "presence" and abundance is not None:
                present = abundance > 0
                records.append(
                    base
                    | {
                        "method": METHOD,
                        "estimand": "probability_greater",
                        "contrast": "HER2 where present vs absent",
                        "unit": UNIT,
                    }
                    | probability_greater(her2[present], her2[~present], interval=interval)
                )
    table = pd.DataFrame(records)
    if "p_value" not in table.columns:
        table["p_value"] = math.nan
    table["p_adjusted"] = bonferroni(table, FAMILY)
    return Estimates.from_records(rows_of(table))


def spearman(x: pd.Series[float], y: pd.Series[float], *, interval: float = 0.95) -> dict[str, Any]:
    """Spearman's rho with an interval on Fisher's z and the usual t-based P value.

    z = atanh(rho) with standard error ((1 + rho^2 / 2) / (n - 3))^(1/2): Bonett & Wright 2000, doi
    10.1007/BF02294183, whose coverage holds to rho = 0.95 where Fisher's own error is too small.

    Parameters
    ----------
    x, y
        Paired values, same index.
    interval
        Probability of the interval.

    Returns
    -------
    dict
        Columns of `Estimates`; ``not estimable`` with fewer than four tumours or a constant variable.
    """
    if len(x) < _MIN_RANKED:
        found_n = f"{len(x)} tumours: fewer than {_MIN_RANKED}" if len(x) else "no tumours"
        return {"status": "not estimable", "note": found_n}
    if x.nunique() < 2 or y.nunique() < 2:
        constant = "abundance" if y.nunique() < 2 else "the HER2 measure"
        return {"status": "not estimable", "note": f"{constant} is constant"}
    result = stats.spearmanr(x.to_numpy(dtype=float), y.loc[x.index].to_numpy(dtype=float))
    rho = float(result.statistic)
    found: dict[str, Any] = {"point": rho, "p_value": float(result.pvalue), "status": "observed"}
    if abs(rho) > 1.0 - 1e-12:
        return found | {"note": "perfect rank correlation: no interval"}
    reach = float(stats.norm.isf((1.0 - interval) / 2.0)) * math.sqrt((1.0 + rho**2 / 2.0) / (len(x) - 3.0))
    return found | {
        "lower": float(np.tanh(math.atanh(rho) - reach)),
        "upper": float(np.tanh(math.atanh(rho) + reach)),
        "interval_kind": "confidence (Fisher z, Bonett-Wright)",
    }


def _base(
    data: AnalysisSet, fingerprint: str, cell_type: str, cohort: str, stratum: str, interval: float
) -> dict[str, Any]:
    counts = data.counts
    rows = counts[(counts["cell_type"] == cell_type) & (counts["cohort"] == cohort)]
    if stratum != ALL:
        rows = rows[rows["hr"] == stratum]
    return {
        "source": "twin",
        "model": MODEL,
        "outcome": cell_type,
        "exposure": data.measure,
        "contrast": "rank correlation",
        "adjustment": "none",
        "stratum": stratum,
        "scope": "cohort",
        "cohort": cohort,
        "unit": "Spearman rho",
        "interval_prob": interval,
        "n": int(rows["n"].sum()),
        "n_zero": int(rows["n_zero"].sum()),
        "fingerprint": fingerprint,
    }


def _pair(
    data: AnalysisSet, cell_type: str, cohort: str, stratum: str
) -> tuple[pd.Series[float], pd.Series[float] | None]:
    tumours = data.tumours[data.tumours["cohort"] == cohort]
    if stratum != ALL:
        tumours = tumours[tumours["hr"] == stratum]
    if cell_type not in data.abundance.columns:
        return tumours["her2"], None
    return tumours["her2"], data.abundance[cell_type].loc[tumours.index]
