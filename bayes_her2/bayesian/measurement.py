"""A latent HER2 behind numeric measures and a read IHC level: what each tumour's indicators say of it, in closed form.

Within a group (cohort x HR stratum), with z ~ Normal(0, 1) the latent of a tumour, x_j its measures, t its true IHC
level (0, 1+, 2+) and u the level that was read:

    x_j = mean_j + sd_j (sqrt(r_j) z + sqrt(1 - r_j) e_j)
    l   = sqrt(r) z + sqrt(1 - r) e,   t by the cut-points of l,   u by a row of the reader's matrix

so r_j is the share of the variance of x_j that is the latent's. The latent is integrated out: given the measures it is
Normal(m, v) with 1/v = 1 + sum r_j / (1 - r_j) over those recorded, l given them is normal, and the true level is one
of three intervals. No draw of a tumour's latent or of its true level is needed for the likelihood, nor for what the
indicators say of either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from scipy.special import ndtr, ndtri

from bayes_her2.data import IHC_LEVELS, AnalysisSet

NOT_READ = -1
"""Code of a tumour without a read level."""

DRAWS_AT_ONCE = 100
"""Draws for which a number is computed for every tumour at the same time."""


@dataclass(frozen=True)
class Indicators:
    """What is recorded of the tumours' HER2, in the order of ``data.tumours``.

    Attributes
    ----------
    tumours, groups, measures
        Labels: tumours; 'COHORT, HR+' and so on, sorted; measures, the study's HER2 measure first.
    values
        Tumour x measure, per pooled within-HR SD; 0.0 where not recorded.
    recorded
        Tumour x measure: 1.0 where recorded.
    level_idx
        Read IHC level (place in `IHC_LEVELS`), `NOT_READ` where there is none.
    group_idx
        Row of `groups`.
    """

    tumours: tuple[str, ...]
    groups: tuple[str, ...]
    measures: tuple[str, ...]
    values: np.ndarray
    recorded: np.ndarray
    level_idx: np.ndarray
    group_idx: np.ndarray

    @property
    def read(self) -> np.ndarray:
        """Positions of the tumours with a read level."""
        return np.flatnonzero(self.level_idx != NOT_READ)

    @property
    def has_levels(self) -> bool:
        """Whether any level was read."""
        return bool(self.read.size)

    @property
    def cohorts(self) -> tuple[str, ...]:
        """Cohort of each group."""
        return tuple(group.rpartition(", ")[0] for group in self.groups)


def indicators(data: AnalysisSet) -> Indicators:
    """Read off the indicators of an analysis set of `her2_measurement`."""
    tumours = data.tumours
    label = (tumours["cohort"] + ", " + tumours["hr"]).astype(str)
    groups = tuple(sorted(set(label)))
    values = data.measures.to_numpy(float)
    level = tumours["her2_ihc"].map({name: i for i, name in enumerate(IHC_LEVELS)})
    return Indicators(
        tumours=tuple(map(str, tumours.index)),
        groups=groups,
        measures=tuple(map(str, data.measures.columns)),
        values=np.nan_to_num(values),
        recorded=(~np.isnan(values)).astype(float),
        level_idx=level.fillna(NOT_READ).to_numpy(int),
        group_idx=pd.Index(groups).get_indexer(pd.Index(label)),
    )


class Parameters(NamedTuple):
    """Parameters of the measurement model, one draw or many (a leading axis of each array).

    Attributes
    ----------
    mean
        Measure x group.
    sd, reliability
        Of each measure.
    level_reliability
        Of the true IHC level.
    cuts
        Group x 2: cut-points of the level's own normal variable, which has SD 1 within a group.
    reader
        True level x read level.
    """

    mean: np.ndarray
    sd: np.ndarray
    reliability: np.ndarray
    level_reliability: np.ndarray
    cuts: np.ndarray
    reader: np.ndarray


def reader_matrix(overcalls: Any, misses: Any, one_or_two: Any, xp: Any = np) -> Any:
    """Probabilities of the read level (last axis) given the true one (the axis before).

    Parameters
    ----------
    overcalls, misses
        Log odds of reading 1+ when it is truly 0, and 0 when it is truly 1+, against the true level.
    one_or_two
        Log odds of reading 2+ when it is truly 1+, and 1+ when it is truly 2+, against the true level.
    xp
        ``numpy``, or ``pytensor.tensor``. Any log odds make a matrix of probabilities.
    """
    right, never = xp.exp(0.0 * overcalls), 0.0 * overcalls
    odds = [
        [right, xp.exp(overcalls), never],
        [xp.exp(misses), right, xp.exp(one_or_two)],
        [never, xp.exp(one_or_two), right],
    ]
    table = xp.stack([xp.stack(row, axis=-1) for row in odds], axis=-2)
    return table / table.sum(axis=-1, keepdims=True)


# --- what the measures say of the latent -------------------------------------------------------


def latent_given_measures(p: Parameters, seen: Indicators) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each tumour's latent given its measures alone: draw x tumour."""
    loading = p.sd * np.sqrt(p.reliability)
    noise = p.sd**2 * (1.0 - p.reliability)
    deviation = seen.values - np.moveaxis(p.mean, -1, -2)[..., seen.group_idx, :]
    variance = 1.0 / (1.0 + (loading**2 / noise) @ seen.recorded.T)
    mean = variance * np.einsum("...ij,...j->...i", seen.recorded * deviation, loading / noise)
    return mean, variance


