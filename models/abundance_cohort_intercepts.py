"""Presence and amount of every immune cell type, as in `abundance`, with cohorts that differ in intercepts alone.

Intercepts are exchangeable between cohorts as in the main model; slope, HR shift and interaction are common to them:

    intercept_kc ~ Normal(intercept_c, between_cohorts_sd_c),    slope_c, hr_c, interaction_c for every cohort.

Shapes of the amounts vary by cohort as there. What a new cohort's slope may be this model does not say: those rows are
not estimable.
A structure to be compared with the main model, not a second answer.
"""

from __future__ import annotations

from functools import partial

from bayes_her2.models import abundance

from bayes_her2.bayesian.design import Terms
from bayes_her2.bayesian.priors import Prior
from bayes_her2.data import AnalysisSet

QUESTION = (
    "Do the answers of the main model depend on slopes that vary by cohort: random intercepts alone instead?"
)
DATA = abundance.DATA
TWIN = abundance.TWIN
ESTIMANDS = abundance.ESTIMANDS
OUTCOME = abundance.OUTCOME
MEASURE = abundance.MEASURE
TERMS = Terms(by_cohort=("intercept",))
PRIORS: dict[str, Prior] = {n: prior for n, prior in abundance.PRIORS.items() if TERMS.uses(n)}


def priors_for(data: AnalysisSet) -> dict[str, Prior]:
    """Give the default priors for a data set: those of the main model that the structure uses."""
    main = abundance.priors_for(data)
    return {n: prior for n, prior in main.items() if TERMS.uses(n)}


build = partial(abundance.build, terms=TERMS)
estimand_draws = abundance.estimand_draws
estimates = partial(abundance.estimates, terms=TERMS, method="models/abundance_cohort_intercepts.py")
log_likelihood, replicate, replicated = abundance.log_likelihood, abundance.replicate, abundance.replicated
reported = abundance.reported
prior_checks = abundance.prior_checks
predictive_checks = abundance.predictive_checks
reader_scale = abundance.reader_scale
tables = abundance.tables
