"""Marginal slopes and means of the analysis of covariance, from draws of its coefficients."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from bayes_her2.bayesian.ancova import WEIGHTINGS, Ancova, ancova, hr_statuses
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.summary import Standing
from bayes_her2.data import DIFFERENCE_MINUS, HR_NEGATIVE, HR_POSITIVE, MIN_STRATUM, AnalysisSet
from bayes_her2.estimates import ALL

CURVE_AT = tuple(float(h) for h in np.arange(-2.0, 2.01, 0.5))
"""HER2 values, in SDs, at which marginal means are given."""

_IHC_TERMS = ("ihc", "her2_x_ihc", "hr_x_ihc")


def coefficients(posterior: xr.Dataset, design: Ancova, slope: str) -> xr.DataArray:
    """Coefficients of all columns, chain x draw x column x cell type.

    Parameters
    ----------
    posterior
        Draws.
    design
        As the model was built.
    slope
        ``cohort``: each cohort's own HER2 slope. ``pooled``: the cell type's typical slope for all of them.
    """
    several = design.shape.several_cohorts
    blocks = []
    for term, width in design.terms.items():
        if term == "intercept":
            block = posterior["intercept_by_cohort" if several else "intercept"]
        elif term == "centre":
            block = posterior["centre_shift"]
        elif term == "slope":
            block = posterior["slope_by_cohort" if several and slope == "cohort" else "slope"]
        elif term in _IHC_TERMS and design.monotonic:
            block = posterior[term] * posterior[f"{term}_step_shares"]
        else:
            block = posterior[term]
        rows = [str(d) for d in block.dims if d not in ("chain", "draw", "cell_type")]
        if rows:
            values = block.transpose("chain", "draw", rows[0], "cell_type").to_numpy()
        else:  # one row, or the same for all columns of the term
            values = block.transpose("chain", "draw", "cell_type").to_numpy()[:, :, None, :]
            values = np.broadcast_to(values, (*values.shape[:2], width, values.shape[-1]))
        blocks.append(values)
    return xr.DataArray(
        np.concatenate(blocks, axis=2),
        dims=("chain", "draw", "column", "cell_type"),
        coords={"chain": posterior["chain"], "draw": posterior["draw"], "cell_type": list(design.cell_types)},
    )


def marginal_draws(
    posterior: xr.Dataset, data: AnalysisSet, priors: Mapping[str, Prior], rng: np.random.Generator
) -> dict[tuple[str, str], xr.DataArray]:
    """Draws of marginal slopes and means in units of the outcome.

    Returns
    -------
    dict
        ``marginal_slope`` in the scopes pooled, cohort and new cohort, with the dims chain, draw, weighting, stratum,
        cell_type (all that the data have; NaN where not continuous) and, by cohort, cohort. ``marginal_mean``
        pooled, and by cohort where there are several, with the dim ``at`` besides.
    """
    design = ancova(data)
    statuses = hr_statuses(data)
    every = np.ones(len(data.tumours), dtype=bool)
    several = design.shape.several_cohorts
    typical = coefficients(posterior, design, "pooled")
    slopes = {"pooled": _averages(typical, design, statuses, every, intercept=False)}
    means = {"pooled": _averages(typical, design, statuses, every, intercept=True)}
    spread = (
        posterior["slope_between_cohorts_sd"].to_numpy()
        if several
        else priors["slope_between_cohorts_sd"].sample(rng, typical.shape[:2])
    )
    shift = rng.normal(size=(*typical.shape[:2], len(design.cell_types))) * spread[:, :, None]
    drawn = xr.DataArray(
        shift, dims=("chain", "draw", "cell_type"), coords={"cell_type": list(design.cell_types)}
    )
    slopes["new cohort"] = slopes["pooled"] + drawn
    own = coefficients(posterior, design, "cohort")
    by_cohort = {c: design.cohort_columns[:, k] > 0 for k, c in enumerate(design.shape.cohorts)}
    slopes["cohort"] = _by_cohort(
        {c: _averages(own, design, statuses, rows, intercept=False) for c, rows in by_cohort.items()}
    )
    if several:
        overall = {ALL: statuses[ALL]}
        means["cohort"] = _by_cohort(
            {c: _averages(own, design, overall, rows, intercept=True) for c, rows in by_cohort.items()}
        )
    sd = xr.DataArray(design.sd, dims="cell_type", coords={"cell_type": list(design.cell_types)})
    centre = xr.DataArray(design.centre, dims="cell_type", coords={"cell_type": list(design.cell_types)})
    names = list(map(str, data.cell_types.index))
    draws: dict[tuple[str, str], xr.DataArray] = {}
    for scope in ("pooled", "cohort", "new cohort"):
        array = slopes[scope] * sd
        if len(data.strata) == 2 and scope != "new cohort":
            difference = array.sel(stratum=HR_NEGATIVE) - array.sel(stratum=HR_POSITIVE)
            array = xr.concat([array, difference.assign_coords(stratum=DIFFERENCE_MINUS)], "stratum")
        draws["marginal_slope", scope] = _ordered(
            array if scope == "cohort" else array.reindex(cell_type=names)
        )
    at = xr.DataArray(list(CURVE_AT), dims="at", coords={"at": list(CURVE_AT)})
    for scope, level in means.items():
        slope = slopes[scope].sel(stratum=level["stratum"])
        # Nine places for each cell type: single precision halves the file and is far below Monte Carlo error.
        draws["marginal_mean", scope] = _ordered(centre + sd * (level + at * slope)).astype("float32")
    return draws


def _averages(
    coefficient: xr.DataArray,
    design: Ancova,
    statuses: Mapping[str, tuple[float, ...]],
    rows: np.ndarray,
    *,
    intercept: bool,
) -> xr.DataArray:
    """Averages over tumours in SDs of the outcome: of the mean at average HER2, or of the slope.

    Each cell type is averaged over those of `rows` in which it is modelled.
    """
    weights = np.full(
        (len(WEIGHTINGS), len(statuses), coefficient.sizes["column"], len(design.cell_types)), np.nan
    )
    made: dict[bytes, np.ndarray] = {}
    for c in range(len(design.cell_types)):
        chosen = rows & (design.modelled[:, c] > 0)
        if not chosen.any():
            continue
        key = chosen.tobytes()
        if key not in made:
            made[key] = np.array(
                [
                    [
                        _one_average(design, chosen, codes, weighting, intercept=intercept)
                        for codes in statuses.values()
                    ]
                    for weighting in WEIGHTINGS
                ]
            )
        weights[..., c] = made[key]
    values = np.einsum("wspc,kdpc->kdwsc", weights, coefficient.to_numpy(), optimize=True)
    return xr.DataArray(
        values,
        dims=("chain", "draw", "weighting", "stratum", "cell_type"),
        coords={
            "chain": coefficient["chain"],
            "draw": coefficient["draw"],
            "weighting": list(WEIGHTINGS),
            "stratum": list(statuses),
            "cell_type": list(design.cell_types),
        },
    )


def _one_average(
    design: Ancova, rows: np.ndarray, codes: tuple[float, ...], weighting: str, *, intercept: bool
) -> np.ndarray:
    level = design.average(rows, codes, weighting, 0.0)
    return level if intercept else design.average(rows, codes, weighting, 1.0) - level


def _by_cohort(arrays: Mapping[str, xr.DataArray]) -> xr.DataArray:
    return xr.concat([a.assign_coords(cohort=c) for c, a in arrays.items()], "cohort")


def _ordered(array: xr.DataArray) -> xr.DataArray:
    labels = [d for d in ("weighting", "stratum", "cell_type", "cohort", "at") if d in array.dims]
    return array.transpose("chain", "draw", *labels)


def standing_of(
    data: AnalysisSet, estimand: str, cell_type: str, stratum: str, scope: str, cohort: str, weighting: str
) -> Standing:
    """Status of one row, from counts alone.

    ``borrowed``: the cohort has fewer than 10 tumours of that stratum, or none in a cell of HR status x IHC
    level that a mean with equal weights averages over. ``prior-only``: no cohort has any in such a cell, or
    the spread between cohorts is not informed.
    """
    tumours = data.tumours
    named = [cohort] if cohort else list(data.cohorts)
    known = cell_type in data.outcome.columns
    if known:
        continuous = data.outcome[cell_type].notna()
        named = [c for c in named if continuous[tumours["cohort"] == c].any()]
    rows = tumours[
        tumours["cohort"].isin(named if known and named else ([cohort] if cohort else list(data.cohorts)))
    ]
    strata = data.strata if stratum in (ALL, DIFFERENCE_MINUS) else (stratum,)
    counted = rows[rows["hr"].isin(strata)]
    n_zero = 0
    if cell_type in data.abundance.columns:
        n_zero = int((data.abundance.loc[counted.index, cell_type] == 0).sum())
    n = len(counted)
    if not known or not named:
        return Standing(n, n_zero, "not estimable", data.why_not_continuous(cell_type, cohort))
    if scope == "new cohort" and len(named) < 2:
        where = f"continuous in {named[0]} alone" if len(data.cohorts) > 1 else "one cohort"
        return Standing(n, n_zero, "prior-only", f"{where}: the spread between cohorts is the prior's")
    where = cohort or "all cohorts"
    sizes = {s: int((rows["hr"] == s).sum()) for s in strata}
    small = [f"{size} {s} tumours" for s, size in sizes.items() if size < MIN_STRATUM]
    if small and (stratum != ALL or weighting == "equal"):
        note = f"{' and '.join(small)} in {where}"
        if cohort and len(data.cohorts) > 1:
            return Standing(n, n_zero, "borrowed", f"{note}: the interactions are those of all cohorts")
        return Standing(n, n_zero, "observed", f"rests on {note}")
    empty = [
        f"{s} with IHC {level}"
        for s in strata
        for level in data.ihc_levels
        if not ((rows["hr"] == s) & (rows["her2_ihc"] == level)).any()
    ]
    if empty and weighting == "equal":
        note = f"no tumours in {', '.join(empty)} in {where}"
        if estimand == "marginal_slope":
            return Standing(n, n_zero, "observed", f"{note}: rests on there being no three-way interaction")
        elsewhere = [c for c in empty if _seen(data, cell_type, c)]
        if elsewhere == empty:
            return Standing(n, n_zero, "borrowed", f"{note}: taken from other cohorts")
        return Standing(n, n_zero, "prior-only", f"{note}: their mean rests on the prior of the interaction")
    if scope == "new cohort":
        return Standing(
            n, n_zero, "observed", "only the slope is new: HR, IHC and interactions are those of all cohorts"
        )
    return Standing(n, n_zero, "observed", "")


def _seen(data: AnalysisSet, cell_type: str, cell: str) -> bool:
    """Whether any cohort in which the cell type is continuous has tumours in a cell of HR status x IHC level."""
    hr, level = cell.split(" with IHC ")
    rows = data.tumours[data.outcome[cell_type].notna()]
    return bool(((rows["hr"] == hr) & (rows["her2_ihc"] == level)).any())