class Latent(NamedTuple):
    """What all indicators of each tumour say of its latent and true level, draw x tumour (x true level).

    Attributes
    ----------
    mean, variance
        Of the latent.
    level
        Probabilities of the true level.
    """

    mean: np.ndarray
    variance: np.ndarray
    level: np.ndarray


def latent_given_all(p: Parameters, seen: Indicators) -> Latent:
    """Mean and variance of each tumour's latent, and its true level, given measures and read level.

    Notes
    -----
    With Normal(mu, s^2) the level's variable given the measures and (a, b) an interval of it in standard units,
    l in (a, b) has the mean mu + s d, d = (phi(a) - phi(b)) / (Phi(b) - Phi(a)), and the latent its regression on l;
    the read level makes a mixture of the three intervals.
    """
    mean, variance = latent_given_measures(p, seen)
    root = np.sqrt(p.level_reliability)[..., None]
    s = np.sqrt(root**2 * variance + 1.0 - root**2)
    lower, upper = _standard_limits(p, seen, root * mean, s)
    inside = ndtr(upper) - ndtr(lower)
    weight = np.ones_like(inside)
    read = seen.read
    weight[..., read, :] = np.moveaxis(p.reader, -1, -2)[..., seen.level_idx[read], :]
    joint = inside * weight
    total = joint.sum(axis=-1)
    slope = (root * variance / s)[..., None]  # of the latent on l in standard units
    first = _density(lower) - _density(upper)
    second = _times_density(lower) - _times_density(upper)
    shift = (weight * first).sum(axis=-1) / total
    # E[(l - mu)^2 / s^2 - 1] over the mixture; the latent's variance is what l leaves of it plus slope^2 times l's.
    excess = (weight * second).sum(axis=-1) / total
    found = mean + slope[..., 0] * shift
    left = variance + slope[..., 0] ** 2 * (excess - shift**2)
    return Latent(found, left, joint / total[..., None])


def draw_latent(p: Parameters, seen: Indicators, rng: np.random.Generator) -> np.ndarray:
    """Draw each tumour's latent given all its indicators and one draw of the parameters: tumour.

    Notes
    -----
    True level, then the level's variable within its interval (by inversion), then the latent given that.
    """
    mean, variance = latent_given_measures(p, seen)
    root = np.sqrt(p.level_reliability)
    s = np.sqrt(root**2 * variance + 1.0 - root**2)
    lower, upper = _standard_limits(p, seen, root * mean, s)
    level = latent_given_all(p, seen).level
    at = (level.cumsum(axis=-1) < rng.random((len(mean), 1))).sum(axis=-1).clip(max=len(IHC_LEVELS) - 1)
    rows = np.arange(len(mean))
    low, high = ndtr(lower[rows, at]), ndtr(upper[rows, at])
    standard = ndtri(np.clip(low + (high - low) * rng.random(len(mean)), 1e-15, 1.0 - 1e-15))
    slope = root * variance / s
    return np.asarray(mean + slope * standard + np.sqrt(variance - slope**2) * rng.standard_normal(len(mean)))


def _standard_limits(p: Parameters, seen: Indicators, mu: Any, s: Any) -> tuple[np.ndarray, np.ndarray]:
    """Limits of the three intervals in standard units of the level's variable: draw x tumour x level."""
    cuts = (p.cuts[..., seen.group_idx, :] - mu[..., None]) / s[..., None]
    end = np.full((*cuts.shape[:-1], 1), np.inf)
    return np.concatenate([-end, cuts], axis=-1), np.concatenate([cuts, end], axis=-1)


def _density(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(-0.5 * x**2) / np.sqrt(2.0 * np.pi))


def _times_density(x: np.ndarray) -> np.ndarray:
    """Give x phi(x), which is 0 at either end."""
    return np.asarray(np.where(np.isinf(x), 0.0, x) * _density(x))


# --- the same as nodes of a graph --------------------------------------------------------------


