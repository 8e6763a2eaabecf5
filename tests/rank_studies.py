"""Tumours drawn from a Gaussian copula, and its log density written out from the specification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from bayes_her2.models import rank_correlation as model
from scipy import stats
from scipy.special import log_ndtr, ndtri

from bayes_her2.data import AnalysisSet, Measure, ModelChoices, TumourData

MEASURE = "ERBB2 mRNA"


def rank_set(
    tumours: pd.DataFrame,
    abundance: pd.DataFrame,
    measures: Sequence[str] = (),
    infiltrate: str = "",
    label: str = MEASURE,
) -> AnalysisSet:
    """Analysis set of the model, from tumours with columns cohort, hr, her2 and those named."""
    filled = tumours.assign(platform="RNA-seq", her2_class="0")
    for column in ("her2_ihc", "centre", "batch"):
        filled[column] = pd.Series(pd.NA, index=filled.index, dtype="str")
    settings = ModelChoices(
        measures=tuple(Measure(m, m) for m in measures),
        infiltrate=Measure(infiltrate, infiltrate) if infiltrate else None,
    )
    data = TumourData(filled, abundance, label, "relative", "share", (), settings=settings)
    return data.for_model("rank_correlation")


def simulated_set(
    seed: int,
    sizes: Mapping[tuple[str, str], int],
    rho: Mapping[str, Sequence[float] | Mapping[str, Sequence[float]]],
    zero_share: Mapping[str, float] | None = None,
    *,
    between: float = 0.0,
    measures: Sequence[str] = (),
    infiltrate: bool = False,
    label: str = MEASURE,
) -> AnalysisSet:
    """Cell types with latent correlations `rho` (one for each measure; by stratum if a mapping) and shares of zeros.

    `between` is the correlation of any two measures. The infiltrate, if any, is noise around the mean of the scores.
    """
    rng = np.random.default_rng(seed)
    rows = [(c, hr) for (c, hr), n in sizes.items() for _ in range(n)]
    tumours = pd.DataFrame(rows, columns=["cohort", "hr"], dtype="str")
    tumours.index = pd.Index([f"{c}/{i:04d}" for i, (c, _) in enumerate(rows)], name="tumour")
    n, m = len(tumours), 1 + len(measures)
    r = np.full((m, m), between) + (1.0 - between) * np.eye(m)
    x = rng.standard_normal((n, m)) @ np.linalg.cholesky(r).T
    tumours["her2"] = 7.0 + 1.3 * x[:, 0]
    for j, name in enumerate(measures, start=1):
        tumours[name] = np.exp(0.5 * x[:, j])
    abundance, latents = {}, []
    for cell_type, by in rho.items():
        y = np.zeros(n)
        for hr in ("HR+", "HR-"):
            own = np.asarray(by[hr] if isinstance(by, Mapping) else by, dtype=float)
            inside = (tumours["hr"] == hr).to_numpy()
            weight = np.linalg.solve(r, own)
            noise = rng.standard_normal(inside.sum()) * np.sqrt(1.0 - own @ weight)
            y[inside] = x[inside] @ weight + noise
        latents.append(y)
        cut = ndtri((zero_share or {}).get(cell_type, 0.0))
        abundance[cell_type] = np.where(y <= cut, 0.0, np.exp(0.3 * y - 3.0))
    if infiltrate:
        tumours["tils"] = np.mean(latents, axis=0) + 0.5 * rng.standard_normal(n)
        tumours.loc[tumours.index[::17], "tils"] = np.nan
    known = pd.DataFrame(abundance, index=tumours.index)
    return rank_set(tumours, known, measures, "tils" if infiltrate else "", label)


def unrecorded_set(seed: int = 41) -> AnalysisSet:
    """Two cohorts with HR+ tumours, HR- in A alone, and the infiltrate recorded in A alone."""
    sizes = {("A", "HR+"): 60, ("A", "HR-"): 40, ("B", "HR+"): 50}
    made = simulated_set(seed, sizes, {"X": [0.4], "Y": [0.0]}, {"X": 0.3}, infiltrate=True)
    tumours = made.tumours[["cohort", "hr", "her2"]].assign(tils=made.infiltrate["tils"])
    tumours.loc[tumours["cohort"] == "B", "tils"] = np.nan
    return rank_set(tumours, made.abundance, infiltrate="tils")


def planted_posterior(data: AnalysisSet, spread: float = 0.05, seed: int = 72) -> xr.Dataset:
    """Normal draws in place of sampled ones, with the names and dims of the model's graph."""
    graph, rng = model.build(data, model.PRIORS), np.random.default_rng(seed)
    variables = {}
    for variable in graph.free_RVs:
        dims = graph.named_vars_to_dims.get(variable.name, ())
        centre = rng.normal(0, 0.3, size=[len(graph.coords[d]) for d in dims])
        values = centre + rng.normal(0, spread, size=(2, 100, *centre.shape))
        variables[variable.name] = (
            ("chain", "draw", *dims),
            0.1 + np.abs(values) if variable.name.endswith("_sd") else values,
        )
    coords = {d: list(graph.coords[d]) for v in variables.values() for d in v[0] if d in graph.coords}
    return xr.Dataset(variables, coords=coords | {"chain": [0, 1], "draw": range(100)})


