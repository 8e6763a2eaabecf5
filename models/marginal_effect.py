"""Marginal effect of HER2 on the abundance of continuous cell types: an analysis of covariance, in one posterior.

For tumour i of cohort k and cell type c, with y the abundance in SDs of the cell type,

    y_ic ~ Normal(eta_ic, residual_sd_kc)
    eta_ic = intercept_kc + slope_kc h_i + hr_c r_i + ihc_c(l_i)
             + her2_x_hr_c h_i r_i + her2_x_ihc_c(l_i) h_i + hr_x_ihc_c(l_i) r_i + covariate_slope_c' x_i

with h HER2 per pooled within-HR SD, r = 1 in the non-reference hormone receptor stratum and l the HER2 IHC level; r and
the columns of l are centred at their means over all tumours, so `slope` is the slope averaged over them, but for
r in hr_x_ihc, which is 0 in the reference stratum. Cohorts are exchangeable: intercept, slope and residual SD are a
cohort's own, the other terms are common. Cell types are partially pooled towards each other. The three IHC terms have
one coefficient for each level, or are monotonic (a total and the shares of its steps, for each cell type and
term): then the IHC effect at average HER2 has one sign throughout in the reference stratum, the other stratum may
deviate from it by a monotonic amount (so its own effect may turn), and the HER2 slope rises or falls with the level.

Cell types count as continuous, and enter, where fewer than 25 % of a cohort's tumours have none (the rule of
the study that this analysis of covariance follows). Marginal effects are reported in units of the outcome.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt

from bayes_her2.bayesian.ancova import Ancova, ancova, cheap_estimates, outcome_node
from bayes_her2.bayesian.ancova_estimands import marginal_draws, standing_of
from bayes_her2.bayesian.ancova_predictive import (
    ancova_posterior_predictive,
    ancova_prior_predictive,
    ancova_replicated,
)
from bayes_her2.bayesian.coordinates import Coordinates, partially_pooled, typical_of
from bayes_her2.bayesian.linearity import linearity
from bayes_her2.bayesian.monotonic import monotonic_steps
from bayes_her2.bayesian.outline import Given, Line, covariate_terms, given, indexed, members, normal, number
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.product import matrix_product
from bayes_her2.bayesian.summary import RowOf, Standing, tabulate
from bayes_her2.data import AnalysisSet
from bayes_her2.estimates import DEFAULT_ROPE, Estimates, Rope
from bayes_her2.wording import listed

QUESTION = (
    "How does the mean abundance of each continuous immune cell type change with HER2 expression, given hormone "
    "receptor status, HER2 IHC level and their interactions?"
)
DATA = "AnalysisSet"
TWIN = "marginal_effect_twin"
ESTIMANDS = {
    "marginal_slope": "change of the mean abundance per SD of HER2, averaged over HR status, IHC level and covariates; "
    "in units of the outcome",
    "marginal_mean": "mean abundance at a HER2 value, averaged likewise; in units of the outcome",
}

SLOPE_CONTRAST = "h + 1 SD over h, {} weights"
MEAN_CONTRAST = "mean at h, {} weights"

_SHARED = "the average over cell types: their abundances trade places more than they rise together"
_CELLS = "single cell types may move by half an SD of their abundance, rarely by more than one"
PRIORS: dict[str, Prior] = {
    "intercept": Prior(
        "Normal",
        {"mu": 0.0, "sigma": 1.0},
        "a cell type's level at average HER2 lies within 2 SD of its mean",
    ),
    "intercept_between_cohorts_sd": Prior(
        "HalfNormal",
        {"sigma": 1.0},
        "runs and platforms shift a cell type's level by up to 2 SD of its abundance",
    ),
    "centre_sd": Prior("HalfNormal", {"sigma": 0.25}, "centres of one cohort share platform and pipeline"),
    "slope_mean": Prior("Normal", {"mu": 0.0, "sigma": 0.25}, _SHARED),
    "slope_between_cells_sd": Prior(
        "HalfNormal",
        {"sigma": 0.4},
        "a slope of 1 SD per SD of HER2 would be a correlation of nearly 1: few cell types come near",
    ),
    "slope_between_cohorts_sd": Prior(
        "HalfNormal",
        {"sigma": 0.25},
        "the same cell type's slope rarely differs by more than half an SD between cohorts",
    ),
    "hr_mean": Prior("Normal", {"mu": 0.0, "sigma": 0.25}, _SHARED),
    "hr_between_cells_sd": Prior("HalfNormal", {"sigma": 0.5}, _CELLS),
    "ihc_mean": Prior("Normal", {"mu": 0.0, "sigma": 0.25}, _SHARED),
    "ihc_between_cells_sd": Prior("HalfNormal", {"sigma": 0.5}, _CELLS),
    "ihc_step_shares": Prior(
        "Dirichlet", {"concentration": 1.0}, "whether the step to 1+ or the one to 2+ is larger is not known"
    ),
    "her2_x_hr_mean": Prior("Normal", {"mu": 0.0, "sigma": 0.25}, _SHARED),
    "her2_x_hr_between_cells_sd": Prior(
        "HalfNormal",
        {"sigma": 0.4},
        "not tighter than the slope's own, or the prior would overturn an interaction",
    ),
    "her2_x_ihc_mean": Prior("Normal", {"mu": 0.0, "sigma": 0.25}, _SHARED),
    "her2_x_ihc_between_cells_sd": Prior("HalfNormal", {"sigma": 0.4}, "not tighter than the slope's own"),
    "her2_x_ihc_step_shares": Prior("Dirichlet", {"concentration": 1.0}, "as for the level itself"),
    "hr_x_ihc_mean": Prior("Normal", {"mu": 0.0, "sigma": 0.25}, _SHARED),
    "hr_x_ihc_between_cells_sd": Prior("HalfNormal", {"sigma": 0.5}, _CELLS),
    "hr_x_ihc_step_shares": Prior("Dirichlet", {"concentration": 1.0}, "as for the level itself"),
    "covariate_slope_mean": Prior("Normal", {"mu": 0.0, "sigma": 0.25}, _SHARED),
    "covariate_slope_between_cells_sd": Prior("HalfNormal", {"sigma": 0.4}, "as for HER2"),
    "log_residual_sd": Prior(
        "Normal",
        {"mu": 0.0, "sigma": 0.5},
        "the SD that remains in a cohort is 0.4 to 2.7 times the cell type's own over all cohorts",
    ),
}


def priors_for(data: AnalysisSet) -> dict[str, Prior]:
    """Give the default priors: the outcome is standardised, so they are the same for every data set."""
    return PRIORS


def described(data: AnalysisSet) -> tuple[str, ...]:
    """Say what was fitted to these data, in sentences for a methods section."""
    design = ancova(data)
    known = {
        "slope": "HER2 (per SD within hormone receptor strata)",
        "hr": "hormone receptor (HR) status",
        "ihc": "HER2 immunohistochemistry level",
        "her2_x_hr": "HER2 by HR status",
        "her2_x_ihc": "HER2 by level",
        "hr_x_ihc": "HR status by level",
        "covariate_slope": "covariates",
        "centre": "centre",
    }
    terms = [words for term, words in known.items() if term in design.terms]
    n = len(design.cell_types)
    sentences = [
        f"The abundance of {n} cell type{'s' * (n != 1)} that fewer than 25 % of a cohort's tumours lacked, in SDs of "
        "the cell type, was normal (analysis of covariance), with a residual SD of each cohort and cell type, and with "
        f"terms for {listed(terms)}.",
    ]
    if "ihc" in design.terms and design.monotonic:
        sentences.append("Terms of the level were monotonic: a total and the shares of its steps.")
    if design.shape.several_cohorts:
        sentences.append(
            "Cohort was a random effect: intercept and HER2 slope of a cell type varied between cohorts; the other "
            "terms were common to them."
        )
    if n > 1:
        sentences.append("All terms but the intercept were partially pooled over cell types.")
    return tuple(sentences)


SYMBOLS = {
    "slope": r"\beta",
    "hr": r"\gamma",
    "ihc": r"\iota",
    "her2_x_hr": r"\delta",
    "her2_x_ihc": r"\phi",
    "hr_x_ihc": r"\psi",
    "covariate_slope": r"\zeta",
}
LEVELS = ("ihc", "her2_x_ihc", "hr_x_ihc")
"""Terms with an effect of each IHC level."""


def outline(data: AnalysisSet, priors: Mapping[str, Prior]) -> tuple[Line, ...]:
    """Write the model line by line, for equations and a picture.

    Parameters
    ----------
    data, priors
        As the model is built.
    """
    design = ancova(data)
    several = design.shape.several_cohorts
    alpha, beta = (r"\alpha_{kc}", r"\beta_{kc}") if several else (r"\alpha_{c}", r"\beta_{c}")
    plain = [t for t in ("slope", "hr", "her2_x_hr") if t in design.terms]
    by_level = [t for t in LEVELS if t in design.terms]
    typical, _ = members([SYMBOLS[t] for t in plain])
    of_level, _ = members([SYMBOLS[t] for t in by_level], r"\lambda") if by_level else ("", "")
    coefficient, level = indexed(typical, "c"), f"{indexed(of_level, 'c')}(l)"
    sums = {
        "intercept": alpha,
        "centre": r"\kappa_{gc}",
        "slope": rf"{beta} h_{{i}}",
        "hr": r"\gamma_{c} (r_{i} - \bar{r})",
        "ihc": r"\iota_{c}(l_{i})",
        "her2_x_hr": r"\delta_{c} h_{i} (r_{i} - \bar{r})",
        "her2_x_ihc": r"\phi_{c}(l_{i}) h_{i}",
        "hr_x_ihc": r"\psi_{c}(l_{i}) r_{i}",
    }
    where = ["h is HER2 per SD within hormone receptor strata"]
    if "hr" in design.terms:
        where.append(f"r is 1 in {data.strata[-1]} tumours and 0 in the others, with a bar its mean")
    if by_level:
        where.append("l is the HER2 IHC level, each effect of which is less its mean over all tumours")
    if "covariate_slope" in design.terms:
        sums["covariate_slope"], holds = covariate_terms(r"\zeta_{c}", data.covariates.columns)
        where.append(holds)
    used = [alpha, beta if several else coefficient]
    used += [coefficient] * (several and len(plain) > 1)
    used += [level] * bool(by_level)
    used += [sums[t].split()[-1] for t in ("centre", "covariate_slope") if t in design.terms]
    lines = [
        Line(
            "z_{ic}",
            normal(r"\eta_{ic}", r"\omega_{kc}"),
            ("tumour", "cell type"),
            "abundance, in SDs of the cell type around its mean",
            variables=("outcome",),
            parents=(r"\eta_{ic}", r"\omega_{kc}"),
            observed=True,
        ),
        Line(
            r"\eta_{ic}",
            " + ".join(sums[t] for t in design.terms),
            ("tumour", "cell type"),
            f"mean: {listed(where)}",
            relation="=",
            parents=tuple(used),
        ),
        *_level_lines(by_level, of_level, level, design, priors),
    ]
    if several:
        for letter, name, said in ((r"\alpha", "intercept", "level"), (r"\beta", "slope", "HER2 slope")):
            sd = indexed(r"\tau", r"\alpha c" if name == "intercept" else r"\beta")
            above = r"\alpha_{c}" if name == "intercept" else coefficient
            lines.append(
                Line(
                    indexed(letter, "kc"),
                    normal(indexed(letter, "c"), sd),
                    ("cohort", "cell type"),
                    f"{said} in cohort k",
                    variables=(f"{name}_by_cohort",),
                    parents=(above, sd),
                )
            )
    lines.extend(_pooled_lines(plain, typical, coefficient, ("cell type",), "", priors))
    if "covariate_slope" in design.terms:
        lines.extend(
            _pooled_lines(
                ["covariate_slope"], r"\zeta", r"\zeta_{c}", ("covariate", "cell type"), "j", priors
            )
        )
    lines.extend(_number_lines(design, priors))
    return tuple(lines)


def _level_lines(
    terms: Sequence[str], letter: str, node: str, design: Ancova, priors: Mapping[str, Prior]
) -> Iterator[Line]:
    """Effects of the IHC level: totals divided among steps, or one coefficient for each level."""
    if not terms:
        return
    _, all_of = members([SYMBOLS[t] for t in terms], letter)
    if not design.monotonic:
        yield Line(
            f"{indexed(letter, 'c')}(l)",
            rf"{indexed(letter, 'lc')}{all_of}",
            ("cell type",),
            f"effects of the level; 0 at {design.levels[0]}",
            relation="=",
            parents=(indexed(letter, "lc"),),
            node=node,
        )
        yield from _pooled_lines(terms, letter, indexed(letter, "lc"), ("step", "cell type"), "l", priors)
        return
    shares = indexed(r"\xi", f"{letter} c")
    yield Line(
        f"{indexed(letter, 'c')}(l)",
        rf"{indexed(letter, 'c')} \sum_{{d \leq l}} {indexed(chr(92) + 'xi', f'{letter} c d')}{all_of}",
        ("cell type",),
        f"effects of the level, monotonic: a total, by the shares of the steps from {design.levels[0]} up to the level",
        relation="=",
        parents=(indexed(letter, "c"), shares),
        node=node,
    )
    yield from _pooled_lines(terms, letter, indexed(letter, "c"), ("cell type",), "", priors)
    yield from given(
        [
            Given(indexed(r"\xi", f"{SYMBOLS[t]} c"), f"{t}_step_shares", priors[f"{t}_step_shares"])
            for t in terms
        ],
        node=shares,
        each=("cell type", "step"),
        said="shares of the steps, which add up to 1",
    )


def _pooled_lines(
    terms: Sequence[str], letter: str, node: str, each: tuple[str, ...], row: str, priors: Mapping[str, Prior]
) -> Iterator[Line]:
    """Coefficients around their mean over cell types, of which each row (level, covariate) has its own."""
    own, all_of = members([SYMBOLS[t] for t in terms], letter)
    of_rows = each[:-1]

    def hyper(greek: str, symbol: str) -> str:
        return indexed(greek, f"{symbol} {row}".strip())

    mean, spread = hyper(r"\mu", own), hyper(r"\sigma", own)
    yield Line(
        indexed(own, f"{row}c"),
        normal(mean, spread) + all_of,
        each,
        "coefficients of cell type c, partially pooled over cell types",
        variables=tuple(terms),
        parents=(mean, spread),
        node=node,
    )
    for level, greek, said in (
        ("mean", r"\mu", "means of coefficients over cell types"),
        ("between_cells_sd", r"\sigma", "SDs of coefficients between cell types"),
    ):
        yield from given(
            [Given(hyper(greek, SYMBOLS[t]), f"{t}_{level}", priors[f"{t}_{level}"]) for t in terms],
            node=hyper(greek, own),
            each=of_rows,
            said=said,
        )


def _number_lines(design: Ancova, priors: Mapping[str, Prior]) -> Iterator[Line]:
    """Quantities whose priors have numbers, but for means over cell types and spreads between them."""
    yield number(
        r"\alpha_{c}",
        "intercept",
        priors["intercept"],
        each=("cell type",),
        said="level of cell type c, not pooled",
    )
    if design.shape.several_cohorts:
        yield number(
            r"\tau_{\alpha c}",
            "intercept_between_cohorts_sd",
            priors["intercept_between_cohorts_sd"],
            each=("cell type",),
            said="SD of the levels of cell type c between cohorts",
        )
        yield number(
            r"\tau_{\beta}",
            "slope_between_cohorts_sd",
            priors["slope_between_cohorts_sd"],
            each=(),
            said="SD of HER2 slopes between cohorts, common to the cell types",
        )
    if "centre" in design.terms:
        yield Line(
            r"\kappa_{gc}",
            normal("0", r"\tau_{\kappa}"),
            ("centre", "cell type"),
            "what centre g adds to the level of its cohort",
            variables=("centre_shift",),
            parents=(r"\tau_{\kappa}",),
        )
        yield number(r"\tau_{\kappa}", "centre_sd", priors["centre_sd"], each=(), said="SD between centres")
    yield number(
        r"\log\, \omega_{kc}",
        "log_residual_sd",
        priors["log_residual_sd"],
        each=("cohort", "cell type"),
        said="log residual SD in cohort k",
        node=r"\omega_{kc}",
    )


def build(data: AnalysisSet, priors: Mapping[str, Prior]) -> pm.Model:
    """Return the model as a PyMC graph.

    Returns
    -------
    pymc.Model
        Observed node ``outcome`` (in SDs of each cell type); one coefficient for each term, with the dim ``cell_type``.
    """
    design = ancova(data)
    at = cheap_estimates(design)
    coords = {
        "tumour": list(data.tumours.index),
        "cohort": list(design.shape.cohorts),
        "centre": list(design.shape.centres),
        "cell_type": list(design.cell_types),
        "step": list(design.steps),
        "covariate": list(data.covariates.columns),
    }
    with pm.Model(coords=coords) as model:
        coefficients = [_coefficient(term, design, at[term], priors) for term in design.terms]
        log_residual_sd = partially_pooled(
            "log_residual_sd",
            mean=priors["log_residual_sd"].params["mu"],
            sd=priors["log_residual_sd"].params["sigma"],
            dims=("cohort", "cell_type"),
            coordinates=at["log_residual_sd"].transform(),
        )
        outcome_node(
            "outcome",
            mean=matrix_product(design.columns(), pt.concatenate(coefficients, axis=0)),
            residual_sd=matrix_product(design.cohort_columns, pt.exp(log_residual_sd)),
            observed=design.z,
            modelled=design.modelled,
            dims=("tumour", "cell_type"),
        )
    return model


def _coefficient(term: str, design: Ancova, at: Coordinates, priors: Mapping[str, Prior]) -> Any:
    """Coefficients of one term, column of the design x cell type."""
    if term == "intercept":
        return _intercept(design, at, priors)
    if term == "centre":
        sd = priors["centre_sd"].variable("centre_sd")
        return partially_pooled(
            "centre_shift", mean=0.0, sd=sd, dims=("centre", "cell_type"), coordinates=at.transform()
        )
    if term == "slope":
        return _slope(design, at, priors)
    if term in ("ihc", "her2_x_ihc", "hr_x_ihc") and design.monotonic:
        total = _over_cell_types(term, at, priors)
        step_shares = priors[f"{term}_step_shares"].variable(
            f"{term}_step_shares", dims=("cell_type", "step")
        )
        return monotonic_steps(total, step_shares)
    if term in ("hr", "her2_x_hr"):
        return _over_cell_types(term, at, priors)[None, :]
    return _over_cell_types(term, at, priors, rows="covariate" if term == "covariate_slope" else "step")


def _over_cell_types(
    term: str, at: Coordinates, priors: Mapping[str, Prior], *, rows: str | None = None
) -> Any:
    """One coefficient for each cell type (and row), around the mean over cell types (of that row)."""
    mean = priors[f"{term}_mean"].variable(f"{term}_mean", dims=rows)
    spread = priors[f"{term}_between_cells_sd"].variable(f"{term}_between_cells_sd", dims=rows)
    if rows is None:
        return partially_pooled(term, mean=mean, sd=spread, dims="cell_type", coordinates=at.common())
    return partially_pooled(
        term, mean=mean[:, None], sd=spread[:, None], dims=(rows, "cell_type"), coordinates=at.transform()
    )


def _intercept(design: Ancova, at: Coordinates, priors: Mapping[str, Prior]) -> Any:
    """Level of each cell type in each cohort."""
    mean, sd = priors["intercept"].params["mu"], priors["intercept"].params["sigma"]
    if not design.shape.several_cohorts:
        return partially_pooled("intercept", mean=mean, sd=sd, dims="cell_type", coordinates=at.common())[
            None, :
        ]
    between = priors["intercept_between_cohorts_sd"].variable(
        "intercept_between_cohorts_sd", dims="cell_type"
    )
    coordinates, start = at.above()
    typical = typical_of(
        "intercept",
        mean=mean,
        sd=sd,
        below_sd=between,
        dims="cell_type",
        coordinates=coordinates,
        start=start,
    )
    return partially_pooled(
        "intercept_by_cohort",
        mean=typical,
        sd=between,
        dims=("cohort", "cell_type"),
        coordinates=at.transform(),
    )


def _slope(design: Ancova, at: Coordinates, priors: Mapping[str, Prior]) -> Any:
    """HER2 slope of each cell type in each cohort."""
    if not design.shape.several_cohorts:
        return _over_cell_types("slope", at, priors)[None, :]
    mean = priors["slope_mean"].variable("slope_mean")
    between_cells = priors["slope_between_cells_sd"].variable("slope_between_cells_sd")
    between_cohorts = priors["slope_between_cohorts_sd"].variable("slope_between_cohorts_sd")
    coordinates, start = at.above()
    typical = typical_of(
        "slope",
        mean=mean,
        sd=between_cells,
        below_sd=between_cohorts,
        dims="cell_type",
        coordinates=coordinates,
        start=start,
    )
    return partially_pooled(
        "slope_by_cohort",
        mean=typical,
        sd=between_cohorts,
        dims=("cohort", "cell_type"),
        coordinates=at.transform(),
    )


def estimand_draws(
    posterior: Any, data: AnalysisSet, priors: Mapping[str, Prior], rng: np.random.Generator
) -> dict[tuple[str, str], Any]:
    """Turn draws of coefficients into draws of marginal slopes and means, in units of the outcome.

    Returns
    -------
    dict
        (estimand, scope) -> draws by weighting, stratum, cell type, cohort and place on the curve. NaN where not
        estimable.
    """
    draws: dict[tuple[str, str], Any] = dict(marginal_draws(posterior, data, priors, rng))
    return draws


def reported(posterior: Any) -> dict[str, Any]:
    """Return the draws of the spreads, which `heterogeneity` tabulates, and of the residual SDs."""
    names = [n for n in posterior.data_vars if str(n) in _spreads()]
    return {str(name): posterior[name] for name in (*names, "log_residual_sd")}


def _spreads() -> list[str]:
    """Names of the spreads between cell types, cohorts and centres, in the order of the priors."""
    return [
        name for name in PRIORS if name.endswith(("_between_cells_sd", "_between_cohorts_sd", "centre_sd"))
    ]


def estimates(
    draws: Mapping[tuple[str, str], Any],
    data: AnalysisSet,
    *,
    interval: float = 0.95,
    rope: Rope = DEFAULT_ROPE,
) -> Estimates:
    """Summarise the draws of the estimands, with status, counts and decisions.

    The region of practical equivalence is in SDs of the outcome within cohorts.
    """

    @cache
    def standing(
        estimand: str, cell_type: str, stratum: str, scope: str, cohort: str, weighting: str
    ) -> Standing:
        return standing_of(data, estimand, cell_type, stratum, scope, cohort, weighting)

    def describe(estimand: str, scope: str, named: Mapping[str, str]) -> RowOf:
        cell_type, weighting = named["cell_type"], named["weighting"]
        is_slope = estimand == "marginal_slope"
        return RowOf(
            outcome=cell_type,
            unit=f"{data.outcome_label}, per SD" if is_slope else data.outcome_label,
            standing=standing(
                estimand, cell_type, named["stratum"], scope, named.get("cohort", ""), weighting
            ),
            without_draws="no such tumours to average over",
            contrast=(SLOPE_CONTRAST if is_slope else MEAN_CONTRAST).format(weighting),
            outcome_sd=float(data.outcome_sd.get(cell_type, np.nan)),
            at=float(named["at"]) if "at" in named else None,
        )

    return tabulate(draws, data, describe, method="models/marginal_effect.py", interval=interval, rope=rope)


prior_checks = ancova_prior_predictive
predictive_checks = ancova_posterior_predictive
replicated = ancova_replicated
CALIBRATED_AT = {"weighting": "observed", "at": 0.0}
"""Of the estimands' further labels, at which they are held against simulated data."""


