"""Models of the same tumours compared by how well each predicts a tumour that it has not seen.

The unit is the tumour: its log likelihood is summed over cell types and parts, and leave-one-out cross-validation
leaves out all of it. Only densities of the same outcome with respect to the same measure can be compared; what cannot
is refused, with the reason.

References
----------
Vehtari, Gelman & Gabry (2017), Practical Bayesian model evaluation using leave-one-out cross-validation and WAIC,
doi 10.1007/s11222-016-9696-4. Yao, Vehtari, Simpson & Gelman (2018), Using stacking to average Bayesian predictive
distributions, doi 10.1214/17-BA1091. Vehtari, Simpson, Gelman, Yao & Gabry (2024), Pareto smoothed importance
sampling, arXiv 1507.02646.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr

from bayes_her2.errors import DataError, Faults
from bayes_her2.estimates import null_value

MIN_DIFFERENCE = 4.0
"""Difference in elpd under which two models predict alike, and its standard error is not to be trusted
(Sivula, Magnusson, Matamoros & Vehtari 2020, arXiv 2008.10296)."""


@dataclass(frozen=True)
class Candidate:
    """A fitted model to be compared.

    Attributes
    ----------
    model
        Its name.
    fingerprint
        Of the analysis set that it was fitted to.
    outcome
        What its density is a density of, in the units of the data.
    measure
        The measure that the density is taken with respect to.
    log_likelihood
        Dims chain, draw, tumour: summed over everything that belongs to a tumour.
    """

    model: str
    fingerprint: str
    outcome: str
    measure: str
    log_likelihood: xr.DataArray


@dataclass(frozen=True)
class ModelComparison:
    """What leave-one-out cross-validation says of several models.

    Attributes
    ----------
    table
        One row per model, the best first: ``model``, ``elpd``, ``se``, ``p_loo``, ``difference`` (to the best, 0 or
        negative), ``difference_se``, ``weight`` (stacking), ``k_max``, ``n_k_high``, ``k_limit``, ``n_tumours``,
        ``reading``.
    pointwise
        Tumour x model: elpd of each tumour, and its Pareto k as ``k: MODEL``.
    """

    table: pd.DataFrame
    pointwise: pd.DataFrame


def check_comparable(candidates: Sequence[Candidate]) -> None:
    """Refuse a comparison that would not be one.

    Raises
    ------
    DataError
        Fewer than two models, a model twice, or models of different tumours, outcomes or measures; all faults at once.
    """
    names = [c.model for c in candidates]
    if len(names) < 2:
        raise DataError(f"A comparison needs at least two models; got {', '.join(names) or 'none'}.")
    faults, first = Faults(), candidates[0]
    for name in sorted({n for n in names if names.count(n) > 1}):
        faults.add(name, "named more than once. Name each model once.")
    for other in candidates[1:]:
        both = f"{first.model} and {other.model}"
        if other.outcome != first.outcome:
            faults.add(
                both,
                f"are densities of different outcomes ({first.outcome}; {other.outcome}), and a density changes with "
                "the outcome it is of. Compare their predictions on the scale of the data instead.",
            )
        elif other.measure != first.measure:
            faults.add(
                both,
                f"are densities with respect to different measures ({first.measure}; {other.measure}): their "
                "difference has no meaning. Compare their predictions on the scale of the data instead.",
            )
        mine, its = (set(map(str, c.log_likelihood["tumour"].to_numpy())) for c in (first, other))
        if mine != its:
            faults.add(
                both,
                f"have different tumours ({len(mine)} and {len(its)}, {len(mine & its)} in both). Fit both to the "
                "same analysis set.",
            )
        elif other.fingerprint != first.fingerprint:
            faults.add(
                both,
                "have the same tumours with different values (another HER2 measure, abundance, covariate or rule). "
                "Fit both to the same analysis set.",
            )
    faults.raise_if_any()


def compare_models(candidates: Sequence[Candidate]) -> ModelComparison:
    """Leave-one-tumour-out cross-validation by Pareto smoothed importance sampling, and stacking weights.

    Parameters
    ----------
    candidates
        At least two, of the same tumours, outcome and measure.

    Raises
    ------
    DataError
        See `check_comparable`.
    """
    check_comparable(candidates)
    tumours = list(candidates[0].log_likelihood["tumour"].to_numpy())
    loos = {c.model: leave_one_out(c.log_likelihood.sel(tumour=tumours)) for c in candidates}
    pointwise = pd.DataFrame(
        {name: np.asarray(loo.elpd_i).ravel() for name, loo in loos.items()},
        index=pd.Index(tumours, name="tumour"),
    )
    table = _ranked(pointwise)
    k = pd.DataFrame(
        {name: np.asarray(loo.pareto_k).ravel() for name, loo in loos.items()}, index=pointwise.index
    )
    limit = pd.Series({name: float(loo.good_k) for name, loo in loos.items()})
    models = list(table["model"])
    table.insert(3, "p_loo", [float(loos[name].p) for name in models])
    table["k_max"] = k.max().loc[models].to_numpy()
    table["n_k_high"] = (k > limit).sum().loc[models].to_numpy()
    table["k_limit"] = limit.loc[models].to_numpy()
    table["n_tumours"] = len(tumours)
    table["reading"] = [_reading(row, models[0]) for _, row in table.iterrows()]
    return ModelComparison(table, pointwise.join(k.add_prefix("k: ")))


def compare_refits(elpd: pd.DataFrame) -> pd.DataFrame:
    """Compare models by the tumours that a refit had not seen: K-fold or leave-one-cohort-out.

    Parameters
    ----------
    elpd
        Tumour x model: log predictive density of each tumour under the fit without it.

    Returns
    -------
    pandas.DataFrame
        One row per model, the best first: ``model``, ``elpd``, ``se``, ``difference``, ``difference_se``, ``weight``
        (stacking), ``n_tumours``, ``reading``.
    """
    table = _ranked(elpd)
    table["n_tumours"] = len(elpd)
    best = str(table["model"].iloc[0])  # by position: the first is the best
    table["reading"] = [_reading(row, best) for _, row in table.iterrows()]
    return table


def _ranked(pointwise: pd.DataFrame) -> pd.DataFrame:
    """Sum over tumours: the best first, differences to it, and stacking weights."""
    ranked = list(pointwise.sum().sort_values(ascending=False).index)
    weights = _stacking_weights(pointwise)
    rows, n = [], len(pointwise)
    for name in ranked:
        gap = pointwise[name] - pointwise[ranked[0]]
        rows.append(
            {
                "model": name,
                "elpd": float(pointwise[name].sum()),
                "se": float(np.sqrt(n) * pointwise[name].std(ddof=0)),
                "difference": float(gap.sum()),
                "difference_se": float(np.sqrt(n) * gap.std(ddof=0)),
                "weight": weights[name],
            }
        )
    return pd.DataFrame(rows)


def stratified_folds(tumours: pd.DataFrame, n_folds: int, rng: np.random.Generator) -> pd.Series[int]:
    """Deal tumours to folds at random, within cohort and HR stratum, so that each fold has the mix of the whole.

    Parameters
    ----------
    tumours
        With the columns ``cohort`` and ``hr``; the order of rows does not matter.
    n_folds
        At least 2, at most the number of tumours.
    rng
        Source of randomness.

    Returns
    -------
    pandas.Series
        Index the tumours; fold 0 to n_folds - 1. Folds differ in size by one tumour at most.
    """
    if not 2 <= n_folds <= len(tumours):
        raise DataError(f"{n_folds} folds of {len(tumours)} tumours: give a number from 2 to {len(tumours)}.")
    order: list[str] = []
    for _, own in sorted(tumours.groupby(["cohort", "hr"]), key=lambda item: str(item[0])):
        labels = sorted(map(str, own.index))
        order += [labels[i] for i in rng.permutation(len(labels))]
    # Dealt one after the other over all groups: neither a group nor the whole is uneven by more than one.
    fold = pd.Series(np.arange(len(order)) % n_folds, index=order, name="fold")
    return fold.loc[list(map(str, tumours.index))]


def leave_one_out(log_likelihood: xr.DataArray) -> az.ELPDData:
    """PSIS-LOO of one model by tumour; the relative efficiency is that of the tumours' likelihoods."""
    values = log_likelihood.transpose("chain", "draw", "tumour").reset_coords(drop=True)
    likelihood = np.exp(values - values.max(("chain", "draw")))
    n_draws = values.sizes["chain"] * values.sizes["draw"]
    efficiency = az.ess(xr.Dataset({"x": likelihood}), method="mean")["x"] / n_draws
    tree = xr.DataTree.from_dict({"log_likelihood": xr.Dataset({"tumours": values})})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)
        return az.loo(tree, pointwise=True, reff=min(1.0, float(np.nanmean(efficiency))))


