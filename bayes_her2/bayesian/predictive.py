"""Prior predictive gates before sampling, posterior predictive checks after it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr
from scipy.special import expit, ndtr

from bayes_her2.bayesian.amounts import GAMMA, AmountFamily
from bayes_her2.bayesian.priors import Prior
from bayes_her2.data import AnalysisSet, Part

type Gate = tuple[str, float, float, float]
"""Name of a check, its value, and the lower and upper limit that it has to keep."""

PRIOR_DRAWS = 1_000
PREDICTIVE_DRAWS = 200
MIN_POSITIVES = 5
"""Positives in a cohort's stratum under which their quantiles are not checked."""
CRITICAL_WORDS = (
    "one below 0.775 would by itself overturn the seed study's interaction of mast cells, one below 0.568 that of "
    "neutrophils too"
)
"""Prior SDs on a log ratio of odds ratios under which the prior alone overturns a published interaction."""


def hurdle_prior_predictive(graph: pm.Model, data: AnalysisSet, seed: int) -> pd.DataFrame:
    """Numeric gates on what the priors imply, drawn from the graph itself.

    Parameters
    ----------
    graph
        The model.
    data
        Its analysis set: zero shares and amounts that the prior must not rule out, nothing about HER2.
    seed
        Seed of the prior draws.

    Returns
    -------
    pandas.DataFrame
        ``check``, ``value``, ``lower``, ``upper`` (the gate), ``passed``.
    """
    terms = [
        f"{part}_{term}" for part in ("presence", "amount") for term in ("intercept", "slope", "interaction")
    ]
    drawn = prior_draws(graph, terms, seed)
    rows: list[Gate] = []
    counts = data.counts.groupby(["cell_type", "cohort"])[["n", "n_zero", "n_positive"]].sum()

    def by_cohort(name: str) -> xr.DataArray:
        return by_cohort_of(drawn, name, data)

    def has(name: str) -> bool:
        return name in drawn or f"{name}_by_cohort" in drawn

    if has("presence_intercept"):
        share = (counts["n_positive"] + 0.5) / (counts["n"] + 1)  # a share of 1 is no finite level
        implied = xr.apply_ufunc(expit, by_cohort("presence_intercept"))
        rows.append(
            (
                "shares of tumours with a cell type, by cohort: part within the prior's central 99 %",
                inside_prior(implied, "presence_cell_type", share),
                0.95,
                1.0,
            )
        )
        if has("presence_slope"):
            rows.append(beyond_fivefold("an odds ratio of presence", by_cohort("presence_slope")))
    long = data.abundance.melt(ignore_index=False, var_name="cell_type", value_name="abundance")
    long = long.assign(cohort=data.tumours["cohort"].loc[long.index])
    means = long[long["abundance"] > 0].groupby(["cell_type", "cohort"])["abundance"].mean()
    level = by_cohort("amount_intercept")
    rows.append(
        (
            "mean amounts where present, by cohort: part within the prior's central 99 %",
            inside_prior(xr.ufuncs.exp(level), "amount_cell_type", means),
            0.95,
            1.0,
        )
    )
    if data.scale == "relative":
        rows.append(("prior probability of a mean share above 1", float((level > 0).mean()), 0.0, 0.10))
    if has("amount_slope"):
        rows.append(beyond_fivefold("a ratio of mean amounts", by_cohort("amount_slope")))
    if "presence_interaction" in drawn:
        # For the reader, not a reason to refuse: a sceptic may well choose a tighter prior, and then sees it here.
        rows.append(
            (
                f"prior SD of the presence interaction (log ratio of odds ratios), for information: {CRITICAL_WORDS}",
                float(drawn["presence_interaction"].std()),
                0.0,
                2.0,
            )
        )
    return gate_table(rows)


