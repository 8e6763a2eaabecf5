"""Presence and amount of every immune cell type, as in `abundance`, with amounts that may be outliers.

Everything is that of `models/abundance.py` but the distribution of the amount where present: one amount in 20 is from
a gamma distribution of the same mean and a fifth of the shape (`bayes_her2.bayesian.contaminated`), so that single
tumours of extreme abundance pull less at the slopes, and every estimand keeps its meaning.
An alternative to be compared with the main model, not a second answer.
"""

from __future__ import annotations

from functools import partial

from bayes_her2.models import abundance

from bayes_her2.bayesian.contaminated import CONTAMINATED_GAMMA
from bayes_her2.bayesian.density import HurdleDensity
from bayes_her2.bayesian.predictive import hurdle_reader_scale
from bayes_her2.bayesian.priors import Prior
from bayes_her2.data import AnalysisSet

QUESTION = "Do the answers of the main model depend on single tumours of extreme abundance?"
DATA = abundance.DATA
TWIN = abundance.TWIN
ESTIMANDS = abundance.ESTIMANDS
OUTCOME = abundance.OUTCOME
MEASURE = abundance.MEASURE
FAMILY = CONTAMINATED_GAMMA
DENSITY = HurdleDensity(FAMILY)
log_likelihood, replicate, replicated = DENSITY.log_likelihood, DENSITY.replicate, DENSITY.replicated

_SHAPES = {
    "log_shape_mean": Prior(
        "Normal",
        {"mu": 0.6, "sigma": 1.0},
        "coefficient of variation among the present between 0.3 and 2.2 for 95 % of the prior, outliers included",
    ),
}
PRIORS: dict[str, Prior] = abundance.PRIORS | _SHAPES


def priors_for(data: AnalysisSet) -> dict[str, Prior]:
    """Give the default priors for a data set: those of the main model, but for the level of the shapes."""
    main: dict[str, Prior] = abundance.priors_for(data)
    return main | _SHAPES


build = partial(abundance.build, family=FAMILY)
estimand_draws = partial(abundance.estimand_draws, family=FAMILY)
estimates = partial(abundance.estimates, method="models/abundance_robust.py")
reported = abundance.reported
prior_checks = abundance.prior_checks
predictive_checks = abundance.predictive_checks
reader_scale = partial(hurdle_reader_scale, family=FAMILY)
tables = partial(abundance.tables, family=FAMILY)