def _stacking_weights(pointwise: pd.DataFrame) -> dict[str, float]:
    """Weights of the mixture of predictive distributions that predicts best."""
    # ArviZ takes exponents, and a tumour of 22 cell types may have a log density below -745. The weights are the same
    # when a number is taken from all models' log densities of a tumour.
    shifted = pointwise.sub(pointwise.max(axis=1), axis=0)
    own = {
        str(name): az.ELPDData(
            elpd=float(column.sum()),
            se=float(np.sqrt(len(column)) * column.std(ddof=0)),
            p=0.0,
            n_samples=len(column),
            n_data_points=len(column),
            scale="log",
            warning=False,
            good_k=0.7,
            elpd_i=xr.DataArray(column.to_numpy(), dims="tumour"),
            pareto_k=xr.DataArray(np.zeros(len(column)), dims="tumour"),
        )
        for name, column in shifted.items()
    }
    compared = az.compare(own, method="stacking", round_to="none")
    return {name: float(compared.loc[name, "weight"]) for name in own}


def _reading(row: pd.Series, best: str) -> str:
    """Say in words what a row says."""
    if row["model"] == best:
        words = "predicts best"
    elif abs(row["difference"]) < MIN_DIFFERENCE:
        words = f"predicts as well as {best} (difference under {MIN_DIFFERENCE:g})"
    elif abs(row["difference"]) < 2 * row["difference_se"]:
        words = f"not told from {best} (difference within 2 standard errors)"
    else:
        words = f"predicts less well than {best}"
    if row.get("n_k_high", 0):
        words += (
            f"; {row['n_k_high']} of {row['n_tumours']} tumours have a Pareto k above {row['k_limit']:.2f}"
        )
    return words


