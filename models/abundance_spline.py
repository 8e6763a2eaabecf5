"""Presence and amount of every immune cell type, as in `abundance`, with a smooth curve of HER2 in place of a line.

The predictor of both parts has, beside its line in HER2, the departures from it of a natural cubic spline with four
knots (`bayes_her2.splines`), uncorrelated with each other and with the line and each of SD 1 over the tumours:

    eta_ic = ... + slope_kc h_i + interaction_kc h_i r_i + sum_j bend_jc B_j(h_i),
    bend_jc ~ Normal(bend_mean_j, bend_sd),    bend_mean_j ~ Normal(0, bend_sd).

One spread penalises all departures of a part: at 0 every curve is straight, and half of a departure's prior variance
is shared by the cell types. The departures are common to cohorts and HR strata, whose lines differ as in the main
model. 'Per SD' is no longer one number of a line: it is h + 1 over h averaged over the tumours of the stratum (and
cohort): for `presence` and `amount` the geometric mean of the tumours' ratios, for the others the averages that they
are anyway. Beyond the outer knots (5 and 95 % of the tumours) curves are straight. A cohort without a stratum has no
such average. A structure to be compared with the main model, not a second answer.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from bayes_her2.models import abundance

from bayes_her2.bayesian.design import Terms, without_curve
from bayes_her2.bayesian.priors import Prior
from bayes_her2.data import AnalysisSet

QUESTION = (
    "Is the effect of HER2 a straight line on the scale of the predictor, and do the answers depend on it?"
)
DATA = abundance.DATA
TWIN = abundance.TWIN
ESTIMANDS = abundance.ESTIMANDS | {
    "presence": "odds ratio of presence at h + 1 SD of HER2 over h, geometric mean over the stratum's tumours",
    "amount": "ratio of mean abundance where present at h + 1 SD of HER2 over h, geometric mean likewise",
}
OUTCOME = abundance.OUTCOME
MEASURE = abundance.MEASURE
TERMS = Terms(bends=True)

_BENDS = Prior(
    "HalfNormal",
    {"sigma": 0.25},
    "the departure from a line, one SD over the tumours, multiplies the {} by at most 1.6 (95 % of the prior)",
)
_OWN = {
    f"{part}_bend_sd": replace(_BENDS, why=_BENDS.why.format(what))
    for part, what in (("presence", "odds"), ("amount", "mean"))
}
PRIORS: dict[str, Prior] = {n: prior for n, prior in abundance.PRIORS.items() if TERMS.uses(n)} | _OWN


def priors_for(data: AnalysisSet) -> dict[str, Prior]:
    """Give the default priors for a data set: those of the main model, and the structure's own."""
    main = abundance.priors_for(data)
    return {n: prior for n, prior in main.items() if TERMS.uses(n)} | _OWN


unsuited = without_curve
build = partial(abundance.build, terms=TERMS)
estimand_draws = abundance.estimand_draws
estimates = partial(abundance.estimates, terms=TERMS, method="models/abundance_spline.py")
log_likelihood, replicate, replicated = abundance.log_likelihood, abundance.replicate, abundance.replicated
reported = abundance.reported
prior_checks = abundance.prior_checks
predictive_checks = abundance.predictive_checks
reader_scale = abundance.reader_scale
tables = abundance.tables
