"""Rank correlation of HER2 and other measures with every cell type, zeros kept as what they are.

In a group of tumours (cohort and hormone receptor stratum, or cohort) the normal scores of a measure and of a cell
type are correlated normals; a tumour without the cell type lies below a threshold (a Gaussian copula with
interval-censored zeros, `bayes_her2/bayesian/copula.py`). For group (k, r), measure m and outcome c

    z_m ~ normal scores of the measures, covariance free
    y*_c | z ~ N(b' z, s^2), seen where y > 0, below the normal score of the zero share where y = 0
    rho_mc = v_mc / (1 + v_c' R^-1 v_c)^(1/2),    asinh(v_mc) = correlation_kmc + difference_kmc r

with R the correlations between the measures, so that measures on the same tumours are compared with their dependence.
With one measure asinh(v) is Fisher's z of rho. With several it is not: v_m is rho_m over the part of the outcome's SD
that the measures together leave unexplained, so rho_m is nearer to 0 than tanh(asinh(v_m)), the more so the more
measures there are and the more they are correlated. Priors and spreads are on asinh(v); what they say of correlations
at the sample's R is in the prior checks. (P(|rho| > 0.8) a priori in the reference stratum: 0.06 with one measure, 0.01
with three at R = 0.5, below 0.001 at R = 0.8.) Cohorts vary around the outcome, outcomes around the measure's mean; the
difference between strata varies between cohorts where at least two inform it.

Each line of correlations has its own hierarchy: a measure by hormone receptor stratum, the same measure regardless of
it ("all tumours": what a paper prints as the correlation in a cohort; the groups are whole cohorts, of tumours whose
hormone receptor status is known), and the total infiltrate against every cell type, likewise. Lines share no
hyperparameter; those of one group of tumours share its R, the scale of each outcome and the residual.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt

from bayes_her2.bayesian.coordinates import partially_pooled, typical_of
from bayes_her2.bayesian.copula import RankDesign, Term, exposure_scores, outcome_scores_loglik, rank_design
from bayes_her2.bayesian.outline import Given, Line, given, indexed, normal, number
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.product import matrix_product
from bayes_her2.bayesian.rank_summary import (
    comparison_table,
    correlation_draws,
    correlation_heterogeneity,
    correlation_prior_checks,
    correlation_reader_scale,
    matrix_table,
    scatter_tables,
    split_half_checks,
    strength_table,
    summarise_correlations,
)
from bayes_her2.data import AnalysisSet
from bayes_her2.estimates import DEFAULT_ROPE, Estimates, Rope

QUESTION = (
    "How strongly do the HER2 measure, other measures and the total infiltrate go with each immune cell type, in each "
    "hormone receptor stratum and cohort, and is the HER2 measure the stronger one?"
)
DATA = "AnalysisSet"
TWIN = "rank_correlation_twin"
ESTIMANDS = {
    "spearman": "Spearman's rho of measure and abundance on the observed scale, zeros tied",
    "latent_spearman": "Spearman's rho of the latent scores, zeros being low values not seen",
    "spearman_difference": "Spearman's rho in HR- minus that in HR+, observed scale",
    "strength_difference": "|rho| of the HER2 measure minus |rho| of another measure, observed scale, same tumours",
}

_COHORTS = (
    "a correlation rarely moves by more than 0.3 between cohorts (as the only measure's; less with several)"
)
PRIORS: dict[str, Prior] = {
    "correlation_mean": Prior(
        "Normal",
        {"mu": 0.0, "sigma": 0.4},
        "a measure correlated beyond 0.66 with all cell types at once is implausible (as the only measure; beside "
        "others that it is correlated with, the same prior is narrower: see the prior checks)",
    ),
    "correlation_between_outcomes_sd": Prior(
        "HalfNormal",
        {"sigma": 0.4},
        "cell types differ, and single ones may reach correlations of 0.7 (less beside correlated measures)",
    ),
    "correlation_between_cohorts_sd": Prior("HalfNormal", {"sigma": 0.15}, _COHORTS),
    "difference_mean": Prior(
        "Normal", {"mu": 0.0, "sigma": 0.2}, "the strata do not differ by 0.4 in all cell types at once"
    ),
    "difference_between_outcomes_sd": Prior(
        "HalfNormal", {"sigma": 0.2}, "single cell types may differ by 0.4 between strata"
    ),
    "difference_between_cohorts_sd": Prior("HalfNormal", {"sigma": 0.15}, _COHORTS),
    "outcome_log_scale": Prior(
        "Normal",
        {"mu": 0.0, "sigma": 0.5},
        "ranks give the scores an SD of 1 in the sample; the population's is not known, but not 2.7-fold off",
    ),
    "measure_log_scale": Prior("Normal", {"mu": 0.0, "sigma": 0.5}, "as for the outcomes"),
    "measure_association": Prior(
        "Normal",
        {"mu": 0.0, "sigma": 0.5},
        "the measures' correlation in the population lies around that of the sample, loosely enough for ten tumours, "
        "whose correlation has a standard error of 0.3",
    ),
}


def priors_for(data: AnalysisSet) -> dict[str, Prior]:
    """Give the default priors: correlations have no unit, so they are the same for every data set."""
    return PRIORS


def described(data: AnalysisSet) -> tuple[str, ...]:
    """Say what was fitted to these data, in sentences for a methods section."""
    design = rank_design(data)
    varies = any(term.by_cohort for term in design.terms)
    return (
        "Rank correlations were those of a Gaussian copula: normal scores of the measures and of each cell type, "
        "tumours without the cell type censored below the normal score of their share.",
        "Correlations of cell types were partially pooled around the mean of their measure and group of tumours"
        + (", and those of a cohort around the cell type's." if varies else "."),
    )


def outline(data: AnalysisSet, priors: Mapping[str, Prior]) -> tuple[Line, ...]:
    """Write the model line by line, for equations and a picture.

    Parameters
    ----------
    data, priors
        As the model is built.
    """
    design = rank_design(data)
    sigma, v, scale = r"\Sigma_{g}", r"\mathbf{v}_{gc}", "s_{gc}"
    letters = {"correlation": "u", "difference": "d"}
    kinds = [kind for kind in letters if any(term.prior == kind for term in design.terms)]
    varying = {term.prior for term in design.terms if term.by_cohort}
    sums = [
        indexed(letters[kind], "kmc" if kind in varying else "mc")
        + (" r_{g}" if kind == "difference" else "")
        for kind in kinds
    ]
    lines = [
        Line(
            r"\mathbf{z}_{i}",
            normal(r"\mathbf{0}", sigma).replace("Normal", "MultivariateNormal"),
            ("tumour",),
            "normal scores of the measures in tumour i, by their ranks in its group g (a cohort, or a hormone receptor "
            "stratum of one)",
            variables=("measures",),
            parents=(sigma,),
            observed=True,
        ),
        Line(
            "w_{ic}",
            normal(r"\mathbf{b}_{gc}^{\top} \mathbf{z}_{i}", scale),
            ("tumour", "outcome"),
            "normal score of cell type c: seen where the tumour has it, otherwise known to lie below the normal score "
            "of the share of tumours without it",
            variables=("outcomes",),
            parents=(r"\mathbf{b}_{gc}", scale),
            observed=True,
        ),
        Line(
            r"\rho_{gmc}",
            rf"v_{{gmc}} / (1 + {v}^{{\top}} R_{{g}}^{{-1}} {v})^{{1/2}}",
            ("group", "measure", "outcome"),
            "correlation of measure m with the cell type; R holds the correlations of the measures",
            relation="=",
            parents=(v, sigma),
        ),
        Line(
            r"\mathbf{b}_{gc}",
            rf"{scale}\, \Sigma_{{g}}^{{-1}} D_{{g}}\, {v}",
            ("group", "outcome"),
            "slopes that these correlations imply; D is diagonal and holds the SDs of the measures' scores",
            relation="=",
            parents=(v, sigma, scale),
        ),
        Line(
            r"\mathrm{asinh}\, v_{gmc}",
            " + ".join(sums),
            ("group", "measure", "outcome"),
            "Fisher's z of the correlation where there is one measure"
            + (f"; r is 1 in {data.strata[-1]} tumours and 0 in the others" if "difference" in kinds else ""),
            relation="=",
            parents=tuple(
                indexed(letters[kind], "kmc" if by_cohort else "mc")
                for kind in kinds
                for by_cohort in sorted({term.by_cohort for term in design.terms if term.prior == kind})
            ),
            node=v,
        ),
    ]
    for kind in kinds:
        lines.extend(_hierarchy(kind, letters[kind], design, priors))
    lines.append(
        Line(
            sigma,
            r"S_{g}^{1/2} B_{g} B_{g}^{\top} S_{g}^{1/2}",
            ("group",),
            "covariance of the measures' scores: S holds their second moments in the sample, and B is a lower triangle",
            relation="=",
            parents=("B_{g}",),
        )
    )
    lines.append(
        number(
            r"\log\, b_{gmm}",
            "measure_log_scale",
            priors["measure_log_scale"],
            each=("scale",),
            said="diagonal of B",
            node="B_{g}",
        )
    )
    if design.associations:
        name, said = "measure_association", "entries of B below its diagonal"
        lines.append(number("b_{gml}", name, priors[name], each=("association",), said=said, node="B_{g}"))
    name, said = "outcome_log_scale", "log residual SD of a cell type's scores"
    lines.append(
        number(rf"\log\, {scale}", name, priors[name], each=("group", "outcome"), said=said, node=scale)
    )
    return tuple(lines)


def _hierarchy(kind: str, letter: str, design: RankDesign, priors: Mapping[str, Prior]) -> Iterator[Line]:
    """One coefficient of asinh(v): outcomes around the mean of their line, cohorts around the outcome."""
    terms = [term for term in design.terms if term.prior == kind]
    varying = [term for term in terms if term.by_cohort]
    typical, by_cohort = indexed(letter, "mc"), indexed(letter, "kmc")
    mean, spread, between = (indexed(greek, f"{letter} m") for greek in (r"\mu", r"\sigma", r"\tau"))
    what = (
        "correlation in the reference stratum" if kind == "correlation" else "difference between the strata"
    )
    if varying:
        some = "" if len(varying) == len(terms) else "; common to the cohorts where fewer than two inform it"
        yield Line(
            by_cohort,
            normal(typical, between),
            ("cohort", "line", "outcome"),
            f"{what} in cohort k{some}",
            variables=tuple(f"{term.name}_by_cohort" for term in varying),
            parents=(typical, between),
        )
    yield Line(
        typical,
        normal(mean, spread),
        ("line", "outcome"),
        f"{what} of measure m with cell type c, partially pooled over cell types",
        variables=tuple(term.name for term in terms),
        parents=(mean, spread),
    )
    for level, symbol, of, said in (
        ("mean", mean, terms, "means over cell types"),
        ("between_outcomes_sd", spread, terms, "SDs between cell types"),
        ("between_cohorts_sd", between, varying, "SDs between cohorts"),
    ):
        quantities = [Given(symbol, f"{term.name}_{level}", priors[f"{kind}_{level}"]) for term in of]
        yield from given(quantities, node=symbol, each=("line",), said=said)


def build(data: AnalysisSet, priors: Mapping[str, Prior]) -> pm.Model:
    """Return the model as a PyMC graph.

    Returns
    -------
    pymc.Model
        The likelihood is that of ranks, through sufficient sums: potentials ``measures`` and ``outcomes``.
    """
    design = rank_design(data)
    coords: dict[str, list[str]] = {
        "cohort": list(design.cohorts),
        "outcome": list(design.outcomes),
        "group": [group.label for group in design.groups],
        "scale": list(design.scales),
        "association": list(design.associations),
    }
    coords |= {f"{term.name}_line": list(term.lines) for term in design.terms}
    shape = (len(design.groups), -1, len(design.outcomes))
    with pm.Model(coords=coords) as model:
        fisher_z = sum(
            matrix_product(term.select, _varying(term, priors, len(design.cohorts))).reshape(shape)
            for term in design.terms
        )
        measure_log_scale = priors["measure_log_scale"].variable("measure_log_scale", dims="scale")
        association = None
        if design.associations:
            association = priors["measure_association"].variable("measure_association", dims="association")
        outcome_log_scale = priors["outcome_log_scale"].variable(
            "outcome_log_scale", dims=("group", "outcome")
        )
        measures = exposure_scores(design, measure_log_scale, association)
        pm.Potential("measures", measures.loglik)
        pm.Potential("outcomes", outcome_scores_loglik(design, measures, fisher_z, outcome_log_scale))
    return model


def _varying(term: Term, priors: Mapping[str, Prior], n_cohorts: int) -> Any:
    """Fisher z of each line and outcome: outcomes around the line's mean, cohorts around the outcome.

    Returns (cohort x line) x outcome; a term common to the cohorts is repeated for each.
    """
    name, line, at = term.name, f"{term.name}_line", term.coordinates
    prior = {key.removeprefix(f"{term.prior}_"): p for key, p in priors.items() if key.startswith(term.prior)}
    between_outcomes_sd = prior["between_outcomes_sd"].variable(f"{name}_between_outcomes_sd", dims=line)
    coordinates, start = at.over_cell_types(by_cohort=term.by_cohort)
    mean = typical_of(
        f"{name}_mean",
        mean=prior["mean"].params["mu"],
        sd=prior["mean"].params["sigma"],
        below_sd=between_outcomes_sd,
        dims=line,
        coordinates=coordinates,
        start=start,
    )
    mean, spread = mean[:, None], between_outcomes_sd[:, None]
    if not term.by_cohort:
        common = partially_pooled(name, mean=mean, sd=spread, dims=(line, "outcome"), coordinates=at.common())
        return pt.concatenate([common] * n_cohorts, axis=0)
    between_cohorts_sd = prior["between_cohorts_sd"].spread(f"{name}_between_cohorts_sd", dims=line)
    coordinates, start = at.above()
    typical = typical_of(
        name,
        mean=mean,
        sd=spread,
        below_sd=between_cohorts_sd[:, None],
        dims=(line, "outcome"),
        coordinates=coordinates,
        start=start,
    )
    by_cohort = partially_pooled(
        f"{name}_by_cohort",
        mean=typical,
        sd=between_cohorts_sd[:, None],
        dims=("cohort", line, "outcome"),
        coordinates=at.transform(),
    )
    return by_cohort.reshape((n_cohorts * len(term.lines), -1))


def estimand_draws(
    posterior: Any, data: AnalysisSet, priors: Mapping[str, Prior], rng: np.random.Generator
) -> dict[tuple[str, str], Any]:
    """Turn draws of asinh(v) into draws of the estimands.

    Returns
    -------
    dict
        (estimand, scope) -> draws with dims chain, draw, exposure, outcome, stratum (HR+, HR-, all; HR- minus HR+ for
        ``spearman_difference``) and, in the scope ``cohort``, cohort. NaN where not estimable.
    """
    return correlation_draws(posterior, data, priors, rng)


def reported(posterior: Any) -> dict[str, Any]:
    """Return the draws of the spreads between cohorts, which the report prints."""
    return {str(n): posterior[n] for n in posterior.data_vars if str(n).endswith("_between_cohorts_sd")}


def estimates(
    draws: Mapping[tuple[str, str], Any],
    data: AnalysisSet,
    *,
    interval: float = 0.95,
    rope: Rope = DEFAULT_ROPE,
) -> Estimates:
    """Summarise the draws of the estimands, with status, counts and decisions."""
    units = {
        "spearman": "Spearman rho",
        "latent_spearman": "latent Spearman rho",
        "spearman_difference": "difference of Spearman rho",
        "strength_difference": "difference of |Spearman rho|",
    }
    return summarise_correlations(
        draws, data, units=units, method="models/rank_correlation.py", interval=interval, rope=rope
    )


prior_checks = correlation_prior_checks
predictive_checks = split_half_checks


def reader_scale(name: str, prior: Prior, interval: float) -> str:
    """Say what a prior means as correlations, the measures' SDs having their default prior."""
    return correlation_reader_scale(name, prior, interval, PRIORS["measure_log_scale"])


def tables(
    posterior: Any,
    draws: Mapping[tuple[str, str], Any],
    data: AnalysisSet,
    priors: Mapping[str, Prior],
    *,
    interval: float,
) -> dict[str, pd.DataFrame]:
    """Strength in words, measures compared, the split matrix, spread between cohorts, and the scatter's dots."""
    made = {
        "strength": strength_table(draws, data),
        "matrix": matrix_table(draws, data),
        "heterogeneity": correlation_heterogeneity(posterior, data, priors, interval=interval),
    }
    if len(data.measures.columns) > 1:
        made["comparison"] = comparison_table(draws, data, interval=interval)
    if data.infiltrate.shape[1]:
        made |= scatter_tables(data, interval=interval)
    return made
