"""What one study says of its own effect, and of the mean of studies that it is one of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize_scalar
from scipy.optimize.elementwise import find_root
from scipy.special import expit, gammaln, logsumexp

from bayes_her2.bayesian.priors import Prior

_DEPTH = 40.0  # log units below its maximum at which a likelihood is taken to be 0
_FURTHEST = 60.0  # of a log odds ratio, where a likelihood does not come down (a zero cell)
_HERMITE, _HERMITE_WEIGHTS = np.polynomial.hermite_e.hermegauss(41)
_LEVELS = np.linspace(-12.0, 12.0, 73)  # SDs of the log odds around its mode


@dataclass(frozen=True)
class StudyLikelihood:
    """Likelihood of one study's effect.

    Attributes
    ----------
    name
        The study.
    log
        Effect -> log likelihood, up to a constant; vectorised.
    estimate, scale
        Where it is highest and how wide it is (1 / sqrt of the curvature); for one that does not come down on one
        side, a point near its shoulder, and `one_sided` is true.
    """

    name: str
    log: Callable[[np.ndarray], np.ndarray]
    estimate: float
    scale: float
    one_sided: bool = False

    @cached_property
    def _on_grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Grid of effects that covers the likelihood, and its logarithm there."""
        reach = _FURTHEST if self.one_sided else math.sqrt(2 * _DEPTH) * self.scale
        while not self.one_sided and reach < _FURTHEST:
            ends = self.log(np.array([self.estimate - reach, self.estimate + reach]))
            if (ends < self.log(np.array([self.estimate]))[0] - _DEPTH).all():
                break
            reach *= 1.3
        grid = np.arange(self.estimate - reach, self.estimate + reach, self.scale / 6)
        return grid, self.log(grid)

    @cached_property
    def moments(self) -> tuple[float, float]:
        """Mean and SD of the normalised likelihood; one that does not come down has no SD (infinity)."""
        if self.one_sided:
            return self.estimate, math.inf
        grid, log = self._on_grid
        weight = np.exp(log - log.max())
        weight /= weight.sum()
        mean = float(weight @ grid)
        return mean, math.sqrt(float(weight @ (grid - mean) ** 2))

    def of_mean(self, mean: np.ndarray, spread: float) -> np.ndarray:
        """Log likelihood of the mean of studies whose effects are normal around it with SD `spread`.

        The integral of L(theta) N(theta | mean, spread^2) over theta: where the normal is narrower than the
        likelihood by Gauss-Hermite nodes around the mean, else on the likelihood's own grid.
        """
        if spread < 0.5 * self.scale:
            around = self.log(mean[:, None] + spread * _HERMITE)
            return np.asarray(logsumexp(around, b=_HERMITE_WEIGHTS, axis=1))
        grid, log = self._on_grid
        kernel = -0.5 * ((mean[:, None] - grid) / spread) ** 2
        return np.asarray(logsumexp(kernel + log, axis=1) + math.log((grid[1] - grid[0]) / spread))


def normal_likelihood(name: str, estimate: float, se: float) -> StudyLikelihood:
    """Return the normal likelihood of an estimate with its standard error."""

    def log(theta: np.ndarray) -> np.ndarray:
        return np.asarray(-0.5 * ((theta - estimate) / se) ** 2)

    return StudyLikelihood(name, log, estimate, se)


def two_by_two_likelihood(
    name: str, n_exposed: int, events_exposed: int, n_reference: int, events_reference: int
) -> StudyLikelihood:
    """Conditional likelihood of the log odds ratio of a 2 x 2 table, given its margins (noncentral hypergeometric).

    Free of the study's base rate, exact for a zero cell (Stijnen, Hamza & Ozdemir 2010, doi 10.1002/sim.4040).
    """
    total = events_exposed + events_reference
    support = np.arange(max(0, total - n_reference), min(n_exposed, total) + 1, dtype=float)
    log_ways = -(
        gammaln(support + 1)
        + gammaln(n_exposed - support + 1)
        + gammaln(total - support + 1)
        + gammaln(n_reference - total + support + 1)
    )

    def log(theta: np.ndarray) -> np.ndarray:
        flat = np.atleast_1d(np.asarray(theta, dtype=float)).ravel()
        norm = np.array([logsumexp(log_ways + support * value) for value in flat])
        return np.asarray((events_exposed * flat - norm).reshape(np.shape(theta)))

    return _tabulated(name, log, *_woolf(n_exposed, events_exposed, n_reference, events_reference))


