"""Would the first cohorts have predicted the last? Slopes from some cohorts, scored in tumours of another.

A cohort that a fit has not seen has levels and shapes of its own, which no other cohort can tell: they are calibrated
on half of its tumours. All else (HER2 slopes, HR shift and interaction, covariates) comes from the other cohorts,
and the calibration half says nothing about it. The other half is scored. For a draw s of the fit to the other cohorts,
with theta = (intercept, log shape) of a cell type in the new cohort,

    p(y_i | s) = int p(y_i | theta, s) p(theta | y_cal, s) d theta,
    p(theta | y_cal, s) proportional to p(y_cal | theta, s) Normal(theta | typical_s, between_cohorts_sd_s),

by adaptive Gauss-Hermite quadrature, cell types and parts one by one; a tumour's score is log mean_s prod p(y_i | s).
Set beside it is the score of the same draws with every HER2 slope put to 0 and levels calibrated anew: the difference
is what HER2, as learned elsewhere, tells about a tumour's infiltrate. Where the others are one cohort, its slopes are
taken as they are: it says nothing of how slopes differ between cohorts, and a spread drawn from the prior would be what
is scored (METABRIC predicted from TCGA-BRCA: 265 nats below no HER2 at all, with a standard error of 12).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import logsumexp

from bayes_her2.bayesian.density import Density
from bayes_her2.bayesian.design import modelled_strata
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.slopes import coefficient_over_cells, slopes
from bayes_her2.data import AnalysisSet

MAX_DRAWS = 400
"""Draws scored, evenly thinned: the mean over draws is of densities that differ little."""
N_NODES = 5
"""Of the quadrature in each dimension: a Weibull's level and shape from 12 tumours to 0.004 nats, from 150 to 1e-4."""
SMALLEST_SD = 1e-3
"""Least SD of a new cohort's level around the typical one: below it the data have nothing to move."""
SHIFTS = (-6.0, -3.0, -1.5, 1.5, 3.0, 6.0)
"""Of a cohort's level from the others': platforms differ by up to 4.7 logits."""
FAR_FROM_MODE = 0.01
"""Nats that Newton's method may expect to gain still."""
FOUND = 1e-6
"""Expected gain in nats at which it stops: after 5 to 12 steps where TCGA-BRCA and METABRIC predict each other."""
LEAST_CURVATURE = 1e-4
LARGEST_STEP = 2.0
_STEP = 1e-3
_NEWTON = 80


@dataclass(frozen=True)
class Transfer:
    """How well some cohorts predict another.

    Attributes
    ----------
    tumours
        Index ``tumour`` (those scored); ``elpd`` (slopes as learned elsewhere), ``elpd_without`` (no HER2 effect),
        ``gain`` (the difference), ``hr``.
    cell_types
        Index ``cell_type``; ``gain``, ``gain_se`` (over tumours), ``n_scored``: what HER2 tells about each.
    n_calibration
        Tumours that calibrated levels and shapes.
    """

    tumours: pd.DataFrame
    cell_types: pd.DataFrame
    n_calibration: int


