"""The density of a tumour in numbers: log likelihood by draw, and new tumours from the posterior predictive.

Models are compared by these, so they rest on the draws and the analysis set alone, not on the graph; tests hold the
graph to them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import expit

from bayes_her2.bayesian.amounts import AmountFamily
from bayes_her2.bayesian.design import modelled_strata, structure
from bayes_her2.bayesian.slopes import Levels, coefficient_by_cohort
from bayes_her2.bayesian.standardisation import Support
from bayes_her2.data import PRESENCE_HELD_BELOW, AnalysisSet

MAX_DRAWS = 4_000
"""Draws used, evenly thinned: 4,000 by 20,000 tumours are 640 MB."""
MAX_REPLICATES = 1_000
"""Of the posterior predictive: tumour x cell type x replicate is held in memory, 130 MB for 737 tumours."""


def not_shares(data: AnalysisSet) -> str:
    """Why a model of shares between 0 and 1 cannot have these abundances, or ''."""
    if data.scale != "relative":
        return (
            f"it is a model of shares between 0 and 1, and the study's scale is {data.scale} ({data.scale_label}). "
            "Leave it out, or analyse the relative scale."
        )
    whole = data.abundance.ge(1.0)
    if whole.to_numpy().any():
        first = whole.index[whole.any(axis=1)][0]
        return (
            f"{int(whole.to_numpy().sum())} shares are 1 (first: {first}), where its density has no value. Leave it "
            "out, or exclude these tumours."
        )
    return ""


def thinned(posterior: xr.Dataset, max_draws: int) -> xr.Dataset:
    """At most so many draws of a posterior, evenly taken from every chain."""
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    return posterior.isel(draw=slice(None, None, -(-total // max_draws)))


def draws_of(posterior: xr.Dataset) -> dict[str, xr.DataArray]:
    """Coordinates that say of which draws an array is, so that it is not set against others by position."""
    return {d: posterior[d] for d in ("chain", "draw") if d in posterior.coords}


class Predictors(Levels):
    """Linear predictors and shapes of single tumours in every draw.

    Parameters
    ----------
    posterior, data
        Draws and analysis set.
    tumours
        Labels of the tumours; all if None.
    max_draws
        Draws used, evenly thinned.
    """

    def __init__(
        self,
        posterior: xr.Dataset,
        data: AnalysisSet,
        tumours: Sequence[str] | None = None,
        *,
        max_draws: int = MAX_DRAWS,
    ) -> None:
        posterior = thinned(posterior, max_draws)
        labels = list(data.tumours.index if tumours is None else tumours)
        rows = data.tumours.index.get_indexer(pd.Index(labels))
        her2_sd = data.tumours["her2_sd"].loc[labels].to_numpy(float)
        support = Support(her2_sd, np.ones(len(labels)), rows)
        super().__init__(posterior, data, structure(data), support, 1)
        self.labels = labels
        self.sizes = (posterior.sizes["chain"], posterior.sizes["draw"])
        self.draws = draws_of(posterior)
        self._factor: np.ndarray | None = None

    def _at_tumours(self, array: xr.DataArray, name: str) -> np.ndarray:
        own = array.sel(cell_type=name, drop=True).sel(cohort=xr.DataArray(self.cohort, dims="point"))
        return np.asarray(own.stack(sample=("chain", "draw")).transpose("sample", "point").to_numpy())

    def eta(self, part: str, name: str) -> np.ndarray | None:
        """Linear predictor of a part for each tumour, sample x tumour; None where the cell type lacks the part."""
        base = self.base(part, name)
        if base is None:
            return None
        slope = self._at_tumours(coefficient_by_cohort(self.posterior, f"{part}_slope", self.data), name)
        if f"{part}_interaction" in self.posterior:
            difference = coefficient_by_cohort(self.posterior, f"{part}_interaction", self.data)
            slope = slope + self.other * self._at_tumours(difference, name)
        return np.asarray(base + slope * self.support.h + self.bent(part, name, self.support.h))

    def log_shape(self, variable: str, name: str) -> np.ndarray:
        """Log shape (or scale) of a cell type in each tumour's cohort, sample x tumour."""
        return self._at_tumours(coefficient_by_cohort(self.posterior, variable, self.data), name)

    def shared(self, name: str, rng: np.random.Generator) -> np.ndarray | float:
        """Give what a new factor of each tumour adds to the predictor of an amount; 0 where the model has no factor."""
        if "amount_loading" not in self.posterior:
            return 0.0
        if self._factor is None:  # one for each draw and tumour, whatever the cell type
            self._factor = rng.standard_normal((self.sizes[0] * self.sizes[1], len(self.labels)))
        loading = self.posterior["amount_loading"].sel(amount_cell_type=name, drop=True)
        return np.asarray(loading.stack(sample=("chain", "draw")).to_numpy()[:, None] * self._factor)

    def modelled(self, part: str, name: str) -> np.ndarray:
        """Whether a part of a cell type is modelled in each tumour's HR stratum."""
        strata = modelled_strata(self.data, part)[name]
        return np.asarray(strata.loc[self.stratum].to_numpy(bool))

    def y(self, name: str) -> np.ndarray:
        """Abundance of a cell type in each tumour."""
        return np.asarray(self.data.abundance[name].loc[self.labels].to_numpy(float))


