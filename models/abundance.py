"""Presence and amount of every immune cell type, in one posterior.

A tumour either lacks a cell type or has some amount of it. Presence is Bernoulli on the log odds
scale, the amount among the present is Gamma on the log scale, and both parts share one linear
predictor: for tumour i of cohort k and cell type c

    eta_ic = intercept_kc + slope_kc h_i + hr_kc r_i + interaction_kc h_i r_i + covariate_c' x_i

with h HER2 per pooled within-HR SD and r = 1 in the non-reference hormone receptor stratum. So the slope is
`slope` in the reference stratum and `slope + interaction` in the other. Cohorts are exchangeable and cell types
partially pooled: for each of intercept, slope, hr and interaction

    coefficient_kc ~ Normal(coefficient_c, between_cohorts_sd),   where at least two cohorts inform it,
    coefficient_c  ~ Normal(coefficient_mean, between_cells_sd)

(one between_cohorts_sd for each cell type's intercept, one for all slopes; covariates without the cohort level).
`hierarchical_predictor` is these lines as a graph. The gamma shape varies by cohort.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm

from bayes_her2.bayesian.amounts import GAMMA, AmountFamily
from bayes_her2.bayesian.bernoulli import bernoulli_node
from bayes_her2.bayesian.coordinates import Coordinates, partially_pooled, typical_of
from bayes_her2.bayesian.density import HurdleDensity
from bayes_her2.bayesian.design import (
    MAIN,
    Structure,
    Terms,
    arrays,
    bends,
    modelled_strata,
    part_design,
    structure,
)
from bayes_her2.bayesian.factor import tumour_factor
from bayes_her2.bayesian.hurdle import amount_node
from bayes_her2.bayesian.hurdle_estimands import standardised, summed_abundance
from bayes_her2.bayesian.in_words import predictor_in_words
from bayes_her2.bayesian.linear_predictor import hierarchical_predictor
from bayes_her2.bayesian.other_priors import Change, OtherPriors
from bayes_her2.bayesian.outline import Line, indexed, logit, normal, number, predictor_lines
from bayes_her2.bayesian.predictive import (
    hurdle_posterior_predictive,
    hurdle_prior_predictive,
    hurdle_reader_scale,
)
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.slopes import SCOPES, changes, said, slopes, with_difference
from bayes_her2.bayesian.strata_compared import strata_compared
from bayes_her2.bayesian.summary import heterogeneity, summarise
from bayes_her2.bayesian.sweep import interaction_sweep
from bayes_her2.data import AnalysisSet
from bayes_her2.estimates import DEFAULT_ROPE, Estimates, Rope

QUESTION = (
    "How do presence and amount of each immune cell type change with HER2 expression, by hormone receptor status, "
    "and does the change hold across cohorts?"
)
DATA = "AnalysisSet"
TWIN = "abundance_twin"
ESTIMANDS = {
    "presence": "odds ratio of presence per SD of HER2",
    "amount": "ratio of mean abundance among tumours with the cell type present, per SD of HER2",
    "overall": "ratio of mean abundance, zeros included, per SD of HER2, standardised to the stratum's tumours",
    "high_abundance": "marginal odds ratio of high abundance at h + 1 SD over h, standardised likewise",
    "probability_greater": "P(X > Y) + P(X = Y) / 2 of one HR- and one HR+ tumour of a cohort",
    "presence_difference": "share of tumours with the cell type, HR- minus HR+ tumours of a cohort",
}

OUTCOME = "abundance of each cell type, in its own units"
MEASURE = "a unit mass at 0 and length above it, for each cell type"
DENSITY = HurdleDensity(GAMMA)
log_likelihood, replicate, replicated = DENSITY.log_likelihood, DENSITY.replicate, DENSITY.replicated

DRIFT_AT = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Values of standardised HER2 at which the sum of E[y] over cell types is shown (relative scale)."""

