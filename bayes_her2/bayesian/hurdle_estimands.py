"""From the draws of a hurdle model to draws of its estimands, all as log ratios, all labelled.

Every function takes and returns xarray objects with named dims; nothing is selected by position.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import expit

from bayes_her2.bayesian.amounts import GAMMA, AmountFamily
from bayes_her2.bayesian.averages import Averages, OneStratum
from bayes_her2.bayesian.design import Structure, structure
from bayes_her2.bayesian.slopes import (
    AmountLevels,
    Levels,
    Slopes,
    coefficient_by_cohort,
    has_part,
    her2_support,
    nodes_for,
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

    where intercepts, HR shifts, covariates and shapes are those of the tumour's own cohort. Where the mean of the
    amount has another link than the logarithm, also

        amount         = mean_i log E[y_i | present, h_i + 1] / E[y_i | present, h_i],

    which with the log link is the slope itself.

    Returns
    -------
    dict
        (estimand, scope) -> log ratio draws; NaN where not estimable.
    """
    thin = thinning(posterior, data)
    posterior = posterior.isel(draw=slice(None, None, thin))
    support = her2_support(data, shape, n_nodes=nodes_for(posterior))
    averages = _HurdleAverages(posterior, data, shape, support, thin, family)
    return averages.over_cell_types({"presence": presence, "amount": amount})


def summed_abundance(
    posterior: xr.Dataset,
    data: AnalysisSet,
    at: tuple[float, ...],
    *,
    interval: float,
    family: AmountFamily = GAMMA,
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
    family
        Distribution of the amount.
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
        if not has_part(thinned, which):
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
        level = bases.get("amount")
        if level is not None and "amount_loading" in thinned:
            # The mean over the tumours' factors.
            loading = thinned["amount_loading"].sel(amount_cell_type=name).stack(sample=("chain", "draw"))
            bases["amount"] = level + 0.5 * loading.to_numpy()[:, None] ** 2
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
                where_h = np.array([h])
                mean = family.mean(
                    amount[:, own]
                    + slopes_here["amount"][:, own] * h
                    + context.bent("amount", str(name), where_h)
                )
                if part.presence_modelled and presence is not None:
                    mean = mean * expit(
                        presence[:, own]
                        + slopes_here["presence"][:, own] * h
                        + context.bent("presence", str(name), where_h)
                    )
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


class _HurdleAverages(AmountLevels, Averages):
    """Averages of presence times amount."""

    PARTS = ("presence", "amount")

    @property
    def estimands(self) -> tuple[str, ...]:
        return ("overall", "high_abundance") + (("amount",) if self.family.link != "log" else ())

    def contrasts(self, one: OneStratum) -> dict[str, np.ndarray]:
        h, weight, points = one.h, one.weight, one.points
        base_p, base_m = one.base["presence"], one.base["amount"]
        slope_p, slope_m = one.slope["presence"], one.slope["amount"]
        nothing = np.full(len(slope_m), np.nan)
        result = dict.fromkeys(self.estimands, nothing)
        part = self.data.part(one.name, one.stratum)
        zero_share = part.n_zero / part.n

        def present(at: np.ndarray) -> np.ndarray | float | None:
            if base_p is not None and part.presence_modelled:
                return np.asarray(
                    expit(base_p[:, points] + slope_p * at + self.bent("presence", one.name, at))
                )
            return 1.0 - zero_share if zero_share < PRESENCE_HELD_BELOW else None

        means: tuple[np.ndarray, np.ndarray] | None = None
        if base_m is not None and part.amount_modelled:
            m0, bent = base_m[:, points] + slope_m * h, partial(self.bent, "amount", one.name)
            means = (m0 + bent(h), m0 + slope_m + bent(h + 1.0))
        if means is not None and "amount" in result:
            ratio = np.log(self.family.mean(means[1])) - np.log(self.family.mean(means[0]))
            result["amount"] = ratio @ weight / weight.sum()
        p0, p1 = present(h), present(h + 1.0)
        if p0 is None or p1 is None:
            return result
        if means is not None:
            mean = self.family.mean
            result["overall"] = np.log((p1 * mean(means[1])) @ weight) - np.log(
                (p0 * mean(means[0])) @ weight
            )

        cutoff = self.data.high_cutoffs[one.name].loc[self.cohort[points]].to_numpy(float)
        shapes = self.shapes("log_shape", one.name) if means is not None else None
        if (cutoff > 0).any() and shapes is None:
            return result
        if not (cutoff > 0).any() and isinstance(p0, float):
            return result

        def odds(p: np.ndarray | float, eta: np.ndarray | None) -> np.ndarray:
            above = np.ones((len(slope_m), len(h)))
            if eta is not None and shapes is not None:
                rated = cutoff > 0
                above[:, rated] = sum(
                    share_of
                    * self.family.above(cutoff[rated], eta[:, rated] + shift, shapes[:, points][:, rated])
                    for shift, share_of in self.over_factor(one.name)
                )
            share = (p * above) @ weight / weight.sum()
            return np.asarray(np.log(share) - np.log1p(-share))

        with np.errstate(divide="ignore", invalid="ignore"):  # a share that rounds to 0 or 1 has no odds
            result["high_abundance"] = odds(p1, means[1] if means else None) - odds(
                p0, means[0] if means else None
            )
        return result
