"""Marginal slopes and means of the analysis of covariance, from draws of its coefficients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
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
        pooled, and by cohort where there are several, with the dim ``at`` besides. HR- minus HR+ is pooled
        only: HR status and its interactions are common to the cohorts, so a cohort has no difference of its own.
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
        if len(data.strata) == 2 and scope == "pooled":
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

    ``borrowed``: some of what the row averages over is inferred from elsewhere. A cohort's own row: it has fewer than
    10 tumours of that stratum, or, with equal weights, no tumour of an IHC level, or, for a mean, of a cell of HR
    status x IHC level. A row over all cohorts: some cohort has no tumour of the stratum. A new cohort: the spread
    between cohorts is that of other cell types. ``prior-only``: no cohort has any such tumour, or nothing informs the
    spread between cohorts.
    """
    tumours = data.tumours
    cohorts = [cohort] if cohort else list(data.cohorts)
    known = cell_type in data.outcome.columns
    if known:
        cohorts = [c for c in cohorts if c in _continuous_in(data, cell_type)]
    rows = tumours[tumours["cohort"].isin(cohorts or ([cohort] if cohort else data.cohorts))]
    strata = data.strata if stratum in (ALL, DIFFERENCE_MINUS) else (stratum,)
    having = {s: [c for c in cohorts if ((rows["cohort"] == c) & (rows["hr"] == s)).any()] for s in strata}
    counted = rows[rows["hr"].isin(strata)]
    if stratum == DIFFERENCE_MINUS:  # informed by the cohorts that have both strata
        both = [c for c in cohorts if all(c in own for own in having.values())]
        counted = counted[counted["cohort"].isin(both)] if both else counted
    n, n_zero = len(counted), 0
    if cell_type in data.abundance.columns:
        n_zero = int((data.abundance.loc[counted.index, cell_type] == 0).sum())
    if not known or not cohorts:
        return Standing(n, n_zero, "not estimable", data.why_not_continuous(cell_type, cohort))
    every_stratum = stratum != ALL or weighting == "equal"  # rows that give each stratum a weight of its own
    found = [
        _spread_learnt_elsewhere(data, cell_type, cohorts) if scope == "new cohort" else None,
        _few_of_a_stratum(data, rows, strata, cohort) if every_stratum else None,
        _strata_of_other_cohorts(stratum, having, cohorts) if every_stratum and not cohort else None,
        _empty(data, rows, estimand, cell_type, strata, cohort) if weighting == "equal" else None,
    ]
    told = [one for one in found if one is not None]
    status = max((s for s, _ in told), key=_LEAST_FIRST.index, default="observed")
    notes = [note for s, note in told if s == status]
    if scope == "new cohort":
        notes.append(
            "only the slope is new: HR, IHC and interactions are those of all cohorts, so the interval is too narrow "
            "where cohorts differ in them"
        )
    return Standing(n, n_zero, status, "; ".join(notes))


_LEAST_FIRST = ("observed", "borrowed", "prior-only")


def _continuous_in(data: AnalysisSet, cell_type: str) -> tuple[str, ...]:
    """Cohorts in which a cell type is continuous."""
    by_cohort = data.outcome[cell_type].notna().groupby(data.tumours["cohort"]).any()
    return tuple(c for c in data.cohorts if by_cohort[c])


def _spread_learnt_elsewhere(
    data: AnalysisSet, cell_type: str, cohorts: Sequence[str]
) -> tuple[str, str] | None:
    """Say where a cell type does not inform the spread of slopes between cohorts, which all cell types share."""
    if len(data.cohorts) == 1:
        return "prior-only", "one cohort: the spread between cohorts is the prior's"
    if len(cohorts) > 1:
        return None
    alone = f"continuous in {cohorts[0]} alone"
    if any(len(_continuous_in(data, str(c))) > 1 for c in data.outcome.columns):
        return "borrowed", f"{alone}: the spread between cohorts is the one that the other cell types show"
    return (
        "prior-only",
        f"{alone}, as every cell type in one cohort: the spread between cohorts is the prior's",
    )


def _few_of_a_stratum(
    data: AnalysisSet, rows: pd.DataFrame, strata: Sequence[str], cohort: str
) -> tuple[str, str] | None:
    """Fewer than 10 tumours of a stratum."""
    sizes = {s: int((rows["hr"] == s).sum()) for s in strata}
    small = [f"{size} {s} tumours" for s, size in sizes.items() if size < MIN_STRATUM]
    if not small:
        return None
    note = f"{' and '.join(small)} in {cohort or 'all cohorts'}"
    if cohort and len(data.cohorts) > 1:
        return "borrowed", f"{note}: the interactions are those of all cohorts"
    if not all(sizes.values()):
        return "prior-only", f"{note}: nothing but other cell types and the prior informs it"
    return "observed", f"rests on {note}"


def _strata_of_other_cohorts(
    stratum: str, having: Mapping[str, Sequence[str]], cohorts: Sequence[str]
) -> tuple[str, str] | None:
    """Strata that some cohort lacks, in a row over all cohorts."""
    lacking = {s: [c for c in cohorts if c not in own] for s, own in having.items()}
    lacking = {s: others for s, others in lacking.items() if others and having[s]}
    if not lacking:
        return None
    if stratum == DIFFERENCE_MINUS:
        both = [c for c in cohorts if all(c in own for own in having.values())]
        alone = ", ".join(both) or "no cohort"
        return "borrowed", f"the two strata are averaged over different cohorts: only {alone} has both"
    return "borrowed", "; ".join(
        f"rests on {', '.join(having[s])} for {s} tumours; the slope of {', '.join(others)} there is inferred from its "
        "other stratum"
        for s, others in lacking.items()
    )


def _empty(
    data: AnalysisSet,
    rows: pd.DataFrame,
    estimand: str,
    cell_type: str,
    strata: Sequence[str],
    cohort: str,
) -> tuple[str, str] | None:
    """IHC levels, and cells of HR status x IHC level, that equal weights need and that have no tumours."""
    where = cohort or "all cohorts"
    seen = data.tumours[data.tumours["cohort"].isin(_continuous_in(data, cell_type))]
    absent = [level for level in data.ihc_levels if not (rows["her2_ihc"] == level).any()]
    if absent:
        note = f"no tumours with IHC {', '.join(absent)} in {where}, which equal weights need"
        if set(absent) <= set(seen["her2_ihc"]):
            return "borrowed", f"{note}: taken from other cohorts"
        return "prior-only", f"{note}: nothing but other cell types and the prior informs it"
    cells = [(s, level) for s in strata for level in data.ihc_levels]
    empty = [c for c in cells if not _any_in(rows, *c)]
    if not empty:
        return None
    note = f"no tumours in {', '.join(f'{s} with IHC {level}' for s, level in empty)} in {where}"
    if estimand == "marginal_slope":
        return "observed", f"{note}: rests on there being no three-way interaction"
    if all(_any_in(seen, *c) for c in empty):
        return "borrowed", f"{note}: taken from other cohorts"
    return "prior-only", f"{note}: their mean rests on the prior of the interaction"


def _any_in(rows: pd.DataFrame, hr: str, level: str) -> bool:
    """Whether some of these tumours are in a cell of HR status x IHC level."""
    return bool(((rows["hr"] == hr) & (rows["her2_ihc"] == level)).any())
