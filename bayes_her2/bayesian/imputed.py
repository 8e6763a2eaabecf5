"""A model fitted once for each of several values of its exposure: sampled, gated within each, put together.

Draws of different imputations are of different posteriors. Put together with equal weights they are draws of the
mixture, whose spread counts what is not known of the exposure; R-hat over all of them would call that spread a
failure to converge. So each imputation is held to a gate of its own, and their effective sample sizes add up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from bayes_her2.bayesian.diagnostics import MIN_ESS, Diagnostics, diagnose

MAX_R_HAT_WITHIN = 1.05
MIN_ESS_WITHIN = 100
"""Of one imputation. R-hat exceeds 1 by about a constant over the effective sample size: 1.05 at 100 is 1.01 at 500."""


@dataclass(frozen=True)
class OneImputation:
    """Draws for one exposure.

    Attributes
    ----------
    draws
        (estimand, scope) -> draws with dims chain and draw and labelled others.
    diagnostics
        Of these draws alone.
    """

    draws: Mapping[tuple[str, str], xr.DataArray]
    diagnostics: Diagnostics


def diagnose_one(draws: Mapping[tuple[str, str], xr.DataArray], n_divergent: int) -> Diagnostics:
    """Gate of one imputation."""
    quantities = {f"{estimand}, {scope}": array for (estimand, scope), array in draws.items()}
    return diagnose(quantities, n_divergent, max_r_hat=MAX_R_HAT_WITHIN, min_ess=MIN_ESS_WITHIN)


def put_together(parts: Sequence[OneImputation]) -> dict[tuple[str, str], xr.DataArray]:
    """Draws of the equal-weight mixture: the chains of every imputation, one after the other.

    An imputation that was sampled longer than others is thinned to their length, evenly, so that none weighs more.
    """
    together = {}
    for key in parts[0].draws:
        arrays = [part.draws[key] for part in parts]
        n_chains, n_draws = arrays[0].sizes["chain"], min(a.sizes["draw"] for a in arrays)
        numbered = [
            a.isel(draw=np.arange(n_draws) * a.sizes["draw"] // n_draws).assign_coords(
                chain=np.arange(n_chains) + i * n_chains, draw=np.arange(n_draws)
            )
            for i, a in enumerate(arrays)
        ]
        together[key] = xr.concat(numbered, dim="chain", join="exact")
    return together


def reasons_against(parts: Sequence[OneImputation]) -> tuple[str, ...]:
    """Why these imputations may not be reported; empty if they may."""
    reasons = [
        f"imputation {i}: {reason}"
        for i, part in enumerate(parts, start=1)
        for reason in part.diagnostics.reasons
    ]
    tables = [part.diagnostics.table.set_index("quantity") for part in parts]
    lengths = np.array([next(iter(part.draws.values())).sizes["draw"] for part in parts])
    kept = lengths.min() / lengths  # of the draws of each: see `put_together`
    for quantity in tables[0].index:
        for kind in ("bulk", "tail"):
            each = np.array([table.loc[quantity, f"ess_{kind}_min"] for table in tables], dtype=float)
            total = float(kept @ each)
            if total < MIN_ESS:
                reasons.append(
                    f"{quantity}: {kind} ESS {total:.0f} over all imputations (at least {MIN_ESS})"
                )
    return tuple(reasons)


def between_share(parts: Sequence[OneImputation]) -> pd.DataFrame:
    """Share of a quantity's variance that lies between imputations: what is not known of the exposure.

    Returns
    -------
    pandas.DataFrame
        ``estimand``, ``scope``, the labels, ``between_share``: B / (B + W), with B the variance of the
        imputations' means and W the mean of their variances. NaN where not estimable.
    """
    tables = []
    for estimand, scope in parts[0].draws:
        arrays = [part.draws[(estimand, scope)] for part in parts]
        over = ("chain", "draw")
        means = xr.concat([a.mean(over) for a in arrays], dim="imputation", join="exact")
        within = xr.concat([a.var(over) for a in arrays], dim="imputation", join="exact").mean("imputation")
        between = means.var("imputation", ddof=1) if len(parts) > 1 else 0.0 * within
        share = (between / (between + within)).rename("between_share")
        table = share.reset_coords(drop=True).to_dataframe().reset_index()
        tables.append(table.assign(estimand=estimand, scope=scope))
    return pd.concat(tables, ignore_index=True)
