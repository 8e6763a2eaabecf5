"""Presence and amount of every immune cell type by cohort and HR stratum, without HER2.

The main model without slope and interaction: what a tumour's HER2 adds to the prediction of its infiltrate is the
difference in predictive density between the two. No row of HER2 is estimable here; comparisons of the HR strata are.
A null model to be compared with the main model, not a second answer.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from bayes_her2.models import abundance

from bayes_her2.bayesian.design import Terms
from bayes_her2.bayesian.priors import Prior
from bayes_her2.data import AnalysisSet

QUESTION = "What does HER2 add to the prediction of a tumour's immune infiltrate?"
DATA = abundance.DATA
TWIN = "none: without HER2 there is no slope to set beside that of a regression"
ESTIMANDS = abundance.ESTIMANDS
OUTCOME = abundance.OUTCOME
MEASURE = abundance.MEASURE
TERMS = Terms(present=("intercept", "hr"))
PRIORS: dict[str, Prior] = {n: prior for n, prior in abundance.PRIORS.items() if TERMS.uses(n)}


def priors_for(data: AnalysisSet) -> dict[str, Prior]:
    """Give the default priors for a data set: those of the main model that the structure uses."""
    main = abundance.priors_for(data)
    return {n: prior for n, prior in main.items() if TERMS.uses(n)}


build = partial(abundance.build, terms=TERMS)
estimand_draws = abundance.estimand_draws
estimates = partial(abundance.estimates, terms=TERMS, method="models/abundance_no_her2.py")
log_likelihood, replicate, replicated = abundance.log_likelihood, abundance.replicate, abundance.replicated


def reported(posterior: Any) -> dict[str, Any]:
    """Return every coefficient: its estimands are few, and a comparison rests on all coefficients."""
    return {name: posterior[name] for name in posterior if not str(name).endswith("_sd")}


prior_checks = abundance.prior_checks
predictive_checks = abundance.predictive_checks
reader_scale = abundance.reader_scale
tables = abundance.tables
