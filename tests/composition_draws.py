"""Draws of a composition model made by hand: any labelled values will do for what is computed from them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayes_her2.bayesian.composition import composition_of
from bayes_her2.bayesian.design import modelled_strata, structure
from bayes_her2.data import AnalysisSet


def random_posterior(data: AnalysisSet, seed: int, n_chain: int = 2, n_draw: int = 3) -> xr.Dataset:
    """A different value for every label of every coefficient that the estimands are computed from."""
    rng, shape = np.random.default_rng(seed), structure(data)
    supported = modelled_strata(data, "presence")
    cells = {
        "presence": [str(c) for c in supported.columns[supported.any()]],
        "amount": list(composition_of(data).cell_types),
    }
    found = {}

    def add(name: str, dims: dict[str, list[str]], level: float = 0.0, sd: float = 0.4) -> None:
        own = {"chain": list(range(n_chain)), "draw": list(range(n_draw))} | dims
        values = rng.normal(level, sd, size=[len(v) for v in own.values()])
        found[name] = xr.DataArray(values, dims=list(own), coords=own)

    terms = ["intercept", "slope"] + (["hr", "interaction"] if shape.hr_term else [])
    for part in ("presence", "amount"):
        own = {f"{part}_cell_type": cells[part]}
        for term in terms:
            add(f"{part}_{term}", own)
            varies = shape.hr_by_cohort if term in ("hr", "interaction") else shape.several_cohorts
            if varies:
                add(f"{part}_{term}_by_cohort", {"cohort": list(data.cohorts)} | own)
                add(f"{part}_{term}_between_cohorts_sd", {}, 0.3, 0.02)
        if len(data.covariates.columns):
            add(f"{part}_covariate", {"covariate": list(data.covariates.columns)} | own)
        if shape.centres:
            add(f"{part}_centre_intercept", {"centre": list(shape.centres)} | own)
    shapes = {"amount_cell_type": cells["amount"]}
    add("log_shape", shapes, 0.5)
    if shape.several_cohorts:
        add("log_shape_by_cohort", {"cohort": list(data.cohorts)} | shapes, 0.5)
    return xr.Dataset(found)
