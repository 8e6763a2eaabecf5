"""A latent HER2 behind the HER2 score, further measures and the read IHC level, and what that does to immune slopes.

Measurement
-----------
Within each group (cohort x HR stratum) a tumour's latent HER2 z is Normal(0, 1). Every numeric measure is a noisy
picture of it, the true IHC level is another, cut in three, and a reader's level is the true one or its neighbour:

    x_j = mean_j + sd_j (sqrt(r_j) z + sqrt(1 - r_j) e_j)         r_j: reliability of measure j
    l = sqrt(r) z + sqrt(1 - r) e,   t = 0, 1+ or 2+ by two cut-points of l,   u | t by the reader's matrix

Means and the first cut-point are a group's own, so that nothing is learned from how groups differ: a measure may be
higher in HR+ for reasons of its own. Reliabilities, SDs and the reader are common to the cohorts. A tumour without
a measure or without a level still has its latent; both are taken to be missing at random given the others. The
tumours are those called HER2-negative, partly by the level itself: the latent is HER2 among them, normal by assumption
although that call cuts its upper tail. The latent and the true level are integrated out
(`bayes_her2.bayesian.measurement`).

What identifies it: each pair of indicators gives one correlation, sqrt(r_j r_k). Three indicators give three
correlations for three reliabilities; two give one for two, so that only their product is learned and the prior
divides it: the reliability of the score then lies between the squared correlation and 1. One indicator is refused.
Of the reader little is learned, because a level that is read badly and a level that hangs loosely on the latent look
alike; the share read as 0 bounds how often a true 1+ is missed. What is said of true levels therefore rests on the
prior of the reader, and the slopes hardly do, for the same reason. The table `identification` sets every posterior
beside its prior. Assumed, and not testable with three indicators: their errors are independent of each other given the
latent. What two measures share besides HER2 (tumour purity, for mRNA and protein of the same bulk) counts as latent
HER2. Monotone: each indicator rises with the latent; `measurement_predictive` shows the means of every measure by read
level beside what the model expects (a bell over IHC 0, 1+, 2+, 3+ is published for the 20-gene signature; ERBB2 mRNA
and protein rise from 0 to 2+ in both HR strata of TCGA-BRCA, all 20 statistics inside their intervals).

Immune slopes
-------------
In the linear-normal case, with z standard normal, y = beta z + error, the error independent of all indicators x given
z (nondifferential), m = E[z | x] and R = var(m) = 1 - var(z | x), what each treatment of the exposure estimates is:

- plug-in. The score s = sqrt(r) z + sqrt(1 - r) e, per SD:    cov(y, s) / var(s) = sqrt(r) beta.
- latent drawn. z* = m + u with u ~ Normal(0, 1 - R) drawn without looking at y, so independent of y given x:
  cov(y, z*) = cov(beta z, m) = beta R, var(z*) = 1, and the slope is R beta. With the score as the only indicator
  R = r < sqrt(r): drawing the latent attenuates *more* than plugging the score in. An imputation that leaves out the
  outcome is not congenial with a regression of that outcome (Meng 1994, doi 10.1214/ss/1177010269; for plausible
  values Mislevy 1991, doi 10.1007/BF02294457; both DOIs from memory); more imputations do not help.
- cut (calibrated). E[y | x] = beta m, exactly: cov(y, m) / var(m) = beta R / R = beta. Regression calibration
  (Carroll, Ruppert, Stefanski & Crainiceanu 2006, Measurement Error in Nonlinear Models, 2nd ed., chapter 4). The
  residual variance grows by beta^2 (1 - R), which the model of the outcome estimates with the rest. Dividing the
  drawn latent's slope by R aims at the same with 1 / sqrt(R) times the standard error.
- joint. One posterior in which y informs z too: beta, if the whole model holds. With y a panel of cell types the latent
  drifts towards what they share (interpretational confounding), and the reliabilities with it.

So what is cut by default is the flow from the outcomes to the *parameters* of the measurement model (Plummer 2015,
doi 10.1007/s11222-014-9503-z), not to each tumour's latent: p(theta | x) p(beta | y, x, theta), where
p(y | x, theta, beta) integrates z out. In the linear-normal case that integral is the calibrated regression, for each
draw of theta: the cut posterior is M draws of theta, the main model fitted to E[z | x, theta] of each, and the draws
put together. To cut at the latent itself (z drawn from x alone) is what a two-stage analysis is often taken to mean; it
is named `latent drawn`, is shown, and is biased by R.

Outside the linear-normal case: with a log link E[y | x] = exp(a + beta m + beta^2 v / 2), v = var(z | x): the same beta
wherever v is the same; v depends on which indicators a tumour has, which moves a level by beta^2 (v_i - v) / 2 and no
slope. With a logit link the slope is about beta / sqrt(1 + 0.346 beta^2 v): at an odds ratio of 1.5 and v = 0.5 that is
1.4 % smaller on the log scale, at 2 and 0.5 4 %. All this holds in simulation (tests; 400,000 tumours with TCGA's
reliabilities 0.66, 0.27 and 0.14: plug-in 0.81, drawn 0.69, calibrated 1.00 linear, 1.00 log, 0.98 logit). With the
parameters estimated too (linear outcome, beta 0.3, 600 tumours, reliabilities 0.6, 0.35 and 0.4, a fifth without the
second measure and two fifths without a level, 400 data sets, Laplace's approximation of the measurement's posterior):
mean slope over beta 0.77 plug-in, 0.66 drawn, 0.97 cut (Monte Carlo error 0.01); coverage of 95 % intervals 0.60, 0.42
and 0.96.

Errors that depend on the outcome given the latent (immune cells diluting the tumour's signal; score and abundance read
off one expression matrix) bias every treatment but in ways that no two-stage or joint model sees. What can be
seen is whether each measure implies the same slope of the latent, as it must otherwise: `indicator_agreement`. On
TCGA-BRCA it is refuted: for 15 of 22 cell types ERBB2 mRNA and HER2 protein imply correlations with the latent that
differ by more than 1.96 standard errors (CD8 T cells 0.02 and -0.29, M2 macrophages -0.02 and 0.34). There a stretch by
the reliability is arithmetic, and no single slope of HER2 stands behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from bayes_her2.models import abundance
from scipy.special import expit, ndtr

from bayes_her2.bayesian.amounts import GAMMA
from bayes_her2.bayesian.bernoulli import bernoulli_node
from bayes_her2.bayesian.design import arrays, part_design, structure
from bayes_her2.bayesian.hurdle import amount_node
from bayes_her2.bayesian.latent_exposure import predictor_of_exposure
from bayes_her2.bayesian.measurement import (
    Indicators,
    in_blocks,
    indicators,
    latent_given_all,
    levels_node,
    measures_node,
    parameters_of,
    reader_matrix,
)
from bayes_her2.bayesian.measurement_checks import (
    identification,
    indicator_agreement,
    measurement_posterior_predictive,
    measurement_prior_checks,
)
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.summary import RowOf, Standing, tabulate
from bayes_her2.data import IHC_LEVELS, AnalysisSet
from bayes_her2.estimates import DEFAULT_ROPE, Estimates, Rope

QUESTION = (
    "How well do the HER2 score, further measures and the read IHC level tell the tumour's HER2, and how would the "
    "immune slopes read for HER2 itself?"
)
DATA = "AnalysisSet"
TWIN = (
    "none: with three measures the reliabilities have a closed form (products of correlations), to which a test holds "
    "the likelihood; no frequentist side estimates a reader's rates from levels that were read once"
)
ESTIMANDS = {
    "reliability": "share of a measure's variance, within cohort and HR stratum, that is the latent's; for 'true IHC "
    "level' of the variable behind the true one",
    "indicator_correlation": "correlation of each indicator with the latent within cohort and HR stratum",
    "reader_rate": "probability that a reader takes a true IHC level for its neighbour",
    "true_level_given_read": "share of a cohort's tumours read as 0 that are truly 1+ or 2+, and read as 1+ truly 0",
    "latent_known": "share of the latent's variance that a tumour's indicators tell together, mean over tumours (R)",
    "slope_factor": "slope that a treatment of the exposure estimates over that of the latent (linear-normal case)",
}
LATENT = "latent HER2"
TRUE_LEVEL = "true IHC level"
PLUG_IN, CUT, DRAWN, JOINT = "plug-in", "cut", "latent drawn", "joint"
TREATMENTS = {
    PLUG_IN: "the HER2 score as it is, per SD of the score",
    CUT: "two-stage, immune outcomes do not inform the measurement: each tumour at the expected value of its latent, "
    "for draws of the measurement's parameters; per SD of the latent",
    DRAWN: "two-stage, each tumour's latent drawn without the outcomes: attenuated by R, shown for comparison",
    JOINT: "one posterior in which immune outcomes inform the latent; per SD of the latent",
}
"""How HER2 enters the main model, by name."""
SLOPES = ("presence", "amount", "overall")
"""Estimands of the main model that are carried through."""

_READER = "untrained, 77 pathologists agreed with experts' consensus on {} (Arch Pathol Lab Med 149(5):431, abstract); "
PRIORS: dict[str, Prior] = {
    "measure_mean": Prior(
        "Normal",
        {"mu": 0.0, "sigma": 1.0},
        "measures are centred on their platform; a group lies within 2 SD of it",
    ),
    "log_sd": Prior(
        "Normal",
        {"mu": 0.0, "sigma": 0.25},
        "measures are given per within-HR SD, so this is 1 but for sampling and for groups that differ: 0.6 to 1.6",
    ),
    "logit_reliability": Prior(
        "Normal",
        {"mu": 0.5, "sigma": 1.0},
        "repeating an assay gives 0.9 and more, one molecule instead of another far less: 19 to 92 % of the variance",
    ),
    "level_logit_reliability": Prior(
        "Normal",
        {"mu": 0.0, "sigma": 1.0},
        "staining of a section against HER2 of the bulk: between 12 and 88 % of the variance",
    ),
    "first_cut_point": Prior(
        "Normal",
        {"mu": -0.5, "sigma": 0.7},
        "HER2-0 is a third of HER2-negative tumours (33 % of 789 when rescored, PMC10515285), 3 to 81 % here",
    ),
    "log_cut_distance": Prior(
        "Normal",
        {"mu": 0.2, "sigma": 0.4},
        "1+ spans 0.6 to 2.7 SD of the variable behind the level: with the median cut, 21 to 68 % of the tumours",
    ),
    "reader_overcalls": Prior(
        "Normal",
        {"mu": -1.4, "sigma": 0.5},
        _READER.format("74.6 % of HER2-0")
        + "trained on 89.2 %. So 1+ is read in 8 to 40 % of true 0; laboratories' agreement on 0 v 1+ was at most 70 % "
        "in a quarter of negative cores (doi 10.1001/jamaoncol.2021.7239, as The ASCO Post reports it, February 2022)",
    ),
    "reader_misses": Prior(
        "Normal",
        {"mu": -1.6, "sigma": 0.5},
        _READER.format("80 to 90 % of HER2-low")
        + "so 0 is read in 7 to 35 % of true 1+ (where 2+ is never read); 30 % of historical 0 were rescored as low "
        "(PMC10515285), local 0 in 7 of 17 (doi 10.1016/j.modpat.2024.100535)",
    ),
    "reader_one_or_two": Prior(
        "Normal",
        {"mu": -2.0, "sigma": 0.6},
        "all of 18 pathologists agreed on 3.6 % of 2+ (doi 10.1016/j.modpat.2022.100032, DOI unchecked), as if each "
        "erred in 17 %, part of it towards 3+: 4 to 30 % here",
    ),
}


def priors_for(data: AnalysisSet) -> dict[str, Prior]:
    """Give the default priors: measures are standardised, so they are the same for every data set."""
    return PRIORS


def build(data: AnalysisSet, priors: Mapping[str, Prior]) -> pm.Model:
    """Return the measurement model as a PyMC graph, latents and true levels integrated out.

    Returns
    -------
    pymc.Model
        Observed nodes ``measures`` and, where levels were read, ``levels``.
    """
    seen = indicators(data)
    with pm.Model(coords=_coords(data, seen)) as model:
        mean, sd, reliability = _of_measures(priors)
        found, variance = measures_node("measures", mean=mean, sd=sd, reliability=reliability, seen=seen)
        if seen.has_levels:
            _levels(found, variance, priors, seen)
    return model


def _coords(data: AnalysisSet, seen: Indicators) -> dict[str, list[str]]:
    return {
        "tumour": list(data.tumours.index),
        "read_tumour": [seen.tumours[i] for i in seen.read],
        "measure": list(seen.measures),
        "group": list(seen.groups),
        "cut": ["0 to 1+", "1+ to 2+"],
        "true_level": list(IHC_LEVELS),
        "read_level": list(IHC_LEVELS),
    }


def _of_measures(priors: Mapping[str, Prior]) -> tuple[Any, Any, Any]:
    """Mean by group, SD and reliability of the measures."""
    mean = priors["measure_mean"].variable("measure_mean", dims=("measure", "group"))
    log_sd = priors["log_sd"].variable("log_sd", dims="measure")
    logit = priors["logit_reliability"].variable("logit_reliability", dims="measure")
    sd = pm.Deterministic("sd", pt.exp(log_sd), dims="measure")
    return mean, sd, pm.Deterministic("reliability", pm.math.sigmoid(logit), dims="measure")


def _levels(mean: Any, variance: Any, priors: Mapping[str, Prior], seen: Indicators) -> None:
    """Read levels, given what else is known of the latent."""
    logit = priors["level_logit_reliability"].variable("level_logit_reliability")
    reliability = pm.Deterministic("level_reliability", pm.math.sigmoid(logit))
    first = priors["first_cut_point"].variable("first_cut_point", dims="group")
    distance = pt.exp(priors["log_cut_distance"].variable("log_cut_distance"))
    cuts = pm.Deterministic("cut_points", pt.stack([first, first + distance], axis=1), dims=("group", "cut"))
    overcalls, misses, one_or_two = (
        priors[name].variable(name) for name in ("reader_overcalls", "reader_misses", "reader_one_or_two")
    )
    matrix = reader_matrix(overcalls, misses, one_or_two, pt)
    reader = pm.Deterministic("reader", matrix, dims=("true_level", "read_level"))
    levels_node(
        "levels",
        mean=mean,
        variance=variance,
        reliability=reliability,
        cuts=cuts,
        reader=reader,
        seen=seen,
    )


# --- the main model on a latent exposure -------------------------------------------------------


def build_given(data: AnalysisSet, priors: Mapping[str, Prior]) -> pm.Model:
    """Return the main model with its exposure as data that can be exchanged: ``exposure``, one value per tumour.

    Parameters
    ----------
    data
        Analysis set; its own HER2 values are there to begin with.
    priors
        Of `models/abundance.py`.
    """
    with pm.Model(coords=_abundance_coords(data)) as model:
        exposure = pm.Data("exposure", data.tumours["her2_sd"].to_numpy(float), dims="tumour")
        _abundance_nodes(data, priors, exposure)
    return model


def build_joint(
    data: AnalysisSet, priors: Mapping[str, Prior], abundance_priors: Mapping[str, Prior]
) -> pm.Model:
    """Return one graph of measurement and main model, in which immune outcomes inform the latent.

    Parameters
    ----------
    data
        Analysis set.
    priors, abundance_priors
        Of this file, and of `models/abundance.py`.

    Returns
    -------
    pymc.Model
        With the latent of every tumour as ``latent_her2``: its mean given the measures, and ``latent_rest`` of its SD.
    """
    seen = indicators(data)
    with pm.Model(coords=_coords(data, seen) | _abundance_coords(data)) as model:
        mean, sd, reliability = _of_measures(priors)
        # p(z) p(x | z) as p(x) p(z | x): what the measures say of a latent moves with their reliabilities, and
        # what is left of it hardly does.
        told, variance = measures_node("measures", mean=mean, sd=sd, reliability=reliability, seen=seen)
        rest = pm.Normal("latent_rest", 0.0, 1.0, dims="tumour")
        latent = pm.Deterministic("latent_her2", told + pt.sqrt(variance) * rest, dims="tumour")
        if seen.has_levels:
            _levels(latent, pt.zeros(len(seen.tumours)), priors, seen)
        _abundance_nodes(data, abundance_priors, latent)
    return model


def _abundance_coords(data: AnalysisSet) -> dict[str, list[str]]:
    shape = structure(data)
    return {
        "tumour": list(data.tumours.index),
        "cohort": list(shape.cohorts),
        "centre": list(shape.centres),
        "covariate": list(data.covariates.columns),
        **{
            f"{part}_cell_type": list(part_design(data, shape, part).cell_types)
            for part in ("presence", "amount")
        },
    }


def _abundance_nodes(data: AnalysisSet, priors: Mapping[str, Prior], exposure: Any) -> None:
    """Observed nodes of the main model, with HER2 a variable of the graph."""
    shape = structure(data)
    tumours = arrays(data, shape)
    presence, amount = (part_design(data, shape, part) for part in ("presence", "amount"))
    if presence.cell_types:
        bernoulli_node(
            "present",
            logit_p=predictor_of_exposure("presence", exposure, presence, tumours, shape, priors),
            observed=presence.observed,
            modelled=presence.modelled,
            dims=("tumour", "presence_cell_type"),
        )
    amount_node(
        "amount",
        family=GAMMA,
        eta=predictor_of_exposure("amount", exposure, amount, tumours, shape, priors),
        log_shape=abundance.log_shape(amount.coordinates["log_shape"], shape, priors),
        group_idx=tumours.cohort_idx,
        observed=amount.observed,
        modelled=amount.modelled,
        dims=("tumour", "amount_cell_type"),
    )


def on_exposure(data: AnalysisSet, exposure: np.ndarray, measure: str) -> AnalysisSet:
    """Return the analysis set with another HER2 value for each tumour, and its name."""
    return replace(data, tumours=data.tumours.assign(her2_sd=exposure), measure=measure)


# --- from draws to estimands -------------------------------------------------------------------


def estimand_draws(
    posterior: xr.Dataset, data: AnalysisSet, priors: Mapping[str, Prior], rng: np.random.Generator
) -> dict[tuple[str, str], xr.DataArray]:
    """Turn draws of parameters into draws of the estimands.

    Returns
    -------
    dict
        (estimand, scope) -> draws by indicator, reading, cohort or treatment, all between 0 and 1.
    """
    seen = indicators(data)
    reliability = reliabilities(posterior)
    known, truth = _by_tumour(posterior, data, seen)
    score = posterior["reliability"].sel(measure=seen.measures[0], drop=True)
    factors: dict[str, xr.DataArray] = {PLUG_IN: score**0.5, DRAWN: known}
    draws: dict[tuple[str, str], xr.DataArray] = {
        ("reliability", "pooled"): reliability,
        ("indicator_correlation", "pooled"): reliability**0.5,
        ("latent_known", "pooled"): known.expand_dims(indicator=["all"]),
        ("slope_factor", "pooled"): xr.concat(
            [array.expand_dims(treatment=[name]) for name, array in factors.items()],
            dim="treatment",
            join="exact",
        ),
    }
    if seen.has_levels:
        reader = posterior["reader"]
        rates = {
            f"read {read}, truly {true}": reader.sel(true_level=true, read_level=read, drop=True)
            for true, read in (("0", "1+"), ("1+", "0"), ("1+", "2+"), ("2+", "1+"))
        }
        draws[("reader_rate", "pooled")] = xr.concat(
            [array.expand_dims(reading=[name]) for name, array in rates.items()], dim="reading", join="exact"
        )
        draws[("true_level_given_read", "cohort")] = truth
    return draws


def reliabilities(posterior: xr.Dataset) -> xr.DataArray:
    """Draws of the reliability of every indicator."""
    measures = posterior["reliability"].rename(measure="indicator")
    if "level_reliability" not in posterior:
        return measures
    level = posterior["level_reliability"].expand_dims(indicator=[TRUE_LEVEL])
    return xr.concat([measures, level], dim="indicator", join="exact")


def _by_tumour(
    posterior: xr.Dataset, data: AnalysisSet, seen: Indicators
) -> tuple[xr.DataArray, xr.DataArray]:
    """Averages over tumours: what is known of the latent, and true levels given the read ones by cohort."""
    cohort = data.tumours["cohort"].to_numpy(str)
    questions = [
        (name, at, truths, np.flatnonzero((cohort == name) & (seen.level_idx == at)))
        for name in data.cohorts
        for at, truths in ((0, [1, 2]), (1, [0]))
    ]
    known, shares = [], []
    for block in in_blocks(parameters_of(posterior)):
        latent = latent_given_all(block, seen)
        known.append(1.0 - latent.variance.mean(axis=1))
        answers = [
            latent.level[:, rows][:, :, truths].sum(axis=2).mean(axis=1)
            if rows.size
            else np.full(len(block.sd), np.nan)
            for _, _, truths, rows in questions
        ]
        shares.append(np.stack(answers, axis=1))
    sizes = (posterior.sizes["chain"], posterior.sizes["draw"])
    coords = {"chain": posterior["chain"], "draw": posterior["draw"]}
    readings = ["truly 1+ or 2+, read 0", "truly 0, read 1+"]
    return (
        xr.DataArray(np.concatenate(known).reshape(sizes), dims=("chain", "draw"), coords=coords),
        xr.DataArray(
            np.concatenate(shares).reshape(*sizes, len(data.cohorts), len(readings)),
            dims=("chain", "draw", "cohort", "reading"),
            coords=coords | {"cohort": list(data.cohorts), "reading": readings},
        ),
    )


def immune_slopes(
    posterior: xr.Dataset, data: AnalysisSet, priors: Mapping[str, Prior], rng: np.random.Generator
) -> dict[tuple[str, str], xr.DataArray]:
    """Pooled slopes of presence, amount and both together, from draws of the main model given an exposure.

    Parameters
    ----------
    posterior
        Draws of `build_given` or `build_joint`.
    data
        Analysis set with that exposure (`on_exposure`): averages over tumours are over its values.
    priors
        Of `models/abundance.py`.
    rng
        As there.
    """
    draws = abundance.estimand_draws(posterior, data, priors, rng)
    return {(estimand, "pooled"): draws[(estimand, "pooled")] for estimand in SLOPES}


def reported(posterior: Any) -> dict[str, Any]:
    """Return the draws of the SDs; everything else that is reported is an estimand."""
    return {"sd": posterior["sd"]}


def estimates(
    draws: Mapping[tuple[str, str], Any],
    data: AnalysisSet,
    *,
    interval: float = 0.95,
    rope: Rope = DEFAULT_ROPE,
) -> Estimates:
    """Summarise the draws of the estimands, with counts."""
    seen = indicators(data)
    counts = dict(zip(seen.measures, seen.recorded.sum(axis=0).astype(int).tolist(), strict=True))
    counts |= {TRUE_LEVEL: int(seen.read.size), "all": len(data.tumours)}
    level = data.tumours["her2_ihc"]

    def describe(estimand: str, scope: str, named: Mapping[str, str]) -> RowOf:
        reading = named.get("reading", "")
        n: int = counts.get(named.get("indicator", "all"), len(data.tumours))
        if estimand == "reader_rate":
            n = counts[TRUE_LEVEL]
        if estimand == "true_level_given_read":
            read = reading.rpartition("read ")[2]
            n = int(((data.tumours["cohort"] == named["cohort"]) & (level == read)).sum())
        return RowOf(
            outcome=named.get("indicator", "") or named.get("treatment", "") or "IHC level",
            unit={"slope_factor": "factor", "indicator_correlation": "correlation"}.get(estimand, "share"),
            standing=Standing(n, None, "observed", _rests_on(estimand, seen)),
            without_draws="no such level was read",
            exposure=LATENT,
            contrast=reading or "within cohort and HR stratum",
            adjustment="none",
        )

    return tabulate(
        draws, data, describe, method="models/her2_measurement.py", interval=interval, rope=rope, family=None
    )


def _rests_on(estimand: str, seen: Indicators) -> str:
    """Say what a row rests on besides the data."""
    if estimand == "reader_rate":
        return "levels were read once: rests on the prior, from published agreement"
    if estimand == "true_level_given_read":
        return "rests on the prior of the reader's rates"
    if len(seen.measures) + seen.has_levels < 3:
        return "two indicators: the data give the product of their reliabilities, the prior divides it"
    return ""


prior_checks = measurement_prior_checks
predictive_checks = measurement_posterior_predictive


def reader_scale(name: str, prior: Prior, interval: float) -> str:
    """Say what a prior means as shares, rates and SDs."""
    low, high = prior.interval(interval)
    percent = f"{interval:.0%}"
    if name in ("logit_reliability", "level_logit_reliability"):
        return f"{percent}: {expit(low):.0%} to {expit(high):.0%} of the variance is the latent's"
    if name.startswith("reader_"):
        what = {
            "reader_overcalls": "truly 0 are read as 1+",
            "reader_misses": "truly 1+ are read as 0, among those read as 0 or 1+",
            "reader_one_or_two": "truly 2+ are read as 1+",
        }[name]
        return f"{percent}: {expit(low):.0%} to {expit(high):.0%} of the {what}"
    if name == "first_cut_point":
        return f"{percent}: {ndtr(low):.0%} to {ndtr(high):.0%} of a group's tumours are truly 0"
    if name in ("log_sd", "log_cut_distance"):
        return f"{percent}: {np.exp(low):.2g} to {np.exp(high):.2g} SD within a stratum"
    return f"{percent}: {low:.2g} to {high:.2g} SD within a stratum"


def tables(
    posterior: Any,
    draws: Mapping[tuple[str, str], Any],
    data: AnalysisSet,
    priors: Mapping[str, Prior],
    *,
    interval: float,
) -> dict[str, pd.DataFrame]:
    """Say what identifies each parameter, and whether the measures agree on the immune slopes."""
    return {
        "identification": identification(posterior, data, priors, interval=interval),
        "indicator_agreement": indicator_agreement(posterior, data),
    }
