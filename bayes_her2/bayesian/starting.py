"""Cheap per-cohort regressions that choose sampling coordinates; no inference rests on them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy.optimize import brentq
from scipy.special import digamma, log_ndtr, polygamma
from statsmodels.tools.sm_exceptions import PerfectSeparationError

from bayes_her2.bayesian.coordinates import UNINFORMED_VARIANCE

LARGEST_ESTIMATE = 6.0
LARGEST_VARIANCE = 4.0
LARGEST_LATENT = 20.0
"""In SDs: a cell type that is never absent lies far above 0."""


@dataclass(frozen=True)
class CheapFit:
    """Cheap estimates of one cell type in some tumours.

    Attributes
    ----------
    table
        Index the columns of the design; ``estimate``, ``variance``.
    log_shape, log_shape_variance
        Of the log shape (or log SD), where the part has one.
    """

    table: pd.DataFrame
    log_shape: float = 0.0
    log_shape_variance: float = UNINFORMED_VARIANCE


def cheap_tobit(latent: np.ndarray, design: pd.DataFrame) -> CheapFit:
    """Censored regression in units of its residual SD, by maximum likelihood.

    With w = max(0, sd (eta + e)), e standard normal, and eta = x'g: coefficients g and log sd. In g and 1/sd the log
    likelihood is concave (Olsen 1978, doi 10.2307/1911445), so that Newton's method finds its one maximum.

    Parameters
    ----------
    latent
        w of each tumour, 0 where censored.
    design
        One row per tumour; columns that do not vary among these rows are left out (but the first, an intercept).
    """
    table = pd.DataFrame(
        {"estimate": 0.0, "variance": UNINFORMED_VARIANCE}, index=design.columns, dtype=float
    )
    varying = [c for i, c in enumerate(design.columns) if i == 0 or design[c].nunique() > 1]
    x, seen = design[varying].to_numpy(float), latent > 0
    if seen.sum() < len(varying) + 2 or np.linalg.matrix_rank(x[seen]) < len(varying):
        return CheapFit(table)
    # Columns of the parameters (g, 1/sd): residual w/sd - x'g of the seen, -x'g of the censored.
    columns = np.column_stack([-x, np.where(seen, latent, 0.0)])
    at = np.zeros(columns.shape[1])
    at[-1] = 1.0 / max(float(latent[seen].std()), 1e-8)
    at[0] = at[-1] * float(latent[seen].mean())

    def pieces(at: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        z = columns @ at
        log_cdf = log_ndtr(z[~seen])
        ratio = np.exp(-0.5 * z[~seen] ** 2 - 0.5 * np.log(2.0 * np.pi) - log_cdf)
        value = float(log_cdf.sum() - 0.5 * (z[seen] ** 2).sum() + seen.sum() * np.log(at[-1]))
        slope, bend = np.where(seen, -z, 0.0), np.where(seen, -1.0, 0.0)
        slope[~seen], bend[~seen] = ratio, -ratio * (ratio + z[~seen])
        gradient = columns.T @ slope
        gradient[-1] += seen.sum() / at[-1]
        hessian = columns.T @ (bend[:, None] * columns)
        hessian[-1, -1] -= seen.sum() / at[-1] ** 2
        return value, gradient, hessian

    value, gradient, hessian = pieces(at)
    for _ in range(60):
        try:
            step = np.linalg.solve(hessian, gradient)
        except np.linalg.LinAlgError:
            return CheapFit(table)
        size = 1.0
        while size > 1e-6:
            trial = at - size * step
            if trial[-1] > 0:
                found = pieces(trial)
                if np.isfinite(found[0]) and found[0] >= value - 1e-12:
                    break
            size /= 2.0
        else:
            return CheapFit(table)
        gain, at = found[0] - value, trial
        value, gradient, hessian = found
        if gain < 1e-9:
            break
    variance = np.diag(np.linalg.inv(-hessian))
    for column, e, v in zip(varying, at[:-1], variance[:-1], strict=True):
        if np.isfinite(e) and 0 < v <= LARGEST_VARIANCE and abs(e) <= LARGEST_LATENT:
            table.loc[column] = (e, v)
    return CheapFit(table, float(-np.log(at[-1])), float(variance[-1] / at[-1] ** 2))


def cheap_regression(outcome: np.ndarray, design: pd.DataFrame, *, family: str) -> pd.DataFrame:
    """Maximum likelihood estimate and variance of each coefficient, or (0, 100) where it is useless.

    A separated coordinate left as the regression gives it would hold a whole chain, so e = 0 and
    v = 100 wherever the fit fails, v > 4 or |e| > 6 (intercepts of amount, on the log scale, may
    reach further: there the bound is 15).

    Parameters
    ----------
    outcome
        0/1 for ``binomial``; positive amounts for ``gamma``.
    design
        One row per tumour; columns that do not vary among these rows are left out (but the first, an
        intercept).
    family
        ``binomial`` (logit link) or ``gamma`` (log link).

    Returns
    -------
    pandas.DataFrame
        Index the columns of `design`; ``estimate``, ``variance``.
    """
    result = pd.DataFrame(
        {"estimate": 0.0, "variance": UNINFORMED_VARIANCE}, index=design.columns, dtype=float
    )
    varying = [c for i, c in enumerate(design.columns) if i == 0 or design[c].nunique() > 1]
    if len(outcome) < len(varying) + 2 or np.ptp(outcome) == 0:
        return result
    matrix = design[varying].to_numpy(dtype=float)
    if np.linalg.matrix_rank(matrix) < len(varying):
        return result
    kind = sm.families.Binomial() if family == "binomial" else sm.families.Gamma(link=sm.families.links.Log())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = sm.GLM(outcome, matrix, family=kind).fit(maxiter=50)
            covariance = np.asarray(fit.cov_params())
    except (PerfectSeparationError, np.linalg.LinAlgError, ValueError, FloatingPointError):
        return result
    estimate, variance = np.asarray(fit.params), np.diag(covariance)
    bound = np.where(
        np.arange(len(varying)) == 0, 15.0 if family == "gamma" else LARGEST_ESTIMATE, LARGEST_ESTIMATE
    )
    with np.errstate(invalid="ignore"):
        usable = (
            np.isfinite(estimate)
            & (variance > 0)
            & (variance <= LARGEST_VARIANCE)
            & (np.abs(estimate) <= bound)
        )
    for column, e, v, good in zip(varying, estimate, variance, usable, strict=True):
        if good:
            result.loc[column] = (e, v)
    return result


def log_shape(amounts: np.ndarray, fitted: np.ndarray) -> tuple[float, float]:
    """Return the log of the maximum likelihood gamma shape given fitted means, and its variance.

    Solves log(phi) - psi(phi) = mean(y/mu - log(y/mu) - 1); the variance of log(phi) is
    1 / (n (phi^2 psi'(phi) - phi)).
    """
    n = len(amounts)
    if n < 3:
        return 0.0, UNINFORMED_VARIANCE
    ratio = amounts / fitted
    target = float(np.mean(ratio - np.log(ratio) - 1.0))
    if not 1e-4 < target < 50:
        return 0.0, UNINFORMED_VARIANCE
    log_phi = float(brentq(lambda x: x - float(digamma(np.exp(x))) - target, -8.0, 10.0))
    phi = np.exp(log_phi)
    information = n * (phi**2 * float(polygamma(1, phi)) - phi)
    return log_phi, float(1.0 / information)