_TWOFOLD = "a change beyond 2.7-fold per SD of HER2, shared by all cell types, is implausible"
_CELLS = "cell types differ, but rarely by more than 2.7-fold per SD"
_COHORTS = "one SD between cohorts multiplies a ratio per SD by at most 1.6 (95 % of the prior)"
PRIORS: dict[str, Prior] = {
    "presence_intercept_mean": Prior(
        "Normal",
        {"mu": 1.0, "sigma": 1.5},
        "most cell types of LM22 are present in most tumours; 95 % of the prior spans 13 to 98 %",
    ),
    "presence_intercept_between_cells_sd": Prior(
        "HalfNormal", {"sigma": 1.5}, "zero shares run from 0 to 98 % over cell types"
    ),
    "presence_intercept_between_cohorts_sd": Prior(
        "HalfNormal",
        {"sigma": 1.5},
        "zero shares differ between runs by 0.2 to 4.7 logits, cell type by cell type",
    ),
    "presence_slope_mean": Prior("Normal", {"mu": 0.0, "sigma": 0.5}, _TWOFOLD),
    "presence_slope_between_cells_sd": Prior("HalfNormal", {"sigma": 0.5}, _CELLS),
    "presence_slope_between_cohorts_sd": Prior("HalfNormal", {"sigma": 0.25}, _COHORTS),
    "presence_hr_mean": Prior(
        "Normal",
        {"mu": 0.0, "sigma": 0.5},
        "hormone receptor strata do not differ 2.7-fold in all cell types at once",
    ),
    "presence_hr_between_cells_sd": Prior(
        "HalfNormal", {"sigma": 0.5}, "single cell types may differ two- to threefold between strata"
    ),
    "presence_hr_between_cohorts_sd": Prior(
        "HalfNormal", {"sigma": 0.25}, "the stratum difference is biology first, platform second"
    ),
    "presence_interaction_mean": Prior(
        "Normal", {"mu": 0.0, "sigma": 0.5}, "no shared interaction beyond 2.7-fold per SD"
    ),
    "presence_interaction_between_cells_sd": Prior(
        "HalfNormal",
        {"sigma": 0.5},
        "not tighter than the slopes' own: a prior SD under 0.57 would by itself overturn both published interactions",
    ),
    "presence_interaction_between_cohorts_sd": Prior("HalfNormal", {"sigma": 0.25}, _COHORTS),
    "presence_covariate_mean": Prior(
        "Normal",
        {"mu": 0.0, "sigma": 0.5},
        "as for HER2: no shared change beyond 2.7-fold per SD of a covariate",
    ),
    "presence_covariate_between_cells_sd": Prior(
        "HalfNormal", {"sigma": 0.5}, _CELLS.replace("SD", "SD of a covariate")
    ),
    "presence_centre_sd": Prior(
        "HalfNormal", {"sigma": 0.5}, "centres of one cohort share platform and pipeline"
    ),
    "amount_intercept_mean": Prior(
        "Normal",
        {"mu": -3.0, "sigma": 1.5},
        "a typical share where present is 5 %; 95 % of the prior spans 0.3 to 94 %",
    ),
    "amount_intercept_between_cells_sd": Prior(
        "HalfNormal", {"sigma": 1.0}, "common and rare cell types differ up to a hundredfold"
    ),
    "amount_intercept_between_cohorts_sd": Prior(
        "HalfNormal", {"sigma": 0.5}, "runs differ up to threefold in the mean of a cell type"
    ),
    "amount_slope_mean": Prior("Normal", {"mu": 0.0, "sigma": 0.5}, _TWOFOLD),
    "amount_slope_between_cells_sd": Prior("HalfNormal", {"sigma": 0.5}, _CELLS),
    "amount_slope_between_cohorts_sd": Prior("HalfNormal", {"sigma": 0.25}, _COHORTS),
    "amount_hr_mean": Prior(
        "Normal",
        {"mu": 0.0, "sigma": 0.5},
        "hormone receptor strata do not differ 2.7-fold in all cell types at once",
    ),
    "amount_hr_between_cells_sd": Prior(
        "HalfNormal", {"sigma": 0.5}, "single cell types may differ two- to threefold between strata"
    ),
    "amount_hr_between_cohorts_sd": Prior(
        "HalfNormal", {"sigma": 0.25}, "the stratum difference is biology first, platform second"
    ),
    "amount_interaction_mean": Prior(
        "Normal", {"mu": 0.0, "sigma": 0.5}, "no shared interaction beyond 2.7-fold per SD"
    ),
    "amount_interaction_between_cells_sd": Prior(
        "HalfNormal", {"sigma": 0.5}, "not tighter than the slopes' own"
    ),
    "amount_interaction_between_cohorts_sd": Prior("HalfNormal", {"sigma": 0.25}, _COHORTS),
    "amount_covariate_mean": Prior(
        "Normal",
        {"mu": 0.0, "sigma": 0.5},
        "as for HER2: no shared change beyond 2.7-fold per SD of a covariate",
    ),
    "amount_covariate_between_cells_sd": Prior(
        "HalfNormal", {"sigma": 0.5}, _CELLS.replace("SD", "SD of a covariate")
    ),
    "amount_centre_sd": Prior(
        "HalfNormal", {"sigma": 0.5}, "centres of one cohort share platform and pipeline"
    ),
    "log_shape_mean": Prior(
        "Normal",
        {"mu": 0.5, "sigma": 1.0},
        "coefficient of variation among the present between 0.3 and 2.1 for 95 % of the prior",
    ),
    "log_shape_between_cohorts_sd": Prior(
        "HalfNormal",
        {"sigma": 0.5},
        "on real cohorts the shape of one cell type differs up to fourfold between platforms",
    ),
}


