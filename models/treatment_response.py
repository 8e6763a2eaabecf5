"""Response to treatment (pathological complete response, midcourse response) of HER2-low and HER2-0 tumours.

The data are rows of patients and responders: a published 2 x 2 table is two rows, an individual a row of one patient.
For row i, of outcome o, HR stratum s and arm (or centre) a,

    events_i ~ Binomial(n_i, logit^-1 eta_i)
    eta_i    = intercept_aso + slope_aso l_i + covariate_effect_o' x_i

with l = 1/2 for HER2-low and -1/2 for HER2-0, so that the slope is the log odds ratio, HER2-low over HER2-0, and
neither level is a reference: exchanging them turns every odds ratio over and changes nothing else. Three structures:

one arm                 intercept_so, slope_so ~ Normal(fixed mean, fixed SD), for each HR stratum on its own
several arms, random    intercept_aso ~ Normal(intercept_so, intercept_between_arms_sd_o)
                        slope_aso     ~ Normal(slope_so, slope_between_arms_sd_o)
control and another     intercept_aso on their own; slope_ao = slope_o -+ interaction_o / 2, common to the HR strata:
                        the interaction is the log ratio of odds ratios, treated over control

HR strata share nothing: what is known of HR+ disease says little about triple-negative disease, and the contrast of the
two is their difference. Outcomes share nothing either: midcourse and final response of the same patients are two
regressions in one graph, not two independent pieces of evidence about one parameter.

The prior of a slope may be a mixture of normals: what earlier studies predict for a new one, made robust by a vague
component (`bayes_her2.bayesian.map_prior`). Borrowing is a choice of the reader; the answer without it stands beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt

from bayes_her2.bayesian.coordinates import partially_pooled
from bayes_her2.bayesian.outline import Given, Line, covariate_terms, given, indexed, logit, normal, number
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.response import (
    SLOPES,
    Rows,
    arm_coordinates,
    below_one,
    numbers_needed,
    response_design,
    response_draws,
    response_posterior_predictive,
    response_prior_predictive,
    response_reader_scale,
    response_replicated,
)
from bayes_her2.bayesian.summary import tabulate
from bayes_her2.bayesian.sweep import treatment_sweep
from bayes_her2.bayesian.two_by_two import tipping_points
from bayes_her2.data import HER2_LOW, ResponseData
from bayes_her2.estimates import ALL, DEFAULT_ROPE, Estimates, Rope
from bayes_her2.wording import listed

QUESTION = (
    "Do patients with HER2-low tumours respond to treatment less often than patients with HER2-0 tumours, and does "
    "what a treatment adds depend on the HER2 level?"
)
DATA = "ResponseData"
TWIN = "treatment_response_twin"
ESTIMANDS = {
    "response_odds": "odds ratio of response, HER2-low over HER2-0",
    "response_difference": (
        "difference in the probability of response, HER2-low minus HER2-0, averaged over the patients of the stratum"
    ),
    "number_needed": "patients with HER2-low instead of HER2-0 for one response fewer (or more), where it is bounded",
    "responders_of_next_50": (
        "responders among the next 50 patients of a HER2 level, with the HR status and covariates of its own patients"
    ),
    "ratio_of_odds_ratios": "odds ratio (HER2-low over HER2-0) in the treated arm over that in the control arm",
    "treatment_difference": (
        "difference in the probability of response, treated minus control arm, in patients of one HER2 level"
    ),
}

_SLOPE = "an odds ratio beyond 7-fold between two levels of HER2-negative disease is implausible"
PRIORS: dict[str, Prior] = {
    "intercept": Prior(
        "Normal",
        {"mu": 0.0, "sigma": 1.5},
        "response in 5 to 95 % of the patients: HR+ disease to HER2-targeted regimens",
    ),
    "intercept_between_arms_sd": Prior(
        "HalfNormal",
        {"sigma": 0.75},
        "one SD between regimens or centres multiplies the odds of response by at most 4.3 (95 % of the prior)",
    ),
    "slope_hr_positive": Prior("Normal", {"mu": 0.0, "sigma": 1.0}, _SLOPE),
    "slope_hr_negative": Prior("Normal", {"mu": 0.0, "sigma": 1.0}, _SLOPE),
    "slope_all": Prior("Normal", {"mu": 0.0, "sigma": 1.0}, _SLOPE),
    "slope_between_arms_sd": Prior(
        "HalfNormal",
        {"sigma": 0.5},
        "one SD between arms multiplies an odds ratio by at most 2.7 (95 % of the prior)",
    ),
    "interaction": Prior(
        "Normal",
        {"mu": 0.0, "sigma": 1.0},
        "not tighter than the slope's own: no ratio of odds ratios beyond 7-fold",
    ),
    "covariate_effect": Prior(
        "Normal",
        {"mu": 0.0, "sigma": 0.5},
        "one SD of a covariate (age) moving the odds of response beyond 2.7-fold is implausible",
    ),
}


def priors_for(data: ResponseData) -> dict[str, Prior]:
    """Give the default priors: odds ratios have no scale of their own."""
    return PRIORS


def described(data: ResponseData) -> tuple[str, ...]:
    """Say what was fitted to these data, in sentences for a methods section."""
    several = len(data.strata) > 1
    arms = ""
    if data.control:
        common = ", common to the hormone receptor strata" if several else ""
        arms = (
            "Arms had intercepts of their own, and the log odds ratio of HER2-low over HER2-0 could differ between "
            f"{data.control} and {data.treated}{common}."
        )
    elif data.arms_are_random:
        arms = "Intercepts and log odds ratios of arms or centres varied normally around those of their HR stratum."
    elif several:
        arms = "Hormone receptor strata shared no parameter."
    adjusted = "" if data.adjustment == "none" else f", adjusted for {data.adjustment}"
    model = (
        "Responses were binomial on the log odds scale, with HER2-low and HER2-0 half a log odds ratio to either "
        f"side{adjusted}."
    )
    return (model, arms) if arms else (model,)


def outline(data: ResponseData, priors: Mapping[str, Prior]) -> tuple[Line, ...]:
    """Write the model line by line, for equations and a picture.

    Parameters
    ----------
    data, priors
        As the model is built.
    """
    arms = data.control or data.arms_are_random
    alpha = r"\alpha_{aso}" if arms else r"\alpha_{so}"
    beta = r"\beta_{ao}" if data.control else r"\beta_{aso}" if arms else r"\beta_{so}"
    adjusted = bool(len(data.covariates.columns))
    term, holds = covariate_terms(r"\zeta_{o}", data.covariates.columns) if adjusted else ("", "")
    indices = ["o its outcome", "s its hormone receptor stratum", *(["a its arm or centre"] if arms else [])]
    lines = [
        Line(
            "y_{i}",
            r"\mathrm{Binomial}(n_{i},\, \pi_{i})",
            ("row",),
            "patients who responded, of the n patients of row i: a line of a published table, or one patient",
            variables=("events",),
            parents=(r"\pi_{i}",),
            observed=True,
        ),
        logit(
            r"\pi_{i}",
            " + ".join(filter(None, (alpha, f"{beta} l_{{i}}", term))),
            ("row",),
            f"probability of response; l is 1/2 for HER2-low and -1/2 for HER2-0, so that the slope is the log odds "
            f"ratio; {listed(indices)}{'; ' if adjusted else ''}{holds}",
            parents=(alpha, beta, *([r"\zeta_{o}"] if adjusted else [])),
        ),
    ]
    each = ("stratum", "outcome")
    if data.control:
        lines.append(
            Line(
                beta,
                r"\beta_{o} + d_{a} \delta_{o}",
                ("arm", "outcome"),
                f"log odds ratio in an arm, common to the strata; d is 1/2 in {data.treated}, -1/2 in {data.control}",
                relation="=",
                parents=(r"\beta_{o}", r"\delta_{o}"),
            )
        )
        lines.append(
            number(
                alpha,
                "intercept",
                priors["intercept"],
                each=("arm", *each),
                said="log odds of response in an arm",
            )
        )
        lines.append(
            number(
                r"\beta_{o}",
                SLOPES[ALL],
                priors["slope_all"],
                each=("outcome",),
                said="log odds ratio, averaged over the two arms",
            )
        )
        lines.append(
            number(
                r"\delta_{o}",
                "interaction",
                priors["interaction"],
                each=("outcome",),
                said="log ratio of odds ratios, treated arm over control",
            )
        )
    else:
        if arms:
            for letter, name in ((r"\alpha", "intercept"), (r"\beta", "slope")):
                spread = indexed(r"\tau", f"{letter} o")
                lines.append(
                    Line(
                        indexed(letter, "aso"),
                        normal(indexed(letter, "so"), spread),
                        ("arm", *each),
                        f"{'log odds of response' if name == 'intercept' else 'log odds ratio'} in an arm or centre",
                        variables=(f"{name}_by_arm",),
                        parents=(indexed(letter, "so"), spread),
                    )
                )
        lines.append(
            number(
                r"\alpha_{so}",
                "intercept",
                priors["intercept"],
                each=each,
                said="log odds of response in a stratum",
            )
        )
        slopes = [
            Given(
                r"\beta_{so}" if len(data.strata) == 1 else rf"\beta_{{so}} \;(\mathrm{{{s}}})",
                SLOPES[s],
                priors[SLOPES[s]],
            )
            for s in data.strata
        ]
        lines.extend(
            given(
                slopes,
                node=r"\beta_{so}",
                each=("outcome",),
                said="log odds ratio, HER2-low over HER2-0, in a stratum",
            )
        )
        if arms:
            for letter, name in (
                (r"\alpha", "intercept_between_arms_sd"),
                (r"\beta", "slope_between_arms_sd"),
            ):
                spread, said = indexed(r"\tau", f"{letter} o"), "SD between arms or centres"
                lines.append(number(spread, name, priors[name], each=("outcome",), said=said))
    if adjusted:
        lines.append(
            number(
                r"\zeta_{jo}",
                "covariate_effect",
                priors["covariate_effect"],
                each=("outcome", "covariate"),
                said="coefficient of covariate j",
                node=r"\zeta_{o}",
            )
        )
    return tuple(lines)


def build(data: ResponseData, priors: Mapping[str, Prior]) -> pm.Model:
    """Return the model as a PyMC graph: no sampling, no files, no randomness.

    Parameters
    ----------
    data
        Rows of patients and responders.
    priors
        One `Prior` for each name of `PRIORS`; a slope's may be a ``NormalMixture``.

    Returns
    -------
    pymc.Model
        Observed node ``events``, by row; coefficients by name.
    """
    design = response_design(data)
    with pm.Model(coords=data.coords) as model:
        row = design.arm_idx, design.stratum_idx, design.outcome_idx
        if data.control:
            intercept = priors["intercept"].variable("intercept", dims=("arm", "stratum", "outcome"))[row]
            common = priors["slope_all"].variable(SLOPES[ALL], dims="outcome")
            interaction = priors["interaction"].variable("interaction", dims="outcome")
            slope = (common + design.treated[:, None] * interaction)[
                np.arange(len(design.n)), design.outcome_idx
            ]
        else:
            typical_intercept = priors["intercept"].variable("intercept", dims=("stratum", "outcome"))
            typical_slope = pt.stack(
                [priors[SLOPES[s]].variable(SLOPES[s], dims="outcome") for s in data.strata]
            )
            if data.arms_are_random:
                intercept, slope = _arms(data, priors, typical_intercept, typical_slope, row)
            else:
                intercept, slope = typical_intercept[row[1:]], typical_slope[row[1:]]
        eta = intercept + design.half * slope
        if len(data.covariates.columns):
            effect = priors["covariate_effect"].variable("covariate_effect", dims=("outcome", "covariate"))
            eta = eta + (effect[design.outcome_idx] * design.covariates).sum(axis=1)
        pm.Binomial("events", n=design.n, logit_p=eta, observed=design.events, dims="row")
    return model


def _arms(
    data: ResponseData, priors: Mapping[str, Prior], intercept: Any, slope: Any, row: tuple[np.ndarray, ...]
) -> tuple[Any, Any]:
    """Intercept and slope of each row, arms (or centres) being a random effect on both."""
    of_intercept, of_slope = arm_coordinates(data)
    dims = ("arm", "stratum", "outcome")
    # Two arms may well not differ at all: the coordinate of their spread has to reach 0 in few steps.
    intercept_sd, slope_sd = (
        priors[name].spread(name, dims="outcome")
        for name in ("intercept_between_arms_sd", "slope_between_arms_sd")
    )
    intercepts = partially_pooled(
        "intercept_by_arm", mean=intercept, sd=intercept_sd, dims=dims, coordinates=of_intercept
    )
    slopes = partially_pooled("slope_by_arm", mean=slope, sd=slope_sd, dims=dims, coordinates=of_slope)
    return intercepts[row], slopes[row]


def estimand_draws(
    posterior: Any, data: ResponseData, priors: Mapping[str, Prior], rng: np.random.Generator
) -> dict[tuple[str, str], Any]:
    """Turn draws of coefficients into draws of everything that is reported.

    Returns
    -------
    dict
        (estimand, scope) -> draws with dims chain, draw, outcome, stratum, and by estimand cohort (the arm) and her2.
        Odds ratios are on the log scale. Scopes: ``pooled``, ``cohort`` (an arm or centre), ``new cohort``.
    """
    return response_draws(posterior, data, priors, rng)


def reported(posterior: Any) -> dict[str, Any]:
    """Return the spreads between arms, where there are any."""
    return {n: posterior[n] for n in ("intercept_between_arms_sd", "slope_between_arms_sd") if n in posterior}


def estimates(
    draws: Mapping[tuple[str, str], Any],
    data: ResponseData,
    *,
    interval: float = 0.95,
    rope: Rope = DEFAULT_ROPE,
) -> Estimates:
    """Summarise the draws, and add the number needed where the risk difference has a sign."""
    found = tabulate(
        draws,
        data,
        Rows(data).describe,
        method="models/treatment_response.py",
        interval=interval,
        rope=rope,
        family=None,
    )
    return Estimates.concat([found, Estimates.from_records(numbers_needed(found, interval))])


prior_checks = response_prior_predictive
predictive_checks = response_posterior_predictive
reader_scale = response_reader_scale
replicated = response_replicated
CALLS_SIGNS = False
CALIBRATED_AT = {"her2": HER2_LOW}
"""Of the estimands' further labels, at which they are held against simulated data."""
NOT_CALIBRATED = ("responders_of_next_50",)
"""A count of few patients: the interval of a discrete prediction holds more than it promises."""


def tables(
    posterior: Any,
    draws: Mapping[tuple[str, str], Any],
    data: ResponseData,
    priors: Mapping[str, Prior],
    *,
    interval: float,
) -> dict[str, pd.DataFrame]:
    """Give counts, P(odds ratio < 1), who could not be evaluated and what they could change, and a sweep of a prior."""
    made = {
        "counts": data.counts,
        "tipping_point": tipping_points(data, priors, interval=interval),
        "probability_below_1": below_one(draws),
        "not_evaluable": data.not_evaluable,
    }
    ratio = draws.get(("ratio_of_odds_ratios", "pooled"))
    if ratio is not None and priors["interaction"].dist == "Normal":
        made["interaction_sweep"] = treatment_sweep(ratio, priors["interaction"], interval=interval)
    return made