def reader_scale(name: str, prior: Prior, interval: float) -> str:
    """Say what a prior means in SDs of the outcome."""
    low, high = prior.interval(interval)
    percent = f"{interval:.0%}"
    if prior.dist == "Dirichlet":
        return f"{percent}: the first of two steps is {low:.1%} to {high:.1%} of the whole effect"
    if name == "log_residual_sd":
        return f"{percent}: {np.exp(low):.2g} to {np.exp(high):.2g} SD of the outcome"
    return f"{percent}: {low:.2g} to {high:.2g} SD of the outcome{_per(name)}"


def _per(name: str) -> str:
    """Say what a coefficient of this name, in SDs of the outcome, is per."""
    if name.startswith("covariate_slope"):
        return " per unit of the covariate (1 SD of a continuous one; a category against its reference)"
    return " per SD of HER2" if name.startswith(("slope_", "her2_x_")) else ""


def tables(
    posterior: Any,
    draws: Mapping[tuple[str, str], Any],
    data: AnalysisSet,
    priors: Mapping[str, Prior],
    *,
    interval: float,
) -> dict[str, pd.DataFrame]:
    """Departure from linearity, spreads between cell types and cohorts, and the scale of each outcome."""
    checked, curves = linearity(posterior, data, interval=interval)
    return {
        "linearity": checked,
        "linearity_curves": curves,
        "outcome_scale": outcome_scale(data),
        "heterogeneity": heterogeneity(posterior, data, priors, interval=interval),
    }


