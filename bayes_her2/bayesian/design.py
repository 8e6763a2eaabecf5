"""From an analysis set to the arrays and cheap estimates of a hierarchical regression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayes_her2.bayesian.amounts import GAMMA, AmountFamily
from bayes_her2.bayesian.coordinates import UNINFORMED_VARIANCE, Coordinates
from bayes_her2.bayesian.starting import CheapFit, cheap_regression
from bayes_her2.data import AnalysisSet


@dataclass(frozen=True)
class Structure:
    """Which terms a data set can carry, and which of them may vary between cohorts.

    Attributes
    ----------
    cohorts
        Sorted names.
    hr_term
        Whether both HR strata occur (else no HR shift and no interaction).
    several_cohorts
        Whether intercept, slope and shape vary between cohorts.
    hr_by_cohort
        Whether HR shift and interaction vary between cohorts: at least two cohorts with both strata.
    hr_informed_by
        Cohorts with at least 10 tumours in both strata.
    centres
        Label -> cohort, for the centres nested in cohorts; empty where none are.
    """

    cohorts: tuple[str, ...]
    hr_term: bool
    several_cohorts: bool
    hr_by_cohort: bool
    hr_informed_by: tuple[str, ...]
    centres: dict[str, str]


def structure(data: AnalysisSet) -> Structure:
    """Read off the structure that the tumours can inform."""
    both = data.hr_informed_by
    centres: dict[str, str] = {}
    if data.use_centre:
        named = data.tumours.dropna(subset=["centre"])
        for cohort, own in named.groupby("cohort"):
            if own["centre"].nunique() > 1:
                centres |= {f"{cohort}/{centre}": str(cohort) for centre in sorted(own["centre"].unique())}
    return Structure(
        cohorts=data.cohorts,
        hr_term=len(data.strata) == 2,
        several_cohorts=len(data.cohorts) > 1,
        hr_by_cohort=len(both) > 1,
        hr_informed_by=both,
        centres=centres,
    )


@dataclass(frozen=True)
class PartDesign:
    """Arrays of one part (presence, amount, latent or high abundance), for its cell types.

    Attributes
    ----------
    cell_types
        Cell types with this part modelled in at least one HR stratum.
    observed
        Tumour x cell type: abundance (amount, latent) or 1.0 / 0.0 (presence, high).
    modelled
        Tumour x cell type: 1.0 where the part is modelled in the tumour's stratum.
    coordinates
        Cheap estimates by term: ``intercept``, ``slope``, ``hr``, ``interaction``, ``covariates``,
        ``centre``, ``log_shape`` (of the amount, or log SD of the latent abundance).
    """

    cell_types: tuple[str, ...]
    observed: np.ndarray
    modelled: np.ndarray
    coordinates: dict[str, Coordinates]


@dataclass(frozen=True)
class Arrays:
    """What the linear predictors need of the tumours, in the order of ``data.tumours``.

    Attributes
    ----------
    her2_sd, hr_other
        Standardised HER2; 1.0 in the non-reference HR stratum.
    cohort_idx
        Row of the cohort in `Structure.cohorts`.
    group_columns
        Tumour x intercept group, one-hot: cohorts, then nested centres (a tumour of a nested cohort
        belongs to its centre).
    covariates
        Tumour x covariate column.
    """

    her2_sd: np.ndarray
    hr_other: np.ndarray
    cohort_idx: np.ndarray
    cohort_columns: np.ndarray
    group_columns: np.ndarray
    covariates: np.ndarray


def arrays(data: AnalysisSet, shape: Structure) -> Arrays:
    """Numeric arrays of the tumours."""
    tumours = data.tumours
    cohort_idx = pd.Index(shape.cohorts).get_indexer(pd.Index(tumours["cohort"]))
    cohort_columns = np.eye(len(shape.cohorts))[cohort_idx]
    groups = [*shape.cohorts, *shape.centres]
    label = tumours["cohort"].astype("str")
    if shape.centres:
        nested = tumours["cohort"].isin(set(shape.centres.values()))
        label = label.where(~nested, tumours["cohort"] + "/" + tumours["centre"].fillna(""))
    group_idx = pd.Index(groups).get_indexer(pd.Index(label))
    return Arrays(
        her2_sd=tumours["her2_sd"].to_numpy(float),
        hr_other=(tumours["hr"] != data.reference).to_numpy(float),
        cohort_idx=cohort_idx,
        cohort_columns=cohort_columns,
        group_columns=np.eye(len(groups))[group_idx],
        covariates=data.covariates.to_numpy(float).reshape(len(tumours), -1),
    )


def modelled_strata(data: AnalysisSet, part: str) -> pd.DataFrame:
    """Whether a part is modelled: stratum x cell type, bool.

    Parameters
    ----------
    data
        Analysis set.
    part
        ``presence``, ``amount``, ``high``; or ``latent``, the abundance that zeros censor: modelled as the amount is.
    """
    table = data.high_parts if part == "high" else data.parts
    column = "amount_modelled" if part == "latent" else f"{part}_modelled"
    wide = table.pivot(index="stratum", columns="cell_type", values=column)
    return wide.reindex(index=list(data.strata), columns=list(data.abundance.columns)).astype(bool)


def part_design(data: AnalysisSet, shape: Structure, part: str, family: AmountFamily = GAMMA) -> PartDesign:
    """Arrays and cheap estimates of one part.

    Parameters
    ----------
    data
        Analysis set.
    shape
        Its structure.
    part
        ``presence``, ``amount`` or ``high``.
    family
        Distribution of the amount.
    """

    def cheap(y: np.ndarray, x: pd.DataFrame) -> CheapFit:
        if part != "amount":
            return CheapFit(cheap_regression(y, x, family="binomial"))
        table = cheap_regression(y, x, family="gamma")
        if len(y) < 3:
            return CheapFit(table)
        usable = table["variance"] < UNINFORMED_VARIANCE
        fitted = np.exp(x.to_numpy(float) @ np.where(usable, table["estimate"], 0.0))
        if not usable["intercept"]:
            fitted = np.full(len(y), y.mean())
        return CheapFit(table, *family.cheap_log_shape(y, fitted))

    if part == "amount":
        observed = data.abundance
    elif part == "presence":
        observed = (data.abundance > 0).astype(float)
    else:
        observed = data.high.astype(float)
    return design_of(data, shape, part, observed, cheap)


def design_of(
    data: AnalysisSet,
    shape: Structure,
    part: str,
    observed: pd.DataFrame,
    cheap: Callable[[np.ndarray, pd.DataFrame], CheapFit],
) -> PartDesign:
    """Arrays of a part, and a cheap regression of each cell type in each cohort.

    Parameters
    ----------
    data, shape, part
        As in `part_design`.
    observed
        Tumour x cell type: what the part is about.
    cheap
        Regression of the values of some tumours on their columns.
    """
    supported = modelled_strata(data, part)
    cell_types = [str(c) for c in supported.columns[supported.any()]]
    own = supported[cell_types].astype(float).loc[data.tumours["hr"].to_numpy()]
    modelled = own.set_axis(data.tumours.index)
    observed = observed[cell_types]
    return PartDesign(
        cell_types=tuple(cell_types),
        observed=observed.to_numpy(float),
        modelled=modelled.to_numpy(float),
        coordinates=_coordinates(data, shape, part, observed, modelled, cheap),
    )


def _coordinates(
    data: AnalysisSet,
    shape: Structure,
    part: str,
    observed: pd.DataFrame,
    modelled: pd.DataFrame,
    cheap: Callable[[np.ndarray, pd.DataFrame], CheapFit],
) -> dict[str, Coordinates]:
    """Cheap regressions, cohort by cohort (and centre by centre), cell type by cell type."""
    tumours = data.tumours
    h = tumours["her2_sd"]
    r = (tumours["hr"] != data.reference).astype(float)
    design = pd.DataFrame({"intercept": 1.0, "slope": h, "hr": r, "interaction": h * r})
    design = pd.concat([design, data.covariates], axis=1)
    names = list(design.columns)
    n_cells = len(observed.columns)

    def fits(groups: list[pd.Index]) -> tuple[dict[str, Coordinates], Coordinates]:
        estimate = np.zeros((len(names), len(groups), n_cells))
        variance = np.full_like(estimate, UNINFORMED_VARIANCE)
        shape_e = np.zeros((len(groups), n_cells))
        shape_v = np.full_like(shape_e, UNINFORMED_VARIANCE)
        for g, index in enumerate(groups):
            for c, cell_type in enumerate(observed.columns):
                counted = modelled.loc[index, cell_type] > 0
                if part == "amount":
                    counted &= observed.loc[index, cell_type] > 0
                rows = counted.index[counted]
                found = cheap(observed.loc[rows, cell_type].to_numpy(float), design.loc[rows])
                estimate[:, g, c] = found.table["estimate"]
                variance[:, g, c] = found.table["variance"]
                shape_e[g, c], shape_v[g, c] = found.log_shape, found.log_shape_variance
        by_term = {n: Coordinates(estimate[i], variance[i]) for i, n in enumerate(names)}
        return by_term, Coordinates(shape_e, shape_v)

    cohort_rows = [tumours.index[tumours["cohort"] == c] for c in shape.cohorts]
    terms, shapes = fits(cohort_rows)
    result = {name: terms[name] for name in ("intercept", "slope", "hr", "interaction")}
    if not shape.hr_by_cohort:
        for name in ("hr", "interaction"):
            result[name] = terms[name].pooled(0.0)
    covariate_terms = [terms[name].pooled(0.0) for name in data.covariates.columns]
    if covariate_terms:
        result["covariates"] = Coordinates(
            np.concatenate([t.estimate for t in covariate_terms]),
            np.concatenate([t.variance for t in covariate_terms]),
        )
    if shape.centres:
        label = tumours["cohort"] + "/" + tumours["centre"].fillna("")
        by_centre, _ = fits([tumours.index[label == centre] for centre in shape.centres])
        result["centre"] = by_centre["intercept"]
    if part not in ("presence", "high"):
        result["log_shape"] = shapes
    return result
