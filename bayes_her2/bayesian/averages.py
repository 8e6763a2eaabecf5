"""Estimands that are averages over tumours: scope by scope, stratum by stratum, one cell type at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import xarray as xr

from bayes_her2.bayesian.slopes import SCOPES, Levels, Slopes


@dataclass(frozen=True)
class OneStratum:
    """A cell type among the tumours of one HR stratum, in one scope.

    Attributes
    ----------
    name, stratum
        Cell type and HR stratum.
    points
        Which of the points that stand for tumours these are.
    h, weight
        HER2 of these points, and for how many tumours each stands.
    base
        Part -> linear predictor at h = 0, sample x all points; None where the part is not modelled.
    slope
        Part -> slope of the scope, sample x 1.
    """

    name: str
    stratum: str
    points: np.ndarray
    h: np.ndarray
    weight: np.ndarray
    base: Mapping[str, np.ndarray | None]
    slope: Mapping[str, np.ndarray]


class Averages(Levels, ABC):
    """Averages over the tumours of each stratum: of all cohorts, or of one with its own slope."""

    PARTS: ClassVar[tuple[str, ...]]

    @property
    @abstractmethod
    def estimands(self) -> tuple[str, ...]:
        """Names of the estimands that `contrasts` gives."""

    @abstractmethod
    def contrasts(self, one: OneStratum) -> dict[str, np.ndarray]:
        """Estimand -> log ratio by sample; NaN where not estimable."""

    def shapes(self, variable: str, name: str) -> np.ndarray:
        """Exponential of a log shape (or scale) of a cell type at every point, sample x point."""
        stem = f"{variable}_by_cohort"
        array = self.posterior[stem if stem in self.posterior else variable]
        own = next(d for d in array.dims if str(d).endswith("_cell_type"))
        array = array.sel({own: name}, drop=True)
        if "cohort" in array.dims:
            array = array.sel(cohort=xr.DataArray(self.cohort, dims="point"))
        else:
            array = array.expand_dims(point=len(self.cohort))
        return np.exp(array.stack(sample=("chain", "draw")).transpose("sample", "point").to_numpy())

    def over_cell_types(self, slopes: Mapping[str, Slopes]) -> dict[tuple[str, str], xr.DataArray]:
        """All estimands of all cell types: (estimand, scope) -> log ratio draws."""
        names = [str(c) for c in self.data.abundance.columns]
        with ThreadPoolExecutor(max_workers=2) as pool:
            per_cell = list(pool.map(lambda name: self._cell_type(name, slopes), names))
        return {
            key: xr.concat([cell[key] for cell in per_cell], dim=pd.Index(names, name="cell_type"))
            for key in per_cell[0]
        }

    def _cell_type(self, name: str, slopes: Mapping[str, Slopes]) -> dict[tuple[str, str], xr.DataArray]:
        base = {part: self.base(part, name) for part in self.PARTS}
        return {
            (estimand, scope): array
            for scope in SCOPES
            for estimand, array in self._scope(
                name, scope, {part: slopes[part].of(scope) for part in self.PARTS}, base
            ).items()
        }

    def _scope(
        self,
        name: str,
        scope: str,
        slopes: Mapping[str, xr.DataArray],
        base: Mapping[str, np.ndarray | None],
    ) -> dict[str, xr.DataArray]:
        thinned = slice(None, None, self.thin)
        own = {part: s.sel(cell_type=name, drop=True).isel(draw=thinned) for part, s in slopes.items()}
        template = own[self.PARTS[-1]].transpose("chain", "draw", ...)
        result = {estimand: xr.full_like(template, np.nan) for estimand in self.estimands}
        n_chain, n_draw = template.sizes["chain"], template.sizes["draw"]
        for stratum in self.data.strata:
            for cohort in self.data.cohorts if scope == "cohort" else (None,):
                points = self.stratum == stratum
                if cohort is not None:
                    points &= self.cohort == cohort
                where = {"stratum": stratum} | ({"cohort": cohort} if cohort is not None else {})
                if not points.any():
                    # A cohort without this stratum borrows its slope; there is nobody to average over.
                    continue
                found = self.contrasts(
                    OneStratum(
                        name,
                        stratum,
                        points,
                        self.support.h[points],
                        self.support.weight[points],
                        base,
                        {
                            part: s.sel(where).transpose("chain", "draw").to_numpy().reshape(-1, 1)
                            for part, s in own.items()
                        },
                    )
                )
                for estimand, values in found.items():
                    result[estimand].loc[where] = xr.DataArray(
                        values.reshape(n_chain, n_draw), dims=("chain", "draw")
                    )
        return result
