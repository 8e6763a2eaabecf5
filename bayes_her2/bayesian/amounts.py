"""Distributions of the amount where present: gamma, Weibull, lognormal, beta.

All have a mean, which the linear predictor eta gives through a link, and one shape, so that the ratio of means per SD
of HER2 is the same estimand in each. With m the mean and s the shape,

    gamma       shape s:                        density  s^s y^(s-1) exp(-s y/m) / (m^s Gamma(s))
    Weibull     shape s, scale m/Gamma(1+1/s):  density  s/y (y/scale)^s exp(-(y/scale)^s)
    lognormal   SD 1/s of log y:                density  s / (y sqrt(2 pi)) exp(-(s log(y/m) + 1/(2s))^2 / 2)
    beta        precision s:                    density  y^(ms-1) (1-y)^((1-m)s-1) / B(ms, (1-m)s),  0 < y < 1

m = exp(eta) in the first three, m = 1/(1 + exp(-eta)) for beta, whose variance is m (1 - m) / (1 + s). All are
densities with respect to length (Lebesgue measure), in the units of y; none has mass at 0, so that a model of presence
and amount with a beta amount is the zero-inflated beta distribution of the literature (Ospina & Ferrari 2010, doi
10.1007/s00362-008-0125-4): P(y = 0) = 1 - p, density p f(y), mean p m.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
import pytensor.tensor as pt
from scipy import stats
from scipy.special import betainc, expit, gamma, ndtr, polygamma

from bayes_her2.bayesian.coordinates import UNINFORMED_VARIANCE
from bayes_her2.bayesian.kernel import Kernel
from bayes_her2.bayesian.starting import log_shape
from bayes_her2.bayesian.vector_math import exp, log, log_gamma

_HALF_LOG_2PI = 0.5 * float(np.log(2.0 * np.pi))


class AmountFamily(ABC):
    """A distribution of positive amounts with mean m and shape s."""

    link: ClassVar[Literal["log", "logit"]] = "log"
    """Of the mean. With the log link a slope is the log ratio of means; otherwise ratios are averaged over tumours."""

    def mean(self, eta: Any) -> Any:
        """Mean at a linear predictor, in numbers."""
        return np.exp(eta)

    @abstractmethod
    def terms(self, log_shape: Any) -> tuple[Any, ...]:
        """Return what the graph of the density needs of the log shape, the shape first (cohort x cell type)."""

    @abstractmethod
    def counted_logp(self, value: Any, log_value: Any, counted: Any, eta: Any, *terms: Any) -> Any:
        """Log density as a graph, elementwise, where `counted` is 1; 0 where it is 0."""

    @abstractmethod
    def frozen(self, mean: Any, shape: Any) -> Any:
        """Return the distribution of scipy; arguments broadcast."""

    def greater(self, difference: np.ndarray, shape: np.ndarray) -> np.ndarray:
        """P(X > Y) of two independent amounts of one shape, whose linear predictors differ by this much.

        Only families with the log link have it: there it depends on the difference alone.
        """
        raise NotImplementedError

    @abstractmethod
    def cheap_log_shape(self, amounts: np.ndarray, fitted: np.ndarray) -> tuple[float, float]:
        """Estimate of the log shape given fitted means, and its variance: coordinates, nothing else."""

    def random(self, rng: np.random.Generator, eta: np.ndarray, shape: np.ndarray, size: Any) -> np.ndarray:
        """Random amounts; of the parameters' shape where `size` is None."""
        size = np.broadcast_shapes(np.shape(eta), np.shape(shape)) if size is None else size
        return np.asarray(self.frozen(self.mean(eta), shape).rvs(size=size, random_state=rng))

    def log_density(self, y: np.ndarray, eta: np.ndarray, shape: np.ndarray) -> np.ndarray:
        """Log density at amounts y > 0, as numbers; arguments broadcast."""
        return np.asarray(self.frozen(self.mean(eta), shape).logpdf(y))

    def above(self, cutoff: np.ndarray, eta: np.ndarray, shape: np.ndarray) -> np.ndarray:
        """P(Y > cutoff); arguments broadcast."""
        return np.asarray(self.frozen(self.mean(eta), shape).sf(cutoff))

    def variation(self, shape: float) -> float:
        """Coefficient of variation; of a small mean, where it depends on the mean."""
        return float(self.frozen(1.0, shape).std())


