"""From an analysis set to the composition of its tumours, and the linear predictor that only contrasts can inform.

The composition of a tumour is that of its cell types whose amount is modelled in its HR stratum: their shares, divided
by their sum. Under the scaled Dirichlet this leaves the distribution of the rest as it is, so nothing has to be assumed
of what is left out; how much that is, a notice says.

Shares know ratios of means and not their level, so each coefficient of the amounts is a contrast: over cell types it
sums to 0. With isotropic priors, coefficient_c ~ Normal(0, sd) given that they sum to 0, every orthonormal basis of
such contrasts has the same independent normal priors. The sampler gets the basis in which a cheap fit's information
is diagonal; basis and cheap estimates are coordinates and leave the density as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
from scipy.linalg import helmert
from scipy.optimize import minimize
from scipy.special import digamma, gammaln, polygamma

from bayes_her2.bayesian.coordinates import (
    UNINFORMED_VARIANCE,
    Coordinates,
    partially_pooled,
    typical_of,
)
from bayes_her2.bayesian.design import Arrays, Structure, modelled_strata
from bayes_her2.bayesian.priors import Prior
from bayes_her2.bayesian.product import matrix_product
from bayes_her2.bayesian.starting import LARGEST_VARIANCE
from bayes_her2.data import AnalysisSet
from bayes_her2.errors import DataError

CELLS, CONTRASTS = "amount_cell_type", "amount_contrast"
CHEAP_LOG_SHAPE_SD = 1.0
"""Of the penalty on log shapes in the cheap fit, around 0; coefficients have `UNINFORMED_VARIANCE`."""


@dataclass(frozen=True)
class Composition:
    """Shares of the tumours, in the order of ``data.tumours``.

    Attributes
    ----------
    cell_types
        Those whose amount is modelled in at least one HR stratum.
    shares
        Tumour x cell type; rows sum to 1, 0 where not counted.
    counted
        1.0 where the cell type is present and its amount is modelled in the tumour's stratum.
    kept
        Sum of a tumour's shares before they are divided by it.
    """

    cell_types: tuple[str, ...]
    shares: np.ndarray
    counted: np.ndarray
    kept: np.ndarray


@dataclass(frozen=True)
class Contrasts:
    """Coordinates of one coefficient: an orthonormal basis of contrasts, and cheap estimates in it.

    Attributes
    ----------
    basis
        Cell type x contrast; columns are orthonormal and sum to 0.
    at
        Estimates and variances, group x contrast.
    """

    basis: np.ndarray
    at: Coordinates


@dataclass(frozen=True)
class CompositionDesign:
    """A composition with what its predictor needs: coordinates by term (covariates by name), and of the log shape."""

    composition: Composition
    terms: Mapping[str, Contrasts]
    log_shape: Coordinates


def composition_of(data: AnalysisSet) -> Composition:
    """Shares of each tumour's modelled cell types.

    Raises
    ------
    DataError
        The abundances are not shares of a whole, or fewer than two cell types have amounts to model.
    """
    if data.scale != "relative":
        raise DataError(
            f"composition: the abundances are on the {data.scale} scale, where a tumour's cell types do not add up to "
            "a whole, so that there is no composition to model. Use abundance or an alternative to it that takes cell "
            'types one by one (abundance_weibull, abundance_lognormal), or relative abundances with scale = "relative".'
        )
    supported = modelled_strata(data, "amount")
    cell_types = tuple(str(c) for c in supported.columns[supported.any()])
    if len(cell_types) < 2:
        raise DataError(
            f"composition: {len(cell_types)} cell type has amounts to model ({', '.join(cell_types) or 'none'}), and a "
            "composition needs two. Use abundance, which models cell types one by one."
        )
    own = supported[list(cell_types)].loc[data.tumours["hr"].to_numpy()].to_numpy()
    abundance = data.abundance[list(cell_types)].to_numpy(float)
    counted = own & (abundance > 0)
    inside = np.where(counted, abundance, 0.0)
    kept = inside.sum(axis=1)
    shares = inside / np.where(kept > 0, kept, 1.0)[:, None]
    return Composition(cell_types, shares, counted.astype(float), kept)


def left_out(data: AnalysisSet) -> pd.DataFrame:
    """Cell types whose share is not part of the composition in an HR stratum, and how much that is.

    Returns
    -------
    pandas.DataFrame
        ``cell_type``, ``stratum``, ``n``, ``n_positive``, ``mean_share`` (over all tumours of the stratum),
        ``largest_share``, ``reason``. Shares are those of the data; cell types that are not in the analysis set at
        all are one row, ``all others``.
    """
    rows = []
    for stratum in data.strata:
        own = data.abundance[(data.tumours["hr"] == stratum).to_numpy()]
        for cell_type in map(str, data.abundance.columns):
            part = data.part(cell_type, stratum)
            if not part.amount_modelled:
                y = own[cell_type]
                rows.append(
                    (
                        cell_type,
                        stratum,
                        len(y),
                        int((y > 0).sum()),
                        float(y.mean()),
                        float(y.max()),
                        part.reason,
                    )
                )
        rest = 1.0 - own.sum(axis=1)
        if (rest > 1e-6).any():
            n_positive = int((rest > 1e-6).sum())
            reason = "too few tumours have them in any stratum"
            rows.append(
                ("all others", stratum, len(rest), n_positive, float(rest.mean()), float(rest.max()), reason)
            )
    columns = ["cell_type", "stratum", "n", "n_positive", "mean_share", "largest_share", "reason"]
    return pd.DataFrame(rows, columns=columns)


def composition_design(data: AnalysisSet, shape: Structure) -> CompositionDesign:
    """Composition, and coordinates from one cheap fit of the scaled Dirichlet for each cohort (and centre)."""
    composition = composition_of(data)
    tumours = data.tumours
    h, r = tumours["her2_sd"], (tumours["hr"] != data.reference).astype(float)
    columns = pd.DataFrame({"intercept": 1.0, "slope": h, "hr": r, "interaction": h * r})
    columns = pd.concat([columns, data.covariates], axis=1)

    def fits(groups: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, Coordinates]:
        """Estimates (group x term x cell type), covariances (group x term x cell x cell), log shapes."""
        found = [
            cheap_fit(composition.shares[own], composition.counted[own], columns.to_numpy(float)[own])
            for own in groups
        ]
        estimate, covariance, log_shape, variance = (np.stack(arrays) for arrays in zip(*found, strict=True))
        return estimate, covariance, Coordinates(log_shape, variance)

    estimate, covariance, log_shape = fits([(tumours["cohort"] == c).to_numpy() for c in shape.cohorts])
    terms = {}
    for i, name in enumerate(columns.columns):
        contrasts = _contrasts(estimate[:, i], covariance[:, i])
        by_cohort = name in ("intercept", "slope") or (name in ("hr", "interaction") and shape.hr_by_cohort)
        terms[str(name)] = contrasts if by_cohort else replace(contrasts, at=contrasts.at.pooled(0.0))
    if shape.centres:
        label = tumours["cohort"] + "/" + tumours["centre"].fillna("")
        estimate, covariance, _ = fits([(label == centre).to_numpy() for centre in shape.centres])
        basis = terms[
            "intercept"
        ].basis  # one basis, so that centres and their cohort have the same coordinates
        terms["centre"] = Contrasts(basis, _in_basis(basis, estimate[:, 0], covariance[:, 0]))
    return CompositionDesign(composition, terms, log_shape)


def _contrasts(estimate: np.ndarray, covariance: np.ndarray) -> Contrasts:
    """Basis in which the information of all groups together is diagonal, and each group's estimates in it."""
    plain = helmert(estimate.shape[1]).T
    information = sum(np.linalg.inv(plain.T @ one @ plain) for one in covariance)
    _, rotation = np.linalg.eigh(information)
    basis = plain @ rotation
    return Contrasts(basis, _in_basis(basis, estimate, covariance))


