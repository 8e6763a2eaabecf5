"""Presence and amount of every immune cell type, as in `abundance`, with a level of lineages between cell types.

Slopes, HR shifts and interactions of the cell types of one lineage are exchangeable around its mean, and lineages
around the mean of all:

    coefficient_c ~ Normal(lineage_l(c), between_cells_sd),    lineage_l ~ Normal(mean, between_lineages_sd).

Intercepts are as in the main model: a lineage's cell types are common and rare alike. `bayes_her2.bayesian.lineages` is
the table of lineages; cell types that are not in it are refused. Cohorts are as in the main model.
A structure to be compared with the main model, not a second answer.
"""

from __future__ import annotations

from functools import partial

from bayes_her2.models import abundance

from bayes_her2.bayesian.design import Terms
from bayes_her2.bayesian.lineages import without_lineage
from bayes_her2.bayesian.priors import Prior
from bayes_her2.data import AnalysisSet

QUESTION = "Do cell types of one lineage share how they change with HER2, more than cell types do in general?"
DATA = abundance.DATA
TWIN = abundance.TWIN
ESTIMANDS = abundance.ESTIMANDS
OUTCOME = abundance.OUTCOME
MEASURE = abundance.MEASURE
TERMS = Terms(cell_types="lineage")

_SPREAD = Prior(
    "HalfNormal",
    {"sigma": 0.25},
    "half of what cell types differ by: one SD between lineages multiplies a ratio by at most 1.6 (95 % of the prior)",
)
_OWN = {
    f"{part}_{term}_between_lineages_sd": _SPREAD
    for part in ("presence", "amount")
    for term in ("slope", "hr", "interaction")
}
PRIORS: dict[str, Prior] = {n: prior for n, prior in abundance.PRIORS.items() if TERMS.uses(n)} | _OWN


def priors_for(data: AnalysisSet) -> dict[str, Prior]:
    """Give the default priors for a data set: those of the main model, and the structure's own."""
    main = abundance.priors_for(data)
    return {n: prior for n, prior in main.items() if TERMS.uses(n)} | _OWN


def unsuited(data: AnalysisSet) -> str:
    """Why these cell types have no lineages, or ''."""
    return without_lineage([str(name) for name in data.abundance.columns])


build = partial(abundance.build, terms=TERMS)
estimand_draws = abundance.estimand_draws
estimates = partial(abundance.estimates, terms=TERMS, method="models/abundance_lineage.py")
log_likelihood, replicate, replicated = abundance.log_likelihood, abundance.replicate, abundance.replicated
reported = abundance.reported
prior_checks = abundance.prior_checks
predictive_checks = abundance.predictive_checks
reader_scale = abundance.reader_scale
tables = abundance.tables