_EFFECTS = (
    "*_slope_mean",
    "*_slope_between_cells_sd",
    "*_interaction_mean",
    "*_interaction_between_cells_sd",
)
OTHER_PRIORS = (
    OtherPriors(
        "cohorts_half",
        "Cohorts: SD / 2",
        "SDs between cohorts have half the scale: slopes, HR terms, interactions, intercepts and shapes.",
        (Change("*_between_cohorts_sd", factor=0.5),),
    ),
    OtherPriors(
        "cohorts_double",
        "Cohorts: SD x 2",
        "SDs between cohorts have twice the scale.",
        (Change("*_between_cohorts_sd", factor=2.0),),
    ),
    OtherPriors(
        "cohorts_half_t",
        "Cohorts: half-t",
        "SDs between cohorts have a half-t prior with 3 degrees of freedom and the same scale.",
        (Change("*_between_cohorts_sd", nu=3.0),),
    ),
    OtherPriors(
        "interaction_half",
        "Interaction: SD / 2",
        "Interactions of HER2 with HR status have half the prior SD, in their mean and between cell types.",
        (Change("*_interaction_mean", factor=0.5), Change("*_interaction_between_cells_sd", factor=0.5)),
    ),
    OtherPriors(
        "interaction_double",
        "Interaction: SD x 2",
        "Interactions of HER2 with HR status have twice the prior SD, in their mean and between cell types.",
        (Change("*_interaction_mean", factor=2.0), Change("*_interaction_between_cells_sd", factor=2.0)),
    ),
    OtherPriors(
        "sceptical",
        "Sceptical",
        "HER2 slopes and interactions have a mean of Normal(0, 0.1) and a HalfNormal(0.1) spread between cell types: 1 "
        "% of cell types change more than 1.5-fold per SD.",
        tuple(Change(name, sigma=0.1) for name in _EFFECTS),
    ),
    OtherPriors(
        "flat",
        "Nearly flat",
        "HER2 slopes and interactions have a mean of Normal(0, 2.5) and a HalfNormal(2.5) spread between cell types: "
        "changes of a hundredfold per SD are not ruled out, and cell types hardly inform each other.",
        tuple(Change(name, sigma=2.5) for name in _EFFECTS),
    ),
)
"""Priors that `bayes-her2 sensitivity` fits the model under, one at a time."""
PRIOR_GROUPS = {
    "HER2 slopes": ("slope",),
    "HER2 x HR": ("interaction",),
    "HR status": ("hr",),
    "levels and shapes": ("intercept", "log_shape"),
}
"""Groups of priors that are scaled together, by the terms of the linear predictor that they are of."""


def priors_for(data: AnalysisSet) -> dict[str, Prior]:
    """Give the default priors for a data set: on the absolute scale the level of amounts is read off its range."""
    if data.scale == "relative":
        return PRIORS
    values = data.abundance.to_numpy(float)
    centre = round(float(np.log(np.median(values[values > 0]))), 1)
    level = Prior(
        "Normal",
        {"mu": centre, "sigma": 1.5},
        f"absolute scale: centred at the median positive abundance of these data ({np.exp(centre):.3g}), "
        "twentyfold either way",
    )
    return PRIORS | {"amount_intercept_mean": level}


def described(data: AnalysisSet) -> tuple[str, ...]:
    """Say what was fitted to these data, in sentences for a methods section."""
    shape = structure(data)
    shapes = "by cohort" if shape.several_cohorts else "by cell type"
    return (
        "Presence of a cell type in a tumour was Bernoulli on the log odds scale; its abundance in the tumours that "
        f"had it was gamma on the log scale, with a shape that varied {shapes}. Both parts and all cell types were "
        "one posterior.",
        *predictor_in_words(data, shape, "Each part"),
        "Ratios of the mean abundance with zeros included, and of the marginal odds of high abundance, were averaged "
        "over the tumours of a stratum in every draw.",
    )


