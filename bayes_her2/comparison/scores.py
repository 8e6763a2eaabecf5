"""Proper scores on the scale of the data, for models whose densities cannot be compared.

A density of a whole composition and densities cell type by cell type have no common measure; their forecasts of the
same abundance have. Each tumour is forecast without itself: draws of the posterior predictive are weighted by Pareto
smoothed importance weights that leave the tumour out. Three scores, all the smaller the better:

    crps         E|Y - y| - E|Y - Y'| / 2, in units of the cell type's mean absolute deviation from its median
    brier        (P(Y > 0) - 1[y > 0])^2, where the cell type's presence is modelled
    log_score    -log P(Y in the bin of y), bins: zero, and five with as many positives each

References
----------
Gneiting & Raftery (2007), Strictly proper scoring rules, prediction, and estimation, doi 10.1198/016214506000001437.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from bayes_her2.comparison.one_left_out import weights_of
from bayes_her2.errors import DataError

SCORES = ("crps", "brier", "log_score")
N_BINS = 5
"""Bins of positive abundances; zero is one of its own."""


@dataclass(frozen=True)
class Forecast:
    """What a model forecasts for each tumour.

    Attributes
    ----------
    model
        Its name.
    replicates
        Abundances from the posterior predictive: dims chain, draw, tumour, cell_type; NaN where not modelled.
    log_likelihood
        Of each tumour in the same draws: dims chain, draw, tumour.
    """

    model: str
    replicates: xr.DataArray
    log_likelihood: xr.DataArray


@dataclass(frozen=True)
class ProperScores:
    """Scores of several models in the same abundances.

    Attributes
    ----------
    table
        One row per model, the smallest CRPS first: ``model``, and for each score its mean over tumours, the
        ``_difference`` to the first model and its standard error ``_difference_se``; ``n_tumours``, ``n_values``.
    pointwise
        Index (model, tumour): the scores of a tumour, each a mean over its cell types.
    """

    table: pd.DataFrame
    pointwise: pd.DataFrame


def proper_scores(
    forecasts: Sequence[Forecast], abundance: pd.DataFrame, presence_modelled: pd.DataFrame
) -> ProperScores:
    """Score forecasts of the abundances that every model forecasts.

    Parameters
    ----------
    forecasts
        At least two, of the same tumours.
    abundance
        Tumour x cell type, as observed.
    presence_modelled
        Tumour x cell type, bool: where a forecast of presence is asked for.

    Raises
    ------
    DataError
        Fewer than two models, or models of different tumours.
    """
    if len(forecasts) < 2:
        raise DataError(f"Scores compare at least two models; got {len(forecasts)}.")
    labels = set(map(str, abundance.index))
    for forecast in forecasts:
        own = set(map(str, forecast.replicates["tumour"].to_numpy()))
        if own != labels:
            raise DataError(
                f"{forecast.model}: forecasts {len(own)} tumours, and {len(labels)} were observed "
                f"({len(own & labels)} in both). Forecast the tumours of the same analysis set."
            )
    tumours, names = list(abundance.index), [str(c) for c in abundance.columns]
    known = np.ones((len(tumours), len(names)), dtype=bool)
    for forecast in forecasts:
        drawn = forecast.replicates.reindex(cell_type=names).sel(tumour=tumours)
        known &= np.isfinite(drawn.transpose("tumour", "cell_type", ...).to_numpy()).all(axis=(2, 3))
    pieces = {
        f.model: _scores(f, abundance, presence_modelled.to_numpy(bool) & known, known) for f in forecasts
    }
    pointwise = pd.concat(pieces, names=["model", "tumour"])
    ranked = sorted(pieces, key=lambda model: float(pieces[model]["crps"].mean()))
    rows = [_row(model, pieces, ranked[0], int(known.sum())) for model in ranked]
    return ProperScores(pd.DataFrame(rows), pointwise)


def _row(model: str, pieces: Mapping[str, pd.DataFrame], best: str, n_values: int) -> dict[str, object]:
    own, first = pieces[model], pieces[best]
    row: dict[str, object] = {"model": model}
    for score in SCORES:
        gap = (own[score] - first[score]).dropna()
        row[score] = float(own[score].mean())
        row[f"{score}_difference"] = float(gap.mean())
        row[f"{score}_difference_se"] = float(gap.std(ddof=1) / np.sqrt(len(gap)))
    return row | {"n_tumours": len(own), "n_values": n_values}


def _scores(
    forecast: Forecast, abundance: pd.DataFrame, presence: np.ndarray, known: np.ndarray
) -> pd.DataFrame:
    """Scores of each tumour, means over its cell types."""
    tumours = list(abundance.index)
    left_out = weights_of(forecast.log_likelihood.sel(tumour=tumours)).values
    weights = left_out.to_numpy().reshape(-1, len(tumours))
    found = {score: np.full((len(tumours), abundance.shape[1]), np.nan) for score in SCORES}
    for c, name in enumerate(abundance.columns):
        rows = known[:, c]
        if not rows.any():
            continue
        y = abundance[name].to_numpy(float)
        drawn = forecast.replicates.sel(cell_type=str(name), tumour=tumours).transpose(
            "chain", "draw", "tumour"
        )
        x = drawn.to_numpy().reshape(-1, len(tumours))[:, rows]
        w, seen = weights[:, rows], y[rows]
        unit = float(np.abs(seen - np.median(seen)).mean())
        found["crps"][rows, c] = crps(x, w, seen) / unit if unit > 0 else np.nan
        share = (w * (x > 0)).sum(axis=0)
        brier = (share - (seen > 0)) ** 2
        found["brier"][rows, c] = np.where(presence[rows, c], brier, np.nan)
        found["log_score"][rows, c] = _binned(x, w, seen)
    with_some = {score: pd.DataFrame(values).mean(axis=1).to_numpy() for score, values in found.items()}
    return pd.DataFrame(with_some, index=pd.Index(tumours, name="tumour"))


def crps(x: np.ndarray, weight: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of weighted draws, one column per observation.

    Parameters
    ----------
    x, weight
        Draw x observation; the weights of a column sum to 1.
    y
        Observations.

    Notes
    -----
    E|X - X'| is that of two different draws (weights w_s w_t / (1 - sum w^2), s not t), so that few draws do not
    flatter a forecast.
    """
    order = np.argsort(x, axis=0)
    ordered, w = np.take_along_axis(x, order, axis=0), np.take_along_axis(weight, order, axis=0)
    below = np.cumsum(w, axis=0)
    half = (w * ordered * (2.0 * below - w - 1.0)).sum(axis=0)  # sum over pairs of w w' |x - x'| / 2
    half /= 1.0 - (w**2).sum(axis=0)
    return np.asarray((weight * np.abs(x - y)).sum(axis=0) - half)


def _binned(x: np.ndarray, weight: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Minus log probability of the bin that holds y; half a draw is added to each bin, so that none is impossible."""
    positive = y[y > 0]
    edges = np.unique(np.quantile(positive, np.arange(1, N_BINS) / N_BINS)) if len(positive) else np.array([])

    def bin_of(values: np.ndarray) -> np.ndarray:
        return np.where(values > 0, 1 + np.searchsorted(edges, values, side="left"), 0)

    n_bins = len(edges) + 2
    share = (weight * (bin_of(x) == bin_of(y))).sum(axis=0)
    draws = 1.0 / (weight**2).sum(axis=0)
    return np.asarray(-np.log((draws * share + 0.5) / (draws + 0.5 * n_bins)))