def latent_prior_predictive(graph: pm.Model, data: AnalysisSet, seed: int) -> pd.DataFrame:
    """Numeric gates on the priors of a latent abundance in units of its residual SD.

    Parameters
    ----------
    graph, data, seed
        As in `hurdle_prior_predictive`.
    """
    drawn = prior_draws(graph, ["latent_intercept", "latent_slope"], seed)
    counts = data.counts.groupby(["cell_type", "cohort"])[["n", "n_positive"]].sum()
    share = (counts["n_positive"] + 0.5) / (counts["n"] + 1)  # a share of 1 is no finite level
    implied = xr.apply_ufunc(ndtr, by_cohort_of(drawn, "latent_intercept", data))
    slope = by_cohort_of(drawn, "latent_slope", data)
    return gate_table(
        [
            (
                "shares of tumours with a cell type, by cohort: part within the prior's central 99 %",
                inside_prior(implied, "latent_cell_type", share),
                0.95,
                1.0,
            ),
            (
                "prior probability of a shift beyond 1 residual SD per SD",
                float((np.abs(slope) > 1.0).mean()),
                0.001,
                0.10,
            ),
        ]
    )


def prior_draws(graph: pm.Model, coefficients: Sequence[str], seed: int) -> xr.Dataset:
    """Prior draws of coefficients, with their values by cohort where the graph has them."""
    names = {v.name for v in (*graph.free_RVs, *graph.deterministics)}
    wanted = [n for name in coefficients for n in (f"{name}_by_cohort", name) if n in names]
    return drawn_from_prior(graph, wanted, PRIOR_DRAWS, seed)


def drawn_from_prior(graph: pm.Model, names: Sequence[str], n: int, seed: int) -> xr.Dataset:
    """Prior draws of variables of a graph: dims chain (1) and draw (`n`)."""
    return quietly(
        lambda: pm.sample_prior_predictive(
            n,
            model=graph,
            var_names=names,
            random_seed=seed,
            # Run once: compiling for speed takes longer than drawing.
            compile_kwargs={"mode": "FAST_COMPILE"},
        )
    )["prior"].to_dataset()


def by_cohort_of(drawn: xr.Dataset, name: str, data: AnalysisSet) -> xr.DataArray:
    """Return a coefficient by cohort, repeated where it is common to them."""
    if f"{name}_by_cohort" in drawn:
        return drawn[f"{name}_by_cohort"]
    return drawn[name].expand_dims(cohort=list(data.cohorts))


def inside_prior(prior: xr.DataArray, cells: str, observed: pd.Series) -> float:
    """Share of observed values, by cell type and cohort, within the central 99 % of the prior.

    Parameters
    ----------
    prior
        Prior draws with the dims ``cohort`` and `cells`.
    cells
        Name of the dim with cell types.
    observed
        Index (cell type, cohort); those that the prior does not know are left out.
    """
    low, high = (prior.quantile(q, dim=("chain", "draw")) for q in (0.005, 0.995))
    hits = []
    labels = observed.index.to_frame().astype("str").itertuples(index=False, name=None)
    for (cell_type, cohort), value in zip(labels, observed, strict=True):
        if cell_type in prior[cells].to_numpy():
            where = {cells: cell_type, "cohort": cohort}
            hits.append(float(low.sel(where)) <= value <= float(high.sel(where)))
    return float(np.mean(hits))


def beyond_fivefold(what: str, slope: xr.DataArray) -> Gate:
    """Gate on the prior probability of a ratio per SD beyond 5-fold: neither excluded nor expected."""
    share = float((np.abs(slope) > np.log(5.0)).mean())
    return (f"prior probability of {what} per SD beyond 5-fold", share, 0.001, 0.10)


def gate_table(rows: Sequence[Gate]) -> pd.DataFrame:
    """Gates as a table: ``check``, ``value``, ``lower``, ``upper``, ``passed``."""
    table = pd.DataFrame(rows, columns=["check", "value", "lower", "upper"])
    table["passed"] = table["value"].between(table["lower"], table["upper"])
    return table


def prior_table(
    priors: Mapping[str, Prior],
    used: set[str],
    reader_scale: Callable[[str, Prior, float], str],
    interval: float = 0.95,
) -> pd.DataFrame:
    """Priors in use, on the reader's scale, each with its reason.

    Parameters
    ----------
    priors
        Of one model.
    used
        Names of the random variables of its graph.
    reader_scale
        The model's own words for what a prior means.
    interval
        Probability of the equal-tailed interval that the words give.

    Returns
    -------
    pandas.DataFrame
        ``part``, ``name``, ``distribution``, ``reader_scale``, ``why``, ``overridden``, ``in_model``.
    """
    rows = []
    for name, prior in priors.items():
        part = name.split("_", 1)[0]
        if name.startswith("log_shape"):
            part = "amount"
        present = name in used or (name == "log_shape_mean" and "log_shape" in used)
        rows.append(
            (
                part,
                name,
                str(prior),
                reader_scale(name, prior, interval),
                prior.why,
                prior.overridden,
                present,
            )
        )
    columns = ["part", "name", "distribution", "reader_scale", "why", "overridden", "in_model"]
    return pd.DataFrame(rows, columns=columns)


