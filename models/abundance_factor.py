"""Presence and amount of every immune cell type, as in `abundance`, with a factor of each tumour that amounts share.

The log mean of an amount has a further term, a latent factor of the tumour times a loading of the cell type:

    log mean of amount_ic = eta_ic + loading_c f_i,    f_i ~ Normal(0, 1),    loading_c ~ Normal(0, loading_sd).

So amounts of one tumour depend on each other: they rise and fall together, or on the relative scale at each other's
expense. Presence has no factor, and everything else is that of the main model. Estimands keep their meaning, since
the mean of an amount over the tumours' factors is exp(eta_ic + loading_c^2 / 2): ratios of means do not feel it;
where more than a mean enters, averages are over the factor too. The factor belongs to its tumour: the log likelihood
of a tumour is marginal over it (`bayes_her2.bayesian.factor`), so that leaving the tumour out leaves its factor out.
Where tumours share no factor its spread has its mode at 0 and mixes slowly, and the gate may refuse the fit; on
TCGA-BRCA it is there (0 divergences; lymphoid cell types and M1 on one side, M0, M2, neutrophils and mast cells on the
other). A structure to be compared with the main model, not a second answer.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from bayes_her2.models import abundance

from bayes_her2.bayesian.design import Terms
from bayes_her2.bayesian.factor import factor_log_likelihood
from bayes_her2.bayesian.priors import Prior
from bayes_her2.data import AnalysisSet

QUESTION = "Do cell types of a tumour depend on each other beyond HER2 and HR status, and do the answers depend on it?"
DATA = abundance.DATA
TWIN = abundance.TWIN
ESTIMANDS = abundance.ESTIMANDS
OUTCOME = abundance.OUTCOME
MEASURE = abundance.MEASURE
TERMS = Terms(factor=True)

_OWN = {
    "amount_loading_sd": Prior(
        "HalfNormal",
        {"sigma": 0.5},
        "one SD of the tumours' factor multiplies the mean of a cell type by at most 2.7 (95 % of the prior)",
    )
}
PRIORS: dict[str, Prior] = abundance.PRIORS | _OWN


def priors_for(data: AnalysisSet) -> dict[str, Prior]:
    """Give the default priors for a data set: those of the main model, and the structure's own."""
    return dict(abundance.priors_for(data)) | _OWN


build = partial(abundance.build, terms=TERMS)
estimand_draws = abundance.estimand_draws
log_likelihood, replicate, replicated = factor_log_likelihood, abundance.replicate, abundance.replicated
estimates = partial(abundance.estimates, terms=TERMS, method="models/abundance_factor.py")


def reported(posterior: Any) -> dict[str, Any]:
    """Return the draws of the spreads between cohorts and of the loadings' spread."""
    return dict(abundance.reported(posterior)) | {"amount_loading_sd": posterior["amount_loading_sd"]}


prior_checks = abundance.prior_checks
predictive_checks = abundance.predictive_checks
reader_scale = abundance.reader_scale
tables = abundance.tables
