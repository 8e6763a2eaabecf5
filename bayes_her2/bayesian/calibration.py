"""Simulation-based calibration: truths from the prior, data from the truths, and where posteriors put the truths.

If a parameter is drawn from the prior and data from the model at that parameter, the parameter is one more draw from
the posterior of these data: among independent posterior draws each of its ranks is as probable as any other (Talts et
al. 2018). That holds for every function of parameters and covariates, so it is asked of the estimands that a report
prints, at the sizes of the study's own cohorts and strata. A sampler that has not converged, a density that is not the
one the data are from, or an estimand computed otherwise than it says shows as ranks that are not uniform.

simuk does this for PyMC models, by `pymc.sample` for each data set and for single variables of the graph. Here the
model's code is compiled once for all data sets, the ranks are those of estimands (functions of several variables and of
the tumours), and finished data sets are kept; hence a loop of our own.

References
----------
Talts, Betancourt, Simpson, Vehtari & Gelman (2018), arXiv 1804.06788. Sailynoja, Burkner & Vehtari (2022), Statistics
and Computing 32:32, doi 10.1007/s11222-022-10090-6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
import pandas as pd
import xarray as xr

from bayes_her2.bayesian.compilation import compiled
from bayes_her2.bayesian.decisions import local_false_sign_rate
from bayes_her2.bayesian.diagnostics import MAX_R_HAT, diagnose
from bayes_her2.bayesian.fit import Sampling, sample
from bayes_her2.bayesian.model import CalibratedModel
from bayes_her2.bayesian.predictive import drawn_from_prior
from bayes_her2.bayesian.priors import Prior
from bayes_her2.data import ModelData
from bayes_her2.errors import BayesHer2Error
from bayes_her2.estimates import kind_of, null_value

RANKS = 99
"""Posterior draws among which a truth is ranked, of as many as the sampler made: these are nearly independent."""
_COLUMNS = {"outcome": ("outcome", "cell_type", "result"), "stratum": ("stratum",), "cohort": ("cohort",)}
"""Column -> labels of an estimand that it tells."""
SETTINGS = Sampling(chains=2, tune=500, draws=500, target_accept=0.9)
"""Of one data set: 1,000 draws, of which every tenth is ranked against."""
_MAX_R_HAT = 1.0 + 5.0 * (MAX_R_HAT - 1.0)
"""R-hat exceeds 1 by about a constant over the effective sample size: of so few draws 1.05 is what 1.01 is of a run."""


@dataclass(frozen=True)
class Replicate:
    """One data set: where its truths lie, and how its fit went.

    Attributes
    ----------
    table
        One row for each label of each estimand: ``estimand``, ``scope``, ``outcome`` (clinical outcome, cell type or
        published result), ``stratum``, ``cohort`` (each '' where it has no such label), ``truth``, ``rank`` (of the
        truth among `RANKS` draws, 0 to 99), ``mean`` and ``sd`` of all draws, ``lower``, ``point``, ``upper``,
        ``lfsr`` (local false sign rate; NaN for levels). Ratios are on the log scale.
    r_hat, ess
        Highest R-hat and lowest bulk or tail effective sample size of the estimands.
    n_divergent
        Divergent transitions.
    seconds
        Wall time, of both attempts where there are two.
    retried
        Whether a first attempt was in trouble; all figures are of the second then.
    """

    table: pd.DataFrame
    r_hat: float
    ess: float
    n_divergent: int
    seconds: float
    retried: bool = False


def in_trouble(r_hat: float, n_divergent: int) -> bool:
    """Whether a fit had a divergent transition, or an R-hat above what a short run can meet."""
    return n_divergent > 0 or r_hat > _MAX_R_HAT


def prior_truths(
    model: CalibratedModel, data: ModelData, priors: Mapping[str, Prior], n: int, seeds: Sequence[int]
) -> xr.Dataset:
    """Draw parameters from the prior.

    Parameters
    ----------
    model, data, priors
        As the model is built.
    n
        Draws.
    seeds
        Of the draws, together.

    Returns
    -------
    xarray.Dataset
        Every variable of the graph that is not data, with the dims chain (1) and draw (`n`), as a posterior has them.
    """
    graph = model.build(data, priors)
    names = [str(v.name) for v in (*graph.free_RVs, *graph.deterministics)]
    return drawn_from_prior(graph, names, n, _seed(*seeds))


def _seed(*seeds: int) -> int:
    return int(np.random.default_rng(seeds).integers(2**31))


def calibrate_one(
    model: CalibratedModel,
    data: ModelData,
    priors: Mapping[str, Prior],
    truth: xr.Dataset,
    *,
    seed: int,
    number: int,
    settings: Sampling = SETTINGS,
    interval: float = 0.95,
) -> Replicate:
    """Simulate one data set, fit it (a second time, harder, if in trouble, as a run does), and rank its truths.

    Parameters
    ----------
    model
        A model file that can replicate its data.
    data
        Tumours, patients or studies: their covariates, cohorts and strata, and what is modelled. Their outcomes are
        replaced.
    priors
        That the truth is from, and that the model is fitted with.
    truth
        One draw of `prior_truths` (dims chain and draw, one each).
    seed, number
        Of the calibration, and which of its data sets this is: with truth and code, these determine the result.
    settings
        Of the sampler; its seed is replaced.
    interval
        Probability of the intervals.

    Raises
    ------
    BayesHer2Error
        The sampler finds no point to begin at.
    """
    start = perf_counter()
    rng = np.random.default_rng([seed, number])
    made = model.replicated(truth, data, rng)
    own = replace(settings, seed=_seed(seed, number, 1))
    try:
        ready = compiled(model.build(made, priors), own.backend)
        for attempt in (own, own.harder()):
            tree = sample(ready, attempt, progress=False)
            posterior = tree["posterior"].to_dataset()
            rng = np.random.default_rng([seed, number, 2])
            draws = _held(model, model.estimand_draws(posterior, made, priors, rng))
            r_hat, ess = _convergence(draws)
            divergent = int(tree["sample_stats"]["diverging"].sum())
            if not in_trouble(r_hat, divergent):
                break
    except RuntimeError as error:
        raise BayesHer2Error(
            f"data set {number + 1}: the sampler could not begin ({str(error).splitlines()[0]}). What is simulated at "
            "a draw of the priors has to be data that the model can be fitted to: see its priors, or give others "
            "([priors]). Finished data sets are kept."
        ) from error
    truths = _held(model, model.estimand_draws(truth, made, priors, np.random.default_rng([seed, number, 3])))
    return Replicate(
        where_truths_lie(truths, draws, interval),
        r_hat,
        ess,
        divergent,
        perf_counter() - start,
        attempt is not own,
    )


def _convergence(draws: Mapping[tuple[str, str], xr.DataArray]) -> tuple[float, float]:
    """Highest R-hat and lowest bulk or tail effective sample size of what is finite."""
    known = {key: array.where((abs(array) < np.inf).all(("chain", "draw"))) for key, array in draws.items()}
    found = diagnose({f"{e}, {s}": array for (e, s), array in known.items()}, 0).table
    return float(found["r_hat_max"].max()), float(found[["ess_bulk_min", "ess_tail_min"]].min().min())


def _held(
    model: CalibratedModel, draws: Mapping[tuple[str, str], xr.DataArray]
) -> dict[tuple[str, str], xr.DataArray]:
    """Estimands but those of ``NOT_CALIBRATED``, at the values of further labels that ``CALIBRATED_AT`` names."""
    at = getattr(model, "CALIBRATED_AT", {})
    return {
        key: array.sel({d: v for d, v in at.items() if d in array.dims}, drop=True)
        for key, array in draws.items()
        if key[0] not in getattr(model, "NOT_CALIBRATED", ())
    }


def where_truths_lie(
    truths: Mapping[tuple[str, str], xr.DataArray],
    draws: Mapping[tuple[str, str], xr.DataArray],
    interval: float = 0.95,
) -> pd.DataFrame:
    """Rank of each truth among draws, with what a report would print of these.

    Parameters
    ----------
    truths
        (estimand, scope) -> the true value, with dims chain and draw (one each) and labelled others.
    draws
        The same of the posterior.
    interval
        Probability of the equal-tailed interval.

    Returns
    -------
    pandas.DataFrame
        As in `Replicate`. What is not estimable has no row, nor has an odds ratio of probabilities that round to 0 or
        1, in the truth or in a draw.
    """
    tables = []
    tail = (1.0 - interval) / 2.0
    for key, array in draws.items():
        labels = [str(d) for d in array.dims if d not in ("chain", "draw")]
        unknown = set(labels) - {label for told in _COLUMNS.values() for label in told}
        if unknown:
            raise ValueError(f"{key}: no column has its {', '.join(sorted(unknown))}: hold it at a value")
        values = array.transpose("chain", "draw", *labels).to_numpy()
        values = values.reshape(-1, *values.shape[2:])
        true = truths[key].isel(chain=0, draw=0, drop=True).transpose(*labels)
        index = array.isel(chain=0, draw=0, drop=True).to_series().index if labels else None
        flat = values.reshape(len(values), -1)
        same = true.sel({d: array[d] for d in labels}).to_numpy().ravel()
        finite = np.isfinite(flat).all(axis=0) & np.isfinite(same)
        flat, same = np.where(finite, flat, np.nan), np.where(finite, same, np.nan)
        chosen = flat[np.arange(RANKS) * len(flat) // RANKS]
        null = 0.0 if kind_of(key[0]) == "ratio" else null_value(key[0])
        lower, point, upper = np.quantile(flat, [tail, 0.5, 1.0 - tail], axis=0)
        table = pd.DataFrame(
            {
                "estimand": key[0],
                "scope": key[1],
                "truth": same,
                "rank": (chosen < same).sum(axis=0),
                "mean": flat.mean(axis=0),
                "sd": flat.std(axis=0),
                "lower": lower,
                "point": point,
                "upper": upper,
                "lfsr": local_false_sign_rate(flat - null),
            }
        )
        named = index.to_frame(index=False).astype("str") if index is not None else pd.DataFrame()
        for column, told in _COLUMNS.items():
            having = [label for label in told if label in named]
            table[column] = named[having].agg(" | ".join, axis=1).to_numpy() if having else ""
        tables.append(table[finite])
    return pd.concat(tables, ignore_index=True)
