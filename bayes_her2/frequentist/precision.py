"""How precisely each cell type and HR stratum can be known, before any result is seen."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import brentq
from scipy.special import digamma

from bayes_her2.data import DIFFERENCE, HR_NEGATIVE, HR_POSITIVE, STRATA, AnalysisSet

COLUMNS = (
    "cell_type",
    "stratum",
    "estimand",
    "n",
    "n_zero",
    "expected_se_log",
    "interval_factor",
    "detectable_ratio",
)
POWER = 0.80
SIGNIFICANCE = 0.05

_SHAPE_BOUNDS = (1e-3, 1e6)


def precision(data: AnalysisSet, interval: float = 0.95) -> pd.DataFrame:
    """Planning standard error of the log ratio per SD of HER2, by cell type, HR stratum and part.

    Under a null slope, with n tumours of a cohort and stratum, share present pi, variance v of HER2 (per
    SD) and gamma shape phi, the information about the slope is n pi (1 - pi) v for presence and n pi phi
    v for amount. It is summed over cohorts. For HR- over HR+ a cohort adds 1 / (1/I- + 1/I+), so only
    cohorts with both strata count. Covariates and the spread between cohorts, which widen the actual
    interval, and pooling across cell types, which narrows the posterior's, are left out.

    Only n, pi, v (over all tumours of the stratum, not over positives) and phi (from the positive
    amounts, around their own mean in each stratum) are used: the association between HER2 and abundance
    is not looked at, and shuffling HER2 within a cohort and stratum leaves the table unchanged.

    Parameters
    ----------
    data
        Analysis set of the abundance model.
    interval
        Probability of the interval behind ``interval_factor``.

    Returns
    -------
    pandas.DataFrame
        Columns ``cell_type``, ``stratum``, ``estimand`` (presence, amount), ``n``, ``n_zero``,
        ``expected_se_log``, ``interval_factor`` = upper over lower limit = exp(2 z SE),
        ``detectable_ratio`` = exp((z_0.975 + z_0.80) SE): the ratio found with 80 % power at P < 0.05.
        NaN where the part is not modelled.
    """
    her2_variance = data.tumours.groupby(["cohort", "hr"])["her2_sd"].var(ddof=0).to_dict()
    table = data.counts
    counts = {
        key: (int(n), int(n_zero))
        for key, n, n_zero in zip(
            zip(table["cell_type"], table["cohort"], table["hr"], strict=True),
            table["n"],
            table["n_zero"],
            strict=True,
        )
    }
    modelled = data.parts.set_index(["cell_type", "stratum"])[
        ["presence_modelled", "amount_modelled"]
    ].to_dict("index")
    z = float(stats.norm.isf((1.0 - interval) / 2.0))
    reach = float(stats.norm.isf(SIGNIFICANCE / 2.0) + stats.norm.isf(1.0 - POWER))
    rows: list[tuple[object, ...]] = []
    for cell_type in data.cell_types.index:
        shape = {cohort: gamma_shape(*_positives(data, cell_type, cohort)) for cohort in data.cohorts}
        for estimand in ("presence", "amount"):
            information: dict[str, dict[str, float]] = {s: {} for s in (*STRATA, DIFFERENCE)}
            for cohort in data.cohorts:
                for stratum in STRATA:
                    known = modelled.get((cell_type, stratum), {}).get(f"{estimand}_modelled", False)
                    tumours = counts.get((cell_type, cohort, stratum))
                    if not known or tumours is None:
                        continue
                    n, n_zero = tumours
                    v = float(her2_variance.get((cohort, stratum), math.nan))
                    amount = (n - n_zero) * shape[cohort]
                    information[stratum][cohort] = v * (
                        n_zero * (n - n_zero) / n if estimand == "presence" else amount
                    )
                negative, positive = (
                    information[HR_NEGATIVE].get(cohort, 0.0),
                    information[HR_POSITIVE].get(cohort, 0.0),
                )
                if negative > 0 and positive > 0:
                    information[DIFFERENCE][cohort] = 1.0 / (1.0 / negative + 1.0 / positive)
            for stratum, by_cohort in information.items():
                informed = [c for c, value in by_cohort.items() if value > 0]
                total = sum(by_cohort[c] for c in informed)
                se = 1.0 / math.sqrt(total) if total > 0 else math.nan
                n, n_zero = _tumours(counts, cell_type, informed or data.cohorts, stratum)
                rows.append(
                    (
                        cell_type,
                        stratum,
                        estimand,
                        n,
                        n_zero,
                        se,
                        math.exp(2.0 * z * se),
                        math.exp(reach * se),
                    )
                )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def gamma_shape(positives: pd.Series[float], groups: pd.Series[str]) -> float:
    """Maximum likelihood gamma shape of positive amounts around one mean per group.

    Solves log(phi) - digamma(phi) = mean_i [log(mean of i's group) - log(y_i)].

    Parameters
    ----------
    positives
        Amounts > 0.
    groups
        Group (HR stratum) of each, same index.

    Returns
    -------
    float
        The shape; NaN with fewer than two values or no spread.
    """
    if len(positives) < 2:
        return math.nan
    mean = positives.groupby(groups).transform("mean")
    gap = float((np.log(mean) - np.log(positives)).mean())
    if gap <= 1e-9:
        return math.nan
    low, high = _SHAPE_BOUNDS

    def excess(log_shape: float) -> float:
        return float(log_shape - digamma(math.exp(log_shape)) - gap)

    if excess(math.log(low)) < 0 or excess(math.log(high)) > 0:
        return math.nan
    return math.exp(float(brentq(excess, math.log(low), math.log(high), xtol=1e-12)))


def _positives(data: AnalysisSet, cell_type: str, cohort: str) -> tuple[pd.Series[float], pd.Series[str]]:
    if cell_type not in data.abundance.columns:
        return pd.Series(dtype=float), pd.Series(dtype="str")
    inside = data.tumours["cohort"] == cohort
    abundance = data.abundance.loc[inside, cell_type].astype(float)
    positives = abundance[abundance > 0]
    return positives, data.tumours["hr"].loc[positives.index]


def _tumours(
    counts: Mapping[tuple[str, str, str], tuple[int, int]],
    cell_type: str,
    cohorts: list[str] | tuple[str, ...],
    stratum: str,
) -> tuple[int, int]:
    strata = STRATA if stratum == DIFFERENCE else (stratum,)
    found = [counts.get((cell_type, c, s), (0, 0)) for c in cohorts for s in strata]
    return sum(n for n, _ in found), sum(n_zero for _, n_zero in found)
