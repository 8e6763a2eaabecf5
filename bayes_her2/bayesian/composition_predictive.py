"""Gates on what the priors of the composition model imply, drawn from the graph itself."""

from __future__ import annotations

import pandas as pd
import pymc as pm
import xarray as xr
from scipy.special import expit

from bayes_her2.bayesian.predictive import (
    Gate,
    beyond_fivefold,
    by_cohort_of,
    gate_table,
    inside_prior,
    prior_draws,
)
from bayes_her2.bayesian.scaled_dirichlet import mean_shares
from bayes_her2.data import AnalysisSet

CELLS = "amount_cell_type"
TERMS = ("presence_intercept", "presence_slope", "amount_intercept", "amount_slope", "log_shape")


def composition_prior_predictive(graph: pm.Model, data: AnalysisSet, seed: int) -> pd.DataFrame:
    """Numeric gates: presence and mean shares that the prior must not rule out, and effects as large as are plausible.

    Parameters
    ----------
    graph
        The model.
    data
        Its analysis set.
    seed
        Seed of the prior draws.

    Returns
    -------
    pandas.DataFrame
        ``check``, ``value``, ``lower``, ``upper`` (the gate), ``passed``.
    """
    drawn = prior_draws(graph, TERMS, seed)
    rows: list[Gate] = []
    counts = data.counts.groupby(["cell_type", "cohort"])[["n", "n_zero", "n_positive"]].sum()
    share = (counts["n_positive"] + 0.5) / (counts["n"] + 1)  # a share of 1 is no finite level
    present = share.unstack("cohort").to_xarray().to_dataarray("cohort").rename(cell_type=CELLS)
    present = present.sel({CELLS: list(graph.coords[CELLS])}).expand_dims(
        chain=drawn["chain"], draw=drawn["draw"]
    )
    if "presence_intercept" in drawn:
        implied = xr.apply_ufunc(expit, by_cohort_of(drawn, "presence_intercept", data))
        rows.append(
            (
                "shares of tumours with a cell type, by cohort: part within the prior's central 99 %",
                inside_prior(implied, "presence_cell_type", share),
                0.95,
                1.0,
            )
        )
        rows.append(beyond_fivefold("an odds ratio of presence", by_cohort_of(drawn, "presence_slope", data)))
        own = implied.rename(presence_cell_type=CELLS).sel(
            {CELLS: [c for c in present[CELLS].to_numpy() if c in implied["presence_cell_type"]]}
        )
        present = own.reindex({CELLS: present[CELLS]}).fillna(present)
    dims = ("chain", "draw", "cohort", CELLS)
    cohorts = list(data.cohorts)
    arrays = [
        array.sel(cohort=cohorts).transpose(*dims).to_numpy()
        for array in (
            present,
            by_cohort_of(drawn, "amount_intercept", data),
            xr.ufuncs.exp(by_cohort_of(drawn, "log_shape", data)),
        )
    ]
    given_present, _ = mean_shares(*arrays)
    implied = xr.DataArray(
        given_present, dims=dims, coords={"cohort": cohorts, CELLS: list(graph.coords[CELLS])}
    )
    long = data.abundance.melt(ignore_index=False, var_name="cell_type", value_name="abundance")
    long = long.assign(cohort=data.tumours["cohort"].loc[long.index])
    means = long[long["abundance"] > 0].groupby(["cell_type", "cohort"])["abundance"].mean()
    rows.append(
        (
            "mean shares where present, by cohort: part within the prior's central 99 %",
            inside_prior(implied, CELLS, means),
            0.95,
            1.0,
        )
    )
    rows.append(
        beyond_fivefold(
            "a ratio of means, to the average cell type's", by_cohort_of(drawn, "amount_slope", data)
        )
    )
    return gate_table(rows)
