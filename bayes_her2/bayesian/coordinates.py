"""Likelihood-informed coordinates: partial non-centring with weights taken from the data.

A hierarchical coefficient theta ~ N(mu, sigma) is sampled as z, with

    var  = 1 / (p + 1/sigma^2),   mean = var (p e + mu/sigma^2),   theta = mean + sqrt(var) z,

where e and p are a cheap estimate of theta and its precision. Where data are weak this is the
non-centred form, where they are strong the centred one. The posterior is the same whatever e and p are:
they choose coordinates, nothing else (the Jacobian is accounted for).

References
----------
Papaspiliopoulos, Roberts & Skold (2007), Statistical Science 22, 59-73, doi 10.1214/088342307000000014.
Gorinova, Moore & Hoffman (2020), Automatic reparameterisation of probabilistic programs, arXiv 1906.03028.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.logprob.transforms import Transform

from bayes_her2.bayesian.coefficient import (
    COEFFICIENT,
    EXPONENTIAL,
    LOG_JACOBIAN,
    NORMAL,
    POOLED_PRECISION,
    POOLED_WEIGHTED,
    PRECISION,
    SOFTPLUS,
    STANDARDISED,
    WEIGHTED,
)
from bayes_her2.bayesian.product import matrix_product

UNINFORMED_VARIANCE = 100.0
SMALLEST_SPREAD = 1e-8
"""Of a spread's prior scale: the least that a spread can be.

