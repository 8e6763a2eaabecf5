"""Cheap per-cohort regressions that choose sampling coordinates; no inference rests on them."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy.optimize import brentq
from scipy.special import digamma, polygamma
from statsmodels.tools.sm_exceptions import PerfectSeparationError

from bayes_her2.bayesian.coordinates import UNINFORMED_VARIANCE

LARGEST_ESTIMATE = 6.0
LARGEST_VARIANCE = 4.0


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
