"""From an analysis set to the arrays and cheap estimates of a hierarchical regression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from bayes_her2.bayesian.amounts import GAMMA, AmountFamily
from bayes_her2.bayesian.coordinates import UNINFORMED_VARIANCE, Coordinates
from bayes_her2.bayesian.lineages import membership
from bayes_her2.bayesian.starting import CheapFit, cheap_regression
from bayes_her2.data import AnalysisSet
from bayes_her2.errors import DataError
from bayes_her2.splines import knots_of, natural_spline

MIN_KNOTS = 3

LINEAR_TERMS = ("intercept", "slope", "hr", "interaction")
"""Terms of the linear predictor that may vary between cohorts, in the order of its columns."""


@dataclass(frozen=True)
class Terms:
    """What a model file chooses of the linear predictor; the defaults are those of the main model.

    The data have the last word: a term that they do not inform is not in the graph, whatever is chosen.

    Attributes
    ----------
    present
        Terms that there are, of `LINEAR_TERMS`.
    by_cohort
        Those that may vary between cohorts; the others are common to them.
    cohorts
        Intercepts of the cohorts: ``exchangeable`` around that of the cell type, or each ``fixed`` on its own.
    cell_types
        How cell types share strength: ``normal`` around their mean; ``unpooled``, each on its own; ``horseshoe``,
        slopes and interactions at their mean but for some; ``lineage``, slopes, HR shifts and interactions around the
        mean of their lineage.
    bends
        Whether HER2 may depart from a straight line.
    factor
        Whether the amounts of a tumour's cell types share a factor.
    """

    present: tuple[str, ...] = LINEAR_TERMS
    by_cohort: tuple[str, ...] = LINEAR_TERMS
    cohorts: Literal["exchangeable", "fixed"] = "exchangeable"
    cell_types: Literal["normal", "unpooled", "horseshoe", "lineage"] = "normal"
    bends: bool = False
    factor: bool = False

    def uses(self, prior: str) -> bool:
        """Whether a prior of the main model is one of this structure too."""
        level = prior.split("_", 1)[1]
        term = level.split("_", 1)[0]
        if term not in (*LINEAR_TERMS, "covariate"):
            return True
        if term not in (*self.present, "covariate"):
            return False
        if level.endswith("_between_cohorts_sd"):
            return term in self.by_cohort
        if term == "intercept" and self.cohorts == "fixed":
            return False
        if level.endswith("_between_cells_sd") and self.sparse(term):
            return False
        return self.cell_types != "unpooled"

    def sparse(self, term: str) -> bool:
        """Whether most cell types have a term's mean over them, and some depart from it."""
        return self.cell_types == "horseshoe" and term in ("slope", "interaction")

    def by_lineage(self, term: str) -> bool:
        """Whether lineages stand between a term's cell types and their mean."""
        return self.cell_types == "lineage" and term in ("slope", "hr", "interaction")


MAIN = Terms()


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
    terms
        What the model chooses of it.
    """

    cohorts: tuple[str, ...]
    hr_term: bool
    several_cohorts: bool
    hr_by_cohort: bool
    hr_informed_by: tuple[str, ...]
    centres: dict[str, str]
    terms: Terms = MAIN

    @property
    def present(self) -> tuple[str, ...]:
        """Terms of the linear predictor that the model chooses and the data carry, in order."""
        return tuple(t for t in self.terms.present if self.hr_term or t not in ("hr", "interaction"))

    def varies(self, term: str) -> bool:
        """Whether a term varies between the cohorts."""
        informed = self.several_cohorts if term in ("intercept", "slope") else self.hr_by_cohort
        return informed and term in self.terms.by_cohort

    def unsaid(self, scope: str, *, contrast: bool) -> str:
        """Why the model itself says nothing about HER2 in a row, whatever the data; '' where it does.

        Parameters
        ----------
        scope
            ``pooled``, ``cohort`` or ``new cohort``.
        contrast
            Whether the row is the ratio between the HR strata.
        """
        if "slope" not in self.terms.present:
            return "the model has no HER2"
        if contrast and "interaction" not in self.terms.present:
            return "the model has no interaction: one slope for HR+ and HR-, by assumption"
        if scope == "new cohort" and "slope" not in self.terms.by_cohort:
            return "the model has one slope for all cohorts, by assumption: it does not say how a new one may differ"
        return ""

    def assumed(self, scope: str) -> str:
        """Say what a row takes from elsewhere by assumption of the model; '' for the main model."""
        common = []
        if self.hr_term and "interaction" not in self.terms.present:
            common.append("the HR strata")
        if scope == "cohort" and self.several_cohorts and "slope" not in self.terms.by_cohort:
            common.append("the cohorts")
        return f"slope common to {' and '.join(common)}, by assumption" if common else ""


def structure(data: AnalysisSet, terms: Terms = MAIN) -> Structure:
    """Read off the structure that the tumours can inform, of the terms that a model chooses."""
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
        terms=terms,
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
        Cheap estimates by term: ``intercept``, ``slope``, ``hr``, ``interaction``, ``covariates``, ``bends``,
        ``centre``, ``log_shape`` (of the amount, or log SD of the latent abundance).
    lineages, lineage_of
        Lineages of the cell types, and lineage x cell type, 1.0 where it belongs; none unless the model has them.
    """

    cell_types: tuple[str, ...]
    observed: np.ndarray
    modelled: np.ndarray
    coordinates: dict[str, Coordinates]
    lineages: tuple[str, ...] = ()
    lineage_of: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))