def hurdle_reader_scale(name: str, prior: Prior, interval: float, family: AmountFamily = GAMMA) -> str:
    """Say what a prior of the hurdle model means as odds ratios, ratios of means and shares."""
    low, high = prior.interval(interval)
    percent = f"{interval:.0%}"
    if name == "presence_intercept_mean":
        return f"{percent} of typical cell types present in {expit(low):.0%} to {expit(high):.0%} of tumours"
    if name == "amount_intercept_mean":
        return f"{percent} of typical amounts {np.exp(low):.3g} to {np.exp(high):.3g}"
    if name in ("presence_intercept", "presence_intercept_by_cohort"):
        return f"{percent} of cell types present in {expit(low):.0%} to {expit(high):.0%} of tumours"
    if name in ("amount_intercept", "amount_intercept_by_cohort"):
        return f"{percent} of mean amounts {np.exp(low):.3g} to {np.exp(high):.3g}"
    if name == "log_shape_mean":
        least, most = family.variation(np.exp(high)), family.variation(np.exp(low))
        return f"{percent}: coefficient of variation {least:.2g} to {most:.2g}"
    kind = "odds" if name.startswith("presence") else "ratio"
    if name.endswith("_sd"):
        if name.startswith("log_shape"):
            return f"{percent}: shapes differ by {np.exp(low):.2g} to {np.exp(high):.2g}-fold (1 SD)"
        return f"{percent}: 1 SD multiplies the {kind} by {np.exp(low):.2g} to {np.exp(high):.2g}"
    what = "odds ratio" if name.startswith("presence") else "ratio"
    return f"{percent}: {what} {np.exp(low):.2g} to {np.exp(high):.2g}"


def hurdle_posterior_predictive(
    graph: pm.Model, posterior: xr.Dataset, data: AnalysisSet, seed: int, interval: float = 0.95
) -> pd.DataFrame:
    """Replicated zero shares and quantiles of positives, by cell type, cohort and HR stratum.

    Parameters
    ----------
    graph, posterior, data
        Model, its draws, its analysis set.
    seed
        Seed of the replications.
    interval
        Probability of the equal-tailed predictive interval.

    Returns
    -------
    pandas.DataFrame
        ``cell_type``, ``cohort``, ``hr``, ``statistic`` (zero share, median and 90 % quantile of
        positives), ``observed``, ``predicted`` (median over replications), ``lower``, ``upper``, ``inside``.
    """
    nodes = [v.name for v in graph.observed_RVs]
    drawn = _replicated(graph, posterior, nodes, seed)

    def replications(node: str, cell_type: str, tumours: list[str]) -> np.ndarray:
        array = drawn[node].stack(sample=("chain", "draw"))
        own = next(str(d) for d in array.dims if str(d).endswith("_cell_type"))
        return np.asarray(
            array.sel({own: cell_type, "tumour": tumours}).transpose("sample", "tumour").to_numpy()
        )

    rows: list[tuple[object, ...]] = []
    for key, tumours, seen, part in _groups(data):
        if "present" in nodes and part.presence_modelled:
            rows.append(_zero_share(key, seen, replications("present", key[0], tumours), interval))
        if part.amount_modelled and (seen > 0).sum() >= MIN_POSITIVES:
            # Amounts are compared among the tumours that do have the cell type: presence is checked above.
            where = replications("amount", key[0], tumours)[:, seen > 0]
            rows += _of_positives(key, seen, where, interval)
    return predictive_table(rows)


def _groups(data: AnalysisSet) -> Iterator[tuple[tuple[str, str, str], list[str], np.ndarray, Part]]:
    """Each cell type in each cohort and HR stratum: these names, tumours, their abundances, what is modelled."""
    keys = data.tumours[["cohort", "hr"]].drop_duplicates().sort_values(["cohort", "hr"]).astype("str")
    for cohort, hr in keys.itertuples(index=False, name=None):
        index = data.tumours.index[(data.tumours["cohort"] == cohort) & (data.tumours["hr"] == hr)]
        for cell_type in map(str, data.abundance.columns):
            seen = data.abundance.loc[index, cell_type].to_numpy(float)
            yield (cell_type, cohort, hr), list(index), seen, data.part(cell_type, hr)