class Density(ABC):
    """Density of a tumour's abundances, cell type by cell type, given one linear predictor for each part."""

    PARTS: ClassVar[tuple[str, ...]]
    SHAPES: ClassVar[dict[str, str]]
    """Part -> variable of its log shape, for the parts that have one."""

    @abstractmethod
    def enters(self, part: str, y: np.ndarray) -> np.ndarray:
        """Whether a part says something about abundances y, elementwise."""

    @abstractmethod
    def log_density(
        self, part: str, y: np.ndarray, eta: np.ndarray, log_shape: np.ndarray | None
    ) -> np.ndarray:
        """Log density of a part at abundances that enter it; arguments broadcast."""

    @abstractmethod
    def draw(self, at: Predictors, name: str, rng: np.random.Generator) -> np.ndarray:
        """One new abundance of a cell type for each draw and tumour; NaN where it is not modelled."""

    def terms(self, at: Predictors) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
        """Each part and cell type: part, name, which tumours it counts, and their log density by sample."""
        for part in self.PARTS:
            for name in map(str, at.data.abundance.columns):
                eta = at.eta(part, name)
                if eta is None:
                    continue
                y = at.y(name)
                counted = at.modelled(part, name) & self.enters(part, y)
                shape = at.log_shape(self.SHAPES[part], name)[:, counted] if part in self.SHAPES else None
                yield part, name, counted, self.log_density(part, y[counted], eta[:, counted], shape)

    def log_likelihood(
        self,
        posterior: xr.Dataset,
        data: AnalysisSet,
        *,
        tumours: Sequence[str] | None = None,
        max_draws: int = MAX_DRAWS,
    ) -> xr.DataArray:
        """Log likelihood of each tumour, summed over its cell types and over the parts of the density.

        Parts that are not modelled in the tumour's HR stratum contribute nothing.

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
            Dims chain, draw, tumour; the coordinates of chain and draw say of which draws.
        """
        at = Predictors(posterior, data, tumours, max_draws=max_draws)
        found = np.zeros((at.sizes[0] * at.sizes[1], len(at.labels)))
        for _, _, counted, values in self.terms(at):
            found[:, counted] += values
        return xr.DataArray(
            found.reshape(*at.sizes, len(at.labels)),
            dims=("chain", "draw", "tumour"),
            coords=at.draws | {"tumour": at.labels},
            name="log_likelihood",
        )

    def replicate(
        self,
        posterior: xr.Dataset,
        data: AnalysisSet,
        rng: np.random.Generator,
        *,
        tumours: Sequence[str] | None = None,
        max_draws: int = MAX_REPLICATES,
    ) -> xr.DataArray:
        """Abundances of new tumours with the covariates of these, one for each draw: the posterior predictive.

        Parameters
        ----------
        posterior, data, tumours
            As in `log_likelihood`.
        rng
            Source of randomness.
        max_draws
            Draws used, evenly thinned.

        Returns
        -------
        xarray.DataArray
            Dims chain, draw, tumour, cell_type, in the units of the data, with exact zeros; NaN where the cell type is
            not modelled in the tumour's HR stratum.
        """
        at = Predictors(posterior, data, tumours, max_draws=max_draws)
        names = [str(c) for c in data.abundance.columns]
        drawn = np.stack([self.draw(at, name, rng) for name in names], axis=-1)
        return xr.DataArray(
            drawn.reshape(*at.sizes, len(at.labels), len(names)),
            dims=("chain", "draw", "tumour", "cell_type"),
            coords=at.draws | {"tumour": at.labels, "cell_type": names},
            name="abundance",
        )

    def replicated(self, draw: xr.Dataset, data: AnalysisSet, rng: np.random.Generator) -> AnalysisSet:
        """Return the same tumours with abundances of one draw; those that are not modelled stay as they are."""
        return with_drawn_abundance(data, self.replicate(draw, data, rng, max_draws=1))


