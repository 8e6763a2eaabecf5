"""Log likelihood of every tumour in every draw, in numbers: what models are compared by."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayes_her2.bayesian.amounts import AmountFamily
from bayes_her2.bayesian.design import structure
from bayes_her2.bayesian.slopes import Levels, coefficient_by_cohort
from bayes_her2.bayesian.standardisation import Support
from bayes_her2.data import AnalysisSet

MAX_DRAWS = 4_000
"""Draws used, evenly thinned: 4,000 by 20,000 tumours are 640 MB."""


def hurdle_log_likelihood(
    posterior: xr.Dataset, data: AnalysisSet, family: AmountFamily, *, max_draws: int = MAX_DRAWS
) -> xr.DataArray:
    """Log likelihood of each tumour, summed over its cell types and over presence and amount.

    The density is with respect to the sum of a unit mass at 0 and length above it, for each cell type; parts that are
    not modelled in the tumour's HR stratum contribute nothing. It rests on the analysis set and the draws alone, not
    on the graph.

    Parameters
    ----------
    posterior, data
        Draws and analysis set.
    family
        Distribution of the amount.
    max_draws
        Draws used, evenly thinned.

    Returns
    -------
    xarray.DataArray
        Dims chain, draw, tumour.
    """
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    posterior = posterior.isel(draw=slice(None, None, -(-total // max_draws)))
    n, shape = len(data.tumours), structure(data)
    support = Support(data.tumours["her2_sd"].to_numpy(float), np.ones(n), np.arange(n))
    tumours = Levels(posterior, data, shape, support, 1)
    labels = xr.DataArray(tumours.cohort, dims="point")

    def by_tumour(array: xr.DataArray, name: str) -> np.ndarray:
        own = array.sel(cell_type=name, drop=True).sel(cohort=labels)
        return np.asarray(own.stack(sample=("chain", "draw")).transpose("sample", "point").to_numpy())

    sizes = (posterior.sizes["chain"], posterior.sizes["draw"])
    found = np.zeros((sizes[0] * sizes[1], n))
    log_shape = coefficient_by_cohort(posterior, "log_shape", data)
    for part in ("presence", "amount"):
        if f"{part}_slope" not in posterior:
            continue
        slope = coefficient_by_cohort(posterior, f"{part}_slope", data)
        difference = coefficient_by_cohort(posterior, f"{part}_interaction", data) if shape.hr_term else None
        for name in map(str, data.abundance.columns):
            base = tumours.base(part, name)
            if base is None:
                continue
            modelled = {s: getattr(data.part(name, s), f"{part}_modelled") for s in data.strata}
            counted = np.array([modelled[s] for s in tumours.stratum])
            y = data.abundance[name].to_numpy(float)
            own = by_tumour(slope, name)
            if difference is not None:
                own = own + tumours.other * by_tumour(difference, name)
            eta = base + own * support.h
            if part == "presence":
                found[:, counted] += np.where(y > 0, eta, 0.0)[:, counted] - np.logaddexp(
                    0.0, eta[:, counted]
                )
            else:
                counted &= y > 0
                shapes = np.exp(by_tumour(log_shape, name)[:, counted])
                found[:, counted] += family.log_density(y[counted], eta[:, counted], shapes)
    return xr.DataArray(
        found.reshape(*sizes, n),
        dims=("chain", "draw", "tumour"),
        coords={"tumour": list(data.tumours.index)},
        name="log_likelihood",
    )
