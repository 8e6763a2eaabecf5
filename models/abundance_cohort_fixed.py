"""Presence and amount of every immune cell type, as in `abundance`, with cohorts as a fixed effect.

Each cohort has an intercept of its own for each cell type, in both parts, with a wide prior and nothing shared between
cohorts:

    intercept_kc ~ Normal(level, wide).

Slope, HR shift and interaction are common to the cohorts, and cell types are partially pooled in them as in the main
model. Shapes of the amounts vary by cohort as there. What a new cohort's slope may be this model does not say: those
rows are not estimable.
A structure to be compared with the main model, not a second answer.
"""

from __future__ import annotations

from functools import partial

from bayes_her2.models import abundance

from bayes_her2.bayesian.design import Terms
from bayes_her2.bayesian.priors import Prior, around
from bayes_her2.data import AnalysisSet

QUESTION = "Do the answers of the main model depend on cohorts as a random effect: fixed intercepts instead?"
DATA = abundance.DATA
TWIN = abundance.TWIN
ESTIMANDS = abundance.ESTIMANDS
OUTCOME = abundance.OUTCOME
MEASURE = abundance.MEASURE
TERMS = Terms(by_cohort=(), cohorts="fixed")

_OWN = {
    "presence_intercept_by_cohort": Prior(
        "Normal",
        {"mu": 1.0, "sigma": 3.0},
        "any share but the extremes, cohort by cohort: 95 % of the prior spans 0.8 to 99.9 % of tumours",
    ),
    "amount_intercept_by_cohort": Prior(
        "Normal",
        {"mu": -3.0, "sigma": 2.0},
        "a share of 0.1 % and one of half the infiltrate are both well inside 95 % of the prior",
    ),
}
PRIORS: dict[str, Prior] = {n: prior for n, prior in abundance.PRIORS.items() if TERMS.uses(n)} | _OWN


def priors_for(data: AnalysisSet) -> dict[str, Prior]:
    """Give the default priors for a data set: those of the main model, and the structure's own."""
    main = abundance.priors_for(data)
    level = main["amount_intercept_mean"]
    own = _OWN | {"amount_intercept_by_cohort": around(_OWN["amount_intercept_by_cohort"], level)}
    return {n: prior for n, prior in main.items() if TERMS.uses(n)} | own


build = partial(abundance.build, terms=TERMS)
estimand_draws = abundance.estimand_draws
estimates = partial(abundance.estimates, terms=TERMS, method="models/abundance_cohort_fixed.py")
log_likelihood, replicate, replicated = abundance.log_likelihood, abundance.replicate, abundance.replicated
reported = abundance.reported
prior_checks = abundance.prior_checks
predictive_checks = abundance.predictive_checks
reader_scale = abundance.reader_scale
tables = abundance.tables
