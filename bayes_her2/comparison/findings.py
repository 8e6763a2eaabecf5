"""What a run says first: the surest of its pooled results, each beside its twin."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayes_her2.comparison.concordance import SIDES

ESTIMAND, SCOPE = "overall", "pooled"
"""Results that a summary is made of: ratio of mean abundance, zeros included, over all cohorts."""
COLUMNS = ("outcome", "stratum", "exposure", "n", *SIDES, "lfsr", "verdict")


def discoveries_of(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the pooled results whose sign is called, the surest first.

    Parameters
    ----------
    pairs
        Table of `bayes_her2.comparison.concordance`, of the main model.

    Returns
    -------
    pandas.DataFrame
        `COLUMNS`: ``outcome`` (cell type), ``stratum``, ``exposure``, ``n`` (tumours), ratio of posterior and twin with
        their intervals, ``lfsr`` (local false sign rate), ``verdict``. In the order of ``lfsr``, then of the distance
        of the log ratio from 0 in widths of its interval, then of labels. Borrowed and prior-only rows are left out.
    """
    own = pairs[(pairs["estimand"] == ESTIMAND) & (pairs["scope"] == SCOPE) & (pairs["status"] == "observed")]
    own = own[own["discovery_bayes"].astype(bool)]
    point, lower, upper = (
        np.log(own[f"posterior_{end}"].to_numpy(float)) for end in ("point", "lower", "upper")
    )
    own = own.assign(far=-np.abs(point) / (upper - lower))
    ordered = own.sort_values(["lfsr", "far", "outcome", "stratum"])
    return ordered[list(COLUMNS)].reset_index(drop=True)