def _gamma(y: Any, log_y: Any, counted: Any, eta: Any, shape: Any, normaliser: Any) -> tuple[Any, ...]:
    """Log density where counted, and its derivatives with respect to eta, shape and normaliser."""
    relative = y * exp(-eta)
    by_shape = log_y - eta - relative
    return (
        counted * (normaliser - log_y + shape * by_shape),
        counted * shape * (relative - 1.0),
        counted * by_shape,
        counted,
    )


def _weibull(
    log_y: Any, counted: Any, eta: Any, shape: Any, log_shape: Any, log_unit_mean: Any
) -> tuple[Any, ...]:
    """Log density where counted, and its derivatives with respect to eta, shape, log shape and log mean of the unit."""
    # On rows that are not counted the exponent would overflow, and 0 times infinity is not a number.
    log_relative = counted * (log_y - eta + log_unit_mean)
    power = shape * log_relative
    excess = exp(power)
    by_power = counted * (1.0 - excess)
    return (
        counted * (log_shape - log_y + power - excess),
        -shape * by_power,
        log_relative * by_power,
        counted,
        shape * by_power,
    )


def _beta(y: Any, log_y: Any, counted: Any, eta: Any, shape: Any, normaliser: Any) -> tuple[Any, ...]:
    """Log density where counted, and its derivatives with respect to eta, shape and normaliser."""
    # On rows that are not counted eta may be anything and y 0 or 1: all numbers must stay finite.
    u = exp(-np.abs(eta))
    near, far = 1.0 / (1.0 + u), u / (1.0 + u)
    above = 1.0 * (eta >= 0)
    mean, rest = above * near + (1.0 - above) * far, above * far + (1.0 - above) * near
    first, second = shape * mean + _LEAST_ARGUMENT, shape * rest + _LEAST_ARGUMENT
    log_gamma_first, slope_first = log_gamma(first)
    log_gamma_second, slope_second = log_gamma(second)
    log_rest = log(1.0 - counted * y)
    by_first, by_second = counted * (log_y - slope_first), counted * (log_rest - slope_second)
    return (
        counted
        * (
            normaliser
            - log_gamma_first
            - log_gamma_second
            + (first - 1.0) * log_y
            + (second - 1.0) * log_rest
        ),
        shape * mean * rest * (by_first - by_second),
        mean * by_first + rest * by_second,
        counted,
    )


_LEAST_ARGUMENT = 1e-290
"""Added to the arguments of beta: where one is smaller, the density is that of this one."""

_GAMMA = Kernel(_gamma, wrt=(3, 4, 5))
_WEIBULL = Kernel(_weibull, wrt=(2, 3, 4, 5))
_BETA = Kernel(_beta, wrt=(3, 4, 5))


class Gamma(AmountFamily):
    """Shape s: the coefficient of variation is s^(-1/2)."""

    def terms(self, log_shape: Any) -> tuple[Any, ...]:  # noqa: D102
        shape = pt.exp(log_shape)
        return shape, shape * log_shape - pt.gammaln(shape)

    def counted_logp(self, value: Any, log_value: Any, counted: Any, eta: Any, *terms: Any) -> Any:  # noqa: D102
        return _GAMMA.value(value, log_value, counted, eta, *terms)

    def frozen(self, mean: Any, shape: Any) -> Any:  # noqa: D102
        return stats.gamma(shape, scale=mean / shape)

    def greater(self, difference: np.ndarray, shape: np.ndarray) -> np.ndarray:  # noqa: D102
        return np.asarray(betainc(shape, shape, expit(difference)))

    def cheap_log_shape(self, amounts: np.ndarray, fitted: np.ndarray) -> tuple[float, float]:  # noqa: D102
        return log_shape(amounts, fitted)


