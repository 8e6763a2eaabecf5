"""From draws of the hierarchical linear predictor to its HER2 slopes, and to its level at each tumour.

Every function takes and returns xarray objects with named dims; nothing is selected by position.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import xarray as xr

from bayes_her2.bayesian.amounts import AmountFamily
from bayes_her2.bayesian.design import Bends, Structure, bends, modelled_strata
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.standardisation import N_NODES, Support, support_points
from bayes_her2.data import DIFFERENCE, AnalysisSet
from bayes_her2.estimates import HR_COMPARISONS

NODES_OF_CURVE = 24
"""A spline is no polynomial, which eight nodes would be exact for; a test keeps the error under 0.002."""
FACTOR_NODES = 15
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
    """Return a coefficient by cohort, repeated where it is common to them and 0 where the model has no such term."""
    if f"{name}_by_cohort" in posterior:
        return coefficient_over_cells(posterior, f"{name}_by_cohort", data).sel(cohort=list(data.cohorts))
    return _or_zero(posterior, name, data).expand_dims(cohort=list(data.cohorts))


def has_part(posterior: xr.Dataset, part: str) -> bool:
    """Whether a part is modelled for any cell type."""
    return any(f"{part}_intercept{level}" in posterior for level in ("", "_by_cohort"))


def _or_zero(posterior: xr.Dataset, name: str, data: AnalysisSet) -> xr.DataArray:
    """Return a coefficient over all cell types of the data; 0 where the model has no such term."""
    if name in posterior:
        return coefficient_over_cells(posterior, name, data)
    sizes, names = posterior.sizes, list(data.abundance.columns)
    return xr.DataArray(
        np.zeros((sizes["chain"], sizes["draw"], len(names))),
        dims=("chain", "draw", "cell_type"),
        coords={"chain": posterior["chain"], "draw": posterior["draw"], "cell_type": names},
    )


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
    inform that spread it is drawn from its prior (rows with the status ``prior-only``). A term that the model lacks is
    0; where the model's slope is common to all cohorts, a new cohort's is NaN: there is no spread to draw it from.
    """
    names = list(data.abundance.columns)
    if not has_part(posterior, part):
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
        if name in posterior:
            spread = posterior[name]
        elif name in priors:
            spread = xr.DataArray(priors[name].sample(rng, shape), dims=("chain", "draw"))
        else:
            absent = f"{part}_{term}" not in posterior and term != "slope"
            spread = xr.DataArray(np.full(shape, 0.0 if absent else np.nan), dims=("chain", "draw"))
        unit = xr.DataArray(
            rng.standard_normal((*shape, len(names))),
            dims=("chain", "draw", "cell_type"),
            coords={"cell_type": names},
        )
        return spread * unit

    typical = _or_zero(posterior, f"{part}_slope", data)
    by_cohort = coefficient_by_cohort(posterior, f"{part}_slope", data)
    if other:
        difference = _or_zero(posterior, f"{part}_interaction", data)
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


def changes(posterior: xr.Dataset, part: str, data: AnalysisSet, line: Slopes) -> Slopes:
    """Log ratios of one part at h + 1 SD over h: its slopes, where HER2 has a straight line.

    Where it has a curve, the mean over the tumours of the stratum (and, in the scope ``cohort``, of that cohort) of the
    predictor at h_i + 1 less that at h_i; NaN where there are none of them.

    Parameters
    ----------
    posterior, part, data
        Draws, part, analysis set.
    line
        Slopes of the straight line that the curve departs from.
    """
    if f"{part}_bend" not in posterior:
        return line
    coefficient, basis = coefficient_over_cells(posterior, f"{part}_bend", data), bends(data)
    h, tumours = data.tumours["her2_sd"].to_numpy(float), data.tumours
    step = basis.at(h + 1.0) - basis.at(h)

    def mean_step(cohort: str | None) -> xr.DataArray:
        own = np.ones(len(h), dtype=bool) if cohort is None else (tumours["cohort"] == cohort).to_numpy()
        rows = []
        for stratum in data.strata:
            inside = own & (tumours["hr"] == stratum).to_numpy()
            rows.append(step[inside].mean(axis=0) if inside.any() else np.full(step.shape[1], np.nan))
        return xr.DataArray(
            np.stack(rows),
            dims=("stratum", "bend"),
            coords={"stratum": list(data.strata), "bend": basis.labels},
        )

    everywhere = (coefficient * mean_step(None)).sum("bend", skipna=False)
    by_cohort = xr.concat(
        [(coefficient * mean_step(c)).sum("bend", skipna=False) for c in data.cohorts],
        dim=pd.Index(list(data.cohorts), name="cohort"),
    )
    return Slopes(line.pooled + everywhere, line.cohort + by_cohort, line.new_cohort + everywhere)


