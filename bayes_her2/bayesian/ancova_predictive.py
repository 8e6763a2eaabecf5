"""Prior gates and replicated data of the analysis of covariance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr

from bayes_her2.bayesian.ancova import ancova
from bayes_her2.bayesian.ancova_estimands import coefficients
from bayes_her2.bayesian.predictive import PREDICTIVE_DRAWS, PRIOR_DRAWS, drawn_from_prior
from bayes_her2.data import AnalysisSet

LARGE_SLOPE = 1.0
"""SDs of the outcome per SD of HER2: a correlation of nearly 1."""
_STATISTICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": lambda y: np.mean(y, axis=1),
    "SD": lambda y: np.std(y, axis=1, ddof=1),
    "10 % quantile": lambda y: np.quantile(y, 0.1, axis=1),
    "90 % quantile": lambda y: np.quantile(y, 0.9, axis=1),
    "share below 0": lambda y: np.mean(y < 0, axis=1),
}
MIN_GROUP = 5
"""Tumours that a group needs before its statistics are set beside replicated ones."""


def ancova_prior_predictive(graph: pm.Model, data: AnalysisSet, seed: int) -> pd.DataFrame:
    """Numeric gates on what the priors imply, drawn from the graph itself.

    Parameters
    ----------
    graph
        The model.
    data
        Its analysis set: levels and spreads that the prior must not rule out, nothing about HER2.
    seed
        Seed of the prior draws.

    Returns
    -------
    pandas.DataFrame
        ``check``, ``value``, ``lower``, ``upper`` (the gate), ``passed``.
    """
    names = {v.name for v in graph.free_RVs}
    level = "intercept_by_cohort" if "intercept_by_cohort" in names else "intercept"
    interactions = [n for n in ("her2_x_hr", "her2_x_ihc") if n in names]
    drawn = drawn_from_prior(graph, [level, "slope", "log_residual_sd", *interactions], PRIOR_DRAWS, seed)
    standardised = (data.outcome - data.outcome_centre) / data.outcome_sd
    by_cohort = standardised.groupby(data.tumours["cohort"])
    rows = [
        (
            "levels of the outcome by cohort: part within the prior's central 99 %",
            _inside(drawn[level], by_cohort.mean()),
            0.95,
            1.0,
        ),
        (
            "SDs of the outcome by cohort: part within the prior's central 99 %",
            _inside(xr.ufuncs.exp(drawn["log_residual_sd"]), by_cohort.std()),
            0.95,
            1.0,
        ),
    ]
    rows += [
        (
            f"prior probability of a {what} beyond {LARGE_SLOPE:g} SD of the outcome per SD of HER2",
            float((np.abs(drawn[name]) > LARGE_SLOPE).mean()),
            0.001,
            0.10,
        )
        for name, what in (("slope", "slope"), *((n, n.replace("_x_", " x ")) for n in interactions))
    ]
    table = pd.DataFrame(rows, columns=["check", "value", "lower", "upper"])
    table["passed"] = table["value"].between(table["lower"], table["upper"])
    return table


def ancova_replicated(draw: xr.Dataset, data: AnalysisSet, rng: np.random.Generator) -> AnalysisSet:
    """Return the same tumours with outcomes of one draw, on the scale of these; see `CalibratedModel.replicated`.

    The abundances that the outcomes are made of stay as they are: the model sees the outcomes alone.
    """
    design = ancova(data)
    values = coefficients(draw, design, "cohort").to_numpy()[0, 0]
    one = draw["log_residual_sd"].isel(chain=0, draw=0)
    labelled = one.sel(cohort=list(design.shape.cohorts), cell_type=list(design.cell_types))
    log_sd = labelled.transpose("cohort", "cell_type").to_numpy()
    mean = design.columns() @ values
    z = mean + (design.cohort_columns @ np.exp(log_sd)) * rng.standard_normal(mean.shape)
    drawn = np.where(design.modelled > 0, design.centre + design.sd * z, np.nan)
    scaling = pd.DataFrame({"centre": data.outcome_centre, "sd": data.outcome_sd})
    outcome = pd.DataFrame(drawn, index=data.outcome.index, columns=data.outcome.columns)
    return replace(data, outcome=outcome, outcome_scaling=scaling)


def _inside(drawn: xr.DataArray, observed: pd.DataFrame) -> float:
    """Share of observed values, by cohort and cell type, within the central 99 % of the prior."""
    low, high = (drawn.quantile(q, ("chain", "draw")) for q in (0.005, 0.995))
    hits = []
    for cohort, own in observed.iterrows():
        for cell_type, value in own.dropna().items():
            label = {d: v for d, v in (("cohort", cohort), ("cell_type", cell_type)) if d in low.dims}
            hits.append(float(low.sel(label)) <= value <= float(high.sel(label)))
    return float(np.mean(hits))


def ancova_posterior_predictive(
    graph: pm.Model, posterior: xr.Dataset, data: AnalysisSet, seed: int, interval: float = 0.95
) -> pd.DataFrame:
    """Replicated means, spreads and tails, and means along HER2, by cell type, cohort and HR stratum.

    Abundances are skewed and never below 0, normal errors are neither: the tails and the share below 0 say how much
    that matters. The means in the lowest, middle and highest third of HER2 say whether a straight line is enough.

    Parameters
    ----------
    graph, posterior, data
        Model, its draws, its analysis set.
    seed
        Seed of the replications.
    interval
        Probability of the equal-tailed predictive interval.

    Returns
    -------
    pandas.DataFrame
        ``cell_type``, ``cohort``, ``hr``, ``statistic``, ``observed``, ``predicted`` (median over
        replications), ``lower``, ``upper``, ``inside``; in units of the outcome.
    """
    rng = np.random.default_rng(seed)
    design = ancova(data)
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    thinned = posterior.isel(draw=slice(None, None, max(1, total // PREDICTIVE_DRAWS)))
    values = coefficients(thinned, design, "cohort").to_numpy()
    log_sd = thinned["log_residual_sd"].transpose("chain", "draw", "cohort", "cell_type").to_numpy()
    n = values.shape[0] * values.shape[1]
    values, residual_sd = values.reshape(n, *values.shape[2:]), np.exp(log_sd.reshape(n, *log_sd.shape[2:]))
    columns, tail = design.columns(), (1.0 - interval) / 2.0
    keys = data.tumours[["cohort", "hr"]].drop_duplicates().sort_values(["cohort", "hr"]).astype("str")
    rows = []
    for cohort, hr in keys.itertuples(index=False, name=None):
        own = ((data.tumours["cohort"] == cohort) & (data.tumours["hr"] == hr)).to_numpy()
        if own.sum() < MIN_GROUP:
            continue
        k = design.shape.cohorts.index(cohort)
        thirds = np.quantile(design.her2_sd[own], [1 / 3, 2 / 3])
        third = np.digitize(design.her2_sd[own], thirds)
        for c, cell_type in enumerate(design.cell_types):
            if not design.modelled[own, c].all():
                continue
            seen = data.outcome.loc[own, cell_type].to_numpy(float)[None, :]
            mean = values[:, :, c] @ columns[own].T
            z = mean + residual_sd[:, k, c][:, None] * rng.standard_normal(mean.shape)
            replicated = design.centre[c] + design.sd[c] * z
            for name, of in _STATISTICS.items():
                rows.append((cell_type, cohort, hr, name, *_beside(of(seen), of(replicated), tail)))
            for t, name in enumerate(("lowest", "middle", "highest")):
                if (third == t).any():
                    rows.append(
                        (
                            cell_type,
                            cohort,
                            hr,
                            f"mean, {name} third of HER2",
                            *_beside(
                                seen[:, third == t].mean(axis=1), replicated[:, third == t].mean(axis=1), tail
                            ),
                        )
                    )
    names = ["cell_type", "cohort", "hr", "statistic", "observed", "predicted", "lower", "upper"]
    table = pd.DataFrame(rows, columns=names)
    table["inside"] = table["observed"].between(table["lower"], table["upper"])
    return table


def _beside(observed: np.ndarray, replicated: np.ndarray, tail: float) -> tuple[float, float, float, float]:
    lower, middle, upper = np.quantile(replicated, [tail, 0.5, 1.0 - tail])
    return float(observed[0]), float(middle), float(lower), float(upper)
