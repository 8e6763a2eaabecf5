"""High abundance: what the tumours support, draws of its estimands, and its checks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr
from scipy import stats
from scipy.optimize import brentq
from scipy.special import expit

from bayes_her2.bayesian.density import Predictors
from bayes_her2.bayesian.design import modelled_strata, structure
from bayes_her2.bayesian.predictive import (
    CRITICAL_WORDS,
    beyond_fivefold,
    by_cohort_of,
    gate_table,
    inside_prior,
    predictive_row,
    predictive_table,
    prior_draws,
    replicated,
)
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.slopes import Levels, Slopes, her2_support, thinning
from bayes_her2.bayesian.summary import mixed_rule
from bayes_her2.data import AnalysisSet

CONDITIONAL, MARGINAL = "high_abundance_conditional", "high_abundance"

PUBLISHED = {
    "Mast cells resting": ((0.56, 0.38, 0.83), (5.29, 1.16, 24.0)),
    "Neutrophils": ((1.60, 1.07, 2.39), (0.16, 0.04, 0.61)),
}
"""Interactions that the seed study reports (its Fig. 2b): odds ratio and 95 % limits in HR+, and in HR-."""


@dataclass(frozen=True)
class HighSupport:
    """What the tumours can say about high abundance."""

    data: AnalysisSet

    def not_estimable(self, estimand: str, cell_type: str, strata: tuple[str, ...]) -> str:
        """Too few tumours on one side of the rule, all cohorts together."""
        parts = self.data.high_parts
        own = parts[(parts["cell_type"] == cell_type) & parts["stratum"].isin(strata)]
        return "; ".join(r for r in own["reason"] if r)

    def held(self, estimand: str, cell_type: str, strata: tuple[str, ...]) -> str:
        """Nothing is."""
        return ""

    def silent(self, estimand: str, cell_type: str, stratum: str, cohort: str) -> str:
        """All of the cohort's stratum on one side of the rule."""
        counts = self.data.high_counts
        row = counts[
            (counts["cell_type"] == cell_type) & (counts["cohort"] == cohort) & (counts["hr"] == stratum)
        ]
        n, n_high = int(row["n"].sum()), int(row["n_high"].sum())
        if 0 < n_high < n:
            return ""
        return f"{'all' if n_high else 'none'} of the {n} {stratum} tumours of {cohort} are high"

    def mixed(self, estimand: str, cell_type: str) -> str:
        """Say so where it is the median in one cohort and presence in another."""
        return mixed_rule(self.data, cell_type, self.data.cohorts)


def marginal_odds(
    posterior: xr.Dataset, data: AnalysisSet, slopes: Slopes
) -> dict[tuple[str, str], xr.DataArray]:
    """Draws of the marginal odds ratio, standardised to the tumours of each stratum (and cohort).

    log ratio = logit mean_i P(high_i | h_i + 1) - logit mean_i P(high_i | h_i), where intercepts, HR shifts and
    covariates are those of the tumour's own cohort, and the slope is that of the scope.

    Returns
    -------
    dict
        ('high_abundance', scope) -> log ratio with dims chain, draw, stratum, cell_type (and cohort), for the scopes
        pooled and cohort; NaN where not modelled or where there is nobody to average over.
    """
    shape = structure(data)
    thin = thinning(posterior, data)
    every = {"draw": slice(None, None, thin)}
    levels = Levels(posterior.isel(every), data, shape, her2_support(data, shape), thin)
    modelled = modelled_strata(data, "high")
    result = {}
    for scope in ("pooled", "cohort"):
        slope = slopes.of(scope).isel(every).transpose("chain", "draw", ...)
        log_ratio = xr.full_like(slope, np.nan)
        for cell_type in data.abundance.columns:
            base = levels.base("high", str(cell_type))
            if base is None:
                continue
            for stratum in data.strata:
                for cohort in data.cohorts if scope == "cohort" else (None,):
                    points = levels.stratum == stratum
                    where = {"stratum": stratum, "cell_type": cell_type}
                    if cohort is not None:
                        points = points & (levels.cohort == cohort)
                        where["cohort"] = cohort
                    if not points.any() or not modelled.at[stratum, cell_type]:
                        continue
                    own = slope.sel(where).to_numpy()
                    h, weight = levels.support.h[points], levels.support.weight[points]
                    at_h = base[:, points] + own.reshape(-1, 1) * h
                    above = at_h + own.reshape(-1, 1)
                    log_ratio.loc[where] = (_log_odds(above, weight) - _log_odds(at_h, weight)).reshape(
                        own.shape
                    )
        result[(MARGINAL, scope)] = log_ratio
    return result


