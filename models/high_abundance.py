"""High abundance of every immune cell type, against HER2 and hormone receptor status.

The seed study's second model (its Fig. 2b): abundance is dichotomised and the odds of *high* abundance are regressed
on HER2. High is at least the cohort's median where under 25 % of its tumours lack the cell type, and presence
otherwise. (Above 75 % the seed study leaves a cell type out; here it is cut at presence.) Where the rule is the median
in one cohort and presence in another, one pooled odds ratio has two meanings, and its note says so. For tumour i of
cohort k and cell type c

    high_ic ~ Bernoulli(logit^-1 eta_ic)
    eta_ic = intercept_kc + slope_kc h_i + hr_kc r_i + interaction_kc h_i r_i + covariate_c' x_i

with h HER2 per pooled within-HR SD and r = 1 in the non-reference hormone receptor stratum. Cohorts are exchangeable
and cell types partially pooled: for each of intercept, slope, hr and interaction

    coefficient_kc ~ Normal(coefficient_c, between_cohorts_sd),   where at least two cohorts inform it,
    coefficient_c  ~ Normal(coefficient_mean, between_cells_sd)

(one between_cohorts_sd for each cell type's intercept, one for all slopes; covariates without the cohort level;
centres nested in their cohort's intercept). `hierarchical_predictor` is these lines as a graph: the predictor that
presence has in the model of abundance. A stratum enters for a cell type when at least 10 of its tumours are high and
at least 10 are not. Where some value of HER2 parts the high tumours of a stratum from the others no finite odds ratio
maximises the likelihood; the priors keep the posterior proper, and the twin says ``separated``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm

from bayes_her2.bayesian.bernoulli import bernoulli_node
from bayes_her2.bayesian.design import arrays, part_design, structure
from bayes_her2.bayesian.high_estimands import (
    CONDITIONAL,
    MARGINAL,
    HighSupport,
    high_posterior_predictive,
    high_prior_predictive,
    high_reader_scale,
    high_replicated,
    marginal_odds,
    prior_on_published,
)
from bayes_her2.bayesian.in_words import predictor_in_words
from bayes_her2.bayesian.linear_predictor import hierarchical_predictor
from bayes_her2.bayesian.outline import Line, logit, predictor_lines
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.slopes import SCOPES, slopes, with_difference
from bayes_her2.bayesian.summary import heterogeneity, summarise
from bayes_her2.bayesian.sweep import interaction_sweep
from bayes_her2.data import AnalysisSet
from bayes_her2.estimates import DEFAULT_ROPE, Estimates, Rope

QUESTION = (
    "How do the odds of high abundance of each immune cell type change with HER2 expression, and does the change "
    "differ by hormone receptor status?"
)
DATA = "AnalysisSet"
TWIN = "high_abundance_twin"
ESTIMANDS = {
    "high_abundance_conditional": "odds ratio of high abundance per SD of HER2, given cohort, HR status and covariates",
    "high_abundance": "marginal odds ratio of high abundance at h + 1 SD over h, standardised to the stratum's tumours",
}

_COHORTS = "one SD between cohorts multiplies an odds ratio per SD by at most 1.6 (95 % of the prior)"
PRIORS: dict[str, Prior] = {
    "high_intercept_mean": Prior(
        "Normal",
        {"mu": 0.0, "sigma": 1.0},
        "half of the tumours are high where the rule is the median, fewer or more where it is presence",
    ),
    "high_intercept_between_cells_sd": Prior(
        "HalfNormal", {"sigma": 1.5}, "where the rule is presence, 2 to 75 % of the tumours are high"
    ),
    "high_intercept_between_cohorts_sd": Prior(
        "HalfNormal",
        {"sigma": 1.0},
        "none where the median rules in every cohort; up to 4 logits where presence rules and runs differ",
    ),
    "high_slope_mean": Prior(
        "Normal",
        {"mu": 0.0, "sigma": 0.5},
        "a change of odds beyond 2.7-fold per SD, shared by all cell types, is implausible",
    ),
    "high_slope_between_cells_sd": Prior(
        "HalfNormal", {"sigma": 0.5}, "cell types differ, but rarely by more than 2.7-fold per SD"
    ),
    "high_slope_between_cohorts_sd": Prior("HalfNormal", {"sigma": 0.25}, _COHORTS),
    "high_hr_mean": Prior(
        "Normal",
        {"mu": 0.0, "sigma": 0.5},
        "hormone receptor strata do not differ 2.7-fold in all cell types at once",
    ),
    "high_hr_between_cells_sd": Prior(
        "HalfNormal", {"sigma": 0.5}, "single cell types may differ two- to threefold between strata"
    ),
    "high_hr_between_cohorts_sd": Prior(
        "HalfNormal", {"sigma": 0.25}, "the stratum difference is biology first, platform second"
    ),
    "high_interaction_mean": Prior(
        "Normal", {"mu": 0.0, "sigma": 0.5}, "no shared interaction beyond 2.7-fold per SD"
    ),
    "high_interaction_between_cells_sd": Prior(
        "HalfNormal",
        {"sigma": 0.5},
        "not tighter than the slopes' own; with the mean's, an SD of 0.71: below the 0.775 under which a prior by "
        "itself overturns the seed study's interaction of mast cells, above the 0.568 of neutrophils",
    ),
    "high_interaction_between_cohorts_sd": Prior("HalfNormal", {"sigma": 0.25}, _COHORTS),
    "high_covariate_mean": Prior(
        "Normal",
        {"mu": 0.0, "sigma": 0.5},
        "as for HER2: no shared change beyond 2.7-fold per SD of a covariate",
    ),
    "high_covariate_between_cells_sd": Prior(
        "HalfNormal",
        {"sigma": 0.5},
        "cell types differ, but rarely by more than 2.7-fold per SD of a covariate",
    ),
    "high_centre_sd": Prior(
        "HalfNormal", {"sigma": 0.5}, "centres of one cohort share platform and pipeline"
    ),
}


def priors_for(data: AnalysisSet) -> dict[str, Prior]:
    """Give the default priors: odds do not depend on the scale of the abundance."""
    return PRIORS


def described(data: AnalysisSet) -> tuple[str, ...]:
    """Say what was fitted to these data, in sentences for a methods section."""
    return (
        "High abundance was at least the cohort's median where fewer than 25 % of its tumours lacked the cell type, "
        "and presence otherwise. It was Bernoulli on the log odds scale, all cell types in one posterior.",
        *predictor_in_words(data, structure(data), "The log odds"),
        "Marginal odds ratios were averaged over the tumours of a stratum in every draw.",
    )


def outline(data: AnalysisSet, priors: Mapping[str, Prior]) -> tuple[Line, ...]:
    """Write the model line by line, for equations and a picture.

    Parameters
    ----------
    data, priors
        As the model is built.
    """
    return (
        Line(
            "y_{ic}",
            r"\mathrm{Bernoulli}(\pi_{ic})",
            ("tumour", "cell type"),
            "whether the abundance of cell type c is high in tumour i",
            variables=("high",),
            parents=(r"\pi_{ic}",),
            observed=True,
        ),
        logit(
            r"\pi_{ic}",
            r"\eta_{ic}",
            ("tumour", "cell type"),
            "probability of high abundance",
            parents=(r"\eta_{ic}",),
        ),
        *predictor_lines({"high": ""}, data, structure(data), priors),
    )


def build(data: AnalysisSet, priors: Mapping[str, Prior]) -> pm.Model:
    """Return the model as a PyMC graph.

    Returns
    -------
    pymc.Model
        Observed node ``high``, tumour x cell type; coefficients by term.
    """
    shape = structure(data)
    design, tumours = part_design(data, shape, "high"), arrays(data, shape)
    coords = {
        "tumour": list(data.tumours.index),
        "cohort": list(shape.cohorts),
        "high_cell_type": list(design.cell_types),
        "covariate": list(data.covariates.columns),
        "centre": list(shape.centres),
    }
    with pm.Model(coords=coords) as model:
        bernoulli_node(
            "high",
            logit_p=hierarchical_predictor("high", design, tumours, shape, priors),
            observed=design.observed,
            modelled=design.modelled,
            dims=("tumour", "high_cell_type"),
        )
    return model


def estimand_draws(
    posterior: Any, data: AnalysisSet, priors: Mapping[str, Prior], rng: np.random.Generator
) -> dict[tuple[str, str], Any]:
    """Turn draws of coefficients into draws of the estimands.

    Returns
    -------
    dict
        (estimand, scope) -> log odds ratio with dims chain, draw, stratum (HR+, HR-, HR- over HR+), cell_type and, in
        the scope ``cohort``, cohort. NaN where not estimable. The conditional odds ratio is the slope (plus the
        interaction) in every scope; the marginal one averages over tumours there are, so it has no new cohort.
    """
    conditional = slopes(posterior, "high", data, priors, rng)
    draws = {(CONDITIONAL, scope): conditional.of(scope) for scope in SCOPES}
    draws |= marginal_odds(posterior, data, conditional)
    return {key: with_difference(array) for key, array in draws.items()}


def reported(posterior: Any) -> dict[str, Any]:
    """Return the draws of the spreads between cohorts, which the report prints."""
    spreads = [f"high_{term}_between_cohorts_sd" for term in ("slope", "hr", "interaction")]
    return {name: posterior[name] for name in spreads if name in posterior}


def estimates(
    draws: Mapping[tuple[str, str], Any],
    data: AnalysisSet,
    *,
    interval: float = 0.95,
    rope: Rope = DEFAULT_ROPE,
) -> Estimates:
    """Summarise the draws of the estimands, with status, counts and decisions."""
    return summarise(
        draws,
        data,
        structure(data),
        units={CONDITIONAL: "odds ratio per SD", MARGINAL: "marginal odds ratio per SD"},
        method="models/high_abundance.py",
        interval=interval,
        rope=rope,
        support=HighSupport(data),
    )


prior_checks = high_prior_predictive
predictive_checks = high_posterior_predictive
reader_scale = high_reader_scale
replicated = high_replicated


def tables(
    posterior: Any,
    draws: Mapping[tuple[str, str], Any],
    data: AnalysisSet,
    priors: Mapping[str, Prior],
    *,
    interval: float,
) -> dict[str, pd.DataFrame]:
    """Spread between cohorts, the interactions' prior swept and set against what is published, what high means."""
    parts = ("high",)
    made = {
        "heterogeneity": heterogeneity(posterior, structure(data), priors, interval=interval, parts=parts)
    }
    if len(data.strata) == 2:
        made["interaction_sweep"] = interaction_sweep(posterior, draws, priors, interval=interval)
        made["prior_on_published"] = prior_on_published(priors, interval=interval)
    rules = data.rules[["cell_type", "cohort", "zero_share", "rule", "high_rule"]]
    cutoffs = data.high_cutoffs.rename_axis(index="cohort").reset_index()
    cutoffs = cutoffs.melt(id_vars="cohort", var_name="cell_type", value_name="cutoff")
    made["counts"] = data.high_counts
    for table in (rules, cutoffs):
        made["counts"] = made["counts"].merge(table, on=["cell_type", "cohort"], validate="many_to_one")
    return made
