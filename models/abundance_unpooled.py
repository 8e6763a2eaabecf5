"""Presence and amount of every immune cell type, as in `abundance`, with cell types that share nothing.

Each coefficient of a cell type stands on its own, with a wide prior in place of the mean over cell types and the spread
around it:

    coefficient_c ~ Normal(level, wide),      coefficient_kc ~ Normal(coefficient_c, between_cohorts_sd).

Cohorts are as in the main model. With one cohort the posterior is that of cell types fitted one by one.
A structure to be compared with the main model, not a second answer.
"""

from __future__ import annotations

from functools import partial

from bayes_her2.models import abundance

from bayes_her2.bayesian.design import Terms
from bayes_her2.bayesian.priors import Prior, around
from bayes_her2.data import AnalysisSet

QUESTION = (
    "Do the answers of the main model depend on cell types that share strength: each on its own instead?"
)
DATA = abundance.DATA
TWIN = abundance.TWIN
ESTIMANDS = abundance.ESTIMANDS
OUTCOME = abundance.OUTCOME
MEASURE = abundance.MEASURE
TERMS = Terms(cell_types="unpooled")

_ALONE = "a change beyond sixfold per SD is implausible for any cell type"
_OWN = {
    "presence_intercept": Prior(
        "Normal",
        {"mu": 1.0, "sigma": 2.5},
        "any share but the extremes: 95 % of the prior spans 2 to 99.7 % of tumours",
    ),
    "presence_slope": Prior("Normal", {"mu": 0.0, "sigma": 0.9}, _ALONE),
    "presence_hr": Prior("Normal", {"mu": 0.0, "sigma": 0.9}, "strata differ less than sixfold"),
    "presence_interaction": Prior("Normal", {"mu": 0.0, "sigma": 0.9}, _ALONE),
    "presence_covariate": Prior("Normal", {"mu": 0.0, "sigma": 0.9}, _ALONE),
    "amount_intercept": Prior(
        "Normal",
        {"mu": -3.0, "sigma": 2.0},
        "a share of 0.1 % and one of half the infiltrate are both well inside 95 % of the prior",
    ),
    "amount_slope": Prior("Normal", {"mu": 0.0, "sigma": 0.9}, _ALONE),
    "amount_hr": Prior("Normal", {"mu": 0.0, "sigma": 0.9}, "strata differ less than sixfold"),
    "amount_interaction": Prior("Normal", {"mu": 0.0, "sigma": 0.9}, _ALONE),
    "amount_covariate": Prior("Normal", {"mu": 0.0, "sigma": 0.9}, _ALONE),
}
PRIORS: dict[str, Prior] = {n: prior for n, prior in abundance.PRIORS.items() if TERMS.uses(n)} | _OWN


def priors_for(data: AnalysisSet) -> dict[str, Prior]:
    """Give the default priors for a data set: those of the main model, and the structure's own."""
    main = abundance.priors_for(data)
    own = _OWN | {"amount_intercept": around(_OWN["amount_intercept"], main["amount_intercept_mean"])}
    return {n: prior for n, prior in main.items() if TERMS.uses(n)} | own


build = partial(abundance.build, terms=TERMS)
estimand_draws = abundance.estimand_draws
estimates = partial(abundance.estimates, terms=TERMS, method="models/abundance_unpooled.py")
log_likelihood, replicate, replicated = abundance.log_likelihood, abundance.replicate, abundance.replicated
reported = abundance.reported
prior_checks = abundance.prior_checks
predictive_checks = abundance.predictive_checks
reader_scale = abundance.reader_scale
tables = abundance.tables
