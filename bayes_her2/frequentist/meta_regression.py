"""Random-effects regression of log ratios: REML or moments, Wald or Hartung-Knapp.

statsmodels has the DerSimonian-Laird estimator without regressors, but neither REML nor a truncation at zero. All
numbers are checked against R metafor (tests/frequentist/reference).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import minimize_scalar

_GRID = 64


@dataclass(frozen=True)
class MetaRegression:
    """A random-effects (meta-)regression on the log scale.

    Attributes
    ----------
    coefficients, covariance
        Of the columns of the design.
    freedom
        Studies minus columns; 0 where the spread cannot be estimated (it is then taken as 0).
    tau2
        Variance between studies.
    by_t
        Whether intervals use the t distribution (Hartung-Knapp).
    """

    coefficients: NDArray[np.float64]
    covariance: NDArray[np.float64]
    freedom: int
    tau2: float
    by_t: bool

    def contrast(self, row: NDArray[np.float64], interval: float) -> tuple[float, float, float, float]:
        """Estimate, limits and two-sided P of a linear combination of the coefficients."""
        mean, se = float(row @ self.coefficients), float(np.sqrt(row @ self.covariance @ row))
        law = self._law()
        reach = float(law.isf((1.0 - interval) / 2.0)) * se
        # Without the modification, studies that agree to the last digit give an error of 0.
        p_value = float(2.0 * law.sf(abs(mean) / se)) if se > 0 else math.nan
        return mean, mean - reach, mean + reach, p_value

    def prediction(self, row: NDArray[np.float64], interval: float) -> tuple[float, float, float]:
        """Estimate and limits for the effect in a study not yet made."""
        mean = float(row @ self.coefficients)
        sd = float(np.sqrt(self.tau2 + row @ self.covariance @ row))
        reach = float(self._law().isf((1.0 - interval) / 2.0)) * sd
        return mean, mean - reach, mean + reach

    def _law(self) -> Any:
        return stats.t(self.freedom) if self.by_t else stats.norm()


def meta_regression(
    effect: NDArray[np.float64],
    variance: NDArray[np.float64],
    design: NDArray[np.float64],
    *,
    tau2_by: Literal["REML", "DL", "none"] = "REML",
    hartung_knapp: bool = True,
    at_least_wald: bool = True,
) -> MetaRegression:
    """Random-effects regression of log ratios.

    Parameters
    ----------
    effect, variance
        Log ratios of the studies and their squared standard errors.
    design
        Studies x columns; a column of ones alone for a plain meta-analysis.
    tau2_by
        Restricted maximum likelihood, the generalised DerSimonian-Laird estimator, or no spread at all (common effect).
    hartung_knapp
        t intervals on studies minus columns degrees of freedom, with the variance scaled by the weighted mean square of
        the residuals. Otherwise Wald.
    at_least_wald
        Modified Hartung-Knapp: the standard error is never below the Wald one. Without it a few studies that happen to
        agree give an interval far narrower than their own errors allow.

    References
    ----------
    Viechtbauer 2005, doi 10.3102/10769986030003261. Knapp & Hartung 2003, doi 10.1002/sim.1482. DerSimonian &
    Kacker 2007, doi 10.1016/j.cct.2006.04.004. Röver, Knapp & Friede 2015, doi 10.1186/s12874-015-0091-1 (the
    modification).
    """
    freedom = len(effect) - design.shape[1]
    if freedom <= 0 or tau2_by == "none":
        tau2 = 0.0
    else:
        tau2 = (
            reml_tau2(effect, variance, design) if tau2_by == "REML" else _moments(effect, variance, design)
        )
    coefficients, covariance, residual = _weighted(effect, variance + tau2, design)
    by_t = hartung_knapp and freedom > 0
    if by_t:
        scale = residual / freedom
        covariance = covariance * (max(1.0, scale) if at_least_wald else scale)
    return MetaRegression(coefficients, covariance, max(freedom, 0), tau2, by_t)


def _weighted(
    effect: NDArray[np.float64], variance: NDArray[np.float64], design: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Weighted least squares: coefficients, their covariance, and the weighted sum of squared residuals."""
    covariance = np.linalg.inv(design.T @ (design / variance[:, None]))
    coefficients = covariance @ (design.T @ (effect / variance))
    residual = effect - design @ coefficients
    return coefficients, covariance, float(residual @ (residual / variance))


def reml_tau2(
    effect: NDArray[np.float64], variance: NDArray[np.float64], design: NDArray[np.float64]
) -> float:
    """Variance between studies that maximises the restricted likelihood, found in one dimension.

    -2 l(tau^2) = sum log(v_k + tau^2) + log |X' W X| + r' W r. The likelihood may have two modes, so a grid on tau
    brackets the highest before it is refined.
    """

    def deviance(tau: float) -> float:
        total = variance + tau**2
        _, covariance, residual = _weighted(effect, total, design)
        return float(np.log(total).sum() - np.linalg.slogdet(covariance)[1] + residual)

    highest = 2.0 * float(np.ptp(effect)) + 1e-12
    grid = np.linspace(0.0, highest, _GRID)
    best = int(np.argmin([deviance(tau) for tau in grid]))
    found = minimize_scalar(
        deviance,
        bounds=(float(grid[max(best - 1, 0)]), float(grid[min(best + 1, _GRID - 1)])),
        method="bounded",
        options={"xatol": 1e-9 * max(highest, 1e-9)},
    )
    tau = float(found.x)
    return 0.0 if deviance(0.0) <= deviance(tau) else tau**2


def _moments(
    effect: NDArray[np.float64], variance: NDArray[np.float64], design: NDArray[np.float64]
) -> float:
    """Generalised DerSimonian-Laird: Q against its expectation, not below 0."""
    _, covariance, q = _weighted(effect, variance, design)
    weight = 1.0 / variance
    inner = design.T @ (design * (weight**2)[:, None])
    excess = float(weight.sum() - np.trace(covariance @ inner))
    above = (q - (len(effect) - design.shape[1])) / excess
    return max(0.0, float(above))
