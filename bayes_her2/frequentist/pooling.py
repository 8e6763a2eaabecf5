"""Pooling of cohort estimates on the log scale: common effect, and random effects with REML.

All numbers are checked against R metafor (tests/frequentist/reference).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bayes_her2.frequentist.meta_regression import meta_regression

COMMON_EFFECT = "common effect"
RANDOM_EFFECTS = "random-effects (REML, modified Hartung-Knapp)"
SINGLE_COHORT = "single cohort"


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
    alone = np.ones((len(effect), 1))
    fit = meta_regression(
        effect, variance, alone, tau2_by=tau2_by, hartung_knapp=hartung_knapp, at_least_wald=at_least_wald
    )
    mean, lower, upper, p_value = fit.contrast(alone[0], interval)
    _, prediction_lower, prediction_upper = fit.prediction(alone[0], interval)
    return Pooled(
        estimate=mean,
        se=float(np.sqrt(fit.covariance.item())),
        lower=lower,
        upper=upper,
        p_value=p_value,
        prediction_lower=prediction_lower,
        prediction_upper=prediction_upper,
        tau2=fit.tau2,
        q=_cochran_q(effect, variance),
        k=len(effect),
        interval_kind="confidence (Hartung-Knapp)" if hartung_knapp else "confidence (Wald)",
    )


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