def measures_node(name: str, *, mean: Any, sd: Any, reliability: Any, seen: Indicators) -> tuple[Any, Any]:
    """Observed node of the measures with the latent integrated out; and the latent's mean and variance given them.

    Parameters
    ----------
    name
        Name of the node; its dims are ``tumour`` and ``measure``.
    mean
        Measure x group.
    sd, reliability
        Of each measure.
    seen
        The indicators.

    Returns
    -------
    mean, variance
        Of each tumour's latent given its measures.
    """
    member = np.eye(len(seen.groups))[seen.group_idx]
    centre = pt.dot(member, mean.T)
    loading, noise = sd * pt.sqrt(reliability), sd**2 * (1.0 - reliability)

    def latent(value: Any, centre: Any, loading: Any, noise: Any, recorded: Any) -> tuple[Any, Any]:
        variance = 1.0 / (1.0 + pt.sum(recorded * loading**2 / noise, axis=-1))
        weighted = pt.sum(recorded * (value - centre) * loading / noise, axis=-1)
        return variance * weighted, variance

    def logp(value: Any, centre: Any, loading: Any, noise: Any, recorded: Any) -> Any:
        found, variance = latent(value, centre, loading, noise, recorded)
        alone = recorded * (pt.log(2.0 * np.pi * noise) + (value - centre) ** 2 / noise)
        return -0.5 * (pt.sum(alone, axis=-1) - pt.log(variance) - found**2 / variance)

    def random(
        centre: Any,
        loading: Any,
        noise: Any,
        recorded: Any,
        rng: np.random.Generator | None = None,
        size: Any = None,
    ) -> Any:
        rng = rng if rng is not None else np.random.default_rng()
        z = rng.standard_normal((*np.shape(centre)[:-1], 1))
        error = rng.standard_normal(np.shape(centre))
        return recorded * (centre + loading * z + np.sqrt(noise) * error)

    recorded = seen.recorded
    pm.CustomDist(
        name,
        centre,
        pt.ones((len(seen.tumours), 1)) * loading,
        pt.ones((len(seen.tumours), 1)) * noise,
        recorded,
        logp=logp,
        random=random,
        signature="(j),(j),(j),(j)->(j)",
        observed=seen.values,
        dims=("tumour", "measure"),
    )
    return latent(pt.as_tensor_variable(seen.values), centre, loading, noise, recorded)


def levels_node(
    name: str, *, mean: Any, variance: Any, reliability: Any, cuts: Any, reader: Any, seen: Indicators
) -> None:
    """Observed node of the read levels, the true ones summed out, over the tumours that have one.

    Parameters
    ----------
    name
        Name of the node; its dim is ``read_tumour``.
    mean, variance
        Of each tumour's latent given what else the graph knows of it (variance 0 where the latent is in the graph).
    reliability
        Share of the variance of the level's variable that is the latent's.
    cuts
        Group x 2.
    reader
        True level x read level.
    seen
        The indicators.
    """
    read = seen.read
    root = pt.sqrt(reliability)
    s = pt.sqrt(root**2 * variance + 1.0 - root**2)
    limits = (cuts[seen.group_idx[read]] - (root * mean)[read][:, None]) / pt.as_tensor_variable(s)[read][
        :, None
    ]
    below = 0.5 * pt.erfc(-limits / np.sqrt(2.0))
    true = pt.stack([below[:, 0], below[:, 1] - below[:, 0], 1.0 - below[:, 1]], axis=1)
    pm.Categorical(name, p=pt.dot(true, reader), observed=seen.level_idx[read], dims="read_tumour")


# --- from a posterior to parameters ------------------------------------------------------------


def parameters_of(posterior: xr.Dataset) -> Parameters:
    """Parameters of every draw, chains one after the other."""

    def flat(name: str, *dims: str) -> np.ndarray:
        stacked = posterior[name].stack(sample=("chain", "draw")).transpose("sample", *dims)
        return np.asarray(stacked.to_numpy())

    if "cut_points" not in posterior:
        n, groups = flat("sd", "measure").shape[0], posterior.sizes["group"]
        level_reliability, cuts = np.zeros(n), np.zeros((n, groups, 2))
        cuts[..., 1] = 1.0
        reader = np.broadcast_to(np.eye(len(IHC_LEVELS)), (n, 3, 3))
    else:
        level_reliability = flat("level_reliability")
        cuts = flat("cut_points", "group", "cut")
        reader = flat("reader", "true_level", "read_level")
    return Parameters(
        mean=flat("measure_mean", "measure", "group"),
        sd=flat("sd", "measure"),
        reliability=flat("reliability", "measure"),
        level_reliability=level_reliability,
        cuts=cuts,
        reader=reader,
    )


def draw_of(p: Parameters, i: int) -> Parameters:
    """One draw."""
    return Parameters(*(array[i] for array in p))


def in_blocks(p: Parameters, size: int = DRAWS_AT_ONCE) -> Iterator[Parameters]:
    """Parameters by blocks of draws."""
    for start in range(0, len(p.sd), size):
        yield Parameters(*(array[start : start + size] for array in p))