def said(
    posterior: xr.Dataset, draws: Mapping[tuple[str, str], xr.DataArray]
) -> dict[tuple[str, str], xr.DataArray]:
    """Draws with NaN in place of what holds by assumption of the model: an effect of 0, a ratio of 1.

    Parameters
    ----------
    posterior
        Draws of the coefficients.
    draws
        (estimand, scope) -> draws of the estimands of HER2 and of the comparisons of the HR strata.
    """
    if "amount_slope" not in posterior:
        return {k: a if k[0] in HR_COMPARISONS else xr.full_like(a, np.nan) for k, a in draws.items()}
    if "amount_interaction" not in posterior:
        return {key: array.where(array["stratum"] != DIFFERENCE) for key, array in draws.items()}
    return dict(draws)


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
        own = f"{part}_cell_type"
        if not has_part(self.posterior, part) or name not in self.posterior[own].to_numpy():
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

    def bent(self, part: str, name: str, her2_sd: np.ndarray) -> np.ndarray | float:
        """Departure of the predictor from a straight line at values of HER2, sample x value; 0 where it is one."""
        if f"{part}_bend" not in self.posterior:
            return 0.0
        coefficient = self.posterior[f"{part}_bend"].sel({f"{part}_cell_type": name}, drop=True)
        columns = self.bends.at(np.asarray(her2_sd, dtype=float))
        flat = (
            coefficient.sel(bend=self.bends.labels)
            .stack(sample=("chain", "draw"))
            .transpose("sample", "bend")
        )
        return np.asarray(flat.to_numpy() @ columns.T)

    @cached_property
    def bends(self) -> Bends:
        """Departures from a straight line that the model may have."""
        return bends(self.data)


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

    def over_factor(self, name: str, n_tumours: int = 1) -> list[tuple[np.ndarray | float, float]]:
        """Shifts of the log mean of an amount that stand for the tumours' own factors, sample x 1, and their weights.

        Parameters
        ----------
        name
            Cell type.
        n_tumours
            1 for one tumour, 2 for the difference of two. Gauss-Hermite nodes; (0, 1) where the model has no factor.
        """
        if "amount_loading" not in self.posterior:
            return [(0.0, 1.0)]
        loading = self.posterior["amount_loading"].sel(amount_cell_type=name, drop=True)
        flat = loading.stack(sample=("chain", "draw")).to_numpy()[:, None] * np.sqrt(2.0 * n_tumours)
        nodes, weights = np.polynomial.hermite.hermgauss(FACTOR_NODES)
        return [(flat * node, float(w)) for node, w in zip(nodes, weights / np.sqrt(np.pi), strict=True)]


def nodes_for(posterior: xr.Dataset) -> int:
    """Points for each group of like tumours in averages over their HER2 values: more where HER2 has a curve."""
    return NODES_OF_CURVE if any(str(name).endswith("_bend") for name in posterior) else N_NODES


def her2_support(
    data: AnalysisSet, shape: Structure, her2_sd: np.ndarray | None = None, n_nodes: int = N_NODES
) -> Support:
    """Points that stand for the tumours in averages over their HER2 values.

    Parameters
    ----------
    data, shape
        Analysis set and its structure.
    her2_sd
        Values of HER2, one per tumour; their own if None.
    n_nodes
        Points for each group of like tumours.
    """
    alike = pd.concat([data.tumours[["cohort", "hr"]], data.covariates], axis=1)
    if shape.centres:
        alike["centre"] = data.tumours["centre"]
    own = data.tumours["her2_sd"].to_numpy(float) if her2_sd is None else her2_sd
    return support_points(own, alike, n_nodes)


def thinning(posterior: xr.Dataset, data: AnalysisSet) -> int:
    """Every how many-th draw is used in averages over tumours: each, unless covariates make tumours unique."""
    if not any(kind.startswith("continuous") for kind in data.covariate_scaling["kind"]):
        return 1
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    return max(1, int(total // MAX_DRAWS_WITH_CONTINUOUS_COVARIATES))
