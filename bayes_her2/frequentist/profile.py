"""Profile likelihood of one contrast of a logistic regression: limits, and the likelihood-ratio test of 0."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq, minimize
from scipy.special import expit

from bayes_her2.frequentist.regression import Regression, logistic_regression

PROFILE = "confidence (profile likelihood)"

_FURTHEST = 64  # Wald half-widths from the estimate at which a limit is given up as infinite
_TOLERANCE = 1e-8  # of a limit
_GRADIENT = 1e-6  # of the deviance; the deviance is then right to about its square


@dataclass(frozen=True)
class Profile:
    """Limits of a contrast (log odds ratio; NaN where it is separated), and P by the likelihood ratio.

    ``at_lower`` and ``at_upper`` are the coefficients, by design column, that maximise the likelihood with the contrast
    held at a limit; None where there is no finite limit.
    """

    lower: float
    upper: float
    p_value: float
    at_lower: pd.Series[float] | None = None
    at_upper: pd.Series[float] | None = None


def profile_likelihood(
    fit: Regression, design: pd.DataFrame, contrast: pd.Series[float], *, interval: float
) -> Profile:
    """Where the deviance, the other coefficients refitted, lies a chi-squared quantile above its minimum.

    Parameters
    ----------
    fit
        A logistic regression.
    design
        Design of the tumours it was fitted to.
    contrast
        Contrast of its coefficients.
    interval
        Probability of the interval.

    Returns
    -------
    Profile
        A separated contrast has no finite limits on one side at least, and none are given; its likelihood ratio is
        finite, because the likelihood has a supremum. NaN throughout where the design cannot tell the contrast
        from others.

    References
    ----------
    Venzon & Moolgavkar 1988, doi 10.2307/2347496.
    """
    nothing = float("nan")
    offered = design.loc[fit.separation.rows.index]
    if fit.problem or not fit.asked.contains(contrast.to_frame().T)[0]:
        return Profile(nothing, nothing, nothing)
    if not fit.estimable(contrast):
        return Profile(nothing, nothing, _p_of_zero_where_separated(fit, offered, contrast))

    informative = offered.loc[~fit.separation.rows]
    response = fit.outcome.loc[informative.index].to_numpy(dtype=float)
    values, back = fit.informed.reduced(informative)
    weight_of = back.T @ contrast.loc[informative.columns].to_numpy(dtype=float)
    moved, others, j = _split(values, weight_of)
    # Tumours that are alike count as one, several times.
    rows, counts = np.unique(np.column_stack([response, moved, others]), axis=0, return_counts=True)
    weights = np.asarray(counts, dtype=np.float64)
    true, moved, others = rows[:, 0], rows[:, 1], rows[:, 2:]
    coefficients = fit.coefficients.loc[informative.columns].to_numpy(dtype=float)
    best = np.asarray(np.delete(np.linalg.lstsq(back, coefficients, rcond=None)[0], j), dtype=np.float64)
    start: NDArray[np.float64] = best

    def root(theta: float) -> float:
        """Square root of the deviance above its minimum: nearly linear on either side of the estimate."""
        nonlocal start
        least, start = _least_deviance(true, others, theta * moved, weights, start)
        return math.sqrt(max(0.0, least - fit.deviance))

    estimate, se = fit.value(contrast), math.sqrt(fit.variance(contrast))
    wanted = float(stats.norm.isf((1.0 - interval) / 2.0))

    def limit(side: float) -> tuple[float, pd.Series[float] | None]:
        nonlocal start
        start = best
        inside, steps = estimate, 1.0
        while root(outside := estimate + side * steps * wanted * se) < wanted:
            inside, steps = outside, 1.5 * steps
            if steps > _FURTHEST:
                return side * math.inf, None
        theta = float(brentq(lambda theta: root(theta) - wanted, inside, outside, xtol=_TOLERANCE))
        _, rest = _least_deviance(true, others, theta * moved, weights, start)
        held = (theta - np.delete(weight_of, j) @ rest) / weight_of[j]
        return theta, pd.Series(back @ np.insert(rest, j, held), index=list(informative.columns))

    (lower, at_lower), (upper, at_upper) = limit(-1.0), limit(1.0)
    start = best
    return Profile(lower, upper, float(stats.chi2.sf(root(0.0) ** 2, 1)), at_lower, at_upper)


def _split(
    values: NDArray[np.float64], contrast: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Column that a unit of the contrast adds to the linear predictor, the columns left to be fitted, the one gone.

    With theta = c'b and j a column with c_j not 0, b_j = (theta - sum of c_k b_k) / c_j.
    """
    j = int(np.argmax(np.abs(contrast)))
    moved = values[:, j] / contrast[j]
    others = np.delete(values - np.outer(moved, contrast), j, axis=1)
    return moved, others, j


def _least_deviance(
    response: NDArray[np.float64],
    design: NDArray[np.float64],
    offset: NDArray[np.float64],
    weights: NDArray[np.float64],
    start: NDArray[np.float64],
) -> tuple[float, NDArray[np.float64]]:
    """Least deviance of a logistic regression with an offset, and where it is.

    By trust regions, not by reweighted least squares: far from the estimate the offset is large, and those overshoot.
    """
    sign = np.where(response > 0.5, 1.0, -1.0)

    def deviance(b: NDArray[np.float64]) -> float:
        return float(2.0 * weights @ np.logaddexp(0.0, -sign * (offset + design @ b)))

    def gradient(b: NDArray[np.float64]) -> NDArray[np.float64]:
        wrong = expit(-sign * (offset + design @ b))
        return np.asarray(-2.0 * design.T @ (weights * sign * wrong))

    def hessian(b: NDArray[np.float64]) -> NDArray[np.float64]:
        p = expit(offset + design @ b)
        return np.asarray(2.0 * (design.T * (weights * p * (1.0 - p))) @ design)

    found = minimize(
        deviance, start, jac=gradient, hess=hessian, method="trust-exact", options={"gtol": _GRADIENT}
    )
    return float(found.fun), np.asarray(found.x, dtype=float)


def _p_of_zero_where_separated(fit: Regression, design: pd.DataFrame, contrast: pd.Series[float]) -> float:
    """P of the likelihood ratio against the regression without the contrast, both at their suprema."""
    values, back = fit.asked.reduced(design)
    _, others, _ = _split(values, back.T @ contrast.loc[design.columns].to_numpy(dtype=float))
    without = logistic_regression(
        pd.DataFrame(others, index=design.index, columns=[str(i) for i in range(others.shape[1])]),
        fit.outcome.loc[design.index].astype(bool),
    )
    if without.problem:
        return float("nan")
    return float(stats.chi2.sf(max(0.0, without.deviance - fit.deviance), 1))
