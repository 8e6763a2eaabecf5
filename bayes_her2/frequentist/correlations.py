"""Intervals and tests for Spearman correlations, and for the difference of two: independent, or sharing the tumours."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

_LARGEST = 1.0 - 1e-12  # beyond it Fisher's z has no use
_CHUNK = 4_000_000  # numbers ranked at once by the bootstrap


class Limits(NamedTuple):
    """Correlation (or difference of two) with its interval."""

    point: float
    lower: float
    upper: float


def fisher_variance(rho: float, n: int) -> float:
    """Variance of Fisher's z of Spearman's rho, (1 + rho^2 / 2) / (n - 3).

    Bonett & Wright 2000, doi 10.1007/BF02294183.
    """
    return (1.0 + rho**2 / 2.0) / (n - 3.0)


def bonett_wright(rho: float, n: int, *, interval: float = 0.95) -> Limits:
    """Spearman's rho with the interval of Bonett and Wright."""
    reach = float(stats.norm.isf((1.0 - interval) / 2.0)) * math.sqrt(fisher_variance(rho, n))
    return Limits(rho, math.tanh(math.atanh(rho) - reach), math.tanh(math.atanh(rho) + reach))


def independent_difference(first: Limits, second: Limits) -> Limits:
    """`first` minus `second`, from other tumours, with the interval of Zou (2007), doi 10.1037/1082-989X.12.4.399."""
    return _zou(first, second, 0.0)


def independent_p_value(rho: tuple[float, float], n: tuple[int, int]) -> float:
    """Two-sided P value of equal correlations in two sets of tumours, by the difference of Fisher z."""
    variance = fisher_variance(rho[0], n[0]) + fisher_variance(rho[1], n[1])
    return float(2.0 * stats.norm.sf(abs(math.atanh(rho[0]) - math.atanh(rho[1])) / math.sqrt(variance)))


def overlapping_difference(
    r_jk: float, r_jh: float, r_kh: float, n: int, *, interval: float = 0.95
) -> Limits:
    """r_jk minus r_jh in the same tumours, with Zou's interval on the limits of Bonett and Wright.

    Parameters
    ----------
    r_jk, r_jh
        Correlations of outcome j with measures k and h.
    r_kh
        Correlation of the two measures.
    n
        Tumours.
    interval
        Probability of the interval.

    References
    ----------
    Zou 2007, doi 10.1037/1082-989X.12.4.399.
    """
    squares = r_jk**2 + r_jh**2 + r_kh**2
    correlation = ((r_kh - r_jk * r_jh / 2.0) * (1.0 - squares) + r_kh**3) / (
        (1.0 - r_jk**2) * (1.0 - r_jh**2)
    )
    first, second = bonett_wright(r_jk, n, interval=interval), bonett_wright(r_jh, n, interval=interval)
    return _zou(first, second, correlation)


def _zou(first: Limits, second: Limits, correlation: float) -> Limits:
    def reach(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a + b * b - 2.0 * correlation * a * b))

    point = first.point - second.point
    lower = point - reach(first.point - first.lower, second.upper - second.point)
    return Limits(point, lower, point + reach(first.upper - first.point, second.point - second.lower))


def steiger_p_value(r_jk: float, r_jh: float, r_kh: float, n: int, *, ranks: bool = True) -> float:
    """Two-sided P value of r_jk = r_jh in the same tumours.

    Steiger 1980, doi 10.1037/0033-2909.87.2.245 (equation 14): the z of Dunn and Clark, with the covariance at the
    mean m of the two correlations. Of ranks, Fisher's z has the variance of Bonett and Wright: 1 + m^2 / 2 times that
    of Pearson's correlation.
    """
    m = (r_jk + r_jh) / 2.0
    factor = 1.0 + m**2 / 2.0 if ranks else 1.0
    covariance = (r_kh * (1.0 - 2.0 * m**2) - m**2 * (1.0 - 2.0 * m**2 - r_kh**2) / 2.0) / (1.0 - m**2) ** 2
    z = (math.atanh(r_jk) - math.atanh(r_jh)) * math.sqrt((n - 3.0) / ((2.0 - 2.0 * covariance) * factor))
    return float(2.0 * stats.norm.sf(abs(z)))


def meng_p_value(r_jk: float, r_jh: float, r_kh: float, n: int, *, ranks: bool = True) -> float:
    """Two-sided P value of r_jk = r_jh in the same tumours.

    Meng, Rosenthal & Rubin 1992, doi 10.1037/0033-2909.111.1.172; of ranks with the factor of Bonett and Wright at the
    mean of the squares, as in `steiger_p_value`.
    """
    mean_square = (r_jk**2 + r_jh**2) / 2.0
    factor = 1.0 + mean_square / 2.0 if ranks else 1.0
    f = min(1.0, (1.0 - r_kh) / (2.0 * (1.0 - mean_square)))
    variance = 2.0 * (1.0 - r_kh) * (1.0 - f * mean_square) / (1.0 - mean_square) / (n - 3.0) * factor
    return float(2.0 * stats.norm.sf(abs(math.atanh(r_jk) - math.atanh(r_jh)) / math.sqrt(variance)))


def bootstrap_limits(
    x: np.ndarray, y: np.ndarray, rng: np.random.Generator, *, resamples: int = 1_000, interval: float = 0.95
) -> Limits:
    """Spearman's rho with a percentile bootstrap interval: pairs drawn with replacement, ranked anew.

    Parameters
    ----------
    x, y
        Paired values without missing ones.
    rng
        Of the resamples.
    resamples
        How many.
    interval
        Probability of the interval.
    """
    n = len(x)
    by_x, by_y = _Midranks(x), _Midranks(y)
    found = []
    step = max(1, _CHUNK // n)
    for start in range(0, resamples, step):
        times = rng.multinomial(n, np.full(n, 1.0 / n), size=min(step, resamples - start)).astype(float)
        a, b = by_x.centred(times), by_y.centred(times)
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = np.sqrt((times * a * a).sum(axis=1) * (times * b * b).sum(axis=1))
            found.append((times * a * b).sum(axis=1) / spread)
    tail = (1.0 - interval) / 2.0
    lower, upper = np.nanquantile(np.concatenate(found), [tail, 1.0 - tail])
    return Limits(float(stats.spearmanr(x, y).statistic), float(lower), float(upper))


class _Midranks:
    """Midranks of values that are drawn several times, or not at all, without sorting again."""

    def __init__(self, values: np.ndarray) -> None:
        _, self._place, sizes = np.unique(values, return_inverse=True, return_counts=True)
        self._order = np.argsort(self._place, kind="stable")
        self._starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])

    def centred(self, times: np.ndarray) -> np.ndarray:
        """Midrank minus its mean, resample x tumour, given how often each tumour is drawn."""
        tied = np.add.reduceat(times[:, self._order], self._starts, axis=1)
        midrank = np.cumsum(tied, axis=1) - tied + (tied + 1.0) / 2.0
        return np.asarray(midrank[:, self._place] - (times.shape[1] + 1.0) / 2.0)


def usable(rho: float) -> bool:
    """Whether Fisher's z of a correlation is finite."""
    return abs(rho) < _LARGEST