def scores(values: np.ndarray) -> np.ndarray:
    """Normal scores down the last axis but one of (..., tumour) arrays."""
    return ndtri(stats.rankdata(values, axis=-1) / (values.shape[-1] + 1.0))


def log_density(
    z: np.ndarray,
    score: np.ndarray,
    zero: np.ndarray,
    fisher: np.ndarray,
    log_sd: np.ndarray,
    covariance: np.ndarray,
    *,
    exposures: bool = True,
) -> np.ndarray:
    """Log density of scores of M measures and one outcome, tumour by tumour, for a batch of data sets.

    z (batch, tumour, M), score and zero (batch, tumour), fisher (batch, M), log_sd (batch,), covariance (batch, M, M).
    """
    sd = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    r = covariance / (sd[:, :, None] * sd[:, None, :])
    v = np.sinh(fisher)
    explained = (v * np.linalg.solve(r, v[:, :, None])[:, :, 0]).sum(axis=1)
    rho = v / np.sqrt(1.0 + explained)[:, None]
    # y* has SD exp(log_sd) and correlations rho: the regression of a multivariate normal.
    cross = rho * sd * np.exp(log_sd)[:, None]
    slope = np.linalg.solve(covariance, cross[:, :, None])[:, :, 0]
    residual = np.sqrt(np.exp(2.0 * log_sd) - (slope * cross).sum(axis=1))
    mean = (z * slope[:, None, :]).sum(axis=2)
    with np.errstate(divide="ignore"):
        threshold = ndtri(zero.mean(axis=1))
    below = log_ndtr((np.where(np.isfinite(threshold), threshold, 0.0)[:, None] - mean) / residual[:, None])
    seen = stats.norm.logpdf(score, mean, residual[:, None])
    total = np.where(zero, below, seen).sum(axis=1)
    if exposures:
        inverse, (_, logdet) = np.linalg.inv(covariance), np.linalg.slogdet(covariance)
        square = np.einsum("bim,bmk,bik->b", z, inverse, z)
        n, m = z.shape[1:]
        total += -0.5 * (square + n * (logdet + m * np.log(2.0 * np.pi)))
    return total


def laplace(density: Any, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mode and inverse Hessian of a batch of log densities of a few parameters, by Newton with differences."""
    x, h, size = start.copy(), 1e-4, start.shape[1]
    step_of = np.eye(size) * h
    for _ in range(40):
        middle = density(x)
        up, down = [density(x + e) for e in step_of], [density(x - e) for e in step_of]
        gradient = np.stack([(a - b) / (2 * h) for a, b in zip(up, down, strict=True)], axis=1)
        hessian = np.zeros((len(x), size, size))
        for i in range(size):
            hessian[:, i, i] = (up[i] - 2 * middle + down[i]) / h**2
            for j in range(i):
                both = density(x + step_of[i] + step_of[j]) - up[i] - up[j] + 2 * middle
                both += density(x - step_of[i] - step_of[j]) - down[i] - down[j]
                hessian[:, i, j] = hessian[:, j, i] = both / (2 * h**2)
        values, vectors = np.linalg.eigh(-hessian)
        along = np.einsum("bij,bi->bj", vectors, gradient) / np.maximum(np.abs(values), 1.0)
        step = np.clip(np.einsum("bij,bj->bi", vectors, along), -0.4, 0.4)
        for _ in range(6):  # shorter where the density would fall
            step = np.where((density(x + step) < middle - 1e-9)[:, None], step / 2.0, step)
        x = x + step
        if np.abs(step).max() < 1e-6:
            return x, np.linalg.inv(-hessian)
    raise AssertionError("Newton did not converge")
