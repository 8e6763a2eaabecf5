"""Posterior of the mean effects of studies, by quadrature over the SD between them.

Study s has the effect theta_s ~ Normal(x_s . beta, tau^2), with normal priors of the coefficients beta: the mean, or
the point midway between two strata and their difference. Given tau, what the studies of a stratum say of their mean is
a product of one-dimensional integrals (`StudyLikelihood.of_mean`), and strata meet in the prior alone. So beta is
integrated on a grid at each tau, and the prior of tau enters last, as weights: another one costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq
from scipy.special import logsumexp

from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.study_likelihood import StudyLikelihood

_UNIT = np.linspace(-10.0, 10.0, 101)  # SDs of a quantity around its centre
_ACROSS = np.linspace(-10.0, 10.0, 51)  # what is integrated out needs no spline, and a coarser grid
_TABLE = np.linspace(-15.0, 15.0, 121)  # reaches the corners of both
_STEP = 0.25  # of log tau
_SMALLEST = 0.003  # of the narrowest study or prior of tau: below it every tau is alike


@dataclass(frozen=True)
class Stratum:
    """Studies with the same mean.

    Attributes
    ----------
    row
        Coefficients -> mean.
    studies
        At least one.
    """

    row: tuple[float, ...]
    studies: tuple[StudyLikelihood, ...]


@dataclass(frozen=True)
class MeanEffects:
    """Likelihood of the coefficients, at each of some SDs between studies.

    Attributes
    ----------
    strata
        One, or two.
    priors
        Normal prior of each coefficient; as many as strata.
    spread_priors
        Half-normal priors of the SD between studies under which the posterior will be asked for.
    """

    strata: tuple[Stratum, ...]
    priors: tuple[Prior, ...]
    spread_priors: tuple[Prior, ...]

    @cached_property
    def spread(self) -> np.ndarray:
        """SDs between studies, evenly spaced on the log scale, where the trapezoidal rule converges geometrically."""
        sigmas = [prior.params["sigma"] for prior in self.spread_priors]
        widths = [study.scale for stratum in self.strata for study in stratum.studies]
        low, high = math.log(_SMALLEST * min(*sigmas, *widths)), math.log(8 * max(sigmas))
        return np.exp(np.arange(low, high + _STEP, _STEP))

    def of(self, row: Sequence[float]) -> GivenSpread:
        """Distribution of a combination of the coefficients, given each SD between studies."""
        wanted = np.array(row, dtype=float)
        two = len(wanted) == 2
        across = _ACROSS if two else np.zeros(1)
        mu, sigma = (
            np.array([prior.params[name] for prior in self.priors])[:, None, None] for name in ("mu", "sigma")
        )
        centres, sds, log_density = [], [], []
        for centre, covariance, of_means in self._given:
            sd = math.sqrt(wanted @ covariance @ wanted)
            area = math.sqrt(np.linalg.det(covariance))
            # Coefficients are walked along the quantity, and then in the direction in which it does not change.
            along = covariance @ wanted / sd
            aside = area / sd * np.array([-wanted[1], wanted[0]]) if two else np.zeros(1)
            walked, shifted = np.multiply.outer(along, _UNIT), np.multiply.outer(aside, across)
            beta = centre[:, None, None] + walked[:, :, None] + shifted[:, None, :]
            log = -0.5 * (((beta - mu) / sigma) ** 2).sum(axis=0)
            for stratum, of_mean in zip(self.strata, of_means, strict=True):
                log = log + of_mean(np.tensordot(stratum.row, beta, axes=1))
            centres.append(float(wanted @ centre))
            sds.append(sd)
            log_density.append(logsumexp(log, axis=1) + math.log(area))
        return GivenSpread(self.spread, np.array(centres), np.array(sds), np.array(log_density))

    @cached_property
    def _given(self) -> list[tuple[np.ndarray, np.ndarray, list[Any]]]:
        """For each SD: mean and covariance of a normal near the posterior, and the log likelihood of each mean."""
        found = []
        for tau in self.spread:
            centre, covariance = self._near(tau)
            splines = []
            for stratum in self.strata:
                row = np.array(stratum.row)
                at = row @ centre + math.sqrt(row @ covariance @ row) * _TABLE
                each = np.array([study.of_mean(at, tau) for study in stratum.studies])
                splines.append(CubicSpline(at, each.sum(axis=0)))
            found.append((centre, covariance, splines))
        return found

    def _near(self, tau: float) -> tuple[np.ndarray, np.ndarray]:
        """Posterior if every likelihood were normal: it places the grid, and nothing else."""
        precision = np.diag([prior.params["sigma"] ** -2.0 for prior in self.priors])
        weighted = np.array([prior.params["mu"] / prior.params["sigma"] ** 2 for prior in self.priors])
        for stratum in self.strata:
            row = np.array(stratum.row)
            for mean, sd in (study.moments for study in stratum.studies):
                weight = 1.0 / (sd**2 + tau**2)
                precision = precision + weight * np.outer(row, row)
                weighted = weighted + weight * mean * row
        covariance = np.linalg.inv(precision)
        return covariance @ weighted, covariance


@dataclass(frozen=True)
class GivenSpread:
    """A quantity, at each of some SDs between studies.

    Attributes
    ----------
    spread
        The SDs.
    centre, sd
        Of the grid at each of them: ``centre + sd * u`` for u from -10 to 10.
    log_density
        Log joint density of u and the data, up to a constant; SDs in rows, u in columns.
    """

    spread: np.ndarray
    centre: np.ndarray
    sd: np.ndarray
    log_density: np.ndarray

    def new_study(self) -> GivenSpread:
        """Return the effect of a study not yet made, where this is the mean of its kind.

        The convolution with Normal(0, spread^2). With a and b the shares of the grid's SD and of the spread in the SD
        of their sum, its density at v is the integral of density(a v + b z) phi(b v - a z) over z: as fine where the
        spread is small as where it is large.
        """
        total = np.hypot(self.sd, self.spread)
        a, b = ((part / total)[:, None, None] for part in (self.sd, self.spread))
        v, z = _UNIT[:, None], _ACROSS
        old = a * v + b * z
        log = _each(CubicSpline(_UNIT, self.log_density, axis=1), old) - 0.5 * (b * v - a * z) ** 2
        log = np.where(np.abs(old) > _UNIT[-1], -np.inf, log)
        return GivenSpread(self.spread, self.centre, total, logsumexp(log, axis=2))

    def under(self, prior: Prior) -> Marginal:
        """Average over the SD between studies, with this prior of it."""
        log = logsumexp(self.log_density, axis=1) + prior.frozen().logpdf(self.spread) + np.log(self.spread)
        # Below the smallest SD everything is alike: the rest of the sum is a geometric series.
        log[0] += math.log(1.0 + 1.0 / math.expm1(_STEP))
        weight = np.exp(log - log.max())
        density = np.exp(self.log_density - self.log_density.max(axis=1, keepdims=True))
        density /= density.sum(axis=1, keepdims=True) * (_UNIT[1] - _UNIT[0])
        return Marginal(self.spread, weight / weight.sum(), self.centre, self.sd, density)


@dataclass(frozen=True)
class Marginal:
    """Posterior of a quantity, a mixture over the SD between studies.

    Attributes
    ----------
    spread, weight
        SDs between studies, and their posterior probabilities.
    centre, sd, density
        As in `GivenSpread`; the density of u, normalised.
    """

    spread: np.ndarray
    weight: np.ndarray
    centre: np.ndarray
    sd: np.ndarray
    density: np.ndarray

    @cached_property
    def _spline(self) -> CubicSpline:
        return CubicSpline(_UNIT, self.density, axis=1)

    @cached_property
    def _integral(self) -> Any:
        return self._spline.antiderivative()

    def pdf(self, at: np.ndarray) -> np.ndarray:
        """Density."""
        u = (at - self.centre[:, None]) / self.sd[:, None]
        density = np.where(np.abs(u) > _UNIT[-1], 0.0, _each(self._spline, u))
        return np.asarray((self.weight / self.sd) @ density.clip(0.0))

    def cdf(self, at: np.ndarray) -> np.ndarray:
        """Distribution function."""
        u = (at - self.centre[:, None]) / self.sd[:, None]
        return np.asarray(self.weight @ _each(self._integral, np.clip(u, _UNIT[0], _UNIT[-1])))

    def quantile(self, probability: float) -> float:
        """Where the distribution function is `probability`."""
        low = float((self.centre + _UNIT[0] * self.sd).min())
        high = float((self.centre + _UNIT[-1] * self.sd).max())
        return float(brentq(lambda q: float(self.cdf(np.array([q]))[0]) - probability, low, high, xtol=1e-9))

    @property
    def moments(self) -> tuple[float, float]:
        """Mean and SD."""
        at = self.centre[:, None] + self.sd[:, None] * _UNIT
        share = self.weight[:, None] * self.density * (_UNIT[1] - _UNIT[0])
        mean = float((share * at).sum())
        return mean, math.sqrt(float((share * (at - mean) ** 2).sum()))

    @property
    def spread_moments(self) -> tuple[float, float]:
        """Posterior mean and SD of the SD between studies."""
        mean = float(self.weight @ self.spread)
        return mean, math.sqrt(float(self.weight @ (self.spread - mean) ** 2))


def _each(spline: Any, at: np.ndarray) -> np.ndarray:
    """Evaluate the spline of each row at points of its own."""
    piece = np.clip(((at - _UNIT[0]) / (_UNIT[1] - _UNIT[0])).astype(int), 0, len(_UNIT) - 2)
    past = at - _UNIT[piece]
    row = np.arange(len(at)).reshape(-1, *[1] * (at.ndim - 1))
    value = np.zeros_like(at)
    for power in spline.c:
        value = value * past + power[piece, row]
    return value
