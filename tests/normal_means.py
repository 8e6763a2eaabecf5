"""Simulated data sets whose posteriors are known: normal means, one for each of three cell types."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import norm

from bayes_her2.bayesian.calibration import RANKS

CELLS = ("Alpha", "Beta", "Gamma")


def normal_means(n, *, seed=1, shift=0.0, spread=1.0, error=1.0, **labels):
    """Truths from N(0, 1), an observation with an SD of `error`, and the exact posterior (or a wrong one)."""
    rng = np.random.default_rng(seed)
    rows = []
    for replicate in range(n):
        truth = rng.normal(size=len(CELLS))
        seen = truth + error * rng.normal(size=len(CELLS))
        weight = 1.0 / (1.0 + error**2)
        mean, sd = weight * seen + shift, spread * error * np.sqrt(weight)
        draws = mean + sd * rng.normal(size=(RANKS, len(CELLS)))
        for i, cell in enumerate(CELLS):
            side = norm.cdf(mean[i] / sd)
            rows.append(
                {
                    "replicate": replicate,
                    "estimand": "amount",
                    "scope": "pooled",
                    "outcome": cell,
                    "stratum": "HR+",
                    "cohort": "",
                    "truth": truth[i],
                    "rank": int((draws[:, i] < truth[i]).sum()),
                    "lower": mean[i] - 1.96 * sd,
                    "point": mean[i],
                    "upper": mean[i] + 1.96 * sd,
                    "lfsr": min(side, 1.0 - side),
                }
                | labels
            )
    return pd.DataFrame(rows)