def _log_odds(eta: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Log odds of the mean probability, from sums that keep their digits near 0 and near 1."""
    return np.asarray(np.log(expit(eta) @ weight) - np.log(expit(-eta) @ weight))


def prior_on_published(priors: Mapping[str, Prior], *, interval: float) -> pd.DataFrame:
    """Set the interaction's prior against the interactions that the seed study prints.

    The printed log ratio of odds ratios e, with the standard error s that the printed limits of both strata imply,
    meets the prior of one cell type's interaction, before other cell types speak: Normal(mu, sigma^2 + spread^2), the
    spread from its half-normal (integrated out). A normal prior with an SD below the critical one,
    s z / sqrt((e / s)^2 - z^2), leaves an interval that includes 1.

    Parameters
    ----------
    priors
        As used in the fit.
    interval
        Probability of the equal-tailed intervals; z is its normal quantile.

    Returns
    -------
    pandas.DataFrame
        ``outcome``, ``published`` (ratio HR- over HR+ of the printed odds ratios) with ``published_lower`` and
        ``published_upper``, ``critical_sd``, ``prior_sd`` (of the log ratio), and ``point``, ``lower``, ``upper`` under
        the prior.

    References
    ----------
    Matthews 2018 (analysis of credibility), doi 10.1098/rsos.171047.
    """
    mean, spread = priors["high_interaction_mean"], priors["high_interaction_between_cells_sd"]
    share = (np.arange(2_000) + 0.5) / 2_000  # of the spread's prior, in slices of equal probability
    variance = mean.params["sigma"] ** 2 + spread.frozen().ppf(share) ** 2
    z = float(stats.norm.isf((1.0 - interval) / 2.0))
    rows: list[dict[str, Any]] = []
    for outcome, strata in PUBLISHED.items():
        (positive, *own), (negative, *other) = strata
        e = math.log(negative / positive)
        s = math.hypot(
            *(math.log(high / low) / (2.0 * float(stats.norm.isf(0.025))) for low, high in (own, other))
        )
        centre = mean.params["mu"] + (e - mean.params["mu"]) * variance / (variance + s**2)
        sd = np.sqrt(variance * s**2 / (variance + s**2))
        weight = stats.norm.pdf(e, mean.params["mu"], np.sqrt(variance + s**2))
        weight = weight / weight.sum()

        def below(
            x: float, wanted: float, centre: np.ndarray = centre, sd: np.ndarray = sd, w: np.ndarray = weight
        ) -> float:
            return float(w @ stats.norm.cdf(x, centre, sd)) - wanted

        reach = abs(e) + 10.0
        tail = (1.0 - interval) / 2.0
        lower, point, upper = (
            math.exp(brentq(below, -reach, reach, args=(wanted,))) for wanted in (tail, 0.5, 1.0 - tail)
        )
        beyond = (e / s) ** 2 - z**2
        rows.append(
            {
                "outcome": outcome,
                "published": math.exp(e),
                "published_lower": math.exp(e - z * s),
                "published_upper": math.exp(e + z * s),
                "critical_sd": s * z / math.sqrt(beyond) if beyond > 0 else math.inf,
                "prior_sd": math.sqrt(float(variance.mean())),
                "point": point,
                "lower": lower,
                "upper": upper,
            }
        )
    return pd.DataFrame(rows)


def high_replicated(draw: xr.Dataset, data: AnalysisSet, rng: np.random.Generator) -> AnalysisSet:
    """Return the same tumours, high and low as one draw of the model has it; see `CalibratedModel.replicated`.

    A tumour that is high gets twice the cut-off of its cohort (any abundance where the rule is presence), one that is
    not none: the model knows no more of an abundance. Cell types and strata that are not modelled stay as they are.
    """
    at = Predictors(draw, data, max_draws=1)
    made = data.abundance.astype(float).copy()
    cutoffs = data.high_cutoffs.loc[at.cohort].set_axis(made.index)
    for name in map(str, made.columns):
        eta = at.eta("high", name)
        if eta is None:
            continue
        own = at.modelled("high", name)
        high = rng.random(len(made)) < expit(eta[0])
        above = np.where(cutoffs[name] > 0, 2.0 * cutoffs[name], made[name].max())
        made.loc[own, name] = np.where(high, above, 0.0)[own]
    return data.with_abundance(made)


def high_prior_predictive(graph: pm.Model, data: AnalysisSet, seed: int) -> pd.DataFrame:
    """Numeric gates on what the priors imply, drawn from the graph itself.

    Parameters
    ----------
    graph
        The model.
    data
        Its analysis set: shares of high abundance that the prior must not rule out, nothing about HER2.
    seed
        Seed of the prior draws.

    Returns
    -------
    pandas.DataFrame
        ``check``, ``value``, ``lower``, ``upper`` (the gate), ``passed``.
    """
    drawn = prior_draws(graph, ["high_intercept", "high_slope", "high_interaction"], seed)
    counts = data.high_counts.groupby(["cell_type", "cohort"])[["n", "n_high"]].sum()
    share = (counts["n_high"] + 0.5) / (counts["n"] + 1)
    level = by_cohort_of(drawn, "high_intercept", data)
    rows = [
        (
            "shares of tumours with high abundance, by cohort: part within the prior's central 99 %",
            inside_prior(xr.apply_ufunc(expit, level), "high_cell_type", share),
            0.95,
            1.0,
        ),
        beyond_fivefold("an odds ratio of high abundance", by_cohort_of(drawn, "high_slope", data)),
    ]
    if "high_interaction" in drawn:
        rows.append(
            (
                f"prior SD of the interaction (log ratio of odds ratios), for information: {CRITICAL_WORDS}",
                float(drawn["high_interaction"].std()),
                0.0,
                2.0,
            )
        )
    return gate_table(rows)


def high_posterior_predictive(
    graph: pm.Model, posterior: xr.Dataset, data: AnalysisSet, seed: int, interval: float = 0.95
) -> pd.DataFrame:
    """Replicated shares of high abundance, by cell type, cohort and HR stratum, and at either end of HER2.

    Returns
    -------
    pandas.DataFrame
        ``cell_type``, ``cohort``, ``hr``, ``statistic`` (share high: of all tumours, of the third with the lowest and
        of the third with the highest HER2), ``observed``, ``predicted``, ``lower``, ``upper``, ``inside``.
    """
    drawn = replicated(graph, posterior, "high", seed)
    modelled = modelled_strata(data, "high")
    rows = []
    keys = data.tumours[["cohort", "hr"]].drop_duplicates().sort_values(["cohort", "hr"]).astype("str")
    for cohort, hr in keys.itertuples(index=False, name=None):
        inside = (data.tumours["cohort"] == cohort) & (data.tumours["hr"] == hr)
        her2 = data.tumours.loc[inside, "her2_sd"]
        low, high = her2.quantile([1 / 3, 2 / 3])
        thirds = {
            "share high": her2.index,
            "share high, lowest third of HER2": her2.index[her2 <= low],
            "share high, highest third of HER2": her2.index[her2 >= high],
        }
        for cell_type in modelled.columns[modelled.loc[hr]]:
            own = drawn.sel(high_cell_type=cell_type)
            for statistic, index in thirds.items():
                seen = float(data.high.loc[index, cell_type].mean())
                values = own.sel(tumour=list(index)).mean("tumour").to_numpy()
                rows.append(predictive_row(cell_type, cohort, hr, statistic, seen, values, interval))
    return predictive_table(rows)


def high_reader_scale(name: str, prior: Prior, interval: float) -> str:
    """Say what a prior of the model means as odds ratios and shares of tumours."""
    low, high = prior.interval(interval)
    percent = f"{interval:.0%}"
    if name == "high_intercept_mean":
        return f"{percent} of typical cell types high in {expit(low):.0%} to {expit(high):.0%} of tumours"
    if name.endswith("_sd"):
        return f"{percent}: 1 SD multiplies the odds by {np.exp(low):.2g} to {np.exp(high):.2g}"
    return f"{percent}: odds ratio {np.exp(low):.2g} to {np.exp(high):.2g}"