def _in_basis(basis: np.ndarray, estimate: np.ndarray, covariance: np.ndarray) -> Coordinates:
    """Estimates and variances of contrasts, group x contrast; those that say nothing are (0, 100)."""
    at = estimate @ basis
    variance = np.einsum("ci,gcd,di->gi", basis, covariance, basis)
    useless = (variance > LARGEST_VARIANCE) | ~np.isfinite(at)
    return Coordinates(np.where(useless, 0.0, at), np.where(useless, UNINFORMED_VARIANCE, variance))


def cheap_fit(
    shares: np.ndarray, counted: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Penalised maximum likelihood of a scaled Dirichlet regression: it chooses coordinates, nothing rests on it.

    Parameters
    ----------
    shares, counted
        Tumour x cell type, as in `Composition`.
    columns
        Tumour x term, the first an intercept.

    Returns
    -------
    estimate, covariance : numpy.ndarray
        Coefficients of the log means, term x cell type, and the covariance of each term's, term x cell x cell, from
        the expected information and the penalty.
    log_shape, variance : numpy.ndarray
        Log shape of each cell type and its variance.
    """
    n_terms, n_cells = columns.shape[1], shares.shape[1]
    log_shares = np.log(np.where(counted > 0, shares, 1.0))
    nothing = 1.0 - counted.max(axis=1) if len(counted) else np.zeros(0)

    def penalised(x: np.ndarray) -> tuple[float, np.ndarray]:
        coefficient, log_shape = x[:-n_cells].reshape(n_terms, n_cells), x[-n_cells:]
        shape = np.exp(log_shape)
        log_rate = log_shape - columns @ coefficient
        total_shape = counted @ shape + nothing
        scaled = counted * np.exp(log_rate + log_shares)
        total = scaled.sum(axis=1) + nothing
        own = shape * log_rate - gammaln(shape) + (shape - 1.0) * log_shares
        value = (gammaln(total_shape) - total_shape * np.log(total)).sum() + (counted * own).sum()
        by_rate = counted * shape - (total_shape / total)[:, None] * scaled
        by_shape = counted * (
            (digamma(total_shape) - np.log(total))[:, None] + log_rate - digamma(shape) + log_shares
        )
        penalty = (coefficient**2).sum() / UNINFORMED_VARIANCE + (log_shape**2).sum() / CHEAP_LOG_SHAPE_SD**2
        gradient = np.concatenate(
            [
                (coefficient / UNINFORMED_VARIANCE + columns.T @ by_rate).ravel(),
                log_shape / CHEAP_LOG_SHAPE_SD**2 - (by_rate + by_shape * shape).sum(axis=0),
            ]
        )
        return 0.5 * penalty - value, gradient

    start = np.zeros((n_terms + 1) * n_cells)
    positives = counted.sum(axis=0)
    typical = (shares.sum(axis=0) + 0.01) / (positives + 1.0)
    start[:n_cells] = np.log(typical) - np.log(typical).mean()
    fit = minimize(penalised, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "ftol": 1e-9})
    estimate, log_shape = fit.x[:-n_cells].reshape(n_terms, n_cells), fit.x[-n_cells:]
    shape = np.exp(log_shape)
    # Expected information of a tumour on its log means: A / (A + 1) (diag a - a a' / A), over the types it has.
    total_shape = counted @ shape + nothing
    damped = total_shape / (total_shape + 1.0)
    present = counted * shape
    diagonal = np.einsum("i,ip,iq,ic->pqc", damped, columns, columns, present, optimize=True)
    common = np.einsum(
        "i,ip,iq,ic,id->pcqd", damped / total_shape, columns, columns, present, present, optimize=True
    )
    information = -common
    cells = np.arange(n_cells)
    for p in range(n_terms):
        for q in range(n_terms):
            information[p, cells, q, cells] += diagonal[p, q]
    size = n_terms * n_cells
    matrix = information.reshape(size, size) + np.eye(size) / UNINFORMED_VARIANCE
    covariance = np.linalg.inv(matrix).reshape(n_terms, n_cells, n_terms, n_cells)
    blocks = np.stack([covariance[p, :, p, :] for p in range(n_terms)])
    of_shape = positives * (shape**2 * polygamma(1, shape) - shape) + 1.0 / CHEAP_LOG_SHAPE_SD**2
    return estimate, blocks, log_shape, 1.0 / of_shape


def contrast_predictor(
    design: CompositionDesign, tumours: Arrays, shape: Structure, priors: Mapping[str, Prior]
) -> Any:
    """Log mean amounts up to their level, tumour x cell type, from coefficients that sum to 0 over cell types.

    The hierarchy is that of `linear_predictor`, without means over cell types, and with one SD between cohorts for the
    intercepts of all cell types. Coefficients have the names that they have there.

    Parameters
    ----------
    design, tumours, shape
        Composition with coordinates, arrays, and which terms there are.
    priors
        For each of intercept, slope, hr and interaction ``amount_TERM_between_cells_sd`` and
        ``amount_TERM_between_cohorts_sd``; ``amount_covariate_between_cells_sd``; ``amount_centre_sd``.
    """
    prior = {n.removeprefix("amount_"): p for n, p in priors.items() if n.startswith("amount_")}
    h, r = tumours.her2_sd[:, None], tumours.hr_other[:, None]
    by_cohort, common = tumours.cohort_columns, np.ones_like(tumours.her2_sd[:, None])
    columns = [tumours.group_columns, h * by_cohort]
    coefficients = [
        _intercept(design, prior, shape),
        _varying("slope", prior, design.terms["slope"], by_cohort=shape.several_cohorts),
    ]
    if shape.hr_term:
        where = by_cohort if shape.hr_by_cohort else common
        columns += [r * where, h * r * where]
        coefficients += [
            _varying(term, prior, design.terms[term], by_cohort=shape.hr_by_cohort)
            for term in ("hr", "interaction")
        ]
    names = list(design.terms)
    covariates = [n for n in names if n not in ("intercept", "slope", "hr", "interaction", "centre")]
    if covariates:
        own = [design.terms[name] for name in covariates]
        between_cells_sd = prior["covariate_between_cells_sd"].variable(
            "amount_covariate_between_cells_sd", dims="covariate"
        )
        at = Coordinates(
            np.concatenate([c.at.estimate for c in own]), np.concatenate([c.at.variance for c in own])
        )
        contrasts = partially_pooled(
            "amount_covariate_contrasts",
            mean=0.0,
            sd=between_cells_sd[:, None],
            dims=("covariate", CONTRASTS),
            coordinates=at.transform(),
        )
        rows = [matrix_product(contrasts[i], c.basis.T)[None, :] for i, c in enumerate(own)]
        columns.append(tumours.covariates)
        coefficients.append(
            pm.Deterministic("amount_covariate", pt.concatenate(rows, axis=0), dims=("covariate", CELLS))
        )
    return matrix_product(np.concatenate(columns, axis=1), pt.concatenate(coefficients, axis=0))


def _intercept(design: CompositionDesign, prior: Mapping[str, Prior], shape: Structure) -> Any:
    """Contrasts of level in each cohort, then in each centre nested in a cohort: group x cell type."""
    own = design.terms["intercept"]
    if not shape.centres:
        return _varying("intercept", prior, own, by_cohort=shape.several_cohorts)
    centre_sd = prior["centre_sd"].variable("amount_centre_sd")
    home = [shape.cohorts.index(cohort) for cohort in shape.centres.values()]
    below = design.terms["centre"].at
    cohort = _varying(
        "intercept", prior, own, by_cohort=shape.several_cohorts, nested=(centre_sd, below, home)
    )
    deviations = partially_pooled(
        "amount_centre_intercept_contrasts",
        mean=matrix_product(np.eye(len(shape.cohorts))[home], matrix_product(cohort, own.basis)),
        sd=centre_sd,
        dims=("centre", CONTRASTS),
        coordinates=below.transform(),
    )
    centre = pm.Deterministic(
        "amount_centre_intercept", matrix_product(deviations, own.basis.T), dims=("centre", CELLS)
    )
    return pt.concatenate([cohort, centre], axis=0)


def _varying(
    term: str,
    prior: Mapping[str, Prior],
    own: Contrasts,
    *,
    by_cohort: bool,
    nested: tuple[Any, Coordinates, list[int]] | None = None,
) -> Any:
    """One coefficient as cohort x cell type (1 x cell type where common to the cohorts), sampled as contrasts."""
    name, at = f"amount_{term}", own.at
    between_cells_sd = prior[f"{term}_between_cells_sd"].variable(f"{name}_between_cells_sd")
    variable = f"{name}_contrasts"
    if not by_cohort:
        if nested is None:
            contrasts = partially_pooled(
                variable, mean=0.0, sd=between_cells_sd, dims=CONTRASTS, coordinates=at.common()
            )
        else:
            below_sd, centres, _ = nested
            coordinates, start = centres.above()
            contrasts = typical_of(
                variable,
                mean=0.0,
                sd=between_cells_sd,
                below_sd=below_sd,
                dims=CONTRASTS,
                coordinates=coordinates,
                start=start,
            )
        return pm.Deterministic(name, matrix_product(contrasts, own.basis.T), dims=CELLS)[None, :]
    between_cohorts_sd = prior[f"{term}_between_cohorts_sd"].spread(f"{name}_between_cohorts_sd")
    coordinates, start = at.above()
    typical = typical_of(
        variable,
        mean=0.0,
        sd=between_cells_sd,
        below_sd=between_cohorts_sd,
        dims=CONTRASTS,
        coordinates=coordinates,
        start=start,
    )
    pm.Deterministic(name, matrix_product(typical, own.basis.T), dims=CELLS)
    dims = ("cohort", CONTRASTS)
    if nested is None:
        contrasts = partially_pooled(
            f"{variable}_by_cohort",
            mean=typical,
            sd=between_cohorts_sd,
            dims=dims,
            coordinates=at.transform(),
        )
    else:
        below_sd, centres, home = nested
        contrasts = typical_of(
            f"{variable}_by_cohort",
            mean=typical,
            sd=between_cohorts_sd,
            below_sd=below_sd,
            dims=dims,
            coordinates=at.with_nested(centres, home),
            start=at.estimate,
        )
    return pm.Deterministic(
        f"{name}_by_cohort", matrix_product(contrasts, own.basis.T), dims=("cohort", CELLS)
    )