def _zero_share(
    key: tuple[str, str, str], seen: np.ndarray, replications: np.ndarray, interval: float
) -> tuple[object, ...]:
    share = (replications == 0).mean(axis=1)
    return predictive_row(*key, "zero share", float((seen == 0).mean()), share, interval)


def _of_positives(
    key: tuple[str, str, str], seen: np.ndarray, replications: np.ndarray, interval: float
) -> list[tuple[object, ...]]:
    """Rows of the quantiles of positives; a replication's own zeros are left out of it."""
    positive = np.where(replications > 0, replications, np.nan)
    positive = positive[np.isfinite(positive).any(axis=1)]
    return [
        predictive_row(
            *key, name, float(np.quantile(seen[seen > 0], q)), np.nanquantile(positive, q, axis=1), interval
        )
        for name, q in (("median of positives", 0.5), ("90 % quantile of positives", 0.9))
    ]


def replicated_abundances(replicates: xr.DataArray, data: AnalysisSet, interval: float) -> pd.DataFrame:
    """Zero shares and quantiles of positives beside their replications, as `hurdle_posterior_predictive` has them.

    Parameters
    ----------
    replicates
        Abundances with the dims chain, draw, tumour and cell_type; NaN where not modelled.
    data, interval
        Analysis set, and probability of the equal-tailed predictive interval.
    """
    drawn = replicates.stack(sample=("chain", "draw"), create_index=False).transpose("sample", ...)
    rows: list[tuple[object, ...]] = []
    for key, tumours, seen, part in _groups(data):
        new = drawn.sel(tumour=tumours, cell_type=key[0]).to_numpy()
        if not np.isfinite(new).all():
            continue
        if part.presence_modelled:
            rows.append(_zero_share(key, seen, new, interval))
        if (seen > 0).sum() >= MIN_POSITIVES:
            rows += _of_positives(key, seen, new, interval)
    return predictive_table(rows)


def _replicated(graph: pm.Model, posterior: xr.Dataset, nodes: list[str], seed: int) -> xr.Dataset:
    """Replications of the data, one for each of about `PREDICTIVE_DRAWS` draws."""
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    thinned = posterior.isel(draw=slice(None, None, max(1, total // PREDICTIVE_DRAWS)))
    tree = xr.DataTree.from_dict({"posterior": thinned})
    return quietly(
        lambda: pm.sample_posterior_predictive(
            tree, model=graph, var_names=nodes, random_seed=seed, progressbar=False
        )
    )["posterior_predictive"].to_dataset()


def replicated(graph: pm.Model, posterior: xr.Dataset, node: str, seed: int) -> xr.DataArray:
    """Replications of one observed node, with the dim ``sample`` first."""
    drawn = _replicated(graph, posterior, [node], seed)[node]
    return drawn.stack(sample=("chain", "draw"), create_index=False).transpose("sample", ...)


def predictive_row(
    cell_type: str, cohort: str, hr: str, statistic: str, observed: float, values: np.ndarray, interval: float
) -> tuple[object, ...]:
    """One row of `predictive_table`: a statistic of the data beside its replications."""
    return (cell_type, cohort, hr, statistic, observed, *_spread(values, (1 - interval) / 2))


def predictive_table(rows: Sequence[tuple[object, ...]]) -> pd.DataFrame:
    """Observed statistics beside their replications, with whether each lies inside the interval."""
    columns = ["cell_type", "cohort", "hr", "statistic", "observed", "predicted", "lower", "upper"]
    table = pd.DataFrame(rows, columns=columns)
    table["inside"] = table["observed"].between(table["lower"], table["upper"])
    return table


def _spread(values: np.ndarray, tail: float) -> tuple[float, float, float]:
    low, middle, high = np.quantile(values, [tail, 0.5, 1 - tail])
    return float(middle), float(low), float(high)


def quietly(draw: Callable[[], xr.DataTree]) -> xr.DataTree:
    """Run a PyMC sampling function without its log lines and its remark on interpreted random nodes."""
    logger = logging.getLogger("pymc")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Numba will use object mode", category=UserWarning)
            return draw()
    finally:
        logger.setLevel(level)