@dataclass(frozen=True)
class Bends:
    """Departures of HER2 from a straight line: natural cubic splines, uncorrelated with each other and with the line.

    Attributes
    ----------
    knots
        Values of standardised HER2; beyond the outer ones a curve is straight.
    line
        Row of the constant and row of the line x column of `natural_spline`: what is taken from the columns.
    scale
        Column of `natural_spline` x column: what makes them uncorrelated, each with an SD of 1 over the tumours.
    """

    knots: np.ndarray
    line: np.ndarray
    scale: np.ndarray

    @property
    def labels(self) -> list[str]:
        """Names of the columns."""
        return [f"bend {i + 1}" for i in range(self.scale.shape[1])]

    def at(self, her2_sd: np.ndarray) -> np.ndarray:
        """Columns at values of standardised HER2, value x column."""
        straight = np.stack([np.ones_like(her2_sd), her2_sd], axis=1)
        found: np.ndarray = (natural_spline(her2_sd, self.knots) - straight @ self.line) @ self.scale
        return found


def without_curve(data: AnalysisSet) -> str:
    """Why HER2 of these tumours can have no curve, or ''."""
    h = data.her2_of_curves
    n_knots = len(knots_of(h))
    if n_knots >= MIN_KNOTS:
        return ""
    return (
        f"{len(np.unique(h))} distinct values of HER2 give {n_knots} knots, and a curve needs {MIN_KNOTS}. Compare the "
        "structures that are linear in HER2."
    )


def bends(data: AnalysisSet) -> Bends:
    """Departures from a straight line that the tumours of an analysis set can inform.

    Raises
    ------
    DataError
        HER2 has too few distinct values.
    """
    # Sorted, so that rounding does not depend on the order of tumours.
    h = np.sort(data.her2_of_curves)
    reason = without_curve(data)
    if reason:
        raise DataError(f"{data.measure}: {reason}")
    knots = knots_of(h)
    columns = natural_spline(h, knots)
    straight = np.stack([np.ones_like(h), h], axis=1)
    line = np.linalg.lstsq(straight, columns, rcond=None)[0]
    left = columns - straight @ line
    return Bends(knots, line, np.linalg.inv(np.linalg.cholesky(left.T @ left / len(h))).T)


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
    bends
        Tumour x departure from a straight line in HER2; no column unless the model has them.
    """

    her2_sd: np.ndarray
    hr_other: np.ndarray
    cohort_idx: np.ndarray
    cohort_columns: np.ndarray
    group_columns: np.ndarray
    covariates: np.ndarray
    bends: np.ndarray


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
    her2_sd = tumours["her2_sd"].to_numpy(float)
    return Arrays(
        her2_sd=her2_sd,
        hr_other=(tumours["hr"] != data.reference).to_numpy(float),
        cohort_idx=cohort_idx,
        cohort_columns=cohort_columns,
        group_columns=np.eye(len(groups))[group_idx],
        covariates=data.covariates.to_numpy(float).reshape(len(tumours), -1),
        bends=bends(data).at(her2_sd) if shape.terms.bends else np.zeros((len(tumours), 0)),
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
    lineages, lineage_of = (
        membership(cell_types) if shape.terms.cell_types == "lineage" else ((), np.zeros((0, 0)))
    )
    return PartDesign(
        cell_types=tuple(cell_types),
        observed=observed.to_numpy(float),
        modelled=modelled.to_numpy(float),
        coordinates=_coordinates(data, shape, part, observed, modelled, cheap),
        lineages=lineages,
        lineage_of=lineage_of,
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
    design = pd.concat([design[list(shape.terms.present)], data.covariates], axis=1)
    bent: list[str] = []
    if shape.terms.bends:
        basis = bends(data)
        bent = basis.labels
        design[bent] = basis.at(h.to_numpy(float))
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
    result = {name: terms[name] for name in shape.terms.present}
    if not shape.hr_by_cohort:
        for name in {"hr", "interaction"} & set(result):
            result[name] = terms[name].pooled(0.0)
    for key, columns in (("covariates", list(data.covariates.columns)), ("bends", bent)):
        common = [terms[name].pooled(0.0) for name in columns]
        if common:
            result[key] = Coordinates(
                np.concatenate([t.estimate for t in common]), np.concatenate([t.variance for t in common])
            )
    if shape.centres:
        label = tumours["cohort"] + "/" + tumours["centre"].fillna("")
        by_centre, _ = fits([tumours.index[label == centre] for centre in shape.centres])
        result["centre"] = by_centre["intercept"]
    if part not in ("presence", "high"):
        result["log_shape"] = shapes
    return result