def heterogeneity(
    posterior: Any, data: AnalysisSet, priors: Mapping[str, Prior], *, interval: float
) -> pd.DataFrame:
    """Spread of each term between cell types, cohorts and centres, beside its prior.

    Returns
    -------
    pandas.DataFrame
        ``term`` (with the step or the covariate), ``between`` (cell types, cohorts or centres), ``cell_type`` (of the
        intercept's spread, which each has for itself, else ''), ``unit``, ``point`` (posterior median of the SD),
        ``lower``, ``upper`` (equal-tailed), ``prior_median``, ``prior_upper`` (the quantile of the prior
        that `upper` is of the posterior), ``n`` (how many cell types, cohorts or centres inform it), ``note``.
    """
    design, tail = ancova(data), (1.0 - interval) / 2.0
    by_cohort = data.outcome.notna().groupby(data.tumours["cohort"]).any()
    rows = []
    for name in _spreads():
        if name not in posterior:
            continue
        prior = priors[name].frozen()
        term = "centre" if name == "centre_sd" else name.rpartition("_between_")[0]
        between = {"cells": "cell types", "cohorts": "cohorts", "centre": "centres"}[
            "centre" if name == "centre_sd" else name.split("_")[-2]
        ]
        per = _per(name)
        spread = posterior[name]
        dims = [str(d) for d in spread.dims if d not in ("chain", "draw")]
        for label in spread[dims[0]].to_numpy() if dims else [""]:
            values = (spread.sel({dims[0]: label}) if dims else spread).to_numpy().ravel()
            lower, point, upper = (float(q) for q in np.quantile(values, [tail, 0.5, 1.0 - tail]))
            cell_type = str(label) if dims == ["cell_type"] else ""
            n = {
                "cell types": len(design.cell_types),
                "cohorts": int((by_cohort[cell_type] if cell_type else by_cohort.any(axis=1)).sum()),
                "centres": len(design.shape.centres),
            }[between]
            rows.append(
                {
                    "term": term if cell_type or not dims else f"{term}: {label}",
                    "between": between,
                    "cell_type": cell_type,
                    "unit": f"SD of the outcome{per}",
                    "point": point,
                    "lower": lower,
                    "upper": upper,
                    "prior_median": float(prior.median()),
                    "prior_upper": float(prior.ppf(1.0 - tail)),
                    "n": n,
                    "note": _informed(between, n, cell_type),
                }
            )
    columns = ["term", "between", "cell_type", "unit", "point", "lower", "upper"]
    return pd.DataFrame(rows, columns=[*columns, "prior_median", "prior_upper", "n", "note"])


def _informed(between: str, n: int, cell_type: str) -> str:
    """Say where little informs a spread."""
    if n == 1:
        return f"one of the {between} informs it: the prior's"
    if between == "cohorts" and n == 2:
        return f"two cohorts: one difference {'informs' if cell_type else 'for each cell type informs'} it"
    return ""


def outcome_scale(data: AnalysisSet) -> pd.DataFrame:
    """Mean and SD of each outcome: what a slope in its units is to be held against.

    Returns
    -------
    pandas.DataFrame
        ``cell_type``, ``unit``, ``n``, ``mean``, ``sd`` (within cohorts, pooled).
    """
    return pd.DataFrame(
        {
            "cell_type": list(map(str, data.outcome.columns)),
            "unit": data.outcome_label,
            "n": data.outcome.notna().sum().to_numpy(),
            "mean": data.outcome.mean().to_numpy(),
            "sd": data.outcome_sd.to_numpy(),
        }
    )
