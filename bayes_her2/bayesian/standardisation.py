"""Averages over the tumours observed, without visiting each tumour at each draw.

Estimands that average over tumours (``overall``, ``high_abundance``, ``probability_greater``) need a sum of
a smooth function of h over tumours that are alike in everything else. Such a sum is replaced by the Gauss
quadrature of their empirical distribution: with 8 nodes it is exact for polynomials in h up to degree 15.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.linalg import eigh_tridiagonal

N_NODES = 8


@dataclass(frozen=True)
class Support:
    """Weighted points that stand for tumours.

    Attributes
    ----------
    h
        Standardised HER2 of each point.
    weight
        Number of tumours it stands for.
    row
        A tumour (position in the analysis set) with the same cohort, stratum, centre and covariates.
    """

    h: np.ndarray
    weight: np.ndarray
    row: np.ndarray


def empirical_quadrature(values: np.ndarray, n_nodes: int = N_NODES) -> tuple[np.ndarray, np.ndarray]:
    """Gauss quadrature of the empirical distribution of `values`.

    Parameters
    ----------
    values
        Numbers, any order.
    n_nodes
        Nodes wanted; with as many distinct values or fewer, the values themselves are returned.

    Returns
    -------
    nodes, weights : numpy.ndarray
        Weights sum to ``len(values)``. Sums of polynomials up to degree ``2 n_nodes - 1`` are exact.

    Notes
    -----
    Golub & Welsch (1969), doi 10.1090/S0025-5718-69-99647-1, on the recurrence coefficients of the discrete
    measure found by the Stieltjes procedure (Gautschi 2004).
    """
    distinct, counts = np.unique(np.asarray(values, dtype=float), return_counts=True)
    if len(distinct) <= n_nodes:
        return distinct, counts.astype(float)
    centre, spread = float(distinct.mean()), float(np.ptp(distinct)) / 2
    x, w = (distinct - centre) / spread, counts / counts.sum()
    alpha, beta = np.zeros(n_nodes), np.zeros(n_nodes)
    previous, current, norm = np.zeros_like(x), np.ones_like(x), 1.0
    for k in range(n_nodes):
        alpha[k] = float((w * x * current**2).sum()) / norm
        following = (x - alpha[k]) * current - beta[k] * previous
        new_norm = float((w * following**2).sum())
        if k + 1 < n_nodes:
            beta[k + 1] = new_norm / norm
        previous, current, norm = current, following, new_norm
    nodes, vectors = eigh_tridiagonal(alpha, np.sqrt(beta[1:]))
    return centre + spread * nodes, vectors[0] ** 2 * counts.sum()


def support_points(h: np.ndarray, alike: pd.DataFrame, n_nodes: int = N_NODES) -> Support:
    """Points that stand for all tumours, made within groups alike in every other respect.

    Parameters
    ----------
    h
        Standardised HER2, one per tumour.
    alike
        One row per tumour: cohort, stratum, centre, covariates. Where covariates are continuous every
    is a group of its own, and nothing is gained or lost.
    n_nodes
        Points for each group.
    """
    nodes, weights, rows = [], [], []
    positions = np.arange(len(h))
    codes = alike.groupby(list(alike.columns), sort=True, dropna=False).ngroup().to_numpy()
    for code in np.unique(codes):
        members = positions[codes == code]
        x, w = empirical_quadrature(h[members], n_nodes)
        nodes.append(x)
        weights.append(w)
        rows.append(np.full(len(x), members[0]))
    return Support(np.concatenate(nodes), np.concatenate(weights), np.concatenate(rows))


def batched_quadrature(
    values: np.ndarray, weights: np.ndarray, n_nodes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Gauss quadrature of many weighted distributions at once, one per row.

    Parameters
    ----------
    values, weights
        Row x point; weights >= 0, with a positive sum in each row.
    n_nodes
        Nodes of each row. Exact for polynomials up to degree ``2 n_nodes - 1``; a row with fewer distinct
        points than nodes has nodes of weight 0.

    Returns
    -------
    nodes, weights : numpy.ndarray
        Row x node; the weights of a row sum to 1.

    Notes
    -----
    As `empirical_quadrature`, with the recurrences of all rows side by side.
    """
    w = weights / weights.sum(axis=1, keepdims=True)
    centre = (w * values).sum(axis=1, keepdims=True)
    spread = np.sqrt((w * (values - centre) ** 2).sum(axis=1, keepdims=True))
    x = (values - centre) / np.where(spread > 0, spread, 1.0)
    n_rows = len(values)
    jacobi = np.zeros((n_rows, n_nodes, n_nodes))
    previous, current, norm = np.zeros_like(x), np.ones_like(x), np.ones(n_rows)
    for k in range(n_nodes):
        alpha = (w * x * current**2).sum(axis=1) / norm
        jacobi[:, k, k] = alpha
        if k + 1 == n_nodes:
            break
        beta = jacobi[:, k, k - 1] ** 2 if k else np.zeros(n_rows)
        following = (x - alpha[:, None]) * current - beta[:, None] * previous
        new_norm = (w * following**2).sum(axis=1)
        # All points used up: what would follow has weight 0.
        new_norm = np.where(new_norm > _USED_UP * norm, new_norm, 0.0)
        jacobi[:, k, k + 1] = jacobi[:, k + 1, k] = np.sqrt(new_norm / norm)
        following = np.where(new_norm[:, None] > 0, following, 0.0)
        previous, current, norm = current, following, np.where(new_norm > 0, new_norm, 1.0)
    nodes, vectors = np.linalg.eigh(jacobi)
    return centre + spread * nodes, vectors[:, 0, :] ** 2


_USED_UP = 1e-12
"""Relative squared norm under which an orthogonal polynomial vanishes at every point."""
