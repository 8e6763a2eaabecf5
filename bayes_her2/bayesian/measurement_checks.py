"""Checks on the measurement model: its prior, its predictions, what identifies it, and whether its measures agree."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import expit
from scipy.stats import norm, rankdata

from bayes_her2.bayesian.measurement import (
    Indicators,
    Parameters,
    draw_of,
    indicators,
    parameters_of,
    reader_matrix,
)
from bayes_her2.bayesian.priors import Prior
from bayes_her2.data import IHC_LEVELS, AnalysisSet

PRIOR_DRAWS = 4_000
REPLICATES = 400

MOSTLY_PRIOR = 0.8
"""A posterior SD that is at least this share of the prior's: the data said little."""


def simulate_indicators(
    p: Parameters, seen: Indicators, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latent, measures and read level of tumours in the groups of `seen`, for one draw of the parameters.

    Returns
    -------
    latent, values, level_idx
        Of every tumour, whatever of it is recorded in `seen`.
    """
    n = len(seen.group_idx)
    z = rng.standard_normal(n)
    error = rng.standard_normal((n, len(p.sd)))
    values = p.mean.T[seen.group_idx] + p.sd * (
        np.sqrt(p.reliability) * z[:, None] + np.sqrt(1.0 - p.reliability) * error
    )
    root = np.sqrt(p.level_reliability)
    behind = root * z + np.sqrt(1.0 - root**2) * rng.standard_normal(n)
    true = (behind[:, None] > p.cuts[seen.group_idx]).sum(axis=1)
    level = (p.reader[true].cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return z, values, level.clip(max=len(IHC_LEVELS) - 1)


def prior_parameters(
    priors: Mapping[str, Prior], n_measures: int, n_groups: int, n: int, rng: np.random.Generator
) -> Parameters:
    """Draws of the parameters from their prior."""

    def drawn(name: str, *size: int) -> np.ndarray:
        return priors[name].sample(rng, (n, *size))

    first = drawn("first_cut_point", n_groups)
    return Parameters(
        mean=drawn("measure_mean", n_measures, n_groups),
        sd=np.exp(drawn("log_sd", n_measures)),
        reliability=expit(drawn("logit_reliability", n_measures)),
        level_reliability=expit(drawn("level_logit_reliability")),
        cuts=np.stack([first, first + np.exp(drawn("log_cut_distance"))[:, None]], axis=-1),
        reader=reader_matrix(*(drawn(f"reader_{x}") for x in ("overcalls", "misses", "one_or_two"))),
    )


def measurement_prior_checks(graph: Any, data: AnalysisSet, seed: int) -> pd.DataFrame:
    """Numeric gates on the default priors' consequences, drawn without the graph's compilation.

    Returns
    -------
    pandas.DataFrame
        ``check``, ``value``, ``lower``, ``upper``, ``passed``.
    """
    priors = {v.name: _prior_of(v) for v in graph.free_RVs}
    defaults = {
        name: Prior("Normal", {"mu": mu, "sigma": sigma}, "as in the graph")
        for name, (mu, sigma) in priors.items()
    }
    seen = indicators(data)
    rng = np.random.default_rng([seed, 3])
    rows: list[tuple[str, float, float, float]] = []

    def check(name: str, value: float, lower: float, upper: float) -> None:
        rows.append((name, float(value), lower, upper))

    reliability = expit(defaults["logit_reliability"].sample(rng, (PRIOR_DRAWS, 2)))
    between = np.sqrt(reliability.prod(axis=1))
    check("median correlation of two measures within a stratum", np.median(between), 0.2, 0.8)
    check(
        "P(that correlation is below 0.1 or above 0.95)", np.mean((between < 0.1) | (between > 0.95)), 0, 0.1
    )
    if seen.has_levels:
        p = prior_parameters(defaults, len(seen.measures), 1, PRIOR_DRAWS, rng)
        lower, upper = norm.cdf(p.cuts[:, 0, 0]), norm.cdf(p.cuts[:, 0, 1])
        true = np.stack([lower, upper - lower, 1.0 - upper], axis=1)
        read = np.einsum("dt,dtu->du", true, p.reader)
        check("median share of tumours read as 0", np.median(read[:, 0]), 0.1, 0.6)
        check("P(a level is read in fewer than 1 % of tumours)", np.mean((read < 0.01).any(axis=1)), 0, 0.25)
        again = np.einsum("dt,dtu->d", true, p.reader**2)
        check("median P(two readers of a tumour disagree)", np.median(1.0 - again), 0.15, 0.5)
        right = p.reader[:, [0, 1, 2], [0, 1, 2]].min(axis=1)
        check("P(some level is read wrongly more often than rightly)", np.mean(right < 0.5), 0, 0.1)
    table = pd.DataFrame(rows, columns=["check", "value", "lower", "upper"])
    table["passed"] = table["value"].between(table["lower"], table["upper"])
    return table


def _prior_of(variable: Any) -> tuple[float, float]:
    """Mean and SD of a normal variable of the graph: all of the measurement model's are."""
    *_, mu, sigma = variable.owner.inputs
    return float(np.asarray(mu.eval()).ravel()[0]), float(np.asarray(sigma.eval()).ravel()[0])


# --- predictions -------------------------------------------------------------------------------


def measurement_posterior_predictive(
    graph: Any, posterior: xr.Dataset, data: AnalysisSet, seed: int, interval: float
) -> pd.DataFrame:
    """Replicate the indicators: correlations of measures, shares of levels, and measures by read level.

    Returns
    -------
    pandas.DataFrame
        ``cell_type`` (the measure, or 'IHC level'), ``cohort``, ``hr``, ``statistic``, ``observed``, ``predicted``,
        ``lower``, ``upper``, ``inside``. Measures by level are means in SDs, centred on the group's tumours with a
        level: a bell over the levels would show as a mean outside its interval at either end.
    """
    seen = indicators(data)
    p = parameters_of(posterior)
    rng = np.random.default_rng([seed, 4])
    observed = _statistics(seen, np.where(seen.recorded > 0, seen.values, np.nan), seen.level_idx)
    chosen = rng.choice(len(p.sd), size=min(REPLICATES, len(p.sd)), replace=False)
    replicated = []
    for i in chosen:
        _, values, level = simulate_indicators(draw_of(p, i), seen, rng)
        values = np.where(seen.recorded > 0, values, np.nan)
        replicated.append(_statistics(seen, values, np.where(seen.level_idx >= 0, level, -1)))
    tail = (1.0 - interval) / 2.0
    rows = []
    for key, value in observed.items():
        draws = np.array([one[key] for one in replicated])
        lower, middle, upper = np.nanquantile(draws, [tail, 0.5, 1.0 - tail])
        measure, group, statistic = key
        cohort, _, hr = group.rpartition(", ")
        rows.append(
            (measure, cohort, hr, statistic, value, middle, lower, upper, bool(lower <= value <= upper))
        )
    columns = ["cell_type", "cohort", "hr", "statistic", "observed", "predicted", "lower", "upper", "inside"]
    return pd.DataFrame(rows, columns=columns)


def _statistics(
    seen: Indicators, values: np.ndarray, level_idx: np.ndarray
) -> dict[tuple[str, str, str], float]:
    """Statistics of recorded or replicated indicators: (measure, group, statistic) -> value."""
    found: dict[tuple[str, str, str], float] = {}
    for g, group in enumerate(seen.groups):
        own = seen.group_idx == g
        for j, k in combinations(range(len(seen.measures)), 2):
            both = own & (seen.recorded[:, [j, k]] > 0).all(axis=1)
            if both.sum() > 10:
                r = float(np.corrcoef(values[both, j], values[both, k])[0, 1])
                found[(seen.measures[j], group, f"correlation with {seen.measures[k]}")] = r
        read = own & (seen.level_idx >= 0)
        if not read.any():
            continue
        for at, level in enumerate(IHC_LEVELS):
            share = float((level_idx[read] == at).mean())
            found[("IHC level", group, f"share read {level}")] = share
        for j, measure in enumerate(seen.measures):
            inside = read & (seen.recorded[:, j] > 0)
            centre = float(values[inside, j].mean()) if inside.any() else np.nan
            for at, level in enumerate(IHC_LEVELS):
                rows = inside & (level_idx == at)
                if (inside & (seen.level_idx == at)).sum() > 5:
                    mean = float(values[rows, j].mean()) - centre if rows.any() else np.nan
                    found[(measure, group, f"mean of those read {level}")] = mean
    return found


# --- what identifies the model -----------------------------------------------------------------


def identification(
    posterior: xr.Dataset, data: AnalysisSet, priors: Mapping[str, Prior], *, interval: float
) -> pd.DataFrame:
    """Each parameter's posterior beside its prior, on the scale that is sampled.

    Returns
    -------
    pandas.DataFrame
        ``parameter``, ``of`` (measure, group or ''), ``prior_lower``, ``prior_upper``, ``lower``, ``point``, ``upper``,
        ``sd_ratio`` (posterior SD over prior SD), ``reading``.
    """
    tail = (1.0 - interval) / 2.0
    rows = []
    for name, prior in priors.items():
        if name not in posterior:
            continue
        array = posterior[name]
        dims = [str(d) for d in array.dims if d not in ("chain", "draw")]
        flat = array.stack(row=dims, create_index=True) if dims else array.expand_dims(row=[""])
        for label in flat["row"].to_numpy():
            values = flat.sel(row=label).to_numpy().ravel()
            lower, point, upper = (float(q) for q in np.quantile(values, [tail, 0.5, 1.0 - tail]))
            ratio = float(values.std() / prior.frozen().std())
            said = "mostly the prior" if ratio >= MOSTLY_PRIOR else "informed by the data"
            of = ", ".join(map(str, label)) if isinstance(label, tuple) else str(label)
            rows.append((name, of, *prior.interval(interval), lower, point, upper, ratio, said))
    columns = ["parameter", "of", "prior_lower", "prior_upper", "lower", "point", "upper", "sd_ratio"]
    return pd.DataFrame(rows, columns=[*columns, "reading"])


def indicator_agreement(posterior: xr.Dataset, data: AnalysisSet) -> pd.DataFrame:
    """Whether each measure implies the same association of the latent with an immune cell type.

    If a measure's error has nothing to do with the abundance y given the latent, cov(x_j, y) = sd_j sqrt(r_j) cov(z, y)
    for every measure j. So cov(x_j, y) / (sd_j sqrt(r_j)) must be the same for all of them, y being the
    normal score of the abundance within its group. It is not where an error of one goes with the abundance (purity,
    one expression matrix for both): then the latent's slope has no single value.

    Parameters
    ----------
    posterior
        Draws; the reliabilities enter as their posterior means, whose own error is not counted.
    data
        Analysis set.

    Returns
    -------
    pandas.DataFrame
        One row per cell type and pair of measures: ``cell_type``, ``measure``, ``other``, ``implied`` and
        ``other_implied`` (correlation of the latent with y), ``difference``, ``standard_error`` (of the same
        tumours), ``z``.
    """
    seen = indicators(data)
    sd = posterior["sd"].mean(("chain", "draw")).sel(measure=list(seen.measures)).to_numpy()
    root = np.sqrt(
        posterior["reliability"].mean(("chain", "draw")).sel(measure=list(seen.measures)).to_numpy()
    )
    member = np.eye(len(seen.groups))[seen.group_idx]
    rows = []
    for cell_type in data.abundance.columns:
        y = np.zeros(len(seen.group_idx))
        abundance = data.abundance[cell_type].to_numpy(float)
        for g in range(len(seen.groups)):
            own = seen.group_idx == g
            score = norm.ppf(rankdata(abundance[own]) / (own.sum() + 1.0))
            spread = score.std()
            y[own] = (score - score.mean()) / spread if spread > 0 else 0.0
        implied, influence = [], []
        for j in range(len(seen.measures)):
            recorded = seen.recorded[:, j]
            counted = recorded[:, None] * member
            n = counted.sum(axis=0).clip(min=1.0)
            x = recorded * (seen.values[:, j] - member @ (counted.T @ seen.values[:, j] / n))
            centred = recorded * (y - member @ (counted.T @ y / n))
            product = x * centred / (sd[j] * root[j])
            mean = product.sum() / recorded.sum()
            implied.append(float(mean))
            influence.append((product - recorded * mean) / recorded.sum())
        for j, k in combinations(range(len(seen.measures)), 2):
            error = float(np.sqrt(((influence[j] - influence[k]) ** 2).sum()))
            difference = implied[j] - implied[k]
            rows.append(
                (
                    cell_type,
                    seen.measures[j],
                    seen.measures[k],
                    implied[j],
                    implied[k],
                    difference,
                    error,
                    difference / error if error > 0 else np.nan,
                )
            )
    columns = [
        "cell_type",
        "measure",
        "other",
        "implied",
        "other_implied",
        "difference",
        "standard_error",
        "z",
    ]
    return pd.DataFrame(rows, columns=columns)
