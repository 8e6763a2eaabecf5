"""Clinical variables as outcomes: how common each is where a cell type is abundant, and where it is not.

The seed study's clinical models, in its own direction: a clinical variable cut in two (age above 50 years, grade III,
tumour above 2 cm) is the outcome; one cell type, hormone receptor status and their interaction are the predictors. The
seed study takes abundance as it is measured, and as presence where 25 to 75 % of the tumours lack the cell type. To
cut every cell type in two, at the median or at presence, is the choice of this package: the odds ratios then mean
the same for all of them, and they are not the seed study's. For clinical outcome o, cell type c, and tumour i of
cohort k with the outcome recorded

    true_io ~ Bernoulli(logit^-1 eta_ioc)
    eta_ioc = intercept_k + slope_k high_ic + hr_k r_i + interaction_k high_ic r_i        (all of them by o and c)

with high 1 or 0 and r = 1 in the non-reference stratum. Each of the four coefficients is

    coefficient_k ~ Normal(coefficient, between_cohorts_sd),   where at least two cohorts inform it for this outcome,
    coefficient   ~ Normal(fixed mean, fixed SD)

so cohort is a random intercept, and random in the other terms too. Cell types are *not* pooled with each other, nor
are outcomes: the same outcome of the same tumours enters once for every cell type, and a likelihood that multiplies
them all would count it many times. Each (outcome, cell type) is a regression of its own, with fixed priors and a spread
between cohorts of its own; one graph holds them all only so that it is compiled once.

Tumours that are alike in cohort, HR status and abundance are counted together: the same likelihood, fewer terms. A
stratum enters a regression when at least 10 of its tumours have the outcome and 10 do not, and at least 10 have high
abundance and 10 do not.

No sign is called here, and no s-value given. Each regression has the same fixed, weakly informative prior whatever the
others show, so nothing is adjusted for their number: in 21 of them without any effect the chance of at least one sign
call at an s-value of 0.05 is 0.85. Intervals are to be read one at a time; the twin's Bonferroni column counts the cell
types.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt

from bayes_her2.bayesian.bernoulli import counted_bernoulli_node
from bayes_her2.bayesian.clinical import (
    BY_COHORT_DIM,
    ClinicalDesign,
    Rows,
    clinical_design,
    clinical_posterior_predictive,
    clinical_prior_predictive,
    clinical_reader_scale,
    clinical_replicated,
    odds_draws,
)
from bayes_her2.bayesian.coordinates import Coordinates, partially_pooled, typical_of
from bayes_her2.bayesian.outline import LETTERS, Given, Line, given, indexed, logit, members, normal
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.product import matrix_product
from bayes_her2.bayesian.summary import tabulate
from bayes_her2.data import AnalysisSet
from bayes_her2.estimates import DEFAULT_ROPE, Estimates, Rope

QUESTION = (
    "Are clinical variables of a patient and her tumour, each cut in two, more often true where an immune cell type is "
    "abundant, and does that differ by hormone receptor status?"
)
DATA = "AnalysisSet"
TWIN = "clinical_twin"
ESTIMANDS = {
    "clinical_odds": "odds ratio of the clinical outcome, high against low abundance of the cell type",
}

_COHORTS = "one SD between cohorts multiplies an odds ratio by at most 1.6 (95 % of the prior)"
PRIORS: dict[str, Prior] = {
    "intercept_mean": Prior(
        "Normal",
        {"mu": 0.0, "sigma": 1.5},
        "outcomes are cut so that neither side is rare: true of 5 to 95 % of the tumours",
    ),
    "intercept_between_cohorts_sd": Prior(
        "HalfNormal",
        {"sigma": 1.0},
        "case mix: age, grade and size move the odds up to sevenfold between series",
    ),
    "slope_mean": Prior(
        "Normal", {"mu": 0.0, "sigma": 1.0}, "an odds ratio beyond 7-fold between high and low is implausible"
    ),
    "slope_between_cohorts_sd": Prior("HalfNormal", {"sigma": 0.25}, _COHORTS),
    "hr_mean": Prior(
        "Normal",
        {"mu": 0.0, "sigma": 1.5},
        "grade III is up to 20 times as likely (odds) in HR-negative tumours",
    ),
    "hr_between_cohorts_sd": Prior(
        "HalfNormal", {"sigma": 0.5}, "HR strata differ between series by up to threefold more or less"
    ),
    "interaction_mean": Prior(
        "Normal",
        {"mu": 0.0, "sigma": 1.0},
        "not tighter than the slope's own: no ratio of odds ratios beyond 7-fold",
    ),
    "interaction_between_cohorts_sd": Prior("HalfNormal", {"sigma": 0.25}, _COHORTS),
}


def priors_for(data: AnalysisSet) -> dict[str, Prior]:
    """Give the default priors: odds ratios do not depend on the scale of the abundance."""
    return PRIORS


def described(data: AnalysisSet) -> tuple[str, ...]:
    """Say what was fitted to these data, in sentences for a methods section."""
    design = clinical_design(data)
    both = (
        " and, where both strata enter, hormone receptor (HR) status and their interaction"
        if len(data.strata) == 2
        else ""
    )
    varies = (
        " Its coefficients varied between cohorts, normally around their mean, where at least two cohorts inform them."
        if len(data.cohorts) > 1
        else ""
    )
    return (
        f"Each of {len(design.labels)} pairs of a clinical outcome cut in two and a cell type was a logistic "
        f"regression of the outcome on high abundance{both}.{varies}",
        "Regressions shared no parameter, and no sign was called: their priors are fixed whatever the others show.",
    )


def outline(data: AnalysisSet, priors: Mapping[str, Prior]) -> tuple[Line, ...]:
    """Write the model line by line, for equations and a picture.

    Parameters
    ----------
    data, priors
        As the model is built.
    """
    design = clinical_design(data)
    terms = [term for term in LETTERS if term in design.columns]
    varying = [term for term in terms if design.by_cohort[term].any()]
    theta, _ = members([LETTERS[term] for term in terms])
    columns = {"slope": " a_{g}", "hr": " r_{g}", "interaction": " a_{g} r_{g}"}
    eta = [indexed(LETTERS[term], "kj" if term in varying else "j") + columns.get(term, "") for term in terms]
    typical, by_cohort = indexed(theta, "j"), indexed(theta, "kj")
    some_common = any(not design.by_cohort[term].all() for term in terms)
    hr = f"; r is 1 in {data.strata[-1]} tumours and 0 in the others" if "hr" in terms else ""
    lines = [
        Line(
            "y_{gj}",
            r"\mathrm{Binomial}(n_{gj},\, \pi_{gj})",
            ("group", "regression"),
            "tumours with the outcome, of the n of group g (cohort k, hormone receptor stratum, high or low abundance) "
            "in regression j (an outcome and a cell type)",
            variables=("n_true",),
            parents=(r"\pi_{gj}",),
            observed=True,
        ),
        logit(
            r"\pi_{gj}",
            " + ".join(eta),
            ("group", "regression"),
            f"probability of the outcome: a is 1 where the cell type is abundant and 0 where it is not{hr}",
            parents=(*([by_cohort] if varying else []), *([typical] if some_common else [])),
        ),
    ]
    if varying:
        letter, some_of = members([LETTERS[term] for term in varying], theta)
        spread = indexed(r"\tau", f"{theta} j")
        lines.append(
            Line(
                by_cohort,
                normal(indexed(letter, "j"), indexed(r"\tau", f"{letter} j")) + some_of,
                ("cohort", "regression"),
                "coefficients in cohort k, where at least two cohorts inform them; elsewhere the regression's own",
                variables=tuple(f"{term}_by_cohort" for term in varying),
                parents=(typical, spread),
            )
        )
        spreads = [
            Given(
                indexed(r"\tau", f"{LETTERS[t]} j"),
                f"{t}_between_cohorts_sd",
                priors[f"{t}_between_cohorts_sd"],
            )
            for t in varying
        ]
        lines.extend(
            given(spreads, node=spread, each=("regression",), said="SDs of coefficients between cohorts")
        )
    own = [Given(indexed(LETTERS[t], "j"), t, priors[f"{t}_mean"]) for t in terms]
    lines.extend(
        given(
            own,
            node=typical,
            each=("regression",),
            said="coefficients of regression j, which shares none",
        )
    )
    return tuple(lines)


def build(data: AnalysisSet, priors: Mapping[str, Prior]) -> pm.Model:
    """Return the model as a PyMC graph.

    Returns
    -------
    pymc.Model
        Observed node ``n_true``, group of tumours x regression; coefficients by term.
    """
    design = clinical_design(data)
    labels = np.array(design.labels)
    coords = {
        "group": [f"{cohort}, {hr}, {'high' if high else 'low'}" for cohort, hr, high in design.groups],
        "cohort": list(data.cohorts),
        "regression": design.labels,
    }
    coords |= {
        f"{dim}_by_cohort": list(labels[design.by_cohort[term]])
        for term, dim in BY_COHORT_DIM.items()
        if term in design.columns
    }
    with pm.Model(coords=coords) as model:
        columns = np.concatenate(list(design.columns.values()), axis=1)
        coefficients = [_coefficient(term, design, priors) for term in design.columns]
        counted_bernoulli_node(
            "n_true",
            logit_p=matrix_product(columns, pt.concatenate(coefficients, axis=0)),
            events=design.n_true,
            n_tumours=design.n_tumours,
            dims=("group", "regression"),
        )
    return model


def _coefficient(term: str, design: ClinicalDesign, priors: Mapping[str, Prior]) -> Any:
    """One coefficient of every regression, cohort x regression, in likelihood-informed coordinates."""
    at, varying = design.coordinates[term], design.by_cohort[term]
    place = np.eye(len(varying))[varying]  # one row for each regression in which cohorts differ
    mean, dim = priors[f"{term}_mean"].params, f"{BY_COHORT_DIM[term]}_by_cohort"
    spread: Any = np.zeros(len(varying))
    if varying.any():
        between_cohorts_sd = priors[f"{term}_between_cohorts_sd"].spread(
            f"{term}_between_cohorts_sd", dims=dim
        )
        spread = matrix_product(between_cohorts_sd, place)
    coordinates, start = at.above()
    typical = typical_of(
        term,
        mean=mean["mu"],
        sd=mean["sigma"],
        below_sd=spread,
        dims="regression",
        coordinates=coordinates,
        start=start,
    )
    common = pt.ones((len(at.estimate), 1)) * (typical * ~varying)[None, :]
    if not varying.any():
        return common
    own = partially_pooled(
        f"{term}_by_cohort",
        mean=matrix_product(place, typical),
        sd=between_cohorts_sd,
        dims=("cohort", dim),
        coordinates=Coordinates(at.estimate[:, varying], at.variance[:, varying]).transform(),
    )
    return common + matrix_product(own, place)


def estimand_draws(
    posterior: Any, data: AnalysisSet, priors: Mapping[str, Prior], rng: np.random.Generator
) -> dict[tuple[str, str], Any]:
    """Turn draws of coefficients into draws of the odds ratios.

    Returns
    -------
    dict
        (estimand, scope) -> log odds ratio with dims chain, draw, stratum (HR+, HR-, HR- over HR+), outcome, cell_type
        and, in the scope ``cohort``, cohort: `slope` in the reference stratum, `slope + interaction` in the other.
    """
    return odds_draws(posterior, data, priors, rng)


def reported(posterior: Any) -> dict[str, Any]:
    """Return nothing: spreads between cohorts are reported through the odds ratio of a new cohort."""
    return {}


def estimates(
    draws: Mapping[tuple[str, str], Any],
    data: AnalysisSet,
    *,
    interval: float = 0.95,
    rope: Rope = DEFAULT_ROPE,
) -> Estimates:
    """Summarise the draws of the odds ratios, without sign calls: no row is adjusted for the number of cell types."""
    return tabulate(
        draws,
        data,
        Rows(data, "odds ratio, high against low abundance").describe,
        method="models/clinical.py",
        interval=interval,
        rope=rope,
        family=None,
    )


prior_checks = clinical_prior_predictive
predictive_checks = clinical_posterior_predictive
reader_scale = clinical_reader_scale
replicated = clinical_replicated
CALLS_SIGNS = False


def tables(
    posterior: Any,
    draws: Mapping[tuple[str, str], Any],
    data: AnalysisSet,
    priors: Mapping[str, Prior],
    *,
    interval: float,
) -> dict[str, pd.DataFrame]:
    """Give the counts behind every regression, and what high means in each cohort."""
    return {"counts": data.clinical_counts.merge(data.rules[["cell_type", "cohort", "rule", "high_rule"]])}