def outline(data: AnalysisSet, priors: Mapping[str, Prior]) -> tuple[Line, ...]:
    """Write the model line by line, for equations and a picture.

    Parameters
    ----------
    data, priors
        As the model is built.
    """
    shape = structure(data)
    parts = {"presence": "p", "amount": "a"}
    if not modelled_strata(data, "presence").any(axis=None):
        parts.pop("presence")
    part = "q" if len(parts) > 1 else "a"
    eta = indexed(r"\eta", "ic", part)
    index = "kc" if shape.several_cohorts else "c"
    lines = [
        Line(
            "y_{ic}",
            rf"\mathrm{{Gamma}}(s_{{{index}}},\, s_{{{index}}} / m_{{ic}}),\quad y_{{ic}} > 0",
            ("tumour", "cell type"),
            "abundance in tumours that have the cell type: gamma with mean m and shape s",
            variables=("amount",),
            parents=("m_{ic}", f"s_{{{index}}}"),
            observed=True,
        ),
        Line(
            r"\log\, m_{ic}",
            r"\eta^{a}_{ic}",
            ("tumour", "cell type"),
            "mean abundance in tumours that have the cell type",
            relation="=",
            parents=(eta,),
            node="m_{ic}",
        ),
        *predictor_lines(parts, data, shape, priors),
        *_shape_lines(shape, priors),
    ]
    if "presence" in parts:
        lines[:0] = [
            Line(
                "z_{ic}",
                r"\mathrm{Bernoulli}(\pi_{ic})",
                ("tumour", "cell type"),
                "whether tumour i has cell type c: z = 1 where y > 0",
                variables=("present",),
                parents=(r"\pi_{ic}",),
                observed=True,
            ),
            logit(
                r"\pi_{ic}",
                r"\eta^{p}_{ic}",
                ("tumour", "cell type"),
                "probability that the tumour has the cell type",
                parents=(eta,),
            ),
        ]
    return tuple(lines)


def _shape_lines(shape: Structure, priors: Mapping[str, Prior]) -> Iterator[Line]:
    """Shape of the gamma distribution: by cell type, and by cohort around it where there are several."""
    common = r"\log\, s_{c}"
    if shape.several_cohorts:
        yield Line(
            r"\log\, s_{kc}",
            normal(common, r"\tau_{s}"),
            ("cohort", "cell type"),
            "log shape in cohort k",
            variables=("log_shape_by_cohort",),
            parents=("s_{c}", r"\tau_{s}"),
            node="s_{kc}",
        )
    yield number(
        common,
        "log_shape",
        priors["log_shape_mean"],
        each=("cell type",),
        said="log shape of cell type c",
        node="s_{c}",
    )
    if shape.several_cohorts:
        spread = "log_shape_between_cohorts_sd"
        yield number(r"\tau_{s}", spread, priors[spread], each=(), said="SD of log shapes between cohorts")


def build(
    data: AnalysisSet, priors: Mapping[str, Prior], family: AmountFamily = GAMMA, terms: Terms = MAIN
) -> pm.Model:
    """Return the model as a PyMC graph.

    Parameters
    ----------
    data, priors
        Analysis set, and one prior for each name of ``PRIORS``.
    family
        Distribution of the amount.
    terms
        What there is in the linear predictors.

    Returns
    -------
    pymc.Model
        Observed nodes ``present`` and ``amount``; coefficients by part and term, each with the
        dims ``cohort`` and the part's cell types.
    """
    shape = structure(data, terms)
    parts = {part: part_design(data, shape, part, family) for part in ("presence", "amount")}
    tumours = arrays(data, shape)
    coords = {
        "tumour": list(data.tumours.index),
        "cohort": list(shape.cohorts),
        "presence_cell_type": list(parts["presence"].cell_types),
        "amount_cell_type": list(parts["amount"].cell_types),
        "covariate": list(data.covariates.columns),
        "centre": list(shape.centres),
        "bend": bends(data).labels if terms.bends else [],
        "presence_lineage": list(parts["presence"].lineages),
        "amount_lineage": list(parts["amount"].lineages),
    }
    with pm.Model(coords=coords) as model:
        presence = parts["presence"]
        if presence.cell_types:
            bernoulli_node(
                "present",
                logit_p=hierarchical_predictor("presence", presence, tumours, shape, priors),
                observed=presence.observed,
                modelled=presence.modelled,
                dims=("tumour", "presence_cell_type"),
            )
        amount = parts["amount"]
        log_mean = hierarchical_predictor("amount", amount, tumours, shape, priors)
        if terms.factor:
            log_mean = log_mean + tumour_factor(amount, tumours, priors)
        amount_node(
            "amount",
            family=family,
            eta=log_mean,
            log_shape=log_shape(amount.coordinates["log_shape"], shape, priors),
            group_idx=tumours.cohort_idx,
            observed=amount.observed,
            modelled=amount.modelled,
            dims=("tumour", "amount_cell_type"),
        )
    return model


