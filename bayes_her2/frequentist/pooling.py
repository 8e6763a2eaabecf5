"""Pooling of cohort estimates on the log scale: common effect, and random effects with REML.

statsmodels has the DerSimonian-Laird estimator but neither REML nor a truncation at zero; REML is a
search in one dimension. All numbers are checked against R metafor (tests/frequentist/reference).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import minimize_scalar
from statsmodels.stats.meta_analysis import combine_effects

COMMON_EFFECT = "common effect"
RANDOM_EFFECTS = "random-effects (REML, modified Hartung-Knapp)"
SINGLE_COHORT = "single cohort"

_GRID = 64


@dataclass(frozen=True)
class Pooled:
    """A pooled estimate, on the scale of the estimates that went in.

    Attributes
    ----------
    estimate, se, lower, upper, p_value
        Pooled effect, its standard error, interval, and two-sided P value against zero.
    prediction_lower, prediction_upper
        Interval for the effect in a new cohort (NaN under a common effect).
    tau2
        Variance between cohorts (0 under a common effect).
    q
        Cochran's Q; its expectation is k - 1 if cohorts do not differ.
    k
        Number of cohorts.
    interval_kind
        ``confidence (Wald)`` or ``confidence (Hartung-Knapp)``.
    """

    estimate: float
    se: float
    lower: float
    upper: float
    p_value: float
    prediction_lower: float
    prediction_upper: float
    tau2: float
    q: float
    k: int
    interval_kind: str


def common_effect(
    estimates: Sequence[float], variances: Sequence[float], *, interval: float = 0.95
) -> Pooled:
    """Inverse-variance mean under one effect common to all cohorts, with a Wald interval.

    Parameters
    ----------
    estimates, variances
        Log ratios of the cohorts and their squared standard errors.
    interval
        Probability of the interval.

    Returns
    -------
    Pooled
        With ``tau2`` 0 and no prediction interval.
    """
    effect, variance = _checked(estimates, variances, at_least=1)
    weight = 1.0 / variance
    mean = float(weight @ effect / weight.sum())
    se = float(np.sqrt(1.0 / weight.sum()))
    reach = float(stats.norm.isf((1.0 - interval) / 2.0)) * se
    return Pooled(
        estimate=mean,
        se=se,
        lower=mean - reach,
        upper=mean + reach,
        p_value=float(2.0 * stats.norm.sf(abs(mean) / se)),
        prediction_lower=np.nan,
        prediction_upper=np.nan,
        tau2=0.0,
        q=_cochran_q(effect, variance),
        k=len(effect),
        interval_kind="confidence (Wald)",
    )


def random_effects(
    estimates: Sequence[float],
    variances: Sequence[float],
    *,
    interval: float = 0.95,
    tau2_by: Literal["REML", "DL"] = "REML",
    hartung_knapp: bool = True,
    at_least_wald: bool = True,
) -> Pooled:
    """Random-effects mean over cohorts.

    With weights w_k = 1 / (v_k + tau^2), the Hartung-Knapp variance of the mean is sum w_k (e_k - mean)^2
    / ((K - 1) sum w_k), used with t on K - 1 degrees of freedom. The interval for a new cohort is mean +-
    t (tau^2 + se^2)^(1/2) with the same t (without Hartung-Knapp: normal quantiles).

    Parameters
    ----------
    estimates, variances
        Log ratios of the cohorts and their squared standard errors; at least two cohorts.
    interval
        Probability of both intervals.
    tau2_by
        Restricted maximum likelihood, or DerSimonian-Laird.
    hartung_knapp
        Otherwise a Wald interval.
    at_least_wald
        Modified Hartung-Knapp: the standard error is never below the Wald one. Without it a few cohorts that
        happen to agree give an interval far narrower than their own errors allow.

    Returns
    -------
    Pooled
        With ``tau2`` and the interval for a new cohort.

    References
    ----------
    Viechtbauer 2005, doi 10.3102/10769986030003261. Hartung & Knapp 2001, doi
    10.1002/sim.1009. DerSimonian & Laird 1986, doi 10.1016/0197-2456(86)90046-2. IntHout et al. 2016, doi
    10.1136/bmjopen-2015-010247. Röver, Knapp & Friede 2015, doi 10.1186/s12874-015-0091-1 (the modification).
    """
    effect, variance = _checked(estimates, variances, at_least=2)
    tau2 = reml_tau2(effect, variance) if tau2_by == "REML" else _dersimonian_laird_tau2(effect, variance)
    weight = 1.0 / (variance + tau2)
    mean = float(weight @ effect / weight.sum())
    freedom = len(effect) - 1
    if hartung_knapp:
        q = float(weight @ (effect - mean) ** 2) / freedom
        se = float(np.sqrt((max(1.0, q) if at_least_wald else q) / weight.sum()))
        quantile = float(stats.t.isf((1.0 - interval) / 2.0, freedom))
        p_value = float(2.0 * stats.t.sf(abs(mean) / se, freedom)) if se > 0 else np.nan
    else:
        se = float(np.sqrt(1.0 / weight.sum()))
        quantile = float(stats.norm.isf((1.0 - interval) / 2.0))
        p_value = float(2.0 * stats.norm.sf(abs(mean) / se))
    spread = float(np.sqrt(tau2 + se**2))
    return Pooled(
        estimate=mean,
        se=se,
        lower=mean - quantile * se,
        upper=mean + quantile * se,
        p_value=p_value,
        prediction_lower=mean - quantile * spread,
        prediction_upper=mean + quantile * spread,
        tau2=tau2,
        q=_cochran_q(effect, variance),
        k=len(effect),
        interval_kind="confidence (Hartung-Knapp)" if hartung_knapp else "confidence (Wald)",
    )


def reml_tau2(effect: NDArray[np.float64], variance: NDArray[np.float64]) -> float:
    """Between-cohort variance that maximises the restricted likelihood, found in one dimension.

    -2 l(tau^2) = sum log(v_k + tau^2) + log sum w_k + sum w_k (e_k - mean)^2. The likelihood may have two
    modes, so a grid on tau brackets the highest before it is refined.

    Parameters
    ----------
    effect, variance
        Estimates of the cohorts and their squared standard errors.

    Returns
    -------
    float
        tau^2 >= 0.
    """

    def deviance(tau: float) -> float:
        total = variance + tau**2
        weight = 1.0 / total
        mean = weight @ effect / weight.sum()
        return float(np.log(total).sum() + np.log(weight.sum()) + weight @ (effect - mean) ** 2)

    # With tau above the range of the effects the deviance only rises.
    highest = 2.0 * float(np.ptp(effect)) + 1e-12
    grid = np.linspace(0.0, highest, _GRID)
    best = int(np.argmin([deviance(tau) for tau in grid]))
    refined = minimize_scalar(
        deviance,
        bounds=(float(grid[max(best - 1, 0)]), float(grid[min(best + 1, _GRID - 1)])),
        method="bounded",
        options={"xatol": 1e-9 * max(highest, 1e-9)},
    )
    tau = float(refined.x)
    return 0.0 if deviance(0.0) <= deviance(tau) else tau**2


def _dersimonian_laird_tau2(effect: NDArray[np.float64], variance: NDArray[np.float64]) -> float:
    # statsmodels does not truncate: with Q < k - 1 its tau^2, and the weights from it, would be negative.
    return max(0.0, float(combine_effects(effect, variance, method_re="dl").tau2))


def _cochran_q(effect: NDArray[np.float64], variance: NDArray[np.float64]) -> float:
    weight = 1.0 / variance
    mean = weight @ effect / weight.sum()
    return float(weight @ (effect - mean) ** 2)


def _checked(
    estimates: Sequence[float], variances: Sequence[float], *, at_least: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    effect, variance = np.asarray(estimates, dtype=float), np.asarray(variances, dtype=float)
    if effect.shape != variance.shape or effect.ndim != 1 or len(effect) < at_least:
        raise ValueError(f"pooling needs at least {at_least} estimates, each with its variance")
    if not (np.isfinite(effect).all() and np.isfinite(variance).all() and (variance > 0).all()):
        raise ValueError(
            "pooling needs finite estimates and positive variances: leave out what is not estimable"
        )
    return effect, variance
