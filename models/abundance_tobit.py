"""Presence and amount of every immune cell type as one thing: a latent abundance that zeros censor.

Everything but the likelihood is that of `models/abundance.py`. Where the main model has two linear predictors, one for
who has a cell type and one for how much, here one latent abundance has both to say: its square root is normal, and
what lies below zero is read as zero (`bayes_her2.bayesian.tobit`). For tumour i of cohort k and cell type c, in units
of the residual SD,

    eta_ic = intercept_kc + slope_kc h_i + hr_kc r_i + interaction_kc h_i r_i + covariate_c' x_i
    sqrt(y_ic) = max(0, sd_kc (eta_ic + e_ic)),    e_ic ~ Normal(0, 1)

The estimands are the main model's, as averages over tumours: one slope moves presence, amount and mean together, so
that they cannot differ in sign. Comparisons of the HR strata are left to the main model.
An alternative to be compared with the main model, not a second answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
from bayes_her2.models import abundance
from scipy.stats import norm

from bayes_her2.bayesian.design import arrays, structure
from bayes_her2.bayesian.linear_predictor import hierarchical_predictor
from bayes_her2.bayesian.predictive import latent_prior_predictive, replicated_abundances
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.slopes import slopes, with_difference
from bayes_her2.bayesian.summary import heterogeneity
from bayes_her2.bayesian.tobit import TobitDensity, tobit_design, tobit_node, tobit_standardised
from bayes_her2.data import AnalysisSet
from bayes_her2.estimates import DEFAULT_ROPE, Estimates, Rope

QUESTION = (
    "Do the answers of the main model depend on reading a zero as absence, not as an amount too small to see?"
)
DATA = abundance.DATA
TWIN = abundance.TWIN
ESTIMANDS = {
    "presence": "odds ratio of presence per SD of HER2, averaged over the stratum's tumours on the log scale",
    "amount": "ratio of mean abundance among tumours with the cell type present, per SD of HER2, averaged likewise",
    "overall": abundance.ESTIMANDS["overall"],
    "high_abundance": abundance.ESTIMANDS["high_abundance"],
}
OUTCOME = abundance.OUTCOME
MEASURE = abundance.MEASURE
DENSITY = TobitDensity()
log_likelihood, replicate, replicated = DENSITY.log_likelihood, DENSITY.replicate, DENSITY.replicated

_SHARED = "no shared change beyond 0.6 residual SDs per SD: from 50 to 73 % of tumours with a cell type"
_CELLS = "cell types differ, but rarely by more than that"
_COHORTS = "half of what cell types differ by: cohorts are of one disease"
PRIORS: dict[str, Prior] = {
    "latent_intercept_mean": Prior(
        "Normal",
        {"mu": 1.0, "sigma": 1.0},
        "most cell types of LM22 are present in most tumours; 95 % of the prior spans 17 to 99.8 %",
    ),
    "latent_intercept_between_cells_sd": Prior(
        "HalfNormal",
        {"sigma": 2.0},
        "from cell types absent in 98 % of tumours to one that is absent in none",
    ),
    "latent_intercept_between_cohorts_sd": Prior(
        "HalfNormal",
        {"sigma": 1.0},
        "zero shares differ between runs by up to 2.8 SDs, cell type by cell type",
    ),
    "latent_slope_mean": Prior("Normal", {"mu": 0.0, "sigma": 0.3}, _SHARED),
    "latent_slope_between_cells_sd": Prior("HalfNormal", {"sigma": 0.3}, _CELLS),
    "latent_slope_between_cohorts_sd": Prior("HalfNormal", {"sigma": 0.15}, _COHORTS),
    "latent_hr_mean": Prior(
        "Normal", {"mu": 0.0, "sigma": 0.3}, _SHARED.replace("per SD", "between HR strata")
    ),
    "latent_hr_between_cells_sd": Prior("HalfNormal", {"sigma": 0.3}, _CELLS),
    "latent_hr_between_cohorts_sd": Prior("HalfNormal", {"sigma": 0.15}, _COHORTS),
    "latent_interaction_mean": Prior("Normal", {"mu": 0.0, "sigma": 0.3}, _SHARED),
    "latent_interaction_between_cells_sd": Prior(
        "HalfNormal", {"sigma": 0.3}, "not tighter than the slopes' own"
    ),
    "latent_interaction_between_cohorts_sd": Prior("HalfNormal", {"sigma": 0.15}, _COHORTS),
    "latent_covariate_mean": Prior("Normal", {"mu": 0.0, "sigma": 0.3}, _SHARED),
    "latent_covariate_between_cells_sd": Prior("HalfNormal", {"sigma": 0.3}, _CELLS),
    "latent_centre_sd": Prior(
        "HalfNormal", {"sigma": 0.3}, "centres of one cohort share platform and pipeline"
    ),
    "log_sd_mean": Prior(
        "Normal",
        {"mu": -2.3, "sigma": 0.7},
        "residual SD of the square root of a share 0.03 to 0.4 for 95 % of the prior: cell types of typical shares 0.1 "
        "to 15 %",
    ),
    "log_sd_between_cohorts_sd": Prior(
        "HalfNormal", {"sigma": 0.3}, "platforms differ up to twofold in the spread of one cell type"
    ),
}


def priors_for(data: AnalysisSet) -> dict[str, Prior]:
    """Give the default priors for a data set: on the absolute scale the residual SD is read off its range."""
    if data.scale == "relative":
        return PRIORS
    values = np.sqrt(data.abundance.to_numpy(float))
    centre = round(float(np.log(np.median(values[values > 0]) / 2.0)), 1)
    level = Prior(
        "Normal",
        {"mu": centre, "sigma": 0.7},
        f"absolute scale: centred at half the median square root of the positive abundances ({np.exp(centre):.3g}), "
        "fourfold either way",
    )
    return PRIORS | {"log_sd_mean": level}


def build(data: AnalysisSet, priors: Mapping[str, Prior]) -> pm.Model:
    """Return the model as a PyMC graph, with the observed node ``abundance``."""
    shape = structure(data)
    latent, tumours = tobit_design(data, shape), arrays(data, shape)
    coords = {
        "tumour": list(data.tumours.index),
        "cohort": list(shape.cohorts),
        "latent_cell_type": list(latent.cell_types),
        "covariate": list(data.covariates.columns),
        "centre": list(shape.centres),
    }
    with pm.Model(coords=coords) as model:
        tobit_node(
            "abundance",
            eta=hierarchical_predictor("latent", latent, tumours, shape, priors),
            log_sd=abundance.log_shape(
                latent.coordinates["log_shape"], shape, priors, name="log_sd", cells="latent_cell_type"
            ),
            group_idx=tumours.cohort_idx,
            observed=latent.observed,
            modelled=latent.modelled,
            dims=("tumour", "latent_cell_type"),
        )
    return model


def estimand_draws(
    posterior: Any, data: AnalysisSet, priors: Mapping[str, Prior], rng: np.random.Generator
) -> dict[tuple[str, str], Any]:
    """Turn draws of coefficients into draws of the main model's estimands."""
    latent = slopes(posterior, "latent", data, priors, rng)
    draws = tobit_standardised(posterior, data, structure(data), latent)
    return {key: with_difference(array) for key, array in draws.items()}


