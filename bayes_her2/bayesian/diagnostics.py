"""The diagnostics gate: nothing is reported from a fit that fails it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr

MAX_R_HAT = 1.01
MIN_ESS = 1_200
"""At an effective sample size of 450 a perfect sampler exceeds r_hat 1.01 a quarter of the time."""


@dataclass(frozen=True)
class Diagnostics:
    """Worst convergence figures of every reported quantity, and the verdict.

    Attributes
    ----------
    table
        One row per quantity: ``quantity``, ``worst_label``, ``n_values``, ``r_hat_max``,
        ``ess_bulk_min``, ``ess_tail_min``, ``passed``.
    n_divergent
        Divergent transitions after warm-up.
    """

    table: pd.DataFrame
    n_divergent: int

    @property
    def passed(self) -> bool:
        """Whether the fit may be reported."""
        return self.n_divergent == 0 and bool(self.table["passed"].all())

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the fit may not be reported; empty if it may."""
        reasons = []
        if self.n_divergent:
            reasons.append(f"{self.n_divergent} divergent transitions after warm-up (none allowed)")
        for _, row in self.table[~self.table["passed"].astype(bool)].iterrows():
            reasons.append(
                f"{row['quantity']} ({row['worst_label']}): r_hat {row['r_hat_max']:.3f} (at most {MAX_R_HAT}), bulk "
                f"ESS {row['ess_bulk_min']:.0f}, tail ESS {row['ess_tail_min']:.0f} (at least {MIN_ESS})"
            )
        return tuple(reasons)


def diagnose(
    quantities: Mapping[str, xr.DataArray],
    n_divergent: int,
    *,
    max_r_hat: float = MAX_R_HAT,
    min_ess: float = MIN_ESS,
) -> Diagnostics:
    """R-hat, bulk and tail effective sample size of every value of every quantity.

    Parameters
    ----------
    quantities
        Name -> draws with dims chain and draw and labelled others. Values that are NaN throughout (not
        estimable) are left out; a NaN among finite draws fails.
    n_divergent
        Divergent transitions after warm-up.
    max_r_hat, min_ess
        The gate.

    Notes
    -----
    Rank-normalised split r_hat and ESS of Vehtari et al. (2021), doi 10.1214/20-BA1221, from ArviZ.
    """
    rows = []
    for name, array in quantities.items():
        others = [str(d) for d in array.dims if d not in ("chain", "draw")]
        flat = array.stack(row=others) if others else array.expand_dims(row=[""])
        flat = flat.transpose("chain", "draw", "row")
        values = flat.to_numpy()
        known = ~np.isnan(values).all(axis=(0, 1))
        if not known.any():
            continue
        labels = [_label(label) for label, k in zip(flat.indexes["row"], known, strict=True) if k]
        dataset = xr.Dataset({"x": (("chain", "draw", "row"), values[:, :, known])})
        r_hat = az.rhat(dataset)["x"].to_numpy()
        bulk = az.ess(dataset, method="bulk")["x"].to_numpy()
        tail = az.ess(dataset, method="tail")["x"].to_numpy()
        good = (r_hat <= max_r_hat) & (bulk >= min_ess) & (tail >= min_ess)
        worst = (
            int(np.argmin(np.nan_to_num(np.minimum(bulk, tail), nan=-1.0)))
            if good.all()
            else int(np.argmin(good))
        )
        rows.append(
            (
                name,
                labels[worst],
                len(labels),
                float(np.max(r_hat)),
                float(np.min(bulk)),
                float(np.min(tail)),
                bool(good.all()),
            )
        )
    table = pd.DataFrame(
        rows,
        columns=[
            "quantity",
            "worst_label",
            "n_values",
            "r_hat_max",
            "ess_bulk_min",
            "ess_tail_min",
            "passed",
        ],
    )
    return Diagnostics(table, int(n_divergent))


def _label(label: object) -> str:
    if isinstance(label, tuple):
        return ", ".join(str(part) for part in label)
    return str(label)
