"""Does a second study replicate a first? Sceptical p-value and sceptical Bayes factor.

Both take the two z-values and the variance ratio ``c = se_original^2 / se_replication^2``.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

Recalibration = Literal["nominal", "golden"]
GOLDEN = (math.sqrt(5) + 1) / 2


def sceptical_z(z_original: float, z_replication: float, c: float) -> float:
    """Return z of the sceptical p-value.

    It belongs to the level at which the original's sufficiently sceptical prior just conflicts with the replication:
    ``z_S^2`` solves ``(z_o^2 / z_S^2 - 1)(z_r^2 / z_S^2 - 1) = c``. With A the arithmetic and H the harmonic mean of
    the squared z-values: ``z_S^2 = H / 2`` for c = 1, else ``(sqrt(A (A + (c - 1) H)) - A) / (c - 1)``.

    References
    ----------
    Held 2020, doi 10.1111/rssa.12493.
    """
    original, replication = z_original**2, z_replication**2
    if original == 0 or replication == 0:
        return 0.0
    arithmetic = (original + replication) / 2
    harmonic = 2 / (1 / original + 1 / replication)
    excess = c - 1
    if abs(excess) < 1e-8:
        return math.sqrt(harmonic / 2)
    return math.sqrt((math.sqrt(arithmetic * (arithmetic + excess * harmonic)) - arithmetic) / excess)


def sceptical_p(
    z_original: float, z_replication: float, c: float, recalibration: Recalibration = "golden"
) -> float:
    """One-sided sceptical p-value, in the direction of the original study.

    ``1 - Phi(z_S)``; recalibrated at the golden level ``1 - Phi(z_S sqrt(phi))``, phi the golden ratio, so
    that 0.025 is
    its threshold and an original study that is just significant can only be replicated by an effect at least as large.
    Opposite signs give 1 minus that.

    Parameters
    ----------
    z_original, z_replication
        Wald statistics.
    c
        Variance of the original over that of the replication.
    recalibration
        'nominal' as in the paper of 2020, or 'golden'.

    References
    ----------
    Held 2020, doi 10.1111/rssa.12493; golden level: Held, Micheloud & Pawel 2022, doi 10.1214/21-AOAS1502.
    """
    z = sceptical_z(z_original, z_replication, c)
    p = float(norm.sf(z * math.sqrt(GOLDEN) if recalibration == "golden" else z))
    return p if z_original * z_replication > 0 else 1 - p


def replication_bayes_factor(z_original: float, z_replication: float, c: float, g: float = 0.0) -> float:
    """Bayes factor of the replication data: a sceptic's prior against the original study's posterior.

    The sceptic has N(0, g se_o^2), with g = 0 the point null; the advocate has N(estimate_o, se_o^2). Under them z_r is
    N(0, 1 + c g) and N(z_o sqrt(c), 1 + c). Below 1 the replication favours the original finding.

    References
    ----------
    Pawel & Held 2022, doi 10.1111/rssb.12491.
    """
    return math.exp(_log_replication(z_original, z_replication, c, g))


def _log_replication(z_original: float, z_replication: float, c: float, g: float) -> float:
    sceptic, advocate = 1 + c * g, 1 + c
    return 0.5 * math.log(advocate / sceptic) - 0.5 * (
        z_replication**2 / sceptic - (z_replication - z_original * math.sqrt(c)) ** 2 / advocate
    )


def _log_original(z_original: float, g: float) -> float:
    """Return the log Bayes factor of the original data: point null against the sceptic's prior."""
    return 0.5 * math.log1p(g) - 0.5 * z_original**2 * g / (1 + g)


def sceptical_bayes_factor(z_original: float, z_replication: float, c: float) -> float | None:
    """Smallest level at which the replication convinces a sceptic whom the original did not convince.

    At a level gamma the sceptic's relative prior variance g solves BF_01(original; g) = gamma; success is a replication
    Bayes factor of sceptic against advocate of at most gamma. The sceptical Bayes factor is the smallest gamma with
    success: below 1, smaller is stronger. None where no level succeeds.

    Parameters
    ----------
    z_original, z_replication
        Wald statistics.
    c
        Variance of the original over that of the replication.

    References
    ----------
    Pawel & Held 2022, doi 10.1111/rssb.12491.
    """
    widest = max(z_original**2 - 1, 0.0)  # where the original's Bayes factor is least

    def shortfall(g: float) -> float:
        return _log_replication(z_original, z_replication, c, g) - _log_original(z_original, g)

    if shortfall(widest) <= 0:
        return math.exp(_log_original(z_original, widest))
    if widest == 0:
        return None
    grid = widest * np.concatenate([[0.0], np.geomspace(1e-8, 1.0, 400)])
    for upper in range(
        len(grid) - 1, 0, -1
    ):  # from the widest: the largest g that succeeds has the smallest level
        if shortfall(grid[upper - 1]) <= 0:
            g = float(brentq(shortfall, grid[upper - 1], grid[upper], xtol=1e-14, rtol=1e-13))
            return math.exp(_log_original(z_original, g))
    return None