def reported(posterior: Any) -> dict[str, Any]:
    """Return the draws of the spreads between cohorts."""
    names = [f"latent_{term}_between_cohorts_sd" for term in ("slope", "hr", "interaction")]
    return {name: posterior[name] for name in names if name in posterior}


def estimates(
    draws: Mapping[tuple[str, str], Any],
    data: AnalysisSet,
    *,
    interval: float = 0.95,
    rope: Rope = DEFAULT_ROPE,
) -> Estimates:
    """Summarise the draws of the estimands, with status, counts and decisions."""
    made: Estimates = abundance.estimates(
        draws, data, interval=interval, rope=rope, method="models/abundance_tobit.py"
    )
    return made


def prior_checks(graph: pm.Model, data: AnalysisSet, seed: int) -> pd.DataFrame:
    """Numeric gates: shares with a cell type, and slopes, that the prior must neither exclude nor expect."""
    return latent_prior_predictive(graph, data, seed)


def predictive_checks(
    graph: pm.Model, posterior: Any, data: AnalysisSet, seed: int, interval: float = 0.95
) -> pd.DataFrame:
    """Replicated zero shares and quantiles of positives, by cell type, cohort and HR stratum."""
    return replicated_abundances(replicate(posterior, data, np.random.default_rng(seed)), data, interval)


def reader_scale(name: str, prior: Prior, interval: float) -> str:
    """Say what a prior means: shares of tumours with a cell type, and shifts in residual SDs."""
    low, high = prior.interval(interval)
    percent = f"{interval:.0%}"
    if name == "latent_intercept_mean":
        ends = (norm.cdf(low), norm.cdf(high))
        return f"{percent} of typical cell types present in {ends[0]:.0%} to {ends[1]:.1%} of tumours"
    if name == "log_sd_mean":
        return f"{percent}: residual SD of the square root {np.exp(low):.2g} to {np.exp(high):.2g}"
    if name == "log_sd_between_cohorts_sd":
        return f"{percent}: residual SDs differ by {np.exp(low):.2g} to {np.exp(high):.2g}-fold (1 SD)"
    what = "1 SD is" if name.endswith("_sd") else "shift of"
    return f"{percent}: {what} {low:.2g} to {high:.2g} residual SDs"


def tables(
    posterior: Any,
    draws: Mapping[tuple[str, str], Any],
    data: AnalysisSet,
    priors: Mapping[str, Prior],
    *,
    interval: float,
) -> dict[str, pd.DataFrame]:
    """Spread between cohorts."""
    return {
        "heterogeneity": heterogeneity(
            posterior, structure(data), priors, interval=interval, parts=("latent",)
        )
    }