Below about 1e-13 the standardised distance of a coefficient from its mean is rounding error, and with it the density: a
chain that came there in its first steps never left (1 of 144 on TCGA with METABRIC). A half-normal prior has 8e-9 of
its probability below.
"""
TYPICAL_SPREAD = 0.2
"""Spread between cohorts used for initial values only."""


class LikelihoodInformed(Transform):
    """Transform of a Normal variable to likelihood-informed coordinates.

    Parameters
    ----------
    estimate, variance
        Cheap estimate of the variable and its variance, of the variable's shape.
    """

    name = "likelihood_informed"

    def __init__(self, estimate: np.ndarray, variance: np.ndarray) -> None:
        self.estimate = np.asarray(estimate, dtype=float)
        self.variance = np.asarray(variance, dtype=float)

    def information(self, inputs: tuple[Any, ...]) -> tuple[Any, Any]:
        """Precision that the likelihood gives this variable, and precision times estimate."""
        return 1.0 / self.variance, self.estimate / self.variance

    def forward(self, value: Any, *inputs: Any) -> Any:
        """Coefficient -> z."""
        return STANDARDISED(value, inputs[-2], inputs[-1], *self.information(inputs))

    def backward(self, value: Any, *inputs: Any) -> Any:
        """Z -> coefficient."""
        return COEFFICIENT(value, inputs[-2], inputs[-1], *self.information(inputs))

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        """Log of d coefficient / d z, elementwise."""
        return LOG_JACOBIAN(inputs[-1], self.information(inputs)[0])


class PooledLikelihoodInformed(LikelihoodInformed):
    """The same for a level above others, where information depends on the spread of the level below.

    The variable's inputs are (below_sd, mu, sigma), and the estimates below it are pooled with weights
    1 / (variance + below_sd^2). With a fixed guess in place of below_sd, two cohorts that agree leave a
    funnel between a cell type's mean and its spread.

    Parameters
    ----------
    estimate, variance
        Of the level below: member x cell type, or members alone for a variable without dims.
    member
        Row of this variable x member: 1.0 where the member belongs to the row. None: all members belong
        to a variable without rows, of shape (cell type,).
    spread
        1.0 for members that vary around the row by below_sd, 0.0 for estimates of the row itself.
    """

    name = "pooled_likelihood_informed"

    def __init__(
        self,
        estimate: np.ndarray,
        variance: np.ndarray,
        member: np.ndarray | None = None,
        spread: np.ndarray | None = None,
    ) -> None:
        super().__init__(estimate, variance)
        self.member = member
        self.spread = np.ones(len(self.estimate)) if spread is None else spread

    def information(self, inputs: tuple[Any, ...]) -> tuple[Any, Any]:
        """Pooled over members, given the spread between them."""
        varies = self.spread.reshape((-1, *[1] * (self.estimate.ndim - 1)))
        below = (self.variance, varies, inputs[-3], self.estimate)
        if self.member is None:
            return POOLED_PRECISION(*below), POOLED_WEIGHTED(*below)
        return matrix_product(self.member, PRECISION(*below)), matrix_product(self.member, WEIGHTED(*below))


class Softplus(Transform):
    """Coordinate of a spread that data inform little: value = scale (log(1 + exp z) + smallest).

    On the logarithm, the usual coordinate, a spread that may well be 0 has a left tail many times as long as its
    bulk, and a sampler that has wandered into it takes long to come back. Above `scale` this coordinate is linear.

    Parameters
    ----------
    scale
        Where it turns from logarithmic to linear: half the scale of the prior works.
    """

    name = "softplus"

    def __init__(self, scale: float) -> None:
        self.scale = float(scale)

    def forward(self, value: Any, *inputs: Any) -> Any:
        """Spread -> z."""
        ratio = value / self.scale - SMALLEST_SPREAD
        return ratio + pt.log(-pt.expm1(-ratio))

    def backward(self, value: Any, *inputs: Any) -> Any:
        """Z -> spread."""
        return SOFTPLUS(value, self.scale, SMALLEST_SPREAD)

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        """Log of d spread / d z, elementwise."""
        return np.log(self.scale) - pt.softplus(-value)


class LogSpread(Transform):
    """Coordinate of a spread that data inform: value = exp z + smallest.

    Parameters
    ----------
    scale
        Scale of its prior.
    """

    name = "log"

    def __init__(self, scale: float) -> None:
        self.smallest = SMALLEST_SPREAD * float(scale)

    def forward(self, value: Any, *inputs: Any) -> Any:
        """Spread -> z."""
        return pt.log(value - self.smallest)

    def backward(self, value: Any, *inputs: Any) -> Any:
        """Z -> spread."""
        return EXPONENTIAL(value, self.smallest)

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        """Log of d spread / d z, elementwise."""
        return value


@dataclass(frozen=True)
class Coordinates:
    """Cheap estimates of one coefficient: ``estimate`` and ``variance``, group x cell type.

    Rows are cohorts (or centres); a coefficient common to all has one row.
    """

    estimate: np.ndarray
    variance: np.ndarray

    def pooled(self, between_sd: float) -> Coordinates:
        """One row: groups pooled with weights 1 / (variance + between_sd^2)."""
        weight = 1.0 / (self.variance + between_sd**2)
        total = weight.sum(axis=0, keepdims=True)
        return Coordinates((weight * self.estimate).sum(axis=0, keepdims=True) / total, 1.0 / total)

    def transform(self) -> LikelihoodInformed:
        """Coordinates of the coefficients themselves, group x cell type."""
        return LikelihoodInformed(self.estimate, self.variance)

    def above(self) -> tuple[PooledLikelihoodInformed, np.ndarray]:
        """Coordinates and initial value of the level above the groups, of shape (cell type,)."""
        return PooledLikelihoodInformed(self.estimate, self.variance), self.pooled(TYPICAL_SPREAD).estimate[0]

    def over_cell_types(self, *, by_cohort: bool) -> tuple[PooledLikelihoodInformed, np.ndarray]:
        """Coordinates and initial value of the mean over cell types (last axis): one number, or one for each row."""
        pooled = self.pooled(TYPICAL_SPREAD if by_cohort else 0.0)
        estimate, variance = (np.moveaxis(a[0], -1, 0) for a in (pooled.estimate, pooled.variance))
        weight = 1.0 / (variance + TYPICAL_SPREAD**2)
        start = (weight * estimate).sum(axis=0) / weight.sum(axis=0)
        return PooledLikelihoodInformed(estimate, variance), np.asarray(start)

    def over_groups(
        self, member: np.ndarray, *, by_cohort: bool
    ) -> tuple[PooledLikelihoodInformed, np.ndarray, Coordinates]:
        """Coordinates and initial values of means of groups of cell types, and cheap estimates of those means.

        Parameters
        ----------
        member
            Group x cell type: 1.0 where it belongs.
        by_cohort
            Whether cell types vary by cohort.
        """
        pooled = self.pooled(TYPICAL_SPREAD if by_cohort else 0.0)
        estimate, variance = pooled.estimate[0], pooled.variance[0]
        weight = 1.0 / (variance + TYPICAL_SPREAD**2)
        total = member @ weight
        start = (member @ (weight * estimate)) / total
        above = Coordinates(start[None, :], 1.0 / total[None, :])
        return PooledLikelihoodInformed(estimate, variance, member), start, above

    def over_cell_types_by_row(self) -> tuple[PooledLikelihoodInformed, np.ndarray]:
        """Coordinates and initial values of the mean over cell types of each row: covariates, or bends."""
        estimate, variance = self.estimate.T, self.variance.T
        weight = 1.0 / (variance + TYPICAL_SPREAD**2)
        return PooledLikelihoodInformed(estimate, variance), (weight * estimate).sum(axis=0) / weight.sum(
            axis=0
        )

    def with_nested(self, nested: Coordinates, home: list[int]) -> PooledLikelihoodInformed:
        """Coordinates of groups some of which have members of their own: centres nested in cohorts.

        A group with members is informed by them, not by its own estimate.

        Parameters
        ----------
        nested
            Cheap estimates of the members.
        home
            Row of the group to which each member belongs.
        """
        n_groups = len(self.estimate)
        alone = [i for i in range(n_groups) if i not in set(home)]
        member = np.eye(n_groups)[:, [*alone, *home]]
        spread = np.concatenate([np.zeros(len(alone)), np.ones(len(home))])
        estimate = np.concatenate([self.estimate[alone], nested.estimate])
        variance = np.concatenate([self.variance[alone], nested.variance])
        return PooledLikelihoodInformed(estimate, variance, member, spread)

    def common(self) -> LikelihoodInformed:
        """Coordinates of a coefficient that groups share, of shape (cell type,)."""
        single = self.pooled(0.0)
        return LikelihoodInformed(single.estimate[0], single.variance[0])


def partially_pooled(
    name: str, *, mean: Any, sd: Any, dims: str | tuple[str, ...], coordinates: LikelihoodInformed
) -> Any:
    """Hierarchical coefficient: Normal(mean, sd) for each label of `dims`, in informed coordinates.

    Parameters
    ----------
    name
        Name that people read.
    mean, sd
        Mean and SD of the level above; they broadcast to `dims`.
    dims
        Dimension(s) of the coefficient.
    coordinates
        A `LikelihoodInformed` transform of the same shape.
    """

    def logp(value: Any, mu: Any, sigma: Any) -> Any:
        return NORMAL(value, mu, sigma)

    def random(mu: Any, sigma: Any, rng: np.random.Generator | None = None, size: Any = None) -> Any:
        rng = rng if rng is not None else np.random.default_rng()
        return rng.normal(mu, sigma, size=size)

    return pm.CustomDist(
        name,
        mean,
        sd,
        logp=logp,
        random=random,
        signature="(),()->()",
        dims=dims,
        default_transform=coordinates,
        initval=coordinates.estimate,  # the prior mean is many likelihood SDs away: a chain starting there can be lost
    )


def typical_of(
    name: str,
    *,
    mean: Any,
    sd: Any,
    below_sd: Any,
    dims: str | tuple[str, ...] | None,
    coordinates: PooledLikelihoodInformed,
    start: np.ndarray,
) -> Any:
    """Mean of a level below: Normal(mean, sd), in coordinates that know the spread of that level.

    The density is that of Normal(mean, sd) and does not involve `below_sd`, which enters the coordinates
    alone.

    Parameters
    ----------
    name, mean, sd, dims
        As in `partially_pooled`.
    below_sd
        SD of the level below (cohorts around their cell type, or centres around their cohort).
    coordinates
        Transform with the cheap estimates of the level below.
    start
        Initial value.
    """

    def logp(value: Any, below_sd: Any, mu: Any, sigma: Any) -> Any:
        return NORMAL(value, mu, sigma)

    def random(
        below_sd: Any, mu: Any, sigma: Any, rng: np.random.Generator | None = None, size: Any = None
    ) -> Any:
        rng = rng if rng is not None else np.random.default_rng()
        return rng.normal(mu, sigma, size=size)

    return pm.CustomDist(
        name,
        below_sd,
        mean,
        sd,
        logp=logp,
        random=random,
        signature="(),(),()->()",
        dims=dims,
        default_transform=coordinates,
        initval=start,
    )
