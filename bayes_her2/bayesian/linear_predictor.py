"""The hierarchical linear predictor that the models of abundance and of high abundance share.

For tumour i of cohort k and cell type c, with h HER2 per SD and r = 1 in the non-reference HR stratum,

    eta_ic = intercept_kc + slope_kc h_i + hr_kc r_i + interaction_kc h_i r_i + covariate_c' x_i

    intercept_kc ~ Normal(intercept_c, between_cohorts_sd_c)      slope_kc ~ Normal(slope_c, between_cohorts_sd)
    intercept_c  ~ Normal(mean, between_cells_sd)                 slope_c  ~ Normal(mean, between_cells_sd)

hr and interaction as slope. The level of cohorts is there where at least two cohorts inform the term, else the
coefficient is common to them. HR terms are there where both strata are; covariate_c ~ Normal(mean, between_cells_sd)
for each covariate. Where centres are nested in a cohort its tumours have their centre's intercept, Normal around the
cohort's with centre_sd. This is the main model; `Terms` says what a rival structure has instead: terms that it lacks
or that are common to the cohorts, cohorts with intercepts of their own, cell types that share nothing, or a mean from
which few depart, or that of their lineage, and departures from a straight line in HER2. All are sampled in
likelihood-informed coordinates, which leave the density as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytensor.tensor as pt

from bayes_her2.bayesian.coordinates import Coordinates, partially_pooled, typical_of
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
        What the model chooses of them is in ``shape.terms``.
    priors
        For each of intercept, slope, hr and interaction ``PART_TERM_mean``, ``PART_TERM_between_cells_sd``,
        ``PART_TERM_between_cohorts_sd``; ``PART_covariate_mean``, ``PART_covariate_between_cells_sd``;
        ``PART_centre_sd``. Without cell types pooled ``PART_TERM`` and ``PART_covariate``, with cohorts fixed
        ``PART_intercept_by_cohort``, in place of mean and spread; with a horseshoe ``PART_TERM_global_scale``,
        ``PART_TERM_local_scale`` and ``PART_TERM_slab_variance`` in place of the spread over cell types; with lineages
        ``PART_TERM_between_lineages_sd``; with bends ``PART_bend_sd``.
    """
    cells = f"{part}_cell_type"
    prior = {name.removeprefix(f"{part}_"): p for name, p in priors.items() if name.startswith(f"{part}_")}
    at = design.coordinates
    h, r = tumours.her2_sd[:, None], tumours.hr_other[:, None]
    by_cohort = tumours.cohort_columns
    common = np.ones_like(h)

    intercept = _intercept(part, prior, design, cells, shape)
    columns, coefficients = [tumours.group_columns], [intercept]

    for term, values in (("slope", h), ("hr", r), ("interaction", h * r)):
        if term not in shape.present:
            continue
        coefficients.append(_varying(part, term, prior, design, cells, shape))
        columns.append(values * (by_cohort if shape.varies(term) else common))
    if tumours.covariates.shape[1]:
        columns.append(tumours.covariates)
        coefficients.append(_covariates(part, prior, at["covariates"], cells, shape))
    if tumours.bends.shape[1]:
        columns.append(tumours.bends)
        coefficients.append(_bends(part, prior, at["bends"], cells))
    return matrix_product(np.concatenate(columns, axis=1), pt.concatenate(coefficients, axis=0))


def _covariates(part: str, prior: Mapping[str, Prior], at: Coordinates, cells: str, shape: Structure) -> Any:
    """Coefficients of the covariates, covariate x cell type, common to the cohorts."""
    if shape.terms.cell_types == "unpooled":
        mean, spread = prior["covariate"].params["mu"], prior["covariate"].params["sigma"]
    else:
        mean = prior["covariate_mean"].variable(f"{part}_covariate_mean", dims="covariate")[:, None]
        spread = prior["covariate_between_cells_sd"].variable(
            f"{part}_covariate_between_cells_sd", dims="covariate"
        )[:, None]
    return partially_pooled(
        f"{part}_covariate", mean=mean, sd=spread, dims=("covariate", cells), coordinates=at.transform()
    )


def _bends(part: str, prior: Mapping[str, Prior], at: Coordinates, cells: str) -> Any:
    """Departures from a straight line, bend x cell type, common to cohorts and strata: one spread for all of them.

    bend_jc ~ Normal(bend_mean_j, bend_sd), bend_mean_j ~ Normal(0, bend_sd): half of a departure's prior variance is
    shared by the cell types, and without a spread all curves are straight.
    """
    spread = prior["bend_sd"].spread(f"{part}_bend_sd")
    coordinates, start = at.over_cell_types_by_row()
    mean = typical_of(
        f"{part}_bend_mean",
        mean=0.0,
        sd=spread,
        below_sd=spread,
        dims="bend",
        coordinates=coordinates,
        start=start,
    )
    return partially_pooled(
        f"{part}_bend", mean=mean[:, None], sd=spread, dims=("bend", cells), coordinates=at.transform()
    )


