"""Each tumour without itself: whether its forecast was calibrated, and what the results would be without it.

Draws of the posterior are weighted by Pareto smoothed importance weights that leave one tumour out, with all its cell
types; nothing is fitted again. Two questions are asked of the weights.

- Where does what was seen lie in its forecast (LOO-PIT, ArviZ's)? Zeros are a point mass of a forecast, so that the
  probability integral transform is spread over it, with a seed. If forecasts are calibrated, the values of a group of
  tumours are uniform; they are held to Kolmogorov's distance, which needs no simulation and is a little conservative
  here, because one posterior serves all tumours.
- How far would a result move, in posterior SDs, and would its interval exclude the null, or no longer? (ArviZ's
  ``loo_influence`` is the absolute shift, one variable at a time and without its side; a test holds this one to it.)
  Removing the tumour itself can change more than its weights show where Pareto k is above 0.7.

References
----------
Vehtari, Gelman & Gabry (2017), Statistics and Computing 27, 1413-1432, doi 10.1007/s11222-016-9696-4. Czado, Gneiting &
Held (2009), Biometrics 65, 1254-1261, doi 10.1111/j.1541-0420.2009.01191.x (PIT of data with point masses).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.base.dataarray import dataarray_stats
from scipy.special import logsumexp
from scipy.stats import kstest, kstwo
from statsmodels.stats.multitest import multipletests

from bayes_her2.bayesian.summary import pooled_draws
from bayes_her2.comparison.models import leave_one_out
from bayes_her2.data import AnalysisSet
from bayes_her2.estimates import ALL, kind_of, null_value

MIN_TUMOURS = 5
"""Tumours of a group under which the distribution of their transforms is not looked at."""
_AT = np.arange(1, 40) / 40


@dataclass(frozen=True)
class Weights:
    """Importance weights that leave one tumour out.

    Attributes
    ----------
    log
        Dims chain, draw, tumour: logarithms of weights that sum to 1 for each tumour.
    pareto_k
        By tumour: their reliability.
    elpd
        By tumour: log predictive density of the tumour without itself.
    """

    log: xr.DataArray
    pareto_k: pd.Series[float]
    elpd: pd.Series[float]

    @property
    def values(self) -> xr.DataArray:
        """The weights."""
        shares: xr.DataArray = xr.ufuncs.exp(self.log)
        return shares


def weights_of(log_likelihood: xr.DataArray) -> Weights:
    """Pareto smoothed importance weights of each tumour.

    Parameters
    ----------
    log_likelihood
        Dims chain, draw, tumour.
    """
    ordered = log_likelihood.transpose("chain", "draw", "tumour")
    loo = leave_one_out(ordered)
    raw = loo.log_weights.transpose("chain", "draw", "tumour").to_numpy()
    labels = pd.Index([str(t) for t in ordered["tumour"].to_numpy()], name="tumour")
    return Weights(
        ordered.copy(data=raw - logsumexp(raw, axis=(0, 1))),
        pd.Series(loo.pareto_k.sel(tumour=labels).to_numpy(), index=labels, name="pareto_k"),
        pd.Series(loo.elpd_i.sel(tumour=labels).to_numpy(), index=labels, name="elpd"),
    )


def transforms(
    replicates: xr.DataArray, weights: Weights | None, abundance: pd.DataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    """Probability integral transform of each abundance in its forecast.

    Parameters
    ----------
    replicates
        Posterior predictive abundances: dims chain, draw, tumour, cell_type; NaN where not modelled.
    weights
        Of the same draws: forecasts without the tumour. None: forecasts with it.
    abundance
        Tumour x cell type, as observed.
    rng
        Spreads a value over the mass of its zeros.

    Returns
    -------
    pandas.DataFrame
        Tumour x cell type, 0 to 1; NaN where not modelled.

    Raises
    ------
    ValueError
        Weights of other draws or tumours than the replicates.
    """
    log = xr.zeros_like(replicates.isel(cell_type=0, drop=True)) if weights is None else weights.log
    k = xr.DataArray(np.nan)  # not used where weights are given
    found = {}
    for name in map(str, abundance.columns):
        drawn = replicates.sel(cell_type=name, drop=True)
        seen = xr.DataArray(abundance[name].astype(float).rename_axis("tumour")).sel(tumour=drawn["tumour"])
        pit, _ = dataarray_stats.loo_pit(  # type: ignore[no-untyped-call]
            drawn, y_obs=seen, log_weights=log, pareto_k=k, random_state=rng
        )
        known = pit.where(drawn.notnull().all(("chain", "draw")))
        found[name] = known.to_series()
    return pd.DataFrame(found).loc[list(abundance.index)]


def uniformity_of_transforms(pit: pd.DataFrame, data: AnalysisSet) -> pd.DataFrame:
    """Whether forecasts of each cell type are calibrated, by cohort and hormone receptor stratum.

    Parameters
    ----------
    pit
        From `transforms`.
    data
        Cohort and stratum of each tumour.

    Returns
    -------
    pandas.DataFrame
        ``cell_type``, ``cohort`` and ``hr`` (``all`` for all), ``n``, ``mean`` (0.5 if calibrated), ``central_half``
        (share in the central half of the forecasts; below 0.5 if these are too narrow), ``distance`` (Kolmogorov's),
        ``limit`` (that uniform values exceed in 1 of 20 groups), ``p``, ``p_holm`` (over the rows of the same detail:
        all tumours, and single cohorts and strata). Groups of fewer than 5 tumours are left out.
    """
    rows = []
    for name, (cohort, hr), own in _by_group(pit, data):
        n = len(own)
        test = kstest(own, "uniform")
        central = float(((own > 0.25) & (own < 0.75)).mean())
        limit = float(kstwo.isf(0.05, n))
        rows.append((name, cohort, hr, n, own.mean(), central, test.statistic, limit, test.pvalue))
    columns = ["cell_type", "cohort", "hr", "n", "mean", "central_half", "distance", "limit", "p"]
    table = pd.DataFrame(rows, columns=columns).assign(p_holm=np.nan)
    whole = ((table["cohort"] == ALL) & (table["hr"] == ALL)).to_numpy()
    for detail in (whole, ~whole):
        if detail.any():
            table.loc[detail, "p_holm"] = multipletests(
                table.loc[detail, "p"].to_numpy(float), method="holm"
            )[1]
    return table


def ecdf_of_transforms(pit: pd.DataFrame, data: AnalysisSet) -> pd.DataFrame:
    """Empirical distribution of the transforms of each cell type, by hormone receptor stratum.

    Parameters
    ----------
    pit, data
        As in `uniformity_of_transforms`.

    Returns
    -------
    pandas.DataFrame
        ``cell_type``, ``hr``, ``n``, ``at``, ``below`` (share of values no larger), ``limit`` (Kolmogorov's: calibrated
        forecasts of a cell type and stratum stay within it, everywhere, with a probability of 95 %).
    """
    tables = []
    for name, (cohort, hr), own in _by_group(pit, data):
        if cohort == ALL and hr != ALL:
            below = np.searchsorted(np.sort(own), _AT, side="right") / len(own)
            tables.append(
                pd.DataFrame({"at": _AT, "below": below}).assign(
                    cell_type=name, hr=hr, n=len(own), limit=float(kstwo.isf(0.05, len(own)))
                )
            )
    columns = ["cell_type", "hr", "n", "at", "below", "limit"]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def _by_group(pit: pd.DataFrame, data: AnalysisSet) -> Iterator[tuple[str, tuple[str, str], np.ndarray]]:
    """Values of each cell type in all tumours, in each stratum, and in each cohort's strata."""
    cohort = data.tumours["cohort"].loc[pit.index].to_numpy(str)
    hr = data.tumours["hr"].loc[pit.index].to_numpy(str)
    groups = [
        (ALL, ALL),
        *((ALL, s) for s in data.strata),
        *((c, s) for c in data.cohorts for s in data.strata),
    ]
    for name in map(str, pit.columns):
        values = pit[name].to_numpy(float)
        for group in groups:
            inside = np.isfinite(values)
            for wanted, has in zip(group, (cohort, hr), strict=True):
                inside &= (has == wanted) if wanted != ALL else True
            if inside.sum() >= MIN_TUMOURS:
                yield name, group, values[inside]


@dataclass(frozen=True)
class Influence:
    """What single tumours do to the results.

    Attributes
    ----------
    results
        One row per pooled result: see `influence`.
    tumours
        One row per tumour: see `influence`.
    """

    results: pd.DataFrame
    tumours: pd.DataFrame


def influence(
    draws: Mapping[tuple[str, str], xr.DataArray], weights: Weights, data: AnalysisSet, *, interval: float
) -> Influence:
    """How far each pooled result moves when one tumour is left out, and whether it says something else then.

    Parameters
    ----------
    draws
        (estimand, scope) -> draws; those of the scope ``pooled`` with the dims cell_type and stratum are taken, at the
        draws of the weights.
    weights
        From `weights_of`, with the coordinates ``chain`` and ``draw``.
    data
        Analysis set.
    interval
        Probability of the equal-tailed intervals.

    Returns
    -------
    Influence
        ``results``: ``estimand``, ``cell_type``, ``stratum``; ``point``, ``lower``, ``upper``, ``excludes_null`` with
        all tumours; ``n_decisive`` (tumours whose omission alone changes whether, or on which side, the interval
        excludes the null); ``tumour`` that moves the result most, among the decisive ones if there are any, by
        ``shift`` posterior SDs; and ``point_without``, ``lower_without``, ``upper_without``,
        ``excludes_null_without`` it, and its ``pareto_k``. Points and limits are ratios where the estimand is one.
        ``tumours``: ``tumour``, ``cohort``, ``hr``, ``her2_sd``, ``pareto_k``, ``elpd``, ``largest_shift`` and in which
        ``estimand``, ``cell_type``, ``stratum``; ``n_decisive`` (results it is decisive for), by decreasing
        |largest_shift|.

    Raises
    ------
    ValueError
        Weights that do not say of which draws they are.
    """
    if "draw" not in weights.log.coords:
        raise ValueError("the weights have no coordinate 'draw'")
    tumours = [str(t) for t in weights.log["tumour"].to_numpy()]
    w = weights.values.transpose("chain", "draw", "tumour").to_numpy().reshape(-1, len(tumours))
    labels, columns = pooled_draws(draws, weights.log["draw"].to_numpy())
    values = columns.reshape(-1, len(labels)) if labels else np.zeros((len(w), 0))
    nulls = [0.0 if kind_of(estimand) == "ratio" else null_value(estimand) for estimand, _, _ in labels]
    centre, sd = values.mean(axis=0), values.std(axis=0)
    shift = (w.T @ values - centre) / np.where(sd > 0, sd, np.inf)  # tumour x result
    above, tail = values > np.array(nulls), (1.0 - interval) / 2.0

    def sides(p: np.ndarray) -> np.ndarray:
        return np.where(p > 1.0 - tail, 1, np.where(p < tail, -1, 0))

    side, side_without = sides(above.mean(axis=0)), sides(w.T @ above)
    changed = side_without != side
    rows = []
    for j, label in enumerate(labels):
        decisive = np.flatnonzero(changed[:, j])
        among = decisive if len(decisive) else np.arange(len(tumours))
        i = int(among[np.abs(shift[among, j]).argmax()])
        at = (0.5, tail, 1.0 - tail)
        own = np.quantile(values[:, j], at)
        without = np.quantile(values[:, j], at, weights=w[:, i], method="inverted_cdf")
        if kind_of(label[0]) == "ratio":
            own, without = np.exp(own), np.exp(without)
        rows.append(
            dict(zip(("estimand", "cell_type", "stratum"), label, strict=True))
            | dict(zip(("point", "lower", "upper"), own, strict=True))
            | {"excludes_null": bool(side[j]), "tumour": tumours[i], "shift": float(shift[i, j])}
            | dict(zip(("point_without", "lower_without", "upper_without"), without, strict=True))
            | {
                "excludes_null_without": bool(side_without[i, j]),
                "pareto_k": float(weights.pareto_k[tumours[i]]),
                "n_decisive": len(decisive),
            }
        )
    results = pd.DataFrame(rows, columns=_RESULT_COLUMNS)
    return Influence(results, _by_tumour(shift, changed, labels, weights, data))


_RESULT_COLUMNS = [
    *("estimand", "cell_type", "stratum", "point", "lower", "upper", "excludes_null", "tumour", "shift"),
    *("point_without", "lower_without", "upper_without", "excludes_null_without", "pareto_k", "n_decisive"),
]


def _by_tumour(
    shift: np.ndarray,
    changed: np.ndarray,
    labels: list[tuple[str, str, str]],
    weights: Weights,
    data: AnalysisSet,
) -> pd.DataFrame:
    names = [str(t) for t in weights.log["tumour"].to_numpy()]  # rows of `shift` and `changed`
    about = data.tumours.loc[names]
    where = np.abs(shift).argmax(axis=1) if labels else np.zeros(len(names), dtype=int)
    found = [labels[j] if labels else ("", "", "") for j in where]
    table = pd.DataFrame(
        {
            "tumour": names,
            "cohort": about["cohort"].to_numpy(str),
            "hr": about["hr"].to_numpy(str),
            "her2_sd": about["her2_sd"].to_numpy(float),
            "pareto_k": weights.pareto_k.loc[names].to_numpy(),
            "elpd": weights.elpd.loc[names].to_numpy(),
            "largest_shift": shift[np.arange(len(names)), where] if labels else np.nan,
            "estimand": [label[0] for label in found],
            "cell_type": [label[1] for label in found],
            "stratum": [label[2] for label in found],
            "n_decisive": changed.sum(axis=1) if labels else 0,
        }
    )
    return table.sort_values("largest_shift", key=np.abs, ascending=False, kind="stable", ignore_index=True)
