"""What a run says first: the surest of its pooled results, each beside its twin."""

from __future__ import annotations

import numpy as np
import pandas as pd

MODEL, ESTIMAND, SCOPE = "abundance", "overall", "pooled"
"""Results that a summary is made of: ratio of mean abundance, zeros included, over all cohorts, of the main model."""
COLUMNS = (
    "outcome",
    "stratum",
    "exposure",
    "n",
    "posterior_point",
    "posterior_lower",
    "posterior_upper",
    "twin_point",
    "twin_lower",
    "twin_upper",
    "lfsr",
    "verdict",
)


def discoveries_of(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the pooled results whose sign is called, the surest first.

    Parameters
    ----------
    pairs
        Table of `bayes_her2.comparison.concordance`, with ``model``.

    Returns
    -------
    pandas.DataFrame
        `COLUMNS`: ``outcome`` (cell type), ``stratum``, ``exposure``, ``n`` (tumours), ratio of posterior and twin with
        their intervals, ``lfsr`` (local false sign rate), ``verdict``. In the order of ``lfsr``, then of the distance
        of the log ratio from 0 in widths of its interval, then of labels. Borrowed and prior-only rows are left out.
    """
    own = pairs[
        (pairs["model"] == MODEL)
        & (pairs["estimand"] == ESTIMAND)
        & (pairs["scope"] == SCOPE)
        & (pairs["status"] == "observed")
    ]
    own = own[own["discovery_bayes"].astype(bool)]
    point, lower, upper = (
        np.log(own[f"posterior_{end}"].to_numpy(float)) for end in ("point", "lower", "upper")
    )
    own = own.assign(far=-np.abs(point) / (upper - lower))
    ordered = own.sort_values(["lfsr", "far", "outcome", "stratum"])
    return ordered[list(COLUMNS)].reset_index(drop=True)