def halves(tumours: pd.DataFrame, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Split tumours at random in two halves of the same HR mix: calibration, scored.

    Parameters
    ----------
    tumours
        With a column ``hr``; of a stratum with an odd number the scored half has one more.
    rng
        Source of randomness; the order of rows does not matter.
    """
    calibration: list[str] = []
    for _, own in sorted(tumours.groupby("hr"), key=lambda item: str(item[0])):
        labels = sorted(map(str, own.index))
        chosen = rng.permutation(len(labels))[: len(labels) // 2]
        calibration += [labels[i] for i in sorted(chosen)]
    rest = set(calibration)
    return calibration, [str(t) for t in tumours.index if str(t) not in rest]


def transfer(
    posterior: xr.Dataset,
    train: AnalysisSet,
    data: AnalysisSet,
    density: Density,
    priors: Mapping[str, Prior],
    rng: np.random.Generator,
    *,
    calibration: Sequence[str],
    scored: Sequence[str],
    max_draws: int = MAX_DRAWS,
) -> Transfer:
    """Score tumours of a cohort that the fit has not seen.

    Parameters
    ----------
    posterior, train
        Draws, and the analysis set of the other cohorts that they come from.
    data
        Analysis set with the tumours to be scored: same standardisation, covariates and rules.
    density
        Of the model.
    priors
        As the model was fitted: spreads between cohorts that `train` does not inform are drawn from them.
    rng
        For the new cohort's slopes.
    calibration, scored
        Labels of the tumours of the new cohort. A cell type is scored in an HR stratum where `train` by itself
        supports the part of the density.
    max_draws
        Draws used, evenly thinned.
    """
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    posterior = posterior.isel(draw=slice(None, None, -(-total // max_draws)))
    new = _NewCohort(posterior, train, priors, rng)
    sides = [data.subset(list(labels)) for labels in (calibration, scored)]
    keep = sides[1].tumours["hr"].isin(train.strata).to_numpy()
    n_draws = posterior.sizes["chain"] * posterior.sizes["draw"]
    sums = {on: np.zeros((n_draws, len(keep))) for on in (True, False)}
    rows = []
    for name in map(str, train.abundance.columns):
        own = {on: np.zeros((n_draws, len(keep))) for on in (True, False)}
        counted_somewhere = np.zeros(len(keep), dtype=bool)
        for part in density.PARTS:
            supported = modelled_strata(train, part)[name]
            if not supported.any():
                continue
            terms = new.terms(part, name, density.SHAPES.get(part))
            y, counted, known = [], [], []
            for side in sides:
                values = side.abundance[name].to_numpy(float)
                stratum = side.tumours["hr"]
                y.append(values)
                counted.append(
                    stratum.map(supported).fillna(False).to_numpy(bool)
                    & stratum.map(modelled_strata(data, part)[name]).fillna(False).to_numpy(bool)
                    & density.enters(part, values)
                )
                known.append(terms.offsets(side))
            counted_somewhere |= counted[1]
            for on in (True, False):
                offsets = [(k[0] if on else k[1])[:, c] for k, c in zip(known, counted, strict=True)]

                def log_density(
                    theta: np.ndarray,
                    which: int,
                    part: str = part,
                    y: list[np.ndarray] = y,
                    counted: list[np.ndarray] = counted,
                    offsets: list[np.ndarray] = offsets,
                ) -> np.ndarray:
                    eta = theta[:, 0, None] + offsets[which]
                    shape = theta[:, 1, None] + np.zeros_like(eta) if theta.shape[1] > 1 else None
                    return density.log_density(part, y[which][counted[which]], eta, shape)

                own[on][:, counted[1]] += _predicted(log_density, terms.mean, terms.sd)
        for on in (True, False):
            sums[on] += own[on]
        scored_here = counted_somewhere & keep
        gains = (_log_mean(own[True]) - _log_mean(own[False]))[scored_here]
        if scored_here.any():
            se = float(np.sqrt(len(gains)) * gains.std(ddof=1)) if len(gains) > 1 else float("nan")
            rows.append((name, float(gains.sum()), se, int(scored_here.sum())))
    with_slope, without = (_log_mean(sums[on])[keep] for on in (True, False))
    tumours = pd.DataFrame(
        {"elpd": with_slope, "elpd_without": without, "gain": with_slope - without},
        index=pd.Index(sides[1].tumours.index[keep], name="tumour"),
    )
    tumours["hr"] = sides[1].tumours["hr"][keep]
    n_calibration = int(sides[0].tumours["hr"].isin(train.strata).sum())
    table = pd.DataFrame(rows, columns=["cell_type", "gain", "gain_se", "n_scored"]).set_index("cell_type")
    return Transfer(tumours, table, n_calibration)


def _log_mean(values: np.ndarray) -> np.ndarray:
    """Log of the mean over draws of exponentials."""
    return np.asarray(logsumexp(values, axis=0) - np.log(len(values)))


@dataclass(frozen=True)
class _Terms:
    """What the other cohorts say of one part of one cell type in a new cohort, by draw.

    Attributes
    ----------
    slope
        HR stratum -> slope, (sample,).
    shift
        HR stratum -> shift of the level, (sample,).
    covariate
        Sample x covariate.
    mean, sd
        Prior of the new cohort's intercept, and log shape where there is one: sample x 1 or 2.
    """

    slope: Mapping[str, np.ndarray]
    shift: Mapping[str, np.ndarray]
    covariate: np.ndarray
    mean: np.ndarray
    sd: np.ndarray

    def offsets(self, data: AnalysisSet) -> tuple[np.ndarray, np.ndarray]:
        """Linear predictor less the intercept, with and without HER2, sample x tumour; 0 in an unknown stratum."""
        stratum = data.tumours["hr"].to_numpy(str)
        h = data.tumours["her2_sd"].to_numpy(float)
        without = self.covariate @ data.covariates.to_numpy(float).reshape(len(h), -1).T
        slope = np.zeros_like(without)
        for name, value in self.slope.items():
            own = stratum == name
            slope[:, own] = value[:, None]
            without[:, own] += self.shift[name][:, None]
        return without + slope * h, without


class _NewCohort:
    """Draws of a new cohort's coefficients."""

    def __init__(
        self,
        posterior: xr.Dataset,
        train: AnalysisSet,
        priors: Mapping[str, Prior],
        rng: np.random.Generator,
    ) -> None:
        self.posterior, self.train, self.priors, self.rng = posterior, train, priors, rng
        self.sizes = (posterior.sizes["chain"], posterior.sizes["draw"])
        self._slopes: dict[str, xr.DataArray] = {}
        self._shift: dict[str, xr.DataArray] = {}

    def terms(self, part: str, name: str, shape: str | None) -> _Terms:
        """Coefficients of one part of one cell type; `shape` is the variable of its log shape."""
        if part not in self._slopes:
            own = slopes(self.posterior, part, self.train, self.priors, self.rng)
            # One cohort says nothing of how slopes differ between cohorts: drawn from the prior, that spread would be
            # what is scored. Its own slopes are taken as they are.
            informed = f"{part}_slope_between_cohorts_sd" in self.posterior
            self._slopes[part] = own.new_cohort if informed else own.pooled
            self._shift[part] = self._hr_shift(part)
        slope, shift = self._slopes[part], self._shift[part]
        # A stratum where the part is not modelled has no slope; its tumours are not scored.
        by_stratum = {s: np.nan_to_num(self._flat(slope, name, s)) for s in self.train.strata}
        shifts = {
            s: np.zeros_like(by_stratum[s]) if s == self.train.reference else self._flat(shift, name)
            for s in self.train.strata
        }
        covariate = np.zeros((self.sizes[0] * self.sizes[1], self.train.covariates.shape[1]))
        if f"{part}_covariate" in self.posterior:
            array = self.posterior[f"{part}_covariate"].sel(
                {f"{part}_cell_type": name, "covariate": list(self.train.covariates.columns)}
            )
            covariate = array.transpose("chain", "draw", "covariate").to_numpy().reshape(covariate.shape)
        levels = [self._level(f"{part}_intercept", name)]
        if shape is not None:
            levels.append(self._level(shape, name))
        mean, sd = (np.column_stack([level[i] for level in levels]) for i in (0, 1))
        return _Terms(by_stratum, shifts, covariate, mean, np.maximum(sd, SMALLEST_SD))

    def _flat(self, array: xr.DataArray, name: str, stratum: str | None = None) -> np.ndarray:
        own = array.sel(cell_type=name) if stratum is None else array.sel(cell_type=name, stratum=stratum)
        return np.asarray(own.transpose("chain", "draw").to_numpy().reshape(-1))

    def _spread(self, name: str, cell_type: str = "") -> np.ndarray:
        """SD between cohorts by draw: the posterior's, or where no cohorts inform it the prior's."""
        if name in self.posterior:
            array = self.posterior[name]
            cells = [d for d in array.dims if str(d).endswith("_cell_type")]
            array = array.sel(dict.fromkeys(cells, cell_type))
            return np.asarray(array.transpose("chain", "draw").to_numpy().reshape(-1))
        return np.asarray(self.priors[name].sample(self.rng, self.sizes)).reshape(-1)

    def _level(self, variable: str, name: str) -> tuple[np.ndarray, np.ndarray]:
        typical = coefficient_over_cells(self.posterior, variable, self.train)
        return self._flat(typical, name), self._spread(f"{variable}_between_cohorts_sd", name)

    def _hr_shift(self, part: str) -> xr.DataArray:
        if f"{part}_hr" not in self.posterior:
            return xr.zeros_like(self._slopes[part].isel(stratum=0))
        typical = coefficient_over_cells(self.posterior, f"{part}_hr", self.train)
        if f"{part}_hr_between_cohorts_sd" not in self.posterior:
            return typical
        spread = self._spread(f"{part}_hr_between_cohorts_sd").reshape(*self.sizes, 1)
        unit = self.rng.standard_normal((*self.sizes, typical.sizes["cell_type"]))
        return typical.transpose("chain", "draw", "cell_type") + spread * unit


def _predicted(
    log_density: Callable[[np.ndarray, int], np.ndarray], mean: np.ndarray, sd: np.ndarray
) -> np.ndarray:
    """Log predictive density of the scored tumours, sample x tumour, levels integrated over their calibration.

    Parameters
    ----------
    log_density
        (theta, which) -> log density of the calibration (0) or scored (1) tumours at each sample's theta.
    mean, sd
        Normal prior of theta, sample x dimension.

    Raises
    ------
    ArithmeticError
        A mode was not found.
    """

    def at(theta: np.ndarray, which: int) -> np.ndarray:
        # Far from the mode a density may be 0, or no number at all where a scale underflows: both say "not here".
        with np.errstate(all="ignore"):
            return np.asarray(np.nan_to_num(log_density(theta, which), nan=-np.inf, neginf=-np.inf))

    def objective(theta: np.ndarray) -> np.ndarray:
        prior = -0.5 * (((theta - mean) / sd) ** 2).sum(axis=1) - np.log(sd).sum(axis=1)
        return np.asarray(at(theta, 0).sum(axis=1) + prior)

    mode, root = _laplace(objective, _start(objective, mean))
    x, w = np.polynomial.hermite.hermgauss(N_NODES)
    grid = np.array(np.meshgrid(*[x] * mean.shape[1], indexing="ij")).reshape(mean.shape[1], -1).T
    log_w = (
        np.log(np.array(np.meshgrid(*[w] * mean.shape[1], indexing="ij"))).reshape(mean.shape[1], -1).sum(0)
    )
    log_weight, log_value = [], []
    for node, weight in zip(grid, log_w, strict=True):
        theta = mode + np.sqrt(2.0) * np.einsum("sij,j->si", root, node)
        log_weight.append(weight + (node**2).sum() + objective(theta))
        log_value.append(at(theta, 1))
    weights = np.array(log_weight)
    weights -= logsumexp(weights, axis=0)
    return np.asarray(logsumexp(weights[:, :, None] + np.array(log_value), axis=0))


def _start(objective: Callable[[np.ndarray], np.ndarray], mean: np.ndarray) -> np.ndarray:
    """Best of some places around the prior mean, sample by sample: a cohort may lie far from the others."""
    best, found = mean, objective(mean)
    for shift in product(SHIFTS, *[(-1.0, 0.0, 1.0)] * (mean.shape[1] - 1)):
        trial = mean + np.array(shift)
        value = objective(trial)
        best, found = np.where((value > found)[:, None], trial, best), np.maximum(value, found)
    return best


def _laplace(
    objective: Callable[[np.ndarray], np.ndarray], start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mode of each sample, and a root of the covariance there, by damped Newton steps with numeric derivatives."""
    at, n_dim = start.copy(), start.shape[1]
    best = objective(at)
    nowhere = int((~np.isfinite(best)).sum())
    if nowhere:
        raise ArithmeticError(f"the level of a new cohort was not found in {nowhere} of {len(at)} draws")
    damping = np.zeros(len(at))
    for _ in range(_NEWTON):
        gradient, hessian = _derivatives(objective, at, best)
        values, vectors = np.linalg.eigh(-hessian)
        # Uphill whatever the curvature; damped where the last step led down (Levenberg 1944, Marquardt 1963).
        curvature = np.maximum(np.abs(values), LEAST_CURVATURE)
        along = np.einsum("sji,sj->si", vectors, gradient)
        if np.all((along**2 / curvature).sum(axis=1) / 2.0 < FOUND):
            break
        step = np.einsum("sij,sj->si", vectors, along / (curvature + damping[:, None]))
        step /= np.maximum(1.0, np.abs(step).max(axis=1, keepdims=True) / LARGEST_STEP)
        trial = at + step
        value = objective(trial)
        better = value > best
        at, best = np.where(better[:, None], trial, at), np.where(better, value, best)
        steepest = np.abs(values).max(axis=1)
        damping = np.where(better, damping / 10.0, np.maximum(10.0 * damping, 0.01 * steepest))
        damping[damping < 1e-4 * steepest] = 0.0
    gradient, hessian = _derivatives(objective, at, best)
    covariance = _inverse(hessian)
    left = np.einsum("si,sij,sj->s", gradient, covariance, gradient) / 2.0
    if not np.all(left < FAR_FROM_MODE):  # NaN included
        raise ArithmeticError(
            f"the level of a new cohort was not found in {int((~(left < FAR_FROM_MODE)).sum())} of {len(at)} draws"
        )
    return at, np.linalg.cholesky(covariance + 1e-12 * np.eye(n_dim))


def _derivatives(
    objective: Callable[[np.ndarray], np.ndarray], at: np.ndarray, value: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    n_dim = at.shape[1]
    gradient = np.empty_like(at)
    hessian = np.empty((len(at), n_dim, n_dim))
    unit = _STEP * np.eye(n_dim)
    ahead = [objective(at + unit[i]) for i in range(n_dim)]
    behind = [objective(at - unit[i]) for i in range(n_dim)]
    for i in range(n_dim):
        gradient[:, i] = (ahead[i] - behind[i]) / (2.0 * _STEP)
        hessian[:, i, i] = (ahead[i] - 2.0 * value + behind[i]) / _STEP**2
        for j in range(i):
            both = objective(at + unit[i] + unit[j])
            mixed = (both - ahead[i] - ahead[j] + value) / _STEP**2
            hessian[:, i, j] = hessian[:, j, i] = mixed
    return gradient, hessian


def _inverse(hessian: np.ndarray) -> np.ndarray:
    """Inverse of minus the Hessian, made positive where the objective is not concave."""
    values, vectors = np.linalg.eigh(-hessian)
    return np.asarray(
        np.einsum("sij,sj,skj->sik", vectors, 1.0 / np.maximum(values, LEAST_CURVATURE), vectors)
    )
