"""Random-effects meta-analysis of published results, several questions in one graph.

A question is an outcome, a scale, an adjustment and a pair of groups (`EvidenceData`). For study s of question q with
hormone receptor status h_s (-0.5 in HR+, 0.5 in HR-, where a question has both; 0 otherwise)

    theta_s ~ Normal(effect_q + hr_difference_q h_s, between_studies_sd_q)

is the study's log ratio. Where every study of a question gives counts, the likelihood is exactly binomial,

    events ~ Binomial(n, logit^-1(base_s - theta_s / 2))   in the reference group,
    events ~ Binomial(n, logit^-1(base_s + theta_s / 2))   in the exposed group,

so a zero cell needs nothing added to it. Otherwise the printed log ratio is normal with the standard error of its
interval; its own theta is then integrated out in closed form and drawn afterwards.

Questions share no parameter. Crude and adjusted results, odds and hazard ratios are different questions; which studies
may stand beside each other, and that no patients are counted twice, is decided before
(`bayes_her2.evidence.selection`). With one or two studies the spread between them is the prior's, and with it the
prediction for a new study; the table of the heterogeneity prior shows how far: under each of several priors it is the
posterior of this model by quadrature, without sampling.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt

from bayes_her2.bayesian.coordinates import LikelihoodInformed, partially_pooled, typical_of
from bayes_her2.bayesian.outline import Line, normal, number
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.product import matrix_product
from bayes_her2.bayesian.summary import tabulate
from bayes_her2.bayesian.synthesis import (
    PublishedRows,
    SynthesisDesign,
    heterogeneity_sweep,
    ratio_draws,
    synthesis_posterior_predictive,
    synthesis_prior_predictive,
    synthesis_reader_scale,
    synthesis_replicated,
)
from bayes_her2.data import EvidenceSet
from bayes_her2.estimates import DEFAULT_ROPE, Estimates, Rope
from bayes_her2.wording import listed

QUESTION = (
    "What do published studies say together about HER2-low against HER2-0: response, survival and the tumour's other "
    "features, and how far would a new study be from that?"
)
DATA = "EvidenceSet"
TWIN = "meta_analysis_twin"
ESTIMANDS = {
    "published_ratio": "odds, risk or hazard ratio: pooled, of each study, and of a study not yet made",
}

PRIORS: dict[str, Prior] = {
    "effect": Prior(
        "Normal",
        {"mu": 0.0, "sigma": 1.0},
        "a ratio beyond 7-fold between two groups of one disease is implausible",
    ),
    "hr_difference": Prior(
        "Normal",
        {"mu": 0.0, "sigma": 1.0},
        "not tighter than the effect itself: HR strata may differ up to 7-fold",
    ),
    "between_studies_sd": Prior(
        "HalfNormal",
        {"sigma": 0.5},
        "one SD between studies multiplies a ratio by at most 2.7 (95 % of the prior), about what odds ratios of "
        "response do; wide for hazard ratios of death. Swept in the report",
    ),
    "study_base": Prior(
        "Normal", {"mu": 0.0, "sigma": 2.0}, "events are neither below 0.5 nor above 99.5 % of the patients"
    ),
}


def priors_for(data: EvidenceSet) -> dict[str, Prior]:
    """Give the default priors: ratios do not depend on a scale."""
    return PRIORS


def described(data: EvidenceSet) -> tuple[str, ...]:
    """Say what was fitted to these data, in sentences for a methods section."""
    design = SynthesisDesign(data)
    counted, printed = int(design.counted.sum()), int((~design.counted).sum())
    how = [
        *([f"{counted} by their counts (binomial)"] if counted else []),
        *([f"{printed} by the printed ratio and its interval (normal on the log scale)"] if printed else []),
    ]
    both = (
        f" In {len(design.both)} of them the log ratio could differ between the hormone receptor strata."
        if design.both
        else ""
    )
    return (
        f"Published results entered {len(data.questions)} random-effects meta-analyses that share no parameter, one "
        f"for each outcome, scale, adjustment and groups compared: {listed(how)}.{both}",
        "Log ratios of studies were normal around the effect of their question.",
    )


def outline(data: EvidenceSet, priors: Mapping[str, Prior]) -> tuple[Line, ...]:
    """Write the model line by line, for equations and a picture.

    Parameters
    ----------
    data, priors
        As the model is built.
    """
    design = SynthesisDesign(data)
    lines: list[Line] = []
    of_mean, said = r"\mu_{q(s)}", "mean log ratio of the studies of question q(s)"
    parents: tuple[str, ...] = (r"\mu_{q}",)
    if design.both:
        of_mean, parents = r"\mu_{q(s)} + \delta_{q(s)} h_{s}", (*parents, r"\delta_{q}")
        said += "; h is -0.5 in HR+, 0.5 in HR- disease, 0 in a question without both"
    mean = Line(r"\bar{\theta}_{s}", of_mean, ("study",), said, relation="=", parents=parents)
    if (~design.counted).any():
        lines.append(
            Line(
                r"\hat{\theta}_{s}",
                normal(r"\bar{\theta}_{s}", r"\sqrt{\tau_{q(s)}^{2} + e_{s}^{2}}"),
                ("study",),
                "printed log ratio of a study without counts; e is its standard error, from the printed interval",
                variables=("log_ratio",),
                parents=(mean.symbol, r"\tau_{q}"),
                observed=True,
            )
        )
    if design.counted.any():
        for group, sign in (("exposed", "+"), ("reference", "-")):
            letter = group[0]
            lines.append(
                Line(
                    f"y_{{{letter}s}}",
                    rf"\mathrm{{Binomial}}(n_{{{letter}s}},\, "
                    rf"\mathrm{{logit}}^{{-1}}(b_{{s}} {sign} \theta_{{s}} / 2))",
                    ("study",),
                    f"events among the n patients of the {group} group of a study with counts",
                    variables=(f"events_{group}",),
                    parents=("b_{s}", r"\theta_{s}"),
                    observed=True,
                )
            )
        lines.append(
            Line(
                r"\theta_{s}",
                normal(r"\bar{\theta}_{s}", r"\tau_{q(s)}"),
                ("study",),
                "log ratio of a study with counts",
                variables=("study_effect",),
                parents=(mean.symbol, r"\tau_{q}"),
            )
        )
    lines.append(mean)
    if design.counted.any():
        lines.append(
            number(
                "b_{s}",
                "study_base",
                priors["study_base"],
                each=("study",),
                said="log odds halfway between the groups",
            )
        )
    lines.append(
        number(
            r"\mu_{q}",
            "effect",
            priors["effect"],
            each=("question",),
            said="effect of question q, as a log ratio",
        )
    )
    if design.both:
        lines.append(
            number(
                r"\delta_{q}",
                "hr_difference",
                priors["hr_difference"],
                each=("question",),
                said="HR- minus HR+, of questions with studies of both",
            )
        )
    lines.append(
        number(
            r"\tau_{q}",
            "between_studies_sd",
            priors["between_studies_sd"],
            each=("question",),
            said="SD between the studies of question q",
        )
    )
    return tuple(lines)


def build(data: EvidenceSet, priors: Mapping[str, Prior]) -> pm.Model:
    """Return the model as a PyMC graph.

    Returns
    -------
    pymc.Model
        Observed nodes ``log_ratio`` (studies without counts), ``events_exposed`` and ``events_reference``.
    """
    design = SynthesisDesign(data)
    counted = design.counted
    labels = np.array(design.studies.index)
    coords = {
        "question": data.questions,
        "question_with_both": design.both,
        "printed_study": list(labels[~counted]),
        "counted_study": list(labels[counted]),
    }
    with pm.Model(coords=coords) as model:
        between_studies_sd = priors["between_studies_sd"].spread("between_studies_sd", dims="question")
        coordinates, start = design.midway()
        effect = typical_of(
            "effect",
            mean=priors["effect"].params["mu"],
            sd=priors["effect"].params["sigma"],
            below_sd=between_studies_sd,
            dims="question",
            coordinates=coordinates,
            start=start,
        )
        mean = effect[design.pool]
        if design.both:
            where = np.array([[q == both for q in data.questions] for both in design.both], dtype=float)
            coordinates, start = design.difference()
            difference = typical_of(
                "hr_difference",
                mean=priors["hr_difference"].params["mu"],
                sd=priors["hr_difference"].params["sigma"],
                below_sd=matrix_product(where, between_studies_sd),
                dims="question_with_both",
                coordinates=coordinates,
                start=start,
            )
            mean = mean + matrix_product(difference, where)[design.pool] * design.code
        sd = between_studies_sd[design.pool]
        estimate, variance = design.rough
        if (~counted).any():
            pm.Normal(
                "log_ratio",
                mu=mean[~counted],
                sigma=pt.sqrt(sd[~counted] ** 2 + variance[~counted]),
                observed=estimate[~counted],
                dims="printed_study",
            )
        if counted.any():
            own = design.studies[counted]
            theta = partially_pooled(
                "study_effect",
                mean=mean[counted],
                sd=sd[counted],
                dims="counted_study",
                coordinates=LikelihoodInformed(estimate[counted], variance[counted]),
            )
            base = partially_pooled(
                "study_base",
                mean=priors["study_base"].params["mu"],
                sd=priors["study_base"].params["sigma"],
                dims="counted_study",
                coordinates=LikelihoodInformed(*design.rough_base),
            )
            for group, sign in (("exposed", 0.5), ("reference", -0.5)):
                pm.Binomial(
                    f"events_{group}",
                    n=own[f"n_{group}"].to_numpy(dtype=int),
                    logit_p=base + sign * theta,
                    observed=own[f"events_{group}"].to_numpy(dtype=int),
                    dims="counted_study",
                )
    return model


def estimand_draws(
    posterior: Any, data: EvidenceSet, priors: Mapping[str, Prior], rng: np.random.Generator
) -> dict[tuple[str, str], Any]:
    """Turn draws of the parameters into draws of log ratios: pooled, of a new study, and of each study.

    Returns
    -------
    dict
        (``published_ratio``, scope) -> log ratio with dims chain, draw, result; in the scope ``cohort`` a result is a
        study.
    """
    return ratio_draws(posterior, data, rng)


def reported(posterior: Any) -> dict[str, Any]:
    """Draws of the spread between studies, which the gate checks too."""
    return {"between_studies_sd": posterior["between_studies_sd"]}


def estimates(
    draws: Mapping[tuple[str, str], Any],
    data: EvidenceSet,
    *,
    interval: float = 0.95,
    rope: Rope = DEFAULT_ROPE,
) -> Estimates:
    """Summarise the draws, without sign calls: questions share no prior, and are read one at a time."""
    return tabulate(
        draws,
        data,
        PublishedRows(data).describe,
        method="models/evidence_synthesis.py",
        interval=interval,
        rope=rope,
        family=None,
    )


prior_checks = synthesis_prior_predictive
predictive_checks = synthesis_posterior_predictive
reader_scale = synthesis_reader_scale
replicated = synthesis_replicated
CALLS_SIGNS = False


def tables(
    posterior: Any,
    draws: Mapping[tuple[str, str], Any],
    data: EvidenceSet,
    priors: Mapping[str, Prior],
    *,
    interval: float,
) -> dict[str, pd.DataFrame]:
    """Give what is pooled, what was left out and why, the spread between studies, and the heterogeneity prior swept."""
    left_out = [(pool.question, e.study, e.row_id, e.reason) for pool in data.pools for e in pool.exclusions]
    return {
        "studies": data.studies.drop(columns="pool").reset_index(drop=True),
        "notices": pd.DataFrame(
            [(pool.question, text) for pool in data.pools for text in pool.notices],
            columns=["question", "text"],
        ),
        "left_out": pd.DataFrame(left_out, columns=["question", "study", "row_id", "reason"]),
        "heterogeneity_prior": heterogeneity_sweep(data, priors, interval=interval),
    }
