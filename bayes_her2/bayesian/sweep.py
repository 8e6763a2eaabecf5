"""What results would be under other priors on a spread, without sampling again."""

from __future__ import annotations

from collections.abc import Mapping

import arviz  # noqa: F401  (registers the accessor `azstats`)
import numpy as np
import pandas as pd
import xarray as xr

from bayes_her2.bayesian.priors import Prior
from bayes_her2.data import DIFFERENCE

SCALES = (0.1, 0.25, 0.5, 1.0)
"""Scales of the half-normal prior on the spread of interactions over cell types that the sweep tries."""
TREATMENT_SDS = (0.5, 1.0, 1.4, 2.0)
"""SDs of the log ratio of odds ratios that its sweep tries: twice as sure, and twice as open, as by default."""
MAX_PARETO_K = 0.7
PARTS = {"presence": "presence", "amount": "amount", "high": "high_abundance_conditional"}
"""Linear predictor -> the estimand that its interaction is."""


def interaction_sweep(
    posterior: xr.Dataset,
    draws: Mapping[tuple[str, str], xr.DataArray],
    priors: Mapping[str, Prior],
    *,
    interval: float,
    scales: tuple[float, ...] = SCALES,
) -> pd.DataFrame:
    """Pooled ratios HR- over HR+ under other scales of the prior on their spread over cell types.

    Changing one half-normal prior changes the posterior by the weight HN(s | new) / HN(s | used) of each draw, with s
    the spread in that draw; weights are Pareto-smoothed.

    Parameters
    ----------
    posterior
        Draws of the coefficients.
    draws
        Draws of the estimands, as log ratios.
    priors
        As used in the fit.
    interval
        Probability of the equal-tailed credible interval.
    scales
        Half-normal scales to try.

    Returns
    -------
    pandas.DataFrame
        ``part``, ``scale``, ``prior_sd`` (of the log ratio: mean and spreads together), ``outcome``,
        ``point``, ``lower``, ``upper``, ``excludes_1``, ``pareto_k``, ``reliable`` (k below 0.7). Empty
        with one HR stratum.

    References
    ----------
    Vehtari et al. (2024), Pareto smoothed importance sampling, JMLR 25(72). Kallioinen et al. (2024), doi
    10.1007/s11222-023-10366-5, for prior sensitivity by such weights.
    """
    tail = (1.0 - interval) / 2.0
    rows = []
    for part, estimand in PARTS.items():
        name = f"{part}_interaction_between_cells_sd"
        pooled = draws.get((estimand, "pooled"))
        if name not in posterior or pooled is None or DIFFERENCE not in pooled["stratum"]:
            continue
        used, mean = priors[name], priors[f"{part}_interaction_mean"]
        lineages = priors.get(f"{part}_interaction_between_lineages_sd")
        between_lineages = lineages.params["sigma"] if lineages is not None else 0.0
        spread = posterior[name]
        contrast = pooled.sel(stratum=DIFFERENCE, drop=True)
        for scale in scales:
            weight, pareto_k = _weights(spread, used, scale)
            prior_sd = float(np.sqrt(mean.params["sigma"] ** 2 + between_lineages**2 + scale**2))
            for outcome in contrast["cell_type"].to_numpy():
                values = contrast.sel(cell_type=outcome).transpose("chain", "draw").to_numpy().ravel()
                if np.isnan(values).any():
                    continue
                lower, point, upper = _ratio_quantiles(values, weight, tail)
                rows.append(
                    {
                        "part": part,
                        "scale": scale,
                        "prior_sd": prior_sd,
                        "outcome": str(outcome),
                        "point": float(point),
                        "lower": float(lower),
                        "upper": float(upper),
                        "excludes_1": bool(lower > 1 or upper < 1),
                        "pareto_k": pareto_k,
                        "reliable": pareto_k < MAX_PARETO_K,
                    }
                )
    return pd.DataFrame(rows, columns=COLUMNS)


