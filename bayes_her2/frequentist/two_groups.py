"""Probability that a value of one group exceeds one of another, with its test."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.nonparametric import rank_compare_2indep

METHOD = "Wilcoxon rank sum"
UNIT = "probability"


def probability_greater(
    first: pd.Series[float], second: pd.Series[float], *, interval: float
) -> dict[str, Any]:
    """Estimate P(X > Y) + P(X = Y) / 2 with an interval, and the Wilcoxon (Mann-Whitney) P value.

    The variance is that of the placements (DeLong 1988, the same as Brunner & Munzel 2000; statsmodels),
    which assumes neither equal spread nor continuity; the interval is formed on the logit, so that it
    stays within 0 and 1. Test and interval have different null variances and may disagree near the limit.

    Parameters
    ----------
    first, second
        Values of X and of Y.
    interval
        Probability of the interval.

    Returns
    -------
    dict
        Columns of `Estimates`. ``not estimable`` with fewer than two values in a group or no variation;
        ``separated`` where every X lies on one side of every Y (an estimate of 0 or 1 has no finite logit).

    References
    ----------
    DeLong, DeLong & Clarke-Pearson 1988, doi 10.2307/2531595. Brunner & Munzel 2000,
    Biometrical Journal 42, 17-25.
    """
    x, y = first.to_numpy(dtype=float), second.to_numpy(dtype=float)
    if min(len(x), len(y)) < 2 or np.ptp(np.concatenate([x, y])) == 0:
        constant = "" if min(len(x), len(y)) < 2 else ", all with the same value"
        return {
            "status": "not estimable",
            "note": f"{len(x)} and {len(y)} tumours in the two groups{constant}",
        }
    test = stats.mannwhitneyu(x, y, alternative="two-sided", method="auto")
    point = float(test.statistic) / (len(x) * len(y))
    found: dict[str, Any] = {"point": point, "p_value": float(test.pvalue)}
    if point in (0.0, 1.0):
        return found | {"status": "separated", "note": "the two groups do not overlap: no interval"}
    comparison = rank_compare_2indep(x, y, use_t=False)
    se = math.sqrt(float(comparison.var) / comparison.nobs) / (point * (1.0 - point))
    reach = float(stats.norm.isf((1.0 - interval) / 2.0)) * se
    logit = math.log(point / (1.0 - point))
    return found | {
        "lower": 1.0 / (1.0 + math.exp(-(logit - reach))),
        "upper": 1.0 / (1.0 + math.exp(-(logit + reach))),
        "interval_kind": "confidence (DeLong, logit)",
        "status": "observed",
    }