def conclusions(estimates: pd.DataFrame, main: str) -> pd.DataFrame:
    """Set rows of the models side by side, and find those whose conclusion depends on the model.

    Parameters
    ----------
    estimates
        Posterior rows of all models, as in `Estimates.table`, with ``model`` the model's name.
    main
        The model that the others are alternatives to.

    Returns
    -------
    pandas.DataFrame
        One row per estimate of another model beside the main model's: ``model``, ``estimand``, ``outcome``,
        ``stratum``, ``scope``, ``cohort``, ``main_point``, ``main_lower``, ``main_upper``, ``point``, ``lower``,
        ``upper``, ``main_says`` and ``says`` (``above``, ``below`` or ``open``: the side of the null on which the
        whole interval lies), ``changed``.
    """
    key = ["estimand", "outcome", "stratum", "scope", "cohort"]
    rows = estimates[(estimates["status"] == "observed") & estimates["point"].notna()].copy()
    null = rows["estimand"].map(null_value)
    rows["says"] = np.select([rows["lower"] > null, rows["upper"] < null], ["above", "below"], "open")
    rows["cohort"] = rows["cohort"].fillna("")
    columns = [*key, "point", "lower", "upper", "says"]
    own = rows.loc[rows["model"] == main, columns]
    others = rows.loc[rows["model"] != main, ["model", *columns]]
    own = own.rename(columns={c: f"main_{c}" for c in ("point", "lower", "upper", "says")})
    joined = others.merge(own, on=key, how="inner", validate="many_to_one")
    joined["changed"] = joined["says"] != joined["main_says"]
    return joined[
        [
            "model",
            *key,
            *(f"main_{c}" for c in ("point", "lower", "upper")),
            "point",
            "lower",
            "upper",
            "main_says",
            "says",
            "changed",
        ]
    ]