def with_drawn_abundance(data: AnalysisSet, drawn: xr.DataArray) -> AnalysisSet:
    """Return the same tumours with the abundances of the first draw; those that are not modelled stay as they are."""
    first = drawn.isel(chain=0, draw=0, drop=True).transpose("tumour", "cell_type")
    made = pd.DataFrame(
        first.to_numpy(), index=first["tumour"].to_numpy(), columns=first["cell_type"].to_numpy()
    )
    return data.with_abundance(made.where(made.notna(), data.abundance))


class HurdleDensity(Density):
    """Presence Bernoulli, and where present an amount.

    With respect to the sum of a unit mass at 0 and length above it, for each cell type.
    """

    PARTS = ("presence", "amount")
    SHAPES: ClassVar[dict[str, str]] = {"amount": "log_shape"}

    def __init__(self, family: AmountFamily) -> None:
        self.family = family

    def enters(self, part: str, y: np.ndarray) -> np.ndarray:  # noqa: D102
        return y > 0 if part == "amount" else np.ones(len(y), dtype=bool)

    def log_density(  # noqa: D102
        self, part: str, y: np.ndarray, eta: np.ndarray, log_shape: np.ndarray | None
    ) -> np.ndarray:
        if part == "presence" or log_shape is None:
            return np.asarray(np.where(y > 0, eta, 0.0) - np.logaddexp(0.0, eta))
        return self.family.log_density(y, eta, np.exp(log_shape))

    def draw(self, at: Predictors, name: str, rng: np.random.Generator) -> np.ndarray:  # noqa: D102
        amount = at.eta("amount", name)
        n_samples = at.sizes[0] * at.sizes[1]
        drawn = np.full((n_samples, len(at.labels)), np.nan)
        modelled = at.modelled("amount", name)
        if amount is None or not modelled.any():
            return drawn
        share = np.full(drawn.shape, np.nan)
        presence, told = at.eta("presence", name), at.modelled("presence", name)
        if presence is not None:
            share[:, told] = expit(presence[:, told])
        held = ~told & modelled
        for i in np.flatnonzero(held):
            positive = at.data.share_positive(name, str(at.cohort[i]), str(at.stratum[i]))
            part = at.data.part(name, str(at.stratum[i]))
            if part.n_zero / part.n < PRESENCE_HELD_BELOW:
                share[:, i] = positive
        modelled = modelled & np.isfinite(share[0])
        shape = np.exp(at.log_shape("log_shape", name)[:, modelled])
        present = rng.random((n_samples, int(modelled.sum()))) < share[:, modelled]
        amount = amount + at.shared(name, rng)
        amounts = self.family.random(rng, amount[:, modelled], shape, None)
        drawn[:, modelled] = np.where(present, amounts, 0.0)
        return drawn
