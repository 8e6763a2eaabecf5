"""Presence and amount of every immune cell type, as in `abundance`, with beta amounts: zero-inflated beta regression.

For abundances that are shares (the relative scale), which a gamma amount lets exceed 1. Everything is that of
`models/abundance.py` but the distribution of the amount where present and its link: the mean share m is
1 / (1 + exp(-eta)), and the precision varies by cohort and cell type (`bayes_her2.bayesian.amounts`). A slope is then
the log odds ratio of the mean share; the estimand ``amount`` stays the ratio of means, averaged over the stratum's
tumours on the log scale (for shares of a few percent nearly the same number). Comparisons of the HR strata are left to
the main model. An alternative to be compared with the main model, not a second answer.
"""

from __future__ import annotations

from functools import partial

from bayes_her2.models import abundance

from bayes_her2.bayesian.amounts import BETA
from bayes_her2.bayesian.density import HurdleDensity, not_shares
from bayes_her2.bayesian.predictive import hurdle_reader_scale
from bayes_her2.bayesian.priors import Prior
from bayes_her2.data import AnalysisSet

QUESTION = (
    "Do the answers of the main model depend on the distribution that it gives the amounts: beta for gamma?"
)
DATA = abundance.DATA
TWIN = abundance.TWIN
ESTIMANDS = {
    name: meaning + (", averaged over the stratum's tumours on the log scale" if name == "amount" else "")
    for name, meaning in abundance.ESTIMANDS.items()
    if name not in ("probability_greater", "presence_difference")
}
OUTCOME = abundance.OUTCOME
MEASURE = abundance.MEASURE
FAMILY = BETA
DENSITY = HurdleDensity(FAMILY)
log_likelihood, replicate, replicated = DENSITY.log_likelihood, DENSITY.replicate, DENSITY.replicated

_OWN = {
    "amount_intercept_mean": Prior(
        "Normal",
        {"mu": -3.0, "sigma": 1.5},
        "a typical share where present is 5 %; 95 % of the prior spans 0.3 to 49 %",
    ),
    "log_shape_mean": Prior(
        "Normal",
        {"mu": 3.5, "sigma": 1.2},
        "coefficient of variation of a share of 5 % between 0.2 and 2.1 for 95 % of the prior, near gamma's",
    ),
}
PRIORS: dict[str, Prior] = abundance.PRIORS | _OWN


def priors_for(data: AnalysisSet) -> dict[str, Prior]:
    """Give the default priors; they do not depend on the data, which are shares."""
    return PRIORS


unsuited = not_shares
build = partial(abundance.build, family=FAMILY)
estimand_draws = partial(abundance.estimand_draws, family=FAMILY)
estimates = partial(abundance.estimates, method="models/abundance_beta.py")
reported = abundance.reported
prior_checks = abundance.prior_checks
predictive_checks = abundance.predictive_checks
reader_scale = partial(hurdle_reader_scale, family=FAMILY)
tables = partial(abundance.tables, family=FAMILY)
