"""Is a straight line in HER2 enough? A smooth departure from it, in closed form, beside the fitted model.

The marginal effect model is linear in HER2, as the analysis of covariance is. Here each cell type gets a natural cubic
spline besides, made orthogonal to the straight line over its tumours, so that the linear slope keeps its
meaning:

    y = X b + d(h) + error,   d = sum_j w_j B_j(h),   w_j ~ Normal(0, spread^2 / J),   spread ~ HalfNormal(0.25),

with X the columns of the model, a flat prior on b, and the residual SDs at their posterior medians. B_j are
scaled to mean square 1, so `spread` is the SD over tumours of the departure, in SDs of the outcome. Given it
everything is normal: its posterior is exact on a grid, no sampling is needed, and the model itself is not touched.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from bayes_her2.bayesian.ancova import Ancova, ancova
from bayes_her2.bayesian.ancova_estimands import CURVE_AT
from bayes_her2.data import AnalysisSet
from bayes_her2.splines import knots_of, natural_spline

SPREAD_SD = 0.25
"""Scale of the half-normal prior of the departure's SD: a quarter of an SD of the outcome is a marked bend."""
MATTERS_ABOVE = 0.1
"""SD of the departure above which it matters: the default region of practical equivalence for standardised
differences."""

_GRID = np.linspace(0.0, 1.5, 301)


def linearity(
    posterior: xr.Dataset, data: AnalysisSet, *, interval: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Departure from linearity of each cell type, and its curve.

    Parameters
    ----------
    posterior
        Draws of the fit: only the residual SDs are used.
    data
        Its analysis set.
    interval
        Probability of the equal-tailed credible intervals.

    Returns
    -------
    table : pandas.DataFrame
        ``cell_type``, ``departure_sd`` (posterior median, in SDs of the outcome), ``lower``, ``upper``,
        ``prior_median``, ``p_matters`` (probability of more than `MATTERS_ABOVE`), ``prior_p_matters``,
        ``bayes_factor`` (departure against straight line).
    curves : pandas.DataFrame
        ``cell_type``, ``at`` (HER2 in SDs), ``departure``, ``lower``, ``upper``, in SDs of the outcome.
    """
    design = ancova(data)
    log_sd = posterior["log_residual_sd"].median(("chain", "draw"))
    residual_sd = np.exp(log_sd.transpose("cohort", "cell_type").to_numpy())
    prior = stats.halfnorm(scale=SPREAD_SD)
    rows, curves = [], []
    for c, cell_type in enumerate(design.cell_types):
        found = _departure(design, c, residual_sd[:, c], interval)
        if found is None:
            continue
        figures, curve = found
        rows.append(
            (
                cell_type,
                *figures[:3],
                float(prior.median()),
                figures[3],
                float(prior.sf(MATTERS_ABOVE)),
                figures[4],
            )
        )
        curves.append(curve.assign(cell_type=cell_type)[["cell_type", *curve.columns]])
    columns = ["cell_type", "departure_sd", "lower", "upper", "prior_median", "p_matters", "prior_p_matters"]
    table = pd.DataFrame(rows, columns=[*columns, "bayes_factor"])
    none = pd.DataFrame(columns=["cell_type", "at", "departure", "lower", "upper"])
    return table, pd.concat(curves, ignore_index=True) if curves else none


def departure_basis(h: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Columns of a natural cubic spline without its straight line.

    Parameters
    ----------
    h
        HER2 of the tumours: over them each column has mean 0, mean square 1 and no slope, and no two are correlated.

    Returns
    -------
    callable
        HER2 values -> value x column.
    """
    knots = knots_of(h)
    line = np.column_stack([np.ones_like(h), h])
    basis = natural_spline(h, knots)
    onto_line = np.linalg.lstsq(line, basis, rcond=None)[0]
    _, triangle = np.linalg.qr(basis - line @ onto_line)
    to_unit = np.linalg.inv(triangle) * np.sqrt(len(h))

    def columns(at: np.ndarray) -> np.ndarray:
        straight = np.column_stack([np.ones_like(at), at])
        made: np.ndarray = (natural_spline(at, knots) - straight @ onto_line) @ to_unit
        return made

    return columns


def _departure(
    design: Ancova, c: int, residual_sd: np.ndarray, interval: float
) -> tuple[tuple[float, ...], pd.DataFrame] | None:
    """Posterior of one cell type's departure: median, limits, P(matters), Bayes factor; and its curve.

    None where HER2 has too few values for a spline.
    """
    rows = design.modelled[:, c] > 0
    h, z = design.her2_sd[rows], design.z[rows, c]
    if len(knots_of(h)) < 3:
        return None
    precision = 1.0 / (design.cohort_columns[rows] @ residual_sd) ** 2
    departure_columns = departure_basis(h)

    # Integrate the columns of the model out: what is left of z and of the basis once they are fitted.
    root = np.sqrt(precision)[:, None]
    left, size, _ = np.linalg.svd(design.columns()[rows] * root, full_matrices=False)
    left = left[:, size > 1e-9 * size.max()]
    y, b = z * root[:, 0], departure_columns(h) * root
    y, b = y - left @ (left.T @ y), b - left @ (left.T @ b)
    information = b.T @ b
    n_columns = information.shape[0]
    values, vectors = np.linalg.eigh(information)
    score = vectors.T @ (b.T @ y)
    # Along the eigenvectors: estimate score / value with variance 1 / value, prior variance spread^2 / J.
    prior_variance = _GRID[:, None] ** 2 / n_columns
    total = 1.0 / values + prior_variance
    log_likelihood = -0.5 * (np.log(total) + (score / values) ** 2 / total).sum(axis=1)
    density = stats.halfnorm.pdf(_GRID, scale=SPREAD_SD)
    weight = np.exp(log_likelihood - log_likelihood.max()) * density
    bayes_factor = float((np.exp(log_likelihood - log_likelihood[0]) * density).sum() / density.sum())
    weight = weight / weight.sum()
    cumulative = np.cumsum(weight) - 0.5 * weight
    tail = (1.0 - interval) / 2.0
    lower, middle, upper = (float(np.interp(q, cumulative, _GRID)) for q in (tail, 0.5, 1.0 - tail))
    matters = float(1.0 - np.interp(MATTERS_ABOVE, _GRID, cumulative))

    variance = prior_variance / (1.0 + prior_variance * values)
    at = np.array(CURVE_AT)
    along = departure_columns(at) @ vectors  # place x eigenvector
    centre = (variance * score) @ along.T  # grid x place
    spread = np.sqrt(variance @ (along**2).T)
    limits = [
        _mixture_quantiles(weight, centre[:, i], spread[:, i], (tail, 0.5, 1.0 - tail))
        for i in range(len(at))
    ]
    curve = pd.DataFrame(limits, columns=["lower", "departure", "upper"]).assign(at=at)
    return (middle, lower, upper, matters, bayes_factor), curve[["at", "departure", "lower", "upper"]]


def _mixture_quantiles(
    weight: np.ndarray, centre: np.ndarray, spread: np.ndarray, probabilities: tuple[float, ...]
) -> tuple[float, ...]:
    """Quantiles of a mixture of normals; a component without spread is a step."""
    width = float(np.sqrt((weight * (spread**2 + centre**2)).sum())) + 1e-12
    places = np.linspace(-6.0, 6.0, 1201) * width
    below = stats.norm.cdf(places[:, None], centre, np.maximum(spread, 1e-9)) @ weight
    return tuple(float(np.interp(p, below, places)) for p in probabilities)
