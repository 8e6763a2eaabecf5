"""From the draws of a composition model to its estimands, log likelihoods and replications, all labelled.

A draw has the log odds of presence and the log mean amounts of every tumour; what is said of shares follows from both
by `scaled_dirichlet`. Averages over tumours visit draws in chunks, because every cell type's share depends on all the
others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import expit

from bayes_her2.bayesian.composition import composition_of
from bayes_her2.bayesian.density import MAX_DRAWS, MAX_REPLICATES, draws_of, thinned
from bayes_her2.bayesian.design import Structure, structure
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.scaled_dirichlet import log_density, mean_shares, random_shares, share_above
from bayes_her2.bayesian.slopes import (
    SCOPES,
    Levels,
    coefficient_by_cohort,
    her2_support,
    slopes,
    with_difference,
)
from bayes_her2.bayesian.standardisation import Support
from bayes_her2.data import PRESENCE_HELD_BELOW, AnalysisSet

MAX_AVERAGED_DRAWS, MAX_DRAWS_OF_UNIQUE = 4_000, 2_000
"""Per posterior, evenly thinned, in averages over tumours; fewer where continuous covariates make tumours unique."""
CHUNK, LARGE_CHUNK = 400_000, 4_000_000
"""Tumours x cell types x draws held at once: in the quadratures, and where each number is used once."""
LARGEST_CUTOFF = 0.999
PARTS = ("presence", "amount")


def composition_estimands(
    posterior: xr.Dataset, data: AnalysisSet, priors: Mapping[str, Prior], rng: np.random.Generator
) -> dict[tuple[str, str], xr.DataArray]:
    """Draws of `presence`, `amount`, `overall` and `high_abundance`, as log ratios.

    With S the cell types that a tumour has, drawn by presence, and y their scaled Dirichlet shares,

        presence       = the HER2 slope of the log odds,
        amount         = log  sum_i E[y_i | present, h_i + 1] / sum_i E[y_i | present, h_i],
        overall        = log  sum_i E[y_i | h_i + 1] / sum_i E[y_i | h_i],
        high_abundance = logit mean_i P(high_i | h_i + 1) - logit mean_i P(high_i | h_i),

    over the tumours i of a stratum (in the scope ``cohort`` of that cohort), with the slopes of *all* cell types those
    of the scope: one cell type's share falls where others rise. E[y_i] is given that a tumour has any cell type, so
    that at every h it sums to 1 over the composition's cell types. A presence that is not modelled is held at the
    share of the stratum's tumours that have it.

    Returns
    -------
    dict
        (estimand, scope) -> draws with dims chain, draw, stratum (HR+, HR-, HR- over HR+), cell_type and, in the scope
        ``cohort``, cohort; NaN where not estimable. Averages over tumours may hold fewer draws.
    """
    own = {part: slopes(posterior, part, data, priors, rng) for part in PARTS}
    draws = {("presence", scope): own["presence"].of(scope) for scope in SCOPES}
    unique = any(kind.startswith("continuous") for kind in data.covariate_scaling["kind"])
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    thin = -(-total // (MAX_DRAWS_OF_UNIQUE if unique else MAX_AVERAGED_DRAWS))
    thinned = posterior.isel(draw=slice(None, None, thin))
    shape = structure(data)
    for scope in SCOPES:
        by_part = {part: own[part].of(scope).isel(draw=slice(None, None, thin)) for part in PARTS}
        for estimand, array in _averaged(thinned, data, shape, by_part).items():
            draws[estimand, scope] = array
    return {key: with_difference(array) for key, array in draws.items()}


def _averaged(
    posterior: xr.Dataset, data: AnalysisSet, shape: Structure, own: Mapping[str, xr.DataArray]
) -> dict[str, xr.DataArray]:
    """Averages over tumours with one scope's slopes (``own``: part -> chain, draw, stratum, cell_type, ...)."""
    support = her2_support(data, shape)
    template = own["amount"].transpose("chain", "draw", ...)
    result = {name: xr.full_like(template, np.nan) for name in ("amount", "overall", "high_abundance")}
    by_cohort = "cohort" in template.dims

    def fill(places: slice) -> None:
        chunk = posterior.isel(draw=places)
        tumours = _Shares(chunk, data, shape, support)
        for stratum in data.strata:
            for cohort in data.cohorts if by_cohort else (None,):
                points = tumours.stratum == stratum
                where = {"stratum": stratum}
                if cohort is not None:
                    points &= tumours.cohort == cohort
                    where["cohort"] = cohort
                if not points.any():
                    continue  # nobody to average over
                slope = {
                    part: tumours.flat(array.isel(draw=places).sel(where), tumours.cell_types)
                    for part, array in own.items()
                }
                for name, values in tumours.ratios(stratum, points, slope).items():
                    target = result[name].isel(draw=places).sel(where)
                    sizes = (chunk.sizes["chain"], chunk.sizes["draw"], -1)
                    found = xr.DataArray(
                        values.reshape(sizes),
                        dims=("chain", "draw", "cell_type"),
                        coords={"cell_type": list(tumours.cell_types)},
                    ).reindex(cell_type=template["cell_type"])
                    # A view: what is assigned here is assigned in `result`.
                    target.values[...] = found.transpose(*target.dims).to_numpy()

    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(fill, _chunks(posterior, len(support.h) * len(data.abundance.columns), CHUNK)))
    return result


