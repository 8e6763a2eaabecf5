"""The planted values behind simulated cohorts, by cohort and cell type."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from bayes_her2.simulation.design import CellTypeDesign, CohortDesign, Design

PARTS = ("presence", "amount")
ALWAYS_PRESENT_LOGIT = 20.0
"""Presence intercept of a cell type without zeros: one zero in half a billion tumours."""

_POPULATION_TERMS = tuple(f"{part}_{term}" for part in PARTS for term in ("slope", "hr", "interaction"))
_POOLED_TERMS = tuple(f"{part}_{term}" for part in PARTS for term in ("slope", "interaction"))


@dataclass(frozen=True)
class Parameters:
    """Population values and their realisation in each cohort.

    Attributes
    ----------
    population
        Index ``cell_type``; columns ``presence_slope``, ``presence_hr``, ``presence_interaction`` (log
        odds ratios) and ``amount_slope``, ``amount_hr``, ``amount_interaction`` (log ratios of means).
    cohorts
        Index ``cohort``, ``cell_type``; the same columns, and ``presence_intercept`` (logit),
        ``amount_intercept`` (log of the mean positive abundance) and ``shape``.
    """

    population: pd.DataFrame
    cohorts: pd.DataFrame

    def with_pooled_slopes(self) -> Parameters:
        """Every cohort with its own intercepts and HR effects, but the slopes of the population."""
        table = self.cohorts.copy()
        of_row = table.index.get_level_values("cell_type")
        for term in _POOLED_TERMS:
            table[term] = self.population.loc[of_row, term].to_numpy()
        return Parameters(self.population, table)

    def linear_predictor(
        self, part: str, cohort: str, her2_sd: npt.NDArray[np.float64], hr_negative: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float64]:
        """Tumour x cell type: intercept + slope h + hr r + interaction h r of one part in one cohort."""
        of_cohort = self.cohorts.loc[cohort]
        intercept, slope, hr, interaction = (
            of_cohort[f"{part}_{term}"].to_numpy(dtype=float)[None, :]
            for term in ("intercept", "slope", "hr", "interaction")
        )
        h = her2_sd[:, None]
        r = hr_negative.astype(float)[:, None]
        return np.asarray(intercept + slope * h + hr * r + interaction * h * r, dtype=float)

    def presence_probability(
        self, cohort: str, her2_sd: npt.NDArray[np.float64], hr_negative: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float64]:
        """Tumour x cell type: probability that the cell type is present."""
        eta = self.linear_predictor("presence", cohort, her2_sd, hr_negative)
        return np.asarray(special.expit(eta), dtype=float)

    def positive_mean(
        self, cohort: str, her2_sd: npt.NDArray[np.float64], hr_negative: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float64]:
        """Tumour x cell type: mean absolute abundance if the cell type is present."""
        return np.asarray(np.exp(self.linear_predictor("amount", cohort, her2_sd, hr_negative)), dtype=float)

    def shape(self, cohort: str) -> npt.NDArray[np.float64]:
        """Gamma shape of each cell type in one cohort."""
        return self.cohorts.loc[cohort]["shape"].to_numpy(dtype=float)


def draw_parameters(rng: np.random.Generator, design: Design) -> Parameters:
    """Draw the cohorts' own effects around those that the design plants.

    Presence intercepts are not drawn: they follow from the zero shares. With one cohort nothing is
    drawn, so its effects are those of the design.

    Parameters
    ----------
    rng
        Source of randomness.
    design
        What to simulate.

    Returns
    -------
    planted
        Population and cohort values by label.
    """
    sd = design.between_cohort_sd
    varies = 1.0 if len(design.cohorts) > 1 else 0.0
    population = pd.DataFrame(
        [{term: getattr(cell_type, term) for term in _POPULATION_TERMS} for cell_type in design.cell_types],
        index=pd.Index(design.cell_type_names, name="cell_type"),
    )
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for cohort in design.cohorts:
        for cell_type in design.cell_types:
            zero_share = cohort.zero_share.get(cell_type.name, cell_type.zero_share)
            values = {"presence_intercept": _presence_intercept(zero_share)}
            for term in _POPULATION_TERMS:
                spread = varies * getattr(sd, term) * rng.standard_normal()
                # A cell type that is always present has no presence effects to vary.
                fixed = zero_share == 0 and term.startswith("presence")
                values[term] = getattr(cell_type, term) + (0.0 if fixed else spread)
            values["amount_intercept"] = _amount_intercept(
                cohort, cell_type, varies * sd.amount_intercept * rng.standard_normal()
            )
            values["shape"] = cell_type.shape * float(np.exp(varies * sd.log_shape * rng.standard_normal()))
            rows[(cohort.name, cell_type.name)] = values
    index = pd.MultiIndex.from_tuples(list(rows), names=["cohort", "cell_type"])
    return Parameters(population, pd.DataFrame(list(rows.values()), index=index))


def _presence_intercept(zero_share: float) -> float:
    return ALWAYS_PRESENT_LOGIT if zero_share == 0 else -float(special.logit(zero_share))


def _amount_intercept(cohort: CohortDesign, cell_type: CellTypeDesign, deviation: float) -> float:
    return cell_type.log_mean + cohort.amount_shift + deviation
