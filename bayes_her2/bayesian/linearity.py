"""Is a straight line in HER2 enough? A smooth departure from it, in closed form, beside the fitted model.

The marginal effect model is linear in HER2, as the analysis of covariance is. Here each cell type gets a natural cubic
spline besides, made orthogonal to the straight line over its tumours, so that the linear slope keeps its
meaning:

    y = X b + d(h) + error,   d = sum_j w_j B_j(h),   w_j ~ Normal(0, spread^2 / J),   spread ~ HalfNormal(0.25),

with X the columns of the model, a flat prior on b, and the residual SDs at their posterior medians. B_j have mean
square 1 over the tumours and are uncorrelated, so the SD over tumours of the departure, in SDs of the outcome, is

    departure_sd = (sum_j w_j^2)^(1/2).

That is what is reported; `spread`, the scale of its prior, would stay uncertain however many tumours there are, since J
is 2. Given `spread` everything is normal: the posterior is a mixture of normals over a grid, no sampling is needed,
and the model itself is not touched.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import xarray as xr
from scipy import special, stats
from scipy.stats import qmc

from bayes_her2.bayesian.ancova import Ancova, ancova
from bayes_her2.bayesian.ancova_estimands import CURVE_AT
from bayes_her2.data import AnalysisSet
from bayes_her2.splines import knots_of, natural_spline

SPREAD_SD = 0.25
"""Scale of the half-normal prior of `spread`: a departure of a quarter of an SD of the outcome is a marked bend."""
MATTERS_ABOVE = 0.1
"""SD of the departure above which it matters: the default region of practical equivalence for standardised
differences."""

_GRID = 1.5 * np.linspace(0.0, 1.0, 301) ** 2
"""Values of `spread`, closer to each other towards 0, where large studies need them."""
_LOG_STEP = np.log(np.gradient(_GRID))
_NODES = 2**14


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
        ``cell_type``, ``departure_sd`` (SD over tumours of the departure: posterior median, in SDs of the outcome),
        ``lower``, ``upper``, ``p_matters`` (probability of more than `MATTERS_ABOVE`), ``prior_median`` and
        ``prior_p_matters`` of the same quantity, ``log10_bayes_factor`` (departure against straight line).
    curves : pandas.DataFrame
        ``cell_type``, ``at`` (HER2 in SDs), ``departure``, ``lower``, ``upper``, in SDs of the outcome.
    """
    design = ancova(data)
    log_sd = posterior["log_residual_sd"].median(("chain", "draw"))
    residual_sd = np.exp(log_sd.transpose("cohort", "cell_type").to_numpy())
    rows, curves = [], []
    for c, cell_type in enumerate(design.cell_types):
        found = _departure(design, c, residual_sd[:, c], interval)
        if found is None:
            continue
        figures, curve = found
        rows.append({"cell_type": cell_type, **figures})
        curves.append(curve.assign(cell_type=cell_type)[["cell_type", *curve.columns]])
    table = pd.DataFrame(rows, columns=_COLUMNS)
    none = pd.DataFrame(columns=["cell_type", "at", "departure", "lower", "upper"])
    return table, pd.concat(curves, ignore_index=True) if curves else none


_COLUMNS = [
    "cell_type",
    "departure_sd",
    "lower",
    "upper",
    "prior_median",
    "p_matters",
    "prior_p_matters",
    "log10_bayes_factor",
]


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
) -> tuple[dict[str, float], pd.DataFrame] | None:
    """Figures of one cell type's departure, named as in the table, and its curve.

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
    log_prior = stats.halfnorm.logpdf(_GRID, scale=SPREAD_SD) + _LOG_STEP
    log_prior = log_prior - special.logsumexp(log_prior)
    # At spread 0 there is the straight line alone. On the log scale: with strong evidence the ratio itself overflows.
    log_bayes_factor = float(special.logsumexp(log_likelihood - log_likelihood[0] + log_prior))
    weight = special.softmax(log_likelihood + log_prior)
    tail = (1.0 - interval) / 2.0

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
    posterior_sd = _realised_sd(weight, variance * score, np.sqrt(variance))
    prior_scale = np.broadcast_to(np.sqrt(prior_variance), variance.shape)
    prior_sd = _realised_sd(np.exp(log_prior), np.zeros_like(variance), prior_scale)
    lower, middle, upper = (float(q) for q in np.quantile(posterior_sd, [tail, 0.5, 1.0 - tail]))
    figures = {
        "departure_sd": middle,
        "lower": lower,
        "upper": upper,
        "prior_median": float(np.median(prior_sd)),
        "p_matters": float(np.mean(posterior_sd > MATTERS_ABOVE)),
        "prior_p_matters": float(np.mean(prior_sd > MATTERS_ABOVE)),
        "log10_bayes_factor": log_bayes_factor / float(np.log(10.0)),
    }
    return figures, curve[["at", "departure", "lower", "upper"]]


def _realised_sd(weight: np.ndarray, centre: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Values of (sum_j w_j^2)^(1/2) that stand for its distribution, each with the same probability.

    w is a mixture over the grid of independent normals. The values lie at quasi-random nodes (an unscrambled Sobol
    sequence: nothing is random), one dimension choosing the place on the grid and one each w_j.

    Parameters
    ----------
    weight
        Of each place on the grid; sum 1.
    centre, spread
        Mean and SD of w, grid x column.
    """
    n_columns = centre.shape[1]
    uniform = qmc.Sobol(n_columns + 1, scramble=False).random(_NODES) + 0.5 / _NODES
    place = np.searchsorted(np.cumsum(weight), uniform[:, 0]).clip(max=len(weight) - 1)
    w = centre[place] + spread[place] * stats.norm.ppf(uniform[:, 1:])
    sd: np.ndarray = np.sqrt((w**2).sum(axis=1))
    return sd


def _mixture_quantiles(
    weight: np.ndarray, centre: np.ndarray, spread: np.ndarray, probabilities: tuple[float, ...]
) -> tuple[float, ...]:
    """Quantiles of a mixture of normals; a component without spread is a step."""
    kept = weight > 1e-9
    weight, centre, spread = weight[kept], centre[kept], spread[kept]
    places = np.linspace((centre - 6.0 * spread).min() - 1e-9, (centre + 6.0 * spread).max() + 1e-9, 1201)
    below = stats.norm.cdf(places[:, None], centre, np.maximum(spread, 1e-9)) @ weight
    return tuple(float(np.interp(p, below, places)) for p in probabilities)
