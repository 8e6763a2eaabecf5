"""From the draws of a hurdle model to draws of its estimands, all as log ratios, all labelled.

Every function takes and returns xarray objects with named dims; nothing is selected by position.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import expit

from bayes_her2.bayesian.amounts import AmountFamily
from bayes_her2.bayesian.design import Structure, structure
from bayes_her2.bayesian.slopes import (
    SCOPES,
    AmountLevels,
    Levels,
    Slopes,
    coefficient_by_cohort,
    her2_support,
    thinning,
)
from bayes_her2.data import PRESENCE_HELD_BELOW, AnalysisSet


def standardised(
    posterior: xr.Dataset,
    data: AnalysisSet,
    shape: Structure,
    presence: Slopes,
    amount: Slopes,
    family: AmountFamily,
) -> dict[tuple[str, str], xr.DataArray]:
    """Draws of `overall` and `high_abundance`, standardised to the tumours of each stratum.

    For the tumours i of a stratum (and, in the scope ``cohort``, of that cohort) and a slope of the scope,

        overall        = log  sum_i E[y_i | h_i + 1] / sum_i E[y_i | h_i],
        high_abundance = logit mean_i P(high_i | h_i + 1) - logit mean_i P(high_i | h_i),

    where intercepts, HR shifts, covariates and shapes are those of the tumour's own cohort.

    Returns
    -------
    dict
        (estimand, scope) -> log ratio draws; NaN where not estimable.
    """
    thin = thinning(posterior, data)
    posterior = posterior.isel(draw=slice(None, None, thin))
    context = _Context(posterior, data, shape, her2_support(data, shape), thin, family)
    names = list(data.abundance.columns)
    with ThreadPoolExecutor(max_workers=2) as pool:
        per_cell = list(pool.map(lambda name: context.cell_type(name, presence, amount), names))
    result: dict[tuple[str, str], xr.DataArray] = {}
    for key in per_cell[0]:
        result[key] = xr.concat([cell[key] for cell in per_cell], dim=pd.Index(names, name="cell_type"))
    return result


def summed_abundance(
    posterior: xr.Dataset,
    data: AnalysisSet,
    at: tuple[float, ...],
    *,
    interval: float,
    max_draws: int = 1_000,
) -> pd.DataFrame:
    """Sum of E[y] over all cell types at given values of HER2, averaged over the tumours of each stratum.

    On the relative scale tumours' abundances sum to 1, and a model of cell types one by one does not know it:
    a drift of this sum over h says how far the rows are from shares that add up.

    Parameters
    ----------
    posterior, data
        Draws and analysis set.
    at
        Values of standardised HER2.
    interval
        Probability of the equal-tailed credible interval.
    max_draws
        Draws used, evenly thinned.

    Returns
    -------
    pandas.DataFrame
        ``stratum``, ``at``, ``sum_mean`` (posterior median), ``lower``, ``upper``.
    """
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    thin = max(1, total // max_draws)
    thinned = posterior.isel(draw=slice(None, None, thin))
    shape = structure(data)
    support = her2_support(data, shape, np.zeros(len(data.tumours)))
    context = Levels(thinned, data, shape, support, 1)
    by_part = {}
    for which in ("presence", "amount"):
        if f"{which}_slope" not in thinned:
            continue
        slope = coefficient_by_cohort(thinned, f"{which}_slope", data)
        difference = (
            coefficient_by_cohort(thinned, f"{which}_interaction", data)
            if shape.hr_term
            else xr.zeros_like(slope)
        )
        by_part[which] = (slope, difference)
    where = xr.DataArray(context.cohort, dims="point")
    other = xr.DataArray(context.other, dims="point")
    totals = {h: np.zeros((thinned.sizes["chain"] * thinned.sizes["draw"], len(support.h))) for h in at}
    for name in data.abundance.columns:
        bases = {which: context.base(which, name) for which in by_part}
        slopes_here = {}
        for which, (slope, difference) in by_part.items():
            one = slope.sel(cell_type=name, drop=True).sel(cohort=where) + other * difference.sel(
                cell_type=name, drop=True
            ).sel(cohort=where)
            slopes_here[which] = one.stack(sample=("chain", "draw")).transpose("sample", "point").to_numpy()
        for h in at:
            for stratum in data.strata:
                own = context.stratum == stratum
                part = data.part(str(name), stratum)
                amount, presence = bases.get("amount"), bases.get("presence")
                if not part.amount_modelled or amount is None:
                    continue
                mean = np.exp(amount[:, own] + slopes_here["amount"][:, own] * h)
                if part.presence_modelled and presence is not None:
                    mean = mean * expit(presence[:, own] + slopes_here["presence"][:, own] * h)
                else:
                    mean = mean * (part.n_positive / part.n)
                totals[h][:, own] += mean
    tail = (1 - interval) / 2
    rows = []
    for stratum in data.strata:
        own = context.stratum == stratum
        weight = support.weight[own] / support.weight[own].sum()
        for h in at:
            lower, middle, upper = np.quantile(totals[h][:, own] @ weight, [tail, 0.5, 1 - tail])
            rows.append((stratum, h, float(middle), float(lower), float(upper)))
    return pd.DataFrame(rows, columns=["stratum", "at", "sum_mean", "lower", "upper"])


class _Context(AmountLevels):
    """What one cell type's standardisation needs of all of them, taken out of the draws once."""

    def _shapes(self, name: str) -> np.ndarray:
        posterior, labels = self.posterior, xr.DataArray(self.cohort, dims="point")
        if "log_shape_by_cohort" in posterior:
            array = posterior["log_shape_by_cohort"].sel(amount_cell_type=name, drop=True).sel(cohort=labels)
        else:
            array = (
                posterior["log_shape"].sel(amount_cell_type=name, drop=True).expand_dims(point=len(labels))
            )
        return np.exp(array.stack(sample=("chain", "draw")).transpose("sample", "point").to_numpy())

    def cell_type(self, name: str, presence: Slopes, amount: Slopes) -> dict[tuple[str, str], xr.DataArray]:
        """Both estimands of one cell type in every scope."""
        base_p, base_m = self.base("presence", name), self.base("amount", name)
        shapes = self._shapes(name) if base_m is not None else None
        return {
            (estimand, scope): array
            for scope in SCOPES
            for estimand, array in self._scope(
                name, scope, presence.of(scope), amount.of(scope), base_p, base_m, shapes
            ).items()
        }

    def _scope(
        self,
        name: str,
        scope: str,
        presence: xr.DataArray,
        amount: xr.DataArray,
        base_p: np.ndarray | None,
        base_m: np.ndarray | None,
        shapes: np.ndarray | None,
    ) -> dict[str, xr.DataArray]:
        thinned = slice(None, None, self.thin)
        slope_p = presence.sel(cell_type=name, drop=True).isel(draw=thinned)
        slope_m = amount.sel(cell_type=name, drop=True).isel(draw=thinned)
        template = slope_m.transpose("chain", "draw", ...)
        overall, high = xr.full_like(template, np.nan), xr.full_like(template, np.nan)
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
                flat_p = slope_p.sel(where).transpose("chain", "draw").to_numpy().reshape(-1, 1)
                flat_m = slope_m.sel(where).transpose("chain", "draw").to_numpy().reshape(-1, 1)
                one, two = self._ratios(name, stratum, points, flat_p, flat_m, base_p, base_m, shapes)
                overall.loc[where] = xr.DataArray(one.reshape(n_chain, n_draw), dims=("chain", "draw"))
                high.loc[where] = xr.DataArray(two.reshape(n_chain, n_draw), dims=("chain", "draw"))
        return {"overall": overall, "high_abundance": high}

    def _ratios(
        self,
        name: str,
        stratum: str,
        points: np.ndarray,
        slope_p: np.ndarray,
        slope_m: np.ndarray,
        base_p: np.ndarray | None,
        base_m: np.ndarray | None,
        shapes: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Log ratio of means and log odds ratio of high abundance, each of shape (sample,)."""
        h, weight = self.support.h[points], self.support.weight[points]
        nothing = np.full(len(slope_m), np.nan)
        part = self.data.part(name, stratum)
        zero_share = part.n_zero / part.n

        def present(at: np.ndarray) -> np.ndarray | float | None:
            if base_p is not None and part.presence_modelled:
                return np.asarray(expit(base_p[:, points] + slope_p * at))
            return 1.0 - zero_share if zero_share < PRESENCE_HELD_BELOW else None

        p0, p1 = present(h), present(h + 1.0)
        if p0 is None or p1 is None:
            return nothing, nothing
        means: tuple[np.ndarray, np.ndarray] | None = None
        if base_m is not None and part.amount_modelled:
            m0 = base_m[:, points] + slope_m * h
            means = (m0, m0 + slope_m)
        overall = nothing
        if means is not None:
            overall = np.log((p1 * np.exp(means[1])) @ weight) - np.log((p0 * np.exp(means[0])) @ weight)

        cutoff = self.data.high_cutoffs[name].loc[self.cohort[points]].to_numpy(float)
        if (cutoff > 0).any() and (means is None or shapes is None):
            return overall, nothing
        if not (cutoff > 0).any() and isinstance(p0, float):
            return overall, nothing

        def odds(p: np.ndarray | float, log_mean: np.ndarray | None) -> np.ndarray:
            above = np.ones((len(slope_m), len(h)))
            if log_mean is not None and shapes is not None:
                rated = cutoff > 0
                above[:, rated] = self.family.above(
                    cutoff[rated], log_mean[:, rated], shapes[:, points][:, rated]
                )
            share = (p * above) @ weight / weight.sum()
            return np.asarray(np.log(share) - np.log1p(-share))

        return overall, odds(p1, means[1] if means else None) - odds(p0, means[0] if means else None)