def log_shape(
    at: Coordinates,
    shape: Structure,
    priors: Mapping[str, Prior],
    *,
    name: str = "log_shape",
    cells: str = "amount_cell_type",
) -> Any:
    """Log shape of the amounts, cohort x cell type; `name` and `cells` for what else varies as a shape does."""
    level = priors[f"{name}_mean"].params
    if not shape.several_cohorts:
        common = partially_pooled(
            name, mean=level["mu"], sd=level["sigma"], dims=cells, coordinates=at.common()
        )
        return common[None, :]
    between_cohorts_sd = priors[f"{name}_between_cohorts_sd"].variable(f"{name}_between_cohorts_sd")
    coordinates, start = at.above()
    typical = typical_of(
        name,
        mean=level["mu"],
        sd=level["sigma"],
        below_sd=between_cohorts_sd,
        dims=cells,
        coordinates=coordinates,
        start=start,
    )
    return partially_pooled(
        f"{name}_by_cohort",
        mean=typical,
        sd=between_cohorts_sd,
        dims=("cohort", cells),
        coordinates=at.transform(),
    )


def estimand_draws(
    posterior: Any,
    data: AnalysisSet,
    priors: Mapping[str, Prior],
    rng: np.random.Generator,
    family: AmountFamily = GAMMA,
) -> dict[tuple[str, str], Any]:
    """Turn draws of coefficients into draws of the estimands.

    Returns
    -------
    dict
        (estimand, scope) -> log ratio with dims chain, draw, stratum (HR+, HR-, HR- over HR+), cell_type and, in
        the scope ``cohort``, cohort. NaN where not estimable. `overall` and `high_abundance` may
        hold fewer draws where continuous covariates make each tumour unique. With both HR strata, their
        comparisons `probability_greater` and `presence_difference` by cohort, in their own units.
    """
    shape = structure(data)
    presence = slopes(posterior, "presence", data, priors, rng)
    amount = slopes(posterior, "amount", data, priors, rng)
    parts = {"presence": presence, "amount": amount}
    change = {part: changes(posterior, part, data, own) for part, own in parts.items()}
    draws = {(part, scope): change[part].of(scope) for part in parts for scope in SCOPES}
    draws |= standardised(posterior, data, shape, presence, amount, family)
    draws |= strata_compared(posterior, data, shape, presence, amount, family)
    return said(posterior, {key: with_difference(array) for key, array in draws.items()})


def reported(posterior: Any) -> dict[str, Any]:
    """Return the draws of the spreads between cohorts, which the report prints."""
    spreads = [
        f"{part}_{term}_between_cohorts_sd"
        for part in ("presence", "amount")
        for term in ("slope", "hr", "interaction")
    ]
    return {name: posterior[name] for name in spreads if name in posterior}


def estimates(
    draws: Mapping[tuple[str, str], Any],
    data: AnalysisSet,
    *,
    interval: float = 0.95,
    rope: Rope = DEFAULT_ROPE,
    method: str = "models/abundance.py",
    terms: Terms = MAIN,
) -> Estimates:
    """Summarise the draws of the estimands, with status, counts and decisions."""
    units = {
        "presence": "odds ratio per SD",
        "amount": "ratio of means per SD",
        "overall": "ratio of E[y] per SD",
        "high_abundance": "marginal odds ratio per SD",
        "probability_greater": "probability",
        "presence_difference": "difference in share present",
    }
    shape = structure(data, terms)
    return summarise(draws, data, shape, units=units, method=method, interval=interval, rope=rope)


prior_checks = hurdle_prior_predictive
predictive_checks = hurdle_posterior_predictive
reader_scale = hurdle_reader_scale


def tables(
    posterior: Any,
    draws: Mapping[tuple[str, str], Any],
    data: AnalysisSet,
    priors: Mapping[str, Prior],
    *,
    interval: float,
    family: AmountFamily = GAMMA,
) -> dict[str, pd.DataFrame]:
    """Spread between cohorts, a sweep of the interactions' prior, and the drift of summed shares."""
    made = {"heterogeneity": heterogeneity(posterior, structure(data), priors, interval=interval)}
    if len(data.strata) == 2:
        made["interaction_sweep"] = interaction_sweep(posterior, draws, priors, interval=interval)
    if data.scale == "relative":
        made["share_drift"] = summed_abundance(posterior, data, DRIFT_AT, interval=interval, family=family)
    return made
