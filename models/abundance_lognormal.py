"""Presence and amount of every immune cell type, as in `abundance`, with lognormal amounts.

Everything is that of `models/abundance.py` but the distribution of the amount where present: lognormal with the same
linear predictor of its log mean, so that every estimand keeps its meaning, and with a shape that varies by cohort and
cell type (`bayes_her2.bayesian.amounts`). Its left tail ends sooner than the
gamma's and its right tail later: amounts next to zero are implausible to it.
An alternative to be compared with the main model, not a second answer.
"""

from __future__ import annotations

from functools import partial

from bayes_her2.models import abundance

from bayes_her2.bayesian.amounts import LOGNORMAL
from bayes_her2.bayesian.density import HurdleDensity
from bayes_her2.bayesian.predictive import hurdle_reader_scale
from bayes_her2.bayesian.priors import Prior
from bayes_her2.data import AnalysisSet

QUESTION = "Do the answers of the main model depend on the distribution that it gives the amounts: lognormal for gamma?"
DATA = abundance.DATA
TWIN = abundance.TWIN
ESTIMANDS = abundance.ESTIMANDS
OUTCOME = abundance.OUTCOME
MEASURE = abundance.MEASURE
FAMILY = LOGNORMAL
DENSITY = HurdleDensity(FAMILY)
log_likelihood, replicate, replicated = DENSITY.log_likelihood, DENSITY.replicate, DENSITY.replicated

_SHAPES = {
    "log_shape_mean": Prior(
        "Normal",
        {"mu": 0.45, "sigma": 0.4},
        "coefficient of variation among the present between 0.3 and 2.5 for 95 % of the prior, near gamma's",
    ),
    "log_shape_between_cohorts_sd": Prior(
        "HalfNormal",
        {"sigma": 0.25},
        "half of what log gamma shapes vary: 1/SD of the logs goes about as the square root of a gamma shape",
    ),
}
PRIORS: dict[str, Prior] = abundance.PRIORS | _SHAPES


def priors_for(data: AnalysisSet) -> dict[str, Prior]:
    """Give the default priors for a data set: those of the main model, but for the shapes."""
    main: dict[str, Prior] = abundance.priors_for(data)
    return main | _SHAPES


build = partial(abundance.build, family=FAMILY)
estimand_draws = partial(abundance.estimand_draws, family=FAMILY)
estimates = partial(abundance.estimates, method="models/abundance_lognormal.py")
reported = abundance.reported
prior_checks = abundance.prior_checks
predictive_checks = abundance.predictive_checks
reader_scale = partial(hurdle_reader_scale, family=FAMILY)
tables = partial(abundance.tables, family=FAMILY)
