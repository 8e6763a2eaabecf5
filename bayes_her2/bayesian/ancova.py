"""The linear predictor of the analysis of covariance: its columns, averages of it over tumours, cheap estimates.

Everything that the model reports is linear in the coefficients, so a marginal slope or mean is the product of the
coefficients with the average of the columns over some tumours. HR status and IHC level are centred at their
means over all tumours: the HER2 slope of the graph is then the slope averaged over the tumours, not
that of one corner of the design. One product is different: in HR x IHC the HR status is 0 in the reference stratum,
so that there, at average HER2, the IHC effect is `ihc` alone and has one sign when it is monotonic. Centred, the
constraint would hold at the mean HR status, in neither stratum. (In HER2 x IHC the slopes change in one direction over
the levels either way, in both strata.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt

from bayes_her2.bayesian.coordinates import Coordinates
from bayes_her2.bayesian.design import Structure, structure
from bayes_her2.bayesian.monotonic import level_indicators, step_indicators
from bayes_her2.data import AnalysisSet
from bayes_her2.estimates import ALL

WEIGHTINGS = ("observed", "equal")
"""Averages over the tumours as they are, and with the same weight for every cell of HR status x IHC level."""

RIDGE_SD = 2.0
"""SD of the prior behind the cheap estimates, in SDs of the outcome: wide, and no design is singular with it."""


@dataclass(frozen=True)
class Ancova:
    """An analysis set as arrays, in the order of ``data.tumours``.

    Attributes
    ----------
    shape
        Cohorts, centres, and whether both HR strata occur.
    cell_types
        Cell types that are continuous in at least one cohort.
    levels
        IHC levels present, lowest first.
    steps
        Names of the columns that carry the IHC effect: steps between levels, or levels against the lowest.
    monotonic
        Whether the IHC effect at average HER2 in the reference stratum, what HR status adds to it, and the HER2 slopes
        over the levels are each monotonic (three levels or more; two levels have one step, which has a sign anyway).
    z
        Outcome in SDs of the cell type around its mean, tumour x cell type; 0 where not modelled.
    modelled
        1.0 where the cell type is continuous in the tumour's cohort.
    centre, sd
        Mean and SD of the outcome by cell type: outcome = centre + sd z.
    her2_sd, hr_other, cohort_columns, centre_columns, ihc_columns, covariates
        Columns before centring.
    """

    shape: Structure
    cell_types: tuple[str, ...]
    levels: tuple[str, ...]
    steps: tuple[str, ...]
    monotonic: bool
    z: np.ndarray
    modelled: np.ndarray
    centre: np.ndarray
    sd: np.ndarray
    her2_sd: np.ndarray
    hr_other: np.ndarray
    level_idx: np.ndarray
    cohort_columns: np.ndarray
    centre_columns: np.ndarray
    ihc_columns: np.ndarray
    covariates: np.ndarray

    @property
    def terms(self) -> dict[str, int]:
        """Terms of the linear predictor in order, with the number of columns of each."""
        n_cohorts, n_steps, hr = self.cohort_columns.shape[1], len(self.steps), int(self.shape.hr_term)
        widths = {
            "intercept": n_cohorts,
            "centre": self.centre_columns.shape[1],
            "slope": n_cohorts,
            "hr": hr,
            "ihc": n_steps,
            "her2_x_hr": hr,
            "her2_x_ihc": n_steps,
            "hr_x_ihc": hr * n_steps,
            "covariate_slope": self.covariates.shape[1],
        }
        return {term: width for term, width in widths.items() if width}

    def columns(self) -> np.ndarray:
        """Columns of all tumours, tumour x column."""
        return self._columns(
            self.her2_sd,
            self.hr_other,
            self.ihc_columns,
            self.cohort_columns,
            self.centre_columns,
            self.covariates,
        )

    def _columns(
        self,
        h: np.ndarray,
        hr_other: np.ndarray,
        ihc: np.ndarray,
        cohort: np.ndarray,
        centre: np.ndarray,
        covariates: np.ndarray,
    ) -> np.ndarray:
        h = h[:, None]
        r = hr_other[:, None] - self.hr_other.mean()
        level = ihc - self.ihc_columns.mean(axis=0)
        made = {
            "intercept": cohort,
            "centre": centre,
            "slope": h * cohort,
            "hr": r,
            "ihc": level,
            "her2_x_hr": h * r,
            "her2_x_ihc": h * level,
            "hr_x_ihc": hr_other[:, None] * level,
            "covariate_slope": covariates,
        }
        return np.concatenate([made[term] for term in self.terms], axis=1)

    def average(self, rows: np.ndarray, hr_other: Sequence[float], weighting: str, h: float) -> np.ndarray:
        """Average of the columns over some tumours with HER2 set to one value.

        Parameters
        ----------
        rows
            Which tumours: of one cohort or all of them, where the cell type is modelled.
        hr_other
            Statuses averaged over: 0.0 for the reference stratum, 1.0 for the other.
        weighting
            ``observed``: the tumours of those strata, each with its own level and covariates. ``equal``: each cell of
            status x level counts the same; cohorts, centres and covariates are those of all `rows`.
        h
            HER2 in SDs.

        Returns
        -------
        numpy.ndarray
            One value for each column; NaN where there is nobody to average over.
        """
        if weighting == "observed":
            chosen = rows & np.isin(self.hr_other, list(hr_other))
            if not chosen.any():
                return np.full(sum(self.terms.values()), np.nan)
            here = np.full(int(chosen.sum()), h)
            return self._columns(
                here,
                self.hr_other[chosen],
                self.ihc_columns[chosen],
                self.cohort_columns[chosen],
                self.centre_columns[chosen],
                self.covariates[chosen],
            ).mean(axis=0)
        cells = [(r, i) for r in hr_other for i in range(len(self.levels))]
        level_idx = np.array([i for _, i in cells])

        def alike(values: np.ndarray) -> np.ndarray:
            return np.tile(values[rows].mean(axis=0), (len(cells), 1))

        return self._columns(
            np.full(len(cells), h),
            np.array([r for r, _ in cells], dtype=float),
            self._code(level_idx),
            alike(self.cohort_columns),
            alike(self.centre_columns),
            alike(self.covariates),
        ).mean(axis=0)

    def _code(self, level_idx: np.ndarray) -> np.ndarray:
        return _ihc_code(level_idx, len(self.levels), monotonic=self.monotonic)


def _ihc_code(level_idx: np.ndarray, n_levels: int, *, monotonic: bool) -> np.ndarray:
    return step_indicators(level_idx, n_levels) if monotonic else level_indicators(level_idx, n_levels)


def ancova(data: AnalysisSet) -> Ancova:
    """Arrays of an analysis set of the model ``marginal_effect``."""
    shape = structure(data)
    tumours, levels = data.tumours, data.ihc_levels
    monotonic = data.settings.ihc_effect == "monotonic" and len(levels) > 2
    level_idx = pd.Index(levels).get_indexer(pd.Index(tumours["her2_ihc"]))
    cohort_columns = np.eye(len(shape.cohorts))[
        pd.Index(shape.cohorts).get_indexer(pd.Index(tumours["cohort"]))
    ]
    label = tumours["cohort"] + "/" + tumours["centre"].fillna("").astype("str")
    centre_columns = (
        np.stack([(label == c).to_numpy(float) for c in shape.centres], axis=1)
        if shape.centres
        else (np.zeros((len(tumours), 0)))
    )
    outcome, sd, centre = data.outcome, data.outcome_sd, data.outcome_centre
    steps = (
        [f"{low} to {high}" for low, high in pairwise(levels)]
        if monotonic
        else [f"{level} against {levels[0]}" for level in levels[1:]]
    )
    return Ancova(
        shape=shape,
        cell_types=tuple(map(str, outcome.columns)),
        levels=levels,
        steps=tuple(steps),
        monotonic=monotonic,
        z=((outcome - centre) / sd).fillna(0.0).to_numpy(float),
        modelled=outcome.notna().to_numpy(float),
        centre=centre.to_numpy(float),
        sd=sd.to_numpy(float),
        her2_sd=tumours["her2_sd"].to_numpy(float),
        hr_other=(tumours["hr"] != data.reference).to_numpy(float),
        level_idx=level_idx,
        cohort_columns=cohort_columns,
        centre_columns=centre_columns,
        ihc_columns=_ihc_code(level_idx, len(levels), monotonic=monotonic),
        covariates=data.covariates.to_numpy(float).reshape(len(tumours), -1),
    )


def cheap_estimates(design: Ancova) -> dict[str, Coordinates]:
    """Ridge regressions, cell type by cell type, that choose sampling coordinates; no inference rests on them.

    Returns
    -------
    dict
        Term -> estimates, row x cell type: rows are the term's columns, except that a monotonic term has one row, its
        total. ``log_residual_sd`` has cohorts as rows.
    """
    x = design.columns()
    n_cells, n_columns = len(design.cell_types), x.shape[1]
    n_cohorts = design.cohort_columns.shape[1]
    estimate, spread = np.zeros((n_columns, n_cells)), np.zeros((n_columns, n_columns, n_cells))
    log_sd, log_sd_variance = np.zeros((n_cohorts, n_cells)), np.full((n_cohorts, n_cells), 0.25)
    for c in range(n_cells):
        rows = design.modelled[:, c] > 0
        mine, z = x[rows], design.z[rows, c]
        ridge = np.eye(n_columns) / RIDGE_SD**2
        estimate[:, c] = np.linalg.solve(mine.T @ mine + ridge, mine.T @ z)
        residual = z - mine @ estimate[:, c]
        spread[..., c] = np.linalg.inv(mine.T @ mine / max(float(residual.var()), 1e-6) + ridge)
        for k in range(n_cohorts):
            left = residual[design.cohort_columns[rows, k] > 0]
            if len(left) > 2 and left.var() > 0:
                log_sd[k, c], log_sd_variance[k, c] = 0.5 * np.log(left.var()), 0.5 / len(left)
    found: dict[str, Coordinates] = {"log_residual_sd": Coordinates(log_sd, log_sd_variance)}
    start = 0
    for term, width in design.terms.items():
        own = slice(start, start + width)
        start += width
        e, v = estimate[own], np.stack([np.diag(spread[own, own, c]) for c in range(n_cells)], axis=1)
        if design.monotonic and term in ("ihc", "her2_x_ihc", "hr_x_ihc"):
            e, v = e.sum(axis=0, keepdims=True), spread[own, own].sum(axis=(0, 1))[None, :]
        found[term] = Coordinates(e, v)
    return found


def outcome_node(
    name: str,
    *,
    mean: Any,
    residual_sd: Any,
    observed: np.ndarray,
    modelled: np.ndarray,
    dims: tuple[str, str],
) -> Any:
    """Normal(mean, residual_sd) for each tumour and cell type, where the cell type is modelled in the tumour's cohort.

    Parameters
    ----------
    name
        Name of the node.
    mean, residual_sd
        Tumour x cell type, in SDs of the outcome.
    observed
        Standardised outcome.
    modelled
        1.0 where the entry counts; others contribute nothing.
    dims
        Names of the two dimensions.
    """

    def logp(value: Any, mean: Any, residual_sd: Any, modelled: Any) -> Any:
        z = (value - mean) / residual_sd
        return modelled * (-0.5 * z**2 - pt.log(residual_sd) - 0.5 * np.log(2.0 * np.pi))

    def random(
        mean: Any, residual_sd: Any, modelled: Any, rng: np.random.Generator | None = None, size: Any = None
    ) -> Any:
        rng = rng if rng is not None else np.random.default_rng()
        return rng.normal(mean, residual_sd, size=size)

    return pm.CustomDist(
        name,
        mean,
        residual_sd,
        modelled,
        logp=logp,
        random=random,
        signature="(),(),()->()",
        observed=observed,
        dims=dims,
    )


def hr_statuses(data: AnalysisSet) -> dict[str, tuple[float, ...]]:
    """Return the strata of the marginal estimands: all tumours, and each HR stratum present, as codes of the design."""
    codes = {stratum: (float(stratum != data.reference),) for stratum in data.strata}
    return {ALL: tuple(code for (code,) in codes.values()), **codes}