def _intercept(
    part: str, prior: Mapping[str, Prior], design: PartDesign, cells: str, shape: Structure
) -> Any:
    """Level of each cell type in each cohort, then in each centre nested in a cohort: group x cell type."""
    at = design.coordinates
    if not shape.centres:
        return _varying(part, "intercept", prior, design, cells, shape)
    centre_sd = prior["centre_sd"].variable(f"{part}_centre_sd")
    home = [shape.cohorts.index(cohort) for cohort in shape.centres.values()]
    cohort = _varying(part, "intercept", prior, design, cells, shape, nested=(centre_sd, at["centre"], home))
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
    design: PartDesign,
    cells: str,
    shape: Structure,
    *,
    nested: tuple[Any, Coordinates, list[int]] | None = None,
) -> Any:
    """One coefficient: cell types around their mean and, where informed, cohorts around the cell type.

    Returns the coefficients as cohort x cell type, or 1 x cell type where they are common to the
    cohorts. `nested` (SD, cheap estimates, cohort of each) describes centres below the cohorts: it
    chooses coordinates and does not enter the density.
    """
    name, at = f"{part}_{term}", design.coordinates[term]
    if term == "intercept" and shape.terms.cohorts == "fixed":
        own = prior["intercept_by_cohort"].params
        return _cohorts(name, own["mu"], own["sigma"], at, cells, nested)
    mean, between_cells_sd = _cell_types(part, term, prior, design, cells, shape)
    if not shape.varies(term):
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
    own_spread = cells if term == "intercept" else None
    between_cohorts_sd = prior[f"{term}_between_cohorts_sd"].spread(
        f"{name}_between_cohorts_sd", dims=own_spread
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
    return _cohorts(name, typical, between_cohorts_sd, at, cells, nested)


def _cell_types(
    part: str, term: str, prior: Mapping[str, Prior], design: PartDesign, cells: str, shape: Structure
) -> tuple[Any, Any]:
    """Mean and SD that a cell type's coefficient is normal with; either may differ between cell types."""
    name, at, by_cohort = f"{part}_{term}", design.coordinates[term], shape.varies(term)
    if shape.terms.cell_types == "unpooled":
        own = prior[term].params
        return own["mu"], own["sigma"]

    def over_all(below_sd: Any, estimates: Coordinates, *, by_cohort: bool) -> Any:
        coordinates, start = estimates.over_cell_types(by_cohort=by_cohort)
        return typical_of(
            f"{name}_mean",
            mean=prior[f"{term}_mean"].params["mu"],
            sd=prior[f"{term}_mean"].params["sigma"],
            below_sd=below_sd,
            dims=None,
            coordinates=coordinates,
            start=start,
        )

    if shape.terms.sparse(term):
        global_scale = prior[f"{term}_global_scale"].variable(f"{name}_global_scale")
        local_scale = prior[f"{term}_local_scale"].variable(f"{name}_local_scale", dims=cells)
        slab_variance = prior[f"{term}_slab_variance"].variable(f"{name}_slab_variance")
        mean = over_all(global_scale, at, by_cohort=by_cohort)
        return mean, horseshoe_sd(global_scale, local_scale, slab_variance)
    between_cells_sd = prior[f"{term}_between_cells_sd"].variable(f"{name}_between_cells_sd")
    if not shape.terms.by_lineage(term):
        return over_all(between_cells_sd, at, by_cohort=by_cohort), between_cells_sd
    between_lineages_sd = prior[f"{term}_between_lineages_sd"].variable(f"{name}_between_lineages_sd")
    coordinates, start, above = at.over_groups(design.lineage_of, by_cohort=by_cohort)
    lineage = typical_of(
        f"{name}_of_lineage",
        mean=over_all(between_lineages_sd, above, by_cohort=False),
        sd=between_lineages_sd,
        below_sd=between_cells_sd,
        dims=f"{part}_lineage",
        coordinates=coordinates,
        start=start,
    )
    return matrix_product(design.lineage_of.T, lineage), between_cells_sd


def horseshoe_sd(global_scale: Any, local_scale: Any, slab_variance: Any) -> Any:
    """SD of a coefficient around its mean under the regularised horseshoe.

    sd^2 = c^2 tau^2 lambda^2 / (c^2 + tau^2 lambda^2) with global scale tau, local scale lambda and slab variance c^2:
    that of the horseshoe, tau lambda, where it is small, and never above the slab's c.

    References
    ----------
    Piironen & Vehtari (2017), Sparsity information and regularization in the horseshoe and other shrinkage priors,
    doi 10.1214/17-EJS1337SI, eq. 2.8.
    """
    wide = (global_scale * local_scale) ** 2
    return (slab_variance * wide / (slab_variance + wide)) ** 0.5


def _cohorts(
    name: str,
    mean: Any,
    sd: Any,
    at: Coordinates,
    cells: str,
    nested: tuple[Any, Coordinates, list[int]] | None,
) -> Any:
    """One coefficient of each cohort and cell type."""
    by_cohort_name, dims = f"{name}_by_cohort", ("cohort", cells)
    if nested is None:
        return partially_pooled(by_cohort_name, mean=mean, sd=sd, dims=dims, coordinates=at.transform())
    below_sd, centres, home = nested
    return typical_of(
        by_cohort_name,
        mean=mean,
        sd=sd,
        below_sd=below_sd,
        dims=dims,
        coordinates=at.with_nested(centres, home),
        start=at.estimate,
    )