def treatment_sweep(
    ratio: xr.DataArray, used: Prior, *, interval: float, sds: tuple[float, ...] = TREATMENT_SDS
) -> pd.DataFrame:
    """Ratio of odds ratios, treated over control, under other SDs of its normal prior around no difference.

    Parameters
    ----------
    ratio
        Draws of its logarithm, dims chain, draw, outcome (and a stratum of one label).
    used
        Its prior in the fit, a normal.
    interval
        Probability of the equal-tailed credible interval.
    sds
        SDs to try.

    Returns
    -------
    pandas.DataFrame
        ``outcome``, ``prior_sd``, ``used``, ``point``, ``lower``, ``upper``, ``probability_below_1``, ``pareto_k``,
        ``reliable`` (k below 0.7). Weights as in `interaction_sweep`.
    """
    tail = (1.0 - interval) / 2.0
    rows = []
    own = float(used.params["sigma"])
    for outcome in ratio["outcome"].to_numpy():
        log_ratio = ratio.sel(outcome=outcome).squeeze(drop=True).reset_coords(drop=True)
        log_ratio = log_ratio.transpose("chain", "draw")
        if bool(np.isnan(log_ratio).any()):
            continue
        for sd in sorted({*sds, own}):
            other = Prior("Normal", {"mu": used.params["mu"], "sigma": sd}, "swept")
            log_weight = xr.apply_ufunc(other.frozen().logpdf, log_ratio) - xr.apply_ufunc(
                used.frozen().logpdf, log_ratio
            )
            smoothed, pareto_k = _smoothed(log_weight)
            weight = np.exp((smoothed - smoothed.max()).transpose("chain", "draw").to_numpy().ravel())
            values = log_ratio.to_numpy().ravel()
            lower, point, upper = _ratio_quantiles(values, weight, tail)
            rows.append(
                {
                    "outcome": str(outcome),
                    "prior_sd": sd,
                    "used": sd == own,
                    "point": float(point),
                    "lower": float(lower),
                    "upper": float(upper),
                    "probability_below_1": float(np.average(values < 0, weights=weight)),
                    "pareto_k": pareto_k,
                    "reliable": pareto_k < MAX_PARETO_K,
                }
            )
    columns = [
        "outcome",
        "prior_sd",
        "used",
        "point",
        "lower",
        "upper",
        "probability_below_1",
        "pareto_k",
        "reliable",
    ]
    return pd.DataFrame(rows, columns=columns)


def _weights(spread: xr.DataArray, used: Prior, scale: float) -> tuple[np.ndarray, float]:
    """Weights of the draws under HalfNormal(scale) on a spread in place of the prior used, and their Pareto k."""
    other = Prior("HalfNormal", {"sigma": scale}, "swept")
    log_weight = xr.apply_ufunc(other.frozen().logpdf, spread) - xr.apply_ufunc(used.frozen().logpdf, spread)
    smoothed, pareto_k = _smoothed(log_weight.reset_coords(drop=True))
    return np.exp((smoothed - smoothed.max()).transpose("chain", "draw").to_numpy().ravel()), pareto_k


def _ratio_quantiles(values: np.ndarray, weight: np.ndarray, tail: float) -> np.ndarray:
    """Weighted lower limit, median and upper limit of a ratio from draws of its logarithm."""
    found: np.ndarray = np.exp(
        np.quantile(values, [tail, 0.5, 1.0 - tail], weights=weight, method="inverted_cdf")
    )
    return found


def _smoothed(log_weight: xr.DataArray) -> tuple[xr.DataArray, float]:
    """Pareto-smoothed log weights and their Pareto k (0 where the prior is the one used: all weights equal)."""
    if float(log_weight.std()) == 0:
        return xr.zeros_like(log_weight), 0.0
    # The accessor takes log likelihoods, whose inverses are the weights: hence the sign.
    smoothed, pareto_k = (-log_weight).azstats.psislw()
    return smoothed, float(pareto_k)


COLUMNS = [
    "part",
    "scale",
    "prior_sd",
    "outcome",
    "point",
    "lower",
    "upper",
    "excludes_1",
    "pareto_k",
    "reliable",
]
