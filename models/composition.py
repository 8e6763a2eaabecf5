"""The whole composition of the infiltrate: which cell types a tumour has, and how they share it out.

Shares sum to 1, so one cell type can only gain what others lose. The main model does not know it; here a tumour's
shares are one observation. Presence is that of `models/abundance.py`. Given the cell types S that a tumour has, their
shares are those of independent gamma amounts divided by their sum,

    y_ic = G_ic / sum_(j in S) G_ij,   G_ic ~ Gamma(shape phi_kc, mean exp eta_ic),
    eta_ic = intercept_kc + slope_kc h_i + hr_kc r_i + interaction_kc h_i r_i + covariate_c' x_i,

which is the scaled Dirichlet distribution (`bayes_her2.bayesian.scaled_dirichlet`): the main model's own amounts and
shapes, seen as shares. A number common to all eta_ic of a tumour cancels, so each coefficient sums to 0 over cell
types: it compares a cell type with the (geometric) average one. For each of intercept, slope, hr and interaction

    coefficient_kc ~ Normal(coefficient_c, between_cohorts_sd),   where at least two cohorts inform it,
    coefficient_c  ~ Normal(0, between_cells_sd),                 both given that they sum to 0 over cell types;

`contrast_predictor` is these lines as a graph.

Why not the plain Dirichlet, whose one set of parameters is both mean and precision: marginal log likelihood, given
who is present, at the maximum over the coefficients of each cell type (737 tumours of TCGA-BRCA; 1,112 of METABRIC,
all HR+, so without HR terms; 22 cell types):

                                                        TCGA-BRCA   METABRIC
    Dirichlet                                              17,845     40,154
    logistic-normal, independent log amounts               17,903     40,499
    logistic-normal, covariance of rank 1, 2, 4    18,076, 18,169, 18,261
    scaled Dirichlet                                       18,608     41,999

Of both cohorts together the scaled Dirichlet has 60,607 with shapes by cohort, 59,906 with one shape for both.

What differs from the main model in meaning. `presence` is the same. `amount` and `overall` are ratios of mean shares
in the same tumours, but each share depends on the presence and the slopes of all cell types: a cell type without an
effect of its own falls where others rise. Mean shares sum to 1 at every value of HER2, where the sum of the main
model's drifts. Both are averages over the tumours of a stratum; the main model's `amount` is one coefficient.
`high_abundance` has the main model's rule, with a quadrature for the chance that a share exceeds a cutoff
(`share_above` says how exact it is). The comparisons of the HR strata are left out: that two tumours' shares compare
has no quadrature in one dimension.

What it does not describe: amounts are independent but for their sum, and shares of TCGA-BRCA's HR+ tumours are more
correlated than that: 52 % of the 231 correlations of two cell types lie within the replications' 95 % intervals, and
their SD is 0.14, the replications' 0.05. Zero shares, means, medians and 90 % quantiles by cell type and stratum are
described (167 of 168).

Cell types whose amount is not modelled in a stratum (too few tumours have them) are left out there, and the others'
shares divided by their sum. The scaled Dirichlet of fewer cell types has the same parameters, so that nothing has to
be assumed of what is left out. In TCGA-BRCA that is 9 of 156 HR- tumours with eosinophils and 3 with naive CD4 T
cells: 0.07 % of the HR- tumours' shares, 4.8 % in the tumour that loses most. The table `left_out` gives it for each
study. An alternative to be compared with the main model, not a second answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
from bayes_her2.models import abundance

from bayes_her2.bayesian.bernoulli import bernoulli_node
from bayes_her2.bayesian.composition import composition_design, contrast_predictor, left_out
from bayes_her2.bayesian.composition_estimands import (
    composition_estimands,
    composition_log_likelihood,
    composition_replicate,
)
from bayes_her2.bayesian.composition_predictive import composition_prior_predictive
from bayes_her2.bayesian.design import arrays, part_design, structure
from bayes_her2.bayesian.linear_predictor import hierarchical_predictor
from bayes_her2.bayesian.predictive import hurdle_posterior_predictive, hurdle_reader_scale
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.scaled_dirichlet import composition_node
from bayes_her2.bayesian.summary import heterogeneity
from bayes_her2.bayesian.sweep import interaction_sweep
from bayes_her2.data import AnalysisSet

QUESTION = "Do the answers of the main model depend on taking cell types one by one, when a tumour's shares sum to 1?"
DATA = abundance.DATA
TWIN = (
    "none: no frequentist method at hand fits presence and shares of a composition over cohorts, with shapes of their "
    "own; the main model has a twin"
)
ESTIMANDS = {
    "presence": abundance.ESTIMANDS["presence"],
    "amount": "ratio of mean share among tumours with the cell type present, per SD of HER2, standardised to the "
    "stratum's tumours, all other cell types changing too",
    "overall": "ratio of mean share, zeros included, per SD of HER2, standardised likewise",
    "high_abundance": "marginal odds ratio of a high share at h + 1 SD over h, standardised likewise",
}

OUTCOME = "composition: shares of the cell types whose amount is modelled, summing to 1"
MEASURE = "counting over the sets of present cell types, and length on the simplex of the shares of each"

_RELATIVE = "relative to the average cell type; "
_KEPT = (
    "intercept_between_cells_sd",
    "slope_between_cells_sd",
    "slope_between_cohorts_sd",
    "hr_between_cells_sd",
    "hr_between_cohorts_sd",
    "interaction_between_cells_sd",
    "interaction_between_cohorts_sd",
    "covariate_between_cells_sd",
    "centre_sd",
)
PRIORS: dict[str, Prior] = {
    name: prior
    for name, prior in abundance.PRIORS.items()
    if name.startswith("presence") or name.removeprefix("amount_") in _KEPT
}
PRIORS |= {
    name: Prior(prior.dist, dict(prior.params), _RELATIVE + prior.why)
    for name, prior in PRIORS.items()
    if name.startswith("amount")
}
PRIORS |= {
    "amount_intercept_between_cohorts_sd": Prior(
        "HalfNormal",
        {"sigma": 0.5},
        _RELATIVE + "runs differ up to threefold in the mean of a cell type; one SD for all of them",
    ),
    "log_shape_mean": Prior(
        "Normal",
        {"mu": 0.5, "sigma": 1.0},
        "coefficient of variation of an amount, before it is divided by the tumour's sum, between 0.3 and 2.1 for 95 % "
        "of the prior",
    ),
    "log_shape_between_cohorts_sd": abundance.PRIORS["log_shape_between_cohorts_sd"],
}


def priors_for(data: AnalysisSet) -> dict[str, Prior]:
    """Give the default priors: the same for every data set, because shares have no units."""
    return PRIORS


def build(data: AnalysisSet, priors: Mapping[str, Prior]) -> pm.Model:
    """Return the model as a PyMC graph.

    Parameters
    ----------
    data, priors
        Analysis set on the relative scale, and one prior for each name of ``PRIORS``.

    Returns
    -------
    pymc.Model
        Observed nodes ``present`` and ``amount`` (shares, one vector for each tumour); coefficients of presence as in
        the main model, those of the amounts as deterministic of their contrasts.

    Raises
    ------
    DataError
        The abundances are on the absolute scale, or fewer than two cell types have amounts to model.
    """
    shape = structure(data)
    amount = composition_design(data, shape)
    presence = part_design(data, shape, "presence")
    tumours = arrays(data, shape)
    cells = amount.composition.cell_types
    coords = {
        "tumour": list(data.tumours.index),
        "cohort": list(shape.cohorts),
        "presence_cell_type": list(presence.cell_types),
        "amount_cell_type": list(cells),
        "amount_contrast": [f"contrast {i}" for i in range(1, len(cells))],
        "covariate": list(data.covariates.columns),
        "centre": list(shape.centres),
    }
    with pm.Model(coords=coords) as model:
        if presence.cell_types:
            bernoulli_node(
                "present",
                logit_p=hierarchical_predictor("presence", presence, tumours, shape, priors),
                observed=presence.observed,
                modelled=presence.modelled,
                dims=("tumour", "presence_cell_type"),
            )
        composition_node(
            "amount",
            log_mean=contrast_predictor(amount, tumours, shape, priors),
            log_shape=abundance.log_shape(amount.log_shape, shape, priors),
            group_idx=tumours.cohort_idx,
            shares=amount.composition.shares,
            counted=amount.composition.counted,
            dims=("tumour", "amount_cell_type"),
        )
    return model


def estimand_draws(
    posterior: Any, data: AnalysisSet, priors: Mapping[str, Prior], rng: np.random.Generator
) -> dict[tuple[str, str], Any]:
    """Turn draws of coefficients into draws of the estimands: see `composition_estimands`."""
    return dict(composition_estimands(posterior, data, priors, rng))


def unsuited(data: AnalysisSet) -> str:
    """Why these abundances are no composition, or ''."""
    if data.scale == "relative":
        return ""
    return (
        f"it is a model of shares that sum to 1, and the study's scale is {data.scale} ({data.scale_label}). Leave it "
        "out, or analyse the relative scale."
    )


log_likelihood, replicate = composition_log_likelihood, composition_replicate
reported = abundance.reported
estimates = partial(abundance.estimates, method="models/composition.py")
prior_checks = composition_prior_predictive
predictive_checks = hurdle_posterior_predictive


def reader_scale(name: str, prior: Prior, interval: float) -> str:
    """Say what a prior means as odds ratios and ratios of means."""
    return hurdle_reader_scale(name, prior, interval)


def tables(
    posterior: Any,
    draws: Mapping[tuple[str, str], Any],
    data: AnalysisSet,
    priors: Mapping[str, Prior],
    *,
    interval: float,
) -> dict[str, pd.DataFrame]:
    """Spread between cohorts, a sweep of the prior of presence's interactions, and what is not in the composition.

    No drift of summed shares: they sum to 1 by construction.
    """
    made = {"heterogeneity": heterogeneity(posterior, structure(data), priors, interval=interval)}
    if len(data.strata) == 2:
        # Amounts are averages over tumours here, of fewer draws than the spread that would weight them.
        presence = {key: array for key, array in draws.items() if key[0] == "presence"}
        made["interaction_sweep"] = interaction_sweep(posterior, presence, priors, interval=interval)
    made["left_out"] = left_out(data)
    return made