def two_arm_likelihood(
    name: str,
    n_exposed: int,
    events_exposed: int,
    n_reference: int,
    events_reference: int,
    *,
    base: Prior,
) -> StudyLikelihood:
    """Likelihood of the log odds ratio of two binomial arms, the log odds midway between them integrated out.

    What a graph does that gives each study such a base of its own, with a normal prior; see `log_two_arms`.
    """
    counts = (n_exposed, events_exposed, n_reference, events_reference)
    return _tabulated(name, lambda theta: log_two_arms(theta, *counts, base=base), *_woolf(*counts))


def log_two_arms(
    theta: np.ndarray,
    n_exposed: int,
    events_exposed: int,
    n_reference: int,
    events_reference: int,
    *,
    base: Prior,
) -> np.ndarray:
    """Log likelihood of a log odds ratio, the log odds midway between the two arms integrated over its prior.

    Binomial(events | n, logit^-1(b + theta / 2)) in the exposed arm and logit^-1(b - theta / 2) in the reference arm,
    without the binomial coefficients; b by the trapezoidal rule around its mode given theta, whose width is its
    curvature.

    Parameters
    ----------
    theta
        Log odds ratios, one dimension.
    n_exposed, events_exposed, n_reference, events_reference
        Patients and events of both arms; a cell may be 0.
    base
        Normal prior of b.
    """
    mu, sigma = base.params["mu"], base.params["sigma"]
    events = events_exposed + events_reference
    half = np.asarray(theta, dtype=float) / 2

    def slope(b: np.ndarray, half: np.ndarray) -> np.ndarray:
        expected = n_exposed * expit(b + half) + n_reference * expit(b - half)
        return np.asarray(events - expected - (b - mu) / sigma**2)

    far = 2 * _FURTHEST + 12 * sigma
    bracket = (np.full_like(half, mu - far), np.full_like(half, mu + far))
    mode = np.asarray(find_root(slope, bracket, args=(half,)).x)
    curvature = np.full_like(half, sigma**-2.0)
    for n, p in ((n_exposed, expit(mode + half)), (n_reference, expit(mode - half))):
        curvature = curvature + n * p * (1 - p)
    width = curvature**-0.5
    b = mode[:, None] + width[:, None] * _LEVELS
    exposed, reference = b + half[:, None], b - half[:, None]
    log = (
        events_exposed * exposed - n_exposed * np.logaddexp(0, exposed)
        + events_reference * reference - n_reference * np.logaddexp(0, reference)
        + base.frozen().logpdf(b)
    )  # fmt: skip
    return np.asarray(logsumexp(log, axis=1) + np.log(width * (_LEVELS[1] - _LEVELS[0])))


def _woolf(
    n_exposed: int, events_exposed: int, n_reference: int, events_reference: int
) -> tuple[float, float]:
    """Log odds ratio and standard error with half a patient added to each cell, where a search begins."""
    cells = 0.5 + np.array(
        [events_exposed, n_exposed - events_exposed, events_reference, n_reference - events_reference]
    )
    return float(np.log(cells) @ [1, -1, -1, 1]), math.sqrt(float((1 / cells).sum()))


def _tabulated(
    name: str, log: Callable[[np.ndarray], np.ndarray], start: float, width: float
) -> StudyLikelihood:
    """Evaluate a likelihood that is dear once, on a grid 8 times as fine as it is wide; beyond it a straight line."""
    reach = 12 * width
    while True:
        left, middle, right = log(np.array([start - reach, start, start + reach]))
        if max(left, right) < middle - _DEPTH - 20 or reach > _FURTHEST:
            break
        reach *= 1.5
    step = min(width / 8, 0.05)
    grid = np.arange(start - reach, start + reach + step, step)
    values = log(grid)
    kept = values > values.max() - _DEPTH - 20
    grid, values = grid[kept], values[kept] - values.max()
    table = CubicSpline(grid, values)
    slopes = table(grid[[0, -1]], 1)

    def tabulated(theta: np.ndarray) -> np.ndarray:
        below, above = np.minimum(theta - grid[0], 0), np.maximum(theta - grid[-1], 0)
        within = table(np.clip(theta, grid[0], grid[-1]))
        return np.asarray(within + slopes[0] * below + slopes[1] * above)

    if max(values[0], values[-1]) > -_DEPTH:
        return StudyLikelihood(name, tabulated, start, 0.5, one_sided=True)
    highest = int(values.argmax())
    around = (grid[highest - 1], grid[highest + 1])
    best = minimize_scalar(
        lambda t: -float(table(t)), bounds=around, method="bounded", options={"xatol": 1e-9}
    )
    return StudyLikelihood(name, tabulated, float(best.x), float(-table(best.x, 2)) ** -0.5)