def _chunks(posterior: xr.Dataset, cells: int, size: int) -> Iterator[slice]:
    """Places along ``draw`` that are worked on together: about `size` numbers in each array."""
    step = max(1, size // (cells * posterior.sizes["chain"]))
    for first in range(0, posterior.sizes["draw"], step):
        yield slice(first, first + step)


@dataclass(frozen=True)
class _Predictors:
    """Log odds of presence, log mean and log shape of the amounts: sample x point x cell type of the composition."""

    present: np.ndarray
    log_mean: np.ndarray
    log_shape: np.ndarray


class _Shares(Levels):
    """Points that stand for tumours, with the level of every cell type of the composition in every draw."""

    def __init__(self, posterior: xr.Dataset, data: AnalysisSet, shape: Structure, support: Support) -> None:
        super().__init__(posterior, data, shape, support, 1)
        self.cell_types = tuple(str(c) for c in posterior["amount_intercept"]["amount_cell_type"].to_numpy())
        self.kept = pd.Series(composition_of(data).kept, index=data.tumours.index)
        self.bases = {part: self._bases(part) for part in PARTS}
        labels = xr.DataArray(self.cohort, dims="point")
        shapes = coefficient_by_cohort(posterior, "log_shape", data).sel(
            cohort=labels, cell_type=list(self.cell_types)
        )
        self.log_shape = np.asarray(
            shapes.stack(sample=("chain", "draw")).transpose("sample", "point", "cell_type").to_numpy()
        )

    def _bases(self, part: str) -> np.ndarray:
        """Linear predictor at h = 0, sample x point x cell type; NaN where the part is not modelled."""
        n_samples = self.posterior.sizes["chain"] * self.posterior.sizes["draw"]
        found = np.full((n_samples, len(self.cohort), len(self.cell_types)), np.nan)
        for i, name in enumerate(self.cell_types):
            base = self.base(part, name)
            if base is not None:
                found[:, :, i] = base
        return found

    @staticmethod
    def flat(slope: xr.DataArray, cell_types: tuple[str, ...]) -> np.ndarray:
        """Slopes as sample x cell type."""
        chosen = slope.sel(cell_type=list(cell_types)).transpose("chain", "draw", "cell_type").to_numpy()
        return np.asarray(chosen.reshape(-1, len(cell_types)))

    def modelled(self, stratum: str, part: str) -> np.ndarray:
        """Whether a part is modelled in a stratum, by cell type."""
        return np.array(
            [getattr(self.data.part(name, stratum), f"{part}_modelled") for name in self.cell_types]
        )

    def held(self, stratum: str) -> np.ndarray:
        """Share of a stratum's tumours with each cell type: what a presence that is not modelled is held at."""
        parts = [self.data.part(name, stratum) for name in self.cell_types]
        return np.array([part.n_positive / part.n for part in parts])

    def present(self, stratum: str, log_odds: np.ndarray) -> np.ndarray:
        """Probability of presence from log odds (..., cell type of the composition)."""
        return np.where(self.modelled(stratum, "presence"), expit(log_odds), self.held(stratum))

    def ratios(
        self, stratum: str, points: np.ndarray, slope: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Log ratios at h + 1 over h, each sample x cell type of the composition."""
        inside = self.modelled(stratum, "amount")
        h, weight = (
            self.support.h[points][:, None],
            self.support.weight[points] / self.support.weight[points].sum(),
        )
        shape = np.exp(self.log_shape[:, points][:, :, inside])
        cutoff = self.cutoffs(stratum, points)[:, inside]
        means = []
        for at in (h, h + 1.0):
            log_odds, log_mean = (
                self.bases[part][:, points] + slope[part][:, None, :] * at for part in PARTS
            )
            present = self.present(stratum, log_odds)[:, :, inside]
            given_present, any_present = mean_shares(present, log_mean[:, :, inside], shape)
            having = present / any_present[:, :, None]
            high = having * share_above(cutoff, present, log_mean[:, :, inside], shape)
            averages = (given_present, having * given_present, high)
            means.append([np.einsum("spc,p->sc", array, weight) for array in averages])
        (amount, overall, share), (amount_up, overall_up, share_up) = means
        held, modelled = self.held(stratum)[inside], self.modelled(stratum, "presence")[inside]
        averaged = modelled | (1.0 - held < PRESENCE_HELD_BELOW)
        rated = averaged & (modelled | (cutoff > 0).any(axis=0))
        with np.errstate(
            divide="ignore", invalid="ignore"
        ):  # a share of 1 where high is a presence held at 1
            of_high = np.log(share_up / (1.0 - share_up)) - np.log(share / (1.0 - share))
        found = {
            "amount": np.log(amount_up) - np.log(amount),
            "overall": np.where(averaged, np.log(overall_up) - np.log(overall), np.nan),
            "high_abundance": np.where(rated, of_high, np.nan),
        }
        full = {name: np.full((len(values), len(self.cell_types)), np.nan) for name, values in found.items()}
        for name, values in found.items():
            full[name][:, inside] = values
        return full

    def cutoffs(self, stratum: str, points: np.ndarray) -> np.ndarray:
        """Share from which an abundance is high, point x cell type; 0 where high means present.

        Cutoffs are shares of the whole; those of the composition are larger where cell types are left out of it, by
        the mean of what it keeps in the stratum of the cohort.
        """
        tumours = self.data.tumours[self.data.tumours["hr"] == stratum]
        kept = self.kept.loc[tumours.index].groupby(tumours["cohort"]).mean()
        labels = self.cohort[points]
        cutoff = self.data.high_cutoffs.loc[labels, list(self.cell_types)].to_numpy(float)
        return np.asarray(np.minimum(cutoff / kept.loc[labels].to_numpy()[:, None], LARGEST_CUTOFF))

    def at_tumours(self) -> _Predictors:
        """Predictors at the HER2 value of each point, with the slopes of its own cohort."""
        labels = xr.DataArray(self.cohort, dims="point")

        def by_point(name: str) -> np.ndarray:
            array = coefficient_by_cohort(self.posterior, name, self.data)
            own = array.sel(cell_type=list(self.cell_types)).sel(cohort=labels)
            return np.asarray(
                own.stack(sample=("chain", "draw")).transpose("sample", "point", "cell_type").to_numpy()
            )

        found = {}
        for part in PARTS:
            eta = self.bases[part]
            if f"{part}_slope" in self.posterior:
                slope = by_point(f"{part}_slope")
                if self.shape.hr_term:
                    slope = slope + self.other[:, None] * by_point(f"{part}_interaction")
                eta = eta + slope * self.support.h[:, None]
            found[part] = eta
        return _Predictors(found["presence"], found["amount"], self.log_shape)


def composition_log_likelihood(
    posterior: xr.Dataset,
    data: AnalysisSet,
    *,
    tumours: Sequence[str] | None = None,
    max_draws: int = MAX_DRAWS,
) -> xr.DataArray:
    """Log likelihood of each tumour: which of its cell types are present, and the shares of those that are.

    The density is with respect to length on the face of the simplex that the present cell types span, and counting
    measure over faces. A presence that is not modelled in the tumour's stratum contributes nothing. That a tumour has
    some cell type is not conditioned on, as it is in means: where one is always present, it is certain.

    Parameters
    ----------
    posterior, data
        Draws and analysis set.
    tumours
        Labels of the tumours, all if None: those left out of the fit may be among them.
    max_draws
        Draws used, evenly thinned.

    Returns
    -------
    xarray.DataArray
        Dims chain, draw, tumour.
    """
    posterior = thinned(posterior, max_draws)
    composition, shape = composition_of(data), structure(data)
    n = len(data.tumours)
    support = Support(data.tumours["her2_sd"].to_numpy(float), np.ones(n), np.arange(n))
    found = np.zeros((posterior.sizes["chain"], posterior.sizes["draw"], n))
    for places in _chunks(posterior, n * len(data.abundance.columns), LARGE_CHUNK):
        chunk = posterior.isel(draw=places)
        points = _Shares(chunk, data, shape, support)
        at = points.at_tumours()
        order = [composition.cell_types.index(name) for name in points.cell_types]
        shares, counted = composition.shares[:, order], composition.counted[:, order]
        own = log_density(shares, counted, at.log_mean, at.log_shape)
        modelled = np.stack([points.modelled(s, "presence") for s in points.stratum])
        has = data.abundance[list(points.cell_types)].to_numpy(float) > 0
        log_odds = np.where(modelled, at.present, 0.0)
        presence = np.where(modelled, np.where(has, log_odds, 0.0) - np.logaddexp(0.0, log_odds), 0.0)
        sizes = (chunk.sizes["chain"], chunk.sizes["draw"], n)
        found[:, places] = (own + presence.sum(axis=-1)).reshape(sizes)
    result = xr.DataArray(
        found,
        dims=("chain", "draw", "tumour"),
        coords=draws_of(posterior) | {"tumour": list(data.tumours.index)},
        name="log_likelihood",
    )
    return result if tumours is None else result.sel(tumour=list(tumours))


def composition_replicate(
    posterior: xr.Dataset, data: AnalysisSet, rng: np.random.Generator, *, max_draws: int = MAX_REPLICATES
) -> xr.DataArray:
    """Abundances drawn from the posterior predictive distribution of every tumour, exact zeros included.

    Which cell types a tumour has is drawn again until it has any; then their shares. Presence that is not modelled is
    drawn at the share of the stratum's tumours that have the cell type. Shares are on the scale of the data: what
    belongs to cell types outside the composition keeps its share, and these are NaN.

    Parameters
    ----------
    posterior, data
        Draws and analysis set.
    rng
        Random generator.
    max_draws
        Draws used, evenly thinned.

    Returns
    -------
    xarray.DataArray
        Dims chain, draw, tumour, cell_type.
    """
    posterior = thinned(posterior, max_draws)
    composition, shape = composition_of(data), structure(data)
    n = len(data.tumours)
    support = Support(data.tumours["her2_sd"].to_numpy(float), np.ones(n), np.arange(n))
    parts = []
    for places in _chunks(posterior, n * len(data.abundance.columns), LARGE_CHUNK):
        tumours = _Shares(posterior.isel(draw=places), data, shape, support)
        at = tumours.at_tumours()
        inside = np.stack([tumours.modelled(s, "amount") for s in tumours.stratum])
        probability = np.empty_like(at.log_mean)
        for stratum in data.strata:
            own = tumours.stratum == stratum
            probability[:, own] = tumours.present(stratum, at.present[:, own])
        probability = np.where(inside, probability, 0.0)
        has = rng.random(probability.shape) < probability
        while (empty := ~has.any(axis=-1)).any():
            has[empty] = rng.random((int(empty.sum()), has.shape[-1])) < probability[empty]
        shares = random_shares(rng, at.log_mean, np.exp(at.log_shape), has)
        drawn = np.where(inside, shares * composition.kept[:, None], np.nan)
        parts.append(drawn.reshape(posterior.sizes["chain"], -1, *drawn.shape[1:]))
    found = xr.DataArray(
        np.concatenate(parts, axis=1),
        dims=("chain", "draw", "tumour", "cell_type"),
        coords=draws_of(posterior)
        | {"tumour": list(data.tumours.index), "cell_type": list(tumours.cell_types)},
    )
    return found.reindex(cell_type=list(data.abundance.columns))
