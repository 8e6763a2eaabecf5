"""Distributions of the amount where present: gamma, Weibull, lognormal.

All have a mean, which the linear predictor gives on the log scale, and one shape, so that the ratio of means per SD of
HER2 is the same estimand in each. With m the mean and s the shape,

    gamma       shape s:                        density  s^s y^(s-1) exp(-s y/m) / (m^s Gamma(s))
    Weibull     shape s, scale m/Gamma(1+1/s):  density  s/y (y/scale)^s exp(-(y/scale)^s)
    lognormal   SD 1/s of log y:                density  s / (y sqrt(2 pi)) exp(-(s log(y/m) + 1/(2s))^2 / 2)

All are densities with respect to length (Lebesgue measure) on y > 0, in the units of y.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import pytensor.tensor as pt
from scipy import stats
from scipy.special import betainc, expit, gamma, ndtr

from bayes_her2.bayesian.coordinates import UNINFORMED_VARIANCE
from bayes_her2.bayesian.starting import log_shape

_HALF_LOG_2PI = 0.5 * float(np.log(2.0 * np.pi))


class AmountFamily(ABC):
    """A distribution of positive amounts with mean m and shape s."""

    @abstractmethod
    def terms(self, log_shape: Any) -> tuple[Any, ...]:
        """Return what the graph of the density needs of the log shape, the shape first (cohort x cell type)."""

    @abstractmethod
    def logp(self, value: Any, log_value: Any, counted: Any, log_mean: Any, *terms: Any) -> Any:
        """Log density as a graph, elementwise; finite, whatever it is, where `counted` is 0."""

    @abstractmethod
    def frozen(self, mean: Any, shape: Any) -> Any:
        """Return the distribution of scipy; arguments broadcast."""

    @abstractmethod
    def greater(self, log_ratio: np.ndarray, shape: np.ndarray) -> np.ndarray:
        """P(X > Y) of two independent amounts of one shape whose means have this log ratio."""

    @abstractmethod
    def cheap_log_shape(self, amounts: np.ndarray, fitted: np.ndarray) -> tuple[float, float]:
        """Estimate of the log shape given fitted means, and its variance: coordinates, nothing else."""

    def random(
        self, rng: np.random.Generator, log_mean: np.ndarray, shape: np.ndarray, size: Any
    ) -> np.ndarray:
        """Random amounts; of the parameters' shape where `size` is None."""
        size = np.broadcast_shapes(np.shape(log_mean), np.shape(shape)) if size is None else size
        return np.asarray(self.frozen(np.exp(log_mean), shape).rvs(size=size, random_state=rng))

    def log_density(self, y: np.ndarray, log_mean: np.ndarray, shape: np.ndarray) -> np.ndarray:
        """Log density at amounts y > 0, as numbers; arguments broadcast."""
        return np.asarray(self.frozen(np.exp(log_mean), shape).logpdf(y))

    def above(self, cutoff: np.ndarray, log_mean: np.ndarray, shape: np.ndarray) -> np.ndarray:
        """P(Y > cutoff); arguments broadcast."""
        return np.asarray(self.frozen(np.exp(log_mean), shape).sf(cutoff))

    def variation(self, shape: float) -> float:
        """Coefficient of variation."""
        return float(self.frozen(1.0, shape).std())


class Gamma(AmountFamily):
    """Shape s: the coefficient of variation is s^(-1/2)."""

    def terms(self, log_shape: Any) -> tuple[Any, ...]:  # noqa: D102
        shape = pt.exp(log_shape)
        return shape, shape * log_shape - pt.gammaln(shape)

    def logp(self, value: Any, log_value: Any, counted: Any, log_mean: Any, *terms: Any) -> Any:  # noqa: D102
        shape, normaliser = terms
        return normaliser + (shape - 1.0) * log_value - shape * (log_mean + value * pt.exp(-log_mean))

    def frozen(self, mean: Any, shape: Any) -> Any:  # noqa: D102
        return stats.gamma(shape, scale=mean / shape)

    def greater(self, log_ratio: np.ndarray, shape: np.ndarray) -> np.ndarray:  # noqa: D102
        return np.asarray(betainc(shape, shape, expit(log_ratio)))

    def cheap_log_shape(self, amounts: np.ndarray, fitted: np.ndarray) -> tuple[float, float]:  # noqa: D102
        return log_shape(amounts, fitted)


class Weibull(AmountFamily):
    """Shape s: 1 is the exponential distribution, larger is less spread."""

    def terms(self, log_shape: Any) -> tuple[Any, ...]:  # noqa: D102
        shape = pt.exp(log_shape)
        return shape, log_shape, pt.gammaln(1.0 + 1.0 / shape)

    def logp(self, value: Any, log_value: Any, counted: Any, log_mean: Any, *terms: Any) -> Any:  # noqa: D102
        shape, log_shape, log_unit_mean = terms
        # On rows that are not counted the exponent would overflow, and 0 times infinity is not a number.
        power = counted * shape * (log_value - log_mean + log_unit_mean)
        return log_shape - log_value + power - pt.exp(power)

    def frozen(self, mean: Any, shape: Any) -> Any:  # noqa: D102
        return stats.weibull_min(shape, scale=mean / gamma(1.0 + 1.0 / shape))

    def greater(self, log_ratio: np.ndarray, shape: np.ndarray) -> np.ndarray:  # noqa: D102
        return np.asarray(expit(shape * log_ratio))

    def cheap_log_shape(self, amounts: np.ndarray, fitted: np.ndarray) -> tuple[float, float]:  # noqa: D102
        # The log of a Weibull amount has SD pi / (sqrt 6 shape).
        spread = _log_spread(amounts, fitted)
        if spread is None:
            return 0.0, UNINFORMED_VARIANCE
        return float(np.log(np.pi / (np.sqrt(6.0) * spread))), 1.1 / len(amounts)


class LogNormal(AmountFamily):
    """Shape s: log amounts have SD 1/s."""

    def terms(self, log_shape: Any) -> tuple[Any, ...]:  # noqa: D102
        return pt.exp(log_shape), log_shape, 0.5 * pt.exp(-log_shape)

    def logp(self, value: Any, log_value: Any, counted: Any, log_mean: Any, *terms: Any) -> Any:  # noqa: D102
        shape, log_shape, half_sd = terms
        return log_shape - log_value - _HALF_LOG_2PI - 0.5 * (shape * (log_value - log_mean) + half_sd) ** 2

    def frozen(self, mean: Any, shape: Any) -> Any:  # noqa: D102
        sd = 1.0 / shape
        return stats.lognorm(sd, scale=mean * np.exp(-0.5 * sd**2))

    def greater(self, log_ratio: np.ndarray, shape: np.ndarray) -> np.ndarray:  # noqa: D102
        return np.asarray(ndtr(shape * log_ratio / np.sqrt(2.0)))

    def cheap_log_shape(self, amounts: np.ndarray, fitted: np.ndarray) -> tuple[float, float]:  # noqa: D102
        spread = _log_spread(amounts, fitted)
        if spread is None:
            return 0.0, UNINFORMED_VARIANCE
        return float(-np.log(spread)), 0.5 / len(amounts)


def _log_spread(amounts: np.ndarray, fitted: np.ndarray) -> float | None:
    """SD of log amounts around log fitted means; None where it says nothing."""
    if len(amounts) < 3:
        return None
    spread = float(np.std(np.log(amounts / fitted), ddof=1))
    return spread if 1e-2 < spread < 20 else None


GAMMA, WEIBULL, LOGNORMAL = Gamma(), Weibull(), LogNormal()
