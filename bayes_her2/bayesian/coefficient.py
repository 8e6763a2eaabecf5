"""Formulas of a hierarchical coefficient: coordinates, density, the information below it, and its spread.

With mean mu and spread sigma above, and from a cheap fit the precision p and the precision times the estimate, p e,
which is called weighted:

    coefficient   theta = (sigma^2 p e + mu) / t + sigma z / sqrt(t),     t = 1 + sigma^2 p
    log Jacobian  log sigma - log(t) / 2, the same for every z
    below         p = 1 / (v + w s^2) of an estimate of variance v whose level varies by the SD s (w = 1) or not (0)

`bayes_her2.bayesian.coordinates` explains what they are for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bayes_her2.bayesian.formula import Formula

_HALF_LOG_2PI = 0.5 * float(np.log(2.0 * np.pi))


def _coefficient(z: Any, mu: Any, sigma: Any, precision: Any, weighted: Any) -> Any:
    t = 1.0 + sigma * sigma * precision
    return (sigma * sigma * weighted + mu) / t + sigma * z / np.sqrt(t)


def _coefficient_by_z(z: Any, mu: Any, sigma: Any, precision: Any, weighted: Any) -> Any:
    return sigma / np.sqrt(1.0 + sigma * sigma * precision)


def _coefficient_by_mu(z: Any, mu: Any, sigma: Any, precision: Any, weighted: Any) -> Any:
    return 1.0 / (1.0 + sigma * sigma * precision)


def _coefficient_by_sigma(z: Any, mu: Any, sigma: Any, precision: Any, weighted: Any) -> Any:
    t = 1.0 + sigma * sigma * precision
    return (2.0 * sigma * (weighted - mu * precision) / t + z / np.sqrt(t)) / t


def _coefficient_by_precision(z: Any, mu: Any, sigma: Any, precision: Any, weighted: Any) -> Any:
    t = 1.0 + sigma * sigma * precision
    return -sigma * sigma / t * ((sigma * sigma * weighted + mu) / t + 0.5 * sigma * z / np.sqrt(t))


def _coefficient_by_weighted(z: Any, mu: Any, sigma: Any, precision: Any, weighted: Any) -> Any:
    return sigma * sigma / (1.0 + sigma * sigma * precision)


def _standardised(theta: Any, mu: Any, sigma: Any, precision: Any, weighted: Any) -> Any:
    t = 1.0 + sigma * sigma * precision
    return (theta - (sigma * sigma * weighted + mu) / t) * np.sqrt(t) / sigma


def _log_jacobian(sigma: Any, precision: Any) -> Any:
    return np.log(sigma) - 0.5 * np.log(1.0 + sigma * sigma * precision)


def _log_jacobian_by_sigma(sigma: Any, precision: Any) -> Any:
    return 1.0 / (sigma * (1.0 + sigma * sigma * precision))


def _log_jacobian_by_precision(sigma: Any, precision: Any) -> Any:
    return -0.5 * sigma * sigma / (1.0 + sigma * sigma * precision)


def _below_precision(variance: Any, varies: Any, below_sd: Any, estimate: Any) -> Any:
    return 1.0 / (variance + varies * below_sd * below_sd)


def _below_precision_by_sd(variance: Any, varies: Any, below_sd: Any, estimate: Any) -> Any:
    precision = 1.0 / (variance + varies * below_sd * below_sd)
    return -2.0 * varies * below_sd * precision * precision


def _below_weighted(variance: Any, varies: Any, below_sd: Any, estimate: Any) -> Any:
    return estimate / (variance + varies * below_sd * below_sd)


def _below_weighted_by_sd(variance: Any, varies: Any, below_sd: Any, estimate: Any) -> Any:
    precision = 1.0 / (variance + varies * below_sd * below_sd)
    return -2.0 * varies * below_sd * precision * precision * estimate


def _softplus(z: Any, scale: Any, smallest: Any) -> Any:
    return scale * (np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z))) + smallest)


def _softplus_by_z(z: Any, scale: Any, smallest: Any) -> Any:
    return scale / (1.0 + np.exp(-z))


def _exponential(z: Any, smallest: Any) -> Any:
    return np.exp(z) + smallest


def _exponential_by_z(z: Any, smallest: Any) -> Any:
    return np.exp(z)


def _normal(x: Any, mu: Any, sigma: Any) -> Any:
    distance = (x - mu) / sigma
    return -0.5 * distance * distance - np.log(sigma) - _HALF_LOG_2PI


def _normal_by_x(x: Any, mu: Any, sigma: Any) -> Any:
    return (mu - x) / (sigma * sigma)


def _normal_by_mu(x: Any, mu: Any, sigma: Any) -> Any:
    return (x - mu) / (sigma * sigma)


def _normal_by_sigma(x: Any, mu: Any, sigma: Any) -> Any:
    distance = (x - mu) / sigma
    return (distance * distance - 1.0) / sigma


_BY_ITS_ARGUMENTS = (
    _coefficient_by_z,
    _coefficient_by_mu,
    _coefficient_by_sigma,
    _coefficient_by_precision,
    _coefficient_by_weighted,
)
COEFFICIENT = Formula(_coefficient, *_BY_ITS_ARGUMENTS)
STANDARDISED = Formula(_standardised, None, None, None, None, None)
LOG_JACOBIAN = Formula(_log_jacobian, _log_jacobian_by_sigma, _log_jacobian_by_precision)
SOFTPLUS = Formula(_softplus, _softplus_by_z, None, None)
EXPONENTIAL = Formula(_exponential, _exponential_by_z, None)
NORMAL = Formula(_normal, _normal_by_x, _normal_by_mu, _normal_by_sigma)
PRECISION, WEIGHTED, POOLED_PRECISION, POOLED_WEIGHTED = (
    Formula(value, None, None, by_sd, None, summed=summed)
    for summed in (False, True)
    for value, by_sd in (
        (_below_precision, _below_precision_by_sd),
        (_below_weighted, _below_weighted_by_sd),
    )
)
