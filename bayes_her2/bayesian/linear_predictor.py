"""The hierarchical linear predictor that the models of abundance and of high abundance share.

For tumour i of cohort k and cell type c, with h HER2 per SD and r = 1 in the non-reference HR stratum,

    eta_ic = intercept_kc + slope_kc h_i + hr_kc r_i + interaction_kc h_i r_i + covariate_c' x_i

    intercept_kc ~ Normal(intercept_c, between_cohorts_sd_c)      slope_kc ~ Normal(slope_c, between_cohorts_sd)
    intercept_c  ~ Normal(mean, between_cells_sd)                 slope_c  ~ Normal(mean, between_cells_sd)

hr and interaction as slope. The level of cohorts is there where at least two cohorts inform the term, else the
coefficient is common to them. HR terms are there where both strata are; covariate_c ~ Normal(mean, between_cells_sd)
for each covariate. Where centres are nested in a cohort its tumours have their centre's intercept, Normal around the
cohort's with centre_sd. All are sampled in likelihood-informed coordinates, which leave the density as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytensor.tensor as pt

from bayes_her2.bayesian.coordinates import Coordinates, Softplus, partially_pooled, typical_of
from bayes_her2.bayesian.design import Arrays, PartDesign, Structure
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.product import matrix_product


def hierarchical_predictor(
    part: str, design: PartDesign, tumours: Arrays, shape: Structure, priors: Mapping[str, Prior]
) -> Any:
    """Eta of one part, tumour x cell type: one matrix product of columns and coefficients.

    Parameters
    ----------
    part
        Prefix of its coefficients and priors, and of its dim ``PART_cell_type``: ``presence``, ``amount``, ``high``.
    design, tumours, shape
        Arrays and cheap estimates; which terms there are, and which vary between cohorts.
    priors
        For each of intercept, slope, hr and interaction ``PART_TERM_mean``, ``PART_TERM_between_cells_sd``,
        ``PART_TERM_between_cohorts_sd``; ``PART_covariate_mean``, ``PART_covariate_between_cells_sd``;
        ``PART_centre_sd``.
    """
    cells = f"{part}_cell_type"
    prior = {name.removeprefix(f"{part}_"): p for name, p in priors.items() if name.startswith(f"{part}_")}
    at = design.coordinates
    h, r = tumours.her2_sd[:, None], tumours.hr_other[:, None]
    by_cohort = tumours.cohort_columns
    common = np.ones_like(h)

    intercept = _intercept(part, prior, at, cells, shape)
    columns, coefficients = [tumours.group_columns], [intercept]

    slope = _varying(part, "slope", prior, at["slope"], cells, by_cohort=shape.several_cohorts)
    columns.append(h * by_cohort)
    coefficients.append(slope)
    if shape.hr_term:
        where = by_cohort if shape.hr_by_cohort else common
        hr = _varying(part, "hr", prior, at["hr"], cells, by_cohort=shape.hr_by_cohort)
        interaction = _varying(
            part, "interaction", prior, at["interaction"], cells, by_cohort=shape.hr_by_cohort
        )
        columns += [r * where, h * r * where]
        coefficients += [hr, interaction]
    if tumours.covariates.shape[1]:
        mean = prior["covariate_mean"].variable(f"{part}_covariate_mean", dims="covariate")
        spread = prior["covariate_between_cells_sd"].variable(
            f"{part}_covariate_between_cells_sd", dims="covariate"
        )
        covariate = partially_pooled(
            f"{part}_covariate",
            mean=mean[:, None],
            sd=spread[:, None],
            dims=("covariate", cells),
            coordinates=at["covariates"].transform(),
        )
        columns.append(tumours.covariates)
        coefficients.append(covariate)
    return matrix_product(np.concatenate(columns, axis=1), pt.concatenate(coefficients, axis=0))


def _intercept(
    part: str, prior: Mapping[str, Prior], at: Mapping[str, Coordinates], cells: str, shape: Structure
) -> Any:
    """Level of each cell type in each cohort, then in each centre nested in a cohort: group x cell type."""
    if not shape.centres:
        return _varying(part, "intercept", prior, at["intercept"], cells, by_cohort=shape.several_cohorts)
    centre_sd = prior["centre_sd"].variable(f"{part}_centre_sd")
    home = [shape.cohorts.index(cohort) for cohort in shape.centres.values()]
    cohort = _varying(
        part,
        "intercept",
        prior,
        at["intercept"],
        cells,
        by_cohort=shape.several_cohorts,
        nested=(centre_sd, at["centre"], home),
    )
    centre = partially_pooled(
        f"{part}_centre_intercept",
        mean=matrix_product(np.eye(len(shape.cohorts))[home], cohort),
        sd=centre_sd,
        dims=("centre", cells),
        coordinates=at["centre"].transform(),
    )
    return pt.concatenate([cohort, centre], axis=0)


def _varying(
    part: str,
    term: str,
    prior: Mapping[str, Prior],
    at: Coordinates,
    cells: str,
    *,
    by_cohort: bool,
    nested: tuple[Any, Coordinates, list[int]] | None = None,
) -> Any:
    """One coefficient: cell types around their mean and, where informed, cohorts around the cell type.

    Returns the coefficients as cohort x cell type, or 1 x cell type where they are common to the
    cohorts. `nested` (SD, cheap estimates, cohort of each) describes centres below the cohorts: it
    chooses coordinates and does not enter the density.
    """
    name = f"{part}_{term}"
    between_cells_sd = prior[f"{term}_between_cells_sd"].variable(f"{name}_between_cells_sd")
    coordinates, start = at.over_cell_types(by_cohort=by_cohort)
    mean = typical_of(
        f"{name}_mean",
        mean=prior[f"{term}_mean"].params["mu"],
        sd=prior[f"{term}_mean"].params["sigma"],
        below_sd=between_cells_sd,
        dims=None,
        coordinates=coordinates,
        start=start,
    )
    if not by_cohort:
        if nested is not None:
            below_sd, centres, _ = nested
            coordinates, start = centres.above()
            coefficient = typical_of(
                name,
                mean=mean,
                sd=between_cells_sd,
                below_sd=below_sd,
                dims=cells,
                coordinates=coordinates,
                start=start,
            )
        else:
            coefficient = partially_pooled(
                name, mean=mean, sd=between_cells_sd, dims=cells, coordinates=at.common()
            )
        return coefficient[None, :]
    # The level of a cell type moves between runs on its own scale; slopes share one.
    own = cells if term == "intercept" else None
    spread = prior[f"{term}_between_cohorts_sd"]
    between_cohorts_sd = spread.variable(
        f"{name}_between_cohorts_sd", dims=own, transform=Softplus(spread.params["sigma"] / 2)
    )
    coordinates, start = at.above()
    typical = typical_of(
        name,
        mean=mean,
        sd=between_cells_sd,
        below_sd=between_cohorts_sd,
        dims=cells,
        coordinates=coordinates,
        start=start,
    )
    by_cohort_name, dims = f"{name}_by_cohort", ("cohort", cells)
    if nested is None:
        return partially_pooled(
            by_cohort_name, mean=typical, sd=between_cohorts_sd, dims=dims, coordinates=at.transform()
        )
    below_sd, centres, home = nested
    return typical_of(
        by_cohort_name,
        mean=typical,
        sd=between_cohorts_sd,
        below_sd=below_sd,
        dims=dims,
        coordinates=at.with_nested(centres, home),
        start=at.estimate,
    )
