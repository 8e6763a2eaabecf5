"""From draws of the hierarchical linear predictor to its HER2 slopes, and to its level at each tumour.

Every function takes and returns xarray objects with named dims; nothing is selected by position.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from bayes_her2.bayesian.amounts import AmountFamily
from bayes_her2.bayesian.design import Structure, modelled_strata
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.standardisation import Support, support_points
from bayes_her2.data import DIFFERENCE, AnalysisSet

SCOPES = ("pooled", "cohort", "new cohort")
MAX_DRAWS_WITH_CONTINUOUS_COVARIATES = 4_000
"""Per posterior: averaging over every single tumour at every draw would take minutes and gain nothing."""


@dataclass(frozen=True)
class Slopes:
    """Slopes of one part on its link scale, by scope, with dims stratum and cell_type (and cohort)."""

    pooled: xr.DataArray
    cohort: xr.DataArray
    new_cohort: xr.DataArray

    def of(self, scope: str) -> xr.DataArray:
        """Slopes of one scope."""
        return {"pooled": self.pooled, "cohort": self.cohort, "new cohort": self.new_cohort}[scope]


def coefficient_over_cells(posterior: xr.Dataset, name: str, data: AnalysisSet) -> xr.DataArray:
    """Return a coefficient over all cell types of the data; NaN where its part is not modelled."""
    array = posterior[name]
    own = next(d for d in array.dims if str(d).endswith("_cell_type"))
    return array.rename({own: "cell_type"}).reindex(cell_type=list(data.abundance.columns))


def coefficient_by_cohort(posterior: xr.Dataset, name: str, data: AnalysisSet) -> xr.DataArray:
    """Return a coefficient by cohort, repeated where it is common to them."""
    if f"{name}_by_cohort" in posterior:
        return coefficient_over_cells(posterior, f"{name}_by_cohort", data).sel(cohort=list(data.cohorts))
    return coefficient_over_cells(posterior, name, data).expand_dims(cohort=list(data.cohorts))


def modelled_mask(data: AnalysisSet, part: str) -> xr.DataArray:
    """Whether a part is modelled, stratum x cell type."""
    table = modelled_strata(data, part)
    return xr.DataArray(
        table.to_numpy(),
        dims=("stratum", "cell_type"),
        coords={"stratum": list(table.index), "cell_type": list(table.columns)},
    )


def slopes(
    posterior: xr.Dataset,
    part: str,
    data: AnalysisSet,
    priors: Mapping[str, Prior],
    rng: np.random.Generator,
) -> Slopes:
    """Log ratios per SD of HER2 of one part, for both HR strata, in every scope.

    A new cohort's slope is the cell type's mean plus a draw of the between-cohort spread; where the data do not
    inform that spread it is drawn from its prior (rows with the status ``prior-only``).
    """
    names = list(data.abundance.columns)
    if f"{part}_slope" not in posterior:
        sizes = posterior.sizes
        empty = xr.DataArray(
            np.full((sizes["chain"], sizes["draw"], len(data.strata), len(names)), np.nan),
            dims=("chain", "draw", "stratum", "cell_type"),
            coords={"stratum": list(data.strata), "cell_type": names},
        )
        return Slopes(empty, empty.expand_dims(cohort=list(data.cohorts)), empty)
    other = [s for s in data.strata if s != data.reference]

    def strata(slope: xr.DataArray, interaction: xr.DataArray | None) -> xr.DataArray:
        rows = [slope.expand_dims(stratum=[data.reference])]
        if interaction is not None:
            rows.append((slope + interaction).expand_dims(stratum=other))
        return xr.concat(rows, dim="stratum", join="exact")

    def deviation(term: str) -> xr.DataArray:
        name = f"{part}_{term}_between_cohorts_sd"
        sizes = posterior.sizes
        shape = (sizes["chain"], sizes["draw"])
        spread = (
            posterior[name]
            if name in posterior
            else xr.DataArray(priors[name].sample(rng, shape), dims=("chain", "draw"))
        )
        unit = xr.DataArray(
            rng.standard_normal((*shape, len(names))),
            dims=("chain", "draw", "cell_type"),
            coords={"cell_type": names},
        )
        return spread * unit

    typical = coefficient_over_cells(posterior, f"{part}_slope", data)
    by_cohort = coefficient_by_cohort(posterior, f"{part}_slope", data)
    if other:
        difference = coefficient_over_cells(posterior, f"{part}_interaction", data)
        difference_by_cohort = coefficient_by_cohort(posterior, f"{part}_interaction", data)
        result = Slopes(
            strata(typical, difference),
            strata(by_cohort, difference_by_cohort),
            strata(typical + deviation("slope"), difference + deviation("interaction")),
        )
    else:
        result = Slopes(
            strata(typical, None), strata(by_cohort, None), strata(typical + deviation("slope"), None)
        )
    mask = modelled_mask(data, part)
    return Slopes(*(s.where(mask) for s in (result.pooled, result.cohort, result.new_cohort)))


def with_difference(log_ratio: xr.DataArray) -> xr.DataArray:
    """Strata and, where both are there, the contrast 'HR- over HR+' (log of the ratio of ratios)."""
    if log_ratio.sizes["stratum"] < 2:
        return log_ratio
    contrast = log_ratio.sel(stratum="HR-") - log_ratio.sel(stratum="HR+")
    return xr.concat(
        [log_ratio, contrast.drop_vars("stratum", errors="ignore").expand_dims(stratum=[DIFFERENCE])],
        dim="stratum",
    )


class Levels:
    """Points that stand for the tumours, and the linear predictor at h = 0 of each of them in every draw."""

    def __init__(
        self, posterior: xr.Dataset, data: AnalysisSet, shape: Structure, support: Support, thin: int
    ) -> None:
        self.posterior, self.data, self.shape, self.support, self.thin = posterior, data, shape, support, thin
        tumours = data.tumours
        rows = tumours.iloc[support.row]  # by position: `row` is a position by definition
        self.cohort = rows["cohort"].to_numpy(str)
        self.stratum = rows["hr"].to_numpy(str)
        self.other = (rows["hr"] != data.reference).to_numpy(float)
        self.covariates = data.covariates.iloc[support.row]
        self.group = self.cohort.astype(object)
        if shape.centres:
            nested = rows["cohort"].isin(set(shape.centres.values())).to_numpy()
            self.group[nested] = (rows["cohort"] + "/" + rows["centre"].fillna("")).to_numpy()[nested]

    def base(self, part: str, name: str) -> np.ndarray | None:
        """Linear predictor at h = 0 of each support point, sample x point."""
        if f"{part}_intercept" not in self.posterior:
            return None
        own = f"{part}_cell_type"
        if name not in self.posterior[f"{part}_intercept"][own].to_numpy():
            return None
        coefficient = {
            variable: self.posterior[variable].sel({own: name}, drop=True)
            for variable in self.posterior.data_vars
            if own in self.posterior[variable].dims
        }

        def flat(array: xr.DataArray) -> np.ndarray:
            return np.asarray(array.stack(sample=("chain", "draw")).transpose("sample", ...).to_numpy())

        def by_label(term: str, labels: np.ndarray) -> np.ndarray:
            """Coefficient of each label, sample x point, repeated where common to the cohorts."""
            if f"{part}_{term}_by_cohort" not in coefficient:
                return flat(coefficient[f"{part}_{term}"])[:, None]
            array = coefficient[f"{part}_{term}_by_cohort"]
            return flat(array.sel(cohort=xr.DataArray(labels, dims="point")))

        base = by_label("intercept", self.cohort) + np.zeros((1, len(self.cohort)))
        nested = np.flatnonzero(np.isin(self.group.astype("str"), list(self.shape.centres)))
        if nested.size:
            labels = xr.DataArray([str(self.group[i]) for i in nested], dims="point")
            base[:, nested] = flat(coefficient[f"{part}_centre_intercept"].sel(centre=labels))
        if f"{part}_hr" in self.posterior:
            base = base + self.other * by_label("hr", self.cohort)
        if self.covariates.shape[1]:
            slope = coefficient[f"{part}_covariate"].sel(covariate=list(self.covariates.columns))
            base = base + flat(slope) @ self.covariates.to_numpy(float).T
        return base


class AmountLevels(Levels):
    """The same with the distribution of the amounts."""

    def __init__(
        self,
        posterior: xr.Dataset,
        data: AnalysisSet,
        shape: Structure,
        support: Support,
        thin: int,
        family: AmountFamily,
    ) -> None:
        super().__init__(posterior, data, shape, support, thin)
        self.family = family


def her2_support(data: AnalysisSet, shape: Structure, her2_sd: np.ndarray | None = None) -> Support:
    """Points that stand for the tumours in averages over their HER2 values.

    Parameters
    ----------
    data, shape
        Analysis set and its structure.
    her2_sd
        Values of HER2, one per tumour; their own if None.
    """
    alike = pd.concat([data.tumours[["cohort", "hr"]], data.covariates], axis=1)
    if shape.centres:
        alike["centre"] = data.tumours["centre"]
    return support_points(data.tumours["her2_sd"].to_numpy(float) if her2_sd is None else her2_sd, alike)


def thinning(posterior: xr.Dataset, data: AnalysisSet) -> int:
    """Every how many-th draw is used in averages over tumours: each, unless covariates make tumours unique."""
    if not any(kind.startswith("continuous") for kind in data.covariate_scaling["kind"]):
        return 1
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    return max(1, int(total // MAX_DRAWS_WITH_CONTINUOUS_COVARIATES))