class Weibull(AmountFamily):
    """Shape s: 1 is the exponential distribution, larger is less spread."""

    def terms(self, log_shape: Any) -> tuple[Any, ...]:  # noqa: D102
        shape = pt.exp(log_shape)
        return shape, log_shape, pt.gammaln(1.0 + 1.0 / shape)

    def counted_logp(self, value: Any, log_value: Any, counted: Any, eta: Any, *terms: Any) -> Any:  # noqa: D102
        return _WEIBULL.value(log_value, counted, eta, *terms)

    def frozen(self, mean: Any, shape: Any) -> Any:  # noqa: D102
        return stats.weibull_min(shape, scale=mean / gamma(1.0 + 1.0 / shape))

    def greater(self, difference: np.ndarray, shape: np.ndarray) -> np.ndarray:  # noqa: D102
        return np.asarray(expit(shape * difference))

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

    def counted_logp(self, value: Any, log_value: Any, counted: Any, eta: Any, *terms: Any) -> Any:  # noqa: D102
        shape, log_shape, half_sd = terms
        squared = (shape * (log_value - eta) + half_sd) ** 2
        return counted * (log_shape - log_value - _HALF_LOG_2PI - 0.5 * squared)

    def frozen(self, mean: Any, shape: Any) -> Any:  # noqa: D102
        sd = 1.0 / shape
        return stats.lognorm(sd, scale=mean * np.exp(-0.5 * sd**2))

    def greater(self, difference: np.ndarray, shape: np.ndarray) -> np.ndarray:  # noqa: D102
        return np.asarray(ndtr(shape * difference / np.sqrt(2.0)))

    def cheap_log_shape(self, amounts: np.ndarray, fitted: np.ndarray) -> tuple[float, float]:  # noqa: D102
        spread = _log_spread(amounts, fitted)
        if spread is None:
            return 0.0, UNINFORMED_VARIANCE
        return float(-np.log(spread)), 0.5 / len(amounts)


class Beta(AmountFamily):
    """Shape s is the precision: the variance of a share with mean m is m (1 - m) / (1 + s)."""

    link = "logit"

    def mean(self, eta: Any) -> Any:  # noqa: D102
        return expit(eta)

    def terms(self, log_shape: Any) -> tuple[Any, ...]:  # noqa: D102
        shape = pt.exp(log_shape)
        return shape, pt.gammaln(shape)

    def counted_logp(self, value: Any, log_value: Any, counted: Any, eta: Any, *terms: Any) -> Any:  # noqa: D102
        return _BETA.value(value, log_value, counted, eta, *terms)

    def frozen(self, mean: Any, shape: Any) -> Any:  # noqa: D102
        return stats.beta(mean * shape, (1.0 - mean) * shape)

    def above(self, cutoff: np.ndarray, eta: np.ndarray, shape: np.ndarray) -> np.ndarray:
        """P(Y > cutoff), as the probability of 1 - Y below: what scipy has for the tail takes twelve times as long."""
        mean = self.mean(eta)
        return np.asarray(betainc((1.0 - mean) * shape, mean * shape, 1.0 - cutoff))

    def random(self, rng: np.random.Generator, eta: np.ndarray, shape: np.ndarray, size: Any) -> np.ndarray:
        """Random shares; one that rounds to 0 or 1, where the density has no value, is the number next to it."""
        drawn = super().random(rng, eta, shape, size)
        return np.asarray(np.clip(drawn, np.finfo(float).tiny, np.nextafter(1.0, 0.0)))

    def variation(self, shape: float) -> float:  # noqa: D102
        small = 0.05  # a typical share
        return float(np.sqrt((1.0 - small) / (small * (1.0 + shape))))

    def cheap_log_shape(self, amounts: np.ndarray, fitted: np.ndarray) -> tuple[float, float]:  # noqa: D102
        # By moments: the mean of (y - m)^2 / (m (1 - m)) is 1 / (1 + s).
        inside = np.clip(fitted, 1e-6, 1.0 - 1e-6)
        if len(amounts) < 3:
            return 0.0, UNINFORMED_VARIANCE
        ratio = float(np.mean((amounts - inside) ** 2 / (inside * (1.0 - inside))))
        if not 1e-6 < ratio < 0.9:
            return 0.0, UNINFORMED_VARIANCE
        shape = 1.0 / ratio - 1.0
        a, b = inside * shape, (1.0 - inside) * shape
        # Fisher information of log s, summed over tumours.
        trigamma = inside**2 * polygamma(1, a) + (1.0 - inside) ** 2 * polygamma(1, b) - polygamma(1, shape)
        return float(np.log(shape)), float(1.0 / (shape**2 * trigamma).sum())


def _log_spread(amounts: np.ndarray, fitted: np.ndarray) -> float | None:
    """SD of log amounts around log fitted means; None where it says nothing."""
    if len(amounts) < 3:
        return None
    spread = float(np.std(np.log(amounts / fitted), ddof=1))
    return spread if 1e-2 < spread < 20 else None


GAMMA, WEIBULL, LOGNORMAL, BETA = Gamma(), Weibull(), LogNormal(), Beta()
