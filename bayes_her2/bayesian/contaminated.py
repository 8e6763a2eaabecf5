"""Gamma amounts with outliers: a few of them from a gamma distribution of the same mean and a smaller shape.

    density  (1 - e) gamma(y; m, s) + e gamma(y; m, s / k),    e = 5 %, k = 5

Both parts have mean m, so that the ratio of means per SD of HER2 stays the estimand (a Student-t of log amounts has no
mean at all). An amount that the gamma with shape s finds too large, or too near to 0, costs a regression slope at most
what the wide part charges for it. e and k are fixed: one outlier in 20 amounts, with 2.2 times the coefficient of
variation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytensor.tensor as pt
from scipy import stats
from scipy.special import betainc

from bayes_her2.bayesian.amounts import AmountFamily
from bayes_her2.bayesian.kernel import Kernel
from bayes_her2.bayesian.starting import log_shape
from bayes_her2.bayesian.vector_math import exp, log_of_1_plus

SHARE, WIDER = 0.05, 5.0


def _contaminated(
    y: Any, log_y: Any, counted: Any, eta: Any, shape: Any, normaliser: Any, normaliser_wide: Any
) -> tuple[Any, ...]:
    """Log density where counted, and its derivatives with respect to eta, shape and the normalisers."""
    wide = shape / WIDER
    relative = y * exp(-counted * eta)
    by_shape = log_y - counted * (eta + relative)
    common = normaliser - log_y + shape * by_shape
    rare = normaliser_wide - log_y + wide * by_shape
    # log(exp common + exp rare), and the share of the common part in it.
    difference = common - rare
    size = np.abs(difference)
    u = exp(-size)
    greater = 1.0 * (difference >= 0)
    share = (greater + (1.0 - greater) * u) / (1.0 + u)
    value = counted * (0.5 * (common + rare + size) + log_of_1_plus(u))
    slope = share * shape + (1.0 - share) * wide
    return (
        value,
        counted * slope * (relative - 1.0),
        counted * by_shape * (share + (1.0 - share) / WIDER),
        counted * share,
        counted * (1.0 - share),
    )


_CONTAMINATED = Kernel(_contaminated, wrt=(3, 4, 5, 6))


class ContaminatedGamma(AmountFamily):
    """Shape s of the common part; the rare part has the same mean and shape s / 5."""

    def terms(self, log_shape: Any) -> tuple[Any, ...]:  # noqa: D102
        shape = pt.exp(log_shape)
        wide = shape / WIDER
        log_wide = log_shape - float(np.log(WIDER))
        normaliser = shape * log_shape - pt.gammaln(shape) + float(np.log1p(-SHARE))
        return shape, normaliser, wide * log_wide - pt.gammaln(wide) + float(np.log(SHARE))

    def counted_logp(self, value: Any, log_value: Any, counted: Any, eta: Any, *terms: Any) -> Any:  # noqa: D102
        return _CONTAMINATED.value(value, log_value, counted, eta, *terms)

    def frozen(self, mean: Any, shape: Any) -> Any:  # noqa: D102
        return _Mixture(np.asarray(mean, dtype=float), np.asarray(shape, dtype=float))

    def greater(self, difference: np.ndarray, shape: np.ndarray) -> np.ndarray:  # noqa: D102
        ratio = np.exp(difference)
        total = np.zeros(np.broadcast_shapes(np.shape(difference), np.shape(shape)))
        parts = ((1.0 - SHARE, shape), (SHARE, shape / WIDER))
        for share_x, a in parts:
            for share_y, b in parts:
                # X a / m_x and Y b / m_y are standard gamma: their share of the sum is beta(b, a).
                odds = ratio * b / a
                total = total + share_x * share_y * betainc(b, a, odds / (1.0 + odds))
        return np.asarray(total)

    def cheap_log_shape(self, amounts: np.ndarray, fitted: np.ndarray) -> tuple[float, float]:  # noqa: D102
        return log_shape(amounts, fitted)


class _Mixture:
    """The two gamma distributions in numbers, with the methods of scipy that are used."""

    def __init__(self, mean: np.ndarray, shape: np.ndarray) -> None:
        self.common = stats.gamma(shape, scale=mean / shape)
        self.rare = stats.gamma(shape / WIDER, scale=mean * WIDER / shape)

    def logpdf(self, y: Any) -> Any:
        return np.logaddexp(np.log1p(-SHARE) + self.common.logpdf(y), np.log(SHARE) + self.rare.logpdf(y))

    def cdf(self, y: Any) -> Any:
        return (1.0 - SHARE) * self.common.cdf(y) + SHARE * self.rare.cdf(y)

    def sf(self, y: Any) -> Any:
        return (1.0 - SHARE) * self.common.sf(y) + SHARE * self.rare.sf(y)

    def std(self) -> Any:
        return np.sqrt((1.0 - SHARE) * self.common.var() + SHARE * self.rare.var())

    def rvs(self, size: Any, random_state: np.random.Generator) -> Any:
        common = self.common.rvs(size=size, random_state=random_state)
        rare = self.rare.rvs(size=size, random_state=random_state)
        return np.where(random_state.random(size) < SHARE, rare, common)


CONTAMINATED_GAMMA = ContaminatedGamma()
