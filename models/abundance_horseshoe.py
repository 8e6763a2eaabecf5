"""Presence and amount of every immune cell type, as in `abundance`, with few cell types that depart from the rest.

Slopes and interactions have a regularised horseshoe on their deviations from the mean over cell types:

    coefficient_c ~ Normal(mean, sd_c),    sd_c^2 = c^2 tau^2 lambda_c^2 / (c^2 + tau^2 lambda_c^2),
    lambda_c ~ HalfCauchy(1),    tau ~ HalfCauchy(tau_0),    c^2 ~ InverseGamma(nu / 2, nu s^2 / 2),

global scale tau, local scale lambda_c, slab variance c^2 (Piironen & Vehtari 2017, doi 10.1214/17-EJS1337SI). Most
cell types are drawn to the mean, more than a normal distribution would, and those that differ clearly are hardly
drawn at all: up to the slab, a Student t of nu degrees of freedom and scale s. Intercepts, HR shifts, covariates and
cohorts are as in the main model. A structure to be compared with the main model, not a second answer.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from bayes_her2.models import abundance

from bayes_her2.bayesian.design import Terms
from bayes_her2.bayesian.priors import Prior
from bayes_her2.data import AnalysisSet

QUESTION = "Do most cell types change with HER2 alike, and few otherwise?"
DATA = abundance.DATA
TWIN = abundance.TWIN
ESTIMANDS = abundance.ESTIMANDS
OUTCOME = abundance.OUTCOME
MEASURE = abundance.MEASURE
TERMS = Terms(cell_types="horseshoe")

EXPECTED_DEPARTING, CELL_TYPES, TYPICAL_ERROR = 3, 20, 0.15
"""Cell types expected to depart, of how many, and the standard error of a cell type's own slope."""
GLOBAL = round(EXPECTED_DEPARTING / (CELL_TYPES - EXPECTED_DEPARTING) * TYPICAL_ERROR, 3)
"""tau_0 = p_0 / (D - p_0) sigma / sqrt(n), eq. 3.12, with the standard error of a coefficient for sigma / sqrt(n)."""

_TERM = {
    "global_scale": Prior(
        "HalfCauchy",
        {"beta": GLOBAL},
        f"about {EXPECTED_DEPARTING} of {CELL_TYPES} cell types depart from the mean, where a cell type's own slope is "
        f"known to within {TYPICAL_ERROR} (SE)",
    ),
    "local_scale": Prior(
        "HalfCauchy", {"beta": 1.0}, "of the horseshoe: near 0 or far out, cell type by cell type"
    ),
    "slab_variance": Prior(
        "InverseGamma",
        {"alpha": 2.0, "beta": 0.5},
        "a cell type that departs does so by a Student t of 4 degrees of freedom and scale 0.5: rarely beyond fourfold",
    ),
}
_OWN = {
    f"{part}_{term}_{name}": prior
    for part in ("presence", "amount")
    for term in ("slope", "interaction")
    for name, prior in _TERM.items()
}
PRIORS: dict[str, Prior] = {n: prior for n, prior in abundance.PRIORS.items() if TERMS.uses(n)} | _OWN


def priors_for(data: AnalysisSet) -> dict[str, Prior]:
    """Give the default priors for a data set: those of the main model, and the structure's own."""
    main = abundance.priors_for(data)
    return {n: prior for n, prior in main.items() if TERMS.uses(n)} | _OWN


build = partial(abundance.build, terms=TERMS)
estimand_draws = abundance.estimand_draws
estimates = partial(abundance.estimates, terms=TERMS, method="models/abundance_horseshoe.py")
log_likelihood, replicate, replicated = abundance.log_likelihood, abundance.replicate, abundance.replicated
reported = abundance.reported
prior_checks = abundance.prior_checks
predictive_checks = abundance.predictive_checks


def reader_scale(name: str, prior: Prior, interval: float) -> str:
    """Say what a prior means as ratios; those of the horseshoe by the spread that they give."""
    low, high = prior.interval(interval)
    if name.endswith("_local_scale"):
        return f"{interval:.0%}: {low:.2g} to {high:.2g} times the global scale, up to the slab"
    if name.endswith("_global_scale"):
        most = np.exp(min(high, 20.0))
        return f"{interval:.0%}: 1 SD multiplies a ratio by {np.exp(low):.3g} to {most:.2g}, up to the slab"
    if name.endswith("_slab_variance"):
        return f"{interval:.0%}: at most 1 SD multiplies a ratio by {np.exp(low**0.5):.2g} to {np.exp(high**0.5):.2g}"
    return str(abundance.reader_scale(name, prior, interval))


tables = abundance.tables
