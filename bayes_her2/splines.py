"""Natural cubic splines, as the departure from a straight line."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

KNOT_QUANTILES = (0.05, 0.35, 0.65, 0.95)
"""Quantiles of the variable at which four knots lie (Harrell 2015, Regression Modeling Strategies, table 2.3)."""


def natural_spline(values: NDArray[np.float64], knots: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns that, beside an intercept and the values, span the natural cubic splines with these knots.

    A natural cubic spline is cubic between its knots and linear beyond the outer ones. With K knots it has
    K - 1 degrees of freedom beside the intercept: the straight line and these K - 2 columns,

        d_j(x) - d_{K-1}(x),   d_j(x) = ((x - t_j)_+^3 - (x - t_K)_+^3) / (t_K - t_j).

    Parameters
    ----------
    values
        Where to evaluate.
    knots
        Increasing, at least three.

    Returns
    -------
    numpy.ndarray
        Value x (K - 2) columns, in units of the squared distance between the outer knots.

    References
    ----------
    Hastie, Tibshirani & Friedman (2009), The Elements of Statistical Learning, section 5.2.1.
    """
    last, before = knots[-1], knots[-2]

    def cube(x: NDArray[np.float64], knot: float) -> NDArray[np.float64]:
        above: NDArray[np.float64] = np.maximum(x - knot, 0.0) ** 3
        return above

    def d(knot: float) -> NDArray[np.float64]:
        found: NDArray[np.float64] = (cube(values, knot) - cube(values, last)) / (last - knot)
        return found

    columns = [d(knot) - d(before) for knot in knots[:-2]]
    return np.asarray(np.stack(columns, axis=1) / (last - knots[0]) ** 2)


def knots_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Knots at the quantiles of `KNOT_QUANTILES`; repeated ones once."""
    return np.unique(np.quantile(values, KNOT_QUANTILES))
